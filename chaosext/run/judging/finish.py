"""The end of a run: heal what is left, derive the verdict, write everything down."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chaosext.model.result import Briefing, RunResult
from chaosext.model.timeline import Event, Kind
from chaosext.observe.changes import outage_windows
from chaosext.run.cutting.heal import left_behind
from chaosext.run.cutting.locking import unlock_cluster
from chaosext.run.judging.facts import facts_of
from chaosext.run.judging.redaction import redacted
from chaosext.run.judging.verdict import derive

if TYPE_CHECKING:
    from chaosext.model.verdict import Verdict
    from chaosext.run.context import RunContext

Renderer = Callable[[RunResult], str]
DNS_KINDS = frozenset({Kind.DNS_DEAD, Kind.DNS_RESTORED})


def finish(
    context: RunContext,
    journal: Mapping[str, Any],
    *,
    briefing: Briefing | None,
    render: Renderer,
    signal_number: int | None = None,
    expected: str | None = None,
) -> RunResult:
    """Heal, give the lock back, judge and write `result.json`, `journal.json` and `summary.md` into the run's directory."""
    remains = left_behind(context)
    unlock_cluster(context)
    context.recorder.close()
    verdict = derive(facts_of(journal, left_behind=remains, signal_number=signal_number))
    result = result_of(context, journal, verdict, briefing, expected)
    return write_result(context, result, journal, render)


def write_result(
    context: RunContext, result: RunResult, journal: Mapping[str, Any], render: Renderer
) -> RunResult:
    """Write what people and machines read of a result, and return it.

    A full disk must not hide a verdict: what can't be written becomes one more of its reasons.
    """
    try:
        context.directory.write_json("result.json", result.to_json())
        context.directory.write_text("summary.md", render(result))
        context.directory.write_json("journal.json", redacted(journal))
    except OSError as error:
        reason = f"{context.directory.path} could not be written whole: {error.strerror or error}"
        verdict = replace(result.verdict, reasons=(*result.verdict.reasons, reason))
        return replace(result, verdict=verdict)
    return result


def result_of(
    context: RunContext,
    journal: Mapping[str, Any],
    verdict: Verdict,
    briefing: Briefing | None = None,
    expected: str | None = None,
) -> RunResult:
    """The result as a value, from the journal and the timeline."""
    started_at = str(journal.get("start", ""))
    return RunResult(
        run=context.id,
        experiment=str(journal.get("experiment", {}).get("title", "")),
        started_at=started_at,
        duration_s=_age_s(started_at),
        verdict=verdict,
        events=context.recorder.events,
        dns_outages=outage_windows(_dns_states(context.recorder.events)),
        briefing=briefing,
        expected=expected,
        kube_dns_moved=facts_of(journal).moved,
    )


def _dns_states(events: tuple[Event, ...]) -> list[tuple[float, str, Kind]]:
    return [(event.t_s, event.object, event.kind) for event in events if event.kind in DNS_KINDS]


def _age_s(started_at: str) -> float:
    return max(0.0, time.time() - datetime.fromisoformat(started_at).timestamp()) if started_at else 0.0
