"""Kubernetes, Calico and Istio objects as frozen values, parsed from plain JSON (the form of `kubectl get … -o json`).

Every `from_json` takes one object as the API serves it, and keeps what the checks and the timeline need.
Pure: a live API server and a snapshot file yield the same values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address
from typing import Any, Self, get_type_hints

import msgspec

from chaosext.model.names import is_subdomain

JsonObject = Mapping[str, Any]
"""One Kubernetes object, or a part of it, as decoded from JSON."""

CONTROL_PLANE_LABELS = (
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
    "node-role.kubernetes.io/controlplane",
    "node.kubernetes.io/microk8s-controlplane",
)
"""Labels of control-plane nodes: of kubeadm, k3s and RKE2; before Kubernetes 1.24, and of OpenShift; RKE; MicroK8s."""

ZONE_LABEL = "topology.kubernetes.io/zone"

PROXY_CONTAINER = "istio-proxy"
"""Name of Istio's sidecar: a container (classic) or an init container (native sidecar)."""


class _Typed:
    """Validates that fields have their declared types. Raises ValidationError naming the field otherwise."""

    __slots__ = ()

    def __post_init__(self) -> None:
        shape = _shape(type(self))  # type: ignore[arg-type]  # a class is hashable
        msgspec.convert(self, shape, from_attributes=True)


@cache
def _shape(of: type[Any]) -> type[msgspec.Struct]:
    """The fields of a class and their types, for msgspec."""
    return msgspec.defstruct(of.__name__, list(get_type_hints(of).items()))


def parse_time(text: str | None) -> datetime | None:
    """Parse a Kubernetes Time or MicroTime (RFC 3339, UTC) as an aware datetime; None if absent."""
    moment = datetime.fromisoformat(text) if text else None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def _metadata(obj: JsonObject) -> JsonObject:
    return obj.get("metadata") or {}


def _spec(obj: JsonObject) -> JsonObject:
    return obj.get("spec") or {}


def _status(obj: JsonObject) -> JsonObject:
    return obj.get("status") or {}


def _condition(obj: JsonObject, kind: str) -> JsonObject:
    conditions = _status(obj).get("conditions") or ()
    return next((item for item in conditions if item.get("type") == kind), {})


HEARTBEAT = ("f:status", "f:conditions", 'k:{"type":"Ready"}', "f:lastHeartbeatTime")
RENEWAL = ("f:spec", "f:renewTime")
"""Fields that only a kubelet writes, as named in managed fields (FieldsV1)."""


def _written(obj: JsonObject, path: tuple[str, ...]) -> datetime | None:
    """When the field at `path` was last written, by the API server's clock, which dates managed fields."""
    entries = _metadata(obj).get("managedFields") or ()
    times = (parse_time(each.get("time")) for each in entries if _has(each.get("fieldsV1") or {}, path))
    return max((time for time in times if time), default=None)


