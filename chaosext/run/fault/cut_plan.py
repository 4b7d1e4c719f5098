"""From the user's cut request to the exact cut: the control-plane nodes, and the addresses of the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, cast

from chaosext.checks.cut_effective import Path, paths_between, paths_of_api_servers, paths_within
from chaosext.checks.tcp_reachability import Target
from chaosext.cluster.calico_objects import pod_blocks
from chaosext.cluster.client import Cluster, NotFound
from chaosext.cluster.kubeconfig import addresses_of
from chaosext.experiment.cut_request import CutRequest
from chaosext.model.errors import Refused
from chaosext.nodes.node_network import NodeNetwork, read_networks
from chaosext.nodes.transport import shells
from chaosext.partition.apply import DELAY_S
from chaosext.partition.cut import Cut, Family, Network, NodeCut, Side, peers_of, without

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from chaosext.cluster.objects import Node
    from chaosext.experiment.cut_request import CutRequest
    from chaosext.experiment.settings import Settings
    from chaosext.nodes.shell import NodeAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The topology that a plan is based on. `nodes` have the addresses of both families, by their kernels.

    `pools`: the Pods' prefixes; `own_pools`: those of the control-plane nodes' own Pods, if there are several such
    nodes. `workers`: the nodes that lose the control plane. `side`: the nodes that carry the rules. Addresses of API
    servers that are not nodes are `published` by the cluster, or `named` by the user. `is_sealed`: the nodes that
    carry rules can't be entered during the cut.
    """

    nodes: tuple[Node, ...]
    networks: Mapping[str, NodeNetwork]
    pools: tuple[str, ...]
    workers: tuple[str, ...]
    own_pools: tuple[str, ...] = ()
    side: Side = Side.CONTROL_PLANE
    published: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    is_sealed: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every path between control plane and nodes, including those that kubelets really use."""
        kubelets = {name: [Target(*server) for server in self.servers_of(name)] for name in self.workers}
        lost = tuple(node for node in self.nodes if node.name in self.workers)
        direct = paths_between((*self.control_plane, *lost), kubelets, self._held)
        outside = self.is_sealed and not self.control_plane
        return (*direct, *paths_of_api_servers(lost)) if outside else direct

    @property
    def kept_paths(self) -> tuple[Path, ...]:
        """The paths between control-plane nodes that carry rules, and to their API servers; these stay open."""
        if self.side is Side.NODES:
            return ()
        spared = _networks(self.spared)
        servers = {
            node.name: [
                Target(*server)
                for server in self.networks[node.name].api_servers
                if not ip_address(server[0]).is_loopback and _is_among(server[0], spared)
            ]
            for node in self.control_plane
        }
        return paths_within(self.control_plane, servers, self._held)

    @property
    def control_plane(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.is_control_plane)

    @property
    def others(self) -> tuple[Node, ...]:
        """The nodes without a control-plane role."""
        return tuple(node for node in self.nodes if not node.is_control_plane)

    @property
    def spared(self) -> Mapping[str, str]:
        """Addresses that no node drops, whatever the peers are -> what they are.

        Control-plane nodes keep each other (all their addresses), every API server and etcd, their gateways, and their
        own Pods; but not the load balancers that lead others to them, even one that is a gateway as well. On the
        nodes' side the nodes keep each other, and their gateways, unless the user says that one is the control plane.
        """
        if self.side is Side.NODES:
            lost = {*self.used, *(each for each in self.known if "/" not in each)}
            return _but({**self._gateways(self.others), **self._own(self.others)}, lost)
        pods = dict.fromkeys(self.own_pools, "of control-plane nodes' Pods")
        servers = dict.fromkeys(self.published, "an API server's")
        etcd = {each: "etcd's" for node in self.control_plane for each in self.networks[node.name].etcd}
        around = _but({**self._gateways(self.control_plane), **servers, **etcd}, self.balancers)
        others = {address for node in self.others for address in node.internal_ips}
        return _but({**pods, **around, **self._own(self.control_plane)}, others)

    def _own(self, nodes: Iterable[Node]) -> dict[str, str]:
        return {
            address: f"node {node.name}'s own"
            for node in nodes
            for address in (*node.internal_ips, *self.networks[node.name].own)
        }

    def _gateways(self, nodes: Iterable[Node]) -> dict[str, str]:
        return {
            hop: f"a gateway of {node.name}" for node in nodes for hop in self.networks[node.name].gateways
        }

    @property
    def known(self) -> tuple[str, ...]:
        """Addresses (and prefixes) of API servers: of control-plane nodes, published, or named."""
        own = (address for node in self.control_plane for address in node.internal_ips)
        return (*own, *self.published, *self.named)

    def servers_of(self, worker: str) -> tuple[tuple[str, int], ...]:
        """The targets where its kubelet finds an API server."""
        found = self.networks[worker].api_servers
        return believed(found, self.known) if self.side is Side.NODES else found

    @property
    def _held(self) -> Mapping[str, str]:
        """Every address of a control-plane node, on any interface (virtual ones, too) -> the node.

        Loopback addresses are left out: each node has its own.
        """
        return {
            address: node.name
            for node in self.control_plane
            for address in self.networks[node.name].own
            if not ip_address(address).is_loopback
        }

    @property
    def used(self) -> frozenset[str]:
        """The targets where workers' kubelets find an API server, except proxies on the node itself."""
        hosts = (host for name in self.workers for host, _ in self.servers_of(name))
        return frozenset(host for host in hosts if not ip_address(host).is_loopback)

    @property
    def balancers(self) -> tuple[str, ...]:
        """The targets of workers' kubelets at addresses that no node has: load balancers.

        Addresses of nodes need no mention: traffic to them by an uplink comes from a peer.
        """
        own = {
            address for network in self.networks.values() for address in (*network.addresses, *network.own)
        }
        return tuple(sorted(self.used - own))

    @property
    def blind(self) -> tuple[str, ...]:
        """The workers whose kubelet's API server is unknown."""
        return tuple(name for name in self.workers if not (self.named or self.servers_of(name)))


