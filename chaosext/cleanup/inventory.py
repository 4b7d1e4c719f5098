"""What chaosext has on nodes and clusters: cuts, locks, sentinels and Pods, by run, and what becomes of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chaosext.cluster.pods_on_nodes import FoundPods
from chaosext.model.errors import Inconclusive, Unsafe
from chaosext.model.owner import LockFacts
from chaosext.nodes.access import BY_DOCKER
from chaosext.partition.apply import how_to_remove
from chaosext.partition.cut import check_run
from chaosext.partition.reports import NodeTables, how_to_clean_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.cluster.daemonset import Sentinels
    from chaosext.model.owner import Holder, LockFacts
    from chaosext.nodes.access import NodeAccess
    from chaosext.partition.nft import TableFacts
    from chaosext.safety.intent import (
        Changed,
        Outstanding,
    )

STATUS_SCHEMA, REMOVAL_SCHEMA = "chaosext.status/v1", "chaosext.cleanup/v1"

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


class Kind(StrEnum):
    CUT = "cut"
    LOCK = "lock"
    SENTINELS = "sentinels"
    PODS = "pods"


class Why(StrEnum):
    """Why something of ours is taken away."""

    EXPIRED = "expired"
    ORPHANED = "orphaned"
    NAMED = "named"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The cut or lock of `run` on `node`, or its sentinels on the cluster of the context that `node` is then.

    `why` it is cleaned up; None: it is left to `runner`, or it holds something `foreign`, which people decide on.
    """

    kind: Kind
    run: str
    node: str
    live: bool
    runner: Runner
    why: Why | None
    foreign: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "run": self.run,
            "node": self.node,
            "live": self.live,
            "runner": self.runner.value,
            "why": self.why.value if self.why else None,
            **({"foreign": self.foreign} if self.foreign else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to clean up besides what expired or is orphaned: `everything` of chaosext, or instead of them only `run`.

    On `nodes` the run is healed even where they can't say what they have.
    """

    run: str | None = None
    nodes: tuple[str, ...] = ()
    everything: bool = False

    def __post_init__(self) -> None:
        if self.run is not None:
            check_run(self.run)

    def names(self, run: str) -> bool:
        """Whether `run` is taken away, alive or not."""
        return self.everything or run == self.run

    def concerns(self, run: str) -> bool:
        return self.run in (None, run)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSentinels:
    """Sentinels, or the Pods by which a run enters nodes, on the cluster of `context`; `lock`: who has its Lease."""

    context: str
    sentinels: Sentinels | FoundPods
    lock: LockFacts | None

    @property
    def kind(self) -> Kind:
        return Kind.PODS if isinstance(self.sentinels, FoundPods) else Kind.SENTINELS


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
    way: NodeAccess = BY_DOCKER
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
            "schema": STATUS_SCHEMA,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupResult:
    """What a cleanup came to, or (`dry_run`) would do. `failed`: what it could not see gone, and why.

    `finished`: run -> the nodes on which it is over now, that the intent log had as unfinished; `in_doubt`: run -> the
    nodes that may be cut by it and could not be asked. `unasked`: every node that could not be asked, and why.
    `unaudited`: why the audit log does not have what was removed; `way`: how the nodes were entered.
    """

    dry_run: bool
    removed: tuple[Found, ...]
    failed: Mapping[Found, str]
    left: tuple[Found, ...]
    finished: Mapping[str, tuple[str, ...]]
    in_doubt: Mapping[str, tuple[str, ...]]
    unasked: Mapping[str, str]
    problems: tuple[str, ...]
    unaudited: tuple[str, ...] = ()
    way: NodeAccess = BY_DOCKER

    @property
    def may_cut(self) -> Mapping[str, tuple[str, ...]]:
        """Run -> the nodes on which it may still be in force, though it should not."""
        nodes: dict[str, set[str]] = {run: set(names) for run, names in self.in_doubt.items()}
        for found in (*self.failed, *self._unattended):
            if found.kind is Kind.CUT and found.live and found.node not in self.finished.get(found.run, ()):
                nodes.setdefault(found.run, set()).add(found.node)
        return {run: tuple(sorted(names)) for run, names in nodes.items()}

    @property
    def _unattended(self) -> tuple[Found, ...]:
        """What was left, and that no process is known to remove."""
        return tuple(found for found in self.left if found.foreign or not found.runner.attends)

    @property
    def exit_code(self) -> int:
        """40: something may still cut; 30: not all could be asked, removed, or told whose it is; 0."""
        if self.may_cut:
            return Unsafe.exit_code
        doubts = any(found.foreign for found in self.left)
        return Inconclusive.exit_code if self.failed or self.unasked or self.problems or doubts else 0

    def require_gone(self) -> None:
        """Raise `Unsafe`, saying what, where and how to remove it, when something may still cut."""
        if left := self.may_cut:
            cuts = "; ".join(f"run {run} on {', '.join(nodes)}" for run, nodes in left.items())
            spared = {found.run for found in self._unattended if not found.foreign}
            fix = "; ".join(
                how_to_clean_up(run, self.way) if run in spared else how_to_remove(run, nodes, self.way)
                for run, nodes in left.items()
            )
            raise Unsafe(f"cuts may still be in force: {cuts}", fix)

    def to_json(self) -> dict[str, Any]:
        """`chaosext.cleanup/v1`."""
        return {
            "schema": REMOVAL_SCHEMA,
            "dry_run": self.dry_run,
            "exit_code": self.exit_code,
            "removed": [found.to_json() for found in self.removed],
            "failed": [{**found.to_json(), "problem": problem} for found, problem in self.failed.items()],
            "left": [found.to_json() for found in self.left],
            "finished": {run: list(nodes) for run, nodes in self.finished.items()},
            "may_cut": {run: list(nodes) for run, nodes in self.may_cut.items()},
            "unasked": dict(self.unasked),
            "problems": list(self.problems),
            "unaudited": list(self.unaudited),
        }
