"""Collect what a diagnosis needs: objects from the API, measurements from nodes. Read-only, in parallel, bounded.

Whatever can't be read is named with its reason; the rest is still used. The result is one text, a Kubernetes List
without Secrets, environments or commands, which can be kept and diagnosed again.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chaosext.checks.dns_resolvable import API_SERVER_NAME, DnsEvidence, ask_nodes, judge, plan_lookups
from chaosext.checks.fan_out import ask_all
from chaosext.checks.suite import Surroundings, run_checks
from chaosext.cluster.client import NotFound
from chaosext.cluster.objects import HEARTBEAT, RENEWAL, Endpoint
from chaosext.diagnose.cluster_sight import LAST_CHANGE, MEASURED
from chaosext.diagnose.node_sight import NodeSight, cuts_of, host_of, look_at
from chaosext.model.errors import MALFORMED, ChaosextError, Unreachable, understood
from chaosext.partition.apply import inspect
from chaosext.rehearsal.snapshot.prune import WANTED, ObjectKind, least

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from chaosext.cluster.client import Cluster
    from chaosext.model.findings import Finding
    from chaosext.nodes.shell import NodeShell

WITHIN_S = 40.0
"""Seconds for everything. A diagnosis is worth little later; what is missing then is named."""

LOOKUPS = 4
"""DNS lookups per node and address: enough to tell none from some, over UDP and TCP."""

AT_ONCE = 8
"""Requests at once: an API server in trouble must not get more of it."""

MORE = (
    ObjectKind(plural="endpointslices", kind="EndpointSlice", api_version="discovery.k8s.io/v1"),
    ObjectKind(plural="events", kind="Event", api_version="v1"),
)


@dataclass(slots=True)
class CollectedSight:
    """What was collected so far. `api`: why the API server gave no answer, `""` if it did."""

    context: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    api: str = ""
    items: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    missed: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    nodes: dict[str, NodeSight] = field(default_factory=dict)
    blind: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return everything as a Kubernetes List, for `sight_of` and for people who keep it."""
        about = {
            "taken_at": self.at.isoformat(timespec="milliseconds"),
            "kinds": sorted(self.items),
            "missed": self.missed,
            "measured": {
                "context": self.context,
                "api": self.api,
                "findings": [each.to_json() for each in self.findings],
                "nodes": {name: each.to_json() for name, each in self.nodes.items()},
                "blind": self.blind,
            },
        }
        items = [item for found in self.items.values() for item in found]
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": items, "chaosext": about})


def collect(
    cluster: Cluster,
    shells_of: Callable[[Sequence[str]], Mapping[str, NodeShell]],
    leaf: NodeShell | None = None,
    *,
    why_blind: str = "no access to nodes",
    found_nodes: Callable[[], Sequence[str]] = tuple,
) -> CollectedSight:
    """Collect what can be had within `WITHIN_S`.

    Args:
        cluster: The cluster; its API server may be out of reach.
        shells_of: Returns shells on the nodes of these names that can be entered.
        leaf: A shell on the BGP switch, if there is one.
        why_blind: Why a node without a shell has none.
        found_nodes: The nodes' names as another source than the API server knows them.
    """
    found = CollectedSight(context=cluster.context)
    names = _names(cluster, found) or list(found_nodes())
    shells = shells_of(names)
    found.blind |= {name: why_blind for name in names if name not in shells}
    with _Deadline(WITHIN_S) as pool:
        listing = pool.start(_list_all, cluster, found) if not found.api else None
        looking = pool.start(_look_at_all, shells)
        cuts = pool.start(inspect, shells)
        measuring = pool.start(_measure, cluster, shells, leaf) if not found.api else None
        pool.settle()
        if listing is not None and (why := pool.why_not(listing)):
            found.missed |= {each.kind: why for each in _wanted() if each.kind not in found.items}
        seen, why = pool.result(looking)
        _take_sights(found, seen or {}, shells, why, pool.result(cuts)[0] or ())
        found.findings = (
            (pool.result(measuring)[0] or ()) if measuring is not None else _lookups(found, shells)
        )
    return found


