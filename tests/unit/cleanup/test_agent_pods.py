"""Sentinels of the dead go, those of the living stay; no API server is asked without a reason, or waited for first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from overviews import ALIVE, DEAD, ELSEWHERE, lock, node, sentinels

from chaosext.cleanup import agent_pods
from chaosext.cleanup.agent_pods import clean_up_sentinels, with_sentinels
from chaosext.cleanup.inventory import CleanupScope, LeftoverKind, Overview, RunnerState, Why
from chaosext.cleanup.removal import clean_up
from chaosext.cleanup.survey import Surveyed
from chaosext.cli.cleanup import cleanup_lines
from chaosext.cli.status import status_lines
from chaosext.cluster.daemonset import RUN
from chaosext.cluster.lease import HOLDER
from chaosext.model.errors import Refused, Unreachable
from chaosext.model.owner import me
from chaosext.nodes.shell import NodeAccess
from chaosext.run.agents import node_pods, sentinel_pods
from chaosext.run.session import connection
from chaosext.safety.audit_log import audit_log
from chaosext.safety.intent import intent_log, placed
from chaosext.safety.pins import Pin, write_pin

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.cleanup.inventory import CleanupResult, FoundSentinels
    from chaosext.cluster.daemonset import SentinelDaemonSet
    from chaosext.experiment.settings import Settings
    from chaosext.model.owner import Holder, LockFacts

BED, PROD = "kind-bed", "prod"


class World:
    """Clusters by their contexts: an error where one can't be asked. `asked`: those that were."""

    def __init__(self) -> None:
        self.there: dict[str, FoundSentinels | Exception | None] = {}
        self.asked: list[str] = []
        self.removed: list[tuple[str, str]] = []
        self.stuck = False

    def connect(self, settings: Settings) -> Any:
        self.asked.append(settings.context)
        found = self.there.get(settings.context)
        if isinstance(found, Exception):
            raise found
        return settings.context

    def look(self, context: str, namespace: str) -> SentinelDaemonSet | None:
        found: Any = self.there.get(context)
        return found.sentinels if found and found.sentinels.namespace == namespace else None

    def look_at_lease(self, context: str) -> LockFacts | None:
        found: Any = self.there[context]
        return found.lock if found else None

    def remove(self, context: str, namespace: str, run: str, *, within_s: float) -> bool:
        assert self.look(context, namespace) is not None
        self.removed.append((context, run))
        return not self.stuck


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(connection, "connect", made.connect)
    monkeypatch.setattr(connection, "connect_to_act", made.connect)
    monkeypatch.setattr(agent_pods, "look_at_sentinels", made.look)
    monkeypatch.setattr(agent_pods, "look_at_lease", made.look_at_lease)
    monkeypatch.setattr(sentinel_pods, "remove", made.remove)
    for context in (BED, PROD):
        write_pin(Pin(context=context, server="https://x", ca_sha256="", kube_system_uid="1"))
    return made


def place(run: str, context: str = BED, holder: Holder = DEAD) -> None:
    """As a run does before it places its sentinels; the last word on who it is has `holder`."""
    entry = {"event": "placing", "run": run, "nodes": [], "context": context, **holder.to_json()}
    intent_log().write(entry)


def overview(**more: Any) -> Overview:
    return Overview(nodes=(node("cp"),), placed=placed(intent_log().entries()), **more)


def cleaned(seen: Overview, *contexts: str, dry_run: bool = False, **wanted: Any) -> CleanupResult:
    what = CleanupScope(**wanted)
    return clean_up_sentinels(
        clean_up(Surveyed(seen, {}), what, dry_run=dry_run), seen, what, contexts=contexts
    )


