"""How much of kube-dns has the control plane moved, read from two lists."""

from __future__ import annotations

from typing import Any

import pytest

from chaosext.cluster.objects import Node, Pod
from chaosext.model.errors import Unreachable
from chaosext.run.monitor import wait_steady
from chaosext.run.monitor.wait_steady import Moved, movement, wait_for_movement
from chaosext.run.rollback.kube_dns import misplaced, settled

NO_NODE = "0/3 nodes are available: 3 node(s) had untolerated taints"


def node(name: str, ready: str = "True") -> Node:
    return Node.from_json(
        {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}
    )


def pod(name: str, on: str, *, ready: bool = True, deleted: bool = False, why: str = "") -> Pod:
    metadata = {"name": name, "namespace": "kube-system", "uid": name}
    conditions = [{"type": "Ready", "status": str(ready)}]
    if why:
        conditions.append(
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        )
    return Pod.from_json(
        {
            "metadata": metadata | ({"deletionTimestamp": "2026-11-23T23:04:00Z"} if deleted else {}),
            "spec": {"nodeName": on} if on else {},
            "status": {"phase": "Running" if on else "Pending", "conditions": conditions},
        }
    )


LOST = (node("cp"), node("w1", "Unknown"), node("w2", "Unknown"))
OLD_1, OLD_2 = pod("old-1", "w1", deleted=True), pod("old-2", "w2", deleted=True)


@pytest.mark.parametrize(
    ("pods", "moved", "is_settled"),
    [
        pytest.param((pod("old-1", "w1"), pod("old-2", "w2")), Moved.NONE, False, id="nothing yet"),
        pytest.param((OLD_1, pod("new-1", "cp"), pod("old-2", "w2")), Moved.SOME, False, id="one slipped through"),
        pytest.param((OLD_1, OLD_2, pod("new-1", "cp"), pod("new-2", "cp")), Moved.ALL, True, id="the story"),
        pytest.param(
            (OLD_1, OLD_2, pod("new-1", "cp"), pod("new-2", "cp", ready=False)), Moved.ALL, False, id="on its way"
        ),
        pytest.param(
            (OLD_1, OLD_2, pod("new-1", "", ready=False, why=NO_NODE), pod("new-2", "", ready=False, why=NO_NODE)),
            Moved.ALL, True, id="nowhere to go: that is an end as well",
        ),
        pytest.param((), Moved.NONE, False, id="no Pods at all"),
    ],
)  # fmt: skip
def test_movement(pods: tuple[Pod, ...], moved: Moved, is_settled: bool) -> None:
    found = movement(pods, LOST)
    assert (found.moved, found.settled) == (moved, is_settled)


def test_a_deletion_on_a_ready_node_is_no_move() -> None:
    assert movement((OLD_1, pod("new-1", "cp")), (node("cp"), node("w1"))).moved is Moved.NONE


class SlowCluster:
    """A cluster whose API server answers after `silent` questions."""

    def __init__(self, silent: int, *pods: Pod) -> None:
        self.silent, self._pods = silent, pods

    def pods(self, *_: Any) -> tuple[Pod, ...]:
        self.silent -= 1
        if self.silent >= 0:
            raise Unreachable("no answer")
        return self._pods

    def nodes(self) -> tuple[Node, ...]:
        return LOST


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait_steady, "POLL_S", 0.001)


def test_waiting_bridges_a_silent_api_server() -> None:
    cluster: Any = SlowCluster(3, OLD_1, pod("new-1", "cp"))
    seen, _ = wait_for_movement(cluster, 30)
    assert (seen.moved, seen.placement) == (Moved.ALL, ("new-1 on cp",))


def test_waiting_ends_in_time_and_says_what_it_saw() -> None:
    cluster: Any = SlowCluster(0, pod("old-1", "w1"))
    seen, waited_s = wait_for_movement(cluster, 0.02)
    assert seen.moved is Moved.NONE
    assert waited_s < 5


def test_a_server_that_never_answers_is_said_to_be_unreachable() -> None:
    cluster: Any = SlowCluster(10**9)
    with pytest.raises(Unreachable):
        wait_for_movement(cluster, 0.02)


def test_what_is_on_nodes_without_a_peer_is_misplaced() -> None:
    pods = (pod("a", "w1"), pod("b", "cp"), pod("c", ""), pod("d", "cp", deleted=True))
    assert [each.name for each in misplaced(pods, {"w1", "w2"})] == ["b", "c"]


def test_kube_dns_is_settled_when_nothing_is_on_its_way() -> None:
    two = (pod("a", "w1"), pod("b", "w2"))
    assert settled(two, 2)
    assert not settled(two, 3)
    assert not settled((*two, pod("c", "cp", deleted=True)), 2)
    assert not settled((two[0], pod("b", "w2", ready=False)), 2)
