"""Compare two successive states of an object, and yield what happened. Pure: values in, notes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from chaosext.cluster.objects import CoreV1Event, Endpoint, Node, Pod

NOT_READY_LIKE = ("False", "Unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What happened to which object; the recorder adds time and source."""

    kind: Kind
    object: str
    detail: str


def node_notes(before: Node | None, after: Node, *, returned: bool = False) -> Iterator[Note]:
    """What happened to a node; on first sight, only problems are reported.

    `returned`: its Node object had been deleted, so a Ready node is reported.
    """
    was_ready = not returned if before is None else before.ready == "True"
    if was_ready and after.ready in NOT_READY_LIKE:
        yield Note(kind=Kind.NODE_NOT_READY, object=after.subject, detail=f"Ready is {after.ready}")
    if before and before.boot_id and after.boot_id not in ("", before.boot_id):
        yield Note(kind=Kind.NODE_REBOOTED, object=after.subject, detail="kubelet reports another boot ID")
    if not was_ready and after.ready == "True":
        detail = "registered again, and Ready" if before is None else "Ready is True again"
        yield Note(kind=Kind.NODE_READY, object=after.subject, detail=detail)
    known = set(before.taints) if before else set(after.taints)
    for taint in after.taints:
        if taint not in known:
            yield Note(kind=Kind.NODE_TAINTED, object=after.subject, detail=f"{taint.key}:{taint.effect}")


def deleted_note(node: Node) -> Note:
    """The API server no longer knows the node."""
    detail = "its Node object was deleted; kubelet registers one only when it starts"
    return Note(kind=Kind.NODE_DELETED, object=node.subject, detail=detail)


def zone_notes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Note]:
    """The zones (by label, "" for none) whose state, in the node lifecycle controller's terms, has changed."""
    for zone, state in after.items():
        if before.get(zone) != state:
            detail = f"{state}, by the number of nodes that are not ready"
            yield Note(kind=Kind.ZONE_STATE, object=f"Zone/{zone or '(none)'}", detail=detail)


def pod_notes(before: Pod | None, after: Pod, lost_nodes: Collection[str]) -> Iterator[Note]:
    """What happened to a Pod. A deletion on a node in `lost_nodes` is an eviction."""
    if before is None:
        yield Note(
            kind=Kind.POD_CREATED, object=after.subject, detail=f"by {after.owner or 'no owner (a bare Pod)'}"
        )
    yield from _placement_notes(before, after)
    yield from _readiness_notes(before, after)
    if after.terminating and not (before and before.terminating):
        yield _deletion_note(after, lost_nodes)


def _placement_notes(before: Pod | None, after: Pod) -> Iterator[Note]:
    if after.node and not (before and before.node):
        yield Note(kind=Kind.POD_BOUND, object=after.subject, detail=f"to {after.node}")
    if not after.node and after.phase == "Pending" and _detail_changed(before, after):
        yield Note(kind=Kind.POD_PENDING, object=after.subject, detail=after.ready_detail)


def _detail_changed(before: Pod | None, after: Pod) -> bool:
    """Whether the scheduler now says why the Pod is unbound (a new Pod has no reason yet)."""
    return "nodes are available" in after.ready_detail and (
        before is None or "nodes are available" not in before.ready_detail
    )


def _readiness_notes(before: Pod | None, after: Pod) -> Iterator[Note]:
    was_ready = before is not None and before.ready
    if after.ready and not was_ready and not after.terminating:
        yield Note(kind=Kind.POD_READY, object=after.subject, detail=f"on {after.node}")
    if was_ready and not after.ready and not after.terminating:
        yield Note(
            kind=Kind.POD_NOT_READY, object=after.subject, detail=after.ready_detail or f"on {after.node}"
        )
    looping = set(_looping(after)) - (set(_looping(before)) if before else set())
    for container in sorted(looping):
        yield Note(
            kind=Kind.CRASH_LOOP, object=after.subject, detail=f"container {container}: CrashLoopBackOff"
        )


def _looping(pod: Pod) -> Iterable[str]:
    return (name for name, reason in pod.waiting_reasons.items() if reason == "CrashLoopBackOff")


def _deletion_note(pod: Pod, lost_nodes: Collection[str]) -> Note:
    if pod.node in lost_nodes:
        return Note(kind=Kind.POD_EVICTED, object=pod.subject, detail=f"from {pod.node}, which is not ready")
    return Note(kind=Kind.POD_DELETED, object=pod.subject, detail=f"on {pod.node or 'no node'}")


def gone_note(pod: Pod) -> Note:
    """The API server no longer knows the Pod."""
    return Note(kind=Kind.POD_GONE, object=pod.subject, detail=f"was on {pod.node or 'no node'}")


def probe_note(event: CoreV1Event) -> Note | None:
    """A probe failure in kubelet's own words; None for any other event."""
    if event.reason != "Unhealthy":
        return None
    return Note(kind=Kind.PROBE_FAILING, object=event.involved, detail=" ".join(event.message.split())[:240])


def endpoints_note(service: str, before: Iterable[Endpoint], after: Iterable[Endpoint]) -> Note | None:
    """The ready endpoints of `service`, if they have changed."""
    was, now = _ready_addresses(before), _ready_addresses(after)
    if was == now:
        return None
    detail = ", ".join(f"{ip} on {node}" for ip, node in now) or "no ready endpoint"
    return Note(kind=Kind.ENDPOINTS_CHANGED, object=f"Service/{service}", detail=detail)


def _ready_addresses(endpoints: Iterable[Endpoint]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((each.ip, each.node) for each in endpoints if each.ready))
