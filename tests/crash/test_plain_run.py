"""Plain Chaos Toolkit with our control: sentinels after the gate and before the method, or nothing is played."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import crash_activities
import pytest
from chaoslib.types import Dry
from crash_stage import BRIEFING, act, experiment, gate

from chaosext import controls
from chaosext.model.errors import Refused
from chaosext.run import chaostoolkit
from chaosext.run.session import run_context as contexts
from chaosext.safety.approvals import Said, Word, approval_digest, write_word
from chaosext.safety.pins import Pin, write_pin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Play = Callable[..., dict[str, Any]]

CONTROL = {"name": "chaosext", "provider": {"type": "python", "module": "chaosext.controls"}}


@pytest.fixture
def environment() -> str:
    """What the cluster is for."""
    return ""


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str) -> Play:
    """Run an experiment as `chaos run` does; the result that our control writes."""
    monkeypatch.setenv(crash_activities.LOG, str(tmp_path / "log"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("CHAOSEXT_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(contexts, "_current", None)
    monkeypatch.setattr(controls, "_attended", None)
    cluster = SimpleNamespace(
        context="kind-nowhere", namespace_uid=lambda _: "uid", environment=lambda: environment
    )
    pin = Pin(context="kind-nowhere", server="s", ca_sha256="", kube_system_uid="uid")
    write_pin(pin, tmp_path / "config" / "chaosext" / "pins.json")
    monkeypatch.setattr(chaostoolkit, "connect", lambda _: cluster)
    monkeypatch.setattr(chaostoolkit, "brief", lambda *_: BRIEFING)
    monkeypatch.setattr(chaostoolkit.Baseline, "take", lambda *_: None)
    monkeypatch.setattr(chaostoolkit, "begin_baseline", lambda *_: None)
    monkeypatch.setattr(chaostoolkit, "surroundings", lambda _: None)
    watching = SimpleNamespace(__enter__=lambda: None, __exit__=lambda: None)
    monkeypatch.setattr(chaostoolkit, "Watching", lambda *_: watching)
    monkeypatch.setattr(chaostoolkit, "lock_cluster", lambda *_: crash_activities.mark("locked"))
    monkeypatch.setattr(chaostoolkit, "place_sentinels", lambda *_: crash_activities.mark("placed"))

    def playing(value: dict[str, Any], strategy: str = "default") -> dict[str, Any]:
        from chaoslib.experiment import run_experiment

        settings = {"runtime": {"rollbacks": {"strategy": strategy}}}
        run_experiment({**value, "controls": [CONTROL]}, settings)
        result: dict[str, Any] = json.loads((tmp_path / "run" / "latest" / "result.json").read_text())
        return result

    return playing


def whole(**configuration: Any) -> dict[str, Any]:
    asked = act("mark", kind="probe", word="asked") | {"tolerance": "asked"}
    return experiment(
        [act("mark", word="method")], probes=[asked], rollbacks=[act("mark", word="back")], **configuration
    )


def test_they_are_placed_after_the_gate_and_before_the_method(play: Play) -> None:
    result = play(whole())
    assert crash_activities.marks()[:4] == ["asked", "locked", "placed", "method"]
    assert result["verdict"] == "passed"


def test_a_run_that_wants_none_takes_no_lock_before_its_cut(play: Play) -> None:
    play(whole(chaosext_sentinel=False))
    assert crash_activities.marks()[:2] == ["asked", "method"]


@pytest.mark.parametrize(
    ("dry", "touched"),
    [(Dry.ACTIONS, False), (Dry.ACTIVITIES, False), (Dry.PROBES, True), (Dry.PAUSE, True)],
)
def test_a_dry_run_that_plays_no_action_touches_nothing(play: Play, dry: Dry, touched: bool) -> None:
    play({**whole(), "dry": dry})
    assert ("placed" in crash_activities.marks()) is touched
    assert ("locked" in crash_activities.marks()) is touched


def test_a_gate_that_fails_places_none(play: Play) -> None:
    value = whole()
    value["steady-state-hypothesis"]["probes"] = [gate("ill")]
    play(value)
    assert "placed" not in crash_activities.marks()


def test_where_they_can_t_be_placed_nothing_is_played_and_the_result_says_why(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise Refused("no sentinel on worker-2", "mend it")

    monkeypatch.setattr(chaostoolkit, "place_sentinels", refused)
    result = play(whole())
    assert crash_activities.marks() == ["asked", "locked"]
    assert result["verdict"] == "inconclusive"
    assert "no sentinel on worker-2: mend it" in result["reasons"]


@pytest.mark.parametrize("environment", ["production"])
def test_on_a_production_cluster_nothing_is_played_but_what_was_approved(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = play(whole())
    assert crash_activities.marks() == []
    (refusal,) = [
        reason for reason in result["reasons"] if "where only approved experiments may act" in reason
    ]
    digest = approval_digest({**whole(), "controls": [CONTROL]}, {})
    assert f"digest {digest}: it is not approved for this cluster (uid)" in refusal

    approved = Word(
        said=Said.APPROVED,
        sha256=digest,
        cluster_uid="uid",
        context="kind-nowhere",
        by="alice",
        at=datetime.now(UTC),
    )
    write_word(approved)
    monkeypatch.setattr(contexts, "_current", None)
    assert play(whole())["verdict"] == "passed"
    assert "method" in crash_activities.marks()


def stopping(*answers: str) -> dict[str, Any]:
    """An experiment whose method sleeps, and whose stop condition is asked each second."""
    probe = {**act("answer_in_turn", kind="probe", values=list(answers)), "tolerance": "well"}
    condition = {"name": "wellness", "probe": probe, "every_s": 1}
    return experiment(
        [act("snooze", word="asleep", seconds=60), act("mark", word="next")],
        rollbacks=[act("mark", word="back")],
        chaosext_sentinel=False,
        chaosext_stop_conditions=[condition],
    )


@pytest.mark.parametrize(("strategy", "restored"), [("always", True), ("default", False)])
def test_a_stop_condition_ends_the_method_and_leaves_the_rollbacks_to_chaos_toolkits_strategy(
    play: Play, strategy: str, restored: bool
) -> None:
    result = play(stopping("well", "ill"), strategy)
    marks = [word for word in crash_activities.marks() if word != "asked"]
    assert marks == ["asleep", *(["back"] if restored else [])]
    assert (result["verdict"], result["stopped"]["name"]) == ("interrupted", "wellness")


def test_a_stop_condition_that_is_true_already_keeps_the_method_from_being_played(play: Play) -> None:
    result = play(stopping("ill"))
    assert crash_activities.marks() == ["asked"]
    assert any("stop condition 'wellness' is already true" in reason for reason in result["reasons"])
