"""kube-dns: kubeadm's Deployment, what the testbed changes about it, and where its Pods belong. Pure."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.rehearsal.mitigate.pod_templates import LONG_S, LOST
from chaosext.testbed.bed_choices import DnsChoice, StoryMitigation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.testbed.bed_options import BedOptions
    from chaosext.testbed.kubectl import Manifest

NAMESPACE = "kube-system"
DEPLOYMENT = "coredns"
SERVICE = "kube-dns"
SELECTOR = {"k8s-app": "kube-dns"}
TARGET = ("deployment", DEPLOYMENT, f"--namespace={NAMESPACE}")
"""kubectl's arguments for the Deployment."""
PODS = ("--selector=k8s-app=kube-dns", f"--namespace={NAMESPACE}")
"""kubectl's arguments for its Pods."""
REPLICAS = 2
"""kubeadm's default (cmd/kubeadm/app/phases/addons/dns)."""

CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"
OWN_TOLERATIONS = (
    {"key": "CriticalAddonsOnly", "operator": "Exists"},
    {"key": CONTROL_PLANE_LABEL, "operator": "Equal", "effect": "NoSchedule"},
)
"""kubeadm's (cmd/kubeadm/app/phases/addons/dns/manifests.go); a patch replaces the whole list."""


def deployment_patch(mitigations: tuple[StoryMitigation, ...]) -> dict[str, Any] | None:
    """Return a strategic merge patch of kubeadm's Deployment for the mitigations; None if there is none.

    The changes are those that `chaosext rehearse` recommends.
    """
    changes: dict[StoryMitigation, dict[str, Any]] = {
        StoryMitigation.DNS_AFFINITY: {"affinity": off_control_plane()},
        StoryMitigation.LONGER_TOLERATIONS: {"tolerations": [*OWN_TOLERATIONS, *_staying(LONG_S)]},
        StoryMitigation.SPREAD: {"topologySpreadConstraints": [_one_per_node()]},
    }
    spec: dict[str, Any] = {}
    for each in mitigations:
        spec |= changes.get(each, {})
    return {"spec": {"template": {"spec": spec}}} if spec else None


def deployment_patch_json(mitigations: tuple[StoryMitigation, ...]) -> str:
    """Return the same patch as JSON text; "" if there is nothing to patch."""
    patch = deployment_patch(mitigations)
    return json.dumps(patch) if patch else ""


def off_control_plane() -> dict[str, Any]:
    """Return an affinity that keeps Pods off control-plane nodes."""
    others = {"matchExpressions": [{"key": CONTROL_PLANE_LABEL, "operator": "DoesNotExist"}]}
    return {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [others]}}
    }


def _staying(seconds: int) -> list[dict[str, Any]]:
    return [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
        for key in LOST
    ]


def _one_per_node() -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": SELECTOR},
    }


def daemon_set(deployment: Manifest, *, everywhere: bool) -> Manifest:
    """Return kubeadm's Deployment as a DaemonSet whose Pods no taint keeps away or evicts.

    It runs on every node, or, unless `everywhere`, on all but the control-plane nodes.
    """
    template = copy.deepcopy(deployment["spec"]["template"])
    template["metadata"] = {"labels": template["metadata"]["labels"]}
    pod = template["spec"]
    pod["tolerations"] = [{"operator": "Exists"}]
    pod.pop("affinity", None)
    if not everywhere:
        pod["affinity"] = off_control_plane()
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": DEPLOYMENT, "namespace": NAMESPACE, "labels": deployment["metadata"]["labels"]},
        "spec": {"selector": deployment["spec"]["selector"], "template": template},
    }


@dataclass(frozen=True, slots=True)
class Homes:
    """Where kube-dns belongs: on `nodes`, ready on at least `wanted` of them, with `title` as a name for these."""

    nodes: frozenset[str]
    wanted: int
    title: str


def homes_of(options: BedOptions, control_planes: Sequence[str], workers: Sequence[str]) -> Homes:
    """Return where kube-dns belongs in the steady state, by the names of the nodes, in kind's order."""
    if options.dns_in_force is DnsChoice.ON_CONTROL_PLANE:
        return Homes(frozenset(sorted(control_planes)[:1]), 1, "control-plane nodes")
    if options.dns_in_force is not DnsChoice.DNS_DAEMONSET:
        return Homes(frozenset(workers), min(REPLICAS, len(workers)), "workers")
    reached = [*workers, *(control_planes if options.control_plane_is_reached else ())]
    return Homes(frozenset(reached), len(reached), "nodes" if options.control_plane_is_reached else "workers")
