"""What a result says beyond the verdict's own reasons."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.model.finding import Status
from chaosext.model.result import NodeClock
from chaosext.model.timeline import Kind
from chaosext.model.verdict import Outcome, Verdict
from chaosext.nodes.transport import Way
from chaosext.run import context as contexts
from chaosext.run.judging import finish as finish_module
from chaosext.run.judging.finish import finish, result_of
from chaosext.run.judging.verdict import Answer
from chaosext.run.leaving import END_S, Leaving
from chaosext.steady.cut import CutEvidence
from chaosext.steady.cut import Path as Across
from chaosext.steady.tcp import Target

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.model.result import RunResult
    from chaosext.observe.recorder import Recorder

CLOCK = NodeClock(offset_s=1.0, error_s=0.001, wall_skew_s=90.0)


def test_a_lock_that_was_lost_is_a_reason(tmp_path: Path) -> None:
    run = contexts.start(root=tmp_path)
    run.recorder.set_zero(0.0)
    run.recorder.say(Kind.LOCK_LOST, "Cluster/kind-nowhere", "cp: run b of bob@desk took it over")
    run.recorder.close()
    result = result_of(run, {}, Verdict(outcome=Outcome.PASSED, reasons=("the steady state held",)))
    assert result.verdict.reasons[-1] == "the lock was lost: cp: run b of bob@desk took it over"


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
    run.cuts.append(None)  # type: ignore[arg-type]
    run.sentinels = sentinels = Sentinels(said, run.recorder)  # type: ignore[assignment]
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
    run.way, run.all_cut_s, run.healing_s = Way(transport="pod"), 105.0, 145.0
    run.before = CutEvidence(
        paths=(Across(source="w1", towards="cp", target=Target("10.0.0.1", 6443)),), connects={}
    )
    run.sentinels = Reached(w1=at_s)
    seen = finish_module._as_seen_there(run, PROVEN)
    assert seen is not None
    assert seen.status is (Status.HEALTHY if proven else Status.UNKNOWN)
    assert proven or seen.reason == "an API server was reached inside the cut from w1 (1 times)"


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
