"""What a result says beyond the verdict's own reasons."""

from __future__ import annotations

import signal
import threading
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.checks.cut_effective import CutEvidence
from chaosext.checks.cut_effective import Path as Across
from chaosext.checks.tcp_reachability import Target
from chaosext.model.findings import Status
from chaosext.model.result import NodeClock, VerdictRule
from chaosext.model.timeline import Kind
from chaosext.model.verdict import Outcome, Verdict
from chaosext.nodes.shell import NodeAccess
from chaosext.run import finish as finish_module
from chaosext.run.fault.state import fault_of
from chaosext.run.finish import finish, result_of
from chaosext.run.monitor.sentinels import SENTINELS
from chaosext.run.monitor.steady_baseline import BASELINE
from chaosext.run.session import run_context as contexts
from chaosext.run.shutdown import END_S, Leaving
from chaosext.run.verdict.derive import Answer

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.model.result import RunResult
    from chaosext.timeline.recorder import Recorder

CLOCK = NodeClock(offset_s=1.0, error_s=0.001, wall_skew_s=90.0, boots=1)


def test_a_lock_that_was_lost_is_a_reason(tmp_path: Path) -> None:
    run = contexts.start(root=tmp_path)
    run.recorder.set_zero(0.0)
    run.recorder.say(Kind.LOCK_LOST, "Cluster/kind-nowhere", "cp: run b of bob@desk took it over")
    run.recorder.close()
    result = result_of(run, {}, Verdict(outcome=Outcome.PASSED, reasons=("the steady state held",)))
    assert result.verdict.reasons[-1] == "the lock was lost: cp: run b of bob@desk took it over"


def test_the_wall_clock_of_the_first_cut_is_kept_and_of_none_none(tmp_path: Path) -> None:
    run = contexts.start(root=tmp_path)
    run.recorder.set_zero(time.monotonic() - 100.0)
    verdict = Verdict(outcome=Outcome.PASSED, reasons=())
    assert result_of(run, {}, verdict).cut_at == ""
    fault_of(run).cuts = [object()]  # type: ignore[list-item]
    fault_of(run).foreign_before = fault_of(run).foreign_after = {}
    cut_at = datetime.fromisoformat(result_of(run, {}, verdict).cut_at)
    assert cut_at.utcoffset() == timedelta(0)
    assert 99.0 < time.time() - cut_at.timestamp() < 160.0


class Standing:
    """A baseline of which this is found at the end."""

    objects = ()

    def __init__(self, status: Status) -> None:
        self._answer = Answer(status=status, reason="Node/worker2 is gone (1 of 9 objects of the baseline)")
        self.asked = 0

    def last_look(self, recorder: Recorder, hurried: threading.Event) -> Answer:
        self.asked += 1
        assert recorder.events == ()  # what it finds still gets into the timeline
        recorder.say(Kind.OBJECT_MISSING, "Node/worker2", "is gone")
        return self._answer


WELL = {"check": "steady_state", "status": "healthy", "summary": "steady after 0.1 s"}
STEADY = {
    "activity": {"name": "a", "type": "probe", "provider": {"module": "chaosext.probes", "func": "steady_state"}},
    "status": "succeeded",
    "output": WELL,
}  # fmt: skip


@pytest.mark.parametrize(
    ("status", "outcome", "verified"),
    [
        (Status.HEALTHY, Outcome.PASSED, None),
        (Status.UNHEALTHY, Outcome.DEVIATED, False),
        (Status.UNKNOWN, Outcome.INCONCLUSIVE, None),
    ],
)
def test_what_is_missing_at_the_end_is_in_the_verdict(
    tmp_path: Path, status: Status, outcome: Outcome, verified: bool | None
) -> None:
    """Every check that was asked is green: two of three nodes resolve, are synced and ready, and none is the third."""
    run = contexts.start(root=tmp_path)
    run.stash[BASELINE] = Standing(status)  # type: ignore[assignment]
    journal = {"run": [STEADY], "rollbacks": [STEADY], "status": "completed"}
    result = finish(run, journal, briefing=None, render=lambda *_: None)
    assert (result.verdict.outcome, result.verdict.rollback_verified) == (outcome, verified)
    assert any("Node/worker2 is gone" in reason for reason in result.verdict.reasons) == (
        status is not Status.HEALTHY
    )
    (complete,) = (each for each in result.rulings if each.rule is VerdictRule.COMPLETE)
    assert complete.status is status
    assert [(event.kind, event.object) for event in result.events] == [(Kind.OBJECT_MISSING, "Node/worker2")]


def test_a_rollback_is_not_verified_while_something_of_the_baseline_is_missing(tmp_path: Path) -> None:
    run = contexts.start(root=tmp_path)
    run.stash[BASELINE] = Standing(Status.UNHEALTHY)  # type: ignore[assignment]
    deviated = {**STEADY, "output": {**WELL, "status": "unhealthy", "summary": "dns_resolvable: dead"}}
    journal = {"run": [deviated], "rollbacks": [STEADY], "status": "completed"}
    result = finish(run, journal, briefing=None, render=lambda *_: None)
    assert (result.verdict.exit_code, result.verdict.rollback_verified) == (11, False)
    assert "rollback not verified: Node/worker2 is gone" in result.verdict.reasons[-1]


