"""What is broken, whatever the cause: nodes, DNS, BGP, xDS, Services, workloads. Pure.

Normal operation is not a symptom: finished Jobs, rollouts that progress, cordoned nodes, old restarts and Events,
Pods that a quota holds back. Such things are notes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chaosext.checks.check_names import BGP, DNS, PODS, XDS
from chaosext.cluster.objects import PROXY_CONTAINER, Pod, parse_time
from chaosext.diagnose.node_sight import host_of
from chaosext.model.errors import MALFORMED
from chaosext.model.findings import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from chaosext.cluster.objects import CoreV1Event
    from chaosext.diagnose.cluster_sight import ClusterSight

STARTS_S = 60.0
"""Seconds that a Pod may take to become Ready before that is a symptom; a node is lost after 50 s, too."""

ROLLS_S = 600.0
"""Deployments' default progressDeadlineSeconds (k8s.io/api apps/v1)."""

NOT_CREATED_S = 1200.0
"""Age of a FailedCreate Event that still counts: ReplicaSets back off up to 1000 s (client-go util/workqueue)."""


class SymptomKind(StrEnum):
    """What kind of thing is broken."""

    API = "api server"
    NODE = "node"
    DNS = "dns"
    DNS_ENDPOINT = "dns endpoint"
    BGP = "bgp session"
    ROUTE = "route to Pods"
    XDS = "sidecar"
    SERVICE = "service"
    WORKLOAD = "workload"
    NOT_CREATED = "pods not created"
    NAT = "kube-proxy"
    FLOW = "conntrack"
    CUT = "cut of chaosext"


