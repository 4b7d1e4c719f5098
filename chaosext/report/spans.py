"""A run as a trace: the run, in it what was asked and done, the cut, and what was out. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from chaosext.model.finding import Status
from chaosext.model.printable import one_line
from chaosext.model.timeline import Kind
from chaosext.model.veil import veiled
from chaosext.observe.outages import ENDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.model.result import RunResult
    from chaosext.report.activities import Activity

Value = str | bool | int | float | Sequence[str]

MOST_OUTAGES = 1000
"""So many outages become spans, the longest ones: what takes a trace in must not choke on a large cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What took place from `start_s` to `end_s` (Unix time). `well`: whether it went well; None: it can't be said."""

    name: str
    start_s: float
    end_s: float
    attributes: Mapping[str, Value] = field(default_factory=dict)
    well: bool | None = None
    within: tuple[Span, ...] = ()


def trace(result: RunResult, activities: Iterable[Activity], *, cut_at_s: float) -> Span:
    """The whole run as one span with what took place in it; `cut_at_s`: when the timeline's zero was (Unix time)."""
    start_s = _unix_s(result.started_at, otherwise=cut_at_s)
    end_s = start_s + result.duration_s
    played = tuple(_activity(each, end_s) for each in activities if each.began_at)
    return Span(
        name="chaosext run",
        start_s=start_s,
        end_s=end_s,
        attributes=_sayable(_of_run(result)),
        well=result.exit_code == 0,
        within=(*played, *_cuts(result, cut_at_s, end_s), *_outages(result, cut_at_s, end_s)),
    )


def _of_run(result: RunResult) -> Mapping[str, Value]:
    verdict = result.verdict
    timing = result.timing.to_json()
    return {
        "chaosext.run": result.run,
        "chaosext.experiment": result.experiment,
        "chaosext.context": result.briefing.context if result.briefing else "",
        "chaosext.verdict": verdict.outcome.value,
        "chaosext.exit_code": result.exit_code,
        "chaosext.reasons": verdict.reasons,
        "chaosext.unobserved_nodes": sorted(result.unobserved),
        **{f"chaosext.{name}": seconds for name, seconds in timing.items() if seconds is not None},
        **(
            {}
            if verdict.rollback_verified is None
            else {"chaosext.rollback_verified": verdict.rollback_verified}
        ),
    }


def _activity(activity: Activity, run_end_s: float) -> Span:
    """An activity that was broken off has no duration: it ended with the run."""
    start_s = _unix_s(activity.began_at, otherwise=run_end_s)
    end_s = start_s + activity.duration_s if activity.duration_s else max(start_s, run_end_s)
    told = {
        "chaosext.phase": activity.phase.value,
        "chaosext.status": activity.status.value,
        "chaosext.said": activity.said,
    }
    well = {Status.HEALTHY: True, Status.UNHEALTHY: False}.get(
        activity.status, None if activity.ended else False
    )
    return Span(
        name=veiled(activity.name), start_s=start_s, end_s=end_s, attributes=_sayable(told), well=well
    )


def _cuts(result: RunResult, cut_at_s: float, end_s: float) -> Iterator[Span]:
    """Each cut, from when it was armed to when the network was back; to the run's end where nobody saw that."""
    heals = [event for event in result.events if event.kind in ENDS]
    for cut in (event for event in result.events if event.kind is Kind.CUT):
        heal = next((event for event in heals if event.t_s >= cut.t_s), None)
        told = {"chaosext.object": cut.object, "chaosext.detail": cut.detail}
        until_s = cut_at_s + heal.t_s if heal else end_s
        yield _timed("cut", cut_at_s + cut.t_s, until_s, told, well=heal is not None, lasts=heal is None)


def _outages(result: RunResult, cut_at_s: float, end_s: float) -> list[Span]:
    spans = [
        _timed(
            f"out: {lane.value}",
            cut_at_s + start_s,
            end_s if until_s is None else cut_at_s + until_s,
            {"chaosext.lane": lane.value, "chaosext.object": name},
            well=False,
            lasts=until_s is None,
        )
        for lane, found in result.outages.items()
        for name, windows in found.items()
        for start_s, until_s in windows
    ]
    return sorted(spans, key=lambda span: span.start_s - span.end_s)[:MOST_OUTAGES]


def _timed(
    name: str, start_s: float, end_s: float, told: Mapping[str, Value], *, well: bool, lasts: bool
) -> Span:
    """`lasts`: its end was not seen, so it ends with the run."""
    attributes = _sayable({**told, "chaosext.lasts": lasts})
    return Span(name=name, start_s=start_s, end_s=max(start_s, end_s), attributes=attributes, well=well)


def _sayable(attributes: Mapping[str, Value]) -> Mapping[str, Value]:
    """No secret becomes an attribute."""
    return {name: _veiled(value) for name, value in attributes.items()}


def _veiled(value: Value) -> Value:
    if isinstance(value, str):
        return one_line(veiled(value))
    return value if isinstance(value, bool | int | float) else [one_line(veiled(each)) for each in value]


def _unix_s(at: str, *, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(at).timestamp()
    except ValueError:
        return otherwise
