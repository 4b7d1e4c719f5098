"""nothing_missing: is everything still there that was there at the baseline, in the same number?

All other checks judge existing objects. A deleted node, a scaled-down Deployment, a Service without
endpoints, or a Pod that is not re-created leaves fewer objects to judge, and all of those may be healthy. The
baseline therefore counts objects, and its counts are the denominators of all later ones.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from chaosext.checks.check_names import MISSING
from chaosext.checks.dns_resolvable import NAMESPACE as DNS_NAMESPACE
from chaosext.checks.dns_resolvable import SERVICE as DNS_SERVICE
from chaosext.cluster.daemonset import RUN
from chaosext.model.findings import Evidence, Finding, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Endpoint, Node, Pod, Service

Item = tuple[str, str]
"""An object, such as `Deployment/shop/cart`, and what is counted about it."""

THERE = "there"
SCHEDULABLE = "schedulable"
REPLICAS = "replicas wanted"
PODS = "Pods"
SIDECARS = "Pods with a sidecar"
ADDRESSES = "cluster IPs"
ENDPOINTS = "ready endpoints"
"""What is counted. Ready endpoints vary with the readiness of Pods; all other counts change only by intent or loss."""

SAID = 3
"""Maximum number of objects in a summary; the evidence has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Counts of nodes, of objects in `namespaces` (empty: all), and of kube-dns.

    `counts`: (object, what is counted) -> number. `over`: bare Pods that completed, which is not a loss.
    """

    namespaces: tuple[str, ...]
    counts: Mapping[Item, int]
    over: frozenset[str] = frozenset()

    @property
    def objects(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name, _ in self.counts))

    def to_json(self) -> dict[str, Any]:
        rows = [[name, what, count] for (name, what), count in self.counts.items()]
        return {"namespaces": list(self.namespaces), "counts": rows}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read the form of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        counts = {(str(name), str(what)): int(count) for name, what, count in value["counts"]}
        return cls(namespaces=tuple(map(str, value["namespaces"])), counts=counts)


def gather(cluster: Cluster, namespaces: Sequence[str]) -> Inventory:
    """Count all objects now. Raises `Refused` if reading any of them is forbidden."""
    scope: Sequence[str | None] = tuple(namespaces) or (None,)
    pods = [pod for pod in _listed(cluster, scope) if RUN not in pod.labels]
    counts = {
        **_of_nodes(cluster.nodes()),
        **_of_namespaces(cluster, namespaces),
        **dict(_of_workloads(cluster, dict.fromkeys((*scope, *_beside(scope))))),
    }
    counts |= _of_pods(pods, counts)
    for namespace in dict.fromkeys((*scope, *_beside(scope))):
        counts |= _of_services(cluster, namespace, only=DNS_SERVICE if namespace not in scope else "")
    over = frozenset(pod.subject for pod in pods if pod.phase == "Succeeded")
    return Inventory(namespaces=tuple(namespaces), counts=counts, over=over)


def _beside(scope: Sequence[str | None]) -> tuple[str, ...]:
    """Return kube-dns' namespace, unless the scope includes it."""
    return () if None in scope or DNS_NAMESPACE in scope else (DNS_NAMESPACE,)


def _listed(cluster: Cluster, scope: Iterable[str | None]) -> Iterator[Pod]:
    for namespace in scope:
        yield from cluster.pods(namespace)


def _of_nodes(nodes: Iterable[Node]) -> dict[Item, int]:
    return {
        item: count
        for node in nodes
        for item, count in (
            ((node.subject, THERE), 1),
            ((node.subject, SCHEDULABLE), int(not node.unschedulable)),
        )
    }


def _of_namespaces(cluster: Cluster, namespaces: Sequence[str]) -> dict[Item, int]:
    return {
        (f"Namespace/{name}", THERE): 1
        for name in cluster.namespaces()
        if name in namespaces or not namespaces
    }


def _of_workloads(cluster: Cluster, scope: Iterable[str | None]) -> Iterator[tuple[Item, int]]:
    """Yield the number of Pods that each workload wants; for a DaemonSet, one on each of its nodes."""
    for namespace in scope:
        for kind, listed in (("Deployment", cluster.deployments), ("StatefulSet", cluster.stateful_sets)):
            for each in listed(namespace):
                yield (f"{kind}/{each.namespace}/{each.name}", REPLICAS), each.replicas
        for daemon in cluster.daemon_sets(namespace):
            if RUN not in daemon.labels:
                yield (f"DaemonSet/{daemon.namespace}/{daemon.name}", REPLICAS), daemon.desired


