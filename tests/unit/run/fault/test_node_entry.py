"""The way in by Pods: where they are put, what is said of nodes that can't be entered, and that none is left."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.cluster.client import NotFound
from chaosext.cluster.daemonset import RUN
from chaosext.cluster.objects import Node
from chaosext.experiment.settings import Settings, settings_from
from chaosext.model.errors import Refused, Unreachable
from chaosext.nodes import pod_shell
from chaosext.nodes.pod_shell import ENTERED
from chaosext.nodes.shell import BY_DOCKER, NodeAccess, ShellResult
from chaosext.run.agents import node_pods
from chaosext.run.agents.node_pods import leave, remove, way_back
from chaosext.run.fault import node_entry
from chaosext.run.fault.node_entry import way_into
from chaosext.run.session import run_context as contexts
from chaosext.safety.audit_log import audit_log
from chaosext.safety.intent import intent_log, placed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNNING = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}
UNPULLED = {
    "phase": "Pending",
    "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}],
}
STARTING = {"phase": "Pending"}
CONTEXT = {"KUBERNETES_CONTEXT": "kind-a"}


def node(name: str, *, ready: bool = True, os: str = "linux") -> Node:
    role = {"node-role.kubernetes.io/control-plane": ""} if name.startswith("cp") else {}
    conditions = [{"type": "Ready", "status": str(ready)}]
    labels = {"kubernetes.io/os": os, **role}
    return Node.from_json(
        {"metadata": {"name": name, "labels": labels}, "status": {"conditions": conditions}}
    )


@dataclass
class Entered:
    """A script that has been taken, and ends as the test says."""

    ended: ShellResult

    def send(self, text: str) -> None:
        assert text

    def line(self) -> str:
        return ENTERED

    def result(self) -> ShellResult:
        return self.ended

    def close(self) -> None: ...

    def __enter__(self) -> Entered:
        return self

    def __exit__(self, *_: object) -> None: ...


@dataclass
class Api:
    """Pods kept in memory. `do`: node -> the status of its Pod (default: it runs); `prove`: what the proof comes to.

    `silent`: how many requests are not answered yet. `unaudited`: the audit log takes nothing.
    """

    are: list[Node]
    do: dict[str, dict[str, Any]] = field(default_factory=dict)
    prove: dict[str, ShellResult] = field(default_factory=dict)
    silent: int = 0
    unaudited: bool = False
    context: str = "kind-a"
    request_timeout_s: float = 1.0
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def nodes(self) -> tuple[Node, ...]:
        return tuple(self.are)

    def ippools(self) -> None:
        raise NotFound("no Calico here")

    def pages(self, kind: str, *, namespace: str, labelSelector: str, timeout_s: float | None = None) -> Any:
        self._answer()
        assert (kind, namespace) == ("pods", "chaosext")
        wanted = dict(pair.split("=") for pair in labelSelector.split(","))
        yield {
            "items": [
                each for each in self.pods.values() if wanted.items() <= each["metadata"]["labels"].items()
            ]
        }

    def request(self, method: str, path: str, *, body: Any = None, timeout_s: float | None = None) -> Any:
        self._answer()
        if method == "POST":
            assert placed(intent_log().entries()), "made before it was written down"
            assert self.unaudited or audited()[-1][0] == "placing_pods", "made before it is in the audit log"
            on = body["spec"]["nodeName"]
            self.made.append(on)
            self.pods[body["metadata"]["name"]] = {**body, "status": self.do.get(on, RUNNING)}
        elif method == "DELETE":
            self.pods.pop(path.rpartition("/")[2], None)
        return body

    def open_exec(self, _: str, name: str, *__: Any, **___: Any) -> Entered:
        on = self.pods[name]["spec"]["nodeName"]
        return Entered(self.prove.get(on, ShellResult(0, "", "")))

    def _answer(self) -> None:
        if self.silent:
            self.silent -= 1
            raise Unreachable("API server did not answer")

    @property
    def on(self) -> list[str]:
        return sorted(each["spec"]["nodeName"] for each in self.pods.values())


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Api]:
    made = Api([node("cp1"), node("cp2"), node("w1"), node("win", os="windows")])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(node_pods, "connect_to_act", lambda _: made)
    monkeypatch.setattr(node_pods, "POLL_S", 0.001)
    start_within(0.05, monkeypatch)
    yield made
    leave(0.1)
    pod_shell._clusters.clear()


def start_within(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    told = vars(Settings)["way"].fget
    monkeypatch.setattr(Settings, "way", property(lambda self: replace(told(self), start_s=seconds)))


def audited() -> list[tuple[str, list[str]]]:
    entries = audit_log().verified().entries
    return [(str(each.says["event"]), each.says.get("nodes", [])) for each in entries]


def settings(transport: str = "pod") -> Settings:
    return settings_from({"chaosext_transport": transport, "chaosext_node_image": "img:1"}, CONTEXT)


def back(**way: Any) -> tuple[NodeAccess, tuple[str, ...]]:
    return way_back(
        NodeAccess(transport="pod", context="kind-a", namespace="chaosext", image="img:1", **way), ("w1",)
    )


def left() -> list[str]:
    """What a cleanup would look for."""
    return [each.run for each in placed(intent_log().entries())]


def test_there_is_a_pod_on_every_linux_node_until_one_leaves(api: Api) -> None:
    way = way_into(settings())
    assert api.on == ["cp1", "cp2", "w1"]
    assert {each["metadata"]["labels"][RUN] for each in api.pods.values()} == {way.run}
    assert left() == [way.run]
    assert leave() == ()
    assert (api.on, left()) == ([], [])


def test_on_which_nodes_there_were_pods_is_in_the_audit_log(api: Api) -> None:
    back()
    way_into(settings())
    leave()
    assert audited() == [
        ("placing_pods", ["cp1", "cp2", "w1"]),
        ("pods_removed", []),
    ]


def test_who_can_not_write_it_down_may_clean_up_but_not_act(api: Api) -> None:
    api.unaudited = True
    audit_log().path.mkdir(parents=True)
    with pytest.raises(Refused, match="audit log"):
        way_into(settings())
    assert (api.made, left()) == ([], [])
    assert back()[1] == ("cp1", "cp2", "w1")


def test_it_is_opened_once(api: Api) -> None:
    assert way_into(settings()) == way_into(settings())
    assert sorted(api.made) == ["cp1", "cp2", "w1"]


def test_other_transports_ask_nobody(api: Api) -> None:
    assert replace(way_into(settings("docker")), start_s=BY_DOCKER.start_s) == BY_DOCKER
    assert (api.made, left()) == ([], [])


def test_a_context_that_is_not_pinned_is_refused_before_anything_is_made(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Settings) -> None:
        raise Refused("context kind-a is not pinned", "pin it")

    monkeypatch.setattr(node_pods, "connect_to_act", refuse)
    with pytest.raises(Refused, match="is not pinned"):
        way_into(settings())
    assert (api.made, left()) == ([], [])


def test_a_node_that_has_no_image_is_named_with_its_fix_and_no_pod_is_left(api: Api) -> None:
    api.do["w1"] = UNPULLED
    with pytest.raises(Refused, match="does not start on w1: ErrImagePull") as refused:
        way_into(settings())
    assert "chaosext_node_image" in refused.value.fix
    assert (api.on, left()) == ([], [])


def test_who_only_looks_is_let_into_the_other_nodes(api: Api) -> None:
    api.do["w1"] = UNPULLED
    assert way_into(settings(), strictly=False).run == contexts.run_id()
    assert api.on == ["cp1", "cp2", "w1"]


def test_what_hinders_one_is_still_known_to_who_acts_later(api: Api) -> None:
    api.do["w1"] = UNPULLED
    way_into(settings(), strictly=False)
    with pytest.raises(Refused, match="w1: ErrImagePull"):
        way_into(settings())
    assert api.on == []


def test_a_node_that_is_not_ready_is_not_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    start_within(60, monkeypatch)
    api.are[2] = node("w1", ready=False)
    api.do["w1"] = STARTING
    began_s = time.monotonic()
    with pytest.raises(Refused, match="w1: the node is not Ready"):
        way_into(settings())
    assert time.monotonic() - began_s < 5


def test_a_pod_that_does_not_start_in_time_is_no_way_in(api: Api) -> None:
    api.do["cp2"] = STARTING
    with pytest.raises(Refused, match="cp2: its Pod is Pending"):
        way_into(settings())
    assert api.on == []


def test_a_pod_that_may_not_ask_the_kernel_is_no_way_in(api: Api) -> None:
    api.prove["cp1"] = ShellResult(1, "", "warning\nOperation not permitted\n")
    with pytest.raises(Refused, match="cp1: its Pod does not work there: Operation not permitted"):
        way_into(settings())
    assert api.on == []


def test_an_api_server_that_fails_meanwhile_leaves_no_pod(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = pod_shell.make

    def fail_on_w1(way: NodeAccess, name: str) -> None:
        if name == "w1":
            raise Unreachable("API server did not answer")
        made(way, name)

    monkeypatch.setattr(pod_shell, "make", fail_on_w1)
    with pytest.raises(Unreachable):
        way_into(settings())
    assert (api.on, left()) == ([], [])


def test_a_cleanup_enters_control_plane_nodes_and_those_that_are_named(api: Api) -> None:
    api.are.append(node("w2"))
    assert back()[1] == ("cp1", "cp2", "w1")
    assert api.on == ["cp1", "cp2", "w1"]


def test_a_run_after_its_cleanup_enters_the_rest_as_well(api: Api) -> None:
    api.are.append(node("w2"))
    run = back()[0].run
    assert way_into(settings()).run == run
    assert api.on == ["cp1", "cp2", "w1", "w2"]
    assert len(api.made) == len(set(api.made))


def test_a_cleanup_names_a_lost_node(api: Api) -> None:
    api.are[1] = node("cp2", ready=False)
    api.do["cp2"] = STARTING
    assert back()[1] == ("cp1", "cp2", "w1")


def test_through_a_cut_only_its_own_nodes_are_entered(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert way_into(settings()).only is None
    monkeypatch.setattr(node_entry, "reachable", lambda: frozenset({"cp1", "cp2"}))
    assert way_into(settings()).only == frozenset({"cp1", "cp2"})


def test_leaving_is_tried_again_where_the_api_server_was_silent(api: Api) -> None:
    way = way_into(settings())
    api.silent = 3
    assert leave(5) == ()
    assert (api.on, left()) == ([], [])
    assert way.run


def test_leaving_is_bounded_and_says_what_stays(api: Api) -> None:
    run = way_into(settings()).run
    api.silent = 10**9
    began_s = time.monotonic()
    (said,) = leave(0.05)
    assert time.monotonic() - began_s < 1
    assert said == f"Pods of run {run} may be left in namespace chaosext: `chaosext cleanup` removes them"
    assert left() == [run]
    api.silent = 0
    assert remove(api, "chaosext", run, within_s=1)  # type: ignore[arg-type]


def test_who_is_hurried_deletes_them_and_waits_for_nothing(api: Api) -> None:
    way_into(settings())
    hurried = threading.Event()
    hurried.set()
    assert len(leave(60, hurried=hurried)) == 1
    assert api.on == []
