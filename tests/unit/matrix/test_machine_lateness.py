"""How late a machine is: the longest wait for the CPU, by a clock and a sleep that tests replace."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from chaosext.matrix import machine_lateness
from chaosext.matrix.machine_lateness import ASLEEP_S, MachineLateness


def test_longest_oversleep_is_how_late_the_machine_was(monkeypatch: pytest.MonkeyPatch) -> None:
    now, naps, over = [0.0], [ASLEEP_S, ASLEEP_S + 2.0, ASLEEP_S + 0.5], threading.Event()

    def sleep(_: float) -> None:
        now[0] += naps.pop(0) if naps else ASLEEP_S
        if not naps:
            over.set()

    monkeypatch.setattr(machine_lateness, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    with MachineLateness() as machine:
        assert over.wait(10)
    assert machine.late_s == pytest.approx(2.0)
