"""Who can reach a Pod where: which nodes' Pod addresses are announced, and to whom.

Source: Calico's reference, "BGP peer", "BGP configuration" and "IP pool"; felix/dataplane/linux (VXLAN routes come from
the datastore) and confd/etc/calico/confd/templates (IPIP and unencapsulated routes come by BGP).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from chaosext.cluster.peering import peer_address, selects
from chaosext.cluster.selector import matches
from chaosext.rehearsal.world import Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.cluster.objects import BgpPeer
    from chaosext.rehearsal.world import Node, World

NEEDED = ("BGPPeer", "BGPConfiguration", "IPPool")
"""Kinds without which nobody can say who announces what to whom."""


class Routes:
    """Reachability between nodes, by number, from Calico's configuration. Nothing here depends on a cut."""

    def __init__(self, world: World) -> None:
        self._nodes, self._network = world.nodes, world.network
        self._missing = tuple(kind for kind in NEEDED if kind in world.missing)
        self._ips = {ip: number for number, node in enumerate(world.nodes) for ip in node.internal_ips}

    @cached_property
    def unknown_why(self) -> str:
        """Why reachability can't be known, "" where it can."""
        network = self._network
        if network.plugin is Plugin.UNKNOWN:
            return (
                "the snapshot shows no network plugin that is known here: who reaches whose Pods is unknown"
            )
        if network.plugin is Plugin.CALICO and self._missing:
            return (
                f"no {', '.join(self._missing)} in the snapshot: who announces which Pod addresses is unknown"
            )
        if network.plugin is Plugin.CALICO and not network.bgp_enabled and not self._vxlan:
            return "Calico without BGP and without VXLAN: routes come from elsewhere, which is unknown"
        return ""

    @cached_property
    def _vxlan(self) -> bool:
        pools = self._network.pools
        return bool(pools) and all(pool.vxlan_mode != "Never" for pool in pools)

    @cached_property
    def _sessions(self) -> tuple[tuple[frozenset[int], frozenset[int]], ...]:
        """The two ends of each BGPPeer between nodes."""
        found = []
        for peer in self._network.peers:
            local, remote = self._local(peer), self._remote(peer)
            if local and remote:
                found.append((local, remote))
        return tuple(found)

    @cached_property
    def _external(self) -> frozenset[int]:
        """Nodes that announce to the fabric: a peer that is no node of the cluster."""
        return frozenset(number for peer in self.fabric_peers for number in self._local(peer))

    @cached_property
    def fabric_peers(self) -> tuple[BgpPeer, ...]:
        """Those BGPPeers whose other end is no node of the cluster."""
        return tuple(
            peer
            for peer in self._network.peers
            if peer.peer_ip and peer_address(peer.peer_ip) not in self._ips
        )

    @cached_property
    def _reflectors(self) -> frozenset[int]:
        return frozenset(number for number, node in enumerate(self._nodes) if node.reflector_cluster)

    def _local(self, peer: BgpPeer) -> frozenset[int]:
        return frozenset(number for number, node in enumerate(self._nodes) if selects(peer, node))

    def _remote(self, peer: BgpPeer) -> frozenset[int]:
        if peer.peer_selector:
            return self._matching(peer.peer_selector)
        number = self._ips.get(peer_address(peer.peer_ip))
        return frozenset() if number is None else frozenset((number,))

    def _matching(self, selector: str) -> frozenset[int]:
        return frozenset(number for number, node in enumerate(self._nodes) if matches(selector, node.labels))

    def _session(self, one: int, other: int) -> bool:
        if one == other:
            return False
        if self._network.full_mesh:
            return True
        return any(
            (one in local and other in remote) or (other in local and one in remote)
            for local, remote in self._sessions
        )

    def announces(self, host: int) -> bool:
        """Anybody hears of this node's Pods."""
        if self._network.plugin is not Plugin.CALICO or self._vxlan:
            return True
        return host in self._external or any(self._hears(other, host) for other in self._others(host))

    def _others(self, host: int) -> Iterable[int]:
        return (other for other in range(len(self._nodes)) if other != host)

    def reaches(self, client: int, host: int) -> bool | None:
        """Whether `client` has a route to Pods on `host`; None where it can't be known."""
        if client == host:
            return True
        if self.unknown_why:
            return None
        if self._network.plugin is not Plugin.CALICO or self._vxlan:
            return True
        return host in self._external or self._hears(client, host)

    def _hears(self, client: int, host: int) -> bool:
        """By a session of their own, or through route reflectors, which also pass on what another one told."""
        if self._session(client, host):
            return True
        over = [each for each in self._reflectors if self._session(each, host)]
        if any(self._session(each, client) for each in over):
            return True
        return any(
            self._session(first, second) and self._session(second, client)
            for first in over
            for second in self._reflectors
        )

    def kind(self, number: int) -> tuple[bool, ...]:
        """Nodes of one kind hear the same of every node without a session of its own."""
        return (
            number in self._external,
            number in self._reflectors,
            *(number in end for session in self._sessions for end in session),
        )


def unannounced(routes: Routes, nodes: tuple[Node, ...]) -> tuple[str, ...]:
    """Names of the nodes whose Pods nobody else hears of."""
    if routes.unknown_why:
        return ()
    return tuple(node.name for number, node in enumerate(nodes) if not routes.announces(number))
