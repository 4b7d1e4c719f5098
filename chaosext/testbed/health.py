"""A testbed's status: read from the API server and the leaf, then judged by pure functions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from chaosext.cluster.objects import Node, Pod
from chaosext.nodes.frr import ESTABLISHED
from chaosext.sentinel.sentinel_image import image_name
from chaosext.testbed import dns_install, istio_install, node_local_cache, shop_install
from chaosext.testbed.bed_options import recorded_options
from chaosext.testbed.bed_sessions import NONE_BY_DESIGN, bgp_state, leaf_states, read_sessions
from chaosext.testbed.delivery import nodes_without
from chaosext.testbed.networks.catalogue import network_for, network_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from chaosext.testbed.bed_options import BedOptions
    from chaosext.testbed.bed_sessions import BedSessions
    from chaosext.testbed.containers import NodeContainer
    from chaosext.testbed.dns_install import Homes
    from chaosext.testbed.kubectl import Kubectl

KUBE_DNS_LABEL = ("k8s-app", "kube-dns")


def expected_workloads(options: BedOptions) -> tuple[tuple[str, str], ...]:
    """Return namespace and name of each workload that a testbed with these options must have."""
    agent = network_for(options).agent
    return (
        *([agent] if agent else []),
        (dns_install.NAMESPACE, dns_install.DEPLOYMENT),
        *([node_local_cache.WORKLOAD] if options.caches_on_nodes else []),
        *([(istio_install.NAMESPACE, "istiod")] if options.is_meshed else []),
        *((shop_install.NAMESPACE, service) for service in shop_install.SERVICES),
        (shop_install.CLIENTS_NAMESPACE, shop_install.CLIENT),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHealth:
    """A node.

    `bgp` is the state of its sessions (`bed_sessions.bgp_state`), `bgp_peers` names the peers that it should have,
    and `prefixes` is the number of routes that the leaf has from it.
    """

    name: str
    role: str
    ipv4: str
    ready: bool
    schedulable: bool
    bgp: str
    prefixes: int
    bgp_peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafHealth:
    """A leaf after the first; `bgp` is the state of its session with the first one."""

    name: str
    bgp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodHealth:
    """A Pod that is not terminating; `detail` says why it is not Ready."""

    namespace: str
    name: str
    node: str
    ready: bool
    detail: str
    kube_dns: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadStatus:
    """A Deployment or DaemonSet: how many of its desired Pods are ready."""

    namespace: str
    name: str
    ready: int
    desired: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BedStatus:
    """A testbed's status. `record` was stored by `up`; `missing` lists deviations from the steady state.

    `without_sentinel`: nodes that lack the sentinel's image as built from these sources.
    """

    name: str
    context: str
    record: Mapping[str, str]
    leaf_ip: str
    nodes: tuple[NodeHealth, ...]
    pods: tuple[PodHealth, ...]
    workloads: tuple[WorkloadStatus, ...]
    without_sentinel: tuple[str, ...] = ()
    further_leafs: tuple[LeafHealth, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """One line for each deviation from the steady state; empty if there is none."""
        options = recorded_options(self.record)
        return (
            *_missing_nodes(self.nodes),
            *_missing_sessions(self.nodes),
            *_missing_leafs(self.further_leafs),
            *missing_kube_dns(kube_dns_homes(options, self.nodes), self.pods),
            *_missing_workloads(self.workloads, expected_workloads(options)),
            *_missing_pods(self.pods),
            *_missing_sentinels(self.without_sentinel),
        )

    @property
    def steady(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    def to_json(self) -> dict[str, Any]:
        """Return JSON for `testbed status --json`."""
        return {
            **asdict(self),
            "record": dict(self.record),
            "steady": self.steady,
            "missing": list(self.missing),
        }


def read_status(
    kubectl: Kubectl,
    *,
    name: str,
    leaf: NodeContainer,
    record: Mapping[str, str],
    further_leafs: Sequence[NodeContainer],
    containers: Collection[NodeContainer],
) -> BedStatus:
    """Read the status from the API server and the leaf. Raises `CommandFailed` without an API server."""
    objects = kubectl.get("nodes,pods,deployments,daemonsets", "--all-namespaces")
    nodes = [each for each in containers if each.is_kubernetes_node]
    return make_status(
        objects,
        read_sessions(name, network_of(record), nodes),
        name=name,
        leaf_ip=leaf.ipv4,
        further_leafs=further_leafs,
        record=record,
        containers=containers,
        without_sentinel=nodes_without(containers, image_name()),
    )


def make_status(
    objects: Iterable[Mapping[str, Any]],
    seen: BedSessions,
    *,
    name: str,
    leaf_ip: str,
    record: Mapping[str, str],
    containers: Iterable[NodeContainer],
    further_leafs: Sequence[NodeContainer] = (),
    without_sentinel: tuple[str, ...] = (),
) -> BedStatus:
    """Return the status from Kubernetes objects, BGP sessions and the containers.

    Pure.
    """
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for each in objects:
        by_kind.setdefault(each["kind"], []).append(each)
    known = {node.name: node for node in map(Node.from_json, by_kind.get("Node", []))}
    machines = [each for each in containers if each.is_kubernetes_node]
    network = network_of(record)
    workloads = [*by_kind.get("Deployment", []), *by_kind.get("DaemonSet", [])]
    return BedStatus(
        name=name,
        context=f"kind-{name}",
        record=record,
        leaf_ip=leaf_ip,
        nodes=tuple(
            _node_status(each, known.get(each.name), seen, bgp_state(network, each, machines, seen))
            for each in machines
        ),
        pods=tuple(
            _pod_status(pod)
            for pod in map(Pod.from_json, by_kind.get("Pod", []))
            if not pod.terminating and not pod.is_record
        ),
        workloads=tuple(_workload_status(each) for each in workloads),
        without_sentinel=without_sentinel,
        further_leafs=tuple(
            LeafHealth(name=leaf, bgp=state)
            for leaf, state in leaf_states(network, further_leafs, seen).items()
        ),
    )


def _node_status(
    container: NodeContainer, node: Node | None, seen: BedSessions, bgp: tuple[str, tuple[str, ...]]
) -> NodeHealth:
    state, peers = bgp
    session = seen.by_leaf.get(container.ipv4)
    return NodeHealth(
        name=container.name,
        role=container.role,
        ipv4=container.ipv4,
        ready=node is not None and node.ready == "True",
        schedulable=node is not None and not node.unschedulable,
        bgp=state,
        prefixes=session.prefixes if session else 0,
        bgp_peers=peers,
    )


def _pod_status(pod: Pod) -> PodHealth:
    label, value = KUBE_DNS_LABEL
    return PodHealth(
        namespace=pod.namespace,
        name=pod.name,
        node=pod.node,
        ready=pod.ready,
        detail=pod.ready_detail,
        kube_dns=pod.labels.get(label) == value,
    )


def _workload_status(workload: Mapping[str, Any]) -> WorkloadStatus:
    status = workload.get("status") or {}
    spec = workload.get("spec") or {}
    return WorkloadStatus(
        namespace=workload["metadata"]["namespace"],
        name=workload["metadata"]["name"],
        ready=int(status.get("numberReady", status.get("readyReplicas")) or 0),
        desired=int(status.get("desiredNumberScheduled", spec.get("replicas")) or 0),
    )


def _missing_nodes(nodes: Iterable[NodeHealth]) -> list[str]:
    unready = [f"node {node.name} is not Ready" for node in nodes if not node.ready]
    cordoned = [f"node {node.name} is cordoned" for node in nodes if node.ready and not node.schedulable]
    return [*unready, *cordoned]


def _missing_sessions(nodes: Iterable[NodeHealth]) -> list[str]:
    return [
        f"BGP of {node.name} ({node.ipv4}) is not Established: {node.bgp}"
        for node in nodes
        if node.bgp not in {ESTABLISHED, NONE_BY_DESIGN}
    ]


def _missing_leafs(leafs: Iterable[LeafHealth]) -> list[str]:
    return [
        f"BGP of {each.name} with the first leaf is not Established: {each.bgp}"
        for each in leafs
        if each.bgp != ESTABLISHED
    ]


def kube_dns_homes(options: BedOptions, nodes: Iterable[NodeHealth]) -> Homes:
    """Return where kube-dns belongs."""
    roles = {each.name: each.role for each in nodes}
    control_planes, workers = (
        [name for name, role in roles.items() if role == wanted] for wanted in ("control-plane", "worker")
    )
    return dns_install.homes_of(options, control_planes, workers)


def missing_kube_dns(homes: Homes, pods: Iterable[PodHealth]) -> list[str]:
    """List misplaced kube-dns: Pods that are on other nodes, or on fewer nodes than they should be."""
    places = {pod.name: pod.node for pod in pods if pod.kube_dns and pod.ready}
    astray = [f"kube-dns Pod {pod} is on {node}" for pod, node in places.items() if node not in homes.nodes]
    spread = len(set(places.values()) & homes.nodes)
    thin = [f"kube-dns is ready on {spread} of {homes.wanted} {homes.title}"] if spread < homes.wanted else []
    return [*astray, *thin]


def _missing_workloads(workloads: Iterable[WorkloadStatus], expected: Iterable[tuple[str, str]]) -> list[str]:
    present = {(each.namespace, each.name): each for each in workloads}
    absent = [f"{space}/{name} does not exist" for space, name in expected if (space, name) not in present]
    unready = [
        f"{each.namespace}/{each.name} has {each.ready} of {each.desired} Pods ready"
        for each in present.values()
        if each.ready < each.desired or not each.desired
    ]
    return [*absent, *unready]


def _missing_pods(pods: Iterable[PodHealth]) -> list[str]:
    return [f"Pod {pod.namespace}/{pod.name} is not Ready: {pod.detail}" for pod in pods if not pod.ready]


def _missing_sentinels(nodes: Iterable[str]) -> list[str]:
    return [f"node {node} does not have the image {image_name()}" for node in nodes]
