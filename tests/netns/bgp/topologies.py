"""The clusters that the lab builds: nodes, BGPPeers and leafs, and the cuts that they go through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worlds import CONTROL_PLANE_LABEL, POOL
from worlds import node as plain_node

from chaosext.cluster.objects import BgpPeer
from chaosext.rehearsal.snapshot.world import Network, Plugin, World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.cluster.objects import IpPool
    from chaosext.rehearsal.network.routes import Periods
    from chaosext.rehearsal.snapshot.world import Node

AS_NUMBER = 64512
HOLD_S = 9
"""Short, so that the lab takes a minute: BIRD's default is 240 s."""

ONE_CUT: Periods = ((0.0, 14.0),)
"""Longer than the hold time, whatever BIRD adds to it."""

REFLECTOR, CLUSTER_ID, OTHER_CLUSTER_ID = "route-reflector", "244.0.0.1", "244.0.0.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A switch in front of a rack. `spine_ip` is its address for other leafs."""

    name: str = "leaf"
    rack: int = 0
    as_number: int = AS_NUMBER
    program: str = "frr"

    @property
    def ip(self) -> str:
        return f"10.0.{self.rack}.254"

    @property
    def spine_ip(self) -> str:
        return f"10.1.0.{self.rack + 1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """One cluster and its cuts. The nodes in `cut` lose the control plane in `periods` (seconds from the first begin).

    A node's number is its place in `nodes`; it is in the rack of its label `rack` (default 0). `as_numbers`: the AS
    of each rack, where it is not `AS_NUMBER`. `is_sure`: the cuts are so long, or so short, that chance does not decide
    which sessions end.
    """

    name: str
    nodes: tuple[Node, ...]
    cut: frozenset[str]
    mesh: bool = False
    peers: tuple[BgpPeer, ...] = ()
    leafs: tuple[Leaf, ...] = ()
    periods: Periods = ONE_CUT
    hold_s: int = HOLD_S
    as_numbers: tuple[tuple[int, int], ...] = ()
    is_sure: bool = True
    pool: IpPool = POOL

    @property
    def world(self) -> World:
        """What the rehearsal would read from this cluster."""
        network = Network(
            plugin=Plugin.CALICO,
            peers=self.peers,
            full_mesh=self.mesh,
            pools=(self.pool,),
            hold_s=float(self.hold_s),
        )
        nodes = tuple(replace(node, internal_ips=(self.address(node.name),)) for node in self.nodes)
        return World(nodes=nodes, pods=(), network=network)

    @property
    def owners(self) -> Mapping[str, str]:
        """Address -> node or leaf."""
        leafs = {ip: leaf.name for leaf in self.leafs for ip in (leaf.ip, leaf.spine_ip)}
        return {self.address(node.name): node.name for node in self.nodes} | leafs

    @property
    def hubs(self) -> tuple[str, ...]:
        """Control-plane nodes that are not cut: where the cut is made."""
        return tuple(node.name for node in self.nodes if node.control_plane and node.name not in self.cut)

    def address(self, name: str) -> str:
        return f"10.0.{self.rack(name)}.{self._number(name) + 1}"

    def block(self, name: str) -> str:
        """Return the Pod addresses of a node."""
        return f"10.244.{self._number(name)}.0/26"

    def pod(self, name: str) -> str:
        """Return the address of a Pod on a node."""
        return f"10.244.{self._number(name)}.7"

    def rack(self, name: str) -> int:
        return int(self.nodes[self._number(name)].labels.get("rack", "0"))

    def as_of(self, node: Node) -> int:
        return dict(self.as_numbers).get(self.rack(node.name), AS_NUMBER)

    def leaf_of(self, name: str) -> Leaf | None:
        return next((leaf for leaf in self.leafs if leaf.rack == self.rack(name)), None)

    def _number(self, name: str) -> int:
        return next(number for number, node in enumerate(self.nodes) if node.name == name)


def hub(name: str, **labels: str) -> Node:
    return plain_node(name, control_plane=True, **labels)


def reflector(node: Node, cluster_id: str = CLUSTER_ID) -> Node:
    labels = {**node.labels, REFLECTOR: cluster_id}
    return replace(node, reflector_cluster=cluster_id, labels=labels)


def peer(name: str, **fields: str | int) -> BgpPeer:
    nobody = BgpPeer(name=name, peer_ip="", node="", node_selector="", peer_selector="", as_number=0)
    return replace(nobody, **fields)  # type: ignore[arg-type]


def nodes(*, hubs: int, workers: int) -> tuple[Node, ...]:
    return (
        *(hub(f"cp{number + 1}") for number in range(hubs)),
        *(plain_node(f"w{number + 1}") for number in range(workers)),
    )


def reflecting(found: tuple[Node, ...], *chosen: str, cluster_id: str = CLUSTER_ID) -> tuple[Node, ...]:
    return tuple(reflector(node, cluster_id) if node.name in chosen else node for node in found)


def names(*all_names: str) -> frozenset[str]:
    return frozenset(all_names)


WORKERS = f"!has({CONTROL_PLANE_LABEL})"
ALL_TO_REFLECTORS = peer("to-reflectors", node_selector="all()", peer_selector=f"has({REFLECTOR})")
WORKERS_TO_LEAF = peer("leaf", node_selector=WORKERS, peer_ip=Leaf().ip, as_number=AS_NUMBER)
WORKERS_TO_HUBS = peer("hubs", node_selector=WORKERS, peer_selector=f"has({CONTROL_PLANE_LABEL})")
BY_RACK = (
    peer("leaf-0", node_selector="rack == '0'", peer_ip=Leaf(rack=0).ip, as_number=64600),
    peer("leaf-1", node_selector="rack == '1'", peer_ip=Leaf(rack=1).ip, as_number=64601),
)
TWO_LEVELS = (
    peer("one", node_selector=f"!has({REFLECTOR}) && has({CONTROL_PLANE_LABEL})",
         peer_selector=f"{REFLECTOR} == '{CLUSTER_ID}'"),
    peer("two", node_selector=f"!has({REFLECTOR}) && {WORKERS}", peer_selector=f"{REFLECTOR} == '{OTHER_CLUSTER_ID}'"),
    peer("between", node_selector=f"has({REFLECTOR})", peer_selector=f"has({REFLECTOR})"),
)  # fmt: skip

IN_THE_MIDDLE = Topology(
    name="a reflector in the middle",
    nodes=reflecting(nodes(hubs=2, workers=3), "cp1", "w1", "w2"),
    cut=names("w2", "w3"),
    peers=(ALL_TO_REFLECTORS,),
)
MESH = Topology(
    name="mesh, 1 control plane", mesh=True, nodes=nodes(hubs=1, workers=2), cut=names("w1", "w2")
)
MESH_OF_FIVE = replace(MESH, name="mesh, 3 control planes", nodes=nodes(hubs=3, workers=2))
ON_HUB = Topology(
    name="reflector on the control plane",
    nodes=reflecting(nodes(hubs=1, workers=2), "cp1"),
    cut=names("w1", "w2"),
    peers=(ALL_TO_REFLECTORS,),
)
STORY = Topology(
    name="leaf only",
    nodes=nodes(hubs=1, workers=2),
    cut=names("w1", "w2"),
    peers=(WORKERS_TO_LEAF,),
    leafs=(Leaf(),),
)

TOPOLOGIES = (
    MESH,
    MESH_OF_FIVE,
    Topology(name="mesh, some workers cut", mesh=True, nodes=nodes(hubs=1, workers=3), cut=names("w1")),
    Topology(
        name="mesh, a control plane cut as well",
        mesh=True,
        nodes=nodes(hubs=3, workers=2),
        cut=names("cp3", "w1"),
    ),
    ON_HUB,
    Topology(
        name="reflectors on two control planes",
        nodes=reflecting(nodes(hubs=3, workers=2), "cp1", "cp2"),
        cut=names("w1", "w2"),
        peers=(ALL_TO_REFLECTORS,),
    ),
    Topology(
        name="reflectors on the workers' side",
        nodes=reflecting(nodes(hubs=2, workers=4), "w1", "w2"),
        cut=names("w1", "w2", "w3", "w4"),
        peers=(ALL_TO_REFLECTORS,),
    ),
    Topology(
        name="a reflector on each side",
        nodes=reflecting(nodes(hubs=2, workers=3), "cp1", "w1"),
        cut=names("w1", "w2", "w3"),
        peers=(ALL_TO_REFLECTORS,),
    ),
    Topology(
        name="peers by a node's address",
        nodes=reflecting(nodes(hubs=2, workers=2), "cp1"),
        cut=names("w1", "w2"),
        peers=(peer("cp1", peer_ip="10.0.0.1", as_number=AS_NUMBER),),
    ),
    Topology(
        name="two levels of reflectors",
        nodes=reflecting(reflecting(nodes(hubs=2, workers=3), "cp1"), "w1", cluster_id=OTHER_CLUSTER_ID),
        cut=names("w1", "w2", "w3"),
        peers=TWO_LEVELS,
    ),
    IN_THE_MIDDLE,
    replace(
        IN_THE_MIDDLE,
        name="a reflector in the middle, of another cluster",
        nodes=reflecting(IN_THE_MIDDLE.nodes, "w1", cluster_id=OTHER_CLUSTER_ID),
    ),
    STORY,
    replace(STORY, name="leaf only, BIRD", leafs=(Leaf(program="bird"),)),
    replace(
        STORY,
        name="leaf with an AS of its own",
        peers=(replace(WORKERS_TO_LEAF, as_number=64600),),
        leafs=(Leaf(as_number=64600),),
    ),
    Topology(
        name="AS per rack",
        nodes=(
            hub("cp1", rack="0"),
            plain_node("w1", rack="0"),
            plain_node("w2", rack="1"),
            plain_node("w3", rack="1"),
        ),
        cut=names("w1", "w2", "w3"),
        peers=BY_RACK,
        leafs=(Leaf(name="leaf0", as_number=64600), Leaf(name="leaf1", rack=1, as_number=64601)),
        as_numbers=((0, 64600), (1, 64601)),
    ),
    replace(STORY, name="leaf, and sessions across the cut", peers=(WORKERS_TO_LEAF, WORKERS_TO_HUBS)),
    replace(STORY, name="leaf and mesh", mesh=True),
    replace(MESH, name="cut shorter than the hold time", hold_s=30, periods=((0.0, 5.0),)),
    replace(MESH_OF_FIVE, name="cut about as long as the hold time", periods=((0.0, 7.0),), is_sure=False),
    replace(MESH, name="two long cuts", periods=((0.0, 12.0), (53.0, 65.0))),
    replace(MESH, name="flapping", hold_s=20, periods=tuple((at * 10.0, at * 10.0 + 3.0) for at in range(4))),
)
