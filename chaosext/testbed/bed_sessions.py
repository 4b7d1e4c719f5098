"""The BGP sessions of a testbed: those that its network expects, and what the leaf and the nodes report about them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.nodes.bird import BIRD_SCRIPT
from chaosext.nodes.frr import ESTABLISHED
from chaosext.sentinel.bird_sessions import parse_bird
from chaosext.testbed import leaf
from chaosext.testbed.commands import CommandFailed
from chaosext.testbed.containers import node_script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaosext.nodes.frr import Peer
    from chaosext.sentinel.bird_sessions import Session
    from chaosext.testbed.containers import NodeContainer
    from chaosext.testbed.networks.network_setup import NetworkSetup

NONE_BY_DESIGN = "none by design"
NO_SESSION = "no session"

NODES_AT_ONCE = 8
BIRD_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BedSessions:
    """Sessions as reported: by the leafs, by the neighbor's address, and by BIRD on each node, by the node's name."""

    by_leaf: Mapping[str, Peer] = field(default_factory=dict)
    by_node: Mapping[str, tuple[Session, ...]] = field(default_factory=dict)


NOTHING_REPORTED = BedSessions()


def read_sessions(cluster: str, network: NetworkSetup, nodes: Sequence[NodeContainer]) -> BedSessions:
    """Ask the leafs, and BIRD on each node that should have sessions with others; silence is left out."""
    asked = [each for each in nodes if node_peers(network, each, nodes)]
    leafs = range(len(network.leaf_as_numbers)) if any(map(network.has_leaf_session, nodes)) else ()
    by_leaf = {ip: peer for index in leafs for ip, peer in leaf.sessions(cluster, index).items()}
    with ThreadPoolExecutor(max_workers=NODES_AT_ONCE) as pool:
        answers = zip(asked, pool.map(_ask_bird, asked), strict=True)
        return BedSessions(by_leaf=by_leaf, by_node={node.name: found for node, found in answers})


def _ask_bird(node: NodeContainer) -> tuple[Session, ...]:
    try:
        return parse_bird(node_script(node.name, BIRD_SCRIPT, timeout_s=BIRD_TIMEOUT_S))
    except CommandFailed:
        return ()


def node_peers(
    network: NetworkSetup, node: NodeContainer, nodes: Sequence[NodeContainer]
) -> list[NodeContainer]:
    """Return the nodes with which `node` should have a session."""
    return [each for each in nodes if each.name != node.name and network.has_node_session(node, each)]


def bgp_state(
    network: NetworkSetup, node: NodeContainer, nodes: Sequence[NodeContainer], seen: BedSessions
) -> tuple[str, tuple[str, ...]]:
    """Return the state of a node's sessions, and the names of the peers that it should have.

    The state is "Established" if all are, and "none by design" if there should be none; otherwise it names the
    peers without a session. Pure.
    """
    states = {}
    if network.has_leaf_session(node):
        is_only = len(network.leaf_as_numbers) == 1
        states["the leaf" if is_only else f"leaf {network.leaf_of(node) + 1}"] = _state(
            seen.by_leaf.get(node.ipv4)
        )
    said = {each.peer: each for each in seen.by_node.get(node.name, ())}
    for other in node_peers(network, node, nodes):
        states[other.name] = _state(said.get(other.ipv4))
    if not states:
        return NONE_BY_DESIGN, ()
    down = [f"{state} with {name}" for name, state in states.items() if state != ESTABLISHED]
    return ", ".join(down) or ESTABLISHED, tuple(states)


def leaf_states(
    network: NetworkSetup, further_leafs: Sequence[NodeContainer], seen: BedSessions
) -> dict[str, str]:
    """Return the state of each further leaf's session with the first one, by the further leaf's name or number."""
    found = [each for each in further_leafs if each.ipv4]
    absent = range(len(found) + 1, len(network.leaf_as_numbers))
    return {
        **{each.name: _state(seen.by_leaf.get(each.ipv4)) for each in found},
        **{f"leaf {index + 1}": NO_SESSION for index in absent},
    }


def _state(session: Peer | Session | None) -> str:
    if session is None:
        return NO_SESSION
    return ESTABLISHED if session.established else session.state