class Trouble(StrEnum):
    """Why a Pod is not Ready."""

    LOST_NODE = "on a node that does not report"
    SIDECAR = "sidecar not ready"
    PROBE = "probe fails"
    CRASH = "crash-looping"
    IMAGE = "image not pulled"
    CONFIG = "configuration missing"
    PENDING = "not scheduled"
    MISSING = "not created"
    UNREADY = "not ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """Something that is broken. `node`: where, `""` if that says nothing. `troubles`: of a workload's Pods.

    `pods`: the subjects of the Pods in question.
    """

    kind: SymptomKind
    subject: str
    said: str
    since: datetime | None = None
    node: str = ""
    troubles: frozenset[Trouble] = frozenset()
    pods: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.kind}: {self.subject}"

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "subject": self.subject,
            "said": self.said,
            "since": self.since.isoformat() if self.since else None,
        }


IMAGE_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
"""Reasons of a waiting container (pkg/kubelet/images/types.go, pkg/kubelet/container/sync_result.go)."""


def symptoms_of(sight: ClusterSight) -> tuple[tuple[Symptom, ...], tuple[str, ...]]:
    """Return everything that is broken, the most fundamental first, and what could not be read for that."""
    found: dict[str, Symptom] = {}
    unread: list[str] = []
    for what, find in FINDERS.items():
        try:
            found |= {each.key: each for each in [*find(sight)]}
        except MALFORMED as error:
            unread.append(f"{what}: invalid value ({type(error).__name__}: {error})")
    return tuple(found.values()), tuple(unread)


def notes_of(sight: ClusterSight) -> tuple[str, ...]:
    """Return what is not as wanted, and belongs to normal operation."""
    cordoned = [node.name for node in sight.nodes if node.unschedulable]
    try:
        workloads = [f"{each.subject}: {each.said}" for each, is_note in _workloads(sight) if is_note]
    except MALFORMED:
        workloads = []
    return (*([f"cordoned: {', '.join(cordoned)}"] if cordoned else []), *workloads)


# -- the control plane and nodes -----------------------------------------------------------------------------------


def _api(sight: ClusterSight) -> Iterator[Symptom]:
    if sight.api:
        yield Symptom(
            kind=SymptomKind.API, subject="the API server", said=f"does not answer here: {sight.api}"
        )
    for name, seen in sight.nodes_seen.items():
        if seen.reaches_api is False:
            said = f"kubelet's {seen.api_server}: {seen.api}"
            yield Symptom(kind=SymptomKind.API, subject=f"Node/{name}", said=said, node=name)
        if seen.serves is False or seen.failing:
            said = (
                f"its own API server: {', '.join(seen.failing) + ' fails' if seen.failing else 'no answer'}"
            )
            yield Symptom(kind=SymptomKind.API, subject=f"kube-apiserver-{name}", said=said, node=name)


def _cuts(sight: ClusterSight) -> Iterator[Symptom]:
    for name, seen in sight.cut_nodes.items():
        for cut in seen.cuts or ():
            said = f"carries the cut of run {cut.run}, for {cut.remaining_s} s more"
            yield Symptom(kind=SymptomKind.CUT, subject=f"Node/{name}", said=said, node=name)


def _nodes(sight: ClusterSight) -> Iterator[Symptom]:
    details = {row.subject.removeprefix("Node/"): row.detail for row in sight.kubelets}
    for node in sight.nodes:
        lease = sight.leases.get(node.name)
        if node.name in sight.lost:
            since = lease.renewed if lease and lease.renewed else node.ready_since
            said = details.get(node.name, "") if node.ready == "True" else f"Ready is {node.ready}"
            yield Symptom(kind=SymptomKind.NODE, subject=node.subject, said=said, since=since, node=node.name)
        elif node.ready != "True":
            said = f"kubelet reports Ready {node.ready}"
            yield Symptom(
                kind=SymptomKind.NODE,
                subject=node.subject,
                said=said,
                since=node.ready_since,
                node=node.name,
            )


# -- measurements --------------------------------------------------------------------------------------------------


def dns_row(subject: str) -> tuple[str, str]:
    """Return node and address of a subject such as "Node/worker-1 → 10.2.112.10:53/udp"; "" if it has none."""
    node, arrow, target = subject.removeprefix("Node/").partition(" → ")
    return (node, host_of(target)) if arrow else ("", "")


def _dns(sight: ClusterSight) -> Iterator[Symptom]:
    behind = {each.ip for key, found in sight.endpoints.items() if key == sight.dns for each in found}
    failing: dict[tuple[str, str], str] = {}
    for row in sight.rows(DNS, Status.UNHEALTHY):
        node, address = dns_row(row.subject)
        if not node:
            yield Symptom(kind=SymptomKind.DNS, subject=row.subject, said=row.detail)
        elif row.counts:
            failing.setdefault((node, address), row.detail)
    for (node, address), said in failing.items():
        kind = SymptomKind.DNS_ENDPOINT if address in behind else SymptomKind.DNS
        yield Symptom(kind=kind, subject=f"Node/{node} → {address}", said=f"DNS: {said}", node=node)


def _bgp(sight: ClusterSight) -> Iterator[Symptom]:
    for row in sight.rows(BGP, Status.UNHEALTHY):
        node = next((name for name in _names(sight) if f"Node/{name}" in row.subject.split()), "")
        yield Symptom(kind=SymptomKind.BGP, subject=row.subject, said=row.detail, node=node)
    if sight.findings.get(BGP) or not sight.api:
        return
    for name, seen in sight.nodes_seen.items():
        for session in seen.sessions or ():
            if not session.established:
                subject = f"Node/{name} → {session.peer}:179"
                yield Symptom(kind=SymptomKind.BGP, subject=subject, said=session.state, node=name)


def _routes(sight: ClusterSight) -> Iterator[Symptom]:
    for row in sight.rows(PODS, Status.UNHEALTHY):
        _, _, host = row.subject.partition(" → Pods on ")
        if row.counts and host:
            yield Symptom(
                kind=SymptomKind.ROUTE, subject=row.subject, said=row.detail, node=host.removeprefix("Node/")
            )


def _names(sight: ClusterSight) -> Iterable[str]:
    return [node.name for node in sight.nodes]


def _xds(sight: ClusterSight) -> Iterator[Symptom]:
    young = {pod.subject for pod in sight.pods if _age_s(pod.created, sight) < STARTS_S}
    for row in sight.rows(XDS, Status.UNHEALTHY):
        if row.counts and row.subject not in young:
            yield Symptom(kind=SymptomKind.XDS, subject=row.subject, said=row.detail, pods=(row.subject,))


def _nat(sight: ClusterSight) -> Iterator[Symptom]:
    """Yield the nodes on which kube-proxy forwards DNS or istiod to addresses that the Service no longer has."""
    for name, seen in sight.nodes_seen.items():
        for key, programmed in seen.nat.items():
            namespace, _, rest = key.partition("/")
            service = rest.partition(":")[0]
            current = {each.ip for each in sight.endpoints.get((namespace, service), ())}
            stale = sorted(each for each in programmed if host_of(each) not in current)
            if (namespace, service) not in sight.endpoints:
                continue
            if not stale or not sight.knows("EndpointSlice") or _is_fresh(sight, namespace, service):
                continue
            yield Symptom(
                kind=SymptomKind.NAT,
                subject=f"Node/{name} → Service/{namespace}/{service}",
                said=f"forwards to {', '.join(stale[:3])}, which the Service no longer has",
                since=sight.changed(namespace, service),
                node=name,
            )


SETTLES_S = 30.0
"""Seconds after a change of endpoints within which a node may still have the old ones (kube-proxy: minSyncPeriod 1 s,
and up to 10 s behind a large Service)."""


def _is_fresh(sight: ClusterSight, namespace: str, service: str) -> bool:
    changed = sight.changed(namespace, service)
    return changed is not None and (sight.now - changed).total_seconds() < SETTLES_S


def _flows(sight: ClusterSight) -> Iterator[Symptom]:
    current = {each.ip for found in sight.endpoints.values() for each in found}
    for name, seen in sight.nodes_seen.items():
        stale = [flow for flow in seen.stuck if flow.endpoint not in current]
        if stale and sight.knows("EndpointSlice"):
            clients = ", ".join(sorted({flow.client for flow in stale})[:3])
            yield Symptom(
                kind=SymptomKind.FLOW,
                subject=f"Node/{name}",
                said=f"{len(stale)} DNS flows of {clients} still lead to {stale[0].endpoint}, which is gone",
                node=name,
            )


# -- Services ------------------------------------------------------------------------------------------------------


def _services(sight: ClusterSight) -> Iterator[Symptom]:
    """Yield the Services that select Pods of which none is ready. A Service without Pods is nobody's symptom."""
    if not sight.knows("EndpointSlice"):
        return
    for service in sight.services:
        pods = [pod for pod in _selected(service.namespace, service.selector, sight.pods) if _counts(pod)]
        usable = [each for each in sight.endpoints.get((service.namespace, service.name), ()) if each.ready]
        if not pods or usable or all(_age_s(pod.created, sight) < STARTS_S for pod in pods):
            continue
        yield Symptom(
            kind=SymptomKind.SERVICE,
            subject=f"Service/{service.namespace}/{service.name}",
            said="no ready address behind it",
            since=max((pod.ready_since for pod in pods if pod.ready_since), default=None),
            troubles=frozenset(trouble_of(pod, sight) for pod in pods),
            pods=tuple(pod.subject for pod in pods),
        )


