"""Calico's routes: by Felix from the datastore, or by BGP sessions with the fabric and between nodes.

A session between two nodes that the cut separates ends when its hold time expires, at both ends, and takes its
routes with it, even those that lead around the cut. It comes back soon after the heal. Sessions with the
fabric's leafs do not cross the cut.

Source: Calico's reference, "BGP peer", "BGP configuration" and "IP pool"; felix/dataplane/linux (VXLAN routes
come from the datastore) and confd/etc/calico/confd/templates/bird.cfg.template (IPIP and unencapsulated routes
come by BGP; no hold time is set; reflectors take no part in the mesh; graceful restart is on, which keeps the
routes of a peer that restarts, not of one whose hold time expires: RFC 4724, section 4.2), and BIRD 1.6.8,
proto/bgp. Seen with BIRD 1.6.8 and this template, on the testbed with a reflector on the control plane: the
workers' sessions ended 175 and 217 s after a cut, each with its routes to the other worker, and were back within
2.5 s of the heal. tests/netns/bgp plays these and other topologies with a short hold time.
"""

from __future__ import annotations

from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from chaosext.cluster.bgp_peers import peer_address, selects
from chaosext.cluster.selector import matches
from chaosext.model.duration_text import short_duration
from chaosext.rehearsal.network.bgp_sessions import BIRD, changes_s, silences
from chaosext.rehearsal.network.routes import EvidenceKind, Proof, Routes
from chaosext.rehearsal.snapshot.world import Doubt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from ipaddress import IPv4Address, IPv6Address

    from chaosext.cluster.objects import BgpPeer, IpPool
    from chaosext.rehearsal.network.routes import Periods
    from chaosext.rehearsal.snapshot.world import World

UNSAID = Doubt(
    subject="BGPConfiguration/default",
    key="spec.nodeToNodeMeshEnabled",
    why="there is none, but there are BGPPeers or route reflectors, which suggest that the node-to-node mesh is off",
)

NEVER = "Never"


