"""What a user says about the network, where a cluster cannot tell: the nodes that a fabric hears, and hold times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.model.duration_text import short_duration
from chaosext.model.errors import Refused
from chaosext.rehearsal.snapshot.cut_targets import selected
from chaosext.rehearsal.snapshot.world import Network, Plugin

if TYPE_CHECKING:
    from chaosext.rehearsal.snapshot.world import World

ALL = "all"

LONGEST_HOLD_S, SHORTEST_HOLD_S = 65_535.0, 3.0
"""Bounds of a BGP hold time, in seconds (RFC 4271, section 4.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidNetwork:
    """`fabric_hears`: the nodes whose Pods every node reaches, in the cut and after it: names, a label selector, or
    "all"; "" if that is not said. `hold_s`: hold time of BGP sessions between nodes, None if it is not said.
    """

    fabric_hears: str = ""
    hold_s: float | None = None


def declared(world: World, said: SaidNetwork, field: str) -> World:
    """Return the world with what was said about its network. Raises `Refused`, naming `field`, if it does not fit."""
    network = world.network
    if said.hold_s is not None:
        if not SHORTEST_HOLD_S <= said.hold_s <= LONGEST_HOLD_S:
            raise Refused(
                f"the hold time {short_duration(said.hold_s)} is not one of BGP's",
                f"write {SHORTEST_HOLD_S:g}s to {LONGEST_HOLD_S:g}s",
            )
        network = replace(network, hold_s=said.hold_s)
    if said.fabric_hears:
        everybody = frozenset(node.name for node in world.nodes)
        hears = said.fabric_hears.strip()
        reached = everybody if hears == ALL else selected(world, hears, field)
        network = Network(
            plugin=Plugin.DECLARED,
            reached=reached,
            hold_s=network.hold_s,
            nodelocal_dns=network.nodelocal_dns,
        )
    return replace(world, network=network)
