"""What happened, read from two successive states."""

from __future__ import annotations

from typing import Any

import pytest

from chaosext.cluster.objects import Endpoint, Node, Pod
from chaosext.model.timeline import Kind
from chaosext.timeline.object_events import Note, endpoints_note, gone_note, node_notes, pod_notes


def node(ready: str = "True", *taints: str, boot: str = "one") -> Node:
    return Node.from_json(
        {
            "metadata": {"name": "worker"},
            "spec": {"taints": [{"key": taint, "effect": "NoExecute"} for taint in taints]},
            "status": {"conditions": [{"type": "Ready", "status": ready}], "nodeInfo": {"bootID": boot}},
        }
    )


def pod(on: str = "", *, ready: bool = False, deleted: bool = False, waiting: str = "", why: str = "") -> Pod:
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    metadata: dict[str, Any] = {"name": "dns-1", "namespace": "kube-system", "uid": "1"}
    if deleted:
        metadata["deletionTimestamp"] = "2026-11-23T23:04:00Z"
    conditions = [{"type": "Ready", "status": str(ready)}]
    if why:
        conditions.append(
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        )
    return Pod.from_json(
        {
            "metadata": metadata,
            "spec": {"nodeName": on} if on else {},
            "status": {
                "phase": "Pending",
                "conditions": conditions,
                "containerStatuses": [{"name": "coredns", "state": state}],
            },
        }
    )


def said(notes: Any) -> list[tuple[Kind, str]]:
    return [(note.kind, note.detail) for note in notes]


@pytest.mark.parametrize("ready", ["False", "Unknown"])
def test_a_node_is_lost_and_comes_back(ready: str) -> None:
    assert said(node_notes(node(), node(ready))) == [(Kind.NODE_NOT_READY, f"Ready is {ready}")]
    assert said(node_notes(node(ready), node())) == [(Kind.NODE_READY, "Ready is True again")]


def test_a_node_with_another_boot_id_was_rebooted() -> None:
    said_of = said(node_notes(node(), node(boot="two")))
    assert said_of == [(Kind.NODE_REBOOTED, "kubelet reports another boot ID")]
    for before, after in ((node(), node()), (node(boot=""), node()), (node(), node(boot=""))):
        assert said(node_notes(before, after)) == []
    assert said(node_notes(None, node())) == []


def test_from_one_kind_of_lost_to_another_is_no_news() -> None:
    assert said(node_notes(node("False"), node("Unknown"))) == []


def test_a_taint_is_told_once() -> None:
    assert said(node_notes(node("True", "a"), node("True", "a", "b"))) == [(Kind.NODE_TAINTED, "b:NoExecute")]
    assert said(node_notes(None, node("True", "a"))) == []


def test_a_pod_is_created_bound_and_ready() -> None:
    assert said(pod_notes(None, pod(), ())) == [(Kind.POD_CREATED, "by no owner (a bare Pod)")]
    assert said(pod_notes(pod(), pod("cp"), ())) == [(Kind.POD_BOUND, "to cp")]
    assert said(pod_notes(pod("cp"), pod("cp", ready=True), ())) == [(Kind.POD_READY, "on cp")]


def test_a_pod_that_finds_no_node_is_pending_once() -> None:
    waiting = pod(why="0/3 nodes are available: 3 node(s) had untolerated taints")
    assert [note.kind for note in pod_notes(pod(), waiting, ())] == [Kind.POD_PENDING]
    assert said(pod_notes(waiting, waiting, ())) == []


def test_a_deletion_on_a_lost_node_is_an_eviction() -> None:
    before, after = pod("worker", ready=True), pod("worker", ready=True, deleted=True)
    assert said(pod_notes(before, after, {"worker"})) == [
        (Kind.POD_EVICTED, "from worker, which is not ready")
    ]
    assert said(pod_notes(before, after, set())) == [(Kind.POD_DELETED, "on worker")]
    assert said(pod_notes(after, after, {"worker"})) == []


def test_a_crash_loop_begins_once() -> None:
    looping = pod("worker", waiting="CrashLoopBackOff")
    assert said(pod_notes(pod("worker"), looping, ())) == [
        (Kind.CRASH_LOOP, "container coredns: CrashLoopBackOff")
    ]
    assert said(pod_notes(looping, looping, ())) == []


def test_a_ready_pod_that_is_not_any_more() -> None:
    assert [note.kind for note in pod_notes(pod("w", ready=True), pod("w"), ())] == [Kind.POD_NOT_READY]
    assert said(pod_notes(pod("w", ready=True), pod("w", deleted=True), ())) == [(Kind.POD_DELETED, "on w")]


def test_a_pod_that_is_gone() -> None:
    assert gone_note(pod()) == Note(
        kind=Kind.POD_GONE, object="Pod/kube-system/dns-1", detail="was on no node"
    )


def endpoint(ip: str, on: str, *, ready: bool = True) -> Endpoint:
    return Endpoint(ip=ip, node=on, pod="", ready=ready, serving=ready, terminating=False, ports=())


def test_endpoints_are_told_where_they_changed() -> None:
    was = [endpoint("10.244.1.2", "worker")]
    assert endpoints_note("kube-system/kube-dns", was, was) is None
    moved = endpoints_note("kube-system/kube-dns", was, [endpoint("10.244.0.7", "cp")])
    assert moved == Note(
        kind=Kind.ENDPOINTS_CHANGED, object="Service/kube-system/kube-dns", detail="10.244.0.7 on cp"
    )
    none = endpoints_note("kube-system/kube-dns", was, [endpoint("10.244.1.2", "worker", ready=False)])
    assert none
    assert none.detail == "no ready endpoint"
