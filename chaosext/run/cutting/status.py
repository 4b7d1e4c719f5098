"""What of ours is on which node, whose, and until when. Asks the nodes and the intent log, and no API server.

What of ours is on a cluster (sentinels) is looked for in leftovers.py, after the nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import ChaosextError, Inconclusive, Refused, Unsafe
from chaosext.nodes.transport import BY_DOCKER, discover, shells
from chaosext.partition.apply import inspect
from chaosext.partition.cut import check_node
from chaosext.partition.reports import NodeTables
from chaosext.run.entering import way_back
from chaosext.safety.entry_log import CHANGING, changed
from chaosext.safety.intent import INTENT, Outstanding, intent_log, outstanding, placed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from chaosext.model.claim import LockFacts
    from chaosext.model.holder import Holder
    from chaosext.nodes.shell import NodeShell
    from chaosext.nodes.transport import Way
    from chaosext.partition.nft import TableFacts
    from chaosext.run.cutting.leftovers import FoundSentinels
    from chaosext.safety.entry_log import Changed
    from chaosext.safety.intent import Entry

SCHEMA = "chaosext.status/v1"

SOMETHING_EXIT_CODE = 10
"""Something of ours is there and accounted for. Nothing of ours: 0; not all could be asked: 30; see to it: 40."""


class Runner(StrEnum):
    """What is known of the process that a run's cut or lock is waiting for."""

    ALIVE = "alive"
    DEAD = "dead"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"

    @property
    def attends(self) -> bool:
        """Whether it will take away by itself what it put there: seen here, or renewing its lock from elsewhere."""
        return self in (Runner.ALIVE, Runner.ELSEWHERE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What was found. `unfinished`: the runs in the intent log that were not yet seen gone.

    `holders`: run -> the process that meant to cut, as far as the intent log knows. `placed`: the runs in the intent
    log whose sentinels were not yet seen gone; `way`: how nodes were entered to look; `sentinels`: those found on
    `clusters`, the contexts whose API servers were asked. `drained`: clusters that runs have changed at the entry in
    front of several, and not put back.
    `problems`: why not every place could be looked at, nodes apart (they have their own).
    """

    nodes: tuple[NodeTables, ...] = ()
    unfinished: tuple[Outstanding, ...] = ()
    holders: Mapping[str, Holder] = field(default_factory=dict)
    placed: tuple[Outstanding, ...] = ()
    way: Way = BY_DOCKER
    sentinels: tuple[FoundSentinels, ...] = ()
    clusters: frozenset[str] = frozenset()
    drained: tuple[Changed, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def cuts(self) -> Iterator[tuple[str, TableFacts]]:
        """Every table of a run, with its node."""
        return ((node.node, table) for node in self.nodes for table in node.tables)

    @property
    def locks(self) -> Iterator[tuple[str, LockFacts]]:
        return ((node.node, node.lock) for node in self.nodes if node.lock)

    @property
    def unasked(self) -> Mapping[str, str]:
        """The nodes that could not be asked, and why."""
        return {node.node: node.problem for node in self.nodes if node.problem}

    def runner(self, run: str) -> Runner:
        """What is known of the process behind `run`: by the locks on the nodes, and by the intent log."""
        locks = [lock for _, lock in self.locks if lock.run == run and lock.is_live]
        intended = self.holders.get(run)
        if any(lock.may_be_taken for lock in locks) or (intended and intended.is_dead):
            return Runner.DEAD
        if any(holder and holder.is_here for holder in (*(lock.holder for lock in locks), intended)):
            return Runner.ALIVE
        return Runner.ELSEWHERE if locks else Runner.UNKNOWN

    def runner_of(self, found: FoundSentinels) -> Runner:
        """What is known of the process behind sentinels: by their own mark, by the Lease, by the nodes."""
        holder = found.sentinels.holder
        if holder is not None and holder.is_here:
            return Runner.DEAD if holder.is_dead else Runner.ALIVE
        if found.sentinels.is_attended(found.lock):
            return Runner.ELSEWHERE
        return self.runner(found.sentinels.run)

    @property
    def orphans(self) -> tuple[tuple[str, TableFacts], ...]:
        """The live cuts that nobody is known to attend to, with their nodes."""
        return tuple(
            (node, cut) for node, cut in self.cuts if cut.is_live and not self.runner(cut.run).attends
        )

    @property
    def in_doubt(self) -> tuple[tuple[str, Outstanding], ...]:
        """The nodes that may be cut, as the intent log says, and could not be asked."""
        return tuple(
            (node, run)
            for run in self.unfinished
            if not run.is_over
            for node in run.nodes
            if node in self.unasked
        )

    @property
    def left_drained(self) -> tuple[Changed, ...]:
        """Those of `drained` that nobody will put back."""
        return tuple(each for each in self.drained if not self.runner(each.run).attends)

    @property
    def exit_code(self) -> int:
        """As in `SOMETHING_EXIT_CODE`; the worst counts. To have asked no node is not to have seen nothing."""
        if self.orphans or self.in_doubt or self.left_drained:
            return Unsafe.exit_code
        if self.unasked or self.problems or not self.nodes:
            return Inconclusive.exit_code
        return SOMETHING_EXIT_CODE if self.has_something else 0

    @property
    def has_something(self) -> bool:
        """Whether anything of ours was found, or is in the intent log."""
        return any((*self.cuts, *self.locks, *self.unfinished, *self.sentinels, *self.drained))

    def to_json(self) -> dict[str, Any]:
        """`chaosext.status/v1`: nodes (cuts, lock, problem), unfinished, sentinels, drained, problems, exit_code."""
        return {
            "schema": SCHEMA,
            "exit_code": self.exit_code,
            "nodes": [self._node(node) for node in self.nodes],
            "unfinished": [self._unfinished(run) for run in self.unfinished],
            "sentinels": [self._sentinels(found) for found in self.sentinels],
            "drained": [self._drained(each) for each in self.drained],
            "problems": list(self.problems),
        }

    def _node(self, node: NodeTables) -> dict[str, Any]:
        return {
            "node": node.node,
            "problem": node.problem,
            "cuts": [self._cut(cut) for cut in node.tables],
            "lock": self._lock(node.lock) if node.lock else None,
        }

    def _cut(self, cut: TableFacts) -> dict[str, Any]:
        return {
            **self._whose(cut),
            "uplinks": list(uplinks(cut)),
            "peers": len(cut.peers),
            "dropped_packets": cut.dropped_packets,
        }

    def _lock(self, lock: LockFacts) -> dict[str, Any]:
        return {**self._whose(lock), "holder": str(lock.holder) if lock.holder else None}

    def _whose(self, found: TableFacts | LockFacts) -> dict[str, Any]:
        return {
            "run": found.run,
            "owner": found.owner,
            "live": found.is_live,
            "remaining_s": found.remaining_s,
            "runner": self.runner(found.run).value,
        }

    def _unfinished(self, run: Outstanding) -> dict[str, Any]:
        return {
            "run": run.run,
            "owner": str(run.intent.get("owner", "")),
            "nodes": list(run.nodes),
            "let_go": run.let_go.as_wall_clock().isoformat(timespec="seconds") if run.let_go else None,
            "over": run.is_over,
            "runner": self.runner(run.run).value,
        }

    def _drained(self, found: Changed) -> dict[str, Any]:
        return {
            "run": found.run,
            "entry": found.entry,
            "cluster": found.cluster,
            "runner": self.runner(found.run).value,
        }

    def _sentinels(self, found: FoundSentinels) -> dict[str, Any]:
        since = found.sentinels.since
        return {
            "what": found.kind.value,
            "run": found.sentinels.run,
            "owner": found.sentinels.owner,
            "context": found.context,
            "namespace": found.sentinels.namespace,
            "since": since.isoformat(timespec="seconds") if since else None,
            "runner": self.runner_of(found).value,
        }


def uplinks(cut: TableFacts) -> tuple[str, ...]:
    """The interfaces on which it drops."""
    return tuple(sorted({name for drop in cut.drops for name in drop.uplinks}))


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What was found, and a shell on every node that was asked, by name."""

    overview: Overview
    shells: Mapping[str, NodeShell]


def look(named: Collection[str] = (), *, cluster: str | None = None, way: Way = BY_DOCKER) -> Surveyed:
    """Ask every node that can be found: kind's (of `cluster`, or of all), by the transport `pod` the control plane's;
    those `named`, and the intent log's.

    What can't be asked is in the answer. Raises `Refused` for a transport that there is not, or what names no node.
    """
    named = [check_node(name) for name in named]
    log, problems = _entries()
    way, found, unfound = _discovered(way, cluster, named)
    unfinished = _of(cluster, outstanding(log), (*found, *named))
    on = dict(shells((*found, *named), way))
    nowhere: dict[str, str] = {}
    for run in unfinished:
        try:
            on |= {name: shell for name, shell in _shells_of(run).items() if name not in on}
        except ChaosextError as error:  # an entry that leads nowhere keeps no other from being looked at
            nowhere |= dict.fromkeys(run.nodes, f"run {run.run} in the intent log: {error}")
    missed = (NodeTables(node=name, problem=why) for name, why in nowhere.items() if name not in on)
    asked = tuple(sorted((*inspect(on), *missed), key=lambda node: node.node))
    overview = Overview(
        nodes=asked,
        unfinished=unfinished,
        holders=dict(_holders(log)),
        drained=changed(log),
        way=way,
        placed=tuple(run for run in placed(log) if cluster is None or run.context == f"kind-{cluster}"),
        problems=(*problems, *unfound, *_foreign(asked)),
    )
    return Surveyed(overview, on)


def _foreign(nodes: Iterable[NodeTables]) -> Iterator[str]:
    """Tables that have the prefix of a run's, and are not one by what is in them."""
    for node in nodes:
        for table in node.foreign:
            yield f"table inet {table} on {node.node} is not chaosext's by what is in it, and is left alone"


def _entries() -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The intent log, or why it can't be read: the nodes tell the truth without it."""
    try:
        return intent_log().entries(), ()
    except ChaosextError as error:
        return (), (str(error),)


def _discovered(
    way: Way, cluster: str | None, named: Collection[str]
) -> tuple[Way, tuple[str, ...], tuple[str, ...]]:
    """The way, opened, and the nodes that docker or the API server shows, or why they can't.

    Who names nodes has no need of docker.
    """
    if way.asks_the_api_server:
        return _by_api_server(way, named)
    try:
        return way, discover(way, cluster), ()
    except Refused as error:
        return way, (), () if named else (str(error),)


def _by_api_server(way: Way, named: Collection[str]) -> tuple[Way, tuple[str, ...], tuple[str, ...]]:
    """Pods of ours are put on the nodes for as long as this process lives: there is no other way to look at them."""
    try:
        opened, nodes = way_back(way, named)
    except ChaosextError as error:
        return replace(way, closed=str(error)), (), (str(error),)
    return opened, nodes, ()


def _shells_of(run: Outstanding) -> Mapping[str, NodeShell]:
    """Raises `Refused` for what names no node, and for a transport that there is not."""
    return shells(map(check_node, run.nodes), _way_of(run))


def _way_of(run: Outstanding) -> Way:
    if not run.way.asks_the_api_server:
        return run.way
    if run.is_sealed and run.let_go:
        until = f"until {run.let_go.as_wall_clock():%H:%M:%S} UTC at the latest"
        return replace(
            run.way, closed=f"cut off {until}: no API server leads there, nobody can heal it earlier"
        )
    return _by_api_server(run.way, run.nodes)[0]


def _of(cluster: str | None, runs: Iterable[Outstanding], nodes: Collection[str]) -> tuple[Outstanding, ...]:
    """The runs on kind's `cluster`: by their context, or by a node of theirs. All of them where none is named."""
    return tuple(
        run
        for run in runs
        if cluster is None or run.context == f"kind-{cluster}" or set(run.nodes) & set(nodes)
    )


def _holders(log: Iterable[Entry]) -> Iterator[tuple[str, Holder]]:
    for entry in log:
        if entry["event"] in (INTENT, CHANGING):
            holder = Outstanding(run=entry["run"], nodes=(), intent=entry).holder
            if holder:
                yield entry["run"], holder
