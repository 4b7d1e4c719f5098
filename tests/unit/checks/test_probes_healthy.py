"""probes_healthy: Running is not enough, and refused is not timed out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from check_worlds import NOW, ago, pod, waiting
from hypothesis import given
from hypothesis import strategies as st

from chaosext.checks.probes_healthy import (
    ProbeFailure,
    ProbesEvidence,
    WorkloadAvailability,
    cause_of,
    gather,
    judge,
    read_failure,
)
from chaosext.cluster.objects import CoreV1Event, Deployment
from chaosext.model.findings import Status

STARTUP_REFUSED = (
    'Startup probe failed: Get "http://10.244.1.5:15021/healthz/ready": '
    "dial tcp 10.244.1.5:15021: connect: connection refused"
)


def failure(uid: str, age_s: float, **changes: Any) -> ProbeFailure:
    values: dict[str, Any] = {
        "pod_uid": uid,
        "container": "istio-proxy",
        "probe": "Startup",
        "cause": "refused",
        "count": 1,
        "last_seen": ago(age_s),
    }
    return ProbeFailure(**{**values, **changes})


def evidence(
    *pods: Any,
    failures: tuple[ProbeFailure, ...] = (),
    window_s: float = 10,
    workloads: tuple[WorkloadAvailability, ...] = (),
) -> ProbesEvidence:
    return ProbesEvidence(pods=pods, failures=failures, now=NOW, window_s=window_s, workloads=workloads)


def catalog(available: int, wanted: int = 4) -> WorkloadAvailability:
    return WorkloadAvailability(subject="Deployment/shop/catalog", wanted=wanted, available=available)


def event(message: str, involved: str = "Pod/shop/cart") -> CoreV1Event:
    return CoreV1Event(
        namespace="shop",
        name="e",
        involved=involved,
        involved_uid="cart",
        container="istio-proxy",
        type="Warning",
        reason="Unhealthy",
        message=message,
        count=12,
        first_seen=ago(60),
        last_seen=ago(1),
        component="kubelet",
        host="worker",
    )


def test_ready_pods_without_failures_are_healthy() -> None:
    finding = judge(evidence(pod("a"), pod("b")))
    assert (finding.status, finding.summary) == (
        Status.HEALTHY,
        "2 of 2 Pods Ready, no probe failure in 10 s",
    )


def test_pods_that_were_never_created_again_are_missed() -> None:
    finding = judge(evidence(pod("a"), pod("b"), workloads=(catalog(2),)))
    assert finding.status is Status.UNHEALTHY
    assert finding.summary == "2 of 2 Pods well; Deployment/shop/catalog: 2 of 4 available"


def test_a_workload_without_any_pod_is_missed() -> None:
    assert judge(evidence(workloads=(catalog(0),))).status is Status.UNHEALTHY


@pytest.mark.parametrize("workload", [catalog(4), catalog(5), catalog(0, wanted=0)])
def test_as_many_as_wanted_are_enough(workload: WorkloadAvailability) -> None:
    finding = judge(evidence(pod("a"), workloads=(workload,)))
    assert (finding.status, len(finding.evidence)) == (Status.HEALTHY, 1)


def test_deployments_and_stateful_sets_are_asked_for() -> None:
    def listed(name: str, available: int) -> Any:
        spec, status = {"replicas": 4}, {"availableReplicas": available}
        each = Deployment.from_json(
            {"metadata": {"name": name, "namespace": "shop"}, "spec": spec, "status": status}
        )
        return lambda namespace: (each,) if namespace == "shop" else ()

    cluster: Any = SimpleNamespace(
        pods=lambda _: (pod("a"),),
        events=lambda *_: (),
        deployments=listed("catalog", 2),
        stateful_sets=listed("db", 1),
    )
    finding = judge(gather(cluster, namespaces=("shop",)))
    assert {(row.subject, row.detail) for row in finding.evidence[1:]} == {
        ("Deployment/shop/catalog", "2 of 4 available"),
        ("StatefulSet/shop/db", "1 of 4 available"),
    }


def test_no_pod_is_unknown() -> None:
    assert judge(evidence()).status is Status.UNKNOWN


def test_a_refused_startup_probe_is_named_with_its_count() -> None:
    failures = (failure("cart", 1, count=7), failure("cart", 2, count=5))
    finding = judge(evidence(pod("cart"), failures=failures))
    assert finding.status is Status.UNHEALTHY
    assert "Pod/shop/cart: Startup probe refused ×12 (istio-proxy)" in finding.summary


def test_a_failure_outside_the_window_is_history() -> None:
    old = (failure("cart", 11),)
    assert judge(evidence(pod("cart"), failures=old)).status is Status.HEALTHY
    assert judge(evidence(pod("cart"), failures=old, window_s=12)).status is Status.UNHEALTHY


def test_a_failure_without_a_time_counts() -> None:
    undated = (failure("cart", 0, last_seen=None),)
    assert judge(evidence(pod("cart"), failures=undated)).status is Status.UNHEALTHY


def test_a_failure_of_a_pod_that_is_gone_does_not_count() -> None:
    assert judge(evidence(pod("a"), failures=(failure("gone", 1),))).status is Status.HEALTHY


def test_a_running_pod_in_crash_loop_is_unhealthy() -> None:
    looping = pod("cart", containers=(waiting("app", "CrashLoopBackOff"),))
    finding = judge(evidence(looping))
    assert finding.status is Status.UNHEALTHY
    assert "app in CrashLoopBackOff" in finding.summary


def test_a_pending_pod_is_unhealthy() -> None:
    pending = pod("cart", phase="Pending", ready=False, ready_detail="0/3 nodes are available")
    finding = judge(evidence(pending))
    assert finding.status is Status.UNHEALTHY
    assert "not Ready (Pending): 0/3 nodes are available" in finding.summary


@pytest.mark.parametrize(
    "changes",
    [
        {"deletion": NOW},
        {"phase": "Succeeded"},
        {"phase": "Failed", "owner": "ReplicaSet/rs", "reason": "Evicted"},
    ],
)
def test_leaving_finished_and_replaced_pods_are_named_and_do_not_count(changes: dict[str, Any]) -> None:
    finding = judge(evidence(pod("a"), pod("b", ready=False, **changes)))
    assert finding.status is Status.HEALTHY
    assert finding.evidence[1].detail.endswith("not counted")
    assert judge(evidence(pod("b", ready=False, **changes))).status is Status.UNKNOWN


def test_a_failed_pod_that_nobody_replaces_is_unhealthy() -> None:
    assert judge(evidence(pod("a", phase="Failed", ready=False, owner=""))).status is Status.UNHEALTHY


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ('Get "http://10.0.0.1:15021/": dial tcp 10.0.0.1:15021: connect: connection refused', "refused"),
        ('Get "http://10.0.0.1/": context deadline exceeded (Client.Timeout exceeded)', "timed out"),
        ("dial tcp 10.0.0.1:80: i/o timeout", "timed out"),
        ("HTTP probe failed with statuscode: 503", "HTTP 503"),
        ("dial tcp 10.0.0.1:80: connect: no route to host", "no route"),
        ("read: connection reset by peer", "reset"),
        ('service unhealthy (responded with "NOT_SERVING")', "gRPC NOT_SERVING"),
        ("cat: can't open\n'/tmp/healthy'", "cat: can't open '/tmp/healthy'"),
        ("", "no reason given"),
    ],
)
def test_the_cause_is_said_in_a_word(said: str, cause: str) -> None:
    assert cause_of(said) == cause


def test_an_event_is_read_as_a_probe_failure() -> None:
    found = read_failure(event(STARTUP_REFUSED))
    assert found is not None
    assert (found.probe, found.cause, found.count, found.container) == (
        "Startup",
        "refused",
        12,
        "istio-proxy",
    )


def test_other_events_are_no_probe_failures() -> None:
    assert read_failure(event("Readiness gates are fine")) is None
    assert read_failure(event(STARTUP_REFUSED, involved="Node/worker")) is None


@pytest.mark.parametrize(
    "message", ["HTTP probe failed with statuscode: 503", "command timed out", "connection refused"]
)
@pytest.mark.parametrize("probe", ["Readiness", "Liveness", "Startup"])
def test_every_probe_kind_is_read(probe: str, message: str) -> None:
    found = read_failure(event(f"{probe} probe failed: {message}"))
    assert found is not None
    assert found.probe == probe


@given(st.booleans(), st.booleans(), st.floats(0, 100), st.booleans())
def test_healthy_needs_ready_no_loop_and_no_recent_failure(
    ready: bool, loops: bool, age_s: float, failed: bool
) -> None:
    containers = (waiting("app", "CrashLoopBackOff"),) if loops else ()
    failures = (failure("a", age_s),) if failed else ()
    status = judge(evidence(pod("a", ready=ready, containers=containers), failures=failures)).status
    well = ready and not loops and not (failed and age_s <= 10)
    assert status is (Status.HEALTHY if well else Status.UNHEALTHY)
