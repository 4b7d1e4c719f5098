"""bgp_established: are all expected BGP sessions established, on the node's side and on the leaf's?

calico-node is Ready even with zero BGP peers, so readiness proves nothing. This check asks BIRD on the nodes
and FRR on the leaf; the expected sessions follow from Calico's BGPPeers and the node-to-node mesh. Of kube-router it
asks GoBGP (`kube_router_sessions`). Where BGP carries no Pod routes it is not applicable (`cluster_model`).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from chaosext.checks.check_names import BGP
from chaosext.checks.fan_out import ask_all
from chaosext.cluster.bgp_peers import expected_peers, fabric_peers
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Evidence, Finding, Status, worst
from chaosext.nodes.bird import BIRD_SCRIPT
from chaosext.nodes.frr import local_as, parse_summary
from chaosext.sentinel.bird_sessions import Session, parse_bird

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import BgpPeer, Node
    from chaosext.nodes.shell import NodeShell

ASK_TIMEOUT_S = 5.0

CILIUM_UNREAD = (
    "Cilium's BGP sessions carry Pod routes, and aren't read by chaosext: run `cilium bgp peers` in its Pods"
)

LEAF_SCRIPT = "timeout 4 vtysh -c 'show bgp summary json'"


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpEvidence:
    """Expected sessions, and the sessions that each side reports.

    - `expected`: node -> addresses of its peers by Calico's configuration, empty if it has none.
    - `leaf_nodes`: nodes that the leaf should have a session with, by a BGPPeer outside the cluster with its AS number.
    - `node_ips`: node -> its internal addresses.
    - `by_node`: node -> its sessions, or why they are unknown.
    - `by_leaf`: the same for the leaf; None if there is no access to a leaf.
    """

    expected: Mapping[str, tuple[str, ...]]
    leaf_nodes: tuple[str, ...]
    node_ips: Mapping[str, tuple[str, ...]]
    by_node: Mapping[str, tuple[Session, ...] | str]
    by_leaf: tuple[Session, ...] | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafReport:
    """The leaf's sessions, and its own AS number; None if it does not say that."""

    sessions: tuple[Session, ...]
    as_number: int | None = None


def gather(cluster: Cluster, shells: Mapping[str, NodeShell], leaf: NodeShell | None = None) -> BgpEvidence:
    """Collect Calico's configuration from the cluster, and sessions from BIRD on each node and FRR on the leaf."""
    nodes, peers, mesh = cluster.nodes(), cluster.bgppeers(), cluster.node_to_node_mesh()
    expected = {node.name: expected_peers(node, nodes, peers, mesh) for node in nodes}
    to_ask = {name: shells[name] for name in expected if expected[name] and name in shells}
    answers = ask_all(to_ask, _ask_bird)
    said = None if leaf is None else ask_all({leaf.node: leaf}, _ask_leaf)[leaf.node]
    report = said if isinstance(said, LeafReport) else LeafReport(sessions=())
    return BgpEvidence(
        expected=expected,
        leaf_nodes=tuple(
            node.name for node in nodes if _has_leaf(node, fabric_peers(node, nodes, peers), report)
        ),
        node_ips={node.name: node.internal_ips for node in nodes},
        by_node={name: _or_reason(answers.get(name)) for name in expected if expected[name]},
        by_leaf=None if said is None else str(said) if isinstance(said, Unreachable) else said.sessions,
    )


def _has_leaf(node: Node, peers: Iterable[BgpPeer], leaf: LeafReport) -> bool:
    """Whether the leaf should have a session with the node.

    It lists one, in whatever state, or it may be one of `peers`: only if its AS number, where known, is theirs.
    """
    known = {_parsed(each.peer) for each in leaf.sessions}
    if any(_parsed(ip) in known for ip in node.internal_ips):
        return True
    return any(leaf.as_number in (None, peer.as_number) for peer in peers)


def _or_reason(answer: tuple[Session, ...] | Unreachable | None) -> tuple[Session, ...] | str:
    if answer is None:
        return "no shell on the node"
    return str(answer) if isinstance(answer, Unreachable) else answer


