"""Sever and heal: intent first, proof from outside, and whatever happens, nothing of ours is left unsaid."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from chaosext import actions
from chaosext.checks.cut_effective import CutEvidence, LeftOut
from chaosext.checks.cut_effective import Path as CutPath
from chaosext.checks.tcp_reachability import Connect, Reach, Target
from chaosext.experiment.cut_request import CutRequest
from chaosext.experiment.settings import Settings
from chaosext.model import clock
from chaosext.model.errors import Inconclusive, Refused, Unreachable, Unsafe
from chaosext.model.findings import Finding, Status
from chaosext.model.paths import state_home
from chaosext.model.timeline import Kind
from chaosext.partition.apply import STRAGGLER_S, TIMEOUT_S
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.reports import HealedNode, HealReport
from chaosext.run.fault import heal, inject, paths_before, verify
from chaosext.run.fault.cut_plan import Topology
from chaosext.run.fault.inject import PREPARED
from chaosext.run.fault.state import fault_of
from chaosext.run.session import run_context as contexts
from chaosext.safety.intent import IntentLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from chaosext.model.clock import Moment

SETTINGS = Settings(context="kind-nowhere")
WISH = CutRequest(ttl_s=60)
UID = "0a1b2c3d"
PATH = CutPath(source="w", towards="cp", target=Target("172.18.0.2", 6443))


def measured(reach: Reach) -> CutEvidence:
    return CutEvidence(paths=(PATH,), connects={PATH: Connect(node="w", target=PATH.target, reach=reach)})


def intent_file() -> Path:
    return state_home() / "intent.jsonl"


class Stage:
    """Two-phase arming, healing and proving as the rest of the project does them, without a node."""

    def __init__(self, run: contexts.RunContext) -> None:
        self.run = run
        self.proof = Status.HEALTHY
        self.age_s = 0.0
        self.arming: Exception | None = None
        self.armed_at = clock.now()
        self.now = measured(Reach.OPEN)
        self.was_there: bool | None = True
        self.gone = True
        self.beyond_a_limit = False
        self.held_by_another = False
        self.done: list[str] = []

    def cut(self) -> Cut:
        node = NodeCut(node="cp", uplinks=("eth0",))
        return Cut(run=self.run.id, owner="a@b", nodes=(node,), peers=peers_of(["172.18.0.3"]), ttl_s=60)

    def planned(self) -> inject.Planned:
        ground = Topology(nodes=(), networks={}, pools=(), workers=())
        return inject.Planned(
            cut=self.cut(),
            ground=ground,
            paths=(),
            left_out=LeftOut(),
            looked_s=clock.since_boot_s() - self.age_s,
        )

    def within_limits(self, *_: Any, **__: Any) -> None:
        if self.beyond_a_limit:
            raise Refused("ttl_s: 60 s is too long", "ask for less")

    def lock(self, *_: Any) -> None:
        if self.held_by_another:
            raise Refused("lock: run other of a@b holds node cp", "wait for it to end")

    def arm(
        self, cut: Cut, _shells: Mapping[str, Any], *, hold: Any, decide: Callable[[Moment], None]
    ) -> Any:
        assert hold is None
        decide(clock.now().later(cut.ttl_s + TIMEOUT_S))
        self.done.append(f"arm after {[entry['event'] for entry in IntentLog(intent_file()).entries()]}")
        if self.arming:
            raise self.arming
        return SimpleNamespace(
            cut=cut,
            cut_at=self.armed_at,
            all_cut_at=self.armed_at,
            nodes=cut.nodes,
            foreign_identical=True,
            let_go=self.armed_at.later(cut.ttl_s),
        )

    def heal(self, run: str, shells: Mapping[str, Any], **_: Any) -> HealReport:
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
        return inject.sever(SETTINGS, WISH, self.run, **more)

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

    def prepare(_settings: Settings, _wish: CutRequest, context: contexts.RunContext) -> inject.Planned:
        fault_of(context).before = measured(Reach.OPEN)
        return made.planned()

    def judge(*_: Any) -> Finding:
        return Finding(check="cut_effective", status=made.proof, summary=f"it is {made.proof}")

    monkeypatch.setattr(inject, "prepare", prepare)
    cluster = SimpleNamespace(context="kind-nowhere", namespace_uid=lambda _name: UID, environment=lambda: "")
    monkeypatch.setattr(inject, "connect_to_act", lambda _settings: cluster)
    monkeypatch.setattr(inject, "connect", lambda _settings: SimpleNamespace(nodes=lambda: ()))
    monkeypatch.setattr(inject, "require_within_limits", made.within_limits)
    monkeypatch.setattr(inject, "lock_cluster", made.lock)
    monkeypatch.setattr(inject, "arm", made.arm)
    monkeypatch.setattr(heal, "heal", made.heal)
    monkeypatch.setattr(verify.cut_check, "judge", judge)
    monkeypatch.setattr(verify.cut_check, "gather", lambda *_, **__: made.now)
    return made


def test_a_cut_is_intended_made_proven_and_taken_away(stage: Stage) -> None:
    answer = stage.sever()
    assert (answer["nodes"], answer["peers"], answer["ttl_s"]) == (["cp"], ["172.18.0.3/32"], 60)
    assert answer["finding"]["status"] == "healthy"
    assert stage.done == ["arm after ['intent']"]
    assert stage.outstanding() == [("cp",)]
    heal.heal_run(stage.run)
    assert stage.outstanding() == []
    assert stage.kinds() == [Kind.CUT, Kind.HEAL]


def test_a_second_heal_is_no_news(stage: Stage) -> None:
    stage.sever()
    heal.heal_run(stage.run)
    assert heal.left_behind(stage.run) == ()
    assert stage.kinds() == [Kind.CUT, Kind.HEAL]


def test_a_heal_that_could_not_be_listed_before_is_told(stage: Stage) -> None:
    stage.sever()
    stage.was_there = None
    heal.heal_run(stage.run)
    assert stage.kinds() == [Kind.CUT, Kind.HEAL]


@pytest.mark.parametrize("answer", [Status.UNHEALTHY, Status.UNKNOWN])
def test_a_cut_that_is_not_proven_is_healed_at_once(stage: Stage, answer: Status) -> None:
    stage.proof = answer
    with pytest.raises(Inconclusive, match=f"healed at once: it is {answer}"):
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
    assert heal.left_behind(stage.run) == ()
    assert stage.done[-1] == "heal"
    assert stage.outstanding() == []


def test_without_an_intent_on_disk_nothing_is_cut(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    intent_file().parent.mkdir(parents=True)
    intent_file().mkdir()
    with pytest.raises(Refused, match="can't be written"):
        stage.sever()
    assert stage.done == []
    assert heal.left_behind(stage.run) == ()


def test_what_can_not_be_seen_gone_is_said_with_its_remedy(stage: Stage) -> None:
    stage.sever()
    stage.gone = False
    with pytest.raises(Unsafe):
        heal.heal_run(stage.run)
    (left,) = heal.left_behind(stage.run)
    assert f"the cut of run {stage.run.id} may still be active on cp (no answer)" in left
    assert f"docker exec cp nft delete table inet chaosext_{stage.run.id}" in left
    assert stage.outstanding() == [("cp",)]
    assert Kind.HEAL not in stage.kinds()


@pytest.mark.parametrize("error", [Unreachable("no docker"), Inconclusive("disk full"), Refused("no shell")])
def test_whatever_hinders_the_last_heal_is_said(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    stage.sever()

    def hindered(*_: Any, **__: Any) -> HealReport:
        raise error

    monkeypatch.setattr(heal, "heal", hindered)
    assert heal.left_behind(stage.run) == (str(error),)


def test_a_disk_that_hangs_holds_up_no_heal(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.sever()
    works_again = threading.Event()
    monkeypatch.setattr("os.fsync", lambda _handle: works_again.wait(60))
    began_s = time.monotonic()
    assert heal.left_behind(stage.run) == ()
    assert time.monotonic() - began_s < 10
    works_again.set()


def test_a_last_heal_that_fails_for_no_known_reason_is_unsafe(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.sever()

    def at_its_end(*_: Any, **__: Any) -> HealReport:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(heal, "heal", at_its_end)
    (left,) = heal.left_behind(stage.run)
    assert left.startswith(f"the cut of run {stage.run.id} may still be active on cp (RuntimeError")
    assert left.endswith(f"docker exec cp nft delete table inet chaosext_{stage.run.id}")


def test_a_run_that_cut_nothing_leaves_nothing(stage: Stage) -> None:
    assert heal.left_behind(stage.run) == ()
    assert stage.done == []


def heal_event(stage: Stage) -> tuple[float, str]:
    stage.run.recorder.close()
    (event,) = [event for event in stage.run.recorder.events if event.kind is Kind.HEAL]
    return event.t_s, event.detail


def test_a_heal_before_the_ttl_is_when_the_network_is_back(stage: Stage) -> None:
    stage.armed_at = clock.now().later(-20)
    stage.sever()
    heal.heal_run(stage.run)
    at_s, detail = heal_event(stage)
    assert at_s == pytest.approx(20, abs=2)
    assert detail.startswith("cut removed")


def test_after_its_ttl_the_network_was_back_when_the_kernel_let_go(stage: Stage) -> None:
    stage.armed_at = clock.now().later(-100)
    stage.sever()
    heal.heal_run(stage.run)
    at_s, detail = heal_event(stage)
    assert at_s == pytest.approx(60, abs=2)
    assert "expired in the kernel" in detail


def test_a_script_that_was_given_up_may_still_cut_for_its_ttl(stage: Stage) -> None:
    """Until it is ended on its node: by then rules may come in, and they hold for the whole TTL."""
    stage.arming = Inconclusive("cp: the script ended early")
    began = clock.now()
    with pytest.raises(Inconclusive):
        stage.sever()
    assert fault_of(stage.run).expires_at is not None
    assert fault_of(stage.run).expires_at >= began.later(TIMEOUT_S + STRAGGLER_S + 60)


@pytest.mark.parametrize("refused", [True, False])
def test_a_second_cut_of_a_run_does_not_end_its_first(stage: Stage, refused: bool) -> None:
    """Else a node that hangs would be believed free long before its kernel lets go."""
    stage.sever()
    let_go, short = fault_of(stage.run).expires_at, replace(stage.cut(), ttl_s=1)
    stage.arming = Refused("cp: the run is in force") if refused else None
    with suppress(Refused):
        inject._armed(replace(stage.planned(), cut=short), stage.run, lambda _: None, tuple)
    assert fault_of(stage.run).expires_at == let_go


def test_after_the_ttl_a_node_that_is_no_more_is_written_off(stage: Stage) -> None:
    stage.armed_at = clock.now().later(-61)
    stage.sever()
    stage.gone = False
    with pytest.raises(Inconclusive, match=r"could not be seen gone on cp \(no answer\); its TTL is over"):
        heal.heal_run(stage.run)
    assert heal.left_behind(stage.run) == ()
    assert stage.outstanding() == []


def test_other_processes_are_left_the_baseline_of_a_cut_that_was_made(stage: Stage) -> None:
    stage.sever()
    assert paths_before.load(UID) == measured(Reach.OPEN)
    assert paths_before.load("another-cluster") is None


def test_a_cut_that_was_refused_leaves_the_baseline_of_the_one_in_force(stage: Stage) -> None:
    paths_before.save(UID, measured(Reach.REFUSED))
    stage.arming = Refused("cp: run other is in force")
    with pytest.raises(Refused):
        stage.sever()
    assert paths_before.load(UID) == measured(Reach.REFUSED)


def test_a_baseline_that_can_not_be_kept_ends_no_cut(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(paths_before, "save", full)
    assert stage.sever()["finding"]["status"] == "healthy"


def test_an_old_baseline_says_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    paths_before.save(UID, measured(Reach.OPEN))
    hours_later = time.time() + 2 * paths_before.MAX_AGE_S
    monkeypatch.setattr(paths_before.time, "time", lambda: hours_later)
    assert paths_before.load(UID) is None


@pytest.mark.parametrize(
    ("reach", "status"),
    [(Reach.OPEN, "healthy"), (Reach.TIMED_OUT, "unhealthy"), (Reach.UNKNOWN, "unknown")],
)
def test_a_heal_says_whether_the_paths_are_open_again(stage: Stage, reach: Reach, status: str) -> None:
    stage.sever()
    stage.now = measured(reach)
    answer = actions.heal_control_plane()
    assert (answer["run"], answer["nodes"][0]["gone"]) == (stage.run.id, True)
    assert answer["finding"]["status"] == status


def test_a_heal_whose_paths_can_not_be_measured_is_a_heal(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.sever()

    def hindered(*_: Any, **__: Any) -> CutEvidence:
        raise Unreachable("no docker")

    monkeypatch.setattr(verify.cut_check, "gather", hindered)
    finding = actions.heal_control_plane()["finding"]
    assert (finding["status"], finding["summary"]) == ("unknown", "no docker")


def test_a_heal_of_nothing_measures_nothing(stage: Stage) -> None:
    fault_of(stage.run).before = measured(Reach.OPEN)
    assert actions.heal_control_plane()["finding"] is None


def test_the_limits_are_asked_again_at_the_moment_of_acting(stage: Stage) -> None:
    stage.run.stash[PREPARED] = (WISH, stage.planned())
    stage.beyond_a_limit = True
    with pytest.raises(Refused, match="too long"):
        stage.sever()
    assert (stage.done, stage.outstanding(), fault_of(stage.run).cuts) == ([], [], [])


def test_without_the_lock_nothing_is_touched(stage: Stage) -> None:
    stage.held_by_another = True
    with pytest.raises(Refused, match="run other of a@b holds node cp"):
        stage.sever()
    assert (stage.done, stage.outstanding(), fault_of(stage.run).cuts) == ([], [], [])


def test_a_plan_that_grew_old_on_the_way_to_the_nodes_is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runner was stopped between the two, or its machine: by then the nodes may have other addresses."""
    awake = clock.since_boot_s
    asked = iter([0.0, 0.0, inject.BASELINE_AGE_S + 1, inject.BASELINE_AGE_S + 1])
    monkeypatch.setattr(clock, "since_boot_s", lambda: awake() + next(asked))
    stage.run.stash[PREPARED] = (WISH, stage.planned())
    with pytest.raises(Refused, match=r"the plan of the cut is 12\d s old"):
        stage.sever()
    assert (stage.done, stage.outstanding(), fault_of(stage.run).cuts) == ([], [], [])


