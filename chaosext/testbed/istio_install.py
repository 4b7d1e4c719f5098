"""istiod from Istio's own charts, with values that fit stock Envoy and two CPU cores."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from chaosext.testbed.bed_choices import Sidecars
from chaosext.testbed.commands import run_command

DNS_PROXYING = {"ISTIO_META_DNS_CAPTURE": "true", "ISTIO_META_DNS_AUTO_ALLOCATE": "true"}
"""Sidecars answer lookups of Services, and forward others (istio.io, "DNS Proxying")."""

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.testbed.kubectl import Manifest

NAMESPACE = "istio-system"
OUTLAST_A_LOST_NODE = [
    {"key": f"node.kubernetes.io/{condition}", "operator": "Exists", "effect": "NoExecute"}
    for condition in ("not-ready", "unreachable")
]
"""istiod stays on its node during a cut, so that injection works as soon as the network is back."""
RENDER_TIMEOUT_S = 60


def base_values() -> dict[str, Any]:
    """Return the values of chart `base`: custom resource definitions and the default revision."""
    return {"global": {"istioNamespace": NAMESPACE}}


def istiod_values(*, hub: str, tag: str, sidecars: Sidecars, captures_dns: bool = False) -> dict[str, Any]:
    """Return the values of chart `istio-control/istio-discovery`; with `captures_dns`, sidecars answer lookups.

    ALPN and metadata-exchange filters and telemetry need Istio's own Envoy build; stock Envoy rejects them.
    """
    return {
        "autoscaleEnabled": False,
        "replicaCount": 1,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "tolerations": OUTLAST_A_LOST_NODE,
        "telemetry": {"enabled": False},
        "env": {
            "ENABLE_NATIVE_SIDECARS": _flag(sidecars is Sidecars.NATIVE),
            "ENABLE_HBONE": "false",
            "PILOT_ENABLE_ALPN_FILTER": "false",
            "PILOT_ENABLE_METADATA_EXCHANGE": "false",
        },
        "meshConfig": {
            "enablePrometheusMerge": False,
            "defaultProviders": {"metrics": []},
            "defaultConfig": {"concurrency": 1, **({"proxyMetadata": DNS_PROXYING} if captures_dns else {})},
        },
        "global": {
            "istioNamespace": NAMESPACE,
            "hub": hub,
            "tag": tag,
            "imagePullPolicy": "IfNotPresent",
            "proxy": {
                "holdApplicationUntilProxyStarts": True,
                "resources": {
                    "requests": {"cpu": "10m", "memory": "64Mi"},
                    "limits": {"cpu": "2", "memory": "512Mi"},
                },
            },
        },
    }


def overlay(manifests: list[Manifest]) -> list[Manifest]:
    """Change chart `istio-discovery`'s manifests where it has no value for that. Pure.

    Service istiod publishes addresses that are not ready: while its node is lost, calls of its webhook then
    time out (10 s) instead of being refused at once. If they were refused, the shop's ReplicaSets would retry
    dozens of times and back off for up to 1000 s after the network is back (client-go,
    workqueue.DefaultTypedControllerRateLimiter).

    Deployment istiod has a readiness probe every second instead of every three, because `up` waits for it.
    """
    changed = copy.deepcopy(manifests)
    for each in changed:
        if (each["kind"], each["metadata"]["name"]) == ("Service", "istiod"):
            each["spec"]["publishNotReadyAddresses"] = True
        elif each["kind"] == "Deployment":
            for container in each["spec"]["template"]["spec"]["containers"]:
                container["readinessProbe"]["periodSeconds"] = 1
    return changed


def render(helm: Path, chart: Path, *, release: str, values: dict[str, Any]) -> str:
    """Return the chart's manifests as YAML text. Raises `CommandFailed`."""
    argv: list[str | Path] = [helm, "template", release, chart, "--namespace", NAMESPACE, "--values", "-"]
    return run_command(argv, timeout_s=RENDER_TIMEOUT_S, input=json.dumps(values)).stdout


def _flag(on: bool) -> str:
    return "true" if on else "false"
