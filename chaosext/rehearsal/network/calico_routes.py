"""Calico's routes, from its configuration: VXLAN tunnels, or BGP sessions with the fabric and between nodes.

Only sessions that the cut does not touch are modelled. A session across the cut ends when its hold time
expires, and its routes are withdrawn, even those that lead around the cut. Source: Calico's reference, "BGP
peer", "BGP configuration" and "IP pool"; felix/dataplane/linux (VXLAN routes come from the datastore) and
confd/etc/calico/confd/templates (IPIP and unencapsulated routes come by BGP).
"""

from __future__ import annotations

from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from chaosext.cluster.bgp_peers import peer_address, selects
from chaosext.cluster.selector import matches
from chaosext.rehearsal.network.routes import Proof, Routes
from chaosext.rehearsal.snapshot.world import Doubt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address, IPv6Address

    from chaosext.cluster.objects import BgpPeer, IpPool
    from chaosext.rehearsal.snapshot.world import World

NEEDED = ("BGPPeer", "BGPConfiguration", "IPPool")
"""Kinds without which it is unknown which node announces which Pod addresses to whom."""

MESH = Doubt(
    subject="BGPConfiguration/default",
    key="spec.nodeToNodeMeshEnabled",
    why="the node-to-node mesh has sessions across the cut, between cut nodes and control-plane nodes",
)

UNSAID = Doubt(
    subject=MESH.subject,
    key=MESH.key,
    why="there is none, so it is not proven that Calico's default, the node-to-node mesh, is in force",
)

NEVER, ALWAYS = "Never", "Always"