def test_a_run_that_is_told_to_leave_or_began_no_method_does_not_look(tmp_path: Path) -> None:
    for journal, left in (({"run": [STEADY]}, Leaving(signal_number=15)), ({}, None)):
        run = contexts.start(root=tmp_path)
        run.stash[BASELINE] = standing = Standing(Status.HEALTHY)  # type: ignore[assignment]
        finish(run, journal, briefing=None, render=lambda *_: None, left=left)
        assert standing.asked == 0


class Sentinels:
    """Notes when they are asked for what."""

    def __init__(self, said: list[str], recorder: Recorder) -> None:
        self.problems, self.clocks = ["the sentinels were not seen gone"], {"a": CLOCK}
        self.within_s: float | None = None
        self._said, self._recorder = said, recorder

    def finish(self, within_s: float | None = None, *, hurried: threading.Event) -> None:
        self.within_s, self.hurried = within_s, hurried
        self._said.append("collected")
        self._recorder.say(Kind.OBSERVATION_LOST, "Node/a", "its record ends here")

    def write_clocks(self) -> None:
        self._said.append(f"clocks written, zero known: {self._recorder.zero_s is not None}")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a run's end does, in its order; its reports are rendered last."""
    steps: list[str] = []

    def healed(*_: Any) -> tuple[str, ...]:
        steps.append("healed")
        return ()

    monkeypatch.setattr(finish_module, "_last_heal", healed)
    monkeypatch.setattr(finish_module, "_unlock", lambda *_: steps.append("unlocked"))
    return steps


def ended(said: list[str], tmp_path: Path, left: Leaving | None = None) -> tuple[RunResult, Sentinels]:
    run = contexts.start(root=tmp_path)
    fault_of(run).cuts.append(None)  # type: ignore[arg-type]
    run.stash[SENTINELS] = sentinels = Sentinels(said, run.recorder)  # type: ignore[assignment]
    result = finish(run, {}, briefing=None, render=lambda *_: said.append("rendered"), left=left)
    return result, sentinels


def test_a_run_heals_first_and_collects_what_the_sentinels_saw_while_it_has_the_cluster(
    said: list[str], tmp_path: Path
) -> None:
    result, sentinels = ended(said, tmp_path)
    assert said == ["healed", "collected", "unlocked", "clocks written, zero known: True", "rendered"]
    assert sentinels.within_s is None
    assert result.clocks == {"a": CLOCK}
    assert result.unobserved["a"][0][1] is None
    assert "the sentinels were not seen gone" in result.verdict.reasons


def test_a_run_that_was_told_to_leave_has_little_time_for_them(said: list[str], tmp_path: Path) -> None:
    left = Leaving()
    left.hear(15)
    _, sentinels = ended(said, tmp_path, left)
    assert sentinels.within_s is not None
    assert sentinels.within_s <= END_S
    assert said.index("healed") < said.index("collected")


def test_a_signal_at_the_end_changes_nothing_but_hurries_it(said: list[str], tmp_path: Path) -> None:
    left = Leaving()
    left.claim()
    left.hear(signal.SIGTERM)
    result, sentinels = ended(said, tmp_path, left)
    assert sentinels.hurried.is_set()
    assert (left.told, sentinels.within_s) == (False, None)
    assert result.verdict.outcome is not Outcome.INTERRUPTED


class Reached:
    """Sentinels of nodes that reached an API server at these moments (monotonic seconds)."""

    def __init__(self, **at_s: float) -> None:
        self._at_s = at_s

    def reached(self, nodes: set[str], since_s: float, until_s: float) -> dict[str, int]:
        return {node: 1 for node, at_s in self._at_s.items() if node in nodes and since_s < at_s < until_s}


PROVEN = Answer(status=Status.HEALTHY, reason="")


@pytest.mark.parametrize(
    ("at_s", "proven"),
    [(103.0, True), (110.0, False), (144.0, True), (150.0, True)],
    ids=["while the nodes are cut one by one", "inside", "while they are healed one by one", "after it"],
)
def test_what_reaches_an_api_server_while_all_nodes_are_cut_was_not_cut_off(
    at_s: float, proven: bool, tmp_path: Path
) -> None:
    run: Any = contexts.start(root=tmp_path)
    fault_of(run).access, fault_of(run).all_cut_s, fault_of(run).healing_s = (
        NodeAccess(transport="pod"),
        105.0,
        145.0,
    )
    fault_of(run).before = CutEvidence(
        paths=(Across(source="w1", towards="cp", target=Target("10.0.0.1", 6443)),), connects={}
    )
    run.stash[SENTINELS] = Reached(w1=at_s)
    seen = finish_module._as_seen_there(run, PROVEN)
    assert seen is not None
    assert seen.status is (Status.HEALTHY if proven else Status.UNKNOWN)
    assert proven or seen.reason == "an API server was reached during the cut from w1 (1 times)"


def test_a_lock_that_can_not_be_given_back_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(finish_module, "unlock_cluster", lambda _: release.wait(60))
    monkeypatch.setattr(finish_module, "UNLOCKED_S", 0.2)
    began_s = time.monotonic()
    finish(contexts.start(root=tmp_path), {}, briefing=None, render=lambda *_: None)
    assert time.monotonic() - began_s < 30
    release.set()
