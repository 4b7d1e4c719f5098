"""The failure domains of a cluster: the sets of nodes that one fault can cut off together.

They are single nodes, and groups by rack and zone (labels), by leaf (the nodes of a BGPPeer outside the cluster) and
by route reflector (Calico's routeReflectorClusterID). A domain has the same name before and after a change of the
cluster.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING

from chaosext.cluster.bgp_peers import peer_address, selects

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from chaosext.rehearsal.snapshot.world import Node, World

RACK = "rack"
"""Name, after its prefix, of the label that names a node's rack; Kubernetes defines none."""


class DomainKind(StrEnum):
    """Kinds of failure domains, in the order in which they are listed."""

    CONTROL_PLANE = "control-plane node"
    NODE = "node"
    RACK = "rack"
    ZONE = "zone"
    LEAF = "leaf"
    """Nodes with the same BGP peer outside the cluster; named after the BGPPeer."""
    REFLECTORS = "route reflectors"
    """All route reflectors of one cluster ID, which names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Nodes that one fault can cut off together. Unique by `kind` and `name`."""

    kind: DomainKind
    name: str
    nodes: frozenset[str]

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}"


def failure_domains(world: World) -> tuple[Domain, ...]:
    """Return every failure domain, by kind and name; none with all nodes of the cluster, which has no other side.

    Several domains may have the same nodes, such as a rack and its leaf.
    """
    size = len(world.nodes)
    return tuple(
        Domain(kind=kind, name=name, nodes=frozenset(nodes))
        for kind, groups in _groups(world)
        for name, nodes in sorted(groups.items())
        if 0 < len(nodes) < size
    )


def rack_labels(nodes: Iterable[Node]) -> tuple[str, ...]:
    """Return the keys of the labels that may name a node's rack, sorted."""
    keys = {key for node in nodes for key in node.labels}
    return tuple(sorted(key for key in keys if key.rpartition("/")[2] == RACK))


def _groups(world: World) -> Iterator[tuple[DomainKind, Mapping[str, Collection[str]]]]:
    nodes = world.nodes
    yield DomainKind.CONTROL_PLANE, {node.name: (node.name,) for node in nodes if node.control_plane}
    yield DomainKind.NODE, {node.name: (node.name,) for node in nodes if not node.control_plane}
    yield DomainKind.RACK, _racks(nodes)
    zones = ((node.zone.replace(":\x00:", "/").strip("/"), node.name) for node in nodes)
    yield DomainKind.ZONE, _grouped(zones)
    yield DomainKind.LEAF, _leafs(world)
    yield DomainKind.REFLECTORS, _grouped((node.reflector_cluster, node.name) for node in nodes)


def _racks(nodes: Iterable[Node]) -> Mapping[str, list[str]]:
    """Group nodes by rack; with several labels, each rack has its label in its name."""
    keys = rack_labels(nodes)
    return _grouped(
        (f"{key}={value}" if value and len(keys) > 1 else value, node.name)
        for key in keys
        for node in nodes
        for value in [node.labels.get(key, "")]
    )


def _leafs(world: World) -> Mapping[str, list[str]]:
    own = {_plain(each) for node in world.nodes for each in node.addresses}
    outside = (
        peer for peer in world.network.peers if peer.peer_ip and _plain(peer_address(peer.peer_ip)) not in own
    )
    return {peer.name: [node.name for node in world.nodes if selects(peer, node)] for peer in outside}


def _grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    """Group nodes by the name of their domain; "" is none."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, node in pairs:
        if name:
            found[name].append(node)
    return found


def _plain(address: str) -> str:
    """Return an address without its prefix length, in canonical form; anything else unchanged."""
    try:
        return str(ip_address(address.partition("/")[0]))
    except ValueError:
        return address