def test_no_cut_is_made_in_the_background(stage: Stage) -> None:
    """Whoever leaves heals, and does not wait for it: it would cut after the last heal."""
    with ThreadPoolExecutor(1) as pool, pytest.raises(Refused, match="background"):
        pool.submit(stage.sever).result()
    assert (stage.done, fault_of(stage.run).cuts) == ([], [])


def test_another_cluster_behind_the_context_by_now_is_not_touched(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(_settings: Settings) -> None:
        raise Refused("context kind-nowhere leads to another cluster than the pinned one", "…")

    monkeypatch.setattr(inject, "connect_to_act", elsewhere)
    stage.run.stash[PREPARED] = (WISH, stage.planned())
    with pytest.raises(Refused, match="another cluster"):
        stage.sever()
    assert (stage.done, stage.outstanding(), fault_of(stage.run).cuts) == ([], [], [])


def test_a_cut_that_was_gone_before_its_heal_proves_nothing(stage: Stage) -> None:
    stage.sever()
    stage.was_there = False
    heal.heal_run(stage.run)
    with pytest.raises(
        Inconclusive, match=r"cp: all rules of the cut were removed at \d\.\d s, by something other"
    ):
        heal.require_kept(stage.run)
    heal.heal_run(stage.run)
    assert heal.left_behind(stage.run) == ()
    assert stage.kinds() == [Kind.CUT, Kind.CUT_LOST]


def test_a_cut_that_somebody_cleaned_up_after_its_ttl_was_whole(stage: Stage) -> None:
    stage.armed_at = clock.now().later(-61)
    stage.sever()
    stage.was_there = False
    assert heal.heal_run(stage.run).left == ()
