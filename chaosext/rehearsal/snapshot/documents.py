"""Kubernetes objects as they appear in a snapshot, with only the fields that a rehearsal needs.

msgspec skips all other fields, so a List of 150,000 Pods is read in seconds. Field names are the API's own
(k8s.io/api core/v1, apps/v1, policy/v1, coordination/v1; Calico's projectcalico.org/v3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta as Bounds
from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Mapping

Strings = dict[str, str]
Int32 = Annotated[int, Bounds(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Bounds(ge=-(2**63), le=2**63 - 1)]
"""Bounds of the API's integers. No cluster has larger numbers, and a loop over one would not end."""


class Document(Struct, omit_defaults=True):
    """An object that omits fields with default values; the defaults are the API's own."""


class Owner(Document):
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class Meta(Document):
    name: str = ""
    namespace: str = ""
    labels: Strings | None = None
    ownerReferences: list[Owner] | None = None
    deletionTimestamp: str | None = None

    @property
    def owner(self) -> str:
        """The controller, as "ReplicaSet/coredns-66bc5c9577"; "" if there is none."""
        owners = (each for each in self.ownerReferences or () if each.controller)
        return next((f"{each.kind}/{each.name}" for each in owners), "")


class AnnotatedMeta(Meta):
    annotations: Strings | None = None


QUORUM = "chaosext.io/quorum"
"""Label or annotation of a workload, or label of its Pods: "true" or "false", whether it needs most of its Pods."""

KWOK = "kwok.x-k8s.io/node"
"""Annotation of a node that KWOK simulates (KWOK, pkg/utils: `kwok.x-k8s.io/node: fake`)."""


class Identity(Document):
    """The fields of metadata that tell objects, and versions of one object, apart."""

    name: str = ""
    namespace: str = ""
    resourceVersion: str = ""


class Head(Document):
    """What identifies an object."""

    kind: str = ""
    apiVersion: str = ""
    metadata: Identity = field(default_factory=Identity)


class Condition(Document):
    type: str = ""
    status: str = ""


class Taint(Document):
    key: str = ""
    value: str = ""
    effect: str = ""


class Address(Document):
    type: str = ""
    address: str = ""


class NodeInfo(Document):
    kubeletVersion: str = ""


class NodeSpec(Document):
    providerID: str = ""
    unschedulable: bool = False
    taints: list[Taint] | None = None


class NodeStatus(Document):
    conditions: list[Condition] | None = None
    addresses: list[Address] | None = None
    allocatable: dict[str, str | Int64] | None = None
    nodeInfo: NodeInfo = field(default_factory=NodeInfo)


class Node(Document):
    metadata: AnnotatedMeta = field(default_factory=AnnotatedMeta)
    spec: NodeSpec = field(default_factory=NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)


class Toleration(Document):
    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    tolerationSeconds: Int64 | None = None


class Expression(Document):
    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class Selector(Document):
    matchLabels: Strings | None = None
    matchExpressions: list[Expression] | None = None


class NodeSelectorTerm(Document):
    matchExpressions: list[Expression] | None = None
    matchFields: list[Expression] | None = None


class NodeTerms(Document):
    nodeSelectorTerms: list[NodeSelectorTerm] | None = None


class PreferredNode(Document):
    weight: Int32 = 1
    preference: NodeSelectorTerm = field(default_factory=NodeSelectorTerm)


class NodeAffinity(Document):
    requiredDuringSchedulingIgnoredDuringExecution: NodeTerms | None = None
    preferredDuringSchedulingIgnoredDuringExecution: list[PreferredNode] | None = None


class PodAffinityTerm(Document):
    topologyKey: str = ""
    labelSelector: Selector | None = None
    namespaces: list[str] | None = None
    namespaceSelector: Selector | None = None


class PreferredPod(Document):
    weight: Int32 = 1
    podAffinityTerm: PodAffinityTerm = field(default_factory=PodAffinityTerm)


class PodAffinity(Document):
    requiredDuringSchedulingIgnoredDuringExecution: list[PodAffinityTerm] | None = None
    preferredDuringSchedulingIgnoredDuringExecution: list[PreferredPod] | None = None


class Affinity(Document):
    nodeAffinity: NodeAffinity | None = None
    podAffinity: PodAffinity | None = None
    podAntiAffinity: PodAffinity | None = None


class TopologySpreadConstraint(Document):
    maxSkew: Int32 = 1
    topologyKey: str = ""
    whenUnsatisfiable: str = "DoNotSchedule"
    labelSelector: Selector | None = None
    matchLabelKeys: list[str] | None = None
    minDomains: Int32 | None = None
    nodeTaintsPolicy: str = "Ignore"
    nodeAffinityPolicy: str = "Honor"


class PortAction(Document):
    port: Int32 | str = 0


class Probe(Document):
    periodSeconds: Int32 = 10
    timeoutSeconds: Int32 = 1
    failureThreshold: Int32 = 3
    successThreshold: Int32 = 1
    initialDelaySeconds: Int32 = 0
    httpGet: PortAction | None = None
    tcpSocket: PortAction | None = None
    grpc: PortAction | None = None


