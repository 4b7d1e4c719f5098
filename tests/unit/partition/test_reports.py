"""What an arming, a heal and a look came to, in the words that people read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaosext.model import clock
from chaosext.model.clock import Moment
from chaosext.model.errors import Inconclusive, Unsafe
from chaosext.nodes.shell import NAMESPACE, NodeAccess
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.nft import TableFacts
from chaosext.partition.reports import (
    ArmedNode,
    ArmReport,
    HealedNode,
    HealReport,
    how_to_clean_up,
    how_to_remove,
)

NODES = (NodeCut(node="cp1", uplinks=("eth0",)), NodeCut(node="cp2", uplinks=("eth0",)))
CUT = Cut(run="r1", owner="a@b", nodes=NODES, peers=peers_of(["10.0.0.2"]), ttl_s=30.0)
FACTS = TableFacts(run="r1", owner="a@b", until=None, peers=(), drops=())
GONE = HealedNode(node="cp1", gone=True, was_there=True, foreign_changes=())
LEFT = HealedNode(node="cp2", gone=False, problem="dead")
REMOVE = "docker exec cp2 nft delete table inet chaosext_r1"


def armed(node: str, uptime_s: float) -> ArmedNode:
    at = Moment(boot="b", uptime_s=uptime_s)
    return ArmedNode(
        node=node,
        facts=FACTS,
        armed_at=at,
        late_s=uptime_s / 100,
        elapsed_s=0.1,
        foreign_changes=(),
        expired_runs=(),
    )


def report(*nodes: ArmedNode, begins: Moment | None = None) -> ArmReport:
    ends = Moment(boot="b", uptime_s=37.0)
    return ArmReport(cut=CUT, nodes=nodes, elapsed_s=1.0, begins=begins, ends=ends)


def healed(*nodes: HealedNode) -> HealReport:
    return HealReport(run="r1", nodes=nodes, elapsed_s=0.2)


def test_a_cut_counts_from_its_first_node_and_ends_at_one_moment() -> None:
    both = report(armed("cp1", 7.0), armed("cp2", 5.0))
    assert both.armed_at == both.cut_at == Moment(boot="b", uptime_s=5.0)
    assert both.all_cut_at == Moment(boot="b", uptime_s=7.0)
    assert both.let_go == Moment(boot="b", uptime_s=37.07)


def test_a_cut_with_a_delay_begins_at_one_moment() -> None:
    begins = Moment(boot="b", uptime_s=20.0)
    delayed = report(armed("cp1", 7.0), armed("cp2", 5.0), begins=begins)
    assert (delayed.cut_at, delayed.all_cut_at) == (begins, begins.later(0.07))


def test_what_was_not_seen_gone_may_cut_until_its_time_is_over() -> None:
    past, future = clock.now().later(-1.0), clock.now().later(60.0)
    assert healed(GONE, LEFT).left == ("cp2",)
    assert healed(GONE, LEFT).may_cut()
    assert healed(GONE, LEFT).may_cut(let_go=future)
    assert not healed(GONE, LEFT).may_cut(let_go=past)
    assert healed(GONE, LEFT).may_cut(let_go=replace(past, boot="another"))
    assert not healed(GONE).may_cut()


def test_what_may_cut_is_unsafe_and_said_with_how_to_remove_it() -> None:
    healed(GONE).require_gone()
    with pytest.raises(Unsafe) as unsafe:
        healed(GONE, LEFT).require_gone()
    assert unsafe.value.message == "the cut of run r1 may still be active on cp2 (dead)"
    assert unsafe.value.fix == REMOVE
    future = clock.now().later(60.0)
    both = healed(replace(LEFT, node="cp1", problem="hung"), LEFT)
    with pytest.raises(Unsafe) as unsafe:
        both.require_gone(let_go=future)
    until = f"{future.as_wall_clock():%Y-%m-%dT%H:%M}"
    said = "the cut of run r1 may still be active on cp1 (hung), cp2 (dead), until "
    assert unsafe.value.message.startswith(f"{said}{until}")
    assert unsafe.value.message.endswith("Z at the latest")
    assert unsafe.value.fix == f"{REMOVE.replace('cp2', 'cp1')}; {REMOVE}"
    both.require_gone(let_go=clock.now().later(-1.0))


def test_foreign_rules_are_identical_changed_or_not_known() -> None:
    assert healed(GONE).foreign_identical is True
    assert healed(GONE, LEFT).foreign_identical is None
    changed = replace(GONE, foreign_changes=("x",))  # type: ignore[arg-type]
    assert healed(changed, LEFT).foreign_identical is False
    own = report(armed("cp1", 1.0))
    assert own.foreign_identical
    other = replace(own.nodes[0], foreign_changes=("x",))  # type: ignore[arg-type]
    assert not replace(own, nodes=(*own.nodes, other)).foreign_identical


def test_what_the_kernel_has_let_go_of_unseen_is_inconclusive() -> None:
    healed(GONE).require_seen()
    with pytest.raises(Inconclusive) as inconclusive:
        healed(GONE, LEFT).require_seen()
    assert inconclusive.value.message.startswith("the cut of run r1 ")
    assert "cp2 (dead)" in inconclusive.value.message
    assert inconclusive.value.message.endswith(" removed it")
    assert inconclusive.value.fix == (
        "check why the node does not answer; `chaosext cleanup` removes what is left"
    )


def test_how_to_remove_by_hand() -> None:
    assert how_to_remove("r1", ["cp1", "cp2"]) == f"{REMOVE.replace('cp2', 'cp1')}; {REMOVE}"


POD = NodeAccess(transport="pod", context="prod")


@pytest.mark.parametrize(
    ("way", "more"),
    [
        (NodeAccess(), ""),
        (POD, " --transport pod --context prod"),
        (replace(POD, namespace=NAMESPACE), " --transport pod --context prod"),
        (replace(POD, namespace="chaos"), " --transport pod --context prod --namespace chaos"),
    ],
)
def test_the_cleanup_command_says_how_nodes_are_entered(way: NodeAccess, more: str) -> None:
    assert how_to_clean_up("r1", way) == f"chaosext cleanup --run r1{more}"


def test_nodes_that_are_entered_through_an_api_server_are_cleaned_up_by_command_or_by_root() -> None:
    assert how_to_remove("r1", ["w1", "w2"], POD) == (
        "chaosext cleanup --run r1 --transport pod --context prod; "
        "or by root on w1, w2: `nft delete table inet chaosext_r1`"
    )
    with pytest.raises(Unsafe) as unsafe:
        replace(healed(LEFT), way=POD).require_gone()
    assert unsafe.value.fix == how_to_remove("r1", ["cp2"], POD)
