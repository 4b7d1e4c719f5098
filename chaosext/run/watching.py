"""Watching while a run goes on: the API server's objects, DNS from every node, xDS. Each turns into notes.

The API server is asked again and again rather than watched: a watch that hangs in a partition looks like silence.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from chaosext.model.errors import ChaosextError
from chaosext.model.finding import Status
from chaosext.model.timeline import Kind
from chaosext.observe.changes import (
    DnsWatch,
    Note,
    endpoints_note,
    gone_note,
    node_notes,
    pod_notes,
    probe_note,
)
from chaosext.rehearsal.disruption import zone_states
from chaosext.run.waiting import KUBE_DNS_LABELS
from chaosext.steady import dns
from chaosext.steady.names import XDS
from chaosext.steady.suite import run_checks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from chaosext.cluster.objects import Endpoint, Event, Node, Pod
    from chaosext.nodes.shell import NodeShell
    from chaosext.observe.recorder import Recorder
    from chaosext.steady.suite import Surroundings

POLL_S = 1.0
XDS_POLL_S = 5.0
PARTING_S = 3.0
"""How long leaving may wait for the threads; they are daemons, so none can hold the process up."""


class Watching:
    """A context manager: while it lives, what happens is noted in `recorder`."""

    def __init__(self, around: Surroundings, recorder: Recorder) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in _watchers(around, recorder, self._stop)
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
    around: Surroundings, recorder: Recorder, stop: threading.Event
) -> Iterable[tuple[str, Callable[[], None]]]:
    objects = ObjectWatch(around, recorder)
    yield "objects", partial(_repeat, "objects", objects.look, POLL_S, recorder, stop)
    xds = XdsWatch(around, recorder)
    yield "xds", partial(_repeat, "xds", xds.look, XDS_POLL_S, recorder, stop)
    address = _dns_address(around)
    for name, shell in around.shells.items() if address else ():
        yield f"dns {name}", partial(sample_dns, shell, str(address), recorder, stop)


def _repeat(
    name: str, look: Callable[[], None], every_s: float, recorder: Recorder, stop: threading.Event
) -> None:
    """Look again and again; an API server that can't be reached is no reason to stop looking.

    Whatever else goes wrong is said once: a watch that died must not look like silence.
    """
    said = False
    while not stop.is_set():
        try:
            look()
        except ChaosextError:
            pass
        except Exception as error:
            if not said:
                recorder.say(Kind.OBSERVATION_LOST, f"Watch/{name}", f"{type(error).__name__}: {error}")
            said = True
        stop.wait(every_s)


def _dns_address(around: Surroundings) -> str | None:
    try:
        return around.cluster.service(dns.NAMESPACE, dns.SERVICE).cluster_ips[0]
    except (ChaosextError, IndexError):
        return None


class ObjectWatch:
    """Nodes, kube-dns and the applications' Pods, kube-dns' endpoints, and kubelet's probe failures."""

    def __init__(self, around: Surroundings, recorder: Recorder) -> None:
        self._cluster, self._namespaces = around.cluster, around.namespaces
        self._recorder = recorder
        self._nodes: dict[str, Node] = {}
        self._zones: Mapping[str, object] = {}
        self._pods: dict[str, dict[str, Pod]] = {}
        self._endpoints: tuple[Endpoint, ...] | None = None
        self._failing: set[tuple[str, str]] | None = None

    def look(self) -> None:
        """One look at everything; what has changed since the last one is noted."""
        self._look_at_nodes()
        self._look_at_pods("kube-dns", self._cluster.pods("kube-system", KUBE_DNS_LABELS))
        for namespace in self._namespaces:
            self._look_at_pods(namespace, self._cluster.pods(namespace))
        self._look_at_endpoints()
        self._look_at_events()

    def _look_at_nodes(self) -> None:
        nodes = self._cluster.nodes()
        for node in nodes if self._nodes else ():
            self._note(node_notes(self._nodes.get(node.name), node))
        self._nodes = {node.name: node for node in nodes}
        zones = zone_states(nodes, self._lost())
        for zone, state in zones.items():
            if not self._zones or self._zones.get(zone) is state:
                continue
            detail = f"{state.value}, by the number of nodes that are not ready"
            self._note([Note(kind=Kind.ZONE_STATE, object=f"Zone/{zone or '(none)'}", detail=detail)])
        self._zones = zones

    def _lost(self) -> set[str]:
        return {node.name for node in self._nodes.values() if node.ready != "True"}

    def _look_at_pods(self, group: str, pods: tuple[Pod, ...]) -> None:
        now = {pod.uid: pod for pod in pods}
        before = self._pods.get(group)
        self._pods[group] = now
        if before is None:
            return
        for uid in sorted(
            now, key=lambda uid: uid not in before
        ):  # whoever leaves, then whoever replaces him
            self._note(pod_notes(before.get(uid), now[uid], self._lost()))
        self._note(gone_note(pod) for uid, pod in before.items() if uid not in now)

    def _look_at_endpoints(self) -> None:
        now = self._cluster.endpoint_slices(dns.NAMESPACE, dns.SERVICE)
        note = endpoints_note(
            f"{dns.NAMESPACE}/{dns.SERVICE}", now if self._endpoints is None else self._endpoints, now
        )
        self._endpoints = now
        self._note([note] if note else [])

    def _look_at_events(self) -> None:
        """Each living Pod's first failure with each message; what had failed before the first look is history."""
        events = [
            event
            for namespace in self._namespaces
            for event in self._cluster.events(namespace, "reason=Unhealthy")
        ]
        known, first_look = self._failing or set(), self._failing is None
        self._failing = known | {(event.involved, event.message) for event in events}
        for event in sorted(events, key=_last_seen):
            note = probe_note(event)
            fresh = not first_look and (event.involved, event.message) not in known
            if note and fresh and self._is_living(event):
                self._recorder.note(note, "kubelet", at_s=_monotonic(event.last_seen))

    def _is_living(self, event: Event) -> bool:
        """A Pod that is being deleted fails its probes by design."""
        pods = (group.get(event.involved_uid) for group in self._pods.values())
        return any(pod is not None and not pod.terminating for pod in pods)

    def _note(self, notes: Iterable[Note]) -> None:
        for note in notes:
            self._recorder.note(note, "api-server")


