"""What severing and healing hand on: each step is given exactly what it needs, and its answer goes where it belongs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.checks.cut_effective import LeftOut, Path
from chaosext.checks.tcp_reachability import Target
from chaosext.experiment.cut_request import CutRequest
from chaosext.experiment.settings import Settings
from chaosext.model import clock
from chaosext.model.errors import Inconclusive, Refused, Unsafe
from chaosext.model.findings import Finding, Status
from chaosext.model.owner import Claim
from chaosext.model.paths import state_home
from chaosext.nodes.shell import NodeAccess
from chaosext.partition.apply import ARMING_S, TIMEOUT_S, Hold
from chaosext.partition.cut import Cut, NodeCut, Side, peers_of
from chaosext.partition.reports import ArmReport, HealedNode, HealReport
from chaosext.run.fault import heal, inject, paths_before
from chaosext.run.fault.inject import BASELINE_AGE_S, ON_THE_WAY_S, PREPARED
from chaosext.run.fault.state import fault_of
from chaosext.run.fault.verify import CUT_WATCH
from chaosext.run.session import run_context as contexts
from chaosext.run.session.approval import INTENDED
from chaosext.safety.audit_log import AuditEvent
from chaosext.safety.intent import intent_log

if TYPE_CHECKING:
    from pathlib import Path as FilePath

SETTINGS = Settings(context="kind-a", transport="netns")
WISH = CutRequest(ttl_s=60.0)
NODES = tuple(NodeCut(node=name, uplinks=("eth0",)) for name in ("cp1", "cp2"))
ALL = tuple(SimpleNamespace(name=name) for name in ("cp1", "cp2", "w1", "w2"))
PATHS = tuple(
    Path(source=name, towards="", target=Target("10.0.0.1", port))
    for name, port in (("w1", 1), ("w2", 1), ("w1", 2))
)
GROUND = SimpleNamespace(
    nodes=ALL,
    paths=PATHS,
    kept_paths=(),
    control_plane=ALL[:2],
    blind=("w2",),
    side=Side.CONTROL_PLANE,
)
CLUSTER = SimpleNamespace(
    context="kind-a", namespace_uid=lambda name: f"uid of {name}", environment=lambda: ""
)
BEFORE = SimpleNamespace(paths=("before",))
PROVEN = Finding(check="cut_effective", status=Status.HEALTHY, summary="8 of 8 paths blocked")


@dataclass
class Steps:
    """Stands in for everything that a cut needs: notes each call with what it was given."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    finding: Finding = PROVEN
    ttl_s: float = 60.0
    dead_man_s: float | None = None

    def stand_in(self, name: str, answer: Any = None) -> Any:
        def called(*given: Any, **more: Any) -> Any:
            self.calls.append((name, *given, *more.items()))
            return answer(*given, **more) if callable(answer) else answer

        return called

    def method(self, name: str) -> Any:
        """As `stand_in`, for a class: its `self` is not noted."""
        called = self.stand_in(name)
        return lambda _self, *given, **more: called(*given, **more)

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]

    def cut(self, run: str, owner: str) -> Cut:
        peers = peers_of(["10.0.0.9"])
        return Cut(
            run=run, owner=owner, nodes=NODES, peers=peers, ttl_s=self.ttl_s, dead_man_s=self.dead_man_s
        )