def _ask_bird(shell: NodeShell) -> tuple[Session, ...]:
    result = shell.run(BIRD_SCRIPT, timeout_s=ASK_TIMEOUT_S)
    if result.exit_code:
        raise Unreachable(
            f"BIRD on {shell.node} did not answer ({result.stderr.strip()[:200] or 'no output'})"
        )
    return parse_bird(result.stdout)


def _ask_leaf(shell: NodeShell) -> LeafReport:
    result = shell.run(LEAF_SCRIPT, timeout_s=ASK_TIMEOUT_S)
    if result.exit_code:
        raise Unreachable(
            f"FRR on {shell.node} did not answer ({result.stderr.strip()[:200] or 'no output'})"
        )
    return LeafReport(sessions=parse_frr(result.stdout), as_number=local_as(result.stdout))


def parse_frr(text: str) -> tuple[Session, ...]:
    """Return the sessions of all address families in FRR's `show bgp summary json`.

    A peer is up if one of its address families is. Raises `Unreachable` if the text is not that JSON.
    """
    try:
        peers = parse_summary(text)
    except ValueError as error:
        raise Unreachable(f"the leaf did not answer in JSON ({text.strip()[:80]!r})") from error
    return tuple(Session(peer=each.ip, established=each.established, state=each.state) for each in peers)


def judge(evidence: BgpEvidence) -> Finding:
    """Judge: healthy if every expected session is Established on the node's side, and on the leaf's if there is one.

    A node without a peer by configuration is listed but does not count. If no node has a peer, the finding is
    unhealthy.
    """
    by_design = [_by_design(node) for node, peers in evidence.expected.items() if not peers]
    rows = [
        row for node, peers in evidence.expected.items() if peers for row in _node_side(node, peers, evidence)
    ]
    rows += _leaf_side(evidence)
    if not rows:
        rows = [Evidence(subject="BGPPeer", status=Status.UNHEALTHY, detail="no node has a BGP peer")]
    status = worst(row.status for row in rows)
    return Finding(
        check=BGP, status=status, summary=summary_of(rows, by_design), evidence=(*rows, *by_design)
    )


def _by_design(node: str) -> Evidence:
    detail = "no BGP peer by configuration"
    return Evidence(subject=f"Node/{node}", status=Status.HEALTHY, detail=detail, counts=False)


def _node_side(node: str, peers: Iterable[str], evidence: BgpEvidence) -> Iterable[Evidence]:
    said = evidence.by_node.get(node, "not asked")
    for peer in peers:
        yield session_row(f"Node/{node} → {peer}:179", said, (peer,), "BIRD has no such session")


def _leaf_side(evidence: BgpEvidence) -> Iterable[Evidence]:
    if evidence.by_leaf is None:
        return
    for node in evidence.leaf_nodes:
        ips = evidence.node_ips.get(node, ())
        yield session_row(f"Leaf → Node/{node}", evidence.by_leaf, ips, "the leaf has no such session")


def session_row(
    subject: str, said: tuple[Session, ...] | str, addresses: Iterable[str], absent: str
) -> Evidence:
    """Return a row for the session with one of `addresses`, as reported by one side."""
    if isinstance(said, str):
        return Evidence(subject=subject, status=Status.UNKNOWN, detail=said)
    wanted = {_parsed(address) for address in addresses}
    session = next((each for each in said if _parsed(each.peer) in wanted), None)
    if session is None:
        return Evidence(subject=subject, status=Status.UNHEALTHY, detail=absent)
    status = Status.HEALTHY if session.established else Status.UNHEALTHY
    return Evidence(subject=subject, status=status, detail=session.state)


def _parsed(address: str) -> IPv4Address | IPv6Address | str:
    """Return an address in a form that compares equal for all spellings; other text is returned unchanged."""
    try:
        return ip_address(address)
    except ValueError:
        return address


def summary_of(rows: Sequence[Evidence], by_design: Sequence[Evidence]) -> str:
    good = sum(row.status is Status.HEALTHY for row in rows)
    bad = [row for row in rows if row.status is not Status.HEALTHY]
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    first = f"; {bad[0].subject}: {bad[0].detail}{more}" if bad else ""
    without = ", ".join(row.subject for row in by_design)
    note = f"; no BGP peer by configuration: {without}" if without else ""
    return f"{good} of {len(rows)} sessions established{first}{note}"