def _has(fields: JsonObject, path: tuple[str, ...]) -> bool:
    if not path:
        return True
    inner = fields.get(path[0])
    return isinstance(inner, Mapping) and _has(inner, path[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint(_Typed):
    """A taint of a node; `effect` is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    value: str
    effect: str

    @classmethod
    def from_json(cls, obj: JsonObject) -> Self:
        return cls(key=obj.get("key", ""), value=obj.get("value", ""), effect=obj.get("effect", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(_Typed):
    """A node. `ready` is the status of its Ready condition: "True", "False" or "Unknown" (also if absent).

    `boot_id` is the kernel's, new for each boot; "" if kubelet has not reported it. `heartbeat`: when kubelet
    last wrote the node's status, by the API server's clock if known.
    """

    name: str
    uid: str
    is_control_plane: bool
    internal_ips: tuple[str, ...]
    ready: str
    ready_since: datetime | None
    taints: tuple[Taint, ...]
    zone: str
    labels: Mapping[str, str]
    pod_cidrs: tuple[str, ...]
    unschedulable: bool
    boot_id: str = ""
    heartbeat: datetime | None = None

    @property
    def subject(self) -> str:
        """Its name in findings and the timeline."""
        return f"Node/{self.name}"

    @classmethod
    def from_json(cls, obj: JsonObject) -> Self:
        labels = _metadata(obj).get("labels") or {}
        ready = _condition(obj, "Ready")
        return cls(
            name=_node_name(_metadata(obj)["name"]),
            uid=_metadata(obj).get("uid", ""),
            is_control_plane=any(label in labels for label in CONTROL_PLANE_LABELS),
            internal_ips=_internal_ips(obj),
            ready=ready.get("status", "Unknown"),
            ready_since=parse_time(ready.get("lastTransitionTime")),
            taints=tuple(Taint.from_json(taint) for taint in _spec(obj).get("taints") or ()),
            zone=labels.get(ZONE_LABEL, ""),
            labels=labels,
            pod_cidrs=_pod_cidrs(_spec(obj)),
            unschedulable=bool(_spec(obj).get("unschedulable")),
            boot_id=(_status(obj).get("nodeInfo") or {}).get("bootID", ""),
            heartbeat=_written(obj, HEARTBEAT) or parse_time(ready.get("lastHeartbeatTime")),
        )


def _node_name(name: str) -> str:
    """Return a valid node name. Raises ValueError otherwise: it becomes part of commands and file names."""
    if not is_subdomain(name):
        raise ValueError(f"{name!r:.80} is not a valid name of a node")
    return name


def _internal_ips(obj: JsonObject) -> tuple[str, ...]:
    addresses = _status(obj).get("addresses") or ()
    found = tuple(item["address"] for item in addresses if item.get("type") == "InternalIP")
    return tuple(text for text in found if ip_address(text))  # raises ValueError for an invalid address


def _pod_cidrs(spec: JsonObject) -> tuple[str, ...]:
    single = spec.get("podCIDR")
    return tuple(spec.get("podCIDRs") or ((single,) if single else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLease(_Typed):
    """The Lease that a kubelet renews in kube-node-lease, named after its node.

    `renewed` is by the API server's clock, or by the node's own if the Lease has no managed fields.
    """

    name: str
    duration_s: int
    renewed: datetime | None

    @classmethod
    def from_json(cls, obj: JsonObject) -> Self:
        return cls(
            name=_metadata(obj)["name"],
            duration_s=_spec(obj).get("leaseDurationSeconds") or LEASE_S,
            renewed=_written(obj, RENEWAL) or parse_time(_spec(obj).get("renewTime")),
        )


LEASE_S = 40
"""kubelet's default nodeLeaseDurationSeconds (pkg/kubelet/apis/config/v1beta1/defaults.go); renewed four
times in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatus(_Typed):
    """A container of a Pod according to its status.

    `waiting_reason` is e.g. "CrashLoopBackOff", "" if it is not waiting. `init` is true for init containers,
    including native sidecars.
    """

    name: str
    init: bool
    ready: bool
    running: bool
    restarts: int
    waiting_reason: str
    waiting_message: str

    @classmethod
    def from_json(cls, obj: JsonObject, *, init: bool) -> Self:
        state = obj.get("state") or {}
        waiting = state.get("waiting") or {}
        return cls(
            name=obj.get("name", ""),
            init=init,
            ready=bool(obj.get("ready")),
            running="running" in state,
            restarts=int(obj.get("restartCount") or 0),
            waiting_reason=waiting.get("reason", ""),
            waiting_message=waiting.get("message", ""),
        )


REPLACING_OWNERS = ("ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Job")
"""Controllers that replace a Failed Pod by another one, so that the failed one is only a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod(_Typed):
    """A Pod. `node` is "" while it is unbound; `owner` is e.g. "ReplicaSet/coredns-66bc5c9577", "" for a bare Pod.

    `ready` is the Ready condition; `ready_detail` says why not, in the cluster's words. `deletion` is the end
    of its grace period, None if it was not deleted. `finite`: it is meant to run to completion. `tcp_ports`: those
    that its containers declare.
    """

    namespace: str
    name: str
    uid: str
    node: str
    ips: tuple[str, ...]
    phase: str
    reason: str
    ready: bool
    ready_detail: str
    ready_since: datetime | None
    owner: str
    labels: Mapping[str, str]
    injected: bool
    containers: tuple[ContainerStatus, ...]
    created: datetime | None
    started: datetime | None
    deletion: datetime | None
    host_network: bool
    finite: bool = False
    tcp_ports: tuple[int, ...] = ()

    @property
    def subject(self) -> str:
        """Its name in findings and the timeline."""
        return f"Pod/{self.namespace}/{self.name}"

    @property
    def terminating(self) -> bool:
        return self.deletion is not None

    @property
    def is_record(self) -> bool:
        """Whether it is only a record: completed, or failed with an owner that replaces it."""
        failed = self.phase == "Failed" and self.owner.partition("/")[0] in REPLACING_OWNERS
        return failed or self.phase == "Succeeded"

    @property
    def restarts(self) -> int:
        return sum(container.restarts for container in self.containers)

    @property
    def waiting_reasons(self) -> dict[str, str]:
        """Container name -> the reason why it is waiting ("CrashLoopBackOff", "ImagePullBackOff", …)."""
        return {each.name: each.waiting_reason for each in self.containers if each.waiting_reason}

    @classmethod
    def from_json(cls, obj: JsonObject) -> Self:
        metadata, spec, status = _metadata(obj), _spec(obj), _status(obj)
        ready = _condition(obj, "Ready")
        containers = _containers(status)
        return cls(
            namespace=metadata.get("namespace", ""),
            name=metadata["name"],
            uid=metadata.get("uid", ""),
            node=spec.get("nodeName") or "",
            ips=_pod_ips(status),
            phase=status.get("phase", "Unknown"),
            reason=status.get("reason", ""),
            ready=ready.get("status") == "True",
            ready_detail=_ready_detail(obj, containers),
            ready_since=parse_time(ready.get("lastTransitionTime")),
            owner=_owner(metadata),
            labels=metadata.get("labels") or {},
            injected=_is_injected(spec),
            containers=containers,
            created=parse_time(metadata.get("creationTimestamp")),
            started=parse_time(status.get("startTime")),
            deletion=parse_time(metadata.get("deletionTimestamp")),
            host_network=bool(spec.get("hostNetwork")),
            finite=spec.get("restartPolicy", "Always") != "Always",
            tcp_ports=_tcp_ports(spec),
        )


def _tcp_ports(spec: JsonObject) -> tuple[int, ...]:
    """Return the TCP ports that containers declare; a snapshot keeps only those of the host."""
    ports = (port for each in spec.get("containers") or () for port in each.get("ports") or ())
    tcp = (port.get("containerPort") for port in ports if port.get("protocol", "TCP") == "TCP")
    return tuple(int(number) for number in tcp if number)


def _containers(status: JsonObject) -> tuple[ContainerStatus, ...]:
    init = (ContainerStatus.from_json(each, init=True) for each in status.get("initContainerStatuses") or ())
    main = (ContainerStatus.from_json(each, init=False) for each in status.get("containerStatuses") or ())
    return (*init, *main)


def _pod_ips(status: JsonObject) -> tuple[str, ...]:
    ips = tuple(item["ip"] for item in status.get("podIPs") or () if item.get("ip"))
    single = status.get("podIP")
    return ips or ((single,) if single else ())


def _owner(metadata: JsonObject) -> str:
    owners = metadata.get("ownerReferences") or ()
    controller = next((owner for owner in owners if owner.get("controller")), None)
    return f"{controller['kind']}/{controller['name']}" if controller else ""


def _is_injected(spec: JsonObject) -> bool:
    everyone = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    return any(container.get("name") == PROXY_CONTAINER for container in everyone)


def _ready_detail(obj: JsonObject, containers: Iterable[ContainerStatus]) -> str:
    """Why the Pod is not Ready: what its containers wait for, else the condition's message; "" if it is Ready."""
    ready = _condition(obj, "Ready")
    if ready.get("status") == "True":
        return ""
    waiting = ", ".join(f"{each.name} {each.waiting_reason}" for each in containers if each.waiting_reason)
    unscheduled = _condition(obj, "PodScheduled")
    why_unscheduled = unscheduled.get("message", "") if unscheduled.get("status") == "False" else ""
    return waiting or why_unscheduled or ready.get("message") or ready.get("reason") or "no Ready condition"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreV1Event(_Typed):
    """A Kubernetes Event (core/v1). `involved` is e.g. "Pod/shop/cart-abc" or "Node/worker-1".

    `container` is the container that the event is about, "" if it is about the whole object. `last_seen` is
    the latest of the event's four time fields.
    """

    namespace: str
    name: str
    involved: str
    involved_uid: str
    container: str
    type: str
    reason: str
    message: str
    count: int
    first_seen: datetime | None
    last_seen: datetime | None
    component: str
    host: str

    @classmethod
    def from_json(cls, obj: JsonObject) -> Self:
        metadata, involved = _metadata(obj), obj.get("involvedObject") or {}
        series, source = obj.get("series") or {}, obj.get("source") or {}
        seen = _event_times(obj)
        return cls(
            namespace=metadata.get("namespace", ""),
            name=metadata.get("name", ""),
            involved=_reference(involved),
            involved_uid=involved.get("uid", ""),
            container=_container_of(involved.get("fieldPath", "")),
            type=obj.get("type", ""),
            reason=obj.get("reason", ""),
            message=obj.get("message", ""),
            count=int(obj.get("count") or series.get("count") or 1),
            first_seen=min(seen, default=None),
            last_seen=max(seen, default=None),
            component=source.get("component") or obj.get("reportingComponent") or "",
            host=source.get("host") or obj.get("reportingInstance") or "",
        )


def _event_times(obj: JsonObject) -> list[datetime]:
    texts = (
        obj.get("firstTimestamp"),
        obj.get("lastTimestamp"),
        obj.get("eventTime"),
        (obj.get("series") or {}).get("lastObservedTime"),
    )
    return [moment for text in texts if (moment := parse_time(text))]


def _reference(ref: JsonObject) -> str:
    parts = (ref.get("kind", ""), ref.get("namespace", ""), ref.get("name", ""))
    return "/".join(part for part in parts if part)


def _container_of(field_path: str) -> str:
    """The name in `spec.containers{cart}` or `spec.initContainers{istio-proxy}`."""
    return field_path.partition("{")[2].rstrip("}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort(_Typed):
    """A port of a Service or of an EndpointSlice; `protocol` is "TCP", "UDP" or "SCTP"."""

    name: str
    port: int
    protocol: str

    @classmethod
    def from_json(cls, obj: JsonObject) -> Self:
        return cls(
            name=obj.get("name") or "",
            port=int(obj.get("port") or 0),
            protocol=obj.get("protocol") or "TCP",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(_Typed):
    """A Service; `cluster_ips` is empty for a headless one."""

    namespace: str
    name: str
    cluster_ips: tuple[str, ...]
    ports: tuple[ServicePort, ...]
    selector: Mapping[str, str]

    @classmethod
    def from_json(cls, obj: JsonObject) -> Self:
        spec = _spec(obj)
        ips = spec.get("clusterIPs") or (spec.get("clusterIP"),)
        return cls(
            namespace=_metadata(obj).get("namespace", ""),
            name=_metadata(obj)["name"],
            cluster_ips=tuple(ip for ip in ips if ip and ip != "None"),
            ports=tuple(ServicePort.from_json(port) for port in spec.get("ports") or ()),
            selector=spec.get("selector") or {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(_Typed):
    """One address of a Service. `pod` is e.g. "Pod/kube-system/coredns-abc", "" if it is not a Pod's.

    Absent conditions have the API's defaults: `ready` and `serving` true, `terminating` false
    (discovery.k8s.io/v1 EndpointConditions).
    """

    ip: str
    node: str
    pod: str
    ready: bool
    serving: bool
    terminating: bool
    ports: tuple[ServicePort, ...]


def endpoints(slices: Iterable[JsonObject]) -> tuple[Endpoint, ...]:
    """All addresses in the EndpointSlices `slices`, sorted, without duplicates."""
    found = {(each.ip, each.pod): each for obj in slices for each in _endpoints_of(obj)}
    return tuple(found[key] for key in sorted(found))


def _endpoints_of(obj: JsonObject) -> Iterable[Endpoint]:
    ports = tuple(ServicePort.from_json(port) for port in obj.get("ports") or ())
    for item in obj.get("endpoints") or ():
        conditions = item.get("conditions") or {}
        for ip in item.get("addresses") or ():
            yield Endpoint(
                ip=ip,
                node=item.get("nodeName") or "",
                pod=_reference(item.get("targetRef") or {}),
                ready=conditions.get("ready") is not False,
                serving=conditions.get("serving") is not False,
                terminating=bool(conditions.get("terminating")),
                ports=ports,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(_Typed):
    """A Deployment's desired and current state; `settled`: its latest spec is rolled out and available."""

    namespace: str
    name: str
    replicas: int
    updated: int
    available: int
    settled: bool
    selector: Mapping[str, str]
    template: JsonObject

    @classmethod
    def from_json(cls, obj: JsonObject) -> Self:
        spec, status = _spec(obj), _status(obj)
        replicas = int(1 if spec.get("replicas") is None else spec["replicas"])
        updated, available = (int(status.get(key) or 0) for key in ("updatedReplicas", "availableReplicas"))
        observed = (status.get("observedGeneration") or 0) >= (_metadata(obj).get("generation") or 0)
        total = int(status.get("replicas") or 0)
        return cls(
            namespace=_metadata(obj).get("namespace", ""),
            name=_metadata(obj)["name"],
            replicas=replicas,
            updated=updated,
            available=available,
            settled=observed and total == updated == available == replicas,
            selector=(spec.get("selector") or {}).get("matchLabels") or {},
            template=spec.get("template") or {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSet(_Typed):
    """A DaemonSet; `desired` is the number of nodes that should run its Pod."""

    namespace: str
    name: str
    desired: int
    labels: Mapping[str, str]

    @classmethod
    def from_json(cls, obj: JsonObject) -> Self:
        return cls(
            namespace=_metadata(obj).get("namespace", ""),
            name=_metadata(obj)["name"],
            desired=int(_status(obj).get("desiredNumberScheduled") or 0),
            labels=_metadata(obj).get("labels") or {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpPeer(_Typed):
    """Calico's BGPPeer: the nodes (`node`, `node_selector`; both "" = all) and their peer.

    The peer is an address (`peer_ip`, optionally with a port) or every node that `peer_selector` selects.
    """

    name: str
    peer_ip: str
    node: str
    node_selector: str
    peer_selector: str
    as_number: int

    @classmethod
    def from_json(cls, obj: JsonObject) -> Self:
        spec = _spec(obj)
        return cls(
            name=_metadata(obj)["name"],
            peer_ip=spec.get("peerIP") or "",
            node=spec.get("node") or "",
            node_selector=spec.get("nodeSelector") or "",
            peer_selector=spec.get("peerSelector") or "",
            as_number=int(spec.get("asNumber") or 0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IpPool(_Typed):
    """Calico's IPPool; modes are "Never", "Always" or "CrossSubnet"."""

    name: str
    cidr: str
    ipip_mode: str
    vxlan_mode: str
    disabled: bool

    @classmethod
    def from_json(cls, obj: JsonObject) -> Self:
        spec = _spec(obj)
        return cls(
            name=_metadata(obj)["name"],
            cidr=spec.get("cidr", ""),
            ipip_mode=spec.get("ipipMode") or "Never",
            vxlan_mode=spec.get("vxlanMode") or "Never",
            disabled=bool(spec.get("disabled")),
        )


def node_to_node_mesh(configurations: Iterable[JsonObject]) -> bool:
    """Whether Calico's full mesh is enabled, according to the BGPConfiguration "default"; by default it is."""
    default = next((obj for obj in configurations if _metadata(obj).get("name") == "default"), {})
    return _spec(default).get("nodeToNodeMeshEnabled") is not False
