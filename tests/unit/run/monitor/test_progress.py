"""A picture of a run that goes on: what may be in force, for how long, who is heard of; and how it stood at its end."""

from __future__ import annotations

import time
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from chaosext.model import clock
from chaosext.model.result import RunResult
from chaosext.model.timeline import Kind
from chaosext.model.verdict import Outcome, Verdict
from chaosext.partition.cut import Cut, NodeCut
from chaosext.run.fault.state import fault_of
from chaosext.run.monitor.progress import STALE_S, LiveScene
from chaosext.run.monitor.sentinels import HEARD
from chaosext.run.session import run_context as contexts
from chaosext.run.session.run_context import RunContext, start

if TYPE_CHECKING:
    from pathlib import Path

CUT = Cut(
    run="r",
    owner="a@b",
    nodes=(NodeCut(node="cp-1", uplinks=("eth0",)),),
    peers=(ip_network("10.0.0.2/32"),),
    ttl_s=60.0,
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    monkeypatch.setattr(contexts, "_current", None)
    return start(root=tmp_path / "run")


@pytest.fixture
def scene(run: RunContext) -> LiveScene:
    return LiveScene(run=run, experiment="a night")


def ended(run: RunContext, outcome: Outcome = Outcome.PASSED) -> RunResult:
    run.recorder.close()
    verdict = Verdict(outcome=outcome, reasons=())
    return RunResult(
        run=run.id, experiment="", started_at="", duration_s=1.0, verdict=verdict, events=run.recorder.events
    )


def cut(run: RunContext, ago_s: float = 0.0) -> None:
    """A cut in force since `ago_s`."""
    fault_of(run).cuts.append(CUT)
    fault_of(run).expires_at = clock.now().later(60.0 - ago_s)
    run.recorder.set_zero(time.monotonic() - ago_s)
    run.recorder.say(Kind.CUT, "Node/cp-1", "")


def test_before_a_cut_there_is_none_and_no_time_from_it(scene: LiveScene) -> None:
    picture = scene.picture()
    assert (picture.now_s, picture.in_force, picture.ttl_s, picture.verdict) == (None, False, 0.0, None)


def test_a_cut_is_in_force_with_what_is_left_of_it_until_it_is_healed(
    scene: LiveScene, run: RunContext
) -> None:
    cut(run, ago_s=20.0)
    picture = scene.picture()
    assert picture.in_force
    assert picture.now_s == pytest.approx(20.0, abs=0.5)
    assert (picture.ttl_s, picture.let_go_s) == pytest.approx((40.0, 40.0), abs=0.5)
    run.recorder.say(Kind.HEAL, "Node/cp-1", "")
    healed = scene.picture()
    assert (healed.in_force, healed.ttl_s, healed.let_go_s) == (False, 0.0, 0.0)


def test_a_cut_that_is_renewed_is_let_go_of_earlier_than_its_ttl(scene: LiveScene, run: RunContext) -> None:
    cut(run)

    class Renewing:
        held = clock.now().later(10.0)

    fault_of(run).keepalive = Renewing()  # type: ignore[assignment]
    picture = scene.picture()
    assert picture.let_go_s == pytest.approx(10.0, abs=0.5)
    assert picture.ttl_s == pytest.approx(60.0, abs=0.5)


def test_a_cut_may_be_in_force_before_it_was_read_back_and_is_not_past_its_ttl(
    scene: LiveScene, run: RunContext
) -> None:
    fault_of(run).cuts.append(CUT)
    assert scene.picture().in_force
    fault_of(run).expires_at = clock.now().later(-0.1)
    assert not scene.picture().in_force


@pytest.mark.parametrize(("outcome", "may_be"), [(Outcome.UNSAFE, True), (Outcome.INTERRUPTED, False)])
def test_at_the_end_it_may_be_in_force_where_the_verdict_says_so(
    scene: LiveScene, run: RunContext, outcome: Outcome, may_be: bool
) -> None:
    fault_of(run).cuts.append(CUT)
    fault_of(run).expires_at = clock.now().later(60.0)
    scene.result = ended(run, outcome)
    assert scene.picture().in_force is may_be


def test_who_is_not_heard_of_is_not_observed(scene: LiveScene, run: RunContext) -> None:
    cut(run, ago_s=30.0)
    now_s = time.monotonic()
    run.stash[HEARD] = {"cp-1": now_s, "worker-1": now_s - STALE_S - 1}
    picture = scene.picture()
    assert [picture.is_observed(node) for node in ("cp-1", "worker-1", "never-heard-of")] == [
        True,
        False,
        False,
    ]
    ((start_s, end_s),) = picture.unseen("worker-1")
    assert (start_s, end_s) == (pytest.approx(30 - STALE_S - 1, abs=0.5), None)
    assert picture.unseen("never-heard-of") == ((0.0, None),)
    assert picture.unseen("cp-1") == ()


def test_at_the_end_it_stands_as_when_somebody_last_looked(
    scene: LiveScene, run: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(run, ago_s=30.0)
    run.stash[HEARD] = {"cp-1": time.monotonic() - 1.0}
    run.recorder.say(Kind.HEAL, "Node/cp-1", "")
    scene.result = ended(run)
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 25.0)
    picture = scene.picture()
    assert picture.now_s == pytest.approx(30.0, abs=0.5)
    assert picture.is_observed("cp-1")
    assert picture.doing == ""


def test_a_run_without_a_cut_and_without_sentinels_has_an_end_as_well(
    scene: LiveScene, run: RunContext
) -> None:
    scene.result = ended(run)
    assert scene.picture().now_s == 0.0


def test_what_is_played_is_said_with_for_how_long(scene: LiveScene, run: RunContext) -> None:
    run.doing = "method: hold", time.monotonic() - 5.0
    picture = scene.picture()
    assert (picture.doing, picture.doing_s) == ("method: hold", pytest.approx(5.0, abs=0.5))
