"""A cut that nobody can heal: it is waited for, said, and never passed for healed."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.cleanup.survey import _way_of
from chaosext.model import clock
from chaosext.model.errors import Inconclusive, Refused, Unsafe
from chaosext.nodes.shell import NodeAccess
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.reports import HealedNode, HealReport, NodeTables
from chaosext.run.fault import heal, irrevocable
from chaosext.run.fault.heal import heal_run, left_behind
from chaosext.run.fault.state import fault_of
from chaosext.run.finish import _shut
from chaosext.run.session import run_context as contexts
from chaosext.safety.intent import INTENT, outstanding

if TYPE_CHECKING:
    from pathlib import Path

CUT = Cut(
    run="r1",
    owner="a@b",
    nodes=tuple(NodeCut(node=name, uplinks=("eth0",)) for name in ("w1", "w2")),
    peers=peers_of(["203.0.113.7"]),
    ttl_s=60,
    delay_s=15,
)
POD = NodeAccess(transport="pod", context="prod", namespace="chaosext", image="i", run="r1", owner="a@b")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> contexts.RunContext:
    """A run whose cut is in force on w1 and w2 for half a second yet; w3 is not cut."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(contexts, "_current", None)
    made = contexts.start(root=tmp_path / "run")
    fault_of(made).cuts, fault_of(made).access, fault_of(made).nodes = (
        [replace(CUT, run=made.id)],
        POD,
        frozenset({"w1", "w2", "w3"}),
    )
    fault_of(made).in_force, fault_of(made).expires_at = True, clock.now().later(0.5)
    monkeypatch.setattr(irrevocable, "SETTLE_S", 0.05)
    monkeypatch.setattr(irrevocable, "POLL_S", 0.02)
    monkeypatch.setattr(irrevocable, "shells", lambda names, _way: dict.fromkeys(names))
    monkeypatch.setattr(heal, "shells", lambda names, _way: dict.fromkeys(names))
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the nodes, in turn; w2 can be entered again at the second look only."""
    calls: list[str] = []

    def inspect(on: Any) -> tuple[NodeTables, ...]:
        calls.append("inspect")
        return tuple(NodeTables(node=name, problem="no" if len(calls) < 2 else "") for name in on)

    def healed(run: str, on: Any, **_: Any) -> HealReport:
        calls.append("heal")
        nodes = tuple(HealedNode(node=name, gone=True, was_there=True) for name in on)
        return HealReport(run=run, nodes=nodes, elapsed_s=0.1)

    monkeypatch.setattr(irrevocable, "inspect", inspect)
    monkeypatch.setattr(heal, "heal", healed)
    return calls


def test_meanwhile_the_other_nodes_can_be_entered_and_afterwards_all(run: contexts.RunContext) -> None:
    assert fault_of(run).reachable == {"w3"}
    shut = fault_of(run).shut(fault_of(run).nodes)
    assert shut
    assert (shut.nodes, shut.peers) == ({"w1", "w2"}, CUT.peers)
    fault_of(run).expires_at = clock.now()
    assert (
        fault_of(run).reachable
        is fault_of(run).sealed_until
        is fault_of(run).shut(fault_of(run).nodes)
        is None
    )


def test_a_cut_that_has_not_begun_keeps_nobody_out(run: contexts.RunContext) -> None:
    fault_of(run).in_force = False
    assert fault_of(run).sealed_until is None
    assert fault_of(run).reachable is None


def test_healing_waits_for_the_ttl_and_for_the_nodes_then_reads_back(
    run: contexts.RunContext, asked: list[str]
) -> None:
    assert fault_of(run).expires_at
    report = heal_run(run)
    assert fault_of(run).expires_at.has_passed
    assert asked == ["inspect", "inspect", "heal"]
    assert report.left == ()
    assert (fault_of(run).in_force, fault_of(run).sealed_until) == (False, None)


def test_a_node_that_does_not_come_back_is_said_and_was_let_go_of(
    run: contexts.RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(irrevocable, "BACK_S", 0.1)
    monkeypatch.setattr(
        irrevocable, "inspect", lambda on: [NodeTables(node=name, problem="no") for name in on]
    )
    node = HealedNode(node="w1", gone=False, problem="no answer")
    monkeypatch.setattr(heal, "heal", lambda run, _on, **_: HealReport(run=run, nodes=(node,), elapsed_s=1))
    with pytest.raises(Inconclusive, match=r"could not be seen gone on w1 \(no answer\); its TTL is over"):
        heal_run(run)


def test_who_can_not_wait_is_told_when_it_heals_by_itself_and_nothing_is_asked(
    run: contexts.RunContext, asked: list[str]
) -> None:
    fault_of(run).expires_at = clock.now().later(42.4)
    began_s = time.monotonic()
    (said,) = left_behind(run)
    assert time.monotonic() - began_s < 0.2
    assert asked == []
    assert "on w1, w2 can't be healed early" in said
    assert f"ends by itself at {fault_of(run).expires_at.as_wall_clock():%H:%M:%S} UTC, in 42 s" in said
    assert f"chaosext cleanup --run {run.id} --transport pod --context prod" in said
    assert fault_of(run).in_force
    with pytest.raises(Unsafe):
        heal._undo(run, 1.0)


def test_a_run_at_its_end_waits_for_nobody_once_it_is_hurried(run: contexts.RunContext) -> None:
    fault_of(run).expires_at, hurried = clock.now().later(60), threading.Event()
    threading.Timer(0.1, hurried.set).start()
    began_s = time.monotonic()
    irrevocable.await_end(run, hurried=hurried)
    assert time.monotonic() - began_s < 5


def test_any_other_cut_is_not_waited_for(run: contexts.RunContext, asked: list[str]) -> None:
    fault_of(run).cuts, fault_of(run).expires_at = [replace(CUT, delay_s=0)], clock.now().later(60)
    irrevocable.await_end(run)
    assert asked == []
    assert fault_of(run).sealed_until is None
    assert fault_of(run).reachable == {"w1", "w2"}


def test_what_proved_it_without_being_measured_is_held_against_the_sentinels_of_the_nodes_that_were_cut(
    run: contexts.RunContext,
) -> None:
    assert _shut(run, {"cp", "w1", "w2", ""}) == {"w1", "w2"}
    fault_of(run).cuts = [replace(CUT, delay_s=0, nodes=(NodeCut(node="cp", uplinks=("eth0",)),))]
    assert _shut(run, {"cp", "w1", "w2"}) == {"w1", "w2"}


def test_people_are_told_before_it_is_made() -> None:
    said = " ".join(irrevocable.meaning(("w2", "w1"), 120))
    for words in ("(w1, w2)", "it can't be renewed, read back or healed", "120 s", "Ctrl-C"):
        assert words in said


# The runner itself

NODES: Any = [SimpleNamespace(name=name, internal_ips=(ip,)) for name, ip in {"w1": "192.0.2.1"}.items()]
CLUSTER: Any = SimpleNamespace(server="https://192.0.2.9:6443")


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", irrevocable.NODE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(irrevocable, "_own_address", lambda _server: "192.0.2.50")


@pytest.mark.usefixtures("outside")
def test_a_runner_elsewhere_may_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    irrevocable.require_elsewhere(CUT, NODES, CLUSTER)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv(irrevocable.NODE_VARIABLE, "w3")
    irrevocable.require_elsewhere(CUT, NODES, CLUSTER)


@pytest.mark.usefixtures("outside")
def test_a_runner_on_a_node_that_is_cut_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(irrevocable, "_own_address", lambda _server: "192.0.2.1")
    with pytest.raises(Refused, match="this runner is on w1"):
        irrevocable.require_elsewhere(CUT, NODES, CLUSTER)
    monkeypatch.setenv(irrevocable.NODE_VARIABLE, "w2")
    with pytest.raises(Refused, match=r"this runner is on w2.*schedule it on a node that is not cut"):
        irrevocable.require_elsewhere(CUT, NODES, CLUSTER)


@pytest.mark.usefixtures("outside")
def test_a_runners_pod_that_may_be_anywhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    with pytest.raises(Refused, match=r"is unknown.*spec\.nodeName"):
        irrevocable.require_elsewhere(CUT, NODES, CLUSTER)


def test_ones_own_address_is_that_of_the_way_to_the_server() -> None:
    assert irrevocable._own_address("https://127.0.0.1:6443") == "127.0.0.1"
    assert irrevocable._own_address("https://no-such-host.invalid") == ""


# What a later process knows


def intent(**more: Any) -> Any:
    entry = {
        **clock.now().to_json(),
        "event": INTENT,
        "run": "r1",
        "nodes": ["w1"],
        "ttl_s": 75.0,
        "sealed": True,
        "transport": "pod",
        "context": "prod",
        **more,
    }
    (run,) = outstanding([entry])
    return run


def test_nobody_puts_pods_on_nodes_that_are_cut_off_to_look_at_them() -> None:
    run = intent()
    assert run.is_sealed
    assert "it can't be healed earlier" in _way_of(run).closed
    assert not intent(sealed=False).is_sealed
    assert not intent(ttl_s=-1.0).is_sealed, "it may be over by now"
    assert not intent(ttl_s="?").is_sealed
    assert _way_of(intent(transport="docker")).closed == ""
