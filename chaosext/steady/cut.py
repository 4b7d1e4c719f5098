"""cut_effective: is the control plane really apart from its nodes, from both sides and in both families?

A connect that fails proves a cut only when the same connect worked before it; so paths are measured twice.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from chaosext.model.finding import Evidence, Finding, Status, worst
from chaosext.nodes.network import KUBELET_CONF
from chaosext.steady.names import CUT, HEALED
from chaosext.steady.tcp import CONNECT_TIMEOUT_S, Connect, Reach, Target, family, gather_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from chaosext.cluster.objects import Node
    from chaosext.nodes.shell import NodeShell
    from chaosext.partition.cut import Network

API_SERVER_PORT = 6443
"""Where kubeadm's API servers listen (kubeadm's localAPIEndpoint.bindPort)."""

KUBELET_PORT = 10250
"""Where kubelets serve logs, exec and metrics (kubelet's --port)."""

THROUGH_S = 5.0
"""What an exec has to get through: 0.3 s is usual, and a kubelet that is cut off never answers."""

AT_ONCE = 16

BLOCKED = (Reach.TIMED_OUT, Reach.NO_ROUTE)
"""What a cut path looks like. No route as well: with its peers' packets dropped, IPv6 neighbour discovery
fails, and
the kernel then says "No route to host"."""

UNANSWERED = (*BLOCKED, Reach.RESET)
"""What a cut path through a proxy looks like: it accepts, and has nobody to pass it on to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A way that a packet may take: from a node to an address and port of the other side's node `towards`.

    `towards` is "" where a kubelet connects to no node's own address, but to a load balancer, a virtual address or a
    proxy on its own node: something that may well accept while nobody is behind it. `source` is "" for an API server
    that is no node of the cluster: then the way is that of an exec, to the kubelet of `towards`.
    """

    source: str
    towards: str
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Shut:
    """What can't be measured because it works: `nodes` that can't be entered while they are cut off from `peers`."""

    nodes: frozenset[str] = frozenset()
    peers: tuple[Network, ...] = ()


NOTHING_SHUT = Shut()


@dataclass(frozen=True, slots=True, kw_only=True)
class CutEvidence:
    """How each path behaved at one moment. `blind`: the nodes of which nobody knows where their kubelet connects.

    `shut`: the nodes from which nothing could be measured then, and was not tried.
    """

    paths: tuple[Path, ...]
    connects: Mapping[Path, Connect]
    blind: tuple[str, ...] = ()
    shut: Shut = NOTHING_SHUT


def paths_between(
    nodes: Iterable[Node],
    kubelets: Mapping[str, Sequence[Target]] | None = None,
    held: Mapping[str, str] | None = None,
    *,
    api_port: int = API_SERVER_PORT,
    kubelet_port: int = KUBELET_PORT,
) -> tuple[Path, ...]:
    """Every worker to every control-plane node's API server and back to its kubelet, on each internal
    address; and to wherever its kubelet connects (`kubelets`: worker -> targets), if that is elsewhere, such as
    at another address that a control-plane node has (`held`: address -> node).
    """
    everyone = tuple(nodes)
    masters = [node for node in everyone if node.is_control_plane]
    workers = [node for node in everyone if not node.is_control_plane]
    to_masters = (path for worker in workers for path in _paths(worker, masters, api_port))
    to_workers = (path for master in masters for path in _paths(master, workers, kubelet_port))
    own = {Target(ip, api_port) for master in masters for ip in master.internal_ips}
    elsewhere = (
        Path(source=worker.name, towards=(held or {}).get(target.host, ""), target=target)
        for worker in workers
        for target in (kubelets or {}).get(worker.name, ())
        if target not in own
    )
    return (*to_masters, *to_workers, *elsewhere)


def paths_of_api_servers(nodes: Iterable[Node], *, kubelet_port: int = KUBELET_PORT) -> tuple[Path, ...]:
    """An API server that is no node, to the kubelet of each of `nodes`, at the address that Kubernetes uses first."""
    return tuple(
        Path(source="", towards=node.name, target=Target(node.internal_ips[0], kubelet_port))
        for node in nodes
        if node.internal_ips
    )


def entered(paths: Iterable[Path]) -> set[str]:
    """The nodes from which `paths` are measured: where an API server begins one, the node at its end."""
    return {path.source or path.towards for path in paths}


def _paths(source: Node, others: Iterable[Node], port: int) -> Iterable[Path]:
    for other in others:
        for ip in other.internal_ips:
            yield Path(source=source.name, towards=other.name, target=Target(ip, port))


def gather(
    paths: Sequence[Path],
    shells: Mapping[str, NodeShell],
    *,
    timeout_s: float = CONNECT_TIMEOUT_S,
    blind: Sequence[str] = (),
    shut: Shut = NOTHING_SHUT,
) -> CutEvidence:
    """Try every path once, with one shell call a node (two where kubelets connect to no node).

    No path from a node that is `shut` is tried.
    """
    tried = [path for path in paths if path.source and path.source not in shut.nodes]
    through = _reached([path for path in paths if not path.source], shells)
    direct = _measure([path for path in tried if path.towards], shells, timeout_s, request=False)
    elsewhere = _measure([path for path in tried if not path.towards], shells, timeout_s, request=True)
    connects = {**direct, **elsewhere, **through}
    return CutEvidence(paths=tuple(paths), connects=connects, blind=tuple(blind), shut=shut)


def _reached(paths: Sequence[Path], shells: Mapping[str, NodeShell]) -> dict[Path, Connect]:
    """From an API server that is no node: who is entered through it is reached by it."""
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return dict(
            zip(paths, pool.map(lambda path: _through(path, shells[path.towards]), paths), strict=True)
        )


def _through(path: Path, shell: NodeShell) -> Connect:
    from chaosext.nodes.pod import PodShell

    is_reached = shell.is_reached(timeout_s=THROUGH_S) if isinstance(shell, PodShell) else None
    reach = {True: Reach.OPEN, False: Reach.TIMED_OUT, None: Reach.UNKNOWN}[is_reached]
    return Connect(node=path.source, target=path.target, reach=reach, detail="by exec, through an API server")


def _measure(
    paths: Sequence[Path], shells: Mapping[str, NodeShell], timeout_s: float, *, request: bool
) -> dict[Path, Connect]:
    wanted: dict[str, list[Target]] = {}
    for path in paths:
        wanted.setdefault(path.source, []).append(path.target)
    measured = gather_pairs(shells, wanted, timeout_s=timeout_s, request=request).connects
    by_ends = {(connect.node, connect.target): connect for connect in measured}
    return {path: by_ends[path.source, path.target] for path in paths}


def judge(before: CutEvidence, after: CutEvidence) -> Finding:
    """Healthy when every path that was open before is blocked now.

    One that still answers (open, refused or reset) is unhealthy, whatever it was before, and the summary names it
    with its family. One that wasn't open before, or that couldn't be measured, proves nothing: unknown. So is a node
    whose kubelet may connect anywhere. A path from a node that is shut is as cut as the way back to it.
    """

    def row(path: Path) -> Evidence:
        if path.source in after.shut.nodes:
            return _evidence(path, *_by_the_way_back(path, before, after))
        blocked = BLOCKED if path.towards else UNANSWERED
        return _evidence(path, *_was_cut(before.connects.get(path), after.connects.get(path), blocked))

    return _finding(_counted(before, after), row, good="blocked", bad=_left_open, blind=before.blind)


def judge_healed(before: CutEvidence, after: CutEvidence) -> Finding:
    """Healthy when every path that was open before is open again."""

    def row(path: Path) -> Evidence:
        return _evidence(path, *_is_back(before.connects.get(path), after.connects.get(path)))

    return _finding(_counted(before, after), row, check=HEALED, good="open again", bad=_still_blocked)


def _counted(before: CutEvidence, after: CutEvidence) -> tuple[Path, ...]:
    """All paths but the addresses of a kubelet's API server at which nothing answered, before or after: a name may
    have more addresses than listeners. Where none of them answered none is left out, and so nothing is proven.
    """
    open_ones = {
        path
        for path in after.paths
        if any(
            each and each.reach is Reach.OPEN
            for each in (before.connects.get(path), after.connects.get(path))
        )
    }
    served = {path.source for path in open_ones if not path.towards}
    return tuple(
        path for path in after.paths if path.towards or path in open_ones or path.source not in served
    )


def _was_cut(before: Connect | None, after: Connect | None, blocked: Sequence[Reach]) -> tuple[Status, str]:
    if after is None or after.reach is Reach.UNKNOWN:
        return Status.UNKNOWN, after.detail if after else "not measured"
    if after.reach not in blocked:
        return Status.UNHEALTHY, f"still answers: {after.reach}"
    if before is None or before.reach is not Reach.OPEN:
        said = before.reach if before else Reach.UNKNOWN
        return Status.UNKNOWN, f"was {said} before the cut, so it proves nothing"
    return Status.HEALTHY, f"open before, {after.reach} now"


def _by_the_way_back(path: Path, before: CutEvidence, after: CutEvidence) -> tuple[Status, str]:
    """The rules drop both directions alike: a node to which nothing gets through can't be answered either.

    Each family has rules of its own; but an API server that is no node comes by one of them only.
    That says nothing of an address that is no node's own and is not dropped: its own word is missing there.
    """
    if before.connects.get(path) is None or before.connects[path].reach is not Reach.OPEN:
        return _was_cut(
            before.connects.get(path),
            Connect(node=path.source, target=path.target, reach=Reach.TIMED_OUT),
            BLOCKED,
        )
    if not path.towards and not _is_dropped(path.target.host, after.shut):
        return (
            Status.UNKNOWN,
            "its kubelet connects there, the cut does not drop it, and it can't be entered now",
        )
    backs = [
        _was_cut(before.connects.get(each), after.connects.get(each), BLOCKED)
        for each in after.paths
        if each.towards == path.source and (not each.source or _alike(each, path))
    ]
    if not backs:
        return Status.UNKNOWN, "it can't be entered while it is cut off, and no way back to it was measured"
    status = worst(status for status, _ in backs)
    said = next(said for each, said in backs if each is status)
    return status, f"can't be entered while it is cut off; the way back: {said}"


def _alike(path: Path, other: Path) -> bool:
    return family(path.target.host) == family(other.target.host)


def _is_dropped(host: str, shut: Shut) -> bool:
    """Whether the cut drops it; what is the node's own (a proxy there) has to come by the dropped ways."""
    address = ip_address(host)
    return address.is_loopback or any(address in peer for peer in shut.peers)


def _is_back(before: Connect | None, after: Connect | None) -> tuple[Status, str]:
    if before is None or before.reach is not Reach.OPEN:
        said = before.reach if before else Reach.UNKNOWN
        return Status.UNKNOWN, f"was {said} before the cut, so it proves nothing"
    if after is None or after.reach is Reach.UNKNOWN:
        return Status.UNKNOWN, after.detail if after else "not measured"
    if after.reach is Reach.OPEN:
        return Status.HEALTHY, "open again"
    return Status.UNHEALTHY, f"open before the cut, {after.reach} now"


def _evidence(path: Path, status: Status, detail: str) -> Evidence:
    towards = f"Node/{path.towards}" if path.towards else "its kubelet's API server"
    subject = f"{_begins(path)} → {path.target} ({towards}, {family(path.target.host)})"
    return Evidence(subject=subject, status=status, detail=detail)


def _begins(path: Path) -> str:
    return f"Node/{path.source}" if path.source else "an API server"


def _left_open(path: Path) -> str:
    said = f"{family(path.target.host)} left open: {_begins(path)} → {path.target} answers"
    if path.towards:
        return said
    return f"{said}, and its kubelet connects there (name a load balancer's address in `peers`, beside all others)"


def _still_blocked(path: Path) -> str:
    return f"not back: {_begins(path)} → {path.target}"


def _unseen(node: str) -> Evidence:
    detail = f"where its kubelet connects is not known: no server that resolves in {KUBELET_CONF}"
    return Evidence(subject=f"Node/{node}", status=Status.UNKNOWN, detail=detail)


def _finding(
    paths: Sequence[Path],
    row: Callable[[Path], Evidence],
    *,
    check: str = CUT,
    good: str,
    bad: Callable[[Path], str],
    blind: Sequence[str] = (),
) -> Finding:
    rows = {path: row(path) for path in paths}
    done = sum(each.status is Status.HEALTHY for each in rows.values())
    wrong = [bad(path) for path, each in rows.items() if each.status is Status.UNHEALTHY]
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    counted = f"{done} of {len(rows)} paths {good}" if rows else "no path between control plane and nodes"
    unseen = [_unseen(node) for node in blind]
    parts = [f"{wrong[0]}{more}"] if wrong else []
    parts += [counted, *(f"{each.subject}: {each.detail}" for each in unseen[:1])]
    evidence = (*rows.values(), *unseen)
    status = worst(each.status for each in evidence)
    return Finding(check=check, status=status, summary="; ".join(parts), evidence=evidence)
