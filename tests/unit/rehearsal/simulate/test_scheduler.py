"""Which nodes a Pod may go to, and which it prefers: filters and scores of the scheduler's default plugins."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import CONTROL_PLANE_LABEL, app_spec, node, spread_over

from chaosext.cluster.objects import Taint
from chaosext.rehearsal.simulate.samples import Sampled
from chaosext.rehearsal.simulate.scheduler import Placement
from chaosext.rehearsal.simulate.scheduler_cache import Board
from chaosext.rehearsal.snapshot.world import (
    Affinity,
    LabelSelector,
    Node,
    NodeTerm,
    Pod,
    PodSpec,
    PodTerm,
    Requirement,
    Resources,
    Spread,
    Toleration,
    World,
)

ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"
ANYWHERE = PodSpec(labels={"app": "new"})


def like(**labels: str) -> LabelSelector:
    return LabelSelector(
        requirements=tuple(
            Requirement(key=key, operator="In", values=(value,)) for key, value in labels.items()
        )
    )


def placement(nodes: tuple[Node, ...], pods: tuple[Pod, ...] = ()) -> Placement:
    return Placement(Board(World(nodes=nodes, pods=pods)), Sampled(0, 0, 1, None))


def feasible(
    where: Placement, spec: PodSpec, namespace: str = "shop", closed: tuple[int, ...] = ()
) -> list[str]:
    group = where.board.group(namespace, spec)
    return [where.board.nodes[n].name for n in where.feasible(group, closed)]


def best(where: Placement, spec: PodSpec, namespace: str = "shop") -> list[str]:
    group = where.board.group(namespace, spec)
    chosen = where.best(group, where.feasible(group))
    return [where.board.nodes[n].name for n in chosen]


THREE = (node("a", zone="x"), node("b", zone="x"), node("c", zone="y"))


def on(name: str, spec: PodSpec, namespace: str = "shop") -> Pod:
    return Pod(namespace=namespace, name=f"on-{name}", node=name, spec=spec)


def test_taints_keep_pods_away_and_tolerations_let_them_in() -> None:
    nodes = (node("cp", control_plane=True), node("a"), replace(node("b"), unschedulable=True))
    assert feasible(placement(nodes), ANYWHERE) == ["a"]
    spec = PodSpec(tolerations=(Toleration(key=CONTROL_PLANE_LABEL, effect="NoSchedule"),))
    assert feasible(placement(nodes), spec) == ["cp", "a"]
    assert feasible(placement(nodes), PodSpec(tolerations=(Toleration(operator="Exists"),))) == [
        "cp",
        "a",
        "b",
    ]


def test_nodes_tainted_by_now_are_left_out() -> None:
    assert feasible(placement(THREE), ANYWHERE, closed=(0, 2)) == ["b"]


def test_node_selector_and_required_affinity() -> None:
    assert feasible(placement(THREE), PodSpec(node_selector={ZONE: "x"})) == ["a", "b"]
    term = NodeTerm(requirements=(Requirement(key=ZONE, operator="NotIn", values=("x",)),))
    named = NodeTerm(names=("a",))
    spec = PodSpec(affinity=Affinity(required_nodes=(term, named)))
    assert feasible(placement(THREE), spec) == ["a", "c"]
    assert feasible(placement(THREE), PodSpec(affinity=Affinity(required_nodes=()))) == []


def test_requests_must_fit() -> None:
    small = replace(node("a"), allocatable=Resources(cpu_m=1000, memory_bytes=1 << 30))
    held = on("a", PodSpec(requests=Resources(cpu_m=900)))
    where = placement((small, node("b")), (held,))
    assert feasible(where, PodSpec(requests=Resources(cpu_m=200))) == ["b"]
    assert feasible(where, PodSpec(requests=Resources(cpu_m=100))) == ["a", "b"]
    assert feasible(where, PodSpec(requests=Resources(extended=(("nvidia.com/gpu", 1),)))) == []


def test_a_full_node_takes_no_more_pods_until_one_is_gone() -> None:
    where = placement((replace(node("a"), max_pods=1),), (on("a", ANYWHERE),))
    assert feasible(where, ANYWHERE) == []
    where.leave(where.board.group("shop", ANYWHERE), 0)
    assert feasible(where, ANYWHERE) == []
    where.add(where.board.group("shop", ANYWHERE), 0, -1)
    assert feasible(where, ANYWHERE) == ["a"]


def test_a_host_port_is_there_once() -> None:
    spec = PodSpec(host_ports=(("TCP", 443),))
    assert feasible(placement(THREE, (on("a", spec),)), spec) == ["b", "c"]


def test_required_anti_affinity_holds_both_ways() -> None:
    apart = Affinity(forbidden_pods=(PodTerm(topology_key=ZONE, selector=like(app="new")),))
    spec = PodSpec(labels={"app": "new"}, affinity=apart)
    assert feasible(placement(THREE, (on("a", spec),)), spec) == ["c"]
    assert feasible(placement(THREE, (on("a", spec),)), ANYWHERE) == ["c"]
    assert feasible(placement(THREE, (on("a", spec, "other"),)), spec) == ["a", "b", "c"]


def test_terminating_pods_still_repel() -> None:
    """They are on their node until their kubelet has heard: on a cut node that is after the heal."""
    apart = Affinity(forbidden_pods=(PodTerm(topology_key=HOST, selector=like(app="new")),))
    spec = PodSpec(labels={"app": "new"}, affinity=apart)
    where = placement(THREE, (on("a", spec),))
    where.leave(where.board.group("shop", spec), 0)
    assert feasible(where, spec) == ["b", "c"]


def test_required_affinity_wants_company_and_the_first_may_start() -> None:
    together = Affinity(required_pods=(PodTerm(topology_key=ZONE, selector=like(app="new")),))
    spec = PodSpec(labels={"app": "new"}, affinity=together)
    assert feasible(placement(THREE, (on("c", ANYWHERE),)), spec) == ["c"]
    assert feasible(placement(THREE), spec) == ["a", "b", "c"]
    stranger = PodSpec(labels={"app": "other"}, affinity=together)
    assert feasible(placement(THREE), stranger) == []


def test_spread_that_must_hold() -> None:
    spread = Spread(max_skew=1, topology_key=ZONE, required=True, selector=like(app="new"))
    spec = PodSpec(labels={"app": "new"}, spreads=(spread,))
    assert feasible(placement(THREE, (on("a", spec),)), spec) == ["c"]
    assert feasible(placement((*THREE, node("no-zone"))), spec) == ["a", "b", "c"]


def test_spread_does_not_count_terminating_pods() -> None:
    spread = Spread(max_skew=1, topology_key=ZONE, required=True, selector=like(app="new"))
    spec = PodSpec(labels={"app": "new"}, spreads=(spread,))
    where = placement(THREE, (on("a", spec),))
    where.leave(where.board.group("shop", spec), 0)
    assert feasible(where, spec) == ["a", "b", "c"]


def test_a_lost_node_is_no_domain_where_taints_count() -> None:
    """matchNodeInclusionPolicies in plugins/podtopologyspread/common.go; Ignore is the default."""
    honours = Spread(
        max_skew=1, topology_key=ZONE, required=True, selector=like(app="new"), honours_taints=True
    )
    spec = PodSpec(labels={"app": "new"}, spreads=(honours,))
    assert feasible(placement(THREE, (on("a", spec),)), spec, closed=(2,)) == ["a", "b"]
    ignores = replace(spec, spreads=(replace(honours, honours_taints=False),))
    assert feasible(placement(THREE, (on("a", ignores),)), ignores, closed=(2,)) == []


def test_too_few_domains_are_as_empty_ones() -> None:
    """minDomains: `minMatchNum` in plugins/podtopologyspread/filtering.go."""
    spread = Spread(max_skew=1, topology_key=ZONE, required=True, selector=like(app="new"), min_domains=3)
    spec = PodSpec(labels={"app": "new"}, spreads=(spread,))
    assert feasible(placement(THREE, (on("a", spec), on("c", spec))), spec) == []
    enough = replace(spec, spreads=(replace(spread, min_domains=2),))
    assert feasible(placement(THREE, (on("a", enough), on("c", enough))), enough) == ["a", "b", "c"]


def test_what_is_known_of_a_board_is_forgotten_where_a_pod_came() -> None:
    """Another play of the same board finds it as it was."""
    spec = PodSpec(labels={"app": "new"}, requests=Resources(cpu_m=1500))
    board = Board(World(nodes=THREE, pods=()))
    group = board.group("shop", spec)
    first, second = (Placement(board, Sampled(0, 0, 1, None)) for _ in range(2))
    assert feasible(first, spec) == ["a", "b", "c"]
    first.add(group, 0)
    assert (feasible(first, spec), feasible(second, spec)) == (["b", "c"], ["a", "b", "c"])
    assert (best(first, spec), best(second, spec)) == (["c"], ["a", "b", "c"])


def test_preferred_anti_affinity_spreads() -> None:
    apart = Affinity(avoided_pods=((100, PodTerm(topology_key=HOST, selector=like(app="new"))),))
    spec = PodSpec(labels={"app": "new"}, affinity=apart)
    assert best(placement(THREE, (on("a", spec), on("b", spec))), spec) == ["c"]


def test_preferred_node_affinity_wins_over_room() -> None:
    wish = Affinity(
        preferred_nodes=(
            (100, NodeTerm(requirements=(Requirement(key=ZONE, operator="In", values=("y",)),))),
        )
    )
    busy = on("c", PodSpec(requests=Resources(cpu_m=500, memory_bytes=6 << 30)))
    assert best(placement(THREE, (busy,)), PodSpec(affinity=wish)) == ["c"]


def test_prefer_no_schedule_is_avoided() -> None:
    soft = replace(node("a"), taints=(Taint(key="old", value="", effect="PreferNoSchedule"),))
    assert best(placement((soft, node("b"))), ANYWHERE) == ["b"]


def test_more_room_is_better_and_equal_nodes_tie() -> None:
    spec = PodSpec(requests=Resources(cpu_m=100, memory_bytes=1 << 30))
    busy = on("a", PodSpec(requests=Resources(cpu_m=1000, memory_bytes=12 << 30)))
    nodes = (node("a"), node("b"), node("c"))
    assert best(placement(nodes, (busy,)), spec) == ["b", "c"]


def test_pods_of_one_template_spread_by_default() -> None:
    spec = app_spec("web", sidecar="none")
    nodes = (node("a"), node("b"), node("c"))
    pods = spread_over(["a", "b"], 8, "ReplicaSet/web-1", "shop", spec)
    assert best(placement(nodes, pods), spec) == ["c"]


@pytest.mark.parametrize(("count", "wanted"), [(99, 99), (100, 100), (400, 188), (5000, 500), (6000, 300)])
def test_large_clusters_are_not_searched_through(count: int, wanted: int) -> None:
    """pkg/scheduler/schedule_one.go, `numFeasibleNodesToFind`."""
    nodes = tuple(node(f"n{at}") for at in range(count))
    assert len(feasible(placement(nodes), ANYWHERE)) == wanted


APART = Affinity(forbidden_pods=(PodTerm(topology_key=HOST, selector=like(app="apart")),))
NEAR = Affinity(preferred_pods=((50, PodTerm(topology_key=ZONE, selector=like(app="web"))),))
EVEN = Spread(max_skew=1, topology_key=ZONE, required=True, selector=like(app="even"))
SPECS = (
    PodSpec(labels={"app": "web"}, requests=Resources(cpu_m=300, memory_bytes=1 << 30)),
    PodSpec(labels={"app": "apart"}, affinity=APART, requests=Resources(cpu_m=100)),
    PodSpec(labels={"app": "near"}, affinity=NEAR),
    PodSpec(labels={"app": "even"}, spreads=(EVEN,), requests=Resources(cpu_m=300, memory_bytes=1 << 30)),
    PodSpec(labels={"app": "port"}, host_ports=(("TCP", 443),)),
)
SMALL = tuple(
    replace(node(name, zone=zone), allocatable=Resources(cpu_m=1000, memory_bytes=4 << 30))
    for name, zone in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "z"))
)


@given(st.lists(st.tuples(st.sampled_from(SPECS), st.integers(0, 3)), max_size=12))
def test_pods_that_came_one_by_one_count_as_those_of_a_snapshot(came: list[tuple[PodSpec, int]]) -> None:
    """Nothing that is known from before is out of date: it is asked for after each Pod."""
    where, pods = placement(SMALL), []
    for turn, (spec, number) in enumerate(came):
        where.add(where.board.group("shop", spec), number)
        pods.append(Pod(namespace="shop", name=f"p-{turn}", node=SMALL[number].name, spec=spec))
        fresh = placement(SMALL, tuple(pods))
        for asked in SPECS:
            assert feasible(where, asked) == feasible(fresh, asked)
            assert best(where, asked) == best(fresh, asked)
