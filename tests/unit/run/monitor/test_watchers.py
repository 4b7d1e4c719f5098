"""Watching: what is noted, and that nothing ends the watch."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.cluster.client import Expired
from chaosext.cluster.objects import ZONE_LABEL
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Finding, Status, not_applicable
from chaosext.model.result import Lane
from chaosext.model.timeline import Kind
from chaosext.run.monitor import watchers
from chaosext.run.monitor.watchers import ObjectWatch, Watching, XdsWatch
from chaosext.timeline.outages import outages
from chaosext.timeline.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Object = dict[str, Any]


def node(name: str, ready: str = "True", zone: str = "") -> Object:
    return {
        "metadata": {"name": name, "uid": name, "labels": {ZONE_LABEL: zone}},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def pod(name: str, on: str, *, deleted: bool = False) -> Object:
    metadata = {"name": name, "namespace": "kube-system", "uid": name}
    if deleted:
        metadata["deletionTimestamp"] = "2026-11-23T23:04:00Z"
    return {"metadata": metadata, "spec": {"nodeName": on}, "status": {"phase": "Running"}}


def endpoint_slice(ip: str, *, ready: bool = True, serving: bool = True) -> Object:
    conditions = {"ready": ready, "serving": serving}
    endpoints = [{"addresses": [ip], "nodeName": "w", "conditions": conditions}]
    return {"metadata": {"name": "kube-dns", "uid": "kube-dns"}, "endpoints": endpoints}


def failure(message: str, *, seen: str = "", times: int = 1) -> Object:
    """A failed probe, just `seen` unless it is said when."""
    return {
        "reason": "Unhealthy",
        "message": message,
        "type": "Warning",
        "count": times,
        "lastTimestamp": seen or datetime.now(UTC).isoformat(),
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "cart", "uid": "cart"},
        "metadata": {"name": "e", "uid": message},
    }


class World:
    """A cluster as it is at one moment; the tests change it between two looks.

    Its history expires at once, so that each watch of it lists, tells what has changed, and ends with `stop`.
    """

    context = "kind-nowhere"

    def __init__(self) -> None:
        self.nodes: list[Object] = [node("cp"), node("w", zone="b"), node("v", zone="c")]
        self.pods: list[Object] = []
        self.endpointslices: list[Object] = [endpoint_slice("10.244.1.2")]
        self.events: list[Object] = []
        self.leases: list[Object] = []
        self.stop = threading.Event()

    def items(self, kind: str, *, namespace: str | None = None, **_: Any) -> Iterator[Object]:
        """The Pods of this world are all kube-dns'."""
        there = () if (kind, namespace) == ("pods", "shop") else getattr(self, kind)
        return (
            {**each, "metadata": {**each["metadata"], "resourceVersion": json.dumps(each)}} for each in there
        )

    def pages(self, kind: str, *, namespace: str | None = None, **_: Any) -> Iterator[Object]:
        yield {"items": list(self.items(kind, namespace=namespace)), "metadata": {"resourceVersion": "1"}}

    def open_stream(self, path: str, *_: Any, **__: Any) -> Any:
        self.stop.set()
        raise Expired(path)

    def service(self, *_: Any) -> Any:
        raise Unreachable("no answer")


@pytest.fixture
def recorder() -> Recorder:
    made = Recorder()
    made.set_zero(time.monotonic())
    return made


class Looking:
    """What the threads do, one after the other, until each has seen the world as it is."""

    def __init__(self, world: Any, recorder: Recorder, objects: ObjectWatch | None = None) -> None:
        self._world, self._recorder = world, recorder
        self._followings = list((objects or ObjectWatch(("shop",))).followings)

    def look(self) -> None:
        for following in self._followings:
            self._world.stop.clear()
            following.follow(self._world, self._recorder, self._world.stop)


def begin(world: World, recorder: Recorder) -> Looking:
    looking = Looking(world, recorder)
    looking.look()
    return looking


def said(recorder: Recorder) -> list[tuple[Kind, str]]:
    return [(event.kind, event.object) for event in recorder.events]