class _Deadline:
    """A pool whose tasks are together waited for, for some seconds; later ones go on as daemons."""

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._pool = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="diagnose")
        self._running: list[Future[Any]] = []

    def __enter__(self) -> _Deadline:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def start(self, task: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future = self._pool.submit(task, *arguments)
        self._running.append(future)
        return future

    def settle(self) -> None:
        wait(self._running, timeout=self._within_s)

    def result(self, future: Future[Any]) -> tuple[Any, str]:
        """Return a task's result, or None and why there is none."""
        why = self.why_not(future)
        return (None, why) if why else (future.result(), "")

    def why_not(self, future: Future[Any]) -> str:
        if not future.done() or future.cancelled():
            return f"no answer within {self._within_s:g} s"
        error = future.exception()
        if error is not None and not isinstance(error, ChaosextError):
            raise error
        return str(error) if error else ""


# -- the API -------------------------------------------------------------------------------------------------------


def _names(cluster: Cluster, found: CollectedSight) -> list[str]:
    """Return the nodes' names, and note the API server's clock, or that it does not answer."""
    try:
        found.at = cluster.now() or found.at
        return [node.name for node in cluster.nodes()]
    except Unreachable as error:
        found.api = error.message
        return []


def _wanted() -> Iterator[ObjectKind]:
    yield from (each for each in (*WANTED, *MORE) if each.kind != "Job")


def _list_all(cluster: Cluster, found: CollectedSight) -> None:
    wanted = list(_wanted())
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="list") as pool:
        for kinds in ([each for each in wanted if not each.needs], [each for each in wanted if each.needs]):
            list(pool.map(lambda each: _list(cluster, each, found), kinds))


def _list(cluster: Cluster, wanted: ObjectKind, found: CollectedSight) -> None:
    """List one kind; a kind is only there if all of it was read."""
    if wanted.needs and wanted.needs not in {
        each["metadata"]["name"] for each in found.items.get("ConfigMap", ())
    }:
        return
    try:
        kept = [kept_of(wanted, item) for item in _items(cluster, wanted)]
    except NotFound:
        if not wanted.name:
            found.missed[wanted.kind] = "the cluster doesn't know this kind"
        return
    except ChaosextError as error:
        found.missed[wanted.kind] = error.message
        return
    found.items.setdefault(wanted.kind, []).extend(kept)


def _items(cluster: Cluster, wanted: ObjectKind) -> Iterable[Mapping[str, Any]]:
    if wanted.name:
        return [cluster.get(wanted.plural, wanted.name, namespace=wanted.namespace or None)]
    return cluster.items(wanted.plural, namespace=wanted.namespace or None)


# -- what is kept of an object -------------------------------------------------------------------------------------

_STATUS: Mapping[str, tuple[str, ...]] = {
    "Pod": (
        "phase",
        "reason",
        "message",
        "startTime",
        "podIP",
        "podIPs",
        "conditions",
        "initContainerStatuses",
        "containerStatuses",
    ),
    "Deployment": ("observedGeneration", "replicas", "updatedReplicas", "availableReplicas", "conditions"),
    "ReplicaSet": ("replicas", "availableReplicas", "conditions"),
    "StatefulSet": ("observedGeneration", "replicas", "readyReplicas", "currentRevision", "updateRevision"),
    "DaemonSet": (
        "observedGeneration",
        "desiredNumberScheduled",
        "numberAvailable",
        "updatedNumberScheduled",
    ),
    "Node": ("conditions", "addresses", "nodeInfo"),
}
NOT_KEPT = (
    "env",
    "volumeMounts",
    "user",
    "resources",
    "allocatedResources",
    "image",
    "imageID",
    "containerID",
)
"""Parts of a container's status that a recording has no use for."""

_META = ("uid", "creationTimestamp", "generation", "deletionTimestamp")