def _of_pods(pods: Iterable[Pod], workloads: Mapping[Item, int]) -> dict[Item, int]:
    """Count bare Pods, Pods of owners without a replica count, and Pods with a sidecar by owner.

    Pods of an owner that runs them to completion are ignored: they are expected to end.
    """
    found: Counter[Item] = Counter()
    for pod in pods:
        owner, lives = _owner(pod, workloads), not (pod.terminating or pod.phase in ("Succeeded", "Failed"))
        if owner == pod.subject:
            found[owner, THERE] += lives
        elif pod.finite or not lives:
            continue
        elif (owner, REPLICAS) not in workloads:
            found[owner, PODS] += 1
        if lives and pod.injected:
            found[owner, SIDECARS] += 1
    return {item: min(count, workloads.get((item[0], REPLICAS), count)) for item, count in found.items()}


def _owner(pod: Pod, workloads: Mapping[Item, int]) -> str:
    """Return the workload of a Pod, or the Pod itself if it has none.

    A ReplicaSet changes with each rollout, so its Deployment counts instead. Mirror Pods (owned by a node)
    are named after the node and count as themselves.
    """
    kind, _, name = pod.owner.partition("/")
    if kind in ("", "Node"):
        return pod.subject
    hashes = (pod.labels.get("pod-template-hash"), pod.labels.get("rollouts-pod-template-hash"))
    for suffix in filter(None, hashes):
        name = name.removesuffix(f"-{suffix}")
    deployment = f"Deployment/{pod.namespace}/{name}"
    return deployment if (deployment, REPLICAS) in workloads else f"{kind}/{pod.namespace}/{name}"


def _of_services(cluster: Cluster, namespace: str | None, *, only: str) -> dict[Item, int]:
    services = [each for each in cluster.services(namespace) if only in ("", each.name)]
    behind = cluster.endpoints_by_service(namespace)
    return {item: count for each in services for item, count in _of_service(each, behind)}


def _of_service(
    service: Service, behind: Mapping[tuple[str, str], Sequence[Endpoint]]
) -> Iterator[tuple[Item, int]]:
    subject = f"Service/{service.namespace}/{service.name}"
    endpoints = behind.get((service.namespace, service.name), ())
    yield (subject, ADDRESSES), len(service.cluster_ips)
    yield (subject, ENDPOINTS), sum(each.ready and not each.terminating for each in endpoints)


def judge(before: Inventory, now: Inventory) -> Finding:
    """Judge: healthy if every object of `before` still exists, with at least the same counts."""
    rows = tuple(_missing(before, now))
    status = (Status.UNHEALTHY if rows else Status.HEALTHY) if before.counts else Status.UNKNOWN
    counted = f"{len(before.objects)} objects of the baseline"
    if not before.counts:
        return Finding(check=MISSING, status=status, summary="the baseline has no object")
    if not rows:
        return Finding(check=MISSING, status=status, summary=f"all {counted} are there")
    named = [f"{row.subject} {row.detail}" for row in rows[:SAID]]
    more = [f"and {len(rows) - SAID} more"] if len(rows) > SAID else []
    summary = f"{', '.join((*named, *more))} ({len(rows)} of {counted})"
    return Finding(check=MISSING, status=status, summary=summary, evidence=rows)


def lasting(finding: Finding) -> Mapping[str, str]:
    """Return object -> what is missing, except for readiness, which varies with Pods and may return at once."""
    found: dict[str, str] = {}
    for row in finding.evidence:
        if row.status is Status.UNHEALTHY and not row.detail.endswith(ENDPOINTS):
            found[row.subject] = f"{found[row.subject]}, {row.detail}" if row.subject in found else row.detail
    return found


def _missing(before: Inventory, now: Inventory) -> Iterator[Evidence]:
    there, gone = set(now.objects), set[str]()
    for (name, what), count in before.counts.items():
        left = now.counts.get((name, what), 0)
        if name in now.over or name in gone or left >= count:
            continue
        gone |= {name} - there
        detail = _SMALLER.get(what, f"has {left} of {count} {what}") if name in there else "is gone"
        yield Evidence(subject=name, status=Status.UNHEALTHY, detail=detail)


_SMALLER = {SCHEDULABLE: "is cordoned", THERE: "has failed or is terminating"}
"""Wording when a count is 0 although the object exists."""
