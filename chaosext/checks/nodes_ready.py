"""nodes_ready and kubelets_connected: is every node Ready, and does every kubelet reach the API server?

The Ready condition alone proves little: it stays True until the node lifecycle controller's grace period
ends, and forever if that controller is down. The kubelet's own last write proves more. It renews a Lease in
kube-node-lease every 10 s; without an API server it can't.

Ages are measured on the API server's clock: the time of the last write is in the Lease's managed fields,
which the API server sets itself. `renewTime`, by the node's clock, is used only without managed fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.checks.check_names import KUBELETS, NODES
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Evidence, Finding, Status, worst

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Node, NodeLease

STATUS_S = 600.0
"""Age at which a status written by kubelet is stale, in seconds.

Twice kubelet's default nodeStatusReportFrequency, 5 min (pkg/kubelet/apis/config/v1beta1/defaults.go).
"""

WITHOUT_LEASE_S = 50.0
"""The same for a node without a Lease, whose heartbeat is its status, every 10 s: the default grace period."""

AHEAD_S = 5.0
"""Seconds by which a time may be ahead of the API server's clock; beyond, the clocks disagree: unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletsEvidence:
    """The nodes, the Leases of their kubelets by name, and the API server's clock at the time of reading."""

    nodes: tuple[Node, ...]
    leases: Mapping[str, NodeLease]
    now: datetime


def judge_ready(nodes: Sequence[Node]) -> Finding:
    """Judge: healthy if there are nodes and all of them are Ready."""
    rows = tuple(_readiness(node) for node in nodes)
    good = sum(row.status is Status.HEALTHY for row in rows)
    summary = f"{good} of {len(rows)} nodes Ready{_first_bad(rows)}"
    return Finding(check=NODES, status=worst(row.status for row in rows), summary=summary, evidence=rows)


def _readiness(node: Node) -> Evidence:
    ready = node.ready == "True"
    detail = "Ready" if ready else f"Ready is {node.ready}"
    cordoned = ", cordoned" if node.unschedulable else ""
    status = Status.HEALTHY if ready else Status.UNHEALTHY
    return Evidence(subject=node.subject, status=status, detail=f"{detail}{cordoned}")


def gather_kubelets(cluster: Cluster) -> KubeletsEvidence:
    """Collect nodes, Leases and the time. Raises `Unreachable` if the API server's answers have no date."""
    now = cluster.now()
    if now is None:
        raise Unreachable("the API server's answers have no date, so no Lease's age is known")
    leases = {lease.name: lease for lease in cluster.node_leases()}
    return KubeletsEvidence(nodes=cluster.nodes(), leases=leases, now=now)


def judge_kubelets(evidence: KubeletsEvidence) -> Finding:
    """Judge: healthy if every kubelet has renewed its Lease before it expired, and written its status recently."""
    rows = tuple(_connection(node, evidence.leases.get(node.name), evidence.now) for node in evidence.nodes)
    good = sum(row.status is Status.HEALTHY for row in rows)
    summary = f"{good} of {len(rows)} kubelets reach the API server{_first_bad(rows)}"
    return Finding(check=KUBELETS, status=worst(row.status for row in rows), summary=summary, evidence=rows)


def _connection(node: Node, lease: NodeLease | None, now: datetime) -> Evidence:
    status, detail = (
        _by_lease(lease, now) if lease else _by_status(node, now, WITHOUT_LEASE_S, "it has no Lease; ")
    )
    if status is Status.HEALTHY and lease and node.heartbeat:
        stale, said = _by_status(node, now, STATUS_S, "")
        status, detail = (status, detail) if stale is Status.HEALTHY else (stale, said)
    return Evidence(subject=node.subject, status=status, detail=detail)


def _by_lease(lease: NodeLease, now: datetime) -> tuple[Status, str]:
    if lease.renewed is None:
        return Status.UNKNOWN, "its Lease does not say when it was renewed"
    age_s = (now - lease.renewed).total_seconds()
    if age_s < -AHEAD_S:
        return Status.UNKNOWN, f"its Lease was renewed {-age_s:.0f} s ahead of the API server's clock"
    if age_s > lease.duration_s:
        return (
            Status.UNHEALTHY,
            f"has not renewed its Lease for {age_s:.0f} s; it holds for {lease.duration_s} s",
        )
    return Status.HEALTHY, f"renewed its Lease {max(0.0, age_s):.0f} s ago"


def _by_status(node: Node, now: datetime, within_s: float, why: str) -> tuple[Status, str]:
    if node.heartbeat is None:
        return Status.UNKNOWN, f"{why}unknown when its status was written"
    age_s = (now - node.heartbeat).total_seconds()
    if age_s < -AHEAD_S:
        return Status.UNKNOWN, f"{why}its status was written {-age_s:.0f} s ahead of the API server's clock"
    if age_s > within_s:
        return Status.UNHEALTHY, f"{why}has not written its node's status for {age_s:.0f} s"
    return Status.HEALTHY, f"{why}wrote its node's status {max(0.0, age_s):.0f} s ago"


def _first_bad(rows: Sequence[Evidence]) -> str:
    bad = [row for row in rows if row.status is not Status.HEALTHY]
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    return f"; {bad[0].subject}: {bad[0].detail}{more}" if bad else ""
