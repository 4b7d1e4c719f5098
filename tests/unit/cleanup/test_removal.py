"""Cleanup removes what expired or belongs to a dead run, leaves living runs alone, and leaves no run stuck."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from overviews import ALIVE, DEAD, ELSEWHERE, cut, lock, node, unfinished
from test_survey import compare

from chaosext.cleanup import removal, survey
from chaosext.cleanup.inventory import CleanupScope, LeftoverKind, Overview, Why
from chaosext.cleanup.removal import decide
from chaosext.cleanup.survey import Surveyed
from chaosext.cli.cleanup import cleanup_lines
from chaosext.cli.main import invoke
from chaosext.model.errors import Refused, Unsafe
from chaosext.nodes.shell import NodeAccess
from chaosext.partition.reports import HealedNode, HealReport
from chaosext.safety.audit_log import audit_log
from chaosext.safety.intent import Outstanding, intent_log

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from chaosext.cleanup.inventory import CleanupResult
    from chaosext.partition.nft import TableFacts
    from chaosext.partition.reports import NodeTables

HUNG = "no answer within 10 s"


class World:
    """Nodes that lose what is removed from them, but for those in `stuck`."""

    def __init__(self) -> None:
        self.stuck: set[str] = set()
        self.removed: list[tuple[str, str, list[str]]] = []

    def heal(self, run: str, shells: Mapping[str, Any]) -> HealReport:
        self.removed.append(("cut", run, sorted(shells)))
        nodes = (
            HealedNode(node=name, gone=name not in self.stuck, problem=HUNG * (name in self.stuck))
            for name in shells
        )
        return HealReport(run=run, nodes=tuple(nodes), elapsed_s=0.4)

    def remove_lock(self, run: str, shells: Mapping[str, Any]) -> dict[str, str]:
        self.removed.append(("lock", run, sorted(shells)))
        return {name: HUNG for name in shells if name in self.stuck}

    def clean_up(self, overview: Overview, dry_run: bool = False, **wanted: Any) -> CleanupResult:
        shells: Any = {each.node: each.node for each in overview.nodes}
        return removal.clean_up(Surveyed(overview, shells), CleanupScope(**wanted), dry_run=dry_run)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(removal, "heal", made.heal)
    monkeypatch.setattr(removal, "remove_lock", made.remove_lock)
    return made


def overview(*nodes: NodeTables, runs: tuple[Outstanding, ...] = ()) -> Overview:
    holders = {run.run: run.holder for run in runs if run.holder}
    return Overview(nodes=nodes, unfinished=runs, holders=holders)


def gone() -> list[tuple[str, list[str]]]:
    return [(entry["run"], entry["nodes"]) for entry in intent_log().entries()]


MIXED = overview(
    node("n1", cut("expired", 0), cut("dead"), lock=lock("old", None, 0)),
    node("n2", cut("far"), cut("dead"), lock=lock("far", ELSEWHERE)),
    node("n3", cut("stranger"), lock=lock("dead", DEAD)),
    node("n4", cut("here"), lock=lock("here", ALIVE)),
)


def test_what_has_expired_and_what_the_dead_left_goes_the_rest_stays() -> None:
    why = {(each.kind.value, each.run, each.node): each.why for each in decide(MIXED, CleanupScope())}
    assert why == {
        ("cut", "expired", "n1"): Why.EXPIRED,
        ("lock", "old", "n1"): Why.EXPIRED,
        ("cut", "dead", "n1"): Why.ORPHANED,
        ("cut", "dead", "n2"): Why.ORPHANED,
        ("lock", "dead", "n3"): Why.ORPHANED,
        ("cut", "far", "n2"): None,
        ("lock", "far", "n2"): None,
        ("cut", "stranger", "n3"): None,
        ("cut", "here", "n4"): None,
        ("lock", "here", "n4"): None,
    }


def test_what_was_cleaned_up_is_in_the_audit_log(world: World) -> None:
    world.clean_up(MIXED, dry_run=True)
    assert audit_log().verified().entries == ()
    assert world.clean_up(MIXED).unaudited == ()
    assert [
        (entry.says["event"], entry.says["run"], entry.says["nodes"], entry.says["tables"])
        for entry in audit_log().verified().entries
    ] == [
        ("cleaned_up", "dead", ["n1", "n2", "n3"], ["inet chaosext_dead", "inet chaosext.lock"]),
        ("cleaned_up", "expired", ["n1"], ["inet chaosext_expired"]),
        ("cleaned_up", "old", ["n1"], ["inet chaosext.lock"]),
    ]


def test_a_cleanup_does_not_fail_for_an_audit_log_that_takes_nothing(world: World) -> None:
    audit_log().path.mkdir(parents=True)
    cleaned = world.clean_up(MIXED)
    assert len(world.removed) == 4
    assert (cleaned.exit_code, cleaned.failed) == (world.clean_up(MIXED, dry_run=True).exit_code, {})
    assert any("not in the audit log: " in line for line in cleanup_lines(cleaned))


def test_a_run_that_is_named_goes_alive_or_not_and_no_other() -> None:
    found = decide(MIXED, CleanupScope(run="here"))
    assert [(each.kind, each.node, each.why) for each in found] == [
        (LeftoverKind.CUT, "n4", Why.NAMED),
        (LeftoverKind.LOCK, "n4", Why.NAMED),
    ]


def test_all_is_all() -> None:
    found = decide(MIXED, CleanupScope(everything=True))
    assert len(found) == 10
    assert {each.why for each in found} == {Why.NAMED}


def test_a_run_and_kind_at_a_time_on_all_its_nodes_at_once(world: World) -> None:
    cleaned = world.clean_up(MIXED)
    assert world.removed == [
        ("cut", "dead", ["n1", "n2"]),
        ("cut", "expired", ["n1"]),
        ("lock", "dead", ["n3"]),
        ("lock", "old", ["n1"]),
    ]
    assert (cleaned.exit_code, cleaned.failed) == (40, {})
    compare("cleanup.txt", "\n".join(cleanup_lines(cleaned)) + "\n")


def test_a_live_cut_that_is_left_to_nobody_is_no_success(world: World) -> None:
    """As `status` has it: nobody is known to take it away, so an operator has to see to it."""
    cleaned = world.clean_up(overview(node("n1", cut("stranger")), node("n2", cut("expired", 0))))
    assert [each[1] for each in world.removed] == ["expired"]
    assert (cleaned.exit_code, cleaned.may_cut) == (40, {"stranger": ("n1",)})
    with pytest.raises(Unsafe, match="run stranger on n1") as caught:
        cleaned.require_gone()
    assert caught.value.fix == "chaosext cleanup --run stranger"
    attended = world.clean_up(overview(node("n1", cut("far"), lock=lock("far", ELSEWHERE))))
    assert (attended.exit_code, attended.may_cut, len(attended.left)) == (0, {}, 2)
    harmless = world.clean_up(overview(node("n1", lock=lock("far", ELSEWHERE))))
    assert (harmless.exit_code, harmless.may_cut) == (0, {})


def test_a_dry_run_touches_nothing_and_writes_nothing(world: World) -> None:
    cleaned = world.clean_up(overview(node("n1", cut("a")), runs=(unfinished("a", "n1"),)), dry_run=True)
    assert (world.removed, gone()) == ([], [])
    assert [each.run for each in cleaned.removed] == ["a"]
    assert next(cleanup_lines(cleaned)).startswith("would remove: cut of run a on n1 (orphaned)")


def test_nothing_to_clean_up(world: World) -> None:
    cleaned = world.clean_up(overview(node("n1")))
    assert list(cleanup_lines(cleaned)) == ["nothing to clean up"]
    assert (cleaned.exit_code, world.removed, gone()) == (0, [], [])


def test_a_name_that_can_be_no_runs_is_refused() -> None:
    with pytest.raises(Refused, match="can not name a run"):
        CleanupScope(run="; rm")


def test_what_was_seen_gone_is_written_down(world: World) -> None:
    runs = (unfinished("a", "n1", "n2"), unfinished("b", "n2"))
    world.clean_up(overview(node("n1", cut("a")), node("n2"), runs=runs))
    assert gone() == [("a", ["n1", "n2"]), ("b", ["n2"])]


def test_a_run_that_goes_on_is_not_written_off_before_it_arms(world: World) -> None:
    cleaned = world.clean_up(overview(node("n1"), runs=(unfinished("a", "n1", holder=ALIVE),)))
    assert (cleaned.finished, cleaned.exit_code, gone()) == ({}, 0, [])


def test_what_is_not_seen_gone_is_not_written_off_and_is_unsafe(world: World) -> None:
    world.stuck = {"n2"}
    runs = (unfinished("a", "n1", "n2"),)
    cleaned = world.clean_up(overview(node("n1", cut("a")), node("n2", cut("a")), runs=runs))
    assert (gone(), cleaned.exit_code, cleaned.may_cut) == ([("a", ["n1"])], 40, {"a": ("n2",)})
    with pytest.raises(Unsafe, match="run a on n2") as unsafe:
        cleaned.require_gone()
    assert unsafe.value.fix == "docker exec n2 nft delete table inet chaosext_a"
    by_pod = replace(cleaned, way=NodeAccess(transport="pod", context="prod", namespace="night"))
    with pytest.raises(Unsafe) as unsafe:
        by_pod.require_gone()
    by_name = "chaosext cleanup --run a --transport pod --context prod --namespace night"
    assert unsafe.value.fix == f"{by_name}; or by root on n2: `nft delete table inet chaosext_a`"


@pytest.mark.parametrize("left", [node("n1", cut("a", 0)), node("n1", lock=lock("a", DEAD))])
def test_what_cuts_nothing_and_stays_is_no_danger(world: World, left: NodeTables) -> None:
    world.stuck = {"n1"}
    cleaned = world.clean_up(overview(left))
    assert (cleaned.exit_code, cleaned.may_cut, len(cleaned.failed)) == (30, {}, 1)


@pytest.mark.parametrize(
    ("run", "exit_code", "written"),
    [
        (unfinished("a", "n1"), 40, []),
        (unfinished("a", "n1", age_s=100, ttl_s=60), 30, [("a", ["n1"])]),
        (unfinished("a", "n1", age_s=100, ttl_s=None), 40, []),
        (unfinished("a", "n1", holder=ALIVE), 30, []),
        (unfinished("a", "n1", holder=ALIVE, age_s=100, ttl_s=60), 30, [("a", ["n1"])]),
        (unfinished("a", "elsewhere"), 30, []),
    ],
)
def test_a_node_that_can_not_be_asked(
    world: World, run: Outstanding, exit_code: int, written: list[Any]
) -> None:
    cleaned = world.clean_up(
        Overview(nodes=(node("n1", problem=HUNG),), unfinished=(run,), holders={"a": DEAD})
    )
    assert (cleaned.exit_code, gone() if run.nodes == ("n1",) else []) == (exit_code, written)
    assert f"could not be queried: n1 ({HUNG})" in list(cleanup_lines(cleaned))
    assert world.removed == []


@pytest.mark.parametrize("wanted", [{"run": "a"}, {"everything": True}, {"run": "a", "nodes": ("n1",)}])
@pytest.mark.parametrize("works", [True, False])
def test_a_named_run_is_healed_even_where_the_node_can_not_say_what_it_has(
    world: World, wanted: dict[str, Any], works: bool
) -> None:
    world.stuck = set() if works else {"n1"}
    runs = (unfinished("a", "n1"),)
    cleaned = world.clean_up(overview(node("n1", problem="not an answer of nft -j"), runs=runs), **wanted)
    assert world.removed == [("cut", "a", ["n1"])]
    assert (cleaned.exit_code, gone()) == ((30, [("a", ["n1"])]) if works else (40, []))


def test_a_named_run_whose_time_is_over_is_no_danger_where_it_can_not_be_seen(world: World) -> None:
    world.stuck = {"n1"}
    runs = (unfinished("a", "n1", age_s=100, ttl_s=60),)
    cleaned = world.clean_up(overview(node("n1", problem=HUNG), runs=runs), run="a")
    assert (cleaned.exit_code, cleaned.may_cut, gone()) == (30, {}, [("a", ["n1"])])


def test_what_was_seen_to_cut_after_its_time_was_renewed_and_is_not_over(world: World) -> None:
    runs = (unfinished("a", "n1", "n2", holder=ALIVE, age_s=100, ttl_s=60),)
    cleaned = world.clean_up(overview(node("n1", cut("a")), node("n2"), runs=runs))
    assert ([each.node for each in cleaned.left], gone()) == (["n1"], [("a", ["n2"])])
    world.stuck = {"n1"}
    assert world.clean_up(overview(node("n1", cut("a")), runs=runs), run="a").may_cut == {"a": ("n1",)}


def test_a_run_that_no_log_knows_is_healed_on_the_nodes_that_are_named(world: World) -> None:
    world.stuck = {"n1"}
    cleaned = world.clean_up(overview(node("n1", problem=HUNG)), run="a", nodes=("n1",))
    assert (cleaned.exit_code, cleaned.may_cut) == (40, {"a": ("n1",)})


def test_a_named_run_leaves_the_others_doubts_alone(world: World) -> None:
    runs = (unfinished("b", "n1"),)
    cleaned = world.clean_up(overview(node("n1", problem=HUNG), node("n2", cut("a")), runs=runs), run="a")
    assert (cleaned.exit_code, cleaned.may_cut, gone()) == (30, {}, [])


def test_a_table_that_only_looks_like_ours_stops_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heal(run: str, shells: Mapping[str, Any]) -> HealReport:
        if run == "NOT_OURS":
            raise Refused("run: 'NOT_OURS' can not name a run")
        return world.heal(run, shells)

    monkeypatch.setattr(removal, "heal", heal)
    cleaned = world.clean_up(overview(node("n1", cut("NOT_OURS", 0), cut("a", 0))))
    assert [each.run for each in cleaned.removed] == ["a"]
    assert [each.run for each in cleaned.failed] == ["NOT_OURS"]


DOUBTFUL = replace(cut("mine"), foreign_parts=("chain input",))
UNMARKED = replace(cut("mine"), is_marked=False)


@pytest.mark.parametrize(("table", "why"), [(DOUBTFUL, "chain input"), (UNMARKED, "no mark of a run")])
@pytest.mark.parametrize("wanted", [{}, {"run": "mine"}, {"everything": True}])
def test_a_table_that_is_not_surely_ours_is_left_and_said(
    world: World, table: TableFacts, why: str, wanted: dict[str, Any]
) -> None:
    runs = (unfinished("mine", "n1", holder=DEAD),)
    cleaned = world.clean_up(overview(node("n1", table, cut("other", 0)), runs=runs), **wanted)
    assert "mine" not in [run for _, run, _ in world.removed]
    (left,) = (found for found in cleaned.left if found.run == "mine")
    assert (left.foreign, left.why) == (why, None)
    assert left.to_json()["foreign"] == why
    assert f"left: cut of run mine on n1 (not all of it is chaosext's: {why})" in list(cleanup_lines(cleaned))
    assert cleaned.exit_code == 40
    with pytest.raises(Unsafe, match="run mine on n1: docker exec n1 nft delete table inet chaosext_mine"):
        cleaned.require_gone()


def test_one_that_cuts_nothing_any_more_is_no_danger_and_no_success(world: World) -> None:
    cleaned = world.clean_up(overview(node("n1", replace(DOUBTFUL, peers=()))))
    assert (cleaned.exit_code, world.removed) == (30, [])
    cleaned.require_gone()


def test_a_run_without_a_way_into_its_nodes_is_said(world: World) -> None:
    """The intent log has a transport for it that there is not: no shell leads there."""
    runs = (unfinished("lost", "n9", holder=DEAD), unfinished("a", "n1", holder=DEAD))
    found = overview(node("n1", cut("a")), node("n9", problem="run lost in the intent log: …"), runs=runs)
    shells: Any = {"n1": "n1"}
    cleaned = removal.clean_up(Surveyed(found, shells), CleanupScope(everything=True))
    assert [each.run for each in cleaned.removed] == ["a"]
    assert {found.run: why for found, why in cleaned.failed.items()} == {"lost": "n9: it can't be entered"}
    assert cleaned.exit_code == 40


def test_machines_are_told_the_same(world: World) -> None:
    world.stuck = {"n2"}
    told = world.clean_up(
        overview(node("n1", cut("a", 0)), node("n2", cut("b"), lock=lock("b", DEAD)))
    ).to_json()
    assert (told["schema"], told["exit_code"], told["dry_run"]) == ("chaosext.cleanup/v1", 40, False)
    assert told["removed"] == [
        {"kind": "cut", "run": "a", "node": "n1", "live": False, "runner": "unknown", "why": "expired"}
    ]
    assert {(each["kind"], each["problem"]) for each in told["failed"]} == {("cut", HUNG), ("lock", HUNG)}
    assert told["may_cut"] == {"b": ["n2"]}
    json.dumps(told)


def test_the_command(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(survey, "discover", lambda *_: ())
    assert invoke(["cleanup"]) == 0
    assert capsys.readouterr().out == "nothing to clean up\n"
    assert invoke(["cleanup", "--run", "a", "--all"]) == 20
    assert "--run and --all" in capsys.readouterr().err
