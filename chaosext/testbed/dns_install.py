"""kubeadm's kube-dns, and what the testbed changes about it. Pure."""

from __future__ import annotations

import json
from typing import Any

from chaosext.testbed.options import StoryMitigation

NAMESPACE = "kube-system"
DEPLOYMENT = "coredns"
TARGET = ("deployment", DEPLOYMENT, f"--namespace={NAMESPACE}")
"""kubectl's arguments for the Deployment."""
PODS = ("--selector=k8s-app=kube-dns", f"--namespace={NAMESPACE}")
"""kubectl's arguments for its Pods."""
REPLICAS = 2
"""kubeadm's default (cmd/kubeadm/app/phases/addons/dns)."""

CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"


def deployment_patch(mitigations: tuple[StoryMitigation, ...]) -> dict[str, Any] | None:
    """Return a strategic merge patch of kubeadm's Deployment for the mitigations; None if there is none."""
    if StoryMitigation.DNS_AFFINITY not in mitigations:
        return None
    peered_only = {"matchExpressions": [{"key": CONTROL_PLANE_LABEL, "operator": "DoesNotExist"}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [peered_only]}}
    return {"spec": {"template": {"spec": {"affinity": {"nodeAffinity": required}}}}}


def deployment_patch_json(mitigations: tuple[StoryMitigation, ...]) -> str:
    """Return the same patch as JSON text; "" if there is nothing to patch."""
    patch = deployment_patch(mitigations)
    return json.dumps(patch) if patch else ""