class CalicoRoutes(Routes):
    """Routes of a cluster with Calico, while the nodes named in `cut` are cut off from the control plane."""

    def __init__(self, world: World, cut: frozenset[str]) -> None:
        self._nodes, self._network, self._missing = world.nodes, world.network, world.missing
        self._cut = frozenset(n for n, node in enumerate(world.nodes) if node.name in cut)
        self._hubs = frozenset(n for n, node in enumerate(world.nodes) if node.control_plane) - self._cut
        self._ips = {ip: n for n, node in enumerate(world.nodes) for ip in map(_plain, node.addresses)}

    @cached_property
    def proof(self) -> Proof:  # type: ignore[override]
        if self._is_vxlan:
            said = "Calico's VXLAN, Always in every IPPool: Felix makes its routes from the datastore"
        else:
            said = "Calico's BGP sessions, none of which crosses the cut"
        doubts = (*self._network.doubts, *(() if self._is_vxlan else self._doubts_of_bgp()))
        return Proof(rests_on=said, doubts=doubts)

    @cached_property
    def _is_vxlan(self) -> bool:
        pools = self._network.pools
        return bool(pools) and all(pool.vxlan_mode == ALWAYS for pool in pools)

    # -- doubts
    # ------------------------------------------------------------------------------------------------

    def _doubts_of_bgp(self) -> Iterator[Doubt]:
        yield from self._network.bgp_doubts
        if missing := [kind for kind in NEEDED if kind in self._missing]:
            subject = f"no {', '.join(missing)} in the snapshot"
            yield Doubt(subject=subject, why="it is not proven which node announces which Pod addresses")
        if not self._network.bgp_enabled:
            yield Doubt(subject="Calico", why="without BGP and without VXLAN its routes come from elsewhere")
        if not self._network.pools and "IPPool" not in self._missing:
            yield Doubt(
                subject="IPPool", why="there is none, so it is not proven how Pod addresses are routed"
            )
        for pool in self._network.pools:
            yield from _doubts_of_pool(pool)
        if self._network.full_mesh is None and "BGPConfiguration" not in self._missing:
            yield UNSAID
        if self._network.full_mesh is not False and self._crosses(self._everybody, self._everybody):
            yield MESH
        for peer in self._network.peers:
            yield from self._doubts_of_peer(peer)

    def _doubts_of_peer(self, peer: BgpPeer) -> Iterator[Doubt]:
        subject, key = f"BGPPeer/{peer.name}", "spec.peerSelector" if peer.peer_selector else "spec.peerIP"
        if peer.peer_selector or _plain(peer_address(peer.peer_ip)) in self._ips:
            if self._crosses(self._local(peer), self._remote(peer)):
                said = "its sessions between nodes cross the cut: routes that they carry end with their hold time"
                yield Doubt(subject=subject, key=key, why=said)
            return
        try:
            address = ip_address(peer_address(peer.peer_ip))
        except ValueError:
            yield Doubt(
                subject=subject, key=key, why=f"{peer.peer_ip!r} is not the address of a known node or leaf"
            )
            return
        for pool in self._network.pools:
            yield from _doubts_of_range(pool, address, subject, key)

    def _crosses(self, one: frozenset[int], other: frozenset[int]) -> bool:
        """Whether the cut separates a node of one set from a node of the other."""
        cut, hubs = self._cut, self._hubs
        return bool((one & cut and other & hubs) or (one & hubs and other & cut))

    # -- sessions --------------------------------------------------------------------------------------------

    @cached_property
    def _everybody(self) -> frozenset[int]:
        return frozenset(range(len(self._nodes)))

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
        """Nodes that announce to the fabric, through a peer that is not a node of the cluster."""
        return frozenset(number for peer in self.fabric_peers for number in self._local(peer))

    @cached_property
    def fabric_peers(self) -> tuple[BgpPeer, ...]:
        """BGPPeers whose other end is not a node of the cluster."""
        return tuple(
            peer
            for peer in self._network.peers
            if peer.peer_ip and _plain(peer_address(peer.peer_ip)) not in self._ips
        )

    @cached_property
    def _reflectors(self) -> frozenset[int]:
        return frozenset(number for number, node in enumerate(self._nodes) if node.reflector_cluster)

    def _local(self, peer: BgpPeer) -> frozenset[int]:
        return frozenset(number for number, node in enumerate(self._nodes) if selects(peer, node))

    def _remote(self, peer: BgpPeer) -> frozenset[int]:
        if peer.peer_selector:
            return self._matching(peer.peer_selector)
        number = self._ips.get(_plain(peer_address(peer.peer_ip)))
        return frozenset() if number is None else frozenset((number,))

    def _matching(self, selector: str) -> frozenset[int]:
        return frozenset(number for number, node in enumerate(self._nodes) if matches(selector, node.labels))

    def _session(self, one: int, other: int) -> bool:
        if one == other:
            return False
        if self._network.full_mesh is not False:
            return True
        return any(
            (one in local and other in remote) or (other in local and one in remote)
            for local, remote in self._sessions
        )

    # -- reachability ----------------------------------------------------------------------------------------

    def announces(self, host: int) -> bool:
        if self._is_vxlan or host in self._external:
            return True
        return any(self._hears(other, host) for other in self._others(host))

    def _others(self, host: int) -> Iterable[int]:
        return (other for other in range(len(self._nodes)) if other != host)

    def _reaches(self, client: int, host: int, t_s: float) -> bool:
        return self._is_vxlan or host in self._external or self._hears(client, host)

    def _hears(self, client: int, host: int) -> bool:
        """Whether `client` learns the host's routes: by a direct session, or through one or two route reflectors."""
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

    def kind(self, number: int) -> tuple[object, ...]:
        return (
            number in self._external,
            number in self._reflectors,
            *(number in end for session in self._sessions for end in session),
        )


def _doubts_of_pool(pool: IpPool) -> Iterator[Doubt]:
    subject = f"IPPool/{pool.name}"
    if pool.ipip_mode != NEVER:
        yield Doubt(
            subject=subject, key="spec.ipipMode", why=f"is {pool.ipip_mode}: IPIP's routes come by BGP"
        )
    if pool.vxlan_mode != NEVER:
        said = f"is {pool.vxlan_mode}, and not every Pod's traffic goes through a VXLAN tunnel"
        yield Doubt(subject=subject, key="spec.vxlanMode", why=said)


def _doubts_of_range(
    pool: IpPool, address: IPv4Address | IPv6Address, subject: str, key: str
) -> Iterator[Doubt]:
    try:
        if pool.cidr and address in ip_network(pool.cidr, strict=False):
            yield Doubt(subject=subject, key=key, why="its peer is a Pod, which may move during a cut")
    except ValueError:
        said = f"{pool.cidr!r:.80} is not a network, so it is unknown whether BGPPeers are in it"
        yield Doubt(subject=f"IPPool/{pool.name}", key="spec.cidr", why=said)


def _plain(address: str) -> str:
    """Return an address without its prefix length, in canonical form; an invalid address is returned unchanged."""
    try:
        return str(ip_address(address.partition("/")[0]))
    except ValueError:
        return address