def _selected(namespace: str, selector: Mapping[str, str], pods: Iterable[Pod]) -> Iterator[Pod]:
    if selector:
        yield from (
            pod for pod in pods if pod.namespace == namespace and selector.items() <= pod.labels.items()
        )


def _counts(pod: Pod) -> bool:
    return not pod.finite and not pod.is_record


# -- workloads -----------------------------------------------------------------------------------------------------


def trouble_of(pod: Pod, sight: ClusterSight) -> Trouble:
    """Return why a Pod is not Ready, as its status and its node show."""
    if pod.node and pod.node in sight.lost:
        return Trouble.LOST_NODE
    if not pod.node:
        return Trouble.PENDING
    reasons = set(pod.waiting_reasons.values())
    if reasons & IMAGE_REASONS:
        return Trouble.IMAGE
    if reasons & CONFIG_REASONS:
        return Trouble.CONFIG
    proxies = [each for each in pod.containers if each.name == PROXY_CONTAINER]
    if pod.injected and not any(each.ready for each in proxies):
        return Trouble.SIDECAR
    if "CrashLoopBackOff" in reasons:
        return Trouble.CRASH
    if any(each.involved == pod.subject for each in sight.recent("Unhealthy")):
        return Trouble.PROBE
    return Trouble.UNREADY


