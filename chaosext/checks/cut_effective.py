"""cut_effective: does the cut separate control plane and nodes, in both directions and both address families?

A failed connect proves a cut only if the same connect succeeded before it, so paths are measured twice.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import islice, zip_longest
from typing import TYPE_CHECKING

from chaosext.checks.check_names import CUT, HEALED
from chaosext.checks.tcp_reachability import CONNECT_TIMEOUT_S, Connect, Reach, Target, family, gather_pairs
from chaosext.model.findings import Evidence, Finding, Status, worst
from chaosext.nodes.node_network import KUBELET_CONF

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from chaosext.cluster.objects import Node
    from chaosext.nodes.shell import NodeShell
    from chaosext.partition.cut import Network

API_SERVER_PORT = 6443
"""Default port of kubeadm's API servers (localAPIEndpoint.bindPort)."""

KUBELET_PORT = 10250
"""Port at which kubelets serve logs, exec and metrics (kubelet's --port)."""

CONTROL_PLANE_PORTS = (API_SERVER_PORT, 2379, 2380, KUBELET_PORT)
"""Ports between control-plane nodes, including etcd's client and peer ports (kubernetes.io, "Ports and Protocols")."""

THROUGH_S = 5.0
"""Timeout of an exec, in seconds: 0.3 s is usual, and a kubelet that is cut off never answers."""

AT_ONCE = 16

LANES = 48
"""Number of connects that a node tries in parallel.

Most of them wait for an answer that never comes: idle processes of 2.5 MiB each.
"""

MOST_FROM = 3 * LANES
MOST_SOURCES = 64
MOST_THROUGH = 2 * AT_ONCE
"""Limits of a sample: paths from one node, nodes with paths, and paths from API servers outside the cluster's nodes.

A blocked path takes `CONNECT_TIMEOUT_S`, and all must end long before the cut does.
"""

BLOCKED = (Reach.TIMED_OUT, Reach.NO_ROUTE)
"""Results of a cut path.

"No route to host" is one of them: with the peers' packets dropped, IPv6 neighbour discovery fails, and the
kernel reports that.
"""

CUT_APART = "the control plane is cut apart"

UNANSWERED = (*BLOCKED, Reach.RESET)
"""Results of a cut path through a proxy, which accepts the connection although it has no backend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A path of packets: from a node to an address and port of the node `towards` on the other side.

    `towards` is "" if a kubelet connects to an address that is not a node's: a load balancer, a virtual
    address, or a proxy on its own node. Such an address may accept connections without a backend. `source` is
    "" for an API server that is not a node of the cluster; the path is then that of an exec, to the kubelet
    of `towards`.
    """

    source: str
    towards: str
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Shut:
    """Nodes that the cut makes inaccessible: `nodes` can't be entered while they are cut off from `peers`."""

    nodes: frozenset[str] = frozenset()
    peers: tuple[Network, ...] = ()


NOTHING_SHUT = Shut()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """The number of paths that are not measured, and the nodes that no measured path begins or ends at."""

    paths: int = 0
    nodes: tuple[str, ...] = ()

    def __str__(self) -> str:
        missed = f", with {len(self.nodes)} nodes ({_some(self.nodes)})" if self.nodes else ""
        return f"{self.paths} more paths are not in the sample{missed}"


NOTHING_LEFT_OUT = LeftOut()


@dataclass(frozen=True, slots=True, kw_only=True)
class CutEvidence:
    """Results of all paths at one time.

    - `blind`: nodes whose kubelet's API server address is unknown.
    - `kept`: paths that the cut must leave open.
    - `left_out`: paths that the sample omits.
    - `shut`: nodes that were inaccessible, so that no paths from them were tried.
    """

    paths: tuple[Path, ...]
    connects: Mapping[Path, Connect]
    blind: tuple[str, ...] = ()
    shut: Shut = NOTHING_SHUT
    kept: tuple[Path, ...] = ()
    left_out: LeftOut = NOTHING_LEFT_OUT


