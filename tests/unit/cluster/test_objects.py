"""Values from the JSON that a real API server serves (shortened kubectl output)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from chaosext.cluster.objects import (
    BgpPeer,
    CoreV1Event,
    Deployment,
    Node,
    Pod,
    Service,
    endpoints,
    node_to_node_mesh,
)

NODE: dict[str, Any] = {
    "metadata": {
        "name": "chaosext-control-plane",
        "uid": "n-1",
        "labels": {"node-role.kubernetes.io/control-plane": "", "topology.kubernetes.io/zone": "a"},
    },
    "spec": {
        "podCIDR": "10.244.0.0/24",
        "podCIDRs": ["10.244.0.0/24", "fd00:10:244::/64"],
        "taints": [
            {"effect": "NoSchedule", "key": "node-role.kubernetes.io/control-plane"},
            {
                "effect": "NoExecute",
                "key": "node.kubernetes.io/unreachable",
                "timeAdded": "2026-01-01T00:00:20Z",
            },
        ],
        "unschedulable": True,
    },
    "status": {
        "addresses": [
            {"address": "172.18.0.3", "type": "InternalIP"},
            {"address": "fc00:f853:ccd:e793::3", "type": "InternalIP"},
            {"address": "chaosext-control-plane", "type": "Hostname"},
        ],
        "conditions": [
            {"type": "MemoryPressure", "status": "False"},
            {"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-01-01T00:00:20Z"},
        ],
    },
}


def pod_json(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "cart-7d4b9c-x2x4k",
            "namespace": "shop",
            "uid": "p-1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "cart"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "cart-7d4b9c", "controller": True}],
        },
        "spec": {
            "nodeName": "chaosext-worker",
            "containers": [{"name": "cart"}],
            "initContainers": [{"name": "istio-init"}, {"name": "istio-proxy", "restartPolicy": "Always"}],
        },
        "status": {"phase": "Running", "podIP": "10.244.1.5", "podIPs": [{"ip": "10.244.1.5"}], **status},
    }


def test_a_node_keeps_addresses_of_both_families_taints_and_zone() -> None:
    node = Node.from_json(NODE)
    assert node.internal_ips == ("172.18.0.3", "fc00:f853:ccd:e793::3")
    assert (node.is_control_plane, node.zone, node.ready, node.unschedulable) == (True, "a", "Unknown", True)
    assert node.ready_since == datetime(2026, 1, 1, 0, 0, 20, tzinfo=UTC)
    assert [(taint.key, taint.effect) for taint in node.taints][1] == (
        "node.kubernetes.io/unreachable",
        "NoExecute",
    )
    assert node.pod_cidrs == ("10.244.0.0/24", "fd00:10:244::/64")


def test_a_node_that_never_reported_is_unknown_and_a_worker() -> None:
    node = Node.from_json({"metadata": {"name": "new"}})
    assert (node.ready, node.is_control_plane, node.internal_ips) == ("Unknown", False, ())


def test_a_native_sidecar_counts_as_injected() -> None:
    assert Pod.from_json(pod_json()).injected


def test_a_pods_tcp_ports_are_those_that_its_containers_declare() -> None:
    ports = [
        {"containerPort": 53, "protocol": "UDP"},
        {"containerPort": 53, "protocol": "TCP"},
        {"containerPort": 8181},
        {"hostPort": 80},
    ]
    item = {"metadata": {"name": "dns"}, "spec": {"containers": [{"name": "dns", "ports": ports}]}}
    assert Pod.from_json(item).tcp_ports == (53, 8181)


def test_a_pod_without_the_proxy_is_not_injected() -> None:
    obj = pod_json()
    obj["spec"]["initContainers"] = []
    assert not Pod.from_json(obj).injected


def test_a_crash_looping_pod_is_running_but_says_why_it_is_not_ready() -> None:
    pod = Pod.from_json(
        pod_json(
            conditions=[
                {
                    "type": "Ready",
                    "status": "False",
                    "reason": "ContainersNotReady",
                    "message": "containers with unready status: [cart]",
                }
            ],
            containerStatuses=[
                {
                    "name": "cart",
                    "ready": False,
                    "restartCount": 7,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
                }
            ],
            initContainerStatuses=[{"name": "istio-proxy", "ready": True, "state": {"running": {}}}],
        )
    )
    assert (pod.phase, pod.ready, pod.restarts) == ("Running", False, 7)
    assert pod.waiting_reasons == {"cart": "CrashLoopBackOff"}
    assert pod.ready_detail == "cart CrashLoopBackOff"
    assert pod.owner == "ReplicaSet/cart-7d4b9c"
    assert pod.subject == "Pod/shop/cart-7d4b9c-x2x4k"


def test_an_unschedulable_pod_says_what_the_scheduler_says() -> None:
    obj = pod_json(
        phase="Pending",
        conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}],
    )
    del obj["spec"]["nodeName"]
    pod = Pod.from_json(obj)
    assert (pod.node, pod.ready_detail) == ("", "0/3 nodes are available")


def test_a_deleted_pod_is_terminating() -> None:
    obj = pod_json()
    obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:05:00Z"
    assert Pod.from_json(obj).terminating
    assert not Pod.from_json(pod_json()).terminating


def test_an_events_newest_time_is_found_whichever_field_holds_it() -> None:
    old_style = CoreV1Event.from_json(
        {
            "metadata": {"name": "cart.1", "namespace": "shop"},
            "involvedObject": {
                "kind": "Pod",
                "namespace": "shop",
                "name": "cart-abc",
                "uid": "p-1",
                "fieldPath": "spec.containers{istio-proxy}",
            },
            "reason": "Unhealthy",
            "message": "Startup probe failed: …",
            "count": 12,
            "firstTimestamp": "2026-01-01T00:00:00Z",
            "lastTimestamp": "2026-01-01T00:01:00Z",
            "source": {"component": "kubelet", "host": "chaosext-worker"},
        }
    )
    new_style = CoreV1Event.from_json(
        {
            "metadata": {"name": "cart.2"},
            "involvedObject": {"kind": "Node", "name": "chaosext-worker"},
            "eventTime": "2026-01-01T00:00:00.000001Z",
            "series": {"count": 3, "lastObservedTime": "2026-01-01T00:02:00.000001Z"},
            "reportingComponent": "kubelet",
        }
    )
    assert old_style.last_seen == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert (old_style.involved, old_style.container, old_style.count) == (
        "Pod/shop/cart-abc",
        "istio-proxy",
        12,
    )
    assert new_style.last_seen == datetime(2026, 1, 1, 0, 2, 0, 1, tzinfo=UTC)
    assert (new_style.involved, new_style.count, new_style.component) == (
        "Node/chaosext-worker",
        3,
        "kubelet",
    )


def test_absent_endpoint_conditions_mean_ready() -> None:
    found = endpoints(
        [
            {
                "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}],
                "endpoints": [
                    {"addresses": ["10.244.1.2"], "nodeName": "chaosext-worker", "conditions": {}},
                    {"addresses": ["10.244.2.2"], "conditions": {"ready": False, "terminating": True}},
                ],
            },
            {"endpoints": None},
        ]
    )
    assert [(each.ip, each.ready, each.terminating) for each in found] == [
        ("10.244.1.2", True, False),
        ("10.244.2.2", False, True),
    ]
    assert found[0].ports[0].protocol == "UDP"


def test_a_headless_service_has_no_cluster_ip() -> None:
    service = Service.from_json({"metadata": {"name": "db"}, "spec": {"clusterIP": "None"}})
    assert service.cluster_ips == ()


def test_a_rollout_is_settled_only_when_the_newest_spec_is_available_and_nothing_old_is_left() -> None:
    status = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    obj = {"metadata": {"name": "coredns", "generation": 2}, "spec": {"replicas": 2}, "status": status}
    assert Deployment.from_json(obj).settled
    for field, value in (
        ("observedGeneration", 1),
        ("replicas", 3),
        ("updatedReplicas", 1),
        ("availableReplicas", 0),
    ):
        assert not Deployment.from_json({**obj, "status": {**status, field: value}}).settled


def test_calicos_mesh_is_on_unless_the_default_configuration_says_no() -> None:
    off = {"metadata": {"name": "default"}, "spec": {"nodeToNodeMeshEnabled": False}}
    other = {"metadata": {"name": "node.x"}, "spec": {"nodeToNodeMeshEnabled": False}}
    assert node_to_node_mesh([])
    assert node_to_node_mesh([other])
    assert not node_to_node_mesh([other, off])


def test_a_bgp_peer_keeps_its_selectors() -> None:
    peer = BgpPeer.from_json(
        {"metadata": {"name": "leaf"}, "spec": {"peerIP": "172.18.0.9", "nodeSelector": "has(x)"}}
    )
    assert (peer.peer_ip, peer.node_selector, peer.peer_selector) == ("172.18.0.9", "has(x)", "")


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("uid", 3), ("namespace", None), ("labels", {"app": 1}), ("labels", ["app"]), ("name", {"a": "b"})],
)
def test_a_pod_is_rejected_when_a_field_has_another_type(field: str, wrong: object) -> None:
    value = pod_json()
    value["metadata"][field] = wrong
    with pytest.raises(ValueError, match=rf"\$\.{field}"):
        Pod.from_json(value)
