"""The BGP sessions that nodes should have according to Calico's configuration (Calico's reference, "BGP peer")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from chaosext.cluster.selector import matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaosext.cluster.objects import BgpPeer


class Speaker(Protocol):
    """The properties of a node that determine its sessions."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def internal_ips(self) -> tuple[str, ...]: ...


def peered_nodes(nodes: Iterable[Speaker], peers: Iterable[BgpPeer], mesh: bool) -> tuple[str, ...]:
    """Names of the nodes with a configured BGP peer, where kube-dns may run and its address is advertised."""
    everyone, configured = tuple(nodes), tuple(peers)
    return tuple(node.name for node in everyone if expected_peers(node, everyone, configured, mesh))


def expected_peers(
    node: Speaker, nodes: Sequence[Speaker], peers: Sequence[BgpPeer], mesh: bool
) -> tuple[str, ...]:
    """Peer addresses of `node` according to Calico's configuration, sorted; empty for none.

    A BGPPeer with a peerSelector configures the session on both ends (Calico's reference, "BGP peer").
    """
    found = {peer_address(peer.peer_ip) for peer in peers if peer.peer_ip and selects(peer, node)}
    others = [other for other in nodes if other.name != node.name]
    for peer in (each for each in peers if each.peer_selector):
        for other in others:
            if _joins(peer, node, other) or _joins(peer, other, node):
                found.update(other.internal_ips[:1])
    if mesh:
        found.update(ip for other in others for ip in other.internal_ips[:1])
    return tuple(sorted(found))


def fabric_peers(node: Speaker, nodes: Iterable[Speaker], peers: Iterable[BgpPeer]) -> tuple[BgpPeer, ...]:
    """Return the BGPPeers of `node` that are not nodes of the cluster: leafs, or other routers."""
    inside = {ip for each in nodes for ip in each.internal_ips}
    return tuple(
        peer
        for peer in peers
        if peer.peer_ip and peer_address(peer.peer_ip) not in inside and selects(peer, node)
    )


def selects(peer: BgpPeer, node: Speaker) -> bool:
    """Whether the BGPPeer applies to this node."""
    if peer.node:
        return peer.node == node.name
    return matches(peer.node_selector, node.labels)


def _joins(peer: BgpPeer, local: Speaker, remote: Speaker) -> bool:
    return selects(peer, local) and matches(peer.peer_selector, remote.labels)


def peer_address(peer_ip: str) -> str:
    """Return a BGPPeer's peerIP without its port: `172.18.0.5`, `172.18.0.5:179`, `[fc00::5]:179`."""
    if peer_ip.startswith("["):
        return peer_ip[1:].partition("]")[0]
    return peer_ip.partition(":")[0] if peer_ip.count(":") == 1 else peer_ip
