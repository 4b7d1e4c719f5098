"""Watches during a run: the API server's objects, the leaf, istiod's view of xDS. Each makes notes."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar

from chaosext.checks import dns_resolvable
from chaosext.checks.check_names import XDS
from chaosext.checks.kube_dns_placement import KUBE_DNS_SELECTOR
from chaosext.checks.suite import run_checks
from chaosext.cluster import objects
from chaosext.cluster.client import NODE_LEASES
from chaosext.cluster.object_watch import Change, watch
from chaosext.cluster.objects import CoreV1Event, Endpoint, Node, NodeLease, Pod
from chaosext.model.errors import ChaosextError, Unreachable
from chaosext.model.findings import Status
from chaosext.model.timeline import Kind
from chaosext.nodes.frr import leads_there, parse_summary
from chaosext.rehearsal.simulate.node_lifecycle import zone_states
from chaosext.run.monitor.customers import EntryWatch
from chaosext.run.monitor.sentinel_plan import has_sidecar, pod_on
from chaosext.run.session.run_context import Key
from chaosext.timeline.kubelet_renewals import Renewals
from chaosext.timeline.leaf_events import SOURCE, LeafLook, LeafView
from chaosext.timeline.object_events import (
    Note,
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
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from chaosext.checks.suite import Surroundings
    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Endpoint
    from chaosext.nodes.shell import NodeShell

POLL_S = 1.0
XDS_POLL_S = 5.0
PARTING_S = 3.0
"""Timeout for the threads to end, seconds; they are daemons, so none can block the process."""


class Watching:
    """A context manager that notes what happens in `recorder`."""

    def __init__(self, around: Surroundings, recorder: Recorder, directory: Path | None = None) -> None:
        """The results of customers' requests are kept in `directory`, the run's, if given."""
        self.objects = ObjectWatch(around.namespaces)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in _watchers(self.objects, around, recorder, directory, self._stop)
        ]

    def __enter__(self) -> Watching:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        deadline_s = time.monotonic() + PARTING_S
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))


def _watchers(
    objects: ObjectWatch,
    around: Surroundings,
    recorder: Recorder,
    directory: Path | None,
    stop: threading.Event,
) -> Iterable[tuple[str, Callable[[], None]]]:
    for following in objects.followings:
        follow = partial(following.follow, around.cluster, recorder, stop)
        yield following.name, partial(_repeat, following.name, follow, POLL_S, recorder, stop)
    kubelets = KubeletWatch()
    follow = partial(kubelets.following.follow, around.cluster, recorder, stop)
    yield "leases", partial(_repeat, "leases", follow, POLL_S, recorder, stop)
    yield "kubelets", partial(_repeat, "kubelets", partial(kubelets.look, recorder), POLL_S, recorder, stop)
    xds = XdsWatch(around, recorder)
    yield "xds", partial(_repeat, "xds", xds.look, XDS_POLL_S, recorder, stop)
    if around.leaf:
        yield "leaf", partial(LeafWatch(around.leaf, objects, recorder).watch, stop)
    if around.entry:
        watch = EntryWatch(around.entry, recorder, directory)
        yield "entry", partial(watch.watch_clusters, stop)
        yield "customers", partial(watch.watch_customers, stop)


def _repeat(
    name: str, look: Callable[[], None], every_s: float, recorder: Recorder, stop: threading.Event
) -> None:
    """Watch again and again, also if an API server can't be reached.

    Any other problem is reported once: a dead watch must not look like silence.
    """
    said = False
    while not stop.is_set():
        try:
            look()
        except Unreachable:
            pass
        except Exception as error:
            if not said:
                recorder.say(Kind.OBSERVATION_LOST, f"Watch/{name}", f"{type(error).__name__}: {error}")
            said = True
        stop.wait(every_s)


class XdsWatch:
    """Notes when sidecars lose xDS and when all have it again; nothing without a mesh, or if istiod can't be asked."""

    def __init__(self, around: Surroundings, recorder: Recorder) -> None:
        self._around, self._recorder = around, recorder
        self._status = Status.HEALTHY
        self._is_meshed: bool | None = None

    def look(self) -> None:
        """Ask istiod once, unless there was no mesh at first: whether there is one takes many requests to find out."""
        if self._is_meshed is False:
            return
        asked_s = time.monotonic()
        (finding,) = run_checks((XDS,), self._around, timeout_s=XDS_POLL_S * 2)
        if finding.status is Status.NOT_APPLICABLE:
            self._is_meshed = bool(self._is_meshed)
            return
        if finding.status is Status.UNKNOWN:
            return
        self._is_meshed = True
        if finding.status is self._status:
            return
        self._status = finding.status
        kind = Kind.XDS_RESTORED if finding.status is Status.HEALTHY else Kind.XDS_LOST
        note = Note(kind=kind, object="Service/istio-system/istiod", detail=finding.summary)
        self._recorder.note(note, "istiod", at_s=asked_s)