def test_the_first_look_is_no_news(recorder: Recorder) -> None:
    world = World()
    world.nodes[1] = node("w", "Unknown", zone="b")
    world.pods, world.events = [pod("cart", "w")], [failure("connection refused")]
    looking = begin(world, recorder)
    world.events = [failure("connection refused", times=2)]
    looking.look()
    assert said(recorder) == []


def test_only_the_zone_that_changed_is_told(recorder: Recorder) -> None:
    world = World()
    looking = begin(world, recorder)
    world.nodes[1] = node("w", "Unknown", zone="b")
    looking.look()
    looking.look()
    assert said(recorder) == [(Kind.NODE_NOT_READY, "Node/w"), (Kind.ZONE_STATE, "Zone/b")]


def test_a_node_that_is_gone_counts_for_no_zone(recorder: Recorder) -> None:
    world = World()
    world.nodes += [node("x", zone="b")]
    looking = begin(world, recorder)
    world.nodes[1] = node("w", "Unknown", zone="b")
    looking.look()
    assert said(recorder) == [(Kind.NODE_NOT_READY, "Node/w")]
    world.nodes.pop()
    looking.look()
    assert said(recorder)[1:] == [(Kind.NODE_DELETED, "Node/x"), (Kind.ZONE_STATE, "Zone/b")]


def test_a_node_that_was_deleted_is_told_of_and_is_not_ready_until_it_is_back(recorder: Recorder) -> None:
    world, objects = World(), ObjectWatch(("shop",))
    looking = Looking(world, recorder, objects)
    looking.look()
    gone = world.nodes.pop(1)
    looking.look()
    assert said(recorder)[0] == (Kind.NODE_DELETED, "Node/w")
    assert objects.ready == {"cp": True, "v": True, "w": False}
    windows = outages(recorder.events)[Lane.NODE_READY]["Node/w"]
    assert windows[-1][1] is None
    world.nodes.append({**gone, "metadata": {**gone["metadata"], "uid": "another"}})
    looking.look()
    assert said(recorder)[-2:] == [(Kind.NODE_READY, "Node/w"), (Kind.ZONE_STATE, "Zone/b")]
    assert objects.ready == {"cp": True, "v": True, "w": True}
    assert outages(recorder.events)[Lane.NODE_READY]["Node/w"][-1][1] is not None


def test_a_node_that_comes_back_not_ready_stays_out(recorder: Recorder) -> None:
    world, objects = World(), ObjectWatch(("shop",))
    looking = Looking(world, recorder, objects)
    looking.look()
    gone = world.nodes.pop(1)
    looking.look()
    world.nodes.append(node("w", "False", zone="b") | {"metadata": {**gone["metadata"], "uid": "another"}})
    looking.look()
    assert outages(recorder.events)[Lane.NODE_READY]["Node/w"][-1][1] is None
    assert not objects.ready["w"]


def test_an_eviction_is_told_from_a_deletion(recorder: Recorder) -> None:
    world = World()
    world.pods = [pod("dns-1", "w"), pod("dns-2", "v")]
    looking = begin(world, recorder)
    world.nodes[1] = node("w", "Unknown", zone="b")
    world.pods = [pod("dns-1", "w", deleted=True), pod("dns-2", "v", deleted=True)]
    looking.look()
    world.pods = []
    looking.look()
    assert said(recorder)[2:] == [
        (Kind.POD_EVICTED, "Pod/kube-system/dns-1"),
        (Kind.POD_DELETED, "Pod/kube-system/dns-2"),
        (Kind.POD_GONE, "Pod/kube-system/dns-1"),
        (Kind.POD_GONE, "Pod/kube-system/dns-2"),
    ]


def test_whoever_leaves_is_told_before_whoever_replaces_him(recorder: Recorder) -> None:
    world = World()
    world.pods = [pod("dns-1", "w"), pod("dns-2", "w")]
    looking = begin(world, recorder)
    world.pods = [pod("dns-0", "cp"), pod("dns-2", "w", deleted=True)]
    looking.look()
    assert said(recorder) == [
        (Kind.POD_GONE, "Pod/kube-system/dns-1"),
        (Kind.POD_DELETED, "Pod/kube-system/dns-2"),
        (Kind.POD_CREATED, "Pod/kube-system/dns-0"),
        (Kind.POD_BOUND, "Pod/kube-system/dns-0"),
    ]


