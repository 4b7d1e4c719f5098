"""A cut that is renewed: what ended early is never taken for a cut that was held."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chaosext.model import clock
from chaosext.model.errors import Inconclusive, Unreachable
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.run.fault import keepalive
from chaosext.run.fault.keepalive import Renewing

CUT = Cut(
    run="r1",
    owner="a@b",
    nodes=(NodeCut(node="cp", uplinks=("eth0",)),),
    peers=peers_of(["172.18.0.3"]),
    ttl_s=9,
    dead_man_s=3,
)


class Clock:
    """Boot time that passes at a test's will, in no time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.uptime_s = 1000.0
        monkeypatch.setattr(clock, "uptime_s", lambda: self.uptime_s)

    def wait(self, seconds: float) -> bool:
        self.uptime_s += seconds
        return False


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def kept(passing: Clock, monkeypatch: pytest.MonkeyPatch, renew: Any) -> Renewing:
    """Armed just now, and renewed until the end or until that is given up."""
    monkeypatch.setattr(keepalive, "renew", renew)
    found = Renewing(CUT, {}, until=clock.now().later(CUT.ttl_s))
    monkeypatch.setattr(found._stopped, "wait", passing.wait)
    found._keep()
    return found


def in_force(*_: Any, **__: Any) -> Any:
    return SimpleNamespace(armed_at=clock.now())


def test_a_cut_is_renewed_until_the_kernel_holds_it_to_its_end(
    passing: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_s, times = passing.uptime_s, []

    def renew(*_: Any, **more: Any) -> Any:
        times.append(passing.uptime_s - began_s)
        assert more["until"].uptime_s == began_s + CUT.ttl_s
        return in_force()

    found = kept(passing, monkeypatch, renew)
    assert times == [1, 2, 3, 4, 5]
    passing.wait(20)
    found.stop()
    found.require_kept()


def test_the_last_renewal_is_tried_again(passing: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the cut would end a step before its time."""
    answers = iter([in_force, in_force, in_force, in_force, unreachable, in_force])
    found = kept(passing, monkeypatch, lambda *_, **__: next(answers)())
    assert next(answers, None) is None
    passing.wait(20)
    found.stop()
    found.require_kept()


def unreachable(*_: Any, **__: Any) -> Any:
    raise Unreachable("cp: no answer within 1 s")


def test_a_cut_that_nobody_could_renew_has_ended_early(
    passing: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept(passing, monkeypatch, unreachable)
    found.stop()
    with pytest.raises(Inconclusive, match="ended early: no node confirmed"):
        found.require_kept()


def test_a_renewal_that_fails_for_no_known_reason_is_no_renewal(
    passing: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("can't start new thread")

    found = kept(passing, monkeypatch, fail)
    with pytest.raises(Inconclusive, match="ended early: RuntimeError"):
        found.require_kept()


def test_a_heal_in_time_loses_nothing_however_late_it_is_asked(
    passing: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Renewing(CUT, {}, until=clock.now().later(CUT.ttl_s))
    passing.wait(1)
    found.stop()
    passing.wait(20)
    found.stop()
    found.require_kept()
