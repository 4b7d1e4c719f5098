"""Watches the API server's objects: each kind in a thread of its own, each change noted as it comes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from chaosext.checks import dns_resolvable
from chaosext.checks.kube_dns_placement import KUBE_DNS_SELECTOR
from chaosext.cluster import objects
from chaosext.cluster.object_watch import Change, watch
from chaosext.cluster.objects import CoreV1Event, Endpoint, Node, Pod
from chaosext.rehearsal.simulate.zone_disruption import zone_states
from chaosext.run.monitor.sentinel_plan import has_sidecar
from chaosext.run.session.stash import Key
from chaosext.timeline.object_events import (
    deleted_note,
    endpoints_note,
    gone_note,
    node_notes,
    pod_notes,
    probe_note,
    zone_notes,
)
from chaosext.timeline.recorder import Recorder

if TYPE_CHECKING:
    import threading
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from chaosext.cluster.client import Cluster
    from chaosext.timeline.object_events import Note

Take = Callable[[Change, Recorder], None]
"""Applies a change, and notes its events."""

Value = TypeVar("Value")


@dataclass(slots=True, kw_only=True)
class Following:
    """One query's objects, from a first listing (without events) through every change. `kind` as in `watch`.

    `answered_s`: when the API server last answered (monotonic seconds).
    """

    name: str
    kind: str
    take: Take
    namespace: str | None = None
    labels: str | None = None
    fields: str | None = None
    known: dict[str, dict[str, Any]] | None = None
    answered_s: float = -math.inf

    def follow(self, cluster: Cluster, recorder: Recorder, stop: threading.Event) -> None:
        """Follow until `stop` is set. Called again after an error, it continues where it was, and misses nothing.

        Raises `Unreachable` while the first listing gets no answer, and whatever `watch` and `take` raise.
        """
        if self.known is None:
            self.known = self._begin(cluster)
        for change in watch(
            cluster,
            self.kind,
            stop,
            namespace=self.namespace,
            label_selector=self.labels,
            field_selector=self.fields,
            known=self.known,
            on_answer=self._answered,
        ):
            if not stop.is_set():
                self.take(change, recorder)

    def _answered(self) -> None:
        self.answered_s = time.monotonic()

    def _begin(self, cluster: Cluster) -> dict[str, dict[str, Any]]:
        """Apply the first listing, without notes."""
        selectors = {"labelSelector": self.labels, "fieldSelector": self.fields}
        listed = list(cluster.items(self.kind, namespace=self.namespace, **selectors))
        nobody = Recorder()
        for item in listed:
            self.take({"type": "ADDED", "object": item}, nobody)
        return {item["metadata"]["uid"]: item for item in listed}


class ObjectWatch:
    """Nodes, kube-dns' and the applications' Pods, kube-dns' endpoints, and kubelet's probe failures.

    The threads share what they know without a lock: `_nodes` is replaced whole, never changed, and the Pods'
    threads write each its own uids.
    """

    def __init__(self, namespaces: Collection[str]) -> None:
        """`namespaces` (empty: all): Pods and probes of these are reported."""
        self._namespaces = tuple(namespaces)
        self._followings = tuple(self._all())
        self._nodes: Mapping[str, Node] = {}
        self._deleted: frozenset[str] = frozenset()
        self._pods: dict[str, Pod] = {}
        self._slices: Mapping[str, objects.JsonObject] = {}
        self._failures: set[tuple[str, str]] = set()

    @property
    def followings(self) -> tuple[Following, ...]:
        """One for each thread; nodes first, by which the others know lost nodes."""
        return self._followings

    @property
    def has_begun(self) -> bool:
        """Whether all of it was listed once."""
        return all(each.known is not None for each in self._followings)

    @property
    def ready(self) -> Mapping[str, bool]:
        """The nodes that the control plane last reported Ready; a deleted one is not."""
        known = {node.name: node.ready == "True" for node in self._nodes.values()}
        return dict.fromkeys(self._deleted, False) | known

    @property
    def answered_s(self) -> float:
        """When the API server last answered the watch of nodes (monotonic seconds)."""
        return self._followings[0].answered_s

    @property
    def dns_endpoints(self) -> tuple[Endpoint, ...]:
        """The last known endpoints of kube-dns."""
        return objects.endpoints(self._slices.values())

    @property
    def node_of(self) -> Mapping[str, str]:
        """A node's address -> its name, as last known."""
        return {ip: node.name for node in self._nodes.values() for ip in node.internal_ips}

    @property
    def meshed(self) -> tuple[Pod, ...]:
        """The last known Pods whose sidecars can be asked."""
        lost = _lost(self._nodes)
        return tuple(pod for pod in self._pods.copy().values() if has_sidecar(pod, lost))

    def _all(self) -> Iterator[Following]:
        yield Following(name="nodes", kind="nodes", take=self.take_node)
        scope: dict[str | None, str | None] = dict.fromkeys(self._namespaces or (None,))
        pods_of = scope if None in scope else {dns_resolvable.NAMESPACE: KUBE_DNS_SELECTOR, **scope}
        for namespace, pods in pods_of.items():
            name = f"{namespace or 'all'}/pods"
            yield Following(name=name, kind="pods", take=self.take_pod, namespace=namespace, labels=pods)
        yield Following(
            name=f"{dns_resolvable.NAMESPACE}/endpointslices",
            kind="endpointslices",
            take=self.take_endpoints,
            namespace=dns_resolvable.NAMESPACE,
            labels=f"kubernetes.io/service-name={dns_resolvable.SERVICE}",
        )
        for namespace in scope:
            yield Following(
                name=f"{namespace or 'all'}/events",
                kind="events",
                take=self.take_event,
                namespace=namespace,
                fields="reason=Unhealthy",
            )

    def take_node(self, change: Change, recorder: Recorder) -> None:
        node, before = Node.from_json(change["object"]), self._nodes
        self._nodes = _changed(before, node.name, None if _is_gone(change) else node)
        if _is_gone(change):
            self._deleted |= {node.name}
            _note(recorder, [deleted_note(node)])
        else:
            returned, self._deleted = node.name in self._deleted, self._deleted - {node.name}
            _note(recorder, node_notes(before.get(node.name), node, returned=returned))
        _note(recorder, zone_notes(_zones(before), _zones(self._nodes)))

    def take_pod(self, change: Change, recorder: Recorder) -> None:
        pod = Pod.from_json(change["object"])
        before = self._pods.get(pod.uid)
        if _is_gone(change):
            self._pods.pop(pod.uid, None)
            _note(recorder, [gone_note(pod)])
        else:
            self._pods[pod.uid] = pod
            _note(recorder, pod_notes(before, pod, _lost(self._nodes)))

    def take_endpoints(self, change: Change, recorder: Recorder) -> None:
        changed, before = change["object"], self._slices
        self._slices = _changed(before, changed["metadata"]["uid"], None if _is_gone(change) else changed)
        was, now = (objects.endpoints(slices.values()) for slices in (before, self._slices))
        note = endpoints_note(f"{dns_resolvable.NAMESPACE}/{dns_resolvable.SERVICE}", was, now)
        _note(recorder, [note] if note else [])

    def take_event(self, change: Change, recorder: Recorder) -> None:
        """Each live Pod's first failure with each message; one that is being deleted fails by design."""
        event = CoreV1Event.from_json(change["object"])
        failure = (event.involved, event.message)
        note = None if failure in self._failures else probe_note(event)
        self._failures.add(failure)
        pod = self._pods.get(event.involved_uid)
        if note and pod and not pod.terminating:
            recorder.note(note, "kubelet", at_s=_moment_s(event.last_seen))


def _is_gone(change: Change) -> bool:
    return bool(change["type"] == "DELETED")


def _changed(known: Mapping[str, Value], key: str, value: Value | None) -> Mapping[str, Value]:
    """`known` with `value` at `key`, or without the key if there is no value."""
    rest = {each: known[each] for each in known if each != key}
    return rest if value is None else {**rest, key: value}


def _lost(nodes: Mapping[str, Node]) -> set[str]:
    return {node.name for node in nodes.values() if node.ready != "True"}


def _zones(nodes: Mapping[str, Node]) -> Mapping[str, str]:
    return zone_states(nodes.values(), _lost(nodes))


def _note(recorder: Recorder, notes: Iterable[Note]) -> None:
    for note in notes:
        recorder.note(note, "api-server")


def _moment_s(seen: datetime | None) -> float:
    """An Event's time on the monotonic clock. It has whole seconds, so this is the end of that second."""
    age_s = time.time() - seen.timestamp() - 1 if seen else 0.0
    return time.monotonic() - max(0.0, age_s)


OBJECTS: Key[ObjectWatch | None] = Key(lambda: None)
"""What the API server reports while the run goes on."""