@pytest.mark.parametrize(
    ("found", "runner"),
    [
        (sentinels("a", ALIVE), RunnerState.ALIVE),
        (sentinels("a", DEAD), RunnerState.DEAD),
        (sentinels("a", DEAD, lock=lock("a", DEAD)), RunnerState.DEAD),
        (sentinels("a", ELSEWHERE), RunnerState.UNKNOWN),
        (sentinels("a", ELSEWHERE, lock=lock("a", ELSEWHERE)), RunnerState.ELSEWHERE),
        (sentinels("a", ELSEWHERE, lock=lock("a", ELSEWHERE, 0)), RunnerState.UNKNOWN),
        (sentinels("a", ELSEWHERE, lock=lock("b", ELSEWHERE)), RunnerState.UNKNOWN),
        (sentinels("a", None), RunnerState.UNKNOWN),
    ],
)
def test_what_is_known_of_their_runner(found: FoundSentinels, runner: RunnerState) -> None:
    assert Overview().runner_of(found) is runner


def test_a_lock_on_a_node_speaks_for_a_run_that_can_not_reach_the_api_server() -> None:
    seen = Overview(nodes=(node("cp", lock=lock("a", ELSEWHERE)),))
    assert seen.runner_of(sentinels("a", ELSEWHERE)) is RunnerState.ELSEWHERE


def test_no_api_server_is_asked_without_a_reason(world: World) -> None:
    place("done")
    intent_log().write({"event": "removed", "run": "done", "nodes": []})
    assert with_sentinels(overview()).sentinels == ()
    assert cleaned(overview()).exit_code == 0
    assert world.asked == []


def test_one_is_asked_where_the_intent_log_says_so_or_the_caller(world: World) -> None:
    place("a")
    world.there = {BED: sentinels("a", DEAD, context=BED)}
    seen = with_sentinels(overview(), [PROD])
    assert world.asked == [BED, PROD]
    assert [(each.context, each.sentinels.run) for each in seen.sentinels] == [(BED, "a")]


def test_pods_of_a_run_that_no_log_here_knows_are_found_where_one_enters_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = {
        "metadata": {
            "name": "node-a",
            "namespace": "chaosext",
            "labels": {RUN: "a"},
            "annotations": {HOLDER: str(ELSEWHERE)},
        },
        "spec": {"nodeName": "cp"},
    }
    there = {"chaosext": (pod,)}
    monkeypatch.setattr(agent_pods, "list_pods", lambda _, namespace: there.get(namespace, ()))
    removed: list[tuple[str, str]] = []

    def remove(_: object, namespace: str, run: str, **__: Any) -> bool:
        removed.append((namespace, run))
        return True

    monkeypatch.setattr(node_pods, "remove", remove)
    world.there = {PROD: None}
    assert cleaned(overview(), PROD).removed == ()
    (found,) = cleaned(
        overview(way=NodeAccess(transport="pod", context=PROD, namespace="chaosext")), PROD
    ).removed
    assert (found.kind, found.why) == (LeftoverKind.PODS, Why.ORPHANED)
    assert removed == [("chaosext", "a")]


def test_a_cluster_that_is_not_pinned_any_more_is_left_in_peace(world: World) -> None:
    place("a", "kind-taken-down")
    assert with_sentinels(overview()).problems == ()
    assert world.asked == []


@pytest.mark.parametrize("namespace", ["chaosext", "kube-system"])
def test_sentinels_are_found_in_their_own_namespace_and_where_earlier_versions_put_them(
    world: World, namespace: str
) -> None:
    world.there = {PROD: sentinels("a", DEAD, context=PROD, namespace=namespace)}
    assert [each.run for each in cleaned(overview(), PROD).removed] == ["a"]
    assert world.removed == [(PROD, "a")]


def test_sentinels_are_found_in_a_namespace_that_only_the_intent_log_or_the_command_line_names(
    world: World,
) -> None:
    world.there = {BED: sentinels("a", DEAD, context=BED, namespace="chaos")}
    assert with_sentinels(overview(), [BED]).sentinels == ()
    assert with_sentinels(overview(way=NodeAccess(namespace="chaos")), [BED]).sentinels
    noted = {"event": "placing", "run": "a", "nodes": [], "context": BED, "namespace": "chaos"}
    intent_log().write({**noted, **DEAD.to_json()})
    assert with_sentinels(overview()).sentinels


