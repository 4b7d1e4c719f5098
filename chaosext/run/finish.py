"""The end of a run: heal what is left, derive the verdict, write everything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaosext.experiment.journal_redaction import redacted
from chaosext.model.crash import crash_point
from chaosext.model.findings import Status
from chaosext.model.redact import veiled
from chaosext.model.result import Briefing, RunResult
from chaosext.model.stopped import Stopped, Stopper
from chaosext.model.timeline import Kind
from chaosext.partition.apply import STRAGGLER_S
from chaosext.partition.cut import nodes_of
from chaosext.run.agents.node_pods import leave
from chaosext.run.fault.heal import PARTING_S, left_behind
from chaosext.run.fault.irrevocable import await_end
from chaosext.run.fault.run_lock import unlock_cluster
from chaosext.run.fault.state import fault_of
from chaosext.run.monitor.sentinels import SENTINELS
from chaosext.run.monitor.steady_baseline import BASELINE
from chaosext.run.rollback.cluster_drain import left_at_entry
from chaosext.run.shutdown import END_S, FINISHED_S, Leaving
from chaosext.run.verdict.derive import Answer, derive
from chaosext.run.verdict.facts import facts_of, foreign_rules, rulings
from chaosext.timeline.outages import outages, timing, unobserved

if TYPE_CHECKING:
    from chaosext.model.verdict import Outcome, Verdict
    from chaosext.run.session.run_context import RunContext

UNLOCK_S = 0.4
"""Time to release the locks of a run that was asked to stop, seconds: 0.1 s is usual."""

UNLOCKED_S = 15.0
"""Time to release the locks otherwise, seconds: each request and each node has at most `RELEASE_S`."""

LOOK_S = 0.1

EDGE_S = 2.0
"""A sample this close to the cut's start or end is not evidence, seconds: taking it lasts up to a second."""

LEAVING_S = 0.5
"""Time to remove the Pods on nodes then, seconds: the request takes 0.1 s."""

AT_ENTRY_S = 60.0
"""Time to restore the failover mode, seconds: an overloaded load balancer is retried for ten seconds each time."""

REPORT_S = 20.0
"""Time for the reports at the end of a run, seconds."""

WRITTEN_S = 4.5
SHORTEST_REPORT_S = 0.1
"""Seconds after the run is asked to stop by which its reports exist (0.3 s is usual) or are left to
`chaosext report`: the process has 5 s, and needs some of it to end.
"""

Renderer = Callable[[Path, float], None]
"""Writes the reports of the run in a directory, within a number of seconds, and raises nothing."""


def finish(
    context: RunContext,
    journal: Mapping[str, Any],
    *,
    briefing: Briefing | None,
    render: Renderer,
    left: Leaving | None = None,
    expected: Outcome | None = None,
) -> RunResult:
    """Heal, unlock, derive the verdict, write `result.json` and `journal.json` into the run's directory, and render.

    `left` says why the run was ended early, if it was, and how long that leaves for healing.
    """
    fault = fault_of(context)
    left = left or Leaving()
    context.doing = "finishing: heal, collect, verdict, report", time.monotonic()
    if not left.told:
        await_end(context, hurried=left.hurried)
        left.be_gone_within(FINISHED_S)
    remains = _last_heal(context, left) if fault.cuts else None
    missing = _missing(context, journal, left)
    if at_entry := left_at_entry(context, left.within_s(END_S) if left.told else AT_ENTRY_S):
        remains = (*(remains or ()), *at_entry)
    sentinels = context.stash[SENTINELS]
    if sentinels:
        sentinels.finish(END_S - left.told_for_s if left.told else None, hurried=left.hurried)
    _unlock(context, left)
    unseen = _leave_nodes(left)
    context.recorder.close()
    if sentinels:
        sentinels.write_clocks()
    shown = redacted(
        {**journal, "status": journal.get("status") or ("interrupted" if left.told else "failed")}
    )
    facts = facts_of(
        shown,
        left_behind=remains,
        signal_number=left.signal_number,
        overdue=left.overdue,
        stopped=_stopped_by(context.stopped),
    )
    facts = replace(
        facts,
        cut=_as_seen_there(context, facts.cut),
        lost=tuple(fault.lost),
        missing=missing,
        armed=bool(fault.cuts),
    )
    verdict = derive(facts)
    context.trail.end(verdict, expected)
    verdict = replace(verdict, reasons=(*verdict.reasons, *unseen))
    result = replace(result_of(context, shown, verdict, briefing, expected), rulings=rulings(facts))
    result = write_result(context, result, shown)
    render(context.directory.path, _report_within_s(left))
    return result


def _stopped_by(stopped: Stopped | None) -> str:
    """What ended the run early, if the state of its cut does not say it."""
    return str(stopped) if stopped and stopped.by is not Stopper.CUT_LOST else ""


def _report_within_s(left: Leaving) -> float:
    return max(SHORTEST_REPORT_S, WRITTEN_S - left.told_for_s) if left.told else REPORT_S


def _last_heal(context: RunContext, left: Leaving) -> tuple[str, ...]:
    """What is not confirmed gone after healing once more; and again, if arming was aborted after it was sent.

    What was sent to a node by then may still become active there, until its script is known to have ended.
    """
    armed = sum(event.kind is Kind.CUT for event in context.recorder.events)
    if left.told and armed < len(fault_of(context).cuts):
        left_behind(context, left.within_s(STRAGGLER_S))
        time.sleep(max(0.0, STRAGGLER_S - left.told_for_s))
    return left_behind(context, left.within_s(END_S) if left.told else PARTING_S)


