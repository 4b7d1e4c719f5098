"""bgp_established for kube-router: are the sessions of each node's GoBGP established, one with every other node?"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from chaosext.checks.bgp_established import session_row, summary_of
from chaosext.checks.check_names import BGP
from chaosext.checks.fan_out import ask_all
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Evidence, Finding, Status, worst
from chaosext.sentinel.gobgp_sessions import ADDRESS, LARGEST, QUESTION, parse_gobgp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.nodes.shell import NodeShell
    from chaosext.rehearsal.snapshot.world import World
    from chaosext.sentinel.bird_sessions import Session

LISTEN_S = 1.5
"""Seconds to listen: GoBGP answers at once, and keeps the connection open."""

ASK_TIMEOUT_S = 6.0

SCRIPT = f"""
exec 3<>/dev/tcp/{ADDRESS[0]}/{ADDRESS[1]} || exit 97
base64 -d >&3
timeout {LISTEN_S:g} cat <&3 | head -c {LARGEST} | base64 -w0
"""
"""`cat` passes on what it has read before it is ended, and `head` alone would not."""

SETTLES = "run `gobgp neighbor` in its Pod kube-router to see them"


def sessions_of(shells: Mapping[str, NodeShell], world: World) -> Mapping[str, tuple[Session, ...] | str]:
    """Return node -> its sessions, or why they are unknown."""
    asked = ask_all({node.name: shells[node.name] for node in world.nodes if node.name in shells}, _ask)
    found: dict[str, tuple[Session, ...] | str] = {}
    for node in world.nodes:
        said = asked.get(node.name, "no shell on the node")
        found[node.name] = f"{said}; {SETTLES}" if isinstance(said, Unreachable | str) else said
    return found


def _ask(shell: NodeShell) -> tuple[Session, ...]:
    result = shell.run(SCRIPT, stdin=b64encode(QUESTION).decode() + "\n", timeout_s=ASK_TIMEOUT_S)
    try:
        return parse_gobgp(b64decode(result.stdout, validate=True))
    except (ValueError, LookupError) as error:
        raise Unreachable(f"GoBGP on {shell.node} did not answer at {ADDRESS[0]}:{ADDRESS[1]}") from error


def judge(world: World, by_node: Mapping[str, tuple[Session, ...] | str]) -> Finding:
    """Judge: healthy if each node has a session with every other node, where they mesh, and all sessions are up."""
    rows = [row for node in by_node for row in _of_node(node, world, by_node[node])]
    if not rows:
        rows = [Evidence(subject="kube-router", status=Status.UNHEALTHY, detail="no node has a BGP session")]
    status = worst(row.status for row in rows)
    return Finding(check=BGP, status=status, summary=summary_of(rows, ()), evidence=tuple(rows))


def _of_node(node: str, world: World, said: tuple[Session, ...] | str) -> Iterator[Evidence]:
    others = {other.name: other.internal_ips for other in world.nodes if other.name != node}
    if world.network.full_mesh is not False:
        for other, ips in others.items():
            yield session_row(f"Node/{node} → Node/{other}", said, ips, "GoBGP has no such session")
    elif isinstance(said, str):
        yield Evidence(subject=f"Node/{node}", status=Status.UNKNOWN, detail=said)
    inside = {ip for ips in others.values() for ip in ips}
    for session in () if isinstance(said, str) else said:
        if session.peer not in inside:
            yield session_row(f"Node/{node} → {session.peer}:179", said, (session.peer,), "")