def plan_cut(wish: CutRequest, ground: Topology, *, run: str, owner: str) -> Cut:
    """The cut that severs the control plane from the other nodes. Pure. Raises `Refused` naming the field."""
    on_nodes = ground.side is Side.NODES
    (require_plannable if on_nodes else _require_two_sides)(wish, ground)
    _require_whole_control_plane(ground)
    _require_to_be_cut(wish, ground)
    carriers = ground.workers if on_nodes else tuple(node.name for node in ground.control_plane)
    peers = wish.peers or (peers_on_nodes(ground) if on_nodes else _others(ground))
    return Cut(
        run=run,
        owner=owner,
        nodes=tuple(
            NodeCut(node=name, uplinks=wish.uplinks or ground.networks[name].uplinks) for name in carriers
        ),
        peers=peers_of((peer for peer in peers if "/" not in peer), (peer for peer in peers if "/" in peer)),
        ttl_s=wish.ttl_s,
        families=cast("tuple[Family, ...]", wish.families),
        dead_man_s=wish.dead_man_s,
        delay_s=DELAY_S if ground.is_sealed else 0.0,
        side=ground.side,
        spared=_networks(ground.spared),
    )


def _require_two_sides(wish: CutRequest, ground: Topology) -> None:
    if not ground.workers:
        raise Refused(
            "nodes: every node of the cluster has a control-plane role",
            "use a cluster with worker nodes: chaosext cuts these off from the control plane; see `kubectl get nodes`",
        )
    if not ground.control_plane:
        raise Refused(
            "nodes: the cluster has no control-plane node",
            "for a managed control plane, cut on the nodes' side: "
            "set configuration.chaosext_cut_side: nodes (docs/safety.md)",
        )


def _others(ground: Topology) -> tuple[str, ...]:
    """What control-plane nodes are cut off from: the others, their Pods, and load balancers of the API servers."""
    others = (address for node in ground.others for address in node.internal_ips)
    return (*others, *ground.balancers, *map(str, _networks(ground.pools)))


def _require_whole_control_plane(ground: Topology) -> None:
    """Raise `Refused` for a node that is part of the control plane without its role: the cut would split it."""
    theirs = {address: node.name for node in ground.others for address in node.internal_ips}
    servers = dict.fromkeys(ground.published, "an API server")
    etcd = {each: "an etcd" for node in ground.control_plane for each in ground.networks[node.name].etcd}
    for address, what in {**etcd, **servers}.items():
        if name := theirs.get(address):
            raise Refused(
                f"nodes: {name} ({address}) runs {what} of the control plane, but has no control-plane role",
                f"add the role: `kubectl label node {name} node-role.kubernetes.io/control-plane= --overwrite`",
            )


def _require_to_be_cut(wish: CutRequest, ground: Topology) -> None:
    """Raise `Refused` for a requested peer if nodes would drop none of its addresses."""
    spared = ground.spared
    for text in wish.peers or ():
        (peer,) = peers_of((), [text])
        if not without([peer], _networks(spared)):
            whose = next(what for each, what in spared.items() if _overlap(peer, *_networks([each])))
            raise Refused(
                f"peers: {text} is {whose}, which the nodes that carry the rules never drop",
                "remove it, and list addresses of the nodes to cut off",
            )


def _networks(texts: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ip_network(text, strict=False) for text in texts)


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _is_among(address: str, networks: Iterable[Network]) -> bool:
    return any(ip_address(address) in network for network in networks)


def _but(found: Mapping[str, str], taken: Collection[str]) -> dict[str, str]:
    """`found` without `taken`, and without loopback addresses, which a cut refuses."""
    gone = {str(ip_address(each)) for each in taken}
    return {
        each: what
        for each, what in found.items()
        if each not in gone and not ip_network(each, strict=False).is_loopback
    }


