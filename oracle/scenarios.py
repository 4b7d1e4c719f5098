"""What is played: clusters, workloads and cuts, as data.

Accelerated timings (20 s grace, 20 s tolerations) unless a scenario says otherwise; a cut of 60 s lets the first two
nodes of a zone be evicted by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from oracle.manifests import (
    CONTROL_PLANE,
    DNS_LABELS,
    EVERYWHERE,
    ZONE,
    bare_pod,
    budget,
    daemon_set,
    deployment,
    kube_dns,
    node,
    only_on,
    pod_spec,
    preferred,
    rather_on,
    required,
    spread,
    stateful_set,
    unreachable_for,
    workload,
)

if TYPE_CHECKING:
    from oracle.manifests import Manifest

WITHOUT_ROLE = {"key": CONTROL_PLANE, "operator": "DoesNotExist"}
APART = {"podAntiAffinity": preferred(DNS_LABELS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A cluster, what runs on it, and the cut. `late` nodes join once everything runs (and so get nothing of it).

    `cut` are patterns of node names. `after_s`: how long it is watched beyond the heal. `flags` are the controller
    manager's.
    """

    name: str
    about: str
    nodes: tuple[Manifest, ...]
    late: tuple[Manifest, ...] = ()
    workloads: tuple[Manifest, ...]
    cut: tuple[str, ...] = ("worker-*",)
    cut_for_s: float = 60.0
    after_s: float = 12.0
    grace_s: int = 20
    toleration_s: int = 20
    flags: tuple[str, ...] = ()

    @property
    def cut_nodes(self) -> frozenset[str]:
        names = (each["metadata"]["name"] for each in (*self.nodes, *self.late))
        return frozenset(name for name in names if any(fnmatch(name, pattern) for pattern in self.cut))

    @property
    def controller_manager(self) -> tuple[str, ...]:
        return (f"--node-monitor-grace-period={self.grace_s}s", *self.flags)

    @property
    def apiserver(self) -> tuple[str, ...]:
        return (f"--default-unreachable-toleration-seconds={self.toleration_s}",)


def workers(count: int, *, zones: tuple[str, ...] = (), **more: object) -> tuple[Manifest, ...]:
    return tuple(
        node(f"worker-{at + 1}", zone=zones[at % len(zones)] if zones else "", **more)  # type: ignore[arg-type]
        for at in range(count)
    )


def control_planes(count: int = 1, zone: str = "") -> tuple[Manifest, ...]:
    return tuple(node(f"cp-{at + 1}", control_plane=True, zone=zone) for at in range(count))


def _scenario(name: str, about: str, count: int = 3, **more: object) -> Scenario:
    """So many workers, kube-dns, a shop and calico-node, and a control-plane node that joins late."""
    given = {
        "nodes": workers(count),
        "late": control_planes(),
        "workloads": (*kube_dns(), deployment("cart", 3), daemon_set()),
        **more,
    }
    return Scenario(name=name, about=about, **given)  # type: ignore[arg-type]


STORY, DAEMONS = kube_dns(), daemon_set()
CART = {"app": "cart"}

DNS_APART = {**only_on(WITHOUT_ROLE), "podAntiAffinity": required(DNS_LABELS)}
FULL = {"cpu": "950m", "nodeSelector": {"pool": "shop"}}
"""Of a node of one CPU, so much that kube-dns has no room beside it."""


def full_pool() -> tuple[Manifest, ...]:
    """Two nodes for kube-dns, and two that a shop fills."""
    shop = (node(f"worker-{at}", cpu="1", labels={"pool": "shop"}) for at in (3, 4))
    return (*workers(2), *shop)


MANAGED = ("--large-cluster-size-threshold=100000", "--secondary-node-eviction-rate=0.01")
"""EKS' thresholds (kubernetes #131481)."""


def _parallel(spec: Manifest) -> Manifest:
    return {**spec, "podManagementPolicy": "Parallel"}


def _daemon_dns() -> Manifest:
    return workload(
        "DaemonSet",
        "dns-default",
        pod_spec(tolerations=EVERYWHERE),
        namespace="kube-system",
        labels=DNS_LABELS,
    )


def toleration(**fields: object) -> list[Manifest]:
    return [{"effect": "NoExecute", **fields}]


