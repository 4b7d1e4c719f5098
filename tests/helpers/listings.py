"""Kubernetes objects as the API lists them, and snapshot files made of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Item = dict[str, Any]

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
DNS = {"k8s-app": "kube-dns", "pod-template-hash": "66bc5c9577"}


def item(kind: str, name: str, namespace: str = "", api: str = "v1", **more: Any) -> Item:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {}) | more.pop("metadata", {})
    return {"apiVersion": api, "kind": kind, "metadata": meta, **more}


def node(name: str, *, version: str = "v1.34.4", ip: str = "", **labels: str) -> Item:
    role = {CONTROL_PLANE: ""} if name.startswith("cp") else {}
    taints = [{"key": CONTROL_PLANE, "effect": "NoSchedule"}] if role else []
    return item(
        "Node",
        name,
        metadata={"labels": {"kubernetes.io/hostname": name, **role, **labels}},
        spec={"taints": taints, "podCIDR": "10.244.0.0/24"},
        status={
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": "True"},
            ],
            "addresses": [{"type": "InternalIP", "address": ip}] if ip else [],
            "allocatable": {"cpu": "3920m", "memory": "16Gi", "pods": "110", "ephemeral-storage": "99Gi"},
            "nodeInfo": {"kubeletVersion": version},
        },
    )


def pod(
    name: str, on: str, namespace: str = "shop", owner: str = "", labels: Item | None = None, **spec: Any
) -> Item:
    kind, _, owned_by = owner.partition("/")
    owners = [{"kind": kind, "name": owned_by, "controller": True}] if owner else []
    containers = [
        {
            "name": "main",
            "image": "registry.example/secret-app:1",
            "env": [{"name": "PASSWORD", "value": "hunter2"}],
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        }
    ]
    return item(
        "Pod",
        name,
        namespace,
        metadata={"labels": labels or {"app": name}, "ownerReferences": owners},
        spec={"nodeName": on, "containers": containers, **spec},
        status={"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    )


def coredns(number: int, on: str) -> Item:
    name = f"coredns-66bc5c9577-{number:05}"
    tolerations = [{"key": CONTROL_PLANE, "effect": "NoSchedule"}]
    for what in ("not-ready", "unreachable"):
        toleration = {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute"}
        tolerations.append({**toleration, "tolerationSeconds": 300})
    return pod(name, on, "kube-system", "ReplicaSet/coredns-66bc5c9577", DNS, tolerations=tolerations)


def service(name: str, namespace: str, **selector: str) -> Item:
    return item("Service", name, namespace, spec={"selector": selector, "clusterIP": "10.96.0.10"})


KUBE_DNS = item(
    "Service",
    "kube-dns",
    "kube-system",
    spec={"selector": {"k8s-app": "kube-dns"}, "clusterIP": "10.96.0.10"},
)

CALICO_API = "crd.projectcalico.org/v1"
LEAF = item(
    "BGPPeer",
    "leaf",
    api=CALICO_API,
    spec={"peerIP": "10.0.0.254", "asNumber": 64512, "nodeSelector": f"!has({CONTROL_PLANE})"},
)
NO_MESH = item("BGPConfiguration", "default", api=CALICO_API, spec={"nodeToNodeMeshEnabled": False})
POOL = item("IPPool", "pods", api=CALICO_API, spec={"cidr": "10.244.0.0/16", "ipipMode": "Never"})
CALICO = (LEAF, NO_MESH, POOL)


def agent(on: str, name: str = "calico-node") -> Item:
    """A network's agent on a node."""
    return pod(f"{name}-{on}", on, "kube-system", f"DaemonSet/{name}", {"k8s-app": name}, hostNetwork=True)


AGENTS = tuple(agent(name) for name in ("cp-1", "worker-1", "worker-2"))

SMALL = (
    node("cp-1", ip="10.0.0.1"),
    node("worker-1", ip="10.0.0.2"),
    node("worker-2", ip="10.0.0.3"),
    coredns(1, "worker-1"),
    coredns(2, "worker-2"),
    KUBE_DNS,
    item("Namespace", "shop"),
    item("Namespace", "kube-system"),
    *AGENTS,
    *CALICO,
)
"""The story's cluster without a mesh, in Kubernetes' own timings."""


def listed(*items: Item, **more: Any) -> Item:
    return {
        "apiVersion": "v1",
        "kind": "List",
        "metadata": {"resourceVersion": ""},
        "items": list(items),
        **more,
    }


def written(path: Path, *lists: Item) -> Path:
    """A file that holds these Lists one after the other, as `kubectl get … >> FILE` leaves them."""
    path.write_text("\n".join(json.dumps(each, indent=4) for each in lists))
    return path
