"""Snapshots in the shape of real installations, as `kubectl get -A` lists them, with the names of their agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from listings import CONTROL_PLANE, Item, item, node, pod

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EVERYTHING = [{"operator": "Exists"}]
HEADS = ("cp-1", "cp-2", "cp-3")
WORKERS = ("w-1", "w-2", "w-3")


def machines(
    names: Sequence[str],
    version: str = "v1.33.4",
    notes: Item | None = None,
    provider: str = "",
    **labels: str,
) -> tuple[Item, ...]:
    """Nodes; those whose name begins with "cp" have the control plane's role and taint."""
    known = {key.replace("__", "/"): value for key, value in labels.items()}
    made = [
        node(name, version=version, ip=f"10.0.{at // 250}.{at % 250 + 1}", **known)
        for at, name in enumerate(names)
    ]
    for each in made:
        each["metadata"]["annotations"] = dict(notes or {})
        if provider:
            each["spec"]["providerID"] = f"{provider}:///{each['metadata']['name']}"
    return tuple(made)


def untainted(nodes: Iterable[Item], *labels: str) -> tuple[Item, ...]:
    """The nodes with these labels too, and without taints."""
    return tuple(
        {
            **each,
            "metadata": {
                **each["metadata"],
                "labels": {**each["metadata"]["labels"], **dict.fromkeys(labels, "")},
            },
            "spec": {**each["spec"], "taints": []},
        }
        for each in nodes
    )


def daemons(
    name: str, on: Iterable[str], namespace: str = "kube-system", *args: str, **labels: str
) -> tuple[Item, ...]:
    """A DaemonSet and its Pods."""
    own = {key.replace("__", "/"): value for key, value in labels.items()} or {"k8s-app": name}
    container = {"name": name, "args": list(args)} if args else {"name": name}
    made = (
        pod(
            f"{name}-{at}",
            at,
            namespace,
            f"DaemonSet/{name}",
            own,
            hostNetwork=True,
            tolerations=EVERYTHING,
            containers=[container],
        )
        for at in on
    )
    return (item("DaemonSet", name, namespace, "apps/v1"), *made)


def static(heads: Iterable[str], *flags: str) -> tuple[Item, ...]:
    """kubeadm's static Pods, with the flags that it sets itself."""
    made = [
        pod(
            f"{program}-{head}", head, "kube-system", f"Node/{head}", {"component": program}, hostNetwork=True
        )
        for head in heads
        for program in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
    ]
    for each in made:
        name = each["metadata"]["labels"]["component"]
        own = flags if name == "kube-controller-manager" else ()
        each["spec"]["containers"] = [{"name": name, "command": [name, *own]}]
    return tuple(made)


def dns(
    on: Sequence[str],
    namespace: str = "kube-system",
    name: str = "coredns",
    service: str = "kube-dns",
    **labels: str,
) -> tuple[Item, ...]:
    """CoreDNS as a Deployment that tolerates the control plane's taint."""
    own = labels or {"k8s-app": "kube-dns"}
    lost = [
        {
            "key": f"node.kubernetes.io/{what}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 300,
        }
        for what in ("not-ready", "unreachable")
    ]
    tolerations = [{"key": CONTROL_PLANE, "operator": "Exists", "effect": "NoSchedule"}, *lost]
    replica_set = f"{name}-7db6d8ff4d"
    pods = (
        pod(f"{replica_set}-{at}", each, namespace, f"ReplicaSet/{replica_set}", own, tolerations=tolerations)
        for at, each in enumerate(on)
    )
    owner: Any = {"ownerReferences": [{"kind": "Deployment", "name": name, "controller": True}]}
    return (
        item(
            "Service",
            service,
            namespace,
            spec={"selector": own, "clusterIP": "10.96.0.10", "ports": [{"port": 53}]},
        ),
        item("Deployment", name, namespace, "apps/v1", spec={"replicas": len(on)}),
        item("ReplicaSet", replica_set, namespace, "apps/v1", spec={"replicas": len(on)}, metadata=owner),
        *pods,
    )


def apps(on: Sequence[str]) -> tuple[Item, ...]:
    """A web shop: a Deployment with a Pod on each node, and the usual empty kinds."""
    lost = [
        {
            "key": f"node.kubernetes.io/{what}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": 300,
        }
        for what in ("not-ready", "unreachable")
    ]
    return (
        *(item("Namespace", name) for name in ("default", "kube-system", "shop")),
        item("Deployment", "web", "shop", "apps/v1", spec={"replicas": len(on)}),
        item("ReplicaSet", "web-5f", "shop", "apps/v1", spec={"replicas": len(on)}),
        *(
            pod(f"web-5f-{at}", each, "shop", "ReplicaSet/web-5f", {"app": "web"}, tolerations=lost)
            for at, each in enumerate(on)
        ),
    )
