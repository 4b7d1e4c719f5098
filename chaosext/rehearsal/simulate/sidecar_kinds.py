"""Istio: which Pods have a sidecar of which kind, and the timings of injection and configuration.

Source: Istio manifests/charts/istio-control/istio-discovery/files/injection-template.yaml and
templates/mutatingwebhook.yaml (timeout 10 s, failurePolicy Fail); Kubernetes' client-go
util/workqueue/default_rate_limiters.go (5 ms, doubling, to 1000 s). All times are in seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from chaosext.cluster.objects import PROXY_CONTAINER

if TYPE_CHECKING:
    from chaosext.rehearsal.snapshot.world import PodSpec

WEBHOOK_TIMEOUT_S = 10.0

RETRY_FIRST_S, RETRY_MAX_S = 0.005, 1000.0

CONNECTION_DIES_WITHIN_S = (5.0, 45.0)
"""Delay from the cut until a sidecar cut off from istiod has lost its stream (gRPC keepalive: 30 s and 10 s)."""

CONFIGURED_WITHIN_S = (1.0, 12.0)
"""Delay from working DNS and a ready istiod to a sidecar's configuration: Envoy backs off before it retries."""

LOSS_SEEN_WITHIN_S = (0.0, 15.0)
"""Delay from a loss of xDS to its detection.

A query to an istiod on a cut node takes 10 s to fail, and is repeated 5 s later.
"""

SYNCED_WITHIN_S = (0.5, 10.0)
"""Delay from all sidecars being in sync to its detection."""


class SidecarKind(StrEnum):
    """How a Pod's sidecar relates to its application container."""

    NONE = "none"
    CLASSIC = "classic"
    HOLDING = "classic, holding the application back"
    NATIVE = "native"


def sidecar(spec: PodSpec) -> SidecarKind:
    """Return the kind of a template's sidecar, from its container istio-proxy."""
    proxy = next((each for each in spec.containers if each.name == PROXY_CONTAINER), None)
    if proxy is None:
        return SidecarKind.NONE
    if proxy.init:
        return SidecarKind.NATIVE
    return SidecarKind.HOLDING if proxy.post_start else SidecarKind.CLASSIC


def retry_after_s(failures: int) -> float:
    """Return a controller's back-off after this many consecutive failures, in seconds."""
    return min(RETRY_MAX_S, RETRY_FIRST_S * 2.0 ** min(failures, 30))
