"""Zone states of the node lifecycle controller, which decide whether a cut leads to evictions at all.

Source: Kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go (`ComputeZoneState`).
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from chaosext.cluster.objects import Node

UNHEALTHY_ZONE_THRESHOLD = 0.55
"""kube-controller-manager `--unhealthy-zone-threshold`."""


class ZoneState(StrEnum):
    """A zone's state, with the controller's names."""

    NORMAL = "Normal"
    PARTIAL_DISRUPTION = "PartialDisruption"
    FULL_DISRUPTION = "FullDisruption"


def zone_state(ready: int, not_ready: int, threshold: float = UNHEALTHY_ZONE_THRESHOLD) -> ZoneState:
    """Return the state of a zone with these numbers of ready and not-ready nodes."""
    if not_ready > 0 and ready == 0:
        return ZoneState.FULL_DISRUPTION
    if not_ready > 2 and not_ready / (ready + not_ready) >= threshold:
        return ZoneState.PARTIAL_DISRUPTION
    return ZoneState.NORMAL


def zone_states(nodes: Iterable[Node], lost: Collection[str]) -> dict[str, ZoneState]:
    """Return each zone's state (by its label, "" for none) if the nodes named in `lost` are not ready."""
    counts = Counter((node.zone, node.name in lost) for node in nodes)
    return {zone: zone_state(counts[zone, False], counts[zone, True]) for zone, _ in sorted(counts)}