def _age_s(moment: datetime | None, sight: ClusterSight) -> float:
    return (sight.now - moment).total_seconds() if moment else float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """A workload's numbers. `least`: available Pods below which it is a symptom; `rolls`: a rollout progresses."""

    kind: str
    namespace: str
    name: str
    wanted: int
    available: int
    least: int
    rolls: bool
    since: datetime | None = None

    @property
    def subject(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


def _workloads(sight: ClusterSight) -> Iterator[tuple[Symptom, bool]]:
    """Yield each workload that lacks Pods, and whether that is normal operation."""
    broken: dict[str, list[Pod]] = defaultdict(list)
    deployments = _deployments_of(sight)
    for pod in sight.pods:
        is_lost = pod.node in sight.lost
        if _counts(pod) and (is_lost or (not pod.terminating and not pod.ready)):
            owner = f"{pod.namespace}/{pod.owner}" if pod.owner else ""
            broken[deployments.get(owner, owner) or pod.subject].append(pod)
    failed = _not_created(sight)
    known = {f"{each.namespace}/{each.kind}/{each.name}": each for each in _counted(sight)}
    for key, each in known.items():
        if each.available < each.wanted or key in broken:
            yield _shortage(each, broken.pop(key, []), failed.get(key, ""), sight)
    for key, pods in broken.items():
        yield from _loose(key, pods, sight)


def _shortage(each: _Counts, pods: list[Pod], failed: str, sight: ClusterSight) -> tuple[Symptom, bool]:
    found = [trouble_of(pod, sight) for pod in pods]
    missing = max(0, each.wanted - each.available - sum(not pod.terminating for pod in pods))
    if failed and missing:
        found.append(Trouble.MISSING)
    troubles = frozenset(found)
    what = ", ".join(f"{count} {trouble}" for trouble, count in Counter(found).most_common())
    said = f"{each.available} of {each.wanted} available"
    if what:
        said += f" ({what})"
    if failed:
        said += f": {failed}"
    symptom = Symptom(
        kind=SymptomKind.NOT_CREATED if Trouble.MISSING in troubles else SymptomKind.WORKLOAD,
        subject=each.subject,
        said=said,
        since=each.since or min((pod.ready_since for pod in pods if pod.ready_since), default=None),
        node=pods[0].node if len({pod.node for pod in pods}) == 1 else "",
        troubles=troubles,
        pods=tuple(pod.subject for pod in pods),
    )
    return symptom, _is_normal(each, pods, troubles, failed, sight)


def _is_normal(
    each: _Counts, pods: list[Pod], troubles: frozenset[Trouble], failed: str, sight: ClusterSight
) -> bool:
    """Whether a shortage belongs to normal operation: a rollout, a quota, Pods that have just begun."""
    if Trouble.LOST_NODE in troubles:
        return False
    if QUOTA in failed:
        return True
    if failed:
        return False
    if each.rolls:
        return each.available > 0 or each.least == 0
    if troubles == {Trouble.PENDING} and not sight.lost and each.available > 0:
        return True  # a lack of room, not a fault
    if each.available < each.least and _age_s(each.since, sight) < STARTS_S:
        return True
    if each.available >= each.least and all(_age_s(pod.ready_since, sight) < STARTS_S for pod in pods):
        return True
    return bool(pods) and all(_age_s(pod.created, sight) < STARTS_S for pod in pods)


QUOTA = "exceeded quota"
"""Phrase of the API server's admission (plugin/pkg/admission/resourcequota)."""


def _not_created(sight: ClusterSight) -> dict[str, str]:
    """Workload -> why its Pods can't be created, by its newest Event."""
    deployments = _deployments_of(sight)
    found: dict[str, str] = {}
    for event in sight.recent("FailedCreate", within_s=NOT_CREATED_S):
        kind, _, rest = event.involved.partition("/")
        namespace, _, name = rest.partition("/")
        owner = f"{namespace}/{kind}/{name}"
        found[deployments.get(owner, owner)] = why_not_created(event)
    return found


def why_not_created(event: CoreV1Event) -> str:
    """Return the reason in a FailedCreate Event, without the name of the Pod."""
    return event.message.removeprefix("Error creating: ")


def _deployments_of(sight: ClusterSight) -> dict[str, str]:
    """ "namespace/ReplicaSet/name" -> its Deployment in the same form."""
    found = {}
    for each in sight.items("ReplicaSet"):
        meta = each["metadata"]
        owners = (own for own in meta.get("ownerReferences") or () if own.get("controller"))
        if owner := next(owners, None):
            space = meta.get("namespace", "")
            found[f"{space}/ReplicaSet/{meta['name']}"] = f"{space}/{owner['kind']}/{owner['name']}"
    return found


def _counted(sight: ClusterSight) -> Iterator[_Counts]:
    """Yield the workloads with their numbers; one whose status was not seen has none."""
    for each in sight.with_status("Deployment"):
        yield _deployment(each, sight)
    for each in sight.with_status("StatefulSet"):
        yield _stateful_set(each)
    for each in sight.with_status("DaemonSet"):
        yield _daemon_set(each)


def _deployment(obj: Mapping[str, Any], sight: ClusterSight) -> _Counts:
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    wanted = int(1 if spec.get("replicas") is None else spec["replicas"])
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    progress = conditions.get("Progressing") or {}
    at = parse_time(progress.get("lastUpdateTime") or progress.get("lastTransitionTime"))
    behind = int(status.get("updatedReplicas") or 0) < wanted or int(status.get("replicas") or 0) > wanted
    stale = int(status.get("observedGeneration") or 0) < int(meta.get("generation") or 0)
    rolls = (behind or stale) and progress.get("status") == "True" and _age_s(at, sight) < ROLLS_S
    available = conditions.get("Available") or {}
    return _Counts(
        kind="Deployment",
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        wanted=wanted,
        available=int(status.get("availableReplicas") or 0),
        least=_least(wanted, spec),
        rolls=rolls,
        since=parse_time(available.get("lastTransitionTime")) if available.get("status") == "False" else None,
    )


def _least(wanted: int, spec: Mapping[str, Any]) -> int:
    """Return how many Pods a Deployment keeps in a rollout: maxUnavailable is 25% by default, rounded down."""
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0
    most = str((strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%"))
    away = wanted * int(most[:-1]) // 100 if most.endswith("%") else int(most)
    return max(0, wanted - away)


def _stateful_set(obj: Mapping[str, Any]) -> _Counts:
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    wanted = int(1 if spec.get("replicas") is None else spec["replicas"])
    rolls = status.get("currentRevision") != status.get("updateRevision")
    ready = int(status.get("readyReplicas") or 0)
    return _Counts(
        kind="StatefulSet",
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        wanted=wanted,
        available=ready,
        least=wanted,
        rolls=rolls and ready >= wanted - 1,
    )


def _daemon_set(obj: Mapping[str, Any]) -> _Counts:
    meta, status = obj["metadata"], obj.get("status") or {}
    wanted = int(status.get("desiredNumberScheduled") or 0)
    return _Counts(
        kind="DaemonSet",
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        wanted=wanted,
        available=int(status.get("numberAvailable") or 0),
        least=wanted,
        rolls=int(status.get("updatedNumberScheduled") or 0) < wanted,
    )


def _loose(key: str, pods: list[Pod], sight: ClusterSight) -> Iterator[tuple[Symptom, bool]]:
    """Yield the broken Pods of something that is not a known workload."""
    for pod in pods:
        trouble = trouble_of(pod, sight)
        young = _age_s(pod.created, sight) < STARTS_S and trouble is not Trouble.LOST_NODE
        yield (
            Symptom(
                kind=SymptomKind.WORKLOAD,
                subject=pod.subject,
                said=f"{trouble}: {pod.ready_detail or pod.phase}",
                since=pod.ready_since,
                node=pod.node,
                troubles=frozenset({trouble}),
                pods=(pod.subject,),
            ),
            young,
        )


def seconds_ago(moment: datetime | None, now: datetime) -> float | None:
    """Return how long ago that was, in seconds; None if it is unknown."""
    return max(0.0, (now - moment) / timedelta(seconds=1)) if moment else None


def _short(sight: ClusterSight) -> Iterator[Symptom]:
    yield from (each for each, is_note in _workloads(sight) if not is_note)


FINDERS: Mapping[str, Callable[[ClusterSight], Iterator[Symptom]]] = {
    "API servers": _api,
    "cuts of chaosext": _cuts,
    "nodes": _nodes,
    "BGP sessions": _bgp,
    "routes to Pods": _routes,
    "DNS lookups": _dns,
    "kube-proxy": _nat,
    "conntrack": _flows,
    "sidecars": _xds,
    "Services": _services,
    "workloads": _short,
}
"""What each finder looks at -> the finder, the most fundamental first."""
