"""What chaosext has on nodes and clusters (cuts, locks, sentinels and Pods), by run, and what happens to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chaosext.cluster.pods_on_nodes import FoundPods
from chaosext.model.errors import Inconclusive, Unsafe
from chaosext.model.owner import LockFacts
from chaosext.nodes.shell import BY_DOCKER
from chaosext.partition.apply import how_to_remove
from chaosext.partition.cut import check_run
from chaosext.partition.reports import NodeTables, how_to_clean_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.cluster.daemonset import SentinelDaemonSet
    from chaosext.model.owner import Holder, LockFacts
    from chaosext.nodes.shell import NodeAccess
    from chaosext.partition.nft import TableFacts
    from chaosext.safety.intent import (
        Changed,
        Outstanding,
    )

STATUS_SCHEMA, REMOVAL_SCHEMA = "chaosext.status/v1", "chaosext.cleanup/v1"

SOMETHING_EXIT_CODE = 10
"""Exit code if something of chaosext exists and is accounted for. Others: 0 nothing found, 30 not everything
could be asked, 40 action required."""


class RunnerState(StrEnum):
    """What is known of the process that owns a cut or lock."""

    ALIVE = "alive"
    DEAD = "dead"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"

    @property
    def attends(self) -> bool:
        """Whether it will remove its own objects: it is seen here, or renews its lock from elsewhere."""
        return self in (RunnerState.ALIVE, RunnerState.ELSEWHERE)


class LeftoverKind(StrEnum):
    CUT = "cut"
    LOCK = "lock"
    SENTINELS = "sentinels"
    PODS = "pods"


class Why(StrEnum):
    """Why something is removed."""

    EXPIRED = "expired"
    ORPHANED = "orphaned"
    NAMED = "named"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The cut or lock of `run` on `node`. For sentinels and Pods, `node` is the context of their cluster.

    `why`: the reason to remove it; None: it is left to `runner`, or contains something `foreign`, so that
    people must decide.
    """

    kind: LeftoverKind
    run: str
    node: str
    live: bool
    runner: RunnerState
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
class CleanupScope:
    """What to clean up beyond expired and orphaned objects: `everything`, or instead only the objects of `run`.

    On `nodes`, the run is healed even if they cannot report what they have.
    """

    run: str | None = None
    nodes: tuple[str, ...] = ()
    everything: bool = False

    def __post_init__(self) -> None:
        if self.run is not None:
            check_run(self.run)

    def names(self, run: str) -> bool:
        """Whether the objects of `run` are removed even if it is alive."""
        return self.everything or run == self.run

    def concerns(self, run: str) -> bool:
        return self.run in (None, run)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSentinels:
    """Sentinels, or a run's Pods on nodes, on the cluster of `context`; `lock`: the holder of its Lease."""

    context: str
    sentinels: SentinelDaemonSet | FoundPods
    lock: LockFacts | None

    @property
    def kind(self) -> LeftoverKind:
        return LeftoverKind.PODS if isinstance(self.sentinels, FoundPods) else LeftoverKind.SENTINELS


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything that was found. `unfinished`: runs in the intent log that are not yet confirmed as removed.

    `holders`: run -> the process that planned the cut, if the intent log has it. `placed`: runs in the intent
    log whose sentinels are not yet confirmed as removed. `way`: how nodes were entered. `sentinels`: those
    found on `clusters`, the contexts whose API servers were asked. `drained`: clusters that runs changed at a
    load balancer and did not restore. `problems`: why some places could not be examined, except nodes (they
    have their own).
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
        """Each run's table with its node."""
        return ((node.node, table) for node in self.nodes for table in node.tables)

    @property
    def locks(self) -> Iterator[tuple[str, LockFacts]]:
        return ((node.node, node.lock) for node in self.nodes if node.lock)

    @property
    def unasked(self) -> Mapping[str, str]:
        """The nodes that could not be asked, and why."""
        return {node.node: node.problem for node in self.nodes if node.problem}

    def runner(self, run: str) -> RunnerState:
        """What is known of the process of `run`, from the locks on the nodes and the intent log."""
        locks = [lock for _, lock in self.locks if lock.run == run and lock.is_live]
        intended = self.holders.get(run)
        if any(lock.may_be_taken for lock in locks) or (intended and intended.is_dead):
            return RunnerState.DEAD
        if any(holder and holder.is_here for holder in (*(lock.holder for lock in locks), intended)):
            return RunnerState.ALIVE
        return RunnerState.ELSEWHERE if locks else RunnerState.UNKNOWN

    def runner_of(self, found: FoundSentinels) -> RunnerState:
        """What is known of the process that owns sentinels, from their own annotation, the Lease and the nodes."""
        holder = found.sentinels.holder
        if holder is not None and holder.is_here:
            return RunnerState.DEAD if holder.is_dead else RunnerState.ALIVE
        if found.sentinels.is_attended(found.lock):
            return RunnerState.ELSEWHERE
        return self.runner(found.sentinels.run)

    @property
    def orphans(self) -> tuple[tuple[str, TableFacts], ...]:
        """Live cuts that no process is known to remove, with their nodes."""
        return tuple(
            (node, cut) for node, cut in self.cuts if cut.is_live and not self.runner(cut.run).attends
        )

    @property
    def in_doubt(self) -> tuple[tuple[str, Outstanding], ...]:
        """Nodes that may be cut according to the intent log, and could not be asked."""
        return tuple(
            (node, run)
            for run in self.unfinished
            if not run.is_over
            for node in run.nodes
            if node in self.unasked
        )

    @property
    def left_drained(self) -> tuple[Changed, ...]:
        """Those of `drained` that no process is known to restore."""
        return tuple(each for each in self.drained if not self.runner(each.run).attends)

    @property
    def exit_code(self) -> int:
        """The most severe exit code that applies (see `SOMETHING_EXIT_CODE`). Without any node asked, at least 30."""
        if self.orphans or self.in_doubt or self.left_drained:
            return Unsafe.exit_code
        if self.unasked or self.problems or not self.nodes:
            return Inconclusive.exit_code
        return SOMETHING_EXIT_CODE if self.has_something else 0

    @property
    def has_something(self) -> bool:
        """Whether anything of chaosext was found, or is in the intent log."""
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
    """The interfaces on which it drops packets."""
    return tuple(sorted({name for drop in cut.drops for name in drop.uplinks}))


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupResult:
    """What a cleanup did or, with `dry_run`, would do. `failed`: removals that were not confirmed, and why.

    `finished`: run -> nodes on which it has ended although the intent log listed it as unfinished.
    `in_doubt`: run -> nodes that it may cut, and that could not be asked. `unasked`: every node that could
    not be asked, and why. `unaudited`: why removals are missing from the audit log. `way`: how the nodes were
    entered.
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
        """Run -> nodes on which its cut may still be active although it should not be."""
        nodes: dict[str, set[str]] = {run: set(names) for run, names in self.in_doubt.items()}
        for found in (*self.failed, *self._unattended):
            if (
                found.kind is LeftoverKind.CUT
                and found.live
                and found.node not in self.finished.get(found.run, ())
            ):
                nodes.setdefault(found.run, set()).add(found.node)
        return {run: tuple(sorted(names)) for run, names in nodes.items()}

    @property
    def _unattended(self) -> tuple[Found, ...]:
        """What was left although no process is known to remove it."""
        return tuple(found for found in self.left if found.foreign or not found.runner.attends)

    @property
    def exit_code(self) -> int:
        """40: a cut may still be active; 30: something could not be asked, removed or attributed; else 0."""
        if self.may_cut:
            return Unsafe.exit_code
        doubts = any(found.foreign for found in self.left)
        return Inconclusive.exit_code if self.failed or self.unasked or self.problems or doubts else 0

    def require_gone(self) -> None:
        """Raise `Unsafe`, saying what, where and how to remove it, if a cut may still be active."""
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
