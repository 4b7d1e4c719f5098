"""Zone states of the node lifecycle controller: whether a cut leads to evictions at all.

Source: Kubernetes pkg/controller/nodelifecycle/node_lifecycle_controller.go (`ComputeZoneState`, `setLimiterInZone`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from chaosext.cluster.objects import Node

UNHEALTHY_ZONE_THRESHOLD = 0.55
"""kube-controller-manager `--unhealthy-zone-threshold`."""

LARGE_CLUSTER_SIZE_THRESHOLD = 50
"""kube-controller-manager `--large-cluster-size-threshold`: up to it, PartialDisruption stops evictions."""

SECONDARY_NODE_EVICTION_RATE = 0.01
"""kube-controller-manager `--secondary-node-eviction-rate`, nodes per second."""


MASTER_DISRUPTION = (
    "every node of every zone lost: the controller takes the fault for its own and evicts nothing (master "
    "disruption mode), so kube-dns is expected to stay"
)
"""`handleDisruption` in the same file: with all zones in FullDisruption all evictions are stopped."""


class ZoneState(StrEnum):
    """As the controller names them."""

    NORMAL = "Normal"
    PARTIAL_DISRUPTION = "PartialDisruption"
    FULL_DISRUPTION = "FullDisruption"


def zone_state(ready: int, not_ready: int, threshold: float = UNHEALTHY_ZONE_THRESHOLD) -> ZoneState:
    """The state of a zone with so many ready and not ready nodes."""
    if not_ready > 0 and ready == 0:
        return ZoneState.FULL_DISRUPTION
    if not_ready > 2 and not_ready / (ready + not_ready) >= threshold:
        return ZoneState.PARTIAL_DISRUPTION
    return ZoneState.NORMAL


def zone_states(nodes: Iterable[Node], lost: Collection[str]) -> dict[str, ZoneState]:
    """Each zone's state (by its label, "" for none) when the nodes named in `lost` are not ready."""
    counts = Counter((node.zone, node.name in lost) for node in nodes)
    return {zone: zone_state(counts[zone, False], counts[zone, True]) for zone, _ in sorted(counts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a cut is expected to do, in lines that people read before it is made."""

    zones: dict[str, ZoneState]
    lines: tuple[str, ...]


def outlook(nodes: Collection[Node], lost: Collection[str], kube_dns_nodes: Collection[str]) -> Outlook:
    """What losing the nodes named in `lost` means for evictions, and so for kube-dns on `kube_dns_nodes`."""
    zones = zone_states(nodes, lost)
    if set(zones.values()) == {ZoneState.FULL_DISRUPTION}:
        return Outlook(zones=zones, lines=(MASTER_DISRUPTION,))
    lines = tuple(line for zone, state in zones.items() for line in _zone_lines(zone, state, nodes, lost))
    return Outlook(zones=zones, lines=(*lines, *_dns_lines(zones, nodes, lost, kube_dns_nodes)))


def _zone_lines(
    zone: str, state: ZoneState, nodes: Collection[Node], lost: Collection[str]
) -> tuple[str, ...]:
    members = [node.name for node in nodes if node.zone == zone]
    gone = [name for name in members if name in lost]
    where = f"zone {zone or '(none)'}: {len(gone)} of {len(members)} nodes lost → {state.value}"
    if not gone:
        return (f"{where}: nothing is evicted here",)
    if state is not ZoneState.PARTIAL_DISRUPTION:
        return (f"{where}: evictions go on, about one node every 10 s",)
    if len(members) > LARGE_CLUSTER_SIZE_THRESHOLD:
        return (
            f"{where}: evictions slow down to {SECONDARY_NODE_EVICTION_RATE} nodes/s, one node every 100 s",
        )
    return (
        f"{where}: evictions will stop. Nodes expire one by one, so at most the node whose lease expires first "
        "slips through before the controller declares the disruption",
    )


def _dns_lines(
    zones: dict[str, ZoneState],
    nodes: Collection[Node],
    lost: Collection[str],
    kube_dns_nodes: Collection[str],
) -> tuple[str, ...]:
    zone_of = {node.name: node.zone for node in nodes}
    stopped = sorted(
        name
        for name in set(kube_dns_nodes) & set(lost)
        if zones[zone_of[name]] is ZoneState.PARTIAL_DISRUPTION
    )
    if stopped:
        return (
            f"kube-dns on {', '.join(stopped)}: at most the Pod on the first node to expire moves, the others stay; "
            "if it moves to a node without BGP, DNS is half dead after the heal, else DNS is well",
        )
    moving = sorted(set(kube_dns_nodes) & set(lost))
    if moving:
        return (
            f"kube-dns on {', '.join(moving)}: all of it is expected to be evicted and re-created elsewhere",
        )
    return ("kube-dns runs on no node that will be lost: it is expected to stay",)