def paths_between(
    nodes: Iterable[Node],
    kubelets: Mapping[str, Sequence[Target]] | None = None,
    held: Mapping[str, str] | None = None,
    *,
    api_port: int = API_SERVER_PORT,
    kubelet_port: int = KUBELET_PORT,
) -> tuple[Path, ...]:
    """Return the paths between control plane and workers, on each internal address.

    They lead from each worker to every control-plane node's API server and back to the worker's kubelet, and
    to the addresses that the worker's kubelet connects to (`kubelets`: worker -> targets), if these differ.
    Those may be other addresses of a control-plane node (`held`: address -> node).
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


def paths_within(
    control_plane: Iterable[Node],
    kubelets: Mapping[str, Sequence[Target]] | None = None,
    held: Mapping[str, str] | None = None,
) -> tuple[Path, ...]:
    """Return the paths between control-plane nodes, on each internal address and control-plane port.

    They include paths to the addresses that each node's kubelet connects to, except the node's own.
    """
    nodes = tuple(control_plane)
    direct = [
        path
        for source in nodes
        for port in CONTROL_PLANE_PORTS
        for path in _paths(source, [node for node in nodes if node is not source], port)
    ]
    to_servers = (
        Path(source=source.name, towards=(held or {}).get(target.host, ""), target=target)
        for source in nodes
        for target in (kubelets or {}).get(source.name, ())
    )
    return tuple(dict.fromkeys((*direct, *(path for path in to_servers if path.towards != path.source))))


def paths_of_api_servers(nodes: Iterable[Node], *, kubelet_port: int = KUBELET_PORT) -> tuple[Path, ...]:
    """Return the paths from an API server outside the nodes to each kubelet, at the address that Kubernetes prefers."""
    return tuple(
        Path(source="", towards=node.name, target=Target(node.internal_ips[0], kubelet_port))
        for node in nodes
        if node.internal_ips
    )


def sampled(paths: Iterable[Path], first: Collection[str]) -> tuple[tuple[Path, ...], LeftOut]:
    """Return as many paths as can be measured in a few seconds: all if they are few, else always the same sample.

    Paths from the nodes in `first` (the control plane's) are always included. The sample covers every node,
    direction and address family as far as possible; the rest is reported as left out.
    """
    every = tuple(paths)
    by_source: dict[str, list[Path]] = {}
    for path in every:
        by_source.setdefault(path.source, []).append(path)
    chosen = {
        source: _spread(own, MOST_FROM if source else MOST_THROUGH, turn)
        for turn, (source, own) in enumerate(by_source.items())
    }
    heavy = [source for source in chosen if source in first or not source]
    reached = {path.towards for source in heavy for path in chosen[source]}
    light = sorted((source for source in chosen if source not in heavy), key=lambda name: name in reached)
    kept = {path for source in (*heavy, *light[:MOST_SOURCES]) for path in chosen[source]}
    nodes = {name for path in every for name in _ends(path)} - {name for path in kept for name in _ends(path)}
    left_out = LeftOut(paths=len(set(every) - kept), nodes=tuple(sorted(nodes)))
    return tuple(path for path in every if path in kept), left_out


def _ends(path: Path) -> tuple[str, ...]:
    return tuple(name for name in (path.source, path.towards) if name)


def _spread(paths: Sequence[Path], most: int, turn: int) -> Sequence[Path]:
    """Return at most `most` paths from one node: one to each other node, alternating address families, then the next.

    `turn` shifts the first destination, so that each source begins with other nodes.
    """
    if len(paths) <= most:
        return paths
    by_end: dict[str, list[Path]] = {}
    for path in paths:
        by_end.setdefault(path.towards, []).append(path)
    ends = [own[number % len(own) :] + own[: number % len(own)] for number, own in enumerate(by_end.values())]
    begin = turn * most % len(ends)
    in_turn = (
        path for each in zip_longest(*ends[begin:], *ends[:begin]) for path in each if path is not None
    )
    return list(islice(in_turn, most))


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def entered(paths: Iterable[Path]) -> set[str]:
    """Return the nodes that must be entered to measure `paths`; for a path from an API server, its destination."""
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
    kept: Sequence[Path] = (),
    left_out: LeftOut = NOTHING_LEFT_OUT,
) -> CutEvidence:
    """Try all paths once, in parallel, with one shell call per node (two if kubelets connect to other addresses).

    Paths from nodes in `shut` are not tried.
    """
    tried = [path for path in (*paths, *kept) if path.source and path.source not in shut.nodes]
    direct, elsewhere = [path for path in tried if path.towards], [path for path in tried if not path.towards]
    with ThreadPoolExecutor() as pool:
        measured = (
            pool.submit(_reached, [path for path in paths if not path.source], shells),
            pool.submit(_measure, direct, shells, timeout_s, request=False),
            pool.submit(_measure, elsewhere, shells, timeout_s, request=True),
        )
    connects = {path: connect for some in measured for path, connect in some.result().items()}
    return CutEvidence(
        paths=tuple(paths),
        connects=connects,
        blind=tuple(blind),
        shut=shut,
        kept=tuple(kept),
        left_out=left_out,
    )


def gather_again(
    before: CutEvidence, shells: Mapping[str, NodeShell], *, shut: Shut = NOTHING_SHUT
) -> CutEvidence:
    """Measure the same paths again, and those of `kept` that were open before."""
    kept = [path for path in before.kept if was_open(before, path)]
    return gather(before.paths, shells, shut=shut, kept=kept)


def answering(now: CutEvidence) -> tuple[Path, ...]:
    """Return the paths whose destination answers."""
    return tuple(path for path in now.paths if _answers(path, now.connects.get(path)))


def _answers(path: Path, connect: Connect | None) -> bool:
    silent = (Reach.UNKNOWN, Reach.UNRESOLVED, *(BLOCKED if path.towards else UNANSWERED))
    return connect is not None and connect.reach not in silent


def was_open(before: CutEvidence, path: Path) -> bool:
    """Whether the path was open when `before` was measured."""
    connect = before.connects.get(path)
    return connect is not None and connect.reach is Reach.OPEN


def _reached(paths: Sequence[Path], shells: Mapping[str, NodeShell]) -> dict[Path, Connect]:
    """Measure paths from an API server outside the nodes: it reaches a node if an exec through it succeeds."""
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        asked = {path: pool.submit(_through, path, shells[path.towards]) for path in paths}
    return {path: answer.result() for path, answer in asked.items()}


def _through(path: Path, shell: NodeShell) -> Connect:
    from chaosext.nodes.pod_shell import PodShell

    is_reached = shell.is_reached(timeout_s=THROUGH_S) if isinstance(shell, PodShell) else None
    reach = {True: Reach.OPEN, False: Reach.TIMED_OUT, None: Reach.UNKNOWN}[is_reached]
    return Connect(node=path.source, target=path.target, reach=reach, detail="by exec, through an API server")


def _measure(
    paths: Sequence[Path], shells: Mapping[str, NodeShell], timeout_s: float, *, request: bool
) -> dict[Path, Connect]:
    wanted: dict[str, list[Target]] = {}
    for path in paths:
        wanted.setdefault(path.source, []).append(path.target)
    measured = gather_pairs(shells, wanted, timeout_s=timeout_s, request=request, lanes=LANES).connects
    by_ends = {(connect.node, connect.target): connect for connect in measured}
    return {path: by_ends[path.source, path.target] for path in paths}


def judge(before: CutEvidence, after: CutEvidence) -> Finding:
    """Judge: healthy if every path that was open before is blocked now, and the paths to keep are open.

    A path that still answers (open, refused or reset) is unhealthy, whatever it was before, and the summary
    names it with its address family. A path that was not open before, or was not measured, proves nothing:
    unknown. So does a node whose kubelet's API server is unknown. A path from an inaccessible node counts as
    cut if the reverse path is.
    """

    def row(path: Path) -> Evidence:
        if path.source in after.shut.nodes:
            return _evidence(path, *_by_the_way_back(path, before, after))
        blocked = BLOCKED if path.towards else UNANSWERED
        return _evidence(path, *_was_cut(before.connects.get(path), after.connects.get(path), blocked))

    return _finding(
        _counted(before, after),
        row,
        good="blocked",
        bad=_left_open,
        beside=(*_kept(before, after), *map(_unseen, before.blind)),
        left_out=before.left_out,
    )


def closed(before: CutEvidence, after: CutEvidence) -> tuple[Path, ...]:
    """Return the paths between control-plane nodes that were open before and are blocked now."""
    return tuple(path for path in after.kept if was_open(before, path) and _is_closed(after, path))


def _is_closed(after: CutEvidence, path: Path) -> bool:
    connect = after.connects.get(path)
    return connect is not None and connect.reach in (BLOCKED if path.towards else UNANSWERED)


def _kept(before: CutEvidence, after: CutEvidence) -> Iterable[Evidence]:
    """Yield a row for each path to keep that was open before, closed ones first.

    Each pair of nodes without such a path gets a row too: it is unknown whether they stay connected.
    """
    gone = closed(before, after)
    for path in (*gone, *(path for path in after.kept if path not in gone)):
        yield _kept_row(path, after.connects.get(path), is_closed=path in gone)
    pairs = {(path.source, path.towards) for path in before.kept if path.towards}
    together = {(path.source, path.towards) for path in before.kept if was_open(before, path)}
    for source, towards in sorted(pairs - together):
        detail = "no path between them was open before the cut, so it can't be seen that they stay together"
        yield Evidence(subject=f"Node/{source} → Node/{towards}", status=Status.UNKNOWN, detail=detail)


def _kept_row(path: Path, connect: Connect | None, *, is_closed: bool) -> Evidence:
    if connect is None or connect.reach is Reach.UNKNOWN:
        return _evidence(path, Status.UNKNOWN, connect.detail if connect else "not measured")
    if is_closed:
        return _evidence(path, Status.UNHEALTHY, f"{CUT_APART}: open before the cut, {connect.reach} now")
    return _evidence(path, Status.HEALTHY, "kept open")


def judge_healed(before: CutEvidence, after: CutEvidence) -> Finding:
    """Judge: healthy if every path that was open before is open again."""

    def row(path: Path) -> Evidence:
        return _evidence(path, *_is_back(before.connects.get(path), after.connects.get(path)))

    return _finding(_counted(before, after), row, check=HEALED, good="open again", bad=_still_blocked)


def _counted(before: CutEvidence, after: CutEvidence) -> tuple[Path, ...]:
    """Return the paths that count.

    They exclude addresses of a kubelet's API server that never answered, since a name may have more addresses
    than listeners. If none of a node's addresses ever answered, all count, so that nothing is proven.
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
    """Judge a path from an inaccessible node by the reverse paths, since the rules drop both directions.

    The rules differ by address family; an API server outside the nodes uses only one of them. The reverse
    paths prove nothing about an address that is not a node's own and that the cut does not drop: that path
    would have to be measured from the node.
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
    """Whether the cut drops traffic to `host`; a loopback address (a local proxy) depends on dropped paths."""
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
    detail = f"unknown where its kubelet connects: no server that resolves in {KUBELET_CONF}"
    return Evidence(subject=f"Node/{node}", status=Status.UNKNOWN, detail=detail)


def _finding(
    paths: Sequence[Path],
    row: Callable[[Path], Evidence],
    *,
    check: str = CUT,
    good: str,
    bad: Callable[[Path], str],
    beside: Sequence[Evidence] = (),
    left_out: LeftOut = NOTHING_LEFT_OUT,
) -> Finding:
    """Build a finding with a row for each path, and those in `beside`, the worst of which is in the summary."""
    rows = {path: row(path) for path in paths}
    done = sum(each.status is Status.HEALTHY for each in rows.values())
    wrong = [bad(path) for path, each in rows.items() if each.status is Status.UNHEALTHY]
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    counted = f"{done} of {len(rows)} paths {good}" if rows else "no path between control plane and nodes"
    bad_beside, unseen = (
        [f"{each.subject}: {each.detail}" for each in beside if each.status is status][:1]
        for status in (Status.UNHEALTHY, Status.UNKNOWN)
    )
    open_ones = [f"{wrong[0]}{more}"] if wrong else []
    sample = [str(left_out)] if left_out.paths else []
    parts = [*bad_beside, *open_ones, counted, *sample, *unseen]
    evidence = (*rows.values(), *beside)
    status = worst(each.status for each in evidence)
    return Finding(check=check, status=status, summary="; ".join(parts), evidence=evidence)