class CalicoRoutes(Routes):
    """Routes of a cluster with Calico, while the nodes in `cut` are cut off from the control plane in `periods`."""

    def __init__(self, world: World, cut: frozenset[str], periods: Periods = ()) -> None:
        self._nodes, self._network, self._missing = world.nodes, world.network, world.missing
        self._cut = frozenset(n for n, node in enumerate(world.nodes) if node.name in cut)
        self._hubs = frozenset(n for n, node in enumerate(world.nodes) if node.control_plane) - self._cut
        self._ips = {ip: n for n, node in enumerate(world.nodes) for ip in map(_plain, node.addresses)}
        self._silences = silences(BIRD, periods, self._network.hold_s)

    @cached_property
    def proof(self) -> Proof:  # type: ignore[override]
        of_bgp = () if self._is_by_felix else self._doubts_of_bgp()
        doubts = (*self._network.doubts, *self._doubts_of_ebpf(), *of_bgp)
        evidence = EvidenceKind.SEEN if self._is_seen else EvidenceKind.DOCUMENTS
        return Proof(rests_on=self._rests_on, doubts=doubts, evidence=evidence)

    @property
    def _is_seen(self) -> bool:
        """Whether such routes were compared with real ones: BGP without tunnels, with leafs and between nodes."""
        tunnelled = any(
            mode != NEVER for pool in self._network.pools for mode in (pool.ipip_mode, pool.vxlan_mode)
        )
        return not (tunnelled or self._is_by_felix or self._network.ebpf)

    @property
    def _rests_on(self) -> str:
        ebpf = "; Felix forwards by eBPF, and its programs stay in the kernel" if self._network.ebpf else ""
        return f"{self._rests_on_routes}{ebpf}"

    @property
    def _rests_on_routes(self) -> str:
        if self._is_by_felix:
            return "Calico's IPPools: Felix makes all routes from the datastore, without BGP"
        mesh = " (the node-to-node mesh, Calico's default without a BGPConfiguration)"
        said = f"Calico's BGP sessions{mesh if self._network.full_mesh is None else ''}"
        if not self._is_crossed:
            return f"{said}, none of which crosses the cut"
        low, high = (short_duration(round(each)) for each in BIRD.ends_within_s(self._network.hold_s))
        return (
            f"{said}; those across the cut end {low} to {high} after it "
            f"(hold time {short_duration(self._network.hold_s)}) and return within "
            f"{short_duration(BIRD.returns_within_s[1])} of the heal"
        )

    @property
    def uses_bgp(self) -> bool:  # type: ignore[override]
        return not self._is_by_felix

    @cached_property
    def _is_by_felix(self) -> bool:
        pools = self._network.pools
        return bool(pools) and (self._network.felix_routes or all(pool.vxlan_mode != NEVER for pool in pools))

    # -- doubts
    # ------------------------------------------------------------------------------------------------

    def _doubts_of_ebpf(self) -> Iterator[Doubt]:
        """Report a Typha across the cut: Felix restarts when it loses it, and eBPF may drop traffic then."""
        typha = {number for number, node in enumerate(self._nodes) if node.name in self._network.typha}
        is_apart = (typha & self._cut and self._hubs) or (typha & self._hubs and self._cut)
        if self._network.ebpf and is_apart:
            why = (
                "the cut separates it from nodes whose Felix forwards by eBPF: Felix restarts when it loses its Typha "
                "(typha #196), and may drop traffic meanwhile (calico #10670)"
            )
            yield Doubt(subject="Deployment/calico-typha", why=why)

    def _doubts_of_bgp(self) -> Iterator[Doubt]:
        yield from self._network.bgp_doubts
        if missing := [kind for kind in self._needed if kind in self._missing]:
            subject = f"no {', '.join(missing)} in the snapshot"
            yield Doubt(subject=subject, why="it is not proven which node announces which Pod addresses")
        if not self._network.bgp_enabled:
            yield Doubt(subject="Calico", why="without BGP and without VXLAN its routes come from elsewhere")
        if not self._network.pools and "IPPool" not in self._missing:
            yield Doubt(
                subject="IPPool", why="there is none, so it is not proven how Pod addresses are routed"
            )
        for pool in self._network.pools:
            yield from self._doubts_of_pool(pool)
        if self._network.full_mesh is None and (self._network.peers or self._reflectors):
            yield UNSAID
        for peer in self.fabric_peers:
            yield from self._doubts_of_peer(peer)
        yield from self._partly_reached()
        if self._is_crossed:
            yield from (silence for silence in self._silences if isinstance(silence, Doubt))

    @property
    def _needed(self) -> Iterator[str]:
        """Yield the kinds without which it is unknown which node announces which Pod addresses to which other.

        In the mesh every node has a session with every other, so more sessions would change nothing for the
        worse. Without a BGPConfiguration the mesh is Calico's default.
        """
        yield "IPPool"
        if self._network.full_mesh is False:
            yield "BGPPeer"

    def _doubts_of_pool(self, pool: IpPool) -> Iterator[Doubt]:
        subject = f"IPPool/{pool.name}"
        if pool.ipip_mode != NEVER and self.fabric_peers:
            said = f"is {pool.ipip_mode}, and what the fabric does with tunnelled routes isn't modelled"
            yield Doubt(subject=subject, key="spec.ipipMode", why=said)
        if pool.vxlan_mode != NEVER:
            said = f"is {pool.vxlan_mode}, and not every Pod's traffic goes through a VXLAN tunnel"
            yield Doubt(subject=subject, key="spec.vxlanMode", why=said)

    def _doubts_of_peer(self, peer: BgpPeer) -> Iterator[Doubt]:
        subject, key = f"BGPPeer/{peer.name}", "spec.peerIP"
        try:
            address = ip_address(peer_address(peer.peer_ip))
        except ValueError:
            yield Doubt(
                subject=subject, key=key, why=f"{peer.peer_ip!r} is not the address of a known node or leaf"
            )
            return
        for pool in self._network.pools:
            yield from _doubts_of_range(pool, address, subject, key)

    def _partly_reached(self) -> Iterator[Doubt]:
        """Report a node whose Pods only some nodes reach without a cut: no working cluster is like that."""
        if self._network.is_complete:
            return
        some = self._examples(range(len(self._nodes)))
        for host in (number for number in some if number not in self._external):
            deaf = [
                client for client in some if client != host and not self._hears(client, host, are_lost=False)
            ]
            if deaf and self.announces(host):
                one, other = self._nodes[deaf[0]].name, self._nodes[host].name
                said = f"by these objects, {one} does not reach Pods on {other} even without a cut: one may be missing"
                yield Doubt(subject="BGPPeer", why=said)
                return

    def _examples(self, numbers: Iterable[int]) -> list[int]:
        """Return up to two nodes of each kind."""
        alike: dict[tuple[object, ...], list[int]] = {}
        for number in numbers:
            alike.setdefault(self.kind(number), []).append(number)
        return [number for found in alike.values() for number in found[:2]]

    @cached_property
    def _is_crossed(self) -> bool:
        """Whether routes come by any session between nodes that the cut separates."""
        if self._is_by_felix:
            return False
        cut, hubs = self._cut, self._hubs
        if self._network.full_mesh is not False and cut - self._reflectors and hubs - self._reflectors:
            return True
        return any(
            (one & cut and other & hubs) or (one & hubs and other & cut) for one, other in self._sessions
        )

    def _separated(self, one: int, other: int) -> bool:
        cut, hubs = self._cut, self._hubs
        return (one in cut and other in hubs) or (one in hubs and other in cut)

    # -- sessions --------------------------------------------------------------------------------------------

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

    def _session(self, one: int, other: int, are_lost: bool) -> bool:
        """Whether two nodes have a session; `are_lost`: those across the cut have ended."""
        if one == other or (are_lost and self._separated(one, other)):
            return False
        if self._network.full_mesh is not False and not self._reflectors & {one, other}:
            return True
        return any(
            (one in local and other in remote) or (other in local and one in remote)
            for local, remote in self._sessions
        )

    def changes_s(self, between: Callable[[float, float], float]) -> tuple[float, ...]:
        """Return the times at which sessions across the cut end and return, in turns."""
        return changes_s(BIRD, self._network.hold_s, self._silences, between) if self._is_crossed else ()

    # -- reachability ----------------------------------------------------------------------------------------

    @property
    def ends_between_cut_nodes(self) -> bool:
        """Whether two cut nodes lose each other's routes with the sessions across the cut."""
        some = self._examples(sorted(self._cut))
        return any(
            self._reaches(client, host, 0) and not self._reaches(client, host, 1)
            for client in some
            for host in some
            if client != host
        )

    def announces(self, host: int) -> bool:
        if self._is_by_felix or host in self._external:
            return True
        return any(self._hears(other, host, are_lost=False) for other in self._others(host))

    def _others(self, host: int) -> Iterable[int]:
        return (other for other in range(len(self._nodes)) if other != host)

    def _reaches(self, client: int, host: int, changes: int) -> bool:
        return (
            self._is_by_felix
            or host in self._external
            or self._hears(client, host, are_lost=changes % 2 == 1)
        )

    def _hears(self, client: int, host: int, are_lost: bool) -> bool:
        """Whether `client` learns the host's routes: by a direct session, or through one or two route reflectors."""

        def session(one: int, other: int) -> bool:
            return self._session(one, other, are_lost)

        if session(client, host):
            return True
        over = [each for each in self._reflectors if session(each, host)]
        if any(session(each, client) and self._is_passed_on(host, each, client) for each in over):
            return True
        return any(
            session(first, second)
            and session(second, client)
            and self._is_passed_on(host, first, second, client)
            for first in over
            for second in self._reflectors
        )

    def _is_passed_on(self, *path: int) -> bool:
        """Whether the reflectors in the middle of `path` pass a route on, from the first node to the last.

        A reflector's clients are all neighbours without its cluster ID (bird.cfg.template). It passes on what
        comes from a client or goes to one. Between it and a client, no route may have its cluster ID already
        (BIRD: attrs.c, `bgp_import_control`; the check is skipped between two reflectors of one cluster).
        """
        clusters = [self._nodes[number].reflector_cluster for number in path]
        for at in range(1, len(path) - 1):
            own, before, after = clusters[at], clusters[at - 1], clusters[at + 1]
            if own == before == after or (own != after and {own, after} & set(clusters[1:at])):
                return False
        return True

    def kind(self, number: int) -> tuple[object, ...]:
        return (
            number in self._external,
            self._nodes[number].reflector_cluster,
            *(number in end for session in self._sessions for end in session),
        )


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
