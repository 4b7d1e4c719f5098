"""Snapshots as plain JSON: small clusters with Calico, to be changed by tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Object = dict[str, Any]

ROLE = "node-role.kubernetes.io/control-plane"
CALICO = "crd.projectcalico.org/v1"
LOST = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def node(
    name: str, number: int, *, control_plane: bool = False, reflects: bool = False, **labels: str
) -> Object:
    """Return a Ready node; `reflects`: it is a route reflector, selected by the label `route-reflector`."""
    roles = ({ROLE: ""} if control_plane else {}) | ({"route-reflector": "true"} if reflects else {})
    taints = [{"key": ROLE, "effect": "NoSchedule"}] if control_plane else []
    notes = {"projectcalico.org/RouteReflectorClusterID": "244.0.0.1"} if reflects else {}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**roles, **labels}, "annotations": notes},
        "spec": {"taints": taints},
        "status": {
            "addresses": [{"type": "InternalIP", "address": f"10.0.0.{number}"}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"},
            "nodeInfo": {"kubeletVersion": "v1.34.4"},
        },
    }


def pod(namespace: str, name: str, on: str, owner: str, seconds: int = 300, **labels: str) -> Object:
    """Return a Ready Pod of `owner` ("ReplicaSet/cart-1") that tolerates a lost node for `seconds`."""
    kind, _, owned_by = owner.partition("/")
    lost = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
        for key in LOST
    ]
    everything: list[Object] = [{"operator": "Exists"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": labels,
            "ownerReferences": [{"kind": kind, "name": owned_by, "controller": True}],
        },
        "spec": {
            "nodeName": on,
            "containers": [{"name": "main"}],
            "tolerations": everything if kind == "DaemonSet" else lost,
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def deployment(namespace: str, name: str, on: list[str], **labels: str) -> list[Object]:
    """Return a Deployment with its ReplicaSet, a Pod on each of these nodes, and its Service."""
    meta = {"namespace": namespace, "name": name}
    owner = {"kind": "Deployment", "name": name, "controller": True}
    replicas = {"replicas": len(on)}
    service = {"selector": labels, "clusterIP": f"10.96.0.{len(name)}", "ports": [{"port": 80}]}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": replicas},
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"namespace": namespace, "name": f"{name}-1", "ownerReferences": [owner]},
            "spec": replicas,
        },
        *(
            pod(namespace, f"{name}-1-{at}", each, f"ReplicaSet/{name}-1", **labels)
            for at, each in enumerate(on)
        ),
        {"apiVersion": "v1", "kind": "Service", "metadata": {**meta, "labels": labels}, "spec": service},
    ]


def calico(kind: str, name: str, **spec: Any) -> Object:
    return {"apiVersion": CALICO, "kind": kind, "metadata": {"name": name}, "spec": spec}


def cluster(nodes: list[Object], *objects: Object) -> list[Object]:
    """Return a cluster with these nodes, calico-node on each, kube-dns on worker-1 and -2, and more objects."""
    names = [each["metadata"]["name"] for each in nodes]
    dns = deployment("kube-system", "kube-dns", ["worker-1", "worker-2"], **{"k8s-app": "kube-dns"})
    for each in dns:
        if each["kind"] == "Pod":
            each["spec"]["tolerations"].append({"key": ROLE, "operator": "Exists", "effect": "NoSchedule"})
    return [
        *nodes,
        *(pod("kube-system", f"calico-node-{name}", name, "DaemonSet/calico-node") for name in names),
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"namespace": "kube-system", "name": "calico-node"},
        },
        *dns,
        *(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            for name in ("kube-system", "shop")
        ),
        calico("IPPool", "pool", cidr="10.244.0.0/16", ipipMode="Never", vxlanMode="Never"),
        *objects,
    ]


def reflected(reflectors: int = 1, *objects: Object) -> list[Object]:
    """Return a cluster whose routes come by route reflectors, which a BGPPeer selects by a label."""
    nodes = [
        node("cp-1", 1, control_plane=True),
        *(node(f"rr-{at}", 10 + at, reflects=True) for at in range(1, reflectors + 1)),
        *(node(f"worker-{at}", 20 + at, rack="ab"[at % 2]) for at in range(1, 4)),
    ]
    peer = calico("BGPPeer", "to-reflectors", nodeSelector="all()", peerSelector="route-reflector == 'true'")
    mesh = calico("BGPConfiguration", "default", nodeToNodeMeshEnabled=False)
    return cluster(nodes, peer, mesh, *objects)


def leafed(*objects: Object) -> list[Object]:
    """Return a cluster whose workers announce to a leaf, and whose control plane does not."""
    nodes = [
        node("cp-1", 1, control_plane=True),
        *(node(f"worker-{at}", 20 + at, rack="ab"[at % 2], bgp="leaf") for at in range(1, 4)),
    ]
    peer = calico("BGPPeer", "leaf", peerIP="192.0.2.1", asNumber=64512, nodeSelector="bgp == 'leaf'")
    mesh = calico("BGPConfiguration", "default", nodeToNodeMeshEnabled=False)
    return cluster(nodes, peer, mesh, *objects)


def written(objects: list[Object], path: Path) -> Path:
    """Write the objects as a List."""
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    return path
