"""The rollback: reschedules kube-dns onto nodes with a BGP session, checks it, and retries once with the reason."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from chaosext.checks import check_names
from chaosext.checks.cluster_model import ClusterModel
from chaosext.checks.kube_dns_placement import KUBE_DNS_SELECTOR
from chaosext.checks.suite import run_checks
from chaosext.cluster.lease import LEASE, look_at_lease
from chaosext.model.crash import crash_point
from chaosext.model.errors import ChaosextError, Inconclusive, Refused, Unreachable
from chaosext.model.findings import Status
from chaosext.model.timeline import Kind
from chaosext.run.fault.guards import require_deletable
from chaosext.run.fault.state import fault_of, write_down
from chaosext.run.monitor.surroundings import surroundings
from chaosext.run.monitor.wait_steady import POLL_S
from chaosext.run.session.approval import INTENDED, require_approved
from chaosext.run.session.connection import connect_to_act
from chaosext.safety.audit_log import AuditEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Pod
    from chaosext.experiment.settings import Settings
    from chaosext.run.session.run_context import RunContext

NAMESPACE = "kube-system"
ATTEMPTS = 2


def misplaced(pods: Collection[Pod], peered: Collection[str]) -> tuple[Pod, ...]:
    """The live Pods that are not on a node with a BGP peer."""
    return tuple(pod for pod in live(pods) if pod.node not in peered)


def settled(pods: Collection[Pod], replicas: int) -> bool:
    """Whether the rollout has settled: as many live Pods as wanted, all Ready, none Terminating."""
    return len(pods) == replicas and all(pod.ready and not pod.terminating for pod in pods)


def reschedule(
    settings: Settings, context: RunContext, *, timeout_s: float, only_if_needed: bool
) -> dict[str, Any]:
    """Delete kube-dns' Pods so that they are rescheduled; the second time only those still misplaced.

    With `only_if_needed` nothing is deleted if all of them are well placed and DNS resolves.
    Returns what was deleted and where the new Pods are. Raises `Inconclusive` if some still are not on nodes with a
    BGP peer, naming them.
    """
    if context.gate_failed:
        return {
            "skipped": "the steady state was not met before the method, so this run has nothing to roll back"
        }
    cluster = require_reschedulable(settings)
    _require_no_other(cluster, context)
    if not fault_of(context).cuts:  # else the cluster needs it, even if the approval has ended
        require_approved(cluster, context.stash[INTENDED])
    peered = peered_names(cluster)
    replicas = cluster.deployment(NAMESPACE, "coredns").replicas  # read before anything is touched
    deleted: list[str] = []
    reasons: list[str] = []
    pods = _kube_dns(cluster)
    needed = not only_if_needed or bool(misplaced(pods, peered)) or not _dns_is_healthy(settings)
    victims = live(pods) if needed else ()
    for _ in range(ATTEMPTS):
        if not victims:
            break
        deleted += _delete(settings, context, victims)
        pods = _wait_until_settled(cluster, replicas, timeout_s)
        victims = misplaced(pods, peered)
        if not victims and not settled(pods, replicas):
            raise _not_settled(pods, timeout_s)
        reasons += [_why_misplaced(pod) for pod in victims]
    if victims:
        raise Inconclusive(
            f"kube-dns is still on nodes without BGP after {ATTEMPTS} attempts ({'; '.join(reasons)})",
            "add a node affinity to the Deployment coredns that keeps it off these nodes, then delete its Pods",
        )
    return {
        "deleted": deleted,
        "retried_because": reasons,
        "placement": _placement(cluster),
        "peered_nodes": sorted(peered),
    }


def live(pods: Collection[Pod]) -> tuple[Pod, ...]:
    """All Pods that are not yet deleted: rescheduling all of them leaves none with an unreachable address."""
    return tuple(pod for pod in pods if not pod.terminating)


def peered_names(cluster: Cluster) -> frozenset[str]:
    """The nodes that have a BGP peer; every node where BGP carries no Pod routes, or that can't be read."""
    try:
        return ClusterModel(cluster).peered
    except Refused:  # a rollback goes on, and the steady state after it is checked
        return frozenset(node.name for node in cluster.nodes())


def require_reschedulable(settings: Settings) -> Cluster:
    """The pinned cluster, verified again. Raises `Refused` if kube-dns' Pods may not be deleted."""
    require_deletable(settings, NAMESPACE)
    return connect_to_act(settings)


def _require_no_other(cluster: Cluster, context: RunContext) -> None:
    """Raise `Refused` while another run has the cluster: its cut is why DNS fails, and it moves Pods itself.

    After a cut of this run the cluster needs it, even if another run came meanwhile.
    """
    lock = None if fault_of(context).cuts else look_at_lease(cluster)
    if lock is not None and lock.keeps_out(context.id):
        raise lock.refusal(LEASE)


def _dns_is_healthy(settings: Settings) -> bool:
    (finding,) = run_checks((check_names.DNS,), surroundings(settings))  # ignores known, unchanged problems
    return finding.status is Status.HEALTHY


def _kube_dns(cluster: Cluster) -> tuple[Pod, ...]:
    return cluster.pods(NAMESPACE, KUBE_DNS_SELECTOR)


def _delete(settings: Settings, context: RunContext, victims: Sequence[Pod]) -> list[str]:
    """Delete these Pods, no others of the same names; return the names of those that still existed."""
    cluster = require_reschedulable(settings)
    _require_no_other(cluster, context)
    names = [pod.name for pod in victims]
    context.recorder.say(Kind.ROLLBACK, f"Deployment/{NAMESPACE}/coredns", f"deleting {', '.join(names)}")
    write_down(context, AuditEvent.DELETING_PODS, pods=_in_audit(names))
    crash_point("rolling-back")
    deleted = [pod.name for pod in victims if cluster.delete_pod(pod)]
    crash_point("rolled-back")
    context.trail.note(AuditEvent.PODS_DELETED, pods=_in_audit(deleted))
    return deleted


def _in_audit(pods: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{NAMESPACE}/{pod}" for pod in pods)


def _wait_until_settled(cluster: Cluster, replicas: int, timeout_s: float) -> tuple[Pod, ...]:
    """The Pods as last seen: settled, or after `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    pods: tuple[Pod, ...] = ()
    while time.monotonic() < deadline_s:
        time.sleep(POLL_S)
        try:
            pods = _kube_dns(cluster)
        except Unreachable:
            continue
        if settled(pods, replicas):
            break
    return pods


def _why_misplaced(pod: Pod) -> str:
    if pod.node:
        return f"{pod.name} was placed on {pod.node}, which has no BGP peer"
    return f"{pod.name} was not scheduled ({pod.ready_detail or pod.phase})"


def _not_settled(pods: Collection[Pod], timeout_s: float) -> ChaosextError:
    state = "; ".join(
        f"{pod.name} on {pod.node or 'no node'}: {pod.ready_detail or pod.phase}" for pod in pods
    )
    return Inconclusive(
        f"kube-dns was not Ready {timeout_s:g} s after its Pods were deleted ({state or 'no Pods seen'})",
        "check `kubectl -n kube-system describe pod -l k8s-app=kube-dns`",
    )


def _placement(cluster: Cluster) -> list[str]:
    return sorted(f"{pod.name} on {pod.node}" for pod in _kube_dns(cluster) if not pod.terminating)