def test_endpoints_that_went_and_came_back_are_told_twice(recorder: Recorder) -> None:
    world = World()
    looking = begin(world, recorder)
    world.endpointslices = []
    looking.look()
    world.endpointslices = [endpoint_slice("10.244.2.9")]
    looking.look()
    assert [event.detail for event in recorder.events] == ["no ready endpoint", "10.244.2.9 on w"]


def test_endpoints_are_told_only_when_another_set_is_ready(recorder: Recorder) -> None:
    world = World()
    world.endpointslices = [endpoint_slice("10.244.1.2", ready=False)]
    looking = begin(world, recorder)
    world.endpointslices = [endpoint_slice("10.244.1.2", ready=False, serving=False)]
    looking.look()
    assert said(recorder) == []


def test_a_probe_failure_is_told_once_a_message(recorder: Recorder) -> None:
    world = World()
    world.pods = [pod("cart", "w")]
    looking = begin(world, recorder)
    world.events = [failure("connection refused")]
    looking.look()
    world.events = [failure("connection refused", times=2), failure("timed out")]
    looking.look()
    assert [event.detail for event in recorder.events] == ["connection refused", "timed out"]


@pytest.mark.parametrize(("ago_s", "told_s"), [(0.2, 0.0), (60.0, -59.0)])
def test_a_late_event_is_dated_when_it_happened(recorder: Recorder, ago_s: float, told_s: float) -> None:
    world = World()
    world.pods = [pod("cart", "w")]
    looking = begin(world, recorder)
    seen = datetime.fromtimestamp(time.time() - ago_s, tz=UTC)
    world.events = [failure("connection refused", seen=seen.isoformat())]
    looking.look()
    assert recorder.events[0].t_s == pytest.approx(told_s, abs=0.5)


def test_a_pod_on_its_way_out_fails_its_probes_unheard(recorder: Recorder) -> None:
    world = World()
    world.pods = [pod("cart", "w", deleted=True)]
    looking = begin(world, recorder)
    world.events = [failure("connection refused")]
    looking.look()
    assert said(recorder) == []


def test_a_judged_kube_system_is_watched_once_and_whole() -> None:
    watched = list(ObjectWatch(("kube-system",)).followings)
    assert [(each.namespace, each.labels) for each in watched if each.kind == "pods"] == [
        ("kube-system", None)
    ]


def test_no_namespace_named_means_all_of_them_and_kube_system_once() -> None:
    watched = [(each.kind, each.namespace) for each in ObjectWatch(()).followings]
    assert watched == [
        ("nodes", None),
        ("pods", None),
        ("endpointslices", "kube-system"),
        ("events", None),
    ]


def test_what_is_behind_kube_dns_and_whose_sidecars_can_be_asked_is_known(recorder: Recorder) -> None:
    world, objects = World(), ObjectWatch(())
    meshed = {"containers": [{"name": "istio-proxy"}]}
    there = pod("there", "w")
    there["spec"] |= meshed
    leaving = pod("leaving", "w", deleted=True)
    leaving["spec"] |= meshed
    for each in (there, leaving):
        each["status"]["podIP"] = "10.244.1.9"
    world.pods = [there, leaving, pod("unmeshed", "w")]
    assert not objects.has_begun
    for following in objects.followings:
        world.stop.clear()
        following.follow(world, recorder, world.stop)  # type: ignore[arg-type]
    assert objects.has_begun
    assert [each.ip for each in objects.dns_endpoints] == ["10.244.1.2"]
    assert [each.name for each in objects.meshed] == ["there"]
    assert [each.name for each in objects.pods] == ["there", "unmeshed"]
    world.nodes[1] = node("w", "Unknown", zone="b")
    objects.take_node({"type": "MODIFIED", "object": world.nodes[1]}, recorder)
    assert [each.name for each in objects.meshed] == ["there", "leaving"]
    assert [each.name for each in objects.pods] == ["there", "leaving", "unmeshed"]


