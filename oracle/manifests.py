"""Nodes and workloads as the API takes them, for clusters without kubelets: what a scenario is written in."""

from __future__ import annotations

from typing import Any

from chaosext.rehearsal.snapshot.documents import KWOK
from chaosext.testbed.versions import KUBERNETES_VERSION

Manifest = dict[str, Any]

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
DNS_LABELS = {"k8s-app": "kube-dns"}

EVERYWHERE = [{"operator": "Exists"}]
"""Tolerations of what runs on every node whatever happens, as calico-node does."""


def node(
    name: str,
    *,
    control_plane: bool = False,
    zone: str = "",
    labels: dict[str, str] | None = None,
    taints: tuple[str, ...] = (),
    cpu: str = "8",
    pods: int = 110,
    cordoned: bool = False,
) -> Manifest:
    """A node as its kubelet registers it. `taints` read "key=value:Effect"."""
    own = {HOSTNAME: name, **(labels or {})} | ({ZONE: zone} if zone else {})
    if control_plane:
        own[CONTROL_PLANE], taints = "", (*taints, f"{CONTROL_PLANE}=:NoSchedule")
    if cordoned:
        taints = (*taints, "node.kubernetes.io/unschedulable=:NoSchedule")
    room = {"cpu": cpu, "memory": "32Gi", "pods": str(pods)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": own, "annotations": {KWOK: "fake"}},
        "spec": ({"taints": [_taint(each) for each in taints]} if taints else {})
        | ({"unschedulable": True} if cordoned else {}),
        "status": {
            "capacity": room,
            "allocatable": room,
            "nodeInfo": {"kubeletVersion": KUBERNETES_VERSION},
        },
    }


def pod_spec(
    *,
    tolerations: list[Manifest] | None = None,
    affinity: Manifest | None = None,
    cpu: str = "20m",
    host_port: int = 0,
    **more: Any,
) -> Manifest:
    """A Pod with one container; `more` are fields of its spec."""
    container: Manifest = {
        "name": "app",
        "image": "app",
        "resources": {"requests": {"cpu": cpu, "memory": "70Mi"}},
    }
    if host_port:
        container["ports"] = [{"containerPort": host_port, "hostPort": host_port}]
    spec: Manifest = {"containers": [container], **more}
    if tolerations is not None:
        spec["tolerations"] = tolerations
    if affinity is not None:
        spec["affinity"] = affinity
    return spec


def workload(
    kind: str,
    name: str,
    spec: Manifest,
    *,
    replicas: int | None = None,
    namespace: str = "shop",
    labels: dict[str, str] | None = None,
    **more: Any,
) -> Manifest:
    """A Deployment, StatefulSet or DaemonSet; `more` are fields of its spec."""
    own = labels or {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": own},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": own},
            "template": {"metadata": {"labels": own}, "spec": spec},
            **more,
        },
    }


def deployment(name: str, replicas: int, **spec: Any) -> Manifest:
    return workload("Deployment", name, pod_spec(**spec), replicas=replicas)


def stateful_set(name: str, replicas: int, **spec: Any) -> Manifest:
    return workload("StatefulSet", name, pod_spec(**spec), replicas=replicas, serviceName=name)


def daemon_set(name: str = "calico-node", namespace: str = "kube-system") -> Manifest:
    spec = pod_spec(tolerations=EVERYWHERE, hostNetwork=True)
    return workload("DaemonSet", name, spec, namespace=namespace, labels={"k8s-app": name})


def bare_pod(name: str, **spec: Any) -> Manifest:
    """A Pod that nobody makes again."""
    metadata = {"name": name, "namespace": "shop", "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(**spec)}


def budget(name: str, labels: dict[str, str], **spec: Any) -> Manifest:
    """A PodDisruptionBudget."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"matchLabels": labels}, **spec},
    }


def kube_dns(replicas: int = 2, *, affinity: Manifest | None = None, **more: Any) -> list[Manifest]:
    """coredns as kubeadm deploys it (cmd/kubeadm/app/phases/addons/dns/manifests.go): also on control-plane nodes."""
    tolerations = [
        {"key": "CriticalAddonsOnly", "operator": "Exists"},
        {"key": CONTROL_PLANE, "effect": "NoSchedule"},
    ]
    spec = pod_spec(
        tolerations=tolerations,
        affinity=affinity or {"podAntiAffinity": preferred(DNS_LABELS)},
        cpu="100m",
        priorityClassName="system-cluster-critical",
        **more,
    )
    made = workload(
        "Deployment", "coredns", spec, replicas=replicas, namespace="kube-system", labels=DNS_LABELS
    )
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": DNS_LABELS},
        "spec": {
            "clusterIP": "10.2.112.10",
            "selector": DNS_LABELS,
            "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}],
        },
    }
    return [service, made]


# -- affinities and spreads ----------------------------------------------------------------------------------


def term(labels: dict[str, str], key: str = HOSTNAME) -> Manifest:
    """A podAffinityTerm about Pods with these labels."""
    return {"labelSelector": {"matchLabels": labels}, "topologyKey": key}


def preferred(labels: dict[str, str], key: str = HOSTNAME, weight: int = 100) -> Manifest:
    """Rather (not) beside such Pods."""
    weighted = {"weight": weight, "podAffinityTerm": term(labels, key)}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [weighted]}


def required(labels: dict[str, str], key: str = HOSTNAME) -> Manifest:
    """Only (not) beside such Pods."""
    return {"requiredDuringSchedulingIgnoredDuringExecution": [term(labels, key)]}


def only_on(*expressions: Manifest) -> Manifest:
    """A node affinity that a node must meet wholly."""
    terms = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def rather_on(key: str, value: str, weight: int = 50) -> Manifest:
    """A node affinity that draws to nodes with the label."""
    preference = {"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]}
    weighted = {"weight": weight, "preference": preference}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [weighted]}}


def spread(
    labels: dict[str, str], key: str = HOSTNAME, *, hard: bool = True, skew: int = 1, **more: Any
) -> list[Manifest]:
    """Evenly over the values of a node's label; `more` are fields of the constraint."""
    return [
        {
            "maxSkew": skew,
            "topologyKey": key,
            "whenUnsatisfiable": "DoNotSchedule" if hard else "ScheduleAnyway",
            "labelSelector": {"matchLabels": labels},
            **more,
        }
    ]


def unreachable_for(seconds: int | None) -> list[Manifest]:
    """How long a Pod stays on a lost node, None for ever: instead of what admission would add."""
    stays = {} if seconds is None else {"tolerationSeconds": seconds}
    return [
        {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", **stays}
        for what in ("unreachable", "not-ready")
    ]


def _taint(text: str) -> Manifest:
    rest, _, effect = text.partition(":")
    key, _, value = rest.partition("=")
    return {"key": key, "value": value, "effect": effect}
