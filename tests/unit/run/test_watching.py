"""Looking again and again: what is noted, and that nothing ends the watch."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from chaosext.cluster.objects import ZONE_LABEL, Endpoint, Event, Node, Pod
from chaosext.model.errors import Unreachable
from chaosext.model.finding import Finding, Status
from chaosext.model.timeline import Kind
from chaosext.observe.recorder import Recorder
from chaosext.run import watching
from chaosext.run.watching import ObjectWatch, Watching, XdsWatch


def node(name: str, ready: str = "True", zone: str = "") -> Node:
    return Node.from_json(
        {
            "metadata": {"name": name, "labels": {ZONE_LABEL: zone}},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }
    )


def pod(name: str, on: str, *, deleted: bool = False) -> Pod:
    metadata = {"name": name, "namespace": "kube-system", "uid": name}
    if deleted:
        metadata["deletionTimestamp"] = "2026-11-23T23:04:00Z"
    return Pod.from_json({"metadata": metadata, "spec": {"nodeName": on}, "status": {"phase": "Running"}})


def endpoint(ip: str) -> Endpoint:
    return Endpoint(ip=ip, node="w", pod="", ready=True, serving=True, terminating=False, ports=())


def failure(message: str) -> Event:
    return Event.from_json(
        {
            "reason": "Unhealthy",
            "message": message,
            "type": "Warning",
            "lastTimestamp": "2026-11-23T23:04:00Z",
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "cart", "uid": "cart"},
            "metadata": {"name": "e"},
        }
    )


class World:
    """A cluster as it is at one moment; the tests change it between two looks."""

    context = "kind-nowhere"

    def __init__(self) -> None:
        self.nodes_now: list[Node] = [node("cp"), node("w", zone="b"), node("v", zone="c")]
        self.pods_now: list[Pod] = []
        self.endpoints_now: list[Endpoint] = [endpoint("10.244.1.2")]
        self.events_now: list[Event] = []

    def nodes(self) -> tuple[Node, ...]:
        return tuple(self.nodes_now)

    def pods(self, namespace: str, *_: Any) -> tuple[Pod, ...]:
        return tuple(self.pods_now) if namespace == "kube-system" else ()

    def endpoint_slices(self, *_: Any) -> tuple[Endpoint, ...]:
        return tuple(self.endpoints_now)

    def events(self, *_: Any) -> tuple[Event, ...]:
        return tuple(self.events_now)


@pytest.fixture
def recorder() -> Recorder:
    made = Recorder()
    made.set_zero(time.monotonic())
    return made


def watch(world: World, recorder: Recorder) -> ObjectWatch:
    around: Any = SimpleNamespace(cluster=world, namespaces=("shop",))
    return ObjectWatch(around, recorder)


def said(recorder: Recorder) -> list[tuple[Kind, str]]:
    return [(event.kind, event.object) for event in recorder.events]


def test_the_first_look_is_no_news(recorder: Recorder) -> None:
    world = World()
    world.pods_now, world.events_now = [pod("dns-1", "w")], [failure("connection refused")]
    looking = watch(world, recorder)
    looking.look()
    looking.look()
    assert said(recorder) == []


def test_only_the_zone_that_changed_is_told(recorder: Recorder) -> None:
    world = World()
    looking = watch(world, recorder)
    looking.look()
    world.nodes_now[1] = node("w", "Unknown", zone="b")
    looking.look()
    looking.look()
    assert said(recorder) == [(Kind.NODE_NOT_READY, "Node/w"), (Kind.ZONE_STATE, "Zone/b")]


def test_an_eviction_is_told_from_a_deletion(recorder: Recorder) -> None:
    world = World()
    world.pods_now = [pod("dns-1", "w"), pod("dns-2", "v")]
    looking = watch(world, recorder)
    looking.look()
    world.nodes_now[1] = node("w", "Unknown", zone="b")
    world.pods_now = [pod("dns-1", "w", deleted=True), pod("dns-2", "v", deleted=True)]
    looking.look()
    world.pods_now = []
    looking.look()
    assert said(recorder)[2:] == [
        (Kind.POD_EVICTED, "Pod/kube-system/dns-1"),
        (Kind.POD_DELETED, "Pod/kube-system/dns-2"),
        (Kind.POD_GONE, "Pod/kube-system/dns-1"),
        (Kind.POD_GONE, "Pod/kube-system/dns-2"),
    ]


def test_endpoints_that_went_and_came_back_are_told_twice(recorder: Recorder) -> None:
    world = World()
    looking = watch(world, recorder)
    looking.look()
    world.endpoints_now = []
    looking.look()
    world.endpoints_now = [endpoint("10.244.2.9")]
    looking.look()
    assert [event.detail for event in recorder.events] == ["no ready endpoint", "10.244.2.9 on w"]


def test_a_probe_failure_is_told_once_a_message(recorder: Recorder) -> None:
    world = World()
    world.pods_now = [pod("cart", "w")]
    looking = watch(world, recorder)
    looking.look()
    world.events_now = [failure("connection refused")]
    looking.look()
    world.events_now = [failure("connection refused"), failure("timed out")]
    looking.look()
    assert [event.detail for event in recorder.events] == ["connection refused", "timed out"]


def test_a_pod_on_its_way_out_fails_its_probes_unheard(recorder: Recorder) -> None:
    world = World()
    world.pods_now = [pod("cart", "w", deleted=True)]
    looking = watch(world, recorder)
    looking.look()
    world.events_now = [failure("connection refused")]
    looking.look()
    assert said(recorder) == []


def test_xds_is_told_when_it_changes_and_silence_is_no_change(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [
        Status(word) for word in ("healthy", "unhealthy", "unknown", "unhealthy", "healthy", "healthy")
    ]

    def run_checks(*_: Any, **__: Any) -> tuple[Finding, ...]:
        return (Finding(check="xds_synced", status=answers.pop(0), summary="…"),)

    monkeypatch.setattr(watching, "run_checks", run_checks)
    around: Any = None
    looking = XdsWatch(around, recorder)
    while answers:
        looking.look()
    assert [event.kind for event in recorder.events] == [Kind.XDS_LOST, Kind.XDS_RESTORED]


def test_a_silent_api_server_does_not_end_the_watch(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = threading.Semaphore(0)

    class Silent(World):
        def nodes(self) -> tuple[Node, ...]:
            looks.release()
            raise Unreachable("no answer")

        def service(self, *_: Any) -> Any:
            raise Unreachable("no answer")

    monkeypatch.setattr(watching, "POLL_S", 0.001)
    monkeypatch.setattr(
        watching, "run_checks", lambda *_, **__: (Finding(check="x", status=Status.UNKNOWN, summary=""),)
    )
    around: Any = SimpleNamespace(cluster=Silent(), namespaces=(), shells={})
    with Watching(around, recorder):
        assert all(looks.acquire(timeout=10) for _ in range(3))
    assert said(recorder) == []
