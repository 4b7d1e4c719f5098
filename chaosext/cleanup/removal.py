"""The cleanup: remove what has expired, what no live run owns, or what is named.

It asks no API server. agent_pods.py removes sentinels and Pods afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.cleanup.inventory import CleanupResult, CleanupScope, Found, LeftoverKind, RunnerState, Why
from chaosext.model.errors import Refused
from chaosext.model.owner import LockFacts
from chaosext.partition.apply import heal
from chaosext.partition.nft import LOCK_TABLE, table_of
from chaosext.partition.node_lock import remove_lock
from chaosext.run.session.run_context import owner
from chaosext.safety.audit_log import AuditEvent, Deed, note
from chaosext.safety.intent import GONE, intent_log

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from chaosext.cleanup.inventory import Overview
    from chaosext.cleanup.survey import Surveyed
    from chaosext.nodes.shell import NodeShell
    from chaosext.partition.nft import TableFacts


Place = tuple[str, str]
"""A run and a node."""


def clean_up(surveyed: Surveyed, wanted: CleanupScope, *, dry_run: bool = False) -> CleanupResult:
    """Remove what `decide` selects, confirm that, and record in the intent log which runs have ended where.

    May be repeated. Raises `Inconclusive` if the intent log cannot be written, after everything else is done.
    """
    overview = surveyed.overview
    found = decide(overview, wanted)
    doomed = tuple(each for each in found if each.why)
    failed = {} if dry_run else _remove(doomed, surveyed.shells)
    removed = tuple(each for each in doomed if each not in failed)
    left = tuple(each for each in found if not each.why)
    unaudited = () if dry_run else _write_down(removed)
    finished = _finished(overview, wanted, _places(removed), (*left, *failed))
    if not dry_run:
        for run, nodes in finished.items():
            intent_log().write({"event": GONE, "run": run, "nodes": list(nodes)})
    return CleanupResult(
        dry_run=dry_run,
        removed=removed,
        failed=failed,
        left=left,
        finished=finished,
        in_doubt=_in_doubt(overview, wanted, finished),
        unasked=overview.unasked,
        problems=overview.problems,
        unaudited=unaudited,
        way=overview.way,
    )


def decide(overview: Overview, wanted: CleanupScope) -> tuple[Found, ...]:
    """Decide which cuts and locks within `wanted` are removed and why, or that they are left. Pure."""
    cuts = (
        _found(LeftoverKind.CUT, overview, wanted, *cut)
        for cut in overview.cuts
        if wanted.concerns(cut[1].run)
    )
    locks = (
        _found(LeftoverKind.LOCK, overview, wanted, *lock)
        for lock in overview.locks
        if wanted.concerns(lock[1].run)
    )
    found = {*cuts, *locks, *_unseen(overview, wanted)}
    return tuple(sorted(found, key=lambda each: (each.kind, each.run, each.node)))


def _found(
    kind: LeftoverKind, overview: Overview, wanted: CleanupScope, node: str, what: TableFacts | LockFacts
) -> Found:
    runner, foreign = overview.runner(what.run), _foreign(what)
    return Found(
        kind=kind,
        run=what.run,
        node=node,
        live=what.is_live,
        runner=runner,
        why=None if foreign else _why(wanted, what, runner),  # deleting the table would delete foreign parts
        foreign=foreign,
    )


def _why(wanted: CleanupScope, what: TableFacts | LockFacts, runner: RunnerState) -> Why | None:
    if wanted.names(what.run):
        return Why.NAMED
    if not what.is_live:
        return Why.EXPIRED
    return Why.ORPHANED if runner is RunnerState.DEAD else None


def _foreign(what: TableFacts | LockFacts) -> str:
    """The parts of the table that are not chaosext's, or that it lacks a run's comment; "" for a table of chaosext."""
    if isinstance(what, LockFacts) or what.is_ours:
        return ""
    return ", ".join(what.foreign_parts) or "no mark of a run"


def _unseen(overview: Overview, wanted: CleanupScope) -> Iterator[Found]:
    """Cuts of a named run on nodes that could not report what they have: healing them may still work."""
    over = {each.run for each in overview.unfinished if each.is_over}
    runs = {each.run: each.nodes for each in overview.unfinished if wanted.names(each.run)}
    if wanted.run is not None:
        runs[wanted.run] = (*runs.get(wanted.run, ()), *wanted.nodes)
    for run, nodes in runs.items():
        for node in set(nodes) & set(overview.unasked):
            yield Found(
                kind=LeftoverKind.CUT,
                run=run,
                node=node,
                live=run not in over,
                runner=overview.runner(run),
                why=Why.NAMED,
            )


def _remove(doomed: Collection[Found], shells: Mapping[str, NodeShell]) -> dict[Found, str]:
    """Remove it by kind and run, on all nodes in parallel. Returns what was not confirmed as removed, and why."""
    failed: dict[Found, str] = {}
    for kind, run in sorted({(each.kind, each.run) for each in doomed}):
        group = {each.node: each for each in doomed if (each.kind, each.run) == (kind, run)}
        problems = _remove_on(kind, run, {node: shells[node] for node in group if node in shells})
        problems |= {node: f"{node}: it can't be entered" for node in group if node not in shells}
        failed |= {group[node]: problem for node, problem in problems.items()}
    return failed


def _remove_on(kind: LeftoverKind, run: str, on: Mapping[str, NodeShell]) -> dict[str, str]:
    try:
        if kind is LeftoverKind.LOCK:
            return remove_lock(run, on)
        return {node.node: node.problem for node in heal(run, on).nodes if not node.gone}
    except Refused as error:  # not a valid run ID: a table of others with a similar name
        return dict.fromkeys(on, str(error))


def _write_down(removed: Collection[Found]) -> tuple[str, ...]:
    """Write an audit log entry for each run of which something was removed. Returns the errors."""
    entries = []
    for run in sorted({each.run for each in removed}):
        group = [each for each in removed if each.run == run]
        nodes, kinds = {each.node for each in group}, {each.kind for each in group}
        tables = tuple(
            f"inet {table_of(run) if kind is LeftoverKind.CUT else LOCK_TABLE}" for kind in sorted(kinds)
        )
        deed = Deed(
            event=AuditEvent.CLEANED_UP, owner=owner(), run=run, nodes=tuple(sorted(nodes)), tables=tables
        )
        entries.append(note(deed))
    return tuple(entry for entry in entries if isinstance(entry, str))


def _places(found: Iterable[Found]) -> Collection[Place]:
    return {(each.run, each.node) for each in found if each.kind is LeftoverKind.CUT}


def _finished(
    overview: Overview, wanted: CleanupScope, healed: Collection[Place], there: Collection[Found]
) -> dict[str, tuple[str, ...]]:
    """Where unfinished runs have ended: their rules have expired, or nothing of them is left.

    A run that continues may be about to arm, so finding nothing of it proves nothing. A cut that is active
    after its recorded end was renewed.
    """
    unclean, live = _places(there), _places(each for each in there if each.live)
    over: dict[str, tuple[str, ...]] = {}
    for run in overview.unfinished:
        places = [(run.run, node) for node in run.nodes]
        if run.is_over:
            over[run.run] = tuple(place[1] for place in places if place not in live)
        elif wanted.names(run.run) or (wanted.concerns(run.run) and not run.is_running):
            seen = (place for place in places if place[1] not in overview.unasked or place in healed)
            over[run.run] = tuple(place[1] for place in seen if place not in unclean)
    return {run: nodes for run, nodes in over.items() if nodes}


def _in_doubt(
    overview: Overview, wanted: CleanupScope, finished: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    nodes: dict[str, list[str]] = {}
    for node, run in overview.in_doubt:
        left_to_itself = run.is_running and not wanted.names(run.run)
        if wanted.concerns(run.run) and not left_to_itself and node not in finished.get(run.run, ()):
            nodes.setdefault(run.run, []).append(node)
    return {run: tuple(names) for run, names in nodes.items()}
