"""kube-dns: where its Pods stand, and the mitigation that keeps them off nodes without BGP. Pure."""

from __future__ import annotations

import json
from typing import Any

from chaosext.testbed.config import Mitigation

NAMESPACE = "kube-system"
DEPLOYMENT = "coredns"
TARGET = ("deployment", DEPLOYMENT, f"--namespace={NAMESPACE}")
"""kubectl's words for the Deployment."""
PODS = ("--selector=k8s-app=kube-dns", f"--namespace={NAMESPACE}")
"""kubectl's words for its Pods."""
REPLICAS = 2
"""kubeadm's number (cmd/kubeadm/app/phases/addons/dns)."""

CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"


def deployment_patch(mitigations: tuple[Mitigation, ...]) -> dict[str, Any] | None:
    """A strategic merge patch of kubeadm's Deployment for the mitigations, None when it stays as it is."""
    if Mitigation.DNS_AFFINITY not in mitigations:
        return None
    peered_only = {"matchExpressions": [{"key": CONTROL_PLANE_LABEL, "operator": "DoesNotExist"}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [peered_only]}}
    return {"spec": {"template": {"spec": {"affinity": {"nodeAffinity": required}}}}}


def deployment_patch_json(mitigations: tuple[Mitigation, ...]) -> str:
    """The same as JSON text, "" when there is nothing to patch."""
    patch = deployment_patch(mitigations)
    return json.dumps(patch) if patch else ""
