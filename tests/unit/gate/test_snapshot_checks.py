"""What stands against a cutover before it is rehearsed: each check on a cluster that is well, and on one that isn't."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from worlds import CALICO, CONTROL_PLANE_LABEL, ROUTED, cluster, workers_of

from chaosext.checks.check_names import PLACEMENT, PROBES
from chaosext.gate import snapshot_checks
from chaosext.gate.cutover_plan import Cutover, Selection
from chaosext.gate.node_selection import nodes_of
from chaosext.model.errors import Refused
from chaosext.model.findings import Finding, Status
from chaosext.rehearsal.snapshot.world import (
    ControlPlane,
    DisruptionBudget,
    LabelSelector,
    Network,
    Pod,
    Requirement,
    Workload,
)

if TYPE_CHECKING:
    from chaosext.rehearsal.snapshot.world import World

NEWEST = ControlPlane(version="v1.34.4")
WELL = cluster(control_planes=1, workers=3, apps=3, control_plane=NEWEST)
WELL = replace(WELL, nodes=tuple(replace(node, kubelet_version="v1.34.2") for node in WELL.nodes))
PLAN = Cutover(title="t", selection=Selection(names=("worker-1",)), cut_for_s=480, at_most_s=480)

HEALTHY, UNHEALTHY, UNKNOWN = Status.HEALTHY, Status.UNHEALTHY, Status.UNKNOWN


def found(check: str, world: World, plan: Cutover = PLAN) -> Finding:
    nodes = workers_of(world)
    return next(each for each in snapshot_checks.findings(world, plan, nodes) if each.check == check)


def with_node(name: str, **changes: object) -> World:
    return replace(WELL, nodes=tuple(replace(n, **changes) if n.name == name else n for n in WELL.nodes))


def with_dns(**changes: object) -> World:
    """The first kube-dns Pod is changed."""
    first = next(pod for pod in WELL.pods if "coredns" in pod.name)
    return replace(WELL, pods=tuple(replace(p, **changes) if p is first else p for p in WELL.pods))


def with_one_more_dns(**changes: object) -> World:
    """kube-dns has another Pod than its Deployment wants."""
    first = next(pod for pod in WELL.pods if "coredns" in pod.name)
    return replace(WELL, pods=(*WELL.pods, replace(first, name="coredns-old", **changes)))


ROLLED_OUT = with_one_more_dns(owner="ReplicaSet/coredns-old", node="cp-1", terminating=True)
"""The printed patch is rolled out, and an old Pod uses up its grace period."""


def budgeted(**said: str) -> World:
    selector = LabelSelector(requirements=(Requirement(key="app", operator="In", values=("web",)),))
    budget = DisruptionBudget(namespace="web", name="web", selector=selector, **said)
    return replace(WELL, budgets=(budget,))


def test_a_cluster_that_is_well_has_nothing_against_it_but_pods_that_are_bound_to_it() -> None:
    bad = {
        each.check
        for each in snapshot_checks.findings(WELL, PLAN, workers_of(WELL))
        if each.status is not HEALTHY
    }
    assert bad == {snapshot_checks.PODS_MOVABLE}


def test_every_check_is_known_by_its_name() -> None:
    names = [each.check for each in snapshot_checks.findings(WELL, PLAN, workers_of(WELL))]
    assert {*names, "xds_synced", "kubelets_connected"} == {
        *snapshot_checks.PROVEN,
        *snapshot_checks.MUST,
        *snapshot_checks.REMARKS,
    }


@pytest.mark.parametrize(
    ("check", "world", "status", "says"),
    [
        (
            snapshot_checks.NODES_READY,
            with_node("worker-2", ready="False"),
            UNHEALTHY,
            "Node/worker-2: Ready is False",
        ),
        (
            snapshot_checks.NODES_READY,
            with_node("worker-2", unschedulable=True),
            HEALTHY,
            "cordoned: worker-2",
        ),
        (snapshot_checks.KUBE_DNS_READY, replace(WELL, dns=None), UNKNOWN, "no kube-dns"),
        (
            snapshot_checks.KUBE_DNS_READY,
            with_dns(ready=False),
            UNHEALTHY,
            "coredns-66bc5c9577-0: is not Ready",
        ),
        (
            snapshot_checks.KUBE_DNS_READY,
            with_dns(terminating=True),
            UNHEALTHY,
            "1 of 2 Pods behind it are Ready",
        ),
        (snapshot_checks.KUBE_DNS_READY, with_dns(node=""), UNHEALTHY, "is not scheduled yet"),
        (
            snapshot_checks.KUBE_DNS_READY,
            replace(WELL, pods=tuple(p for p in WELL.pods if not p.name.endswith("coredns-66bc5c9577-0"))),
            UNHEALTHY,
            "1 of 2 Pods behind it are Ready",
        ),
        (
            snapshot_checks.KUBE_DNS_READY,
            ROLLED_OUT,
            HEALTHY,
            "2 of 2 kube-dns Pods Ready; 1 more terminating",
        ),
        (PLACEMENT, ROLLED_OUT, HEALTHY, "2 kube-dns Pods on"),
        (PLACEMENT, with_dns(node="cp-1"), UNHEALTHY, "on Node/cp-1: its address is not announced"),
        (PLACEMENT, replace(with_dns(node="cp-1"), network=ROUTED), HEALTHY, "announced"),
        (PLACEMENT, replace(WELL, network=Network()), UNKNOWN, "no network plugin"),
        (
            snapshot_checks.ANNOUNCED,
            replace(WELL, network=replace(CALICO, peers=())),
            UNHEALTHY,
            "Node/worker-1: its Pods' addresses are not",
        ),
        (snapshot_checks.ANNOUNCED, replace(WELL, missing=frozenset({"BGPPeer"})), UNKNOWN, "no BGPPeer"),
        (PROBES, with_dns(ready=False), UNHEALTHY, "is not Ready"),
        (PROBES, with_dns(ready=False, phase="Succeeded"), HEALTHY, "Pods Ready"),
        (
            snapshot_checks.VERSION_SKEW,
            with_node("worker-1", kubelet_version="v1.35.0"),
            UNHEALTHY,
            "is newer",
        ),
        (snapshot_checks.VERSION_SKEW, with_node("worker-1", kubelet_version="v1.31.9"), HEALTHY, "v1.31.9"),
        (
            snapshot_checks.VERSION_SKEW,
            with_node("worker-1", kubelet_version="v1.30.0"),
            UNHEALTHY,
            "4 minor versions older",
        ),
        (snapshot_checks.VERSION_SKEW, with_node("worker-1", kubelet_version=""), UNKNOWN, "is unknown"),
        (snapshot_checks.VERSION_SKEW, replace(WELL, control_plane=ControlPlane()), UNKNOWN, "is unknown"),
        (snapshot_checks.KUBE_DNS_REDUNDANT, with_dns(node="worker-2"), UNHEALTHY, "2 Ready on 1 node"),
        (snapshot_checks.ISTIOD_REDUNDANT, cluster(sidecar="classic"), UNHEALTHY, "1 Ready on 1 node"),
        (
            snapshot_checks.BUDGETS,
            replace(WELL, missing=frozenset({"PodDisruptionBudget"})),
            UNKNOWN,
            "contains no",
        ),
        (snapshot_checks.BUDGETS, budgeted(min_available="2"), HEALTHY, "none used up"),
        (
            snapshot_checks.BUDGETS,
            budgeted(min_available="3"),
            UNHEALTHY,
            "PodDisruptionBudget/web/web: currently allows no disruption",
        ),
        (snapshot_checks.BUDGETS, budgeted(min_available="67%"), UNHEALTHY, "allows no disruption"),
        (snapshot_checks.BUDGETS, budgeted(max_unavailable="0"), UNHEALTHY, "allows no disruption"),
        (snapshot_checks.BUDGETS, budgeted(max_unavailable="1"), HEALTHY, "none used up"),
        (snapshot_checks.BUDGETS, budgeted(max_unavailable="most"), UNKNOWN, "cannot be read"),
    ],
)
def test_what_is_not_well_is_named(check: str, world: World, status: Status, says: str) -> None:
    finding = found(check, world)
    assert (finding.status, says in finding.summary) == (status, True), finding.summary


def test_a_rollout_under_way_is_waited_for() -> None:
    old = next(pod for pod in WELL.pods if "coredns" in pod.name)
    new = replace(old, name="coredns-new", owner="ReplicaSet/coredns-new", node="worker-3")
    sets = {
        **WELL.workloads,
        ("kube-system", new.owner): Workload(
            kind="ReplicaSet",
            namespace="kube-system",
            name="coredns-new",
            replicas=1,
            owner="Deployment/coredns",
        ),
    }
    finding = found(snapshot_checks.KUBE_DNS_READY, replace(WELL, pods=(*WELL.pods, new), workloads=sets))
    assert finding.status is UNHEALTHY
    assert "a rollout is in progress" in finding.summary


def test_pods_of_other_namespaces_do_not_count_where_some_are_named() -> None:
    plan = replace(PLAN, namespaces=("web",))
    assert found(PROBES, with_dns(ready=False), plan).status is HEALTHY


@pytest.mark.parametrize(("planned_s", "status"), [(None, HEALTHY), (50.0, HEALTHY), (40.0, UNHEALTHY)])
def test_the_timings_in_force_are_those_that_were_planned_with(
    planned_s: float | None, status: Status
) -> None:
    assert found(snapshot_checks.TIMINGS, WELL, replace(PLAN, grace_s=planned_s)).status is status


def test_pods_that_only_run_where_it_is_cut_are_named_and_those_that_nobody_creates_anew() -> None:
    bare = Pod(namespace="web", name="bare", node="worker-1", spec=WELL.pods[-1].spec)
    world = replace(WELL, pods=(*WELL.pods, bare))
    (finding,) = (
        each
        for each in snapshot_checks.findings(world, PLAN, frozenset({"worker-1"}))
        if each.check == snapshot_checks.PODS_MOVABLE
    )
    assert [row.subject for row in finding.evidence] == ["Pod/web/bare"]
    assert "no controller recreates it" in finding.summary
    bound = found(snapshot_checks.PODS_MOVABLE, WELL)
    assert "web/ReplicaSet/web-1: 3 Pods: no remaining node accepts them" in bound.summary


# -- which nodes -----------------------------------------------------------------------------------------------


ZONED = cluster(workers=4, zones=("a", "b"))
RACKED = replace(
    ZONED,
    nodes=tuple(
        replace(n, labels={**n.labels, "example.com/rack": f"r{at}"}) for at, n in enumerate(ZONED.nodes)
    ),
)
NOT_CONTROL_PLANE = f"!{CONTROL_PLANE_LABEL}"


@pytest.mark.parametrize(
    ("selection", "nodes"),
    [
        (Selection(names=("worker-1", "worker-3")), {"worker-1", "worker-3"}),
        (Selection(selector=NOT_CONTROL_PLANE), {"worker-1", "worker-2", "worker-3", "worker-4"}),
        (Selection(zones=("b",)), {"worker-2", "worker-4"}),
        (Selection(racks=("r1", "r2")), {"worker-1", "worker-2"}),
        (Selection(racks=("r2", "r3"), zones=("b",)), {"worker-2"}),
        (Selection(racks=("r0", "r2"), selector=NOT_CONTROL_PLANE), {"worker-2"}),
        (Selection(racks=("worker-4",), rack_label="kubernetes.io/hostname"), {"worker-4"}),
    ],
)
def test_nodes_are_selected_by_what_the_plan_says_together(selection: Selection, nodes: set[str]) -> None:
    assert nodes_of(RACKED, selection) == nodes


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        (
            Selection(names=("worker-1", "worker-9")),
            "cut.nodes[1]: there is no node 'worker-9': did you mean",
        ),
        (Selection(names=("cp-1",)), "cut.nodes: selects control-plane nodes (cp-1)"),
        (Selection(selector="kubernetes.io/hostname"), "cut.selector: selects control-plane nodes (cp-1)"),
        (Selection(racks=("r0",)), f"add `selector: '{NOT_CONTROL_PLANE}'`"),
        (Selection(selector="pool=old"), "cut.selector: selects no nodes"),
        (Selection(selector="a=b=c"), "cut.selector: 'a=b=c' is neither"),
        (Selection(zones=("c",)), "cut.zones[0]: no node has the label topology.kubernetes.io/zone=c"),
        (Selection(zones=("a",), racks=("r2",)), "cut.zones with cut.racks: selects no nodes"),
        (Selection(racks=("r1",), rack_label="example.com/rak"), "did you mean example.com/rack?"),
    ],
)
def test_what_selects_none_or_the_control_plane_is_refused(selection: Selection, says: str) -> None:
    with pytest.raises(Refused) as refused:
        nodes_of(RACKED, selection)
    assert says in str(refused.value)


COMPACT = cluster(workers=0, control_planes=3)


def test_nodes_of_a_compact_cluster_are_cut_only_by_name_and_never_half_of_them() -> None:
    with pytest.raises(Refused, match="every node has a control-plane role") as refused:
        nodes_of(COMPACT, Selection(selector=NOT_CONTROL_PLANE))
    assert refused.value.fix == "name the nodes to cut off in cut.nodes, e.g. [cp-1]"
    assert nodes_of(COMPACT, Selection(names=("cp-2",))) == {"cp-2"}
    with pytest.raises(Refused, match=r"2 of 3 are cut off, which leaves etcd no majority"):
        nodes_of(COMPACT, Selection(names=("cp-1", "cp-2")))
    with pytest.raises(Refused, match="a single node"):
        nodes_of(cluster(workers=0), Selection(names=("cp-1",)))


def test_the_fix_names_the_label_that_the_control_plane_has() -> None:
    label = "node-role.kubernetes.io/controlplane"
    nodes = (replace(ZONED.nodes[0], labels={label: "true"}), *ZONED.nodes[1:])
    with pytest.raises(Refused) as refused:
        nodes_of(replace(ZONED, nodes=nodes), Selection(selector="!gpu"))
    assert f"'!{label}'" in refused.value.fix


def test_racks_need_a_label_that_names_them() -> None:
    with pytest.raises(Refused, match=r"no node has a label named rack: set cut\.rack_label"):
        nodes_of(ZONED, Selection(racks=("r1",)))
    two = replace(RACKED, nodes=(replace(RACKED.nodes[0], labels={"rack": "x"}), *RACKED.nodes[1:]))
    with pytest.raises(Refused, match=r"example\.com/rack, rack are possible"):
        nodes_of(two, Selection(racks=("r1",)))
