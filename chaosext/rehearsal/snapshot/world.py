"""The engine's model of a cluster: frozen values, built from plain Kubernetes JSON by `reader`.

Equal Pods share one `PodSpec` (compared by identity), so that 150,000 Pods stay small. Information that the
snapshot lacks is None if the engine must treat it as unknown, and otherwise listed in `World.assumptions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chaosext.cluster.timings import Timings

if TYPE_CHECKING:
    from datetime import datetime

    from chaosext.cluster.objects import BgpPeer, IpPool, Taint

Labels = Mapping[str, str]

HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
"""Labels of nodes (k8s.io/api core/v1/well_known_labels.go)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Requests of a Pod, or a node's allocatable. `extended` holds (name, amount) pairs, sorted."""

    cpu_m: int = 0
    memory_bytes: int = 0
    extended: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One expression of a selector. `operator`: In, NotIn, Exists, DoesNotExist, Gt, Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelector:
    """A label selector of Pods: all `requirements` must hold (matchLabels are `In` with one value); none: every Pod."""

    requirements: tuple[Requirement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTerm:
    """A nodeSelectorTerm; all its parts must hold. `names` are matchFields on metadata.name, empty for any."""

    requirements: tuple[Requirement, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTerm:
    """A podAffinityTerm; `selector` None selects no Pod.

    `namespaces`: where the other Pods are; empty means the Pod's own namespace, ("*",) every namespace.
    """

    topology_key: str
    selector: LabelSelector | None
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """`required_nodes`: any of these terms must hold; None: no requirement. Preferred terms have weights, 1 to 100."""

    required_nodes: tuple[NodeTerm, ...] | None = None
    preferred_nodes: tuple[tuple[int, NodeTerm], ...] = ()
    required_pods: tuple[PodTerm, ...] = ()
    preferred_pods: tuple[tuple[int, PodTerm], ...] = ()
    forbidden_pods: tuple[PodTerm, ...] = ()
    """Required anti-affinity."""
    avoided_pods: tuple[tuple[int, PodTerm], ...] = ()
    """Preferred anti-affinity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A topologySpreadConstraint. `required`: whenUnsatisfiable is DoNotSchedule. `selector` has matchLabelKeys."""

    max_skew: int
    topology_key: str
    required: bool
    selector: LabelSelector | None
    min_domains: int = 1
    honours_taints: bool = False
    honours_affinity: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Toleration:
    """`operator` is Equal or Exists; empty `key` and `effect` match all. `seconds` None: tolerates forever."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A probe's timings, with Kubernetes' defaults; `port` is 0 for a named port and for an exec probe."""

    period_s: int = 10
    timeout_s: int = 1
    failure_threshold: int = 3
    success_threshold: int = 1
    initial_delay_s: int = 0
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container as its spec describes it. `native`: an init container with restartPolicy Always (a native sidecar).

    `post_start`: it has a postStart hook, which delays the containers after it (Istio's
    holdApplicationUntilProxyStarts).
    """

    name: str
    init: bool = False
    native: bool = False
    post_start: bool = False
    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PodSpec:
    """The common part of Pods of one template."""

    labels: Labels = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    node_selector: Labels = field(default_factory=dict)
    affinity: Affinity | None = None
    spreads: tuple[Spread, ...] = ()
    requests: Resources = Resources()
    scored_requests: Resources | None = None
    """Requests that the scheduler uses for scoring, None for `requests`.

    It counts 100m and 200 MiB for each container without requests (pkg/scheduler/util/pod_resources.go,
    GetNonzeroRequests).
    """
    priority: int = 0
    may_preempt: bool = True
    host_network: bool = False
    host_ports: tuple[tuple[str, int], ...] = ()
    """(protocol, port)."""
    containers: tuple[Container, ...] = ()
    restart_policy: str = "Always"
    termination_grace_s: int = 30
    scheduler: str = "default-scheduler"
    dns_policy: str = "ClusterFirst"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A Pod. `owner` is "ReplicaSet/coredns-66bc5c9577", "Node/cp-1" for a static Pod, "" for a bare Pod."""

    namespace: str
    name: str
    node: str
    spec: PodSpec
    owner: str = ""
    phase: str = "Running"
    ready: bool = True
    terminating: bool = False

    @property
    def subject(self) -> str:
        """Name in the timeline."""
        return f"Pod/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Deployment, ReplicaSet, StatefulSet, DaemonSet, Job. `owner` as in `Pod`.

    `pod_management`: a StatefulSet's OrderedReady or Parallel. `quorum`: whether most of its Pods are needed at every
    moment, as its label or annotation `chaosext.io/quorum` says; None if it has none. `replaces_late`: a
    Deployment's podReplacementPolicy is TerminationComplete.
    """

    kind: str
    namespace: str
    name: str
    replicas: int = 1
    owner: str = ""
    pod_management: str = "OrderedReady"
    quorum: bool | None = None
    replaces_late: bool = False

    @property
    def subject(self) -> str:
        """Name in the timeline."""
        return f"{self.kind}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node. `zone` is the controller's zone key, built from region and zone labels, "" for none.

    `ready` is "True", "False" or "Unknown". `lease_renewed` is the renewTime of the node's Lease. `other_ips`
    are the addresses of other types. `bgp_addresses` are Calico's, with prefix lengths ("10.0.0.4/24");
    `reflector_cluster` is Calico's routeReflectorClusterID.
    """

    name: str
    labels: Labels = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    zone: str = ""
    control_plane: bool = False
    ready: str = "True"
    unschedulable: bool = False
    internal_ips: tuple[str, ...] = ()
    allocatable: Resources = Resources(cpu_m=1_000_000, memory_bytes=1 << 50)
    max_pods: int = 110
    lease_renewed: datetime | None = None
    other_ips: tuple[str, ...] = ()
    bgp_addresses: tuple[str, ...] = ()
    reflector_cluster: str = ""
    kubelet_version: str = ""
    """As "v1.34.4"; "" if unknown."""
    simulated: bool = False
    """KWOK simulates its kubelet."""
    provider: str = ""
    """The scheme of its providerID, as "aws"; "" if it has none."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All known addresses; some have a prefix length."""
        return (*self.internal_ips, *self.other_ips, *self.bgp_addresses)

    @property
    def subject(self) -> str:
        """Name in the timeline."""
        return f"Node/{self.name}"


class Nearness(StrEnum):
    """Which endpoints a Service prefers: trafficDistribution, its topology annotations, or OpenShift's own one."""

    ANY = ""
    NODE = "same node"
    ZONE = "same zone"
    BALANCED = "same zone, if that balances the load"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A Service; it selects the Pods in its namespace that have all labels of `selector` (empty: none).

    `external`: a load balancer outside the cluster follows its endpoints, as its type is LoadBalancer or its
    externalTrafficPolicy Local.
    `local_only`: internalTrafficPolicy is Local. `prefers`: which endpoints a node uses while it has any such.
    """

    namespace: str
    name: str
    selector: Labels
    cluster_ips: tuple[str, ...] = ()
    publishes_not_ready: bool = False
    external: bool = False
    ports: tuple[int, ...] = ()
    local_only: bool = False
    prefers: Nearness = Nearness.ANY

    @property
    def subject(self) -> str:
        """Name in the timeline."""
        return f"Service/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisruptionBudget:
    """A PodDisruptionBudget. Taint-based eviction ignores it; drains and preemption respect it."""

    namespace: str
    name: str
    selector: LabelSelector | None
    min_available: str = ""
    max_unavailable: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A reason why a snapshot does not prove which nodes reach which Pods.

    `subject` is the object in question; `key` is its field that would resolve the doubt, "" if no field is
    known to.
    """

    subject: str
    why: str
    key: str = ""

    def to_json(self) -> dict[str, str]:
        return {"subject": self.subject, "key": self.key, "why": self.why}

    def __str__(self) -> str:
        return f"{self.subject}{f' {self.key}' if self.key else ''}: {self.why}"


class Plugin(StrEnum):
    """The kind of network that makes Pods reachable across nodes."""

    CALICO = "calico"
    ROUTED = "routed"
    """Pod addresses belong to the fabric (a cloud's VPC): no route announcement is needed."""
    OVERLAY = "overlay"
    """Another overlay (flannel, Cilium in tunnel mode) between nodes: no route announcement is needed."""
    KUBE_ROUTER = "kube-router"
    """Sessions between all nodes, or with the fabric."""
    CILIUM_BGP = "cilium-bgp"
    """Cilium without tunnels: its agents announce each node's Pods to the fabric."""
    DECLARED = "declared"
    """The plan says which nodes' Pods stay reachable."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What the snapshot shows of the Pod network: `shown` is the evidence, `doubts` are the reasons against it.

    `peers`, `pools` and `full_mesh` are Calico's; `full_mesh` is None if no BGPConfiguration exists, so that
    only the default suggests a mesh. `bgp_doubts` matter only if routes come by BGP. `bgp_enabled` is False
    if Calico runs without BIRD. `felix_routes`: Felix programs all routes, also those without a tunnel.
    `hold_s`: hold time of its BGP sessions, in seconds. `reached`: the nodes whose Pods stay reachable,
    according to the plan.
    `announcing`: the nodes that announce their Pods to the fabric, with kube-router or Cilium. `lingers_s`: for how
    long graceful restart keeps the routes of a session that has ended. `agents_end`: Cilium's agents end without the
    API server; `keeps_backends`: they do not remove Services' old endpoints after they were cut off. `ebpf`: Felix
    forwards Pod traffic by eBPF; `typha`: the nodes of its Typha.
    """

    plugin: Plugin = Plugin.UNKNOWN
    shown: str = ""
    doubts: tuple[Doubt, ...] = ()
    bgp_doubts: tuple[Doubt, ...] = ()
    peers: tuple[BgpPeer, ...] = ()
    full_mesh: bool | None = True
    pools: tuple[IpPool, ...] = ()
    bgp_enabled: bool = True
    felix_routes: bool = False
    hold_s: float = 240.0
    reached: frozenset[str] = frozenset()
    is_complete: bool = False
    """Whether it is known that no object is missing, as from one cluster whose routes are proven another is derived."""
    announcing: frozenset[str] = frozenset()
    lingers_s: float = 0.0
    agents_end: bool = False
    keeps_backends: bool = False
    ebpf: bool = False
    typha: frozenset[str] = frozenset()
    nodelocal_dns: bool = False
    """NodeLocal DNSCache runs on every node (DaemonSet node-local-dns)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """Istio. `webhook_fails_closed`: the injection webhook's failurePolicy is Fail.

    `injects`: namespaces whose new Pods get a sidecar. `istiod` is istiod's Service. `captures_dns`: sidecars answer
    for the names of Services, with what istiod told them.
    """

    istiod: Service
    injects: frozenset[str] = frozenset()
    webhook_fails_closed: bool = True
    captures_dns: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherMesh:
    """A mesh whose behaviour in a cut is not modelled.

    `members`: (namespace, owner) of the Pods that depend on it, its own included. `settles`: what would settle
    their fate. `why`: why that is unknown. `breaks_at_once`: it matters to running Pods too, not only to new ones.
    """

    name: str
    subject: str
    members: frozenset[tuple[str, str]] = frozenset()
    settles: str = ""
    why: str = ""
    breaks_at_once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An admission webhook that fails closed. `members`: (namespace, owner) of Pods whose creation it must allow.

    `guarded`: what else it must allow, that the control plane and kubelets write.
    """

    subject: str
    service: Service
    members: frozenset[tuple[str, str]] = frozenset()
    guarded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRepair:
    """Something that replaces nodes which are not Ready for about `after_s` seconds. `nodes`: those that it watches."""

    by: str
    after_s: float
    nodes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """The control plane's settings, with the defaults of its flags; `timings` are those that clusters often change.

    Source: Kubernetes cmd/kube-controller-manager/app/options (nodelifecyclecontroller.go, generic),
    pkg/controller/nodelifecycle/config/v1alpha1, staging/src/k8s.io/component-base/config/v1alpha1.
    """

    timings: Timings = field(default_factory=Timings)
    eviction_rate: float = 0.1
    """--node-eviction-rate, nodes per second."""
    secondary_eviction_rate: float = 0.01
    """--secondary-node-eviction-rate, nodes per second."""
    unhealthy_threshold: float = 0.55
    """--unhealthy-zone-threshold."""
    large_cluster_size: int = 50
    """--large-cluster-size-threshold."""
    api_qps: float = 20.0
    """--kube-api-qps, requests per second."""
    api_burst: int = 30
    """--kube-api-burst."""
    lease_renewal_s: float = 10.0
    """Seconds; a quarter of kubelet's nodeLeaseDurationSeconds, 40 (pkg/kubelet/kubelet.go)."""
    version: str = ""
    """Version of the API server or the nodes, as "v1.34.4"; "" if unknown."""
    platform: str = ""
    """Who runs it, as recognised by its nodes: "EKS", "k3s", …; "" if nothing shows it."""
    evicts: bool = True
    """Whether taint-based eviction is in force."""
    evicts_lost_zones: bool = True
    """Whether Pods are evicted from a zone whose nodes are all lost, while another zone has a node."""
    asks_for_leases: bool = False
    """Whether the node lifecycle controller asks the API server for the Lease of each lost node in every pass."""

    def to_json(self) -> dict[str, Any]:
        return {
            **self.timings.to_json(),
            "node_eviction_rate": self.eviction_rate,
            "secondary_node_eviction_rate": self.secondary_eviction_rate,
            "unhealthy_zone_threshold": self.unhealthy_threshold,
            "large_cluster_size_threshold": self.large_cluster_size,
            "kube_api_qps": self.api_qps,
            "kube_api_burst": self.api_burst,
            "version": self.version,
            "platform": self.platform,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Another way that the cluster may be, for all that the snapshot shows: an assumption that could turn the outcome.

    `assumed`: what is taken for true. `settles`: how to settle it. `apply` returns the world as it would be otherwise.
    """

    name: str
    assumed: str
    settles: str
    apply: Callable[[World], World]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A cluster before the cut. `dns` is kube-dns' Service, None if the snapshot has neither the Service nor its Pods.

    `workloads` are keyed by (namespace, "ReplicaSet/name"). `taken_at` is the time of the snapshot, if known.
    `missing` are the kinds that no file covered ("BGPPeer", "Service", …): whatever depends on them is
    unknown.
    `dns_doubts`: why it is unknown what the nodes look names up with. `dns_stale_s`: how long NodeLocal DNSCache serves
    names after they expired. `doubts`: other reasons why no outcome is known. `alternatives`: assumptions that
    could turn the outcome.
    """

    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    workloads: Mapping[tuple[str, str], Workload] = field(default_factory=dict)
    budgets: tuple[DisruptionBudget, ...] = ()
    services: tuple[Service, ...] = ()
    dns: Service | None = None
    network: Network = Network()
    mesh: Mesh | None = None
    control_plane: ControlPlane = ControlPlane()
    taken_at: datetime | None = None
    dns_doubts: tuple[Doubt, ...] = ()
    dns_stale_s: float = 0.0
    other_meshes: tuple[OtherMesh, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    repairs: tuple[NodeRepair, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    missing: frozenset[str] = frozenset()
    assumptions: tuple[str, ...] = ()