@pytest.fixture
def run(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> contexts.RunContext:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(contexts, "_current", None)
    return contexts.start(root=tmp_path / "run")


@pytest.fixture
def steps(run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch) -> Steps:
    made = Steps()

    def armed(cut: Cut, on: Any, *, hold: Any, decide: Any) -> ArmReport:
        now = clock.now()
        decide(now.later(cut.ttl_s + TIMEOUT_S))
        node = SimpleNamespace(node="cp1", armed_at=now, late_s=0.0, foreign_changes=())
        ends = now.later(cut.step_s)
        return ArmReport(cut=cut, nodes=(node,), elapsed_s=0.1, begins=None, ends=ends)  # type: ignore[arg-type]

    def renewing(*given: Any, **more: Any) -> Any:
        return SimpleNamespace(start=made.stand_in("start"), stop=made.stand_in("stop"), given=given, **more)

    answers = {
        "connect_to_act": CLUSTER,
        "connect": SimpleNamespace(nodes=tuple),
        "survey": GROUND,
        "plan_cut": lambda _wish, _ground, *, run, owner: made.cut(run, owner),
        "require_within_limits": None,
        "shells": lambda names, way: {name: f"{way.transport} of {name}" for name in sorted(names)},
        "listings": lambda on: dict.fromkeys(on, "now"),
        "lock_cluster": None,
        "arm": armed,
        "Renewing": renewing,
        "note_cut": None,
        "proof": lambda _: made.finding,
        "heal_run": None,
        "crash_point": None,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(inject, name, made.stand_in(name, answer))
    monkeypatch.setattr(inject.cut_check, "gather", made.stand_in("gather", BEFORE))
    monkeypatch.setattr(paths_before, "save", made.stand_in("save"))
    monkeypatch.setattr(type(run.trail), "require", made.method("require"))
    monkeypatch.setattr(type(run.trail), "note", made.method("note"))
    return made


SHELLS = {"cp1": "netns of cp1", "cp2": "netns of cp2"}
TOUCHED = ("nodes", ("cp1", "cp2"))


def test_a_plan_is_made_of_the_ground_and_held_against_the_limits(steps: Steps) -> None:
    planned = inject.plan(SETTINGS, WISH, run="r1", owner="a@b")
    cut = steps.cut("r1", "a@b")
    assert (planned.cut, planned.ground, planned.nodes) == (cut, GROUND, GROUND.nodes)
    assert (planned.paths, planned.left_out) == (PATHS, LeftOut())
    assert 0 <= planned.age_s < 60
    assert steps.calls == [
        ("connect_to_act", SETTINGS),
        ("survey", CLUSTER, NodeAccess(transport="netns"), SETTINGS),
        ("plan_cut", WISH, GROUND, ("run", "r1"), ("owner", "a@b")),
        ("require_within_limits", SETTINGS, cut, CLUSTER, GROUND.nodes),
    ]


def test_a_cut_on_the_nodes_side_is_planned_from_elsewhere_only(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = SimpleNamespace(**{**vars(GROUND), "side": Side.NODES})
    monkeypatch.setattr(inject, "survey", steps.stand_in("survey", ground))
    monkeypatch.setattr(inject.irrevocable, "require_elsewhere", steps.stand_in("require_elsewhere"))
    inject.plan(SETTINGS, WISH, run="r1", owner="a@b")
    assert steps.named("require_elsewhere") == [(steps.cut("r1", "a@b"), ALL, CLUSTER)]


def test_a_cut_with_a_delay_is_in_force_when_it_has_begun(
    steps: Steps, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = inject.plan(SETTINGS, WISH, run=run.id, owner=run.owner)
    delayed = replace(planned, cut=replace(planned.cut, delay_s=15.0))
    in_force: list[bool] = []

    def await_begin(context: contexts.RunContext, _: object) -> None:
        in_force.append(fault_of(context).in_force)

    monkeypatch.setattr(inject.irrevocable, "await_begin", steps.stand_in("await_begin", await_begin))
    report = inject._armed(delayed, run, lambda _: None, tuple)
    assert steps.named("await_begin") == [(run, report.all_cut_at)]
    assert (in_force, fault_of(run).in_force) == ([False], True)


@pytest.mark.parametrize(("age_s", "is_refused"), [(BASELINE_AGE_S, False), (BASELINE_AGE_S + 1, True)])
def test_the_last_word_on_a_cut_is_no_to_what_was_looked_up_long_ago(
    steps: Steps, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch, age_s: float, is_refused: bool
) -> None:
    planned = replace(inject.plan(SETTINGS, WISH, run=run.id, owner=run.owner), looked_s=1000.0)
    monkeypatch.setattr(clock, "since_boot_s", lambda: 1000.0 + age_s)
    ends = clock.now().later(70.0)
    if not is_refused:
        inject._decide(SETTINGS, WISH, run, planned, ends)
        assert fault_of(run).cuts == [planned.cut]
        return
    with pytest.raises(Refused) as refused:
        inject._decide(SETTINGS, WISH, run, planned, ends)
    assert refused.value.message == ("the plan of the cut is 121 s old, and may be outdated")
    assert (refused.value.fix, fault_of(run).cuts) == ("run again", [])


@pytest.mark.parametrize(("before_s", "until_s"), [(None, 60.0 + 15.0 + ARMING_S), (1000.0, 1000.0)])
def test_the_last_word_says_until_when_something_may_cut(
    steps: Steps,
    run: contexts.RunContext,
    monkeypatch: pytest.MonkeyPatch,
    before_s: float | None,
    until_s: float,
) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    planned = inject.plan(SETTINGS, WISH, run=run.id, owner=run.owner)
    delayed = replace(planned, cut=replace(planned.cut, delay_s=15.0))
    fault_of(run).expires_at = None if before_s is None else now.later(before_s)
    inject._decide(SETTINGS, WISH, run, delayed, now.later(70.0))
    assert fault_of(run).expires_at == now.later(until_s)


def test_an_approval_is_asked_for_of_what_the_run_intends(
    steps: Steps, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inject, "require_approved", steps.stand_in("require_approved", "the approval"))
    monkeypatch.setattr(inject, "approval_sha256", steps.stand_in("approval_sha256", "ab12"))
    run.stash[INTENDED] = "what the run intends"  # type: ignore[assignment]
    asked = ("require_approved", CLUSTER, run.stash[INTENDED], WISH)
    planned = inject._prepared(SETTINGS, WISH, run)
    assert steps.calls[:2] == [("connect_to_act", SETTINGS), asked]
    steps.calls.clear()
    inject._require_permitted(SETTINGS, WISH, run, planned)
    assert steps.calls[-2:] == [asked, ("approval_sha256", "the approval")]
    assert run.trail.approval_sha256 == "ab12"


def test_preparing_measures_the_paths_and_lists_the_rules(steps: Steps, run: contexts.RunContext) -> None:
    fault_of(run).foreign_before = {"cp1": "as it was at first"}
    planned = inject.prepare(SETTINGS, WISH, run)
    assert planned.cut == steps.cut(run.id, run.owner)
    sources = {"w1": "netns of w1", "w2": "netns of w2"}
    asked = (("blind", ("w2",)), ("kept", ()), ("left_out", LeftOut()))
    assert steps.named("gather") == [(PATHS, sources, *asked)]
    assert steps.named("listings") == [(SHELLS,)]
    assert (fault_of(run).access, fault_of(run).before) == (NodeAccess(transport="netns"), BEFORE)
    assert fault_of(run).foreign_before == {"cp1": "as it was at first", "cp2": "now"}
    assert run.stash[PREPARED] == (WISH, planned)


def test_severing_step_by_step(steps: Steps, run: contexts.RunContext) -> None:
    answer = inject.sever(SETTINGS, WISH, run)
    cut = steps.cut(run.id, run.owner)
    done = [
        call for call in steps.calls if call[0] not in ("survey", "plan_cut", "shells", "gather", "listings")
    ]
    tables = ("tables", (f"inet chaosext_{run.id}",))
    limits = ("require_within_limits", SETTINGS, cut, CLUSTER, GROUND.nodes)
    (decided,) = (
        call for call in done if call[0] == limits[0] and call[-1][1] is not None and len(call) == 6
    )
    (arming,) = (call for call in done if call[0] == "arm")
    until_s = decided[-1][1].timestamp() - time.time()
    assert 60 + TIMEOUT_S - 5 < until_s < 60 + TIMEOUT_S + 5
    assert arming[1:4] == (cut, SHELLS, ("hold", None))
    assert done == [
        ("connect_to_act", SETTINGS),
        ("connect_to_act", SETTINGS),
        limits,
        ("connect_to_act", SETTINGS),
        (*limits, ("until", None)),
        ("lock_cluster", SETTINGS, run, [cut]),
        ("connect", SETTINGS),
        arming,
        ("connect_to_act", SETTINGS),
        decided,
        ("require", AuditEvent.ARMING, TOUCHED, tables),
        ("crash_point", "intent-written"),
        ("crash_point", "armed"),
        *[call for call in done if call[0] == "note_cut"],
        ("note", AuditEvent.ARMED, TOUCHED, tables),
        ("save", "uid of kube-system", BEFORE),
        ("proof", run),
        ("crash_point", "proven"),
    ]
    (noted,) = steps.named("note_cut")
    assert noted[0] is run
    assert (run.trail.context, run.trail.cluster_uid) == ("kind-a", "uid of kube-system")
    assert fault_of(run).cuts == [cut]
    assert fault_of(run).in_force is True
    assert fault_of(run).keepalive is None
    assert fault_of(run).expires_at == noted[1].let_go
    at = fault_of(run).expires_at.as_wall_clock().isoformat(timespec="seconds")
    assert 0 <= answer.pop("command_to_cut_s") < 60
    assert abs(_seconds(answer.pop("expires_at")) - _seconds(at)) <= 1
    assert answer == {
        "run": run.id,
        "ttl_s": 60.0,
        "dead_man_s": None,
        "nodes": ["cp1"],
        "peers": ["10.0.0.9/32"],
        "foreign_rules_identical": True,
        "finding": PROVEN.to_json(),
    }


def _seconds(at: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(at).timestamp()


@pytest.mark.parametrize(
    ("transport", "delay_s", "more"),
    [
        ("netns", 0.0, {"ttl_s": 60.0, "sealed": False}),
        ("pod", 15.0, {"ttl_s": 75.0, "sealed": True, "namespace": "chaos", "image": "img:1"}),
    ],
)
def test_the_intent_says_all_that_a_cleanup_needs(
    steps: Steps, run: contexts.RunContext, transport: str, delay_s: float, more: dict[str, Any]
) -> None:
    way = NodeAccess(transport=transport, namespace="chaos", image="img:1")
    inject._write_intent(replace(steps.cut(run.id, run.owner), delay_s=delay_s), CLUSTER, way)
    (entry,) = intent_log().entries()
    assert {key: entry[key] for key in entry if key not in ("at", "boot", "uptime_s", "holder")} == {
        "event": "intent",
        "run": run.id,
        "context": "kind-a",
        "owner": run.owner,
        "nodes": ["cp1", "cp2"],
        "transport": transport,
        **more,
    }
    assert steps.calls == [("crash_point", "intent-written")]


def test_an_intent_is_written_before_a_cut_that_need_not_be_proven(
    steps: Steps, run: contexts.RunContext
) -> None:
    inject.sever(SETTINGS, WISH, run, prove=False)
    assert [entry["event"] for entry in intent_log().entries()] == ["intent"]
    assert steps.named("proof") == []


def test_a_run_that_has_its_lock_is_permitted_once_and_arms_with_it(
    steps: Steps, run: contexts.RunContext
) -> None:
    held = Hold(claim=Claim(run=run.id, owner="a@b"), ttl_s=60)
    fault_of(run).lock = SimpleNamespace(held=held)  # type: ignore[assignment]
    inject.sever(SETTINGS, WISH, run)
    assert [call[2] for call in steps.named("arm")] == [("hold", held)]
    assert len(steps.named("require_within_limits")) == 2  # of the plan, and the last word


def test_a_cut_that_a_stop_healed_while_it_was_armed_is_not_watched(
    steps: Steps, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = inject.arm

    def healed_meanwhile(*given: Any, **more: Any) -> Any:
        report = arm(*given, **more)
        heal.left_behind(run)  # as the thread that watches for stops does
        return report

    monkeypatch.setattr(heal, "shells", lambda names, _way: {})
    monkeypatch.setattr(inject, "arm", healed_meanwhile)
    inject.sever(SETTINGS, WISH, run)
    assert fault_of(run).in_force  # nodes that were armed after the heal are healed once more at the end
    assert run.stash[CUT_WATCH] is None
    assert fault_of(run).keepalive is None


def test_a_cut_that_is_refused_at_last_is_none(
    steps: Steps, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: Any, until: Any = None) -> None:
        if until:
            raise Refused("not at this hour")

    monkeypatch.setattr(inject, "require_within_limits", late)
    with pytest.raises(Refused, match="not at this hour"):
        inject.sever(SETTINGS, WISH, run)
    assert (fault_of(run).cuts, fault_of(run).expires_at, run.stash[CUT_WATCH]) == ([], None, None)
    assert intent_log().entries() == ()


def test_a_cut_is_watched_once_it_is_armed(steps: Steps, run: contexts.RunContext) -> None:
    inject.sever(SETTINGS, WISH, run)
    watch = run.stash[CUT_WATCH]
    assert watch
    assert (watch.context, watch.cut, watch.ground, watch.ask_nodes) == (
        run,
        fault_of(run).cuts[0],
        GROUND,
        tuple,
    )


def test_a_cut_in_steps_is_renewed_until_its_end(steps: Steps, run: contexts.RunContext) -> None:
    steps.ttl_s, steps.dead_man_s = 600.0, 20.0
    held = Hold(claim=Claim(run=run.id, owner="a@b"), ttl_s=60)
    fault_of(run).lock = SimpleNamespace(held=held)  # type: ignore[assignment]
    answer = inject.sever(SETTINGS, WISH, run)
    renewing: Any = fault_of(run).keepalive
    assert renewing.hold is held
    assert renewing.given == (fault_of(run).cuts[0], SHELLS)
    assert renewing.until == fault_of(run).expires_at
    left_s = -(renewing.until.age_s() or 0.0)
    assert 590 < left_s <= 600
    assert steps.named("start") == [()]
    renewing.renewed()
    assert steps.named("note")[-1] == (AuditEvent.RENEWED, TOUCHED, ("tables", (f"inet chaosext_{run.id}",)))
    assert (answer["ttl_s"], answer["dead_man_s"]) == (600.0, 20.0)
    assert _seconds(answer["expires_at"]) - time.time() > 590


def test_a_step_as_long_as_the_cut_needs_no_renewing(steps: Steps, run: contexts.RunContext) -> None:
    steps.dead_man_s = 60.0
    inject.sever(SETTINGS, WISH, run)
    assert fault_of(run).keepalive is None


def test_a_cut_that_can_not_be_proven_is_healed(steps: Steps, run: contexts.RunContext) -> None:
    steps.finding = replace(PROVEN, status=Status.UNKNOWN, summary="nobody answers")
    with pytest.raises(Inconclusive) as inconclusive:
        inject.sever(SETTINGS, WISH, run)
    assert steps.named("heal_run") == [(run,)]
    assert inconclusive.value.message == (
        "the cut can't be verified, so it was healed at once: nobody answers"
    )
    assert inconclusive.value.fix == "see the evidence of cut_effective"
    assert ("crash_point", "proven") not in steps.calls


def test_a_cut_that_nobody_can_heal_is_over_before_it_is_said_that_it_can_not_be_proven(
    steps: Steps, run: contexts.RunContext
) -> None:
    steps.finding = replace(PROVEN, status=Status.UNKNOWN, summary="nobody answers")
    fault_of(run).cuts, fault_of(run).in_force = [replace(steps.cut(run.id, "a@b"), delay_s=15.0)], True
    fault_of(run).expires_at = clock.now().later(60.0)
    with pytest.raises(Inconclusive) as inconclusive:
        inject._proven(run)
    assert steps.named("heal_run") == [(run,)]
    assert inconclusive.value.message == (
        "the cut can't be verified, so it could not be healed before its TTL: nobody answers"
    )


def test_what_was_made_ready_a_moment_ago_is_taken(steps: Steps, run: contexts.RunContext) -> None:
    inject.prepare(SETTINGS, WISH, run)
    inject.sever(SETTINGS, WISH, run)
    assert len(steps.named("survey")) == 1
    inject.sever(SETTINGS, replace(WISH, ttl_s=61.0), run)
    assert len(steps.named("survey")) == 2
    assert steps.named("plan_cut")[1][0].ttl_s == 61.0


@pytest.mark.parametrize(("more_s", "surveys"), [(-1.0, 0), (0.0, 1), (1.0, 1)])
def test_an_old_baseline_is_measured_anew(
    steps: Steps, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch, more_s: float, surveys: int
) -> None:
    inject.prepare(SETTINGS, WISH, run)
    assert run.stash[PREPARED]
    run.stash[PREPARED] = (WISH, replace(run.stash[PREPARED][1], looked_s=1000.0))
    monkeypatch.setattr(clock, "since_boot_s", lambda: 1000.0 + BASELINE_AGE_S - ON_THE_WAY_S + more_s)
    steps.calls.clear()
    inject.sever(SETTINGS, WISH, run)
    assert len(steps.named("survey")) == surveys
    assert steps.named("connect_to_act")[0] == (SETTINGS,)


# Healing


@pytest.fixture
def healing(run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch) -> Steps:
    made = Steps()
    fault_of(run).cuts, fault_of(run).access, fault_of(run).expires_at = (
        [made.cut(run.id, "a@b")],
        NodeAccess(transport="netns"),
        clock.now().later(60.0),
    )
    fault_of(run).in_force = True
    nodes = tuple(
        HealedNode(node=name, gone=True, was_there=True, foreign_changes=(), foreign_after=f"rules of {name}")
        for name in SHELLS
    )
    answers = {
        "shells": lambda names, way: {name: f"{way.transport} of {name}" for name in sorted(names)},
        "heal": lambda run, on, timeout_s: HealReport(run=run, nodes=nodes, elapsed_s=0.2),
        "note_heal": None,
        "crash_point": None,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(heal, name, made.stand_in(name, answer))
    monkeypatch.setattr(type(run.trail), "note", made.method("note"))
    return made


def test_healing_step_by_step(healing: Steps, run: contexts.RunContext) -> None:
    fault_of(run).keepalive = SimpleNamespace(stop=healing.stand_in("stop"))  # type: ignore[assignment]
    report = heal.heal_run(run)
    assert [call for call in healing.calls if call[0] != "shells"] == [
        ("stop",),
        ("heal", run.id, SHELLS, ("timeout_s", TIMEOUT_S)),
        ("crash_point", "healed"),
        ("crash_point", "gone-written"),
        ("note_heal", run, report),
        ("note", AuditEvent.HEALED, TOUCHED, ("tables", (f"inet chaosext_{run.id}",))),
    ]
    assert fault_of(run).in_force is False
    assert fault_of(run).foreign_after == {"cp1": "rules of cp1", "cp2": "rules of cp2"}
    (entry,) = intent_log().entries()
    assert (entry["event"], entry["run"], entry["nodes"]) == ("gone", run.id, ["cp1", "cp2"])


def test_a_cut_is_watched_no_longer_once_it_is_healed(healing: Steps, run: contexts.RunContext) -> None:
    looked: list[HealReport] = []
    run.stash[CUT_WATCH] = SimpleNamespace(look_at_heal=looked.append)  # type: ignore[assignment]
    report = heal.heal_run(run)
    assert looked == [report]
    assert run.stash[CUT_WATCH] is None


def test_heals_are_counted(healing: Steps, run: contexts.RunContext) -> None:
    for count in (1, 2, 3):
        heal.heal_run(run)
        assert fault_of(run).heals == count


def test_times_are_handed_on(healing: Steps, run: contexts.RunContext) -> None:
    heal.heal_run(run, 3.0)
    assert heal.left_behind(run) == ()
    assert heal.left_behind(run, 2.0) == ()
    assert [call[2] for call in healing.named("heal")] == [
        ("timeout_s", 3.0),
        ("timeout_s", heal.PARTING_S),
        ("timeout_s", 2.0),
    ]


def test_the_word_of_it_is_left_to_a_thread_that_nobody_waits_for(
    healing: Steps, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    thread = heal.threading.Thread

    def spy(**asked: Any) -> Any:
        made.append(asked)
        return thread(**asked)

    monkeypatch.setattr(heal.threading, "Thread", spy)
    heal.heal_run(run)
    assert [(each["name"], each["daemon"]) for each in made] == [("gone", True)]


def test_a_log_that_can_not_be_written_stops_no_heal(
    healing: Steps, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_home().mkdir(parents=True, exist_ok=True)
    (state_home() / "intent.jsonl").mkdir()
    errors: list[Any] = []
    monkeypatch.setattr("threading.excepthook", errors.append)
    heal.heal_run(run)
    assert errors == []
    assert ("crash_point", "gone-written") not in healing.calls


def test_whatever_breaks_while_healing_is_said_with_what_to_do(
    healing: Steps, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(heal, "shells", broken)
    (said,) = heal.left_behind(run)
    by_hand = "; ".join(f"docker exec {name} nft delete table inet chaosext_{run.id}" for name in SHELLS)
    assert said == (
        f"the cut of run {run.id} may still be active on cp1, cp2 (MemoryError while healing): {by_hand}"
    )

    def refused(*_: Any) -> Any:
        raise Refused("no shell", "get one")

    monkeypatch.setattr(heal, "shells", refused)
    assert heal.left_behind(run) == ("no shell: get one",)
    fault_of(run).cuts = []
    assert heal.left_behind(run) == ()


def test_what_broke_while_healing_through_an_api_server_is_cleaned_up_through_it(
    healing: Steps, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault_of(run).access = NodeAccess(transport="pod", context="prod")

    def broken(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(heal, "shells", broken)
    (said,) = heal.left_behind(run)
    assert f"chaosext cleanup --run {run.id} --transport pod --context prod; or by root on cp1, cp2: " in said


def test_a_cut_that_was_not_kept_proves_nothing(run: contexts.RunContext) -> None:
    heal.require_kept(run)
    fault_of(run).lost = ["cp1: all rules of the cut were removed at 3.1 s", "cp2: was restarted"]
    with pytest.raises(Inconclusive) as inconclusive:
        heal.require_kept(run)
    assert inconclusive.value.message == (
        "the cut did not match its plan until it was healed: cp1: all rules of the cut were removed at 3.1 s; "
        "cp2: was restarted"
    )
    assert inconclusive.value.fix == (
        "find what changed it (a firewall restart, or a cleanup: `chaosext audit show`), then run again; "
        "observations since then prove nothing"
    )


def test_what_is_left_is_unsafe(
    healing: Steps, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = (HealedNode(node="cp1", gone=False, problem="dead"),)
    monkeypatch.setattr(
        heal, "heal", lambda run, on, timeout_s: HealReport(run=run, nodes=left, elapsed_s=0.2)
    )
    with pytest.raises(Unsafe):
        heal.heal_run(run)
    assert intent_log().entries() == ()
    assert healing.named("note_heal") == []


def test_the_time_to_the_cut_is_told_in_milliseconds(
    steps: Steps, run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject.prepare(SETTINGS, WISH, run)
    now_s = time.monotonic()
    times = iter([now_s, now_s + 0.12345])
    monkeypatch.setattr(inject, "time", SimpleNamespace(monotonic=lambda: next(times)))
    assert inject.sever(SETTINGS, WISH, run)["command_to_cut_s"] == 0.123


def test_no_cut_is_made_in_the_background(steps: Steps, run: contexts.RunContext) -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(Refused) as refused:
        pool.submit(inject.sever, SETTINGS, WISH, run).result()
    assert refused.value.message == "background: a cut can't run in the background"
    assert refused.value.fix == "remove `background` from this activity"
    assert steps.calls == []