def test_xds_is_told_when_it_changes_and_silence_is_no_change(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [
        Status(word) for word in ("healthy", "unhealthy", "unknown", "unhealthy", "healthy", "healthy")
    ]

    def run_checks(*_: Any, **__: Any) -> tuple[Finding, ...]:
        return (Finding(check="xds_synced", status=answers.pop(0), summary="…"),)

    monkeypatch.setattr(watchers, "run_checks", run_checks)
    nothing: Any = None
    looking = XdsWatch(nothing, recorder)
    while answers:
        looking.look()
    assert [event.kind for event in recorder.events] == [Kind.XDS_LOST, Kind.XDS_RESTORED]


def test_without_a_mesh_istiod_is_asked_once(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run_checks(*names: Any, **_: Any) -> tuple[Finding, ...]:
        asked.append(names)
        return (not_applicable("xds_synced", "no mesh"),)

    monkeypatch.setattr(watchers, "run_checks", run_checks)
    nothing: Any = None
    looking = XdsWatch(nothing, recorder)
    for _ in range(3):
        looking.look()
    assert (len(asked), recorder.events) == (1, ())


def wait_for(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not true() and time.monotonic() < deadline_s:
        time.sleep(0.001)


class Lively(World):
    """A world that answers on and on."""

    def __init__(self) -> None:
        super().__init__()
        self.listed = 0

    def open_stream(self, path: str, *_: Any, **__: Any) -> Any:
        time.sleep(0.001)
        self.listed += path == "/api/v1/nodes"
        raise Expired(path)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchers, "POLL_S", 0.001)
    nothing = (Finding(check="x", status=Status.UNKNOWN, summary=""),)
    monkeypatch.setattr(watchers, "run_checks", lambda *_, **__: nothing)


def around(world: World) -> Any:
    return SimpleNamespace(cluster=world, namespaces=("shop",), shells={}, leaf=None, entry=None)


@pytest.mark.usefixtures("hasty")
def test_a_silent_api_server_does_not_end_the_watch(recorder: Recorder) -> None:
    class Silent(Lively):
        silences = 3

        def items(self, kind: str, **query: Any) -> Iterator[Object]:
            if kind == "nodes" and self.silences:
                self.silences -= 1
                raise Unreachable("no answer")
            return super().items(kind, **query)

    world = Silent()
    with Watching(around(world), recorder):
        wait_for(lambda: world.listed > 0)
        world.nodes = [node("w", "Unknown", zone="b")]
        wait_for(lambda: len(recorder.events) >= 3)
    assert world.silences == 0
    assert (Kind.NODE_NOT_READY, "Node/w") in said(recorder)


@pytest.mark.usefixtures("hasty")
def test_a_watch_that_breaks_says_so_once_and_goes_on_where_it_was(recorder: Recorder) -> None:
    world = Lively()
    with Watching(around(world), recorder):
        wait_for(lambda: world.listed > 0)
        nameless = [{"metadata": {"uid": uid}} for uid in ("cp", "v")]
        world.nodes = [*nameless, node("w", "Unknown", zone="b")]
        wait_for(lambda: len(recorder.events) >= 3)
    assert said(recorder) == [
        (Kind.OBSERVATION_LOST, "Watch/nodes"),
        (Kind.NODE_NOT_READY, "Node/w"),
        (Kind.ZONE_STATE, "Zone/b"),
    ]


@pytest.mark.usefixtures("hasty")
def test_threads_that_hang_hold_nobody_up(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    class Hanging(Lively):
        def open_stream(self, path: str, *_: Any, **__: Any) -> Any:
            self.listed += 1
            released.wait(30)
            raise Expired(path)

    monkeypatch.setattr(watchers, "PARTING_S", 0.1)
    world, before = Hanging(), set(threading.enumerate())
    with Watching(around(world), recorder):
        wait_for(lambda: world.listed > 0)
        left_s = time.monotonic()
    assert time.monotonic() - left_s < 5
    hanging = set(threading.enumerate()) - before
    released.set()
    assert hanging
    assert all(thread.daemon for thread in hanging)