def survey(cluster: Cluster, way: NodeAccess, settings: Settings) -> Topology:
    """Read each node's addresses and its kubelet's API server, and the cluster's Pod prefixes, once."""
    nodes, on_nodes = cluster.nodes(), settings.cut_side is Side.NODES
    _require_of_that_side(settings)
    workers = chosen(nodes, settings.cut_nodes)
    shells_of_nodes = shells((node.name for node in nodes), way)
    servers = cluster.endpoint_slices("default", "kubernetes")
    unseen = way.asks_the_api_server or on_nodes  # no kubelet file is readable: use its connections
    ports = sorted({port.port for server in servers for port in server.ports}) if unseen else ()
    networks = read_networks(shells_of_nodes, {node.name: node.internal_ips for node in nodes}, ports)
    seen = tuple(replace(node, internal_ips=networks[node.name].addresses) for node in nodes)
    managed = on_nodes and not any(node.is_control_plane for node in nodes)
    return Topology(
        nodes=seen,
        networks=networks,
        pools=pod_prefixes(cluster),
        workers=workers,
        own_pools=_own_pools(cluster, nodes),
        side=settings.cut_side,
        published=(*(server.ip for server in servers), *(addresses_of(cluster.server) if managed else ())),
        named=settings.control_plane_addresses,
        is_sealed=settings.is_sealed,
    )


def _require_of_that_side(settings: Settings) -> None:
    """Raise `Refused` for a setting that the chosen side does not use."""
    for key in ("cut_nodes", "control_plane_addresses"):
        if getattr(settings, key) and settings.cut_side is not Side.NODES:
            raise Refused(
                f"configuration.chaosext_{key} has no effect: the cut is on the control plane's side",
                "remove it, or set chaosext_cut_side to nodes",
            )


def _own_pools(cluster: Cluster, nodes: Sequence[Node]) -> tuple[str, ...]:
    """The prefixes of control-plane nodes' own Pods, which API servers and etcd of other such nodes talk to."""
    control_plane = [node.name for node in nodes if node.is_control_plane]
    return pod_blocks(cluster, control_plane) if len(control_plane) > 1 else ()


def pod_prefixes(cluster: Cluster) -> tuple[str, ...]:
    """The Pods' prefixes: Calico's IPPools; without Calico, the nodes' podCIDRs."""
    try:
        return tuple(pool.cidr for pool in cluster.ippools())
    except NotFound:
        return tuple(sorted(cidr for node in cluster.nodes() for cidr in node.pod_cidrs))


HTTPS = 443
"""A port of managed API servers, and of many others: a connection there does not identify its peer."""

NODES, ADDRESSES = "configuration.chaosext_cut_nodes", "configuration.chaosext_control_plane_addresses"

Server = tuple[str, int]
"""Address and port."""


def believed(servers: Collection[Server], known: Iterable[str]) -> tuple[Server, ...]:
    """The API servers among a node's connections: at a port of API servers only, or at a known address."""
    nets = [ip_network(each, strict=False) for each in known]
    return tuple(
        (host, port)
        for host, port in servers
        if port != HTTPS or any(ip_address(host) in net for net in nets)
    )


def chosen(nodes: Iterable[Node], names: Collection[str]) -> tuple[str, ...]:
    """The nodes to cut: those named, else every node without a control-plane role. Raises `Refused`."""
    roles = {node.name: node.is_control_plane for node in nodes}
    if unknown := sorted(set(names) - roles.keys()):
        raise Refused(f"{NODES}: {', '.join(unknown)}: no such node", "see `kubectl get nodes`")
    if masters := sorted(name for name in names if roles[name]):
        raise Refused(
            f"{NODES}: {', '.join(masters)} has a control-plane role",
            "list only nodes that are to lose the control plane",
        )
    return tuple(name for name in roles if name in names or not (names or roles[name]))


def peers_on_nodes(ground: Topology) -> tuple[str, ...]:
    """The control plane's addresses and prefixes: those known to the cluster, those named, and those in use."""
    networks = [ground.networks[node.name] for node in ground.nodes if not node.is_control_plane]
    theirs = {address for network in networks for address in (*network.addresses, *network.own)}
    return tuple(sorted({*ground.known, *(ground.used - theirs)}))


def require_plannable(wish: CutRequest, ground: Topology) -> None:
    """Raise `Refused` for a cut that this side does not support, naming field and fix."""
    if not ground.workers:
        raise Refused("nodes: every node has a control-plane role", "see `kubectl get nodes`")
    if ground.is_sealed and wish.dead_man_s:
        raise Refused(
            "dead_man_s: a cut on the nodes' side can't be renewed, as no API server reaches them during it",
            "remove it, or set it to 0 (CHAOSEXT_DEAD_MAN_S=0): such a cut lasts its TTL",
        )
    if not wish.peers and (strange := _strangers(ground)):
        told = "; ".join(f"{name} ({said})" for name, said in strange.items())
        raise Refused(
            f"{ADDRESSES}: the API server that kubelet uses is unknown on {told}",
            f"set {ADDRESSES} to the API servers' addresses as the nodes use them (docs/safety.md)",
        )


def _strangers(ground: Topology) -> Mapping[str, str]:
    """The nodes whose API server is unknown, and their connections."""
    if ground.named:
        return {}
    return {
        name: f"connected to {', '.join(host for host, _ in ground.networks[name].api_servers) or 'none'}"
        for name in ground.blind
    }
