"""The model of the network that routes a world's Pods."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chaosext.rehearsal.network.calico_routes import CalicoRoutes
from chaosext.rehearsal.network.gobgp_routes import GobgpRoutes
from chaosext.rehearsal.network.routes import Declared, EveryNode, Proof
from chaosext.rehearsal.snapshot.networks.signs import DECLARE
from chaosext.rehearsal.snapshot.world import Doubt, Plugin

if TYPE_CHECKING:
    from chaosext.rehearsal.network.routes import Periods, Routes
    from chaosext.rehearsal.snapshot.world import World

NOTHING_SHOWN = Doubt(
    subject="the snapshot", why=f"it contains no network plugin that chaosext knows; {DECLARE}"
)


def routes_of(
    world: World, cut: frozenset[str], doubts: tuple[Doubt, ...] = (), periods: Periods = ()
) -> Routes:
    """Return the routes while the nodes in `cut` are cut off in `periods`.

    `doubts` are added to those of the world's network. Without `periods`, the routes are those of a network
    whose sessions have not ended.
    """
    network = replace(world.network, doubts=(*doubts, *world.network.doubts))
    if network.plugin is Plugin.CALICO:
        return CalicoRoutes(replace(world, network=network), cut, periods)
    if network.plugin in (Plugin.KUBE_ROUTER, Plugin.CILIUM_BGP):
        return GobgpRoutes(replace(world, network=network), cut, periods)
    if network.plugin is Plugin.DECLARED and not doubts:
        return Declared(world.nodes, network.reached)
    unshown = network.plugin is Plugin.UNKNOWN and not network.doubts
    return EveryNode(Proof(rests_on=network.shown, doubts=(NOTHING_SHOWN,) if unshown else network.doubts))