SCENARIOS = (
    # -- zones -------------------------------------------------------------------------------------------
    _scenario("1+3", "the story without zones: PartialDisruption, but who was tainted before it?"),
    _scenario("1+2", "two workers are too few for PartialDisruption: both are evicted", count=2),
    _scenario(
        "1+3 zone of their own",
        "the workers' zone is lost whole: FullDisruption, and eviction goes on",
        nodes=workers(3, zones=("a",)),
    ),
    _scenario(
        "1+3 one zone with the control plane",
        "a zone label on all of them is as good as none",
        nodes=workers(3, zones=("a",)),
        late=control_planes(zone="a"),
    ),
    _scenario(
        "1+3 a zone each",
        "three zones, each fully lost: each with a limiter of its own",
        nodes=workers(3, zones=("a", "b", "c")),
    ),
    _scenario(
        "1+6 two zones, one lost",
        "zone a is lost whole, zone b stays",
        nodes=workers(6, zones=("a", "b")),
        cut=("worker-1", "worker-3", "worker-5"),
    ),
    _scenario(
        "1+6 two zones, both lost",
        "two FullDisruptions at once: two limiters",
        nodes=workers(6, zones=("a", "b")),
    ),
    _scenario(
        "1+5 zoned and unzoned",
        "three workers in a zone, two without one, all cut",
        nodes=(*workers(3, zones=("a",)), node("worker-4"), node("worker-5")),
    ),
    _scenario(
        "0+3 all lost",
        "every node that there is: master disruption mode, nothing is evicted",
        late=(),
    ),
    # -- partial cuts ------------------------------------------------------------------------------------
    _scenario("1+3 one cut", "one of three: Normal, evicted onto the others", cut=("worker-1",)),
    _scenario("1+3 two cut", "two of four nodes: Normal", cut=("worker-1", "worker-2")),
    _scenario("3+3 all workers", "exactly half: Normal", late=control_planes(3)),
    _scenario("1+5 four cut", "four of six: PartialDisruption", count=5, cut=("worker-[1-4]",)),
    _scenario("1+6 two cut", "a third of the workers", count=6, cut=("worker-[12]",)),
    _scenario(
        "1+3 zone of their own, two cut",
        "two of a zone's three: not enough for PartialDisruption",
        nodes=workers(3, zones=("a",)),
        cut=("worker-[12]",),
    ),
    # -- when the network comes back ---------------------------------------------------------------------
    _scenario("1+2 heal before grace", "too short to be seen", count=2, cut_for_s=8.0, after_s=25.0),
    _scenario(
        "1+2 heal at grace", "as long as the grace: seen or not", count=2, cut_for_s=16.0, after_s=25.0
    ),
    _scenario(
        "1+2 heal before eviction",
        "NotReady, tainted, and back before a toleration ends",
        count=2,
        cut_for_s=28.0,
    ),
    _scenario("1+2 heal amid evictions", "one node's turn comes, the other's not", count=2, cut_for_s=42.0),
    _scenario("1+2 long", "nothing more happens once all are evicted", count=2, cut_for_s=90.0),
    # -- kube-dns' place ---------------------------------------------------------------------------------
    _scenario(
        "1+2 dns kept off control planes",
        "replacements are Pending until the heal",
        count=2,
        workloads=(*kube_dns(affinity=only_on(WITHOUT_ROLE)), deployment("cart", 3), DAEMONS),
    ),
    _scenario(
        "1+3 zone of their own, dns kept off control planes",
        "Pending until the first node is back",
        nodes=workers(3, zones=("a",)),
        workloads=(*kube_dns(affinity=only_on(WITHOUT_ROLE)), DAEMONS),
    ),
    _scenario(
        "1+2 dns must spread",
        "required anti-affinity: one control-plane node takes one of two",
        count=2,
        workloads=(*kube_dns(affinity={"podAntiAffinity": required(DNS_LABELS)}), DAEMONS),
    ),
    _scenario("3+2 dns", "three control-plane nodes share kube-dns", count=2, late=control_planes(3)),
    _scenario(
        "1+2 three dns replicas",
        "three replicas on two nodes",
        count=2,
        workloads=(*kube_dns(3), DAEMONS),
    ),
    # -- scheduling of what is evicted -------------------------------------------------------------------
    _scenario(
        "1+4 affinity",
        "carts follow the catalogue to the one node that may take it",
        nodes=(node("worker-1", labels={"disk": "fast"}), *workers(3)[1:]),
        late=(*control_planes(), node("worker-4", labels={"disk": "fast"})),
        cut=("worker-[12]",),
        workloads=(
            *STORY,
            deployment("catalogue", 1, nodeSelector={"disk": "fast"}),
            deployment("cart", 3, affinity={"podAffinity": required({"app": "catalogue"})}),
        ),
    ),
    _scenario(
        "1+4 anti-affinity",
        "one cart a node: the evicted find no other node",
        count=4,
        cut=("worker-[12]",),
        workloads=(*STORY, deployment("cart", 4, affinity={"podAntiAffinity": required(CART)})),
    ),
    _scenario(
        "1+4 preferred node",
        "carts are drawn to worker-4",
        late=(*control_planes(), node("worker-4", labels={"disk": "fast"})),
        cut=("worker-[12]",),
        workloads=(*STORY, deployment("cart", 4, affinity=rather_on("disk", "fast", 100))),
    ),
    _scenario(
        "1+4 spread over nodes",
        "skew 1 over hostnames: lost nodes still count",
        count=4,
        cut=("worker-[12]",),
        workloads=(*STORY, deployment("cart", 4, topologySpreadConstraints=spread(CART))),
    ),
    _scenario(
        "1+4 spread over zones",
        "a zone is lost; a hard spread keeps its Pods from the other one",
        nodes=workers(4, zones=("a", "b")),
        cut=("worker-1", "worker-3"),
        workloads=(*STORY, deployment("cart", 4, topologySpreadConstraints=spread(CART, ZONE))),
    ),
    _scenario(
        "1+4 soft spread over zones",
        "a soft spread lets them go",
        nodes=workers(4, zones=("a", "b")),
        cut=("worker-1", "worker-3"),
        workloads=(*STORY, deployment("cart", 4, topologySpreadConstraints=spread(CART, ZONE, hard=False))),
    ),
    _scenario(
        "1+4 taints",
        "a tainted node is left alone by whom it isn't for",
        nodes=(*workers(3), node("worker-4", taints=("dedicated=db:NoSchedule",))),
        cut=("worker-[12]",),
        workloads=(
            *STORY,
            deployment("cart", 4),
            deployment("db", 1, tolerations=[{"key": "dedicated", "operator": "Exists"}]),
        ),
    ),
    _scenario(
        "1+3 node selector",
        "bound to a label that only lost nodes have: Pending until the heal",
        nodes=(node("worker-1", labels={"disk": "fast"}), *workers(3)[1:]),
        cut=("worker-1",),
        workloads=(*STORY, deployment("cart", 2, nodeSelector={"disk": "fast"})),
    ),
    _scenario(
        "1+3 no room",
        "the nodes that are left are full",
        nodes=workers(3, cpu="2"),
        cut=("worker-1",),
        workloads=(*STORY, deployment("cart", 3, cpu="1200m")),
    ),
    # -- tolerations and owners --------------------------------------------------------------------------
    _scenario(
        "1+2 tolerations",
        "for ever, 5 s and the default side by side",
        count=2,
        workloads=(
            *STORY,
            deployment("stays", 2, tolerations=unreachable_for(None)),
            deployment("hasty", 2, tolerations=unreachable_for(5)),
            deployment("cart", 2),
        ),
    ),
    _scenario(
        "1+2 no toleration for NoExecute",
        "tolerationSeconds 0: evicted with the taint",
        count=2,
        workloads=(*STORY, deployment("hasty", 2, tolerations=unreachable_for(0))),
    ),
    _scenario(
        "1+3 owners, one cut",
        "StatefulSet and bare Pods wait for their node, Deployments don't",
        cut=("worker-1",),
        workloads=(*STORY, stateful_set("db", 3), deployment("cart", 3), bare_pod("lonely"), DAEMONS),
    ),
    _scenario(
        "1+2 owners",
        "StatefulSet, DaemonSet and bare Pods with every worker lost",
        count=2,
        workloads=(*STORY, stateful_set("db", 2), bare_pod("lonely"), DAEMONS),
    ),
    # -- sizes and default timings -----------------------------------------------------------------------
    _scenario(
        "1+3 default timings",
        "50 s grace, 300 s tolerations, 480 s cut",
        grace_s=50,
        toleration_s=300,
        cut_for_s=480.0,
    ),
    _scenario(
        "1+3 zone of their own, default timings",
        "the story in production's timings",
        nodes=workers(3, zones=("a",)),
        grace_s=50,
        toleration_s=300,
        cut_for_s=480.0,
    ),
    _scenario(
        "3+60 default timings",
        "above 50 nodes: 0.01 a second in PartialDisruption",
        nodes=workers(60),
        late=control_planes(3),
        workloads=(*STORY, DAEMONS),
        grace_s=50,
        toleration_s=300,
        cut_for_s=480.0,
    ),
    _scenario(
        "3+60 forty cut",
        "above 50 nodes, two thirds lost",
        nodes=workers(60),
        late=control_planes(3),
        cut=("worker-[1-3][0-9]", "worker-[1-9]", "worker-40"),
        workloads=(*STORY, deployment("cart", 30)),
        cut_for_s=90.0,
    ),
    _scenario(
        "3+20 large by flag",
        "--large-cluster-size-threshold 10: 23 nodes are evicted at the secondary rate",
        nodes=workers(20),
        late=control_planes(3),
        cut_for_s=90.0,
        flags=("--large-cluster-size-threshold=10", "--secondary-node-eviction-rate=0.05"),
    ),
    _scenario(
        "1+8 faster eviction",
        "--node-eviction-rate 0.5",
        nodes=workers(8, zones=("a",)),
        flags=("--node-eviction-rate=0.5",),
    ),
    # -- what clusters also have --------------------------------------------------------------------------
    _scenario(
        "1+4 preemption",
        "kube-dns makes itself room on full nodes",
        nodes=full_pool(),
        cut=("worker-[12]",),
        workloads=(*kube_dns(affinity=DNS_APART), deployment("cart", 2, **FULL)),
    ),
    _scenario(
        "1+4 preemption beside a budget",
        "who has no budget gives way",
        nodes=full_pool(),
        cut=("worker-1",),
        workloads=(
            *kube_dns(affinity=DNS_APART),
            budget("till", {"app": "till"}, minAvailable=1),
            deployment("till", 1, **FULL),
            deployment("cart", 1, **FULL),
        ),
    ),
    _scenario(
        "1+4 spread honours taints",
        "a lost zone isn't counted: its Pods go to the other one",
        nodes=workers(4, zones=("a", "b")),
        cut=("worker-1", "worker-3"),
        workloads=(
            *STORY,
            deployment("cart", 4, topologySpreadConstraints=spread(CART, ZONE, nodeTaintsPolicy="Honor")),
        ),
    ),
    _scenario(
        "1+4 spread over two zones at least",
        "minDomains: the zone that is left is one too few",
        nodes=workers(4, zones=("a", "b")),
        cut=("worker-1", "worker-3"),
        workloads=(
            *STORY,
            deployment(
                "cart",
                4,
                topologySpreadConstraints=spread(
                    CART, ZONE, nodeTaintsPolicy="Honor", minDomains=2, matchLabelKeys=["pod-template-hash"]
                ),
            ),
        ),
    ),
    _scenario(
        "1+4 dns spread over zones",
        "kube-dns waits for its zone",
        nodes=workers(4, zones=("a", "b")),
        cut=("worker-1", "worker-3"),
        workloads=(*kube_dns(topologySpreadConstraints=spread(DNS_LABELS, ZONE)), deployment("cart", 3)),
    ),
    _scenario(
        "1+2 odd tolerations",
        "without key, without operator, negative, two for one taint, for everything",
        count=2,
        workloads=(
            *STORY,
            deployment("keyless", 1, tolerations=toleration(operator="Exists", tolerationSeconds=3)),
            deployment(
                "equal", 1, tolerations=toleration(key="node.kubernetes.io/unreachable", tolerationSeconds=7)
            ),
            deployment("negative", 1, tolerations=unreachable_for(-5)),
            deployment("twice", 1, tolerations=[*unreachable_for(30), *unreachable_for(10)]),
            deployment("anything", 1, tolerations=[{"operator": "Exists"}]),
        ),
    ),
    _scenario(
        "1+5 host ports and a cordoned node",
        "one gate a node, and a node that takes none",
        nodes=(*workers(4), node("worker-5", cordoned=True)),
        cut=("worker-[12]",),
        workloads=(*STORY, deployment("gate", 3, host_port=8443)),
    ),
    _scenario(
        "1+4 nodes that don't count",
        "with exclude-disruption two of a zone's five are no disruption",
        nodes=(
            *workers(2),
            *(
                node(f"rack-{at}.shop.example", labels={"node.kubernetes.io/exclude-disruption": ""})
                for at in (1, 2)
            ),
        ),
        cut=("worker-*", "rack-*"),
    ),
    _scenario(
        "1+4 rather elsewhere",
        "PreferNoSchedule: the other node first",
        nodes=(*workers(3), node("worker-4", taints=("old=:PreferNoSchedule",))),
        cut=("worker-[12]",),
        workloads=(*STORY, deployment("cart", 4), DAEMONS),
    ),
    _scenario(
        "2+12 a zone and a half",
        "one of three zones lost whole, half of another",
        nodes=workers(12, zones=("a", "b", "c")),
        late=control_planes(2),
        cut=("worker-1", "worker-4", "worker-7", "worker-10", "worker-2", "worker-5"),
        workloads=(*kube_dns(3), deployment("cart", 12)),
    ),
    _scenario(
        "1+3 other flags",
        "the monitor looks every 2 s, and 75 % is no disruption",
        flags=("--node-monitor-period=2s", "--unhealthy-zone-threshold=0.8"),
    ),
    _scenario(
        "1+3 more owners",
        "a StatefulSet that needn't keep order, a ReplicaSet of its own, within a budget",
        cut=("worker-[12]",),
        workloads=(
            *STORY,
            budget("db", {"app": "db"}, maxUnavailable=1),
            workload(
                "StatefulSet", "db", pod_spec(), replicas=4, serviceName="db", podManagementPolicy="Parallel"
            ),
            workload("ReplicaSet", "cart", pod_spec(), replicas=3),
        ),
    ),
    # -- managed control planes: none of the cluster's nodes ----------------------------------------------
    _scenario(
        "0+6 managed, one zone lost",
        "EKS' thresholds: two of six nodes, one of three zones",
        nodes=workers(6, zones=("a", "b", "c")),
        late=(),
        cut=("worker-1", "worker-4"),
        flags=MANAGED,
    ),
    _scenario(
        "0+6 managed, two zones lost",
        "two FullDisruptions, and a zone that stays",
        nodes=workers(6, zones=("a", "b", "c")),
        late=(),
        cut=("worker-[12]", "worker-[45]"),
        flags=MANAGED,
    ),
    _scenario(
        "0+6 managed, all zones lost",
        "master disruption: nothing is evicted",
        nodes=workers(6, zones=("a", "b", "c")),
        late=(),
        flags=MANAGED,
    ),
    _scenario(
        "0+4 managed, dns on the cut nodes",
        "kube-dns loses its endpoints everywhere until it is evicted",
        nodes=(*workers(2, labels={"pool": "dns"}), *(node(f"worker-{at}") for at in (3, 4))),
        late=(),
        cut=("worker-[12]",),
        workloads=(*kube_dns(affinity=rather_on("pool", "dns", 100)), deployment("cart", 3)),
        cut_for_s=75.0,
        flags=MANAGED,
    ),
    # -- three zones with a control-plane node each -------------------------------------------------------
    *(
        _scenario(
            f"3+9 three zones, {lost} cut",
            "each zone keeps its control-plane node: a zone's three of four are PartialDisruption",
            nodes=workers(9, zones=("a", "b", "c")),
            late=tuple(node(f"cp-{at + 1}", control_plane=True, zone=zone) for at, zone in enumerate("abc")),
            cut=tuple(f"worker-{at}" for at in range(1, 10) if (at - 1) % 3 < lost),
            workloads=(*kube_dns(3), deployment("cart", 9), DAEMONS),
        )
        for lost in (1, 2, 3)
    ),
    # -- quorums ------------------------------------------------------------------------------------------
    _scenario(
        "1+3 quorum, all cut",
        "three of three members are Terminating until the heal, and go together",
        workloads=(*STORY, stateful_set("etcd", 3, affinity={"podAntiAffinity": required({"app": "etcd"})})),
        after_s=30.0,
    ),
    _scenario(
        "1+5 quorum of five, two cut",
        "a minority: the members wait for their nodes",
        count=5,
        cut=("worker-[12]",),
        workloads=(*STORY, stateful_set("etcd", 5, affinity={"podAntiAffinity": required({"app": "etcd"})})),
        after_s=30.0,
    ),
    _scenario(
        "1+5 quorum of five, three cut",
        "a majority",
        count=5,
        cut=("worker-[123]",),
        workloads=(*STORY, stateful_set("etcd", 5, affinity={"podAntiAffinity": required({"app": "etcd"})})),
        after_s=30.0,
    ),
    _scenario(
        "1+3 quorum, managed in parallel",
        "podManagementPolicy Parallel",
        workloads=(*STORY, {**stateful_set("etcd", 3), "spec": _parallel(stateful_set("etcd", 3)["spec"])}),
        after_s=30.0,
    ),
    _scenario(
        "1+3 quorum that stays",
        "members tolerate a lost node for good",
        workloads=(*STORY, stateful_set("etcd", 3, tolerations=unreachable_for(None))),
    ),
    _scenario(
        "1+3 quorum with a budget",
        "a PodDisruptionBudget holds no eviction back",
        workloads=(*STORY, stateful_set("etcd", 3), budget("etcd", {"app": "etcd"}, minAvailable=2)),
        after_s=30.0,
    ),
    # -- cluster DNS of other shapes -----------------------------------------------------------------------
    _scenario(
        "3+3 dns as a DaemonSet",
        "OpenShift's: it tolerates everything and stays",
        late=control_planes(3),
        workloads=(kube_dns()[0], _daemon_dns(), deployment("cart", 3)),
    ),
    _scenario(
        "1+4 dns autoscaled",
        "four replicas, spread: two leave, and find room beside the others",
        count=4,
        cut=("worker-[12]",),
        workloads=(*kube_dns(4, topologySpreadConstraints=spread(DNS_LABELS, hard=False)), DAEMONS),
    ),
    # -- control planes that take work ---------------------------------------------------------------------
    _scenario(
        "3+2 untainted control planes",
        "what is evicted finds room on them",
        late=tuple(node(f"cp-{at + 1}", labels={CONTROL_PLANE: ""}) for at in range(3)),
        count=2,
        nodes=workers(2),
    ),
    _scenario(
        "0+5 managed, hybrid nodes cut",
        "two nodes without a zone beside a zone of three: a zone of their own, lost whole",
        nodes=(*workers(3, zones=("a",)), node("hybrid-1"), node("hybrid-2")),
        late=(),
        cut=("hybrid-*",),
        flags=MANAGED,
    ),
    # -- large clusters ------------------------------------------------------------------------------------
    _scenario(
        "3+97 a third cut",
        "a hundred nodes, Normal: a node each ten seconds",
        nodes=workers(97),
        late=control_planes(3),
        cut=("worker-[1-2][0-9]", "worker-[1-9]"),
        workloads=(*STORY, deployment("cart", 60)),
        cut_for_s=90.0,
    ),
    _scenario(
        "3+297 all workers cut",
        "three hundred nodes: marking them takes the client's rate",
        nodes=workers(297),
        late=control_planes(3),
        workloads=(*STORY, deployment("cart", 300), DAEMONS),
        cut_for_s=240.0,
        after_s=30.0,
    ),
    _scenario(
        "3+297 three zones, one cut",
        "a hundred of three hundred, a zone lost whole",
        nodes=workers(297, zones=("a", "b", "c")),
        late=control_planes(3, zone="a"),
        cut=tuple(f"worker-{at}" for at in range(2, 298, 3)),
        workloads=(*STORY, deployment("cart", 300)),
        cut_for_s=180.0,
        after_s=30.0,
    ),
)
