"""Heal: remove the cut, read it back, and record it as gone. Needs no API server."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from chaosext.model.crash import crash_point
from chaosext.model.errors import ChaosextError, Inconclusive
from chaosext.nodes.transport import shells
from chaosext.partition.apply import TIMEOUT_S, heal, how_to_remove
from chaosext.partition.cut import nodes_of
from chaosext.run.fault.fault_events import note_heal
from chaosext.run.fault.irrevocable import await_end, unhealable
from chaosext.run.fault.state import fault_of
from chaosext.run.fault.verify import CUT_WATCH
from chaosext.run.session.audit_trail import table_on
from chaosext.safety.audit_log import NOTE_S, AuditEvent
from chaosext.safety.intent import GONE, intent_log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.model.clock import Moment
    from chaosext.nodes.shell import NodeShell
    from chaosext.partition.reports import HealReport
    from chaosext.run.session.run_context import RunContext

PARTING_S = 4.0
"""Limit of the last heal of a run, seconds: a run that is asked to stop ends within 5 s, even with hung nodes."""


def heal_run(context: RunContext, timeout_s: float = TIMEOUT_S) -> HealReport:
    """Remove what this run has armed; a run that armed nothing has nothing to heal. Needs no API server.

    Raises `Unsafe` if something is not confirmed gone; `Inconclusive` if it expired before. A cut that can't be healed
    is waited for: it ends by itself.
    """
    await_end(context)
    report = _undo(context, timeout_s)
    report.require_seen()
    return report


def _undo(context: RunContext, timeout_s: float) -> HealReport:
    """As `heal_run`, but a cut that expired counts as healed, seen or not; it waits for nothing."""
    fault = fault_of(context)
    if until := fault.sealed_until:
        raise unhealable(context, until)
    was_in_force, fault.in_force = fault.in_force, False
    fault.heals += 1
    if fault.keepalive:
        fault.keepalive.stop()
    on = shells(nodes_of(fault.cuts), fault.access)
    report = heal_nodes(context.id, on, fault.expires_at, timeout_s)
    if was_in_force and (watch := context.stash[CUT_WATCH]):
        watch.look_at_heal(report)
        context.stash[CUT_WATCH] = None
    if any(
        node.gone and node.was_there is not False for node in report.nodes
    ):  # None: gone, but not listed before
        note_heal(context, report)
        gone = [node.node for node in report.nodes if node.gone]
        context.trail.note(AuditEvent.HEALED, **table_on(context.id, gone))
    fault.foreign_after = {node.node: node.foreign_after for node in report.nodes}
    report.require_gone(let_go=fault.expires_at)
    return report


def heal_nodes(
    run: str, on: Mapping[str, NodeShell], let_go: Moment | None = None, timeout_s: float = TIMEOUT_S
) -> HealReport:
    """Remove the table of `run` `on` nodes, and record that it is gone: seen so, or expired.

    A full or hung disk that can't record it does not change that: then a cleanup looks once more.
    """
    report = heal(run, on, timeout_s=timeout_s)
    crash_point("healed")
    if not report.may_cut(let_go=let_go):
        writing = threading.Thread(target=_write_gone, args=(run, sorted(on)), name="gone", daemon=True)
        writing.start()
        writing.join(NOTE_S)
    return report


def _write_gone(run: str, nodes: list[str]) -> None:
    with suppress(Inconclusive):
        intent_log().write({"run": run, "event": GONE, "nodes": nodes})
        crash_point("gone-written")


def require_kept(context: RunContext) -> None:
    """Raise `Inconclusive` if the cut had ended, or was changed, before it was healed."""
    fault = fault_of(context)
    if fault.lost:
        raise Inconclusive(
            f"the cut did not match its plan until it was healed: {'; '.join(fault.lost)}",
            "find what changed it (a firewall restart, or a cleanup: `chaosext audit show`), then run again; "
            "observations since then prove nothing",
        )


def left_behind(context: RunContext, timeout_s: float = PARTING_S) -> tuple[str, ...]:
    """Heal once more, whatever has happened; returns what is not confirmed gone, with how to remove it."""
    fault = fault_of(context)
    if not fault.cuts:
        return ()
    try:
        _undo(context, timeout_s)
    except ChaosextError as error:  # no shell: not confirmed gone either
        return (str(error),)
    except Exception as error:  # a bug, or a machine out of resources: not confirmed gone
        nodes = nodes_of(fault.cuts)
        what = f"the cut of run {context.id} may still be active on {', '.join(nodes)}"
        return (
            f"{what} ({type(error).__name__} while healing): {how_to_remove(context.id, nodes, fault.access)}",
        )
    return ()