class XdsWatch:
    """Notes when sidecars lose xDS and when all have it again. What can't be asked says nothing."""

    def __init__(self, around: Surroundings, recorder: Recorder) -> None:
        self._around, self._recorder = around, recorder
        self._status = Status.HEALTHY

    def look(self) -> None:
        """Ask istiod once."""
        asked_s = time.monotonic()
        (finding,) = run_checks((XDS,), self._around, timeout_s=XDS_POLL_S * 2)
        if finding.status in (self._status, Status.UNKNOWN):
            return
        self._status = finding.status
        kind = Kind.XDS_RESTORED if finding.status is Status.HEALTHY else Kind.XDS_LOST
        note = Note(kind=kind, object="Service/istio-system/istiod", detail=finding.summary)
        self._recorder.note(note, "istiod", at_s=asked_s)


def sample_dns(shell: NodeShell, address: str, recorder: Recorder, stop: threading.Event) -> None:
    """Look a name up on a node each second, with a fresh socket, until told to stop. Asks no API server."""
    watch = DnsWatch(node=shell.node)
    while not stop.is_set():
        with suppress(ChaosextError), ExitStack() as stack:
            lines = stack.enter_context(shell.stream(dns.sampler_script((address,))))
            for line in lines:
                _take_sample(line, watch, recorder)
                if stop.is_set():
                    return
        stop.wait(POLL_S)


def _take_sample(line: str, watch: DnsWatch, recorder: Recorder) -> None:
    try:
        sample = dns.parse_sample(line)
    except ValueError:
        return
    moment_s = time.monotonic() - (time.time() - sample.at_s)
    found = watch.sample(moment_s, sample.answered, f"{sample.address}:53/udp {sample.outcome.value}")
    if found:
        at_s, note = found
        recorder.note(note, f"lookups on {watch.node}", at_s=at_s)


def _last_seen(event: Event) -> float:
    return event.last_seen.timestamp() if event.last_seen else 0.0


def _monotonic(moment: datetime | None) -> float:
    """A wall-clock time on this clock; Events carry whole seconds."""
    return time.monotonic() - (time.time() - moment.timestamp()) if moment else time.monotonic()