def _missing(context: RunContext, journal: Mapping[str, Any], left: Leaving) -> Answer | None:
    """What of the baseline is missing at the end; not checked without a method, or without time left."""
    baseline = context.stash[BASELINE]
    if baseline is None or left.told or not journal.get("run"):
        return None
    return baseline.last_look(context.recorder, left.hurried)


def _unlock(context: RunContext, left: Leaving) -> None:
    """Release the locks; what can't be released in time expires by itself."""
    unlocking = threading.Thread(target=unlock_cluster, args=(context,), daemon=True)
    unlocking.start()
    began_s = time.monotonic()
    while unlocking.is_alive():
        within_s = UNLOCK_S if left.told or left.hurried.is_set() else UNLOCKED_S
        if time.monotonic() >= began_s + within_s:
            break
        unlocking.join(LOOK_S)


def _as_seen_there(context: RunContext, cut: Answer | None) -> Answer | None:
    """The proof of the cut, checked against sentinels of nodes that can't be entered while they are cut off.

    A node that reached an API server during the cut was not cut off, whatever the path back to it was like.
    """
    fault, sentinels = fault_of(context), context.stash[SENTINELS]
    began_s, ended_s = fault.all_cut_s, fault.healing_s
    if cut is None or began_s is None or ended_s is None or not sentinels or not fault.before:
        return cut
    shut = _shut(context, {path.source for path in fault.before.paths})
    reached = sentinels.reached(shut, began_s + EDGE_S, ended_s - EDGE_S)
    if cut.status is not Status.HEALTHY or not reached:
        return cut
    said = ", ".join(f"{node} ({count} times)" for node, count in sorted(reached.items()))
    return Answer(status=Status.UNKNOWN, reason=f"an API server was reached during the cut from {said}")


def _shut(context: RunContext, measured: set[str]) -> set[str]:
    """Those of the `measured` nodes that could not be entered during the cut."""
    fault = fault_of(context)
    if not fault.access.asks_the_api_server:
        return set()
    carriers = set(nodes_of(fault.cuts))
    sealed = any(cut.delay_s for cut in fault.cuts)
    return measured & carriers if sealed else measured - carriers


def _leave_nodes(left: Leaving) -> tuple[str, ...]:
    """Remove the Pods through which nodes were entered, last of all; a cleanup removes what is not seen gone."""
    if not left.told:
        return leave(hurried=left.hurried)
    return leave(max(LEAVING_S, END_S - left.told_for_s), hurried=left.hurried)


def write_result(context: RunContext, result: RunResult, journal: Mapping[str, Any]) -> RunResult:
    """Write the source of every report, and return the result.

    A full disk must not hide a verdict: what can't be written becomes one more of its reasons.
    """
    try:
        context.directory.write_json("result.json", result.to_json())
        context.directory.write_json("journal.json", redacted(journal))
        crash_point("result-written")
    except OSError as error:
        reason = f"{context.directory.path} could not be written completely: {error.strerror or error}"
        verdict = replace(result.verdict, reasons=(*result.verdict.reasons, reason))
        return replace(result, verdict=verdict)
    return result


def result_of(
    context: RunContext,
    journal: Mapping[str, Any],
    verdict: Verdict,
    briefing: Briefing | None = None,
    expected: Outcome | None = None,
) -> RunResult:
    """The result, from the journal, the timeline, the foreign rules and the audit log."""
    fault = fault_of(context)
    started_at = str(journal.get("start", ""))
    sentinels, baseline = context.stash[SENTINELS], context.stash[BASELINE]
    foreign = foreign_rules(fault.foreign_before, fault.foreign_after) if fault.cuts else None
    events = context.recorder.events  # sorted on each access
    lost = (f"the lock was lost: {each.detail}" for each in events if each.kind is Kind.LOCK_LOST)
    unseen = sentinels.problems if sentinels else ()
    reasons = (
        *verdict.reasons,
        *lost,
        *(foreign.reasons if foreign else ()),
        *unseen,
        *context.trail.problems,
    )
    verdict = replace(verdict, reasons=tuple(map(veiled, reasons)))
    return RunResult(
        run=context.id,
        experiment=veiled(str(journal.get("experiment", {}).get("title", ""))),
        started_at=started_at,
        duration_s=_age_s(started_at),
        verdict=verdict,
        events=events,
        outages=outages(events),
        unobserved=unobserved(events),
        timing=timing(events),
        clocks=sentinels.clocks if sentinels else {},
        briefing=briefing,
        expected=expected,
        kube_dns_moved=facts_of(journal).moved,
        foreign_rules=foreign,
        stopped=context.stopped,
        known=baseline.objects if baseline else (),
        cut_at=_cut_at(context.recorder.zero_s) if fault.cuts else "",
        audit=context.trail.last.to_json() if context.trail.last else None,
    )


def _cut_at(zero_s: float | None) -> str:
    """Convert the first cut's monotonic time to the wall clock; "" if it is unknown."""
    if zero_s is None:
        return ""
    ago = timedelta(seconds=time.monotonic() - zero_s)
    return (datetime.now(UTC) - ago).isoformat(timespec="milliseconds")


def _age_s(started_at: str) -> float:
    return max(0.0, time.time() - datetime.fromisoformat(started_at).timestamp()) if started_at else 0.0
