"""The leaf's view: what is news in what it says, and what is said when it says nothing."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from watch_worlds import endpoint

from chaosext.model.errors import Unreachable
from chaosext.model.timeline import Kind
from chaosext.run.monitor import watchers
from chaosext.run.monitor.watchers import LeafWatch, read_look, script
from chaosext.timeline.leaf_events import LeafLook, LeafView
from chaosext.timeline.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chaosext.cluster.objects import Endpoint

NODES = {"172.18.0.2": "w1", "172.18.0.4": "w2"}
DNS = (endpoint("10.244.1.2", "w1", "dns-1"), endpoint("10.244.0.9", "cp", "dns-2"))


def line(*routed: str, down: str = "", asked: tuple[Endpoint, ...] = DNS) -> str:
    """What FRR says: sessions with both workers, and a route to each that was `asked` for and is in `routed`."""
    peers = {ip: {"state": "Active" if ip == down else "Established", "pfxRcd": 1} for ip in NODES}
    hop = {"active": True, "ip": "172.18.0.2"}
    black = {"active": True, "blackhole": True}
    routes = [
        {
            "10.244.0.0/16": [
                {"prefixLen": 16, "selected": True, "nexthops": [hop if each.ip in routed else black]}
            ]
        }
        for each in asked
    ]
    return "".join(json.dumps(value, indent=1).replace("\n", "") for value in ({"peers": peers}, *routes))


def look(*routed: str, down: str = "") -> LeafLook:
    return read_look(line(*routed, down=down), DNS, NODES)


def told(view: LeafView, seen: LeafLook) -> list[tuple[Kind, str, str]]:
    return [(note.kind, note.object, note.detail) for note in view.take(seen)]


def test_a_line_of_frr_s_is_read() -> None:
    assert look("10.244.1.2", down="172.18.0.4") == LeafLook(
        sessions={"w1 172.18.0.2": "", "w2 172.18.0.4": "Active"},
        routes={"dns-1 on w1 10.244.1.2": True, "dns-2 on cp 10.244.0.9": False},
    )


@pytest.mark.parametrize("said", ["", "% Can't open", line()[:-20], line() + "{}"])
def test_a_line_that_is_not_frr_s_is_an_error(said: str) -> None:
    with pytest.raises(ValueError):
        read_look(said, DNS, NODES)


def test_a_leaf_without_neighbors_is_not_asked_for_routes() -> None:
    routes = line()[len(line(asked=())) :]
    for said in ('{"peers": {}}', '{"warning": "No BGP neighbors found"}', "{}"):
        assert read_look(said + routes, DNS, NODES) == LeafLook(sessions={}, routes={})


def test_first_what_is_wrong_then_what_has_changed() -> None:
    view = LeafView("leaf")
    assert told(view, look("10.244.1.2")) == [
        (Kind.ROUTE_LOST, "Leaf/leaf → dns-2 on cp 10.244.0.9", "no route leads there")
    ]
    assert told(view, look("10.244.1.2")) == []
    assert told(view, look("10.244.1.2", "10.244.0.9", down="172.18.0.4")) == [
        (Kind.BGP_LOST, "Leaf/leaf → w2 172.18.0.4", "Active"),
        (Kind.ROUTE_RESTORED, "Leaf/leaf → dns-2 on cp 10.244.0.9", "a route leads there"),
    ]
    assert [kind for kind, *_ in told(view, look("10.244.1.2", "10.244.0.9"))] == [Kind.BGP_RESTORED]


def test_what_was_out_and_is_asked_no_more_is_known_no_more() -> None:
    view = LeafView("leaf")
    told(view, look())
    gone = LeafLook(sessions={}, routes={"dns-1 on w1 10.244.1.2": True})
    assert [(kind, name) for kind, name, _ in told(view, gone)] == [
        (Kind.ROUTE_RESTORED, "Leaf/leaf → dns-1 on w1 10.244.1.2"),
        (Kind.OBSERVATION_LOST, "Leaf/leaf → dns-2 on cp 10.244.0.9 (routes)"),
    ]


def test_silence_is_said_once_and_what_is_seen_after_it_is_seen_anew() -> None:
    view = LeafView("leaf")
    told(view, look("10.244.1.2"))
    assert [note.kind for _ in range(3) for note in view.blind("no answer")] == [Kind.OBSERVATION_LOST]
    assert [kind for kind, *_ in told(view, look("10.244.1.2"))] == [
        Kind.OBSERVATION_RESTORED,
        Kind.ROUTE_LOST,
    ]


def test_an_address_that_is_none_is_never_asked_for() -> None:
    with pytest.raises(ValueError):
        script([endpoint("10.0.0.1'; reboot #", "w", "dns")])
    assert "show ipv6 route fd00::9 json" in script([endpoint("fd00::9", "w", "dns")])


class Shell:
    """A leaf that says these lines, one script after the other; `None` is a leaf that can't be entered."""

    node = "leaf"

    def __init__(self, *answers: list[str] | None, then: Callable[[], None]) -> None:
        self.answers, self.then = list(answers), then
        self.scripts: list[str] = []

    @contextmanager
    def stream(self, text: str) -> Iterator[Iterator[str]]:
        self.scripts.append(text)
        said = self.answers.pop(0)
        if not self.answers:
            self.then()
        if said is None:
            raise Unreachable("no such container")
        yield iter(said)


def watched(*answers: list[str] | None, endpoints: Callable[[], Any] = lambda: DNS) -> tuple[Shell, Recorder]:
    recorder, stop = Recorder(), threading.Event()
    recorder.set_zero(0.0)
    shell = Shell(*answers, then=stop.set)

    class Objects(SimpleNamespace):
        dns_endpoints = property(lambda _: endpoints())

    objects: Any = Objects(node_of=NODES)
    LeafWatch(shell, objects, recorder).watch(stop)  # type: ignore[arg-type]
    return shell, recorder


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchers, "RETRY_S", 0.001)


def test_no_leaf_is_said_once_and_is_no_failure() -> None:
    _, recorder = watched(None, None, None)
    ((kind, name, source),) = [(each.kind, each.object, each.source) for each in recorder.events]
    assert (kind, name, source) == (Kind.OBSERVATION_LOST, "Leaf/leaf", "leaf")


def test_a_leaf_that_comes_back_is_heard_again() -> None:
    _, recorder = watched(None, [line("10.244.1.2", "10.244.0.9")])
    assert [each.kind for each in recorder.events] == [Kind.OBSERVATION_LOST, Kind.OBSERVATION_RESTORED]


def test_when_kube_dns_has_moved_the_leaf_is_asked_for_where_it_is_now() -> None:
    seen = [DNS[:1]]
    shell, recorder = watched([line(asked=DNS[:1])], [line()], endpoints=lambda: seen.pop(0) if seen else DNS)
    assert "10.244.0.9" not in shell.scripts[0]
    assert "10.244.0.9" in shell.scripts[1]
    assert [each.kind for each in recorder.events] == [Kind.ROUTE_LOST] * 2