def kept_of(wanted: ObjectKind, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a diagnosis reads: those of a rehearsal, and more of the status."""
    with understood(f"the {wanted.kind} {(item.get('metadata') or {}).get('name', '')}"):
        if wanted.kind in ("EndpointSlice", "Event"):
            return _flat(wanted, item)
        kept = least(wanted, item)
        meta, given = kept["metadata"], item["metadata"]
        meta |= {key: given[key] for key in _META if key in given}
        if wanted.kind in ("Node", "Lease"):
            meta["managedFields"] = [_writes(each) for each in given.get("managedFields") or ()]
        if wanted.kind in _STATUS:
            status = item.get("status") or {}
            more = {key: status[key] for key in _STATUS[wanted.kind] if key in status}
            kept["status"] = {**(kept.get("status") or {}), **more}
        _complete(wanted.kind, kept, item)
        return kept


def _complete(kind: str, kept: dict[str, Any], item: Mapping[str, Any]) -> None:
    spec = item.get("spec") or {}
    if kind == "Deployment" and "strategy" in spec:
        kept.setdefault("spec", {})["strategy"] = spec["strategy"]
    if kind == "Node" and "taints" in spec:
        kept.setdefault("spec", {})["taints"] = spec["taints"]
    if kind == "Pod":
        for each in (
            *kept["status"].get("containerStatuses", ()),
            *kept["status"].get("initContainerStatuses", ()),
        ):
            for key in NOT_KEPT:
                each.pop(key, None)
    if kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        names = [each.get("name", "") for each in item.get("webhooks") or ()]
        for hook, name in zip(kept.get("webhooks") or (), names, strict=False):
            hook["name"] = name


def _writes(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of an entry of managed fields only when kubelet's heartbeat or renewal was written."""
    fields = entry.get("fieldsV1") or {}
    found: dict[str, Any] = {}
    for path in (HEARTBEAT, RENEWAL):
        inner: Any = fields
        for part in path:
            inner = inner.get(part) if isinstance(inner, dict) else None
        if inner is not None:
            at = found
            for part in path:
                at = at.setdefault(part, {})
    return {"time": entry.get("time"), "fieldsV1": found}


def _flat(wanted: ObjectKind, item: Mapping[str, Any]) -> dict[str, Any]:
    meta = item["metadata"]
    kept = {key: meta[key] for key in ("name", "namespace", "labels", *_META) if key in meta}
    if LAST_CHANGE in (meta.get("annotations") or {}):
        kept["annotations"] = {LAST_CHANGE: meta["annotations"][LAST_CHANGE]}
    body = {key: value for key, value in item.items() if key not in ("metadata", "kind", "apiVersion")}
    return {"apiVersion": wanted.api_version, "kind": wanted.kind, "metadata": kept, **body}


# -- nodes ---------------------------------------------------------------------------------------------------------


def _look_at_all(shells: Mapping[str, NodeShell]) -> Mapping[str, NodeSight | Unreachable]:
    return ask_all(shells, look_at)


def _take_sights(
    found: CollectedSight,
    seen: Mapping[str, NodeSight | Unreachable],
    shells: Mapping[str, NodeShell],
    why: str,
    tables: Sequence[Any],
) -> None:
    cuts = {each.node: cuts_of(each) for each in tables}
    for name in shells:
        sight = seen.get(name)
        if isinstance(sight, NodeSight):
            found.nodes[name] = replace(sight, cuts=cuts.get(name))
        else:
            found.blind[name] = sight.message if isinstance(sight, Unreachable) else why or "no answer"


def _measure(
    cluster: Cluster, shells: Mapping[str, NodeShell], leaf: NodeShell | None
) -> tuple[Finding, ...]:
    around = Surroundings(cluster=cluster, shells=shells, leaf=leaf, dns_lookups=LOOKUPS)
    return run_checks(tuple(MEASURED), around, timeout_s=WITHIN_S - 5.0)


def _lookups(found: CollectedSight, shells: Mapping[str, NodeShell]) -> tuple[Finding, ...]:
    """Look names up as kubelets hand out DNS, without an API server: at the Service, and at what it leads to."""
    addresses = sorted({each for seen in found.nodes.values() for each in seen.cluster_dns})
    if not addresses:
        return ()
    behind = sorted(
        {
            host_of(address)
            for seen in found.nodes.values()
            for name, forwards in seen.nat.items()
            for address in forwards
            if name.endswith((":dns", ":dns-tcp")) and "kube-system/" in name
        }
    )
    try:
        plan = plan_lookups((*addresses, *behind), {API_SERVER_NAME: frozenset()}, LOOKUPS)
        answers = ask_nodes(shells, dict.fromkeys(found.nodes, plan))
    except (ChaosextError, *MALFORMED):
        return ()
    endpoints = tuple(_endpoint(ip) for ip in behind or addresses)
    judged = tuple(name for name, seen in found.nodes.items() if seen.serves is None) or tuple(found.nodes)
    return (
        judge(
            DnsEvidence(addresses=(*addresses, *behind), endpoints=endpoints, judged=judged, answers=answers)
        ),
    )


def _endpoint(ip: str) -> Endpoint:
    return Endpoint(ip=ip, node="", pod="", ready=True, serving=True, terminating=False, ports=())
