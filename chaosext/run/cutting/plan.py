"""From what a user asked for to the exact cut: who is a control-plane node, which addresses are the others'."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, cast

from chaosext.cluster.calico import pod_blocks
from chaosext.cluster.client import Cluster, NotFound
from chaosext.model.errors import Refused
from chaosext.nodes.network import NodeNetwork, read_networks
from chaosext.nodes.transport import shells
from chaosext.partition.cut import FAMILIES, Cut, Family, Network, NodeCut, peers_of
from chaosext.steady.cut import Path, paths_between
from chaosext.steady.tcp import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaosext.cluster.objects import Node
    from chaosext.nodes.transport import Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked for. None means: find out.

    `peers`: addresses and prefixes instead of the other nodes' own and those of load balancers before the API servers.
    `uplinks`: interfaces instead of those that carry the node's InternalIP. `dead_man_s`: see `Cut`.
    """

    ttl_s: float
    peers: tuple[str, ...] | None = None
    families: tuple[str, ...] = FAMILIES
    uplinks: tuple[str, ...] | None = None
    dead_man_s: float | None = None

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Wish:
        """The wish in an activity's arguments. Raises `Refused` for values of the wrong type."""
        return cls(
            ttl_s=_seconds("ttl_s", arguments.get("ttl_s")),
            peers=_texts("peers", arguments.get("peers")),
            families=_texts("families", arguments.get("families")) or FAMILIES,
            uplinks=_texts("uplinks", arguments.get("uplinks")),
            dead_man_s=_seconds("dead_man_s", arguments["dead_man_s"])
            if arguments.get("dead_man_s")
            else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a plan is made on. `nodes` carry the addresses of both families, as their kernels tell them.

    `pools`: the Pods' prefixes; `spared`: those of the control-plane nodes' own Pods, where there are several of them.
    """

    nodes: tuple[Node, ...]
    networks: Mapping[str, NodeNetwork]
    pools: tuple[str, ...]
    spared: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every path between control plane and nodes, those that the kubelets really take among them."""
        kubelets = {
            name: [Target(*server) for server in network.api_servers]
            for name, network in self.networks.items()
        }
        return paths_between(self.nodes, kubelets, self._held)

    @property
    def _held(self) -> Mapping[str, str]:
        """Every address of a control-plane node, wherever it has it (a virtual one, too) -> the node."""
        masters = [node.name for node in self.nodes if node.is_control_plane]
        return {address: name for name in masters for address in self.networks[name].own}

    @property
    def balancers(self) -> tuple[str, ...]:
        """Where workers' kubelets find an API server at an address that no node has: load balancers'.

        What a node has itself needs no mention: whoever comes there by an uplink comes from a peer.
        """
        own = {
            address for network in self.networks.values() for address in (*network.addresses, *network.own)
        }
        used = {host for name in self.workers for host, _ in self.networks[name].api_servers}
        return tuple(sorted(host for host in used - own if not ip_address(host).is_loopback))

    @property
    def workers(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes if not node.is_control_plane)

    @property
    def blind(self) -> tuple[str, ...]:
        """The workers of which it is not known where their kubelet connects."""
        return tuple(name for name in self.workers if not self.networks[name].api_servers)


def plan_cut(wish: Wish, ground: Ground, *, run: str, owner: str) -> Cut:
    """The cut that severs the control-plane nodes from the others. Pure. Raises `Refused` naming the field."""
    control_plane = [node for node in ground.nodes if node.is_control_plane]
    others = [node for node in ground.nodes if not node.is_control_plane]
    if not control_plane or not others:
        missing = "control-plane node" if not control_plane else "node without a control-plane role"
        raise Refused(
            f"nodes: the cluster shows no {missing}",
            "chaosext cuts between the two kinds; see `kubectl get nodes`",
        )
    found = (*(address for node in others for address in node.internal_ips), *ground.balancers)
    peers = wish.peers or found
    return Cut(
        run=run,
        owner=owner,
        nodes=tuple(
            NodeCut(node=node.name, uplinks=wish.uplinks or ground.networks[node.name].uplinks)
            for node in control_plane
        ),
        peers=peers_of((peer for peer in peers if "/" not in peer), _prefixes(wish, peers, ground)),
        ttl_s=wish.ttl_s,
        families=cast("tuple[Family, ...]", wish.families),
        dead_man_s=wish.dead_man_s,
    )


def _prefixes(wish: Wish, peers: Sequence[str], ground: Ground) -> tuple[str, ...]:
    """The prefixes among `peers`; the Pods' too, unless the user named the peers himself."""
    named = tuple(peer for peer in peers if "/" in peer)
    return named if wish.peers else (*named, *without(ground.pools, ground.spared))


def without(pools: Iterable[str], spared: Iterable[str]) -> tuple[str, ...]:
    """The prefixes `pools`, with those that are `spared` cut out of them: what talks across stays together."""
    rest = [ip_network(pool, strict=False) for pool in pools]
    for block in (ip_network(each, strict=False) for each in spared):
        rest = [part for pool in rest for part in _cut_out(pool, block)]
    return tuple(map(str, rest))


def _cut_out(pool: Network, block: Network) -> tuple[Network, ...]:
    if pool.version != block.version or not pool.overlaps(block):
        return (pool,)
    if pool.prefixlen >= block.prefixlen:  # all of it
        return ()
    return tuple(pool.address_exclude(block))  # type: ignore[arg-type]


def survey(cluster: Cluster, way: Way) -> Ground:
    """Ask each node once for its addresses and its kubelet's API server, and the cluster for the Pods' prefixes."""
    nodes = cluster.nodes()
    shells_of_nodes = shells((node.name for node in nodes), way)
    ports = _api_ports(cluster) if way.asks_the_api_server else ()
    networks = read_networks(shells_of_nodes, {node.name: node.internal_ips for node in nodes}, ports)
    seen = tuple(replace(node, internal_ips=networks[node.name].addresses) for node in nodes)
    return Ground(nodes=seen, networks=networks, pools=pod_prefixes(cluster), spared=_spared(cluster, nodes))


def _spared(cluster: Cluster, nodes: Sequence[Node]) -> tuple[str, ...]:
    """Between control-plane nodes goes what API servers and etcd say to each other, and to Pods of their own."""
    control_plane = [node.name for node in nodes if node.is_control_plane]
    return pod_blocks(cluster, control_plane) if len(control_plane) > 1 else ()


def _api_ports(cluster: Cluster) -> tuple[int, ...]:
    """Where the API servers listen, as they themselves say in the EndpointSlices of default/kubernetes."""
    servers = cluster.endpoint_slices("default", "kubernetes")
    return tuple(sorted({port.port for server in servers for port in server.ports}))


def pod_prefixes(cluster: Cluster) -> tuple[str, ...]:
    """The Pods' prefixes, as Calico's IPPools name them; none where there is no Calico."""
    try:
        return tuple(pool.cidr for pool in cluster.ippools())
    except NotFound:
        return ()


def _seconds(field: str, value: Any) -> float:
    if isinstance(value, bool):
        raise Refused(f"{field}: {value!r} is no number of seconds", "give seconds, such as 120")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise Refused(f"{field}: {value!r} is no number of seconds", "give seconds, such as 120") from None


def _texts(field: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if (
        not isinstance(value, list | tuple)
        or not value
        or not all(isinstance(item, str) and item for item in value)
    ):
        raise Refused(
            f"{field}: {value!r} is no list of names", f"write it as `{field}: [a, b]`, or leave it out"
        )
    return tuple(value)
