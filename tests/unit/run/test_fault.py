"""Sever and heal: intent first, proof from outside, and whatever happens, nothing of ours is left unsaid."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.model.errors import Inconclusive, Refused, Unreachable, Unsafe
from chaosext.model.finding import Finding, Status
from chaosext.model.places import state_home
from chaosext.model.timeline import Kind
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.reports import HealedNode, HealReport
from chaosext.run import context as contexts
from chaosext.run import fault
from chaosext.run.plan import Wish
from chaosext.run.settings import Settings
from chaosext.safety.intent import IntentLog
from chaosext.steady.cut import CutEvidence

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SETTINGS = Settings(context="kind-nowhere")
WISH = Wish(ttl_s=60)


def intent_file() -> Path:
    return state_home() / "intent.jsonl"


class Stage:
    """Two-phase arming, healing and proving as the rest of the project does them, without a node."""

    def __init__(self, run: contexts.RunContext) -> None:
        self.run = run
        self.proof = Status.HEALTHY
        self.arming: Exception | None = None
        self.was_there: bool | None = True
        self.gone = True
        self.done: list[str] = []

    def cut(self) -> Cut:
        node = NodeCut(node="cp", uplinks=("eth0",))
        return Cut(run=self.run.id, owner="a@b", nodes=(node,), peers=peers_of(["172.18.0.3"]), ttl_s=60)

    def arm(self, cut: Cut, _shells: Mapping[str, Any]) -> Any:
        self.done.append(f"arm after {[entry['event'] for entry in IntentLog(intent_file()).entries()]}")
        if self.arming:
            raise self.arming
        now = datetime.now(UTC)
        return SimpleNamespace(
            cut=cut, armed_at=now, nodes=cut.nodes, foreign_identical=True, expires_at=cut.expires_at(now)
        )

    def heal(self, run: str, shells: Mapping[str, Any]) -> HealReport:
        self.done.append("heal")
        nodes = tuple(
            HealedNode(
                node=name, gone=self.gone, problem="" if self.gone else "no answer", was_there=self.was_there
            )
            for name in shells
        )
        self.was_there = False
        return HealReport(run=run, nodes=nodes, elapsed_s=0.4)

    def sever(self, **more: Any) -> dict[str, Any]:
        return fault.sever(SETTINGS, WISH, self.run, **more)

    def kinds(self) -> list[Kind]:
        self.run.recorder.close()
        return [event.kind for event in self.run.recorder.events]

    def outstanding(self) -> list[tuple[str, ...]]:
        return [each.nodes for each in IntentLog(intent_file()).outstanding()]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(contexts, "_current", None)
    made = Stage(contexts.start(root=tmp_path / "run"))

    def prepare(_settings: Settings, _wish: Wish, context: contexts.RunContext) -> Cut:
        context.before = CutEvidence(paths=(), connects={})
        return made.cut()

    def judge(*_: Any) -> Finding:
        return Finding(check="cut_effective", status=made.proof, summary=f"it is {made.proof}")

    monkeypatch.setattr(fault, "prepare", prepare)
    monkeypatch.setattr(fault, "connect", lambda _settings: SimpleNamespace(context="kind-nowhere"))
    monkeypatch.setattr(fault, "arm", made.arm)
    monkeypatch.setattr(fault, "heal", made.heal)
    monkeypatch.setattr(fault.cut_check, "judge", judge)
    monkeypatch.setattr(fault.cut_check, "gather", lambda *_: None)
    return made


def test_a_cut_is_intended_made_proven_and_taken_away(stage: Stage) -> None:
    answer = stage.sever()
    assert (answer["nodes"], answer["peers"], answer["ttl_s"]) == (["cp"], ["172.18.0.3/32"], 60)
    assert answer["finding"]["status"] == "healthy"
    assert stage.done == ["arm after ['intent']"]
    assert stage.outstanding() == [("cp",)]
    fault.heal_run(stage.run)
    assert stage.outstanding() == []
    assert stage.kinds() == [Kind.CUT, Kind.HEAL]


def test_a_second_heal_is_no_news(stage: Stage) -> None:
    stage.sever()
    fault.heal_run(stage.run)
    assert fault.left_behind(stage.run) == ()
    assert stage.kinds() == [Kind.CUT, Kind.HEAL]


def test_a_heal_that_could_not_be_listed_before_is_told(stage: Stage) -> None:
    stage.sever()
    stage.was_there = None
    fault.heal_run(stage.run)
    assert stage.kinds() == [Kind.CUT, Kind.HEAL]


@pytest.mark.parametrize("proof", [Status.UNHEALTHY, Status.UNKNOWN])
def test_a_cut_that_is_not_proven_is_healed_at_once(stage: Stage, proof: Status) -> None:
    stage.proof = proof
    with pytest.raises(Inconclusive, match=f"healed at once: it is {proof}"):
        stage.sever()
    assert stage.done[-1] == "heal"
    assert stage.outstanding() == []


def test_proving_may_be_left_to_others(stage: Stage) -> None:
    stage.proof = Status.UNHEALTHY
    assert stage.sever(prove=False)["finding"] is None


def test_a_cut_that_fails_while_it_is_armed_is_still_ours_to_heal(stage: Stage) -> None:
    stage.arming = Inconclusive("cp: the script ended early")
    with pytest.raises(Inconclusive):
        stage.sever()
    assert fault.left_behind(stage.run) == ()
    assert stage.done[-1] == "heal"
    assert stage.outstanding() == []


def test_without_an_intent_on_disk_nothing_is_cut(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    intent_file().parent.mkdir(parents=True)
    intent_file().mkdir()
    with pytest.raises(Refused, match="can't be written"):
        stage.sever()
    assert stage.done == []
    assert fault.left_behind(stage.run) == ()


def test_what_can_not_be_seen_gone_is_said_with_its_remedy(stage: Stage) -> None:
    stage.sever()
    stage.gone = False
    with pytest.raises(Unsafe):
        fault.heal_run(stage.run)
    (left,) = fault.left_behind(stage.run)
    assert f"the cut of run {stage.run.id} may still be in force on cp (no answer)" in left
    assert f"docker exec cp nft delete table inet chaosext_{stage.run.id}" in left
    assert stage.outstanding() == [("cp",)]
    assert Kind.HEAL not in stage.kinds()


@pytest.mark.parametrize("error", [Unreachable("no docker"), Inconclusive("disk full"), Refused("no shell")])
def test_whatever_hinders_the_last_heal_is_said(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    stage.sever()

    def hindered(*_: Any) -> HealReport:
        raise error

    monkeypatch.setattr(fault, "heal", hindered)
    assert fault.left_behind(stage.run) == (str(error),)


def test_a_run_that_cut_nothing_leaves_nothing(stage: Stage) -> None:
    assert fault.left_behind(stage.run) == ()
    assert stage.done == []


def test_a_later_process_heals_what_was_left(stage: Stage) -> None:
    stage.sever()
    (report,) = fault.heal_outstanding(None)
    assert (report.run, [node.node for node in report.nodes]) == (stage.run.id, ["cp"])
    assert fault.heal_outstanding(None) == ()


def test_a_node_may_be_named_whatever_the_log_says(stage: Stage) -> None:
    (report,) = fault.heal_outstanding("someotherrun", ["worker"])
    assert (report.run, [node.node for node in report.nodes]) == ("someotherrun", ["worker"])