class Port(Document):
    hostPort: Int32 = 0
    protocol: str = "TCP"


class ResourceWishes(Document):
    requests: dict[str, str | Int64] | None = None


class Hook(Document):
    """The presence of a hook. Its command and headers may be confidential, so they are not read."""


class Lifecycle(Document):
    postStart: Hook | None = None


class Container(Document):
    name: str = ""
    restartPolicy: str = ""
    resources: ResourceWishes | None = None
    ports: list[Port] | None = None
    lifecycle: Lifecycle | None = None
    startupProbe: Probe | None = None
    readinessProbe: Probe | None = None
    livenessProbe: Probe | None = None


class PodSpec(Document):
    nodeName: str = ""
    containers: list[Container] | None = None
    initContainers: list[Container] | None = None
    tolerations: list[Toleration] | None = None
    nodeSelector: Strings | None = None
    affinity: Affinity | None = None
    topologySpreadConstraints: list[TopologySpreadConstraint] | None = None
    overhead: dict[str, str | Int64] | None = None
    priority: Int32 = 0
    preemptionPolicy: str = ""
    hostNetwork: bool = False
    restartPolicy: str = "Always"
    terminationGracePeriodSeconds: Int64 = 30
    schedulerName: str = "default-scheduler"
    dnsPolicy: str = "ClusterFirst"


class PodStatus(Document):
    phase: str = "Running"
    conditions: list[Condition] | None = None


class Pod(Document):
    metadata: Meta = field(default_factory=Meta)
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


class WorkloadSpec(Document):
    replicas: Int32 | None = None
    parallelism: Int32 | None = None
    podManagementPolicy: str = "OrderedReady"
    podReplacementPolicy: str = ""


class WorkloadStatus(Document):
    desiredNumberScheduled: Int32 | None = None


class Workload(Document):
    metadata: AnnotatedMeta = field(default_factory=AnnotatedMeta)
    spec: WorkloadSpec = field(default_factory=WorkloadSpec)
    status: WorkloadStatus = field(default_factory=WorkloadStatus)


class PortOfService(Document):
    port: Int32 = 0


class ServiceSpec(Document):
    selector: Strings | None = None
    clusterIP: str = ""
    clusterIPs: list[str] | None = None
    publishNotReadyAddresses: bool = False
    type: str = "ClusterIP"
    externalTrafficPolicy: str = "Cluster"
    ports: list[PortOfService] | None = None
    internalTrafficPolicy: str = ""
    trafficDistribution: str = ""


class Service(Document):
    metadata: AnnotatedMeta = field(default_factory=AnnotatedMeta)
    spec: ServiceSpec = field(default_factory=ServiceSpec)


class BudgetSpec(Document):
    selector: Selector | None = None
    minAvailable: Int32 | str = ""
    maxUnavailable: Int32 | str = ""


class Budget(Document):
    metadata: Meta = field(default_factory=Meta)
    spec: BudgetSpec = field(default_factory=BudgetSpec)


class ConfigMap(Document):
    metadata: Meta = field(default_factory=Meta)
    data: Strings | None = None


class LeaseSpec(Document):
    renewTime: str = ""


class Lease(Document):
    metadata: Meta = field(default_factory=Meta)
    spec: LeaseSpec = field(default_factory=LeaseSpec)


class ServiceReference(Document):
    namespace: str = ""
    name: str = ""


class ClientConfig(Document):
    service: ServiceReference | None = None


class Rule(Document):
    operations: list[str] | None = None
    resources: list[str] | None = None
    apiGroups: list[str] | None = None


class Webhook(Document):
    failurePolicy: str = "Fail"
    namespaceSelector: Selector | None = None
    objectSelector: Selector | None = None
    clientConfig: ClientConfig = field(default_factory=ClientConfig)
    rules: list[Rule] | None = None


class WebhookConfiguration(Document):
    metadata: Meta = field(default_factory=Meta)
    webhooks: list[Webhook] | None = None


class CalicoBgp(Document):
    ipv4Address: str = ""
    ipv6Address: str = ""
    routeReflectorClusterID: str = ""


class CalicoNodeSpec(Document):
    bgp: CalicoBgp | None = None


class CalicoNode(Document):
    metadata: Meta = field(default_factory=Meta)
    spec: CalicoNodeSpec = field(default_factory=CalicoNodeSpec)


_OF_A_KIND: Mapping[str, type[Document]] = {
    "Node": Node,
    "Pod": Pod,
    "Service": Service,
    "PodDisruptionBudget": Budget,
    "Lease": Lease,
    "ConfigMap": ConfigMap,
    "MutatingWebhookConfiguration": WebhookConfiguration,
    "ValidatingWebhookConfiguration": WebhookConfiguration,
}
_WITHOUT_MORE = ("Namespace", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job")

KINDS: Mapping[str, type[Document]] = {**_OF_A_KIND, **dict.fromkeys(_WITHOUT_MORE, Workload)}
"""Kind -> type of its document, for each kind that has one."""
