"""A cut with a dead man's switch: renewed while the runner lives, gone soon after it died, never brought back."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chaosext.model import clock
from chaosext.model.errors import Inconclusive, Refused, Unreachable
from chaosext.partition.apply import arm, heal, inspect, renew
from chaosext.run.fault import keepalive
from chaosext.run.fault.keepalive import Renewing

from .lab import NODE, PEER, Lab, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.netns


@pytest.fixture
def kept(lab: Lab) -> Iterator[Renewing]:
    """A cut of 9 s in steps of 3 s, armed, and not yet renewed."""
    cut = replace(lab.cut(ttl_s=9.0), dead_man_s=3.0)
    report = arm(cut, lab.shells)
    renewing = Renewing(cut, lab.shells, until=report.let_go.later(6.0))
    yield renewing
    renewing.stop()


def live(lab: Lab) -> bool:
    return any(table.is_live for node in inspect(lab.shells) for table in node.tables)


def test_without_a_sign_of_life_the_kernel_lets_go_after_one_step(lab: Lab, kept: Renewing) -> None:
    assert 2.0 < wait_until(lambda: lab.opens(NODE, PEER, "ipv4", timeout_s=0.05), within_s=4) < 3.5


def test_while_the_runner_lives_the_cut_lasts_its_ttl_and_no_longer(lab: Lab, kept: Renewing) -> None:
    started = time.monotonic()
    kept.start()
    while time.monotonic() - started < 7.5:
        assert not lab.opens(NODE, PEER, "ipv4", timeout_s=0.1)
    wait_until(lambda: lab.opens(NODE, PEER, "ipv4", timeout_s=0.05), within_s=3)
    assert time.monotonic() - started < 10.0
    kept.require_kept()


def test_a_cut_that_was_healed_is_not_brought_back(lab: Lab, kept: Renewing) -> None:
    kept.start()
    heal(kept.cut.run, lab.shells).require_gone()
    time.sleep(2.5)
    assert not live(lab)
    with pytest.raises(Inconclusive, match="ended early"):
        kept.require_kept()


def test_who_stops_renewing_has_lost_nothing(lab: Lab, kept: Renewing) -> None:
    kept.start()
    kept.stop()
    heal(kept.cut.run, lab.shells).require_gone()
    time.sleep(1.5)
    kept.require_kept()


def test_a_node_that_does_not_answer_once_is_asked_again(
    lab: Lab, kept: Renewing, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = keepalive.renew, []

    def hard_of_hearing(*arguments: object, **more: object) -> object:
        calls.append(clock.now())
        if len(calls) == 1:
            raise Unreachable("no answer within 1 s")
        return real(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(keepalive, "renew", hard_of_hearing)
    kept.start()
    time.sleep(4.0)
    assert live(lab)
    kept.require_kept()


def test_a_look_that_takes_long_keeps_no_cut_beyond_its_ttl(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = replace(lab.cut(ttl_s=7.0), dead_man_s=6.0)
    until = arm(cut, lab.shells).let_go.later(1.0)
    slow = tmp_path / "nft"
    slow.write_text(
        f'#!/bin/bash\n[[ "$*" != "-s list ruleset" ]] || sleep 1.5\nexec {shutil.which("nft")} "$@"\n'
    )
    slow.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path), prepend=":")
        time.sleep(2)
        renew(cut, lab.shells, until=until)
    wait_until(lambda: not live(lab), within_s=8)
    assert -1 < (until.age_s() or 0.0) < 1


def test_a_cut_whose_time_is_over_by_now_is_not_touched(lab: Lab) -> None:
    cut = lab.cut(ttl_s=3.0)
    arm(cut, lab.shells)
    with pytest.raises(Refused, match="is already over"):
        renew(cut, lab.shells, until=clock.now().later(0.5))
    (found,) = inspect(lab.shells)
    assert found.tables[0].remaining_s <= 3
