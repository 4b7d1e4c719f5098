"""nodes_ready and kubelets_connected: by the control plane's word, and by what kubelets themselves wrote last."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from check_worlds import node

from chaosext.checks.nodes_ready import KubeletsEvidence, gather_kubelets, judge_kubelets, judge_ready
from chaosext.checks.suite import STEADY_STATE, Surroundings, run_checks
from chaosext.cluster.objects import Node, NodeLease
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Finding, Status

NOW = datetime(2026, 11, 23, 23, 3, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def lease(seconds_ago: float | None, *, name: str = "w", duration_s: int = 40) -> NodeLease:
    return NodeLease(
        name=name, duration_s=duration_s, renewed=None if seconds_ago is None else ago(seconds_ago)
    )


def judged(lease: NodeLease | None, heartbeat_s: float | None = 60.0) -> Finding:
    one = replace(node("w"), heartbeat=None if heartbeat_s is None else ago(heartbeat_s))
    leases = {lease.name: lease} if lease else {}
    return judge_kubelets(KubeletsEvidence(nodes=(one,), leases=leases, now=NOW))


def test_the_steady_state_asks_for_nodes_and_kubelets() -> None:
    assert {"nodes_ready", "kubelets_connected"} <= set(STEADY_STATE)


@pytest.mark.parametrize("ready", ["False", "Unknown"])
def test_a_node_that_is_not_ready_is_unhealthy_and_named(ready: str) -> None:
    finding = judge_ready([node("cp"), replace(node("w"), ready=ready)])
    assert finding.status is Status.UNHEALTHY
    assert finding.summary == f"1 of 2 nodes Ready; Node/w: Ready is {ready}"


def test_nodes_that_are_ready_are_healthy_and_none_is_unknown() -> None:
    assert judge_ready([node("cp"), node("w")]).status is Status.HEALTHY
    assert judge_ready([]).status is Status.UNKNOWN


def test_a_cordoned_node_is_named() -> None:
    (row,) = judge_ready([replace(node("w"), unschedulable=True)]).evidence
    assert (row.status, row.detail) == (Status.HEALTHY, "Ready, cordoned")


@pytest.mark.parametrize(
    ("seconds_ago", "status"),
    [(0.0, Status.HEALTHY), (40.0, Status.HEALTHY), (41.0, Status.UNHEALTHY), (2340.0, Status.UNHEALTHY)],
)
def test_a_kubelet_is_judged_by_the_age_of_its_lease(seconds_ago: float, status: Status) -> None:
    assert judged(lease(seconds_ago)).status is status


def test_a_lease_that_holds_longer_may_be_older() -> None:
    assert judged(lease(80.0, duration_s=100)).status is Status.HEALTHY


def test_a_lease_from_the_future_or_without_a_time_is_unknown() -> None:
    assert judged(lease(-4.0)).status is Status.HEALTHY  # the clocks of two API servers, to the second
    assert judged(lease(-90.0)).status is Status.UNKNOWN
    assert judged(lease(None)).status is Status.UNKNOWN


def test_a_kubelet_that_renews_but_writes_no_status_is_unhealthy() -> None:
    finding = judged(lease(3.0), heartbeat_s=720.0)
    assert finding.status is Status.UNHEALTHY
    assert "has not written its node's status for 720 s" in finding.summary
    assert judged(lease(3.0), heartbeat_s=None).status is Status.HEALTHY


def test_a_node_without_a_lease_is_judged_by_its_status() -> None:
    assert judged(None, heartbeat_s=12.0).status is Status.HEALTHY
    assert judged(None, heartbeat_s=55.0).status is Status.UNHEALTHY
    assert judged(None, heartbeat_s=None).status is Status.UNKNOWN


def test_each_kubelet_is_named_and_counted() -> None:
    nodes = (replace(node("w"), heartbeat=NOW), replace(node("v"), heartbeat=NOW))
    leases = {"w": lease(4.0), "v": lease(2340.0, name="v")}
    finding = judge_kubelets(KubeletsEvidence(nodes=nodes, leases=leases, now=NOW))
    assert finding.summary == (
        "1 of 2 kubelets reach the API server; "
        "Node/v: has not renewed its Lease for 2340 s; it holds for 40 s"
    )


def fields(*path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in reversed(path):
        found = {each: found}
    return found


def test_ages_are_counted_from_what_the_api_server_dated_itself() -> None:
    """A node whose clock is 90 s ahead renews just in time; its renewTime would look like the future."""
    written = {"time": "2026-11-23T23:02:57Z", "fieldsV1": fields("f:spec", "f:renewTime")}
    others = {"time": "2026-11-23T23:02:59Z", "fieldsV1": fields("f:metadata", "f:labels")}
    obj = {
        "metadata": {"name": "w", "managedFields": [others, written]},
        "spec": {"renewTime": "2026-11-23T23:04:27.000000Z", "leaseDurationSeconds": 40},
    }
    assert NodeLease.from_json(obj).renewed == ago(3)
    assert NodeLease.from_json({**obj, "metadata": {"name": "w"}}).renewed == ago(-87)


def test_what_the_node_lifecycle_controller_writes_is_no_heartbeat() -> None:
    condition = ("f:status", "f:conditions", 'k:{"type":"Ready"}')
    kubelet = {"time": "2026-11-23T22:00:00Z", "fieldsV1": fields(*condition, "f:lastHeartbeatTime")}
    controller = {"time": "2026-11-23T23:02:59Z", "fieldsV1": fields(*condition, "f:status")}
    obj = {"metadata": {"name": "w", "managedFields": [kubelet, controller]}}
    assert Node.from_json(obj).heartbeat == ago(3780)
    by_its_own_clock = {"conditions": [{"type": "Ready", "lastHeartbeatTime": "2026-11-23T23:00:00Z"}]}
    assert Node.from_json({"metadata": {"name": "w"}, "status": by_its_own_clock}).heartbeat == ago(180)


class Asked:
    def __init__(self, now: datetime | None) -> None:
        self._now = now

    def now(self) -> datetime | None:
        return self._now

    def nodes(self) -> tuple[Node, ...]:
        return (node("w"),)

    def node_leases(self) -> tuple[NodeLease, ...]:
        return (lease(3.0),)


def test_without_the_api_servers_clock_nothing_is_known() -> None:
    with pytest.raises(Unreachable, match="no date"):
        gather_kubelets(Asked(None))  # type: ignore[arg-type]
    around = Surroundings(cluster=Asked(None), shells={})  # type: ignore[arg-type]
    (finding,) = run_checks(("kubelets_connected",), around)
    assert finding.status is Status.UNKNOWN


def test_the_checks_ask_nodes_leases_and_clock() -> None:
    around = Surroundings(cluster=Asked(NOW), shells={})  # type: ignore[arg-type]
    ready, connected = run_checks(("nodes_ready", "kubelets_connected"), around)
    assert (ready.status, connected.status) == (Status.HEALTHY, Status.HEALTHY)
    assert connected.summary == "1 of 1 kubelets reach the API server"
