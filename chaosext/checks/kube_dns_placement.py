"""kube_dns_on_peered_nodes: does every kube-dns Pod run on a node whose BGP session announces its address?

A Pod on a node without a BGP peer is Ready and in the Service's endpoints, but no other node can reach it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.checks.check_names import PLACEMENT
from chaosext.checks.dns_resolvable import NAMESPACE, SERVICE
from chaosext.model.findings import Evidence, Finding, Status, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Endpoint, Pod

KUBE_DNS_SELECTOR = "k8s-app=kube-dns"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementEvidence:
    """kube-dns' Pods, the addresses behind its Service, and the nodes whose BGP sessions announce their Pods."""

    pods: tuple[Pod, ...]
    endpoints: tuple[Endpoint, ...]
    peered: tuple[str, ...]


def gather(cluster: Cluster, peered: Iterable[str]) -> PlacementEvidence:
    """Collect the evidence. `peered`: the nodes with a BGP peer by configuration."""
    return PlacementEvidence(
        pods=cluster.pods(NAMESPACE, KUBE_DNS_SELECTOR),
        endpoints=cluster.endpoint_slices(NAMESPACE, SERVICE),
        peered=tuple(sorted(peered)),
    )


def judge(evidence: PlacementEvidence) -> Finding:
    """Judge: healthy if Pods back the Service and every Pod that does, or is about to, is on a node with a BGP peer.

    Terminating and finished Pods are ignored. No backing Pod, and a Pod without a node, are unhealthy.
    """
    backing = {each.pod for each in evidence.endpoints if each.ready and not each.terminating}
    pods = [pod for pod in evidence.pods if not pod.terminating and pod.phase not in ("Succeeded", "Failed")]
    rows = [_evidence(pod, pod.subject in backing, evidence.peered) for pod in pods]
    if not any(pod.subject in backing for pod in pods):
        subject = f"Service/{NAMESPACE}/{SERVICE}"
        rows.append(Evidence(subject=subject, status=Status.UNHEALTHY, detail="no ready Pod backs it"))
    status = worst(row.status for row in rows)
    return Finding(check=PLACEMENT, status=status, summary=_summary(rows, pods), evidence=tuple(rows))


def _evidence(pod: Pod, backs: bool, peered: Sequence[str]) -> Evidence:
    if not pod.node:
        return Evidence(
            subject=pod.subject, status=Status.UNHEALTHY, detail=f"on no node yet: {pod.ready_detail}"
        )
    role = "backs the Service" if backs else "not ready yet"
    if pod.node in peered:
        detail = f"on Node/{pod.node}, which has a BGP peer; {role}"
        return Evidence(subject=pod.subject, status=Status.HEALTHY, detail=detail)
    detail = f"on Node/{pod.node}, which has no BGP peer: no other node learns its address; {role}"
    return Evidence(subject=pod.subject, status=Status.UNHEALTHY, detail=detail)


def _summary(rows: Sequence[Evidence], pods: Sequence[Pod]) -> str:
    good = sum(row.status is Status.HEALTHY for row in rows)
    bad = [row for row in rows if row.status is not Status.HEALTHY]
    counted = f"{good} of {len(pods)} kube-dns Pods on nodes with a BGP peer"
    return f"{counted}; {bad[0].subject}: {bad[0].detail}" if bad else counted
