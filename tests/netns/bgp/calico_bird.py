"""The configuration that Calico gives BIRD on a node, and that of a leaf: a small confd for the lab.

It follows confd/etc/calico/confd/templates/bird.cfg.template, bird_ipam.cfg.template, bird_aggr.cfg.template and
confd/pkg/backends/calico/client.go (updatePeersV1), and knows nothing of chaosext's network models. It adds the hold
time, which Calico leaves at BIRD's 240 s, and lacks `krt_tunnel`, which only Calico's BIRD has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.cluster.selector import matches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.cluster.objects import BgpPeer
    from chaosext.rehearsal.snapshot.world import Node

    from .topologies import Leaf, Topology

KERNEL = """\
protocol kernel {
  learn;
  persist;
  scan time 2;
  import all;
  export filter calico_kernel_programming;
  graceful restart;
  merge paths on;
}
protocol device { scan time 2; }
protocol direct { interface -"cali*", -"kube-ipvs*", "*"; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peering:
    """One `protocol bgp` of a node. `kind`: Mesh, Global or Node."""

    kind: str
    ip: str
    as_number: int
    reflector_cluster: str = ""
    is_node: bool = False


def bird_config(topology: Topology, node: Node, log: str) -> str:
    """Return a node's bird.cfg."""
    own, ip, as_number = topology.block(node.name), topology.address(node.name), topology.as_of(node)
    peerings = "\n".join(
        _protocol(peering, ip, as_number, node.reflector_cluster) for peering in _peerings(topology, node)
    )
    return f"""\
log "{log}" all;
function calico_aggr() {{
  if ( net = {own} ) then {{ accept; }}
  if ( net ~ {own} ) then {{ reject; }}
}}
function calico_export_to_bgp_peers(bool internal_peer) {{
  calico_aggr();
  if ( net ~ {topology.pool.cidr} ) then {{ accept; }}
}}
filter calico_kernel_programming {{ accept; }}
protocol static {{ route {own} blackhole; }}
router id {ip};
{KERNEL}
template bgp bgp_template {{
  debug {{ states }};
  description "Connection to BGP peer";
  local as {as_number};
  gateway recursive;
  add paths on;
  graceful restart;
  connect delay time 2;
  connect retry time 5;
  error wait time 5,30;
  hold time {topology.hold_s};
}}
{peerings}
"""


def _protocol(peering: Peering, ip: str, as_number: int, cluster: str) -> str:
    internal = peering.as_number == as_number
    lines = [
        f"neighbor {peering.ip} as {peering.as_number};",
        f"source address {ip};",
        "import all;",
        f"export filter {{ calico_export_to_bgp_peers({str(internal).lower()}); reject; }};",
    ]
    if peering.kind != "Mesh":
        lines = ["ttl security off;", "multihop;", *lines]
    # confd's template compares both addresses as texts.
    if (peering.kind == "Mesh" or (peering.kind == "Global" and peering.is_node)) and peering.ip > ip:
        lines.append("passive on;")
    if peering.kind != "Mesh" and internal and cluster and peering.reflector_cluster != cluster:
        lines += ["rr client;", f"rr cluster id {cluster};"]
    name = f"{peering.kind}_{peering.ip.replace('.', '_')}"
    return f"protocol bgp {name} from bgp_template {{\n  " + "\n  ".join(lines) + "\n}"


# -- which sessions a node has -----------------------------------------------------------------------------------


def _peerings(topology: Topology, node: Node) -> Iterator[Peering]:
    """Yield the node's sessions: a route reflector takes no part in the mesh."""
    if topology.mesh and not node.reflector_cluster:
        for other in topology.nodes:
            if other.name != node.name and not other.reflector_cluster:
                yield replace(_as_peering(topology, other), kind="Mesh")
    emitted = {
        peering.ip: peering for peering in reversed(list(_emitted(topology, node)))
    }  # the first emitted wins
    yield from (peering for ip, peering in emitted.items() if ip != topology.address(node.name))


def _emitted(topology: Topology, node: Node) -> Iterator[Peering]:
    for kind in ("Global", "Node"):
        for peer in topology.peers:
            if kind == ("Node" if peer.node or peer.node_selector else "Global") and _is_local(peer, node):
                yield from (replace(each, kind=kind) for each in _remotes(topology, peer))
    for peer in topology.peers:  # the reverse: the node is the peer's remote end
        if any(each.ip == topology.address(node.name) for each in _remotes(topology, peer)):
            yield from (_as_peering(topology, other) for other in topology.nodes if _is_local(peer, other))


def _is_local(peer: BgpPeer, node: Node) -> bool:
    return peer.node == node.name if peer.node else matches(peer.node_selector, node.labels)


def _remotes(topology: Topology, peer: BgpPeer) -> list[Peering]:
    if peer.peer_selector:
        found = (node for node in topology.nodes if matches(peer.peer_selector, node.labels))
        return [_as_peering(topology, node) for node in found]
    is_node = any(topology.address(node.name) == peer.peer_ip for node in topology.nodes)
    return [Peering(kind="Node", ip=peer.peer_ip, as_number=peer.as_number, is_node=is_node)]


def _as_peering(topology: Topology, node: Node) -> Peering:
    return Peering(
        kind="Node",
        ip=topology.address(node.name),
        as_number=topology.as_of(node),
        reflector_cluster=node.reflector_cluster,
    )


# -- leafs ---------------------------------------------------------------------------------------------------------


def neighbours(topology: Topology, leaf: Leaf) -> dict[str, int]:
    """Return the AS of each of a leaf's neighbours: the nodes that a BGPPeer gives it, and the other leafs."""
    nodes = {
        topology.address(node.name): topology.as_of(node)
        for peer in topology.peers
        if peer.peer_ip == leaf.ip
        for node in topology.nodes
        if _is_local(peer, node)
    }
    return nodes | {other.spine_ip: other.as_number for other in topology.leafs if other != leaf}


def frr_config(topology: Topology, leaf: Leaf, log: str) -> str:
    """Return frr.conf of a leaf that reflects its rack's routes with the next hop unchanged, as the testbed's does.

    To its rack it is the next hop of what it learns from other leafs.
    """
    peers = neighbours(topology, leaf)
    own = [ip for ip, as_number in peers.items() if as_number == leaf.as_number]
    return "\n".join(
        [
            "frr defaults datacenter",
            f"hostname {leaf.name}",
            f"log file {log} informational",
            f"ip route {topology.pool.cidr} blackhole",
            f"router bgp {leaf.as_number}",
            f" bgp router-id {leaf.ip}",
            " no bgp ebgp-requires-policy",
            *(f" neighbor {ip} remote-as {as_number}" for ip, as_number in peers.items()),
            *(f" neighbor {ip} timers connect 2" for ip in peers),
            " address-family ipv4 unicast",
            *(f"  neighbor {ip} activate" for ip in peers),
            *(f"  neighbor {ip} route-reflector-client" for ip in own),
            *(f"  neighbor {ip} next-hop-self" for ip in own),
            " exit-address-family",
            "",
        ]
    )


def bird_leaf_config(topology: Topology, leaf: Leaf, log: str) -> str:
    """Return bird.cfg of a leaf that reflects its nodes' routes."""
    protocols = "\n".join(
        f"protocol bgp node{number} {{ local as {leaf.as_number}; neighbor {ip} as {as_number}; import all; "
        f"export all; rr client; rr cluster id {leaf.ip}; add paths on; hold time {topology.hold_s}; }}"
        for number, (ip, as_number) in enumerate(neighbours(topology, leaf).items())
    )
    return f"""\
log "{log}" all;
router id {leaf.ip};
protocol kernel {{ scan time 2; import none; export all; }}
protocol device {{ scan time 2; }}
protocol direct {{ interface "*"; }}
{protocols}
"""