def test_those_of_the_dead_go_and_are_forgotten(world: World) -> None:
    place("a")
    world.there = {BED: sentinels("a", DEAD, context=BED)}
    done = cleaned(overview())
    assert world.removed == [(BED, "a")]
    assert done.exit_code == 0
    assert list(cleanup_lines(done)) == ["removed: sentinels of run a on kind-bed (orphaned)"]
    (entry,) = audit_log().verified().entries
    assert (entry.says["event"], entry.says["run"], entry.says["context"]) == ("cleaned_up", "a", BED)


def test_those_of_nobody_go_too(world: World) -> None:
    world.there = {PROD: sentinels("a", ELSEWHERE, context=PROD)}
    cleaned(overview(), PROD)
    assert world.removed == [(PROD, "a")]


def test_those_of_a_living_run_stay_unless_it_is_named(world: World) -> None:
    world.there = {BED: sentinels("a", ALIVE, context=BED)}
    done = cleaned(overview(), BED)
    assert (world.removed, done.exit_code) == ([], 0)
    assert (
        next(cleanup_lines(done))
        == "left: sentinels of run a on kind-bed (its process is alive on this machine)"
    )
    assert cleaned(overview(), BED, run="b").left == ()
    cleaned(overview(), BED, run="a")
    assert world.removed == [(BED, "a")]


def test_a_dry_run_takes_nothing_away(world: World) -> None:
    place("a")
    world.there = {BED: sentinels("a", DEAD, context=BED)}
    done = cleaned(overview(), dry_run=True)
    assert [(each.run, each.why) for each in done.removed] == [("a", Why.ORPHANED)]
    assert world.removed == []
    assert [each.run for each in placed(intent_log().entries())] == ["a"]


def test_what_was_not_seen_gone_is_said_with_its_fix(world: World) -> None:
    world.there = {BED: sentinels("a", DEAD, context=BED)}
    world.stuck = True
    done = cleaned(overview(), BED)
    assert done.exit_code == 30
    assert any("kubectl -n chaosext delete daemonset" in line for line in cleanup_lines(done))


def test_an_api_server_that_does_not_answer_is_said_and_the_nodes_are_cleaned_up_all_the_same(
    world: World,
) -> None:
    place("a")
    world.there = {BED: Unreachable("API server of context kind-bed did not answer")}
    done = cleaned(overview())
    assert done.exit_code == 30
    assert list(cleanup_lines(done)) == [
        "not checked: sentinels on kind-bed: API server of context kind-bed did not answer",
        "nothing to clean up",
    ]
    assert [each.run for each in placed(intent_log().entries())] == ["a"]


def test_a_context_that_leads_elsewhere_is_not_acted_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Settings) -> None:
        raise Refused("context kind-bed is not pinned", "pin it")

    monkeypatch.setattr(connection, "connect_to_act", refuse)
    world.there = {BED: sentinels("a", DEAD, context=BED)}
    done = cleaned(overview(), BED)
    assert world.removed == []
    assert [*done.failed.values()] == ["context kind-bed is not pinned: pin it"]


def test_a_placement_that_came_to_nothing_is_forgotten_unless_its_run_lives(world: World) -> None:
    place("died")
    intent_log().write({"event": "placing", "run": "lives", "nodes": [], "context": BED, **me().to_json()})
    assert cleaned(overview()).exit_code == 0
    assert [each.run for each in placed(intent_log().entries())] == ["lives"]


def test_status_says_whose_they_are_and_since_when() -> None:
    lines = [*status_lines(Overview(nodes=(node("cp"),), sentinels=(sentinels("a", DEAD),)))]
    assert lines == [
        "no active cut seen; leftovers of chaosext remain (nodes queried: 1)",
        "cp: nothing of chaosext",
        "kind-chaosext: sentinels of run a of alice@laptop in namespace chaosext, since 2026-11-23 23:04:30 UTC; its "
        "process is dead; `chaosext cleanup` removes them",
    ]
