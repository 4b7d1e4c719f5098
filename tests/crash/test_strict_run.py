"""The strict run over a real chaoslib runner: what stock `chaos run` ends with exit 0 must not end so here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import crash_activities
import pytest
from crash_stage import BRIEFING, HEAL, act, experiment, gate, ours, without_a_cluster

from chaosext.experiment.load import load_experiment
from chaosext.experiment.resolve import resolve
from chaosext.model.errors import Inconclusive, Refused, Unreachable, Unsafe
from chaosext.model.verdict import Outcome
from chaosext.report.render.formats import Ending
from chaosext.run import runner
from chaosext.run.session import run_context as contexts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaosext.model.result import RunResult

    Play = Callable[..., RunResult]

WELL = {"check": "steady_state", "status": "healthy", "summary": "steady", "evidence": []}
ILL = {"check": "steady_state", "status": "unhealthy", "summary": "DNS is dead", "evidence": []}
SEVERED = {"run": "r", "finding": {"check": "cut_effective", "status": "healthy", "summary": "cut"}}


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Run an experiment strictly; its result and files are real."""
    monkeypatch.setenv(crash_activities.LOG, str(tmp_path / "log"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(contexts, "_current", None)
    without_a_cluster(monkeypatch.setattr)

    def playing(value: dict[str, Any], **more: Any) -> RunResult:
        path = tmp_path / "experiment.json"
        path.write_text(json.dumps(value))
        run = contexts.start(strict=True, root=tmp_path / "run")
        return runner.run_strictly(
            resolve(load_experiment(path)), run, render=Ending(), tell=lambda _briefing: None, **more
        )

    return playing


def pretend(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
    """Let chaosext's own activities answer (or raise) what is given, one after the other where it is a list."""
    for name, given in answers.items():
        module = "chaosext.probes" if name in ("steady_state", "cut_effective") else "chaosext.actions"
        left = list(given) if isinstance(given, list) else None

        def activity(
            given: Any = given,
            left: list[Any] | None = left,
            configuration: Any = None,
            secrets: Any = None,
            **_: Any,
        ) -> Any:
            value = left.pop(0) if left is not None else given
            if isinstance(value, Exception):
                raise value
            return value

        monkeypatch.setattr(f"{module}.{name}", activity)


def test_sentinels_are_placed_after_the_gate_and_before_the_method(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "place_sentinels", lambda *_: crash_activities.mark("placed"))
    asked = act("mark", kind="probe", word="asked") | {"tolerance": "asked"}
    play(experiment([act("mark", word="method")], probes=[asked]))
    assert crash_activities.marks()[:3] == ["asked", "placed", "method"]


def test_a_gate_that_fails_places_no_sentinel(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "place_sentinels", lambda *_: crash_activities.mark("placed"))
    play(experiment([act("mark", word="method")], probes=[gate("ill")]))
    assert crash_activities.marks() == []


@pytest.mark.parametrize("error", [Refused("no sentinel on worker-2"), Unreachable("no API server")])
def test_where_no_sentinel_can_be_placed_the_run_is_refused_and_gives_its_lock_back(
    play: Play, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refused(*_: Any) -> None:
        raise error

    monkeypatch.setattr(runner, "place_sentinels", refused)
    monkeypatch.setattr(runner, "unlock_cluster", lambda _: crash_activities.mark("unlocked"))
    with pytest.raises(Refused):
        play(experiment([act("mark", word="method")]))
    assert crash_activities.marks() == ["unlocked"]


def test_what_holds_from_beginning_to_end_passes(play: Play) -> None:
    result = play(experiment([act("mark", word="method")]))
    assert (result.verdict.outcome, result.verdict.exit_code) == (Outcome.PASSED, 0)
    assert crash_activities.marks() == ["method"]


@pytest.mark.parametrize(
    "probe",
    [
        pytest.param(gate("ill"), id="out of tolerance"),
        pytest.param(act("blow", kind="probe") | {"tolerance": "well"}, id="raises"),
        pytest.param(gate({"status": "unknown"}, ["healthy"]), id="unknown"),
    ],
)
def test_a_gate_that_is_not_met_refuses_and_plays_nothing(play: Play, probe: dict[str, Any]) -> None:
    result = play(
        experiment([act("mark", word="method")], probes=[probe], rollbacks=[act("mark", word="back")])
    )
    assert (result.verdict.outcome, result.verdict.exit_code) == (Outcome.REFUSED, 20)
    assert "method" not in crash_activities.marks()
    assert "back" not in crash_activities.marks()


def test_a_gate_whose_tolerance_does_not_fit_refuses(play: Play) -> None:
    """chaoslib compares a list of two as a range and raises TypeError for a text."""
    with pytest.raises(Refused, match="steady-state-hypothesis: TypeError in a tolerance"):
        play(experiment([act("mark", word="method")], probes=[gate("well", [1, 2])]))
    assert crash_activities.marks() == []


@pytest.mark.parametrize("kind", ["action", "probe"])
def test_an_activity_that_raises_is_never_a_pass(play: Play, kind: str) -> None:
    result = play(experiment([act("blow", kind=kind)]))
    assert result.verdict.exit_code == 30
    assert result.verdict.reasons[0] == "blow {}: RuntimeError: (text of 10)"


def test_an_activity_that_ends_the_process_is_never_a_pass(play: Play) -> None:
    assert play(experiment([act("leave", code=0)])).verdict.exit_code == 30


def test_a_rollback_that_raises_is_never_a_pass(play: Play) -> None:
    result = play(experiment([act("mark", word="method")], rollbacks=[act("blow")]))
    assert (result.verdict.outcome, result.verdict.rollback_verified) == (Outcome.DEVIATED, False)
    assert result.verdict.exit_code == 11


def test_a_hypothesis_that_breaks_the_runner_after_the_cut_is_judged_and_healed(play: Play) -> None:
    probe = act("answer_in_turn", kind="probe", values=[1, "text"]) | {"tolerance": [1, 2]}
    result = play(experiment([act("mark", word="method")], probes=[probe]))
    assert result.verdict.exit_code == 30
    assert any("TypeError" in reason for reason in result.verdict.reasons)


def test_a_broken_hypothesis_counts_even_where_the_method_saw_the_steady_state(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, steady_state=WELL)
    probe = act("answer_in_turn", kind="probe", values=[1, "text"]) | {"tolerance": [1, 2]}
    result = play(experiment([HEAL, ours("steady_state", kind="probe")], probes=[probe]))
    assert result.verdict.exit_code == 30


def test_a_refused_cut_ends_the_method(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, sever_control_plane=Refused("peers: none", "name them"))
    result = play(experiment([ours("sever_control_plane", ttl_s=9), act("mark", word="next")]))
    assert (result.verdict.outcome, result.verdict.reasons) == (Outcome.REFUSED, ("peers: none: name them",))
    assert crash_activities.marks() == []


def test_a_refusal_after_the_cut_does_not_claim_that_nothing_was_touched(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, sever_control_plane=SEVERED, cut_effective=Refused("no context", "name it"))
    method = [ours("sever_control_plane", ttl_s=9), ours("cut_effective", kind="probe")]
    assert play(experiment(method)).verdict.outcome is Outcome.INCONCLUSIVE


def test_a_cut_that_can_not_be_proven_is_inconclusive(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, sever_control_plane=Inconclusive("the cut can't be proven", "see the evidence"))
    result = play(experiment([ours("sever_control_plane", ttl_s=9), act("mark", word="next")]))
    assert (result.verdict.outcome, result.verdict.exit_code) == (Outcome.INCONCLUSIVE, 30)
    assert crash_activities.marks() == []


def test_what_may_be_left_is_unsafe(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, sever_control_plane=Unsafe("the cut may be in force on cp", "docker exec cp nft …"))
    result = play(experiment([ours("sever_control_plane", ttl_s=9)]))
    assert (result.verdict.outcome, result.verdict.exit_code) == (Outcome.UNSAFE, 40)


@pytest.mark.parametrize(
    ("after_rollback", "exit_code"), [(WELL, 10), (ILL, 11), (RuntimeError("no answer"), 11), (None, 11)]
)
def test_a_deviation_is_worth_its_rollback(
    play: Play, monkeypatch: pytest.MonkeyPatch, after_rollback: Any, exit_code: int
) -> None:
    pretend(monkeypatch, sever_control_plane=SEVERED, steady_state=[ILL, after_rollback])
    asked = ours("steady_state", kind="probe")
    rollbacks = [act("mark", word="back"), *([asked] if after_rollback else [])]
    result = play(experiment([ours("sever_control_plane", ttl_s=9), HEAL, asked], rollbacks=rollbacks))
    assert (result.verdict.outcome, result.verdict.exit_code) == (Outcome.DEVIATED, exit_code)
    assert crash_activities.marks() == ["back"]


def test_a_part_of_the_steady_state_verifies_no_rollback(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, steady_state=ILL, cut_effective=WELL)
    result = play(
        experiment([ours("steady_state", kind="probe")], rollbacks=[ours("cut_effective", kind="probe")])
    )
    assert result.verdict.exit_code == 11


def test_a_reference_is_played(play: Play) -> None:
    method = [act("mark", name="once", word="method"), {"ref": "once"}]
    assert play(experiment(method)).verdict.outcome is Outcome.PASSED
    assert crash_activities.marks() == ["method", "method"]


def test_a_cluster_that_does_not_answer_at_the_start_is_refused(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: Any) -> None:
        raise Unreachable("worker: no answer within 10 s")

    monkeypatch.setattr(runner, "ready", silent)
    with pytest.raises(Refused, match="no answer within 10 s"):
        play(experiment([act("mark", word="method")]))
    assert crash_activities.marks() == []


def test_what_is_known_is_told_before_anything_is_played(play: Play, tmp_path: Path) -> None:
    told: list[tuple[Any, list[str]]] = []
    path = tmp_path / "told.json"
    path.write_text(json.dumps(experiment([act("mark", word="method")])))
    run = contexts.start(strict=True, root=tmp_path / "run")
    runner.run_strictly(
        resolve(load_experiment(path)),
        run,
        render=Ending(),
        tell=lambda briefing: told.append((briefing, crash_activities.marks())),
    )
    assert told == [(BRIEFING, [])]


def test_a_run_leaves_its_files(play: Play, tmp_path: Path) -> None:
    result = play(experiment([act("answer", value="\ud800 half a letter")]), expected=Outcome.PASSED)
    latest = tmp_path / "run" / "latest"
    assert latest.resolve().name == result.run
    written = json.loads((latest / "result.json").read_text())
    assert (written["verdict"], written["exit_code"], written["expected"]) == ("passed", 0, "passed")
    assert json.loads((latest / "journal.json").read_text())["run"][0]["status"] == "succeeded"
    assert "Passed (exit 0)" in (latest / "summary.md").read_text()