DEAF_S = 5.0
"""A watched API server that answers is heard at least every 3 s."""


class KubeletWatch:
    """Follows the Leases in one thread, and looks for silent kubelets in another; neither replaces `Renewals`."""

    def __init__(self) -> None:
        self._renewals = Renewals()
        self.following = Following(name="leases", kind="leases", take=self._take, namespace=NODE_LEASES)

    def look(self, recorder: Recorder) -> None:
        """Note kubelets that fell silent. An API server that is not heard can't show their silence."""
        now_s = time.monotonic()
        if now_s - self.following.answered_s > DEAF_S:
            self._renewals.deaf(now_s)
            return
        for note, at_s in self._renewals.silent(now_s):
            recorder.note(note, "api-server", at_s=at_s)

    def _take(self, change: Change, recorder: Recorder) -> None:
        lease = NodeLease.from_json(change["object"])
        if change["type"] == "DELETED":
            self._renewals.drop(lease.name)
        elif note := self._renewals.take(lease, time.monotonic()):
            recorder.note(note, "api-server")


EVERY_S = 2.0
RETRY_S = 3.0

Asked = tuple["Endpoint", ...]


class LeafWatch:
    """One process on the leaf, which prints a line every `EVERY_S`; a new one when kube-dns has moved."""

    def __init__(self, shell: NodeShell, objects: ObjectWatch, recorder: Recorder) -> None:
        self._shell, self._objects, self._recorder = shell, objects, recorder
        self._view = LeafView(shell.node)

    def watch(self, stop: threading.Event) -> None:
        """Watch until `stop` is set; reports once that the leaf can't be entered, or is not a leaf."""
        while not stop.is_set():
            try:
                self._follow(stop)
            except (ChaosextError, ValueError) as error:
                at_s = time.monotonic()
                if stop.wait(RETRY_S):  # a run that ends stops its processes on nodes: not an event
                    return
                for note in self._view.blind(str(error)):
                    self._recorder.note(note, SOURCE, at_s=at_s)

    def _follow(self, stop: threading.Event) -> None:
        asked = self._endpoints()
        with self._shell.stream(script(asked)) as lines:
            for line in lines:
                for note in self._view.take(read_look(line, asked, self._objects.node_of)):
                    self._recorder.note(note, SOURCE)
                if stop.is_set() or self._endpoints() != asked:
                    return
        raise Unreachable(f"the output of {self._shell.node} ended")

    def _endpoints(self) -> Asked:
        return tuple(dns_resolvable.backing(self._objects.dns_endpoints))


def script(endpoints: Iterable[Endpoint]) -> str:
    """bash for `NodeShell.stream`: each line holds FRR's answers, one JSON value after the other.

    Ends with its stdin. Raises `ValueError` for an endpoint with an invalid address.
    """
    questions = ["show bgp summary json", *map(_route_to, endpoints)]
    words = " ".join(f"-c '{question}'" for question in questions)
    return f"""
while :; do
  timeout 4 vtysh {words} | tr -d '\\n'; echo
  IFS= read -r -t {EVERY_S:g} _
  (( $? > 128 )) || break
done
"""


def read_look(line: str, endpoints: Asked, node_of: Mapping[str, str]) -> LeafLook:
    """Parse one line. `node_of`: address -> node. Raises `ValueError` for a line that isn't FRR's.

    A leaf without any neighbor takes no part in the cluster's network: that it knows no route means nothing.
    """
    answers = list(_values(line))
    if len(answers) != 1 + len(endpoints):
        raise ValueError(f"FRR does not answer: {line[:80]!r}")
    sessions = {
        f"{node_of.get(each.ip, '')} {each.ip}".strip(): "" if each.established else each.state
        for each in parse_summary(answers[0])
    }
    routes = {
        f"{pod_on(each)} {each.ip}": leads_there(said)
        for each, said in zip(endpoints if sessions else (), answers[1:], strict=bool(sessions))
    }
    return LeafLook(sessions=sessions, routes=routes)


def _route_to(endpoint: Endpoint) -> str:
    address = ip_address(endpoint.ip)
    return f"show {'ip' if address.version == 4 else 'ipv6'} route {address} json"


def _values(line: str) -> Iterable[str]:
    """The texts of the JSON values in a line, one after the other."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(line):
        _, end = decoder.raw_decode(line, at)
        yield line[at:end]
        at = end + len(line[end:]) - len(line[end:].lstrip())


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
    def pods(self) -> tuple[Pod, ...]:
        """The last known Pods of the namespaces and kube-dns', except those that are about to end."""
        lost = _lost(self._nodes)
        return tuple(pod for pod in self._pods.copy().values() if not pod.terminating or pod.node in lost)

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
