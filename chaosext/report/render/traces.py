"""Exports a run's trace through OpenTelemetry's protocol (OTLP over HTTP), within bounds; failures are reported.

The SDK's environment variables configure it: OTEL_EXPORTER_OTLP_ENDPOINT or …_TRACES_ENDPOINT, and those for
headers, certificates, resource attributes and sampling.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from chaosext import __version__
from chaosext.model.duration_text import short_duration
from chaosext.model.findings import Status
from chaosext.model.printable import one_line
from chaosext.model.redact import veiled
from chaosext.model.timeline import Kind
from chaosext.timeline.outages import ENDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.trace import Tracer

    from chaosext.model.result import RunResult
    from chaosext.report.data.activities import Activity

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN = "http/protobuf"

INSTALL = "no traces: OpenTelemetry is not installed; fix: pip install 'chaosext[otel]'"


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether an endpoint is set and traces are enabled."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return environment.get("OTEL_TRACES_EXPORTER", "") != "none" and any(map(environment.get, ENDPOINTS))


def hindrance(environment: Mapping[str, str]) -> str:
    """Return why nothing can be exported, with the fix, in one line; "" if it can."""
    protocol = next(filter(None, map(environment.get, PROTOCOLS)), SPOKEN)
    if protocol != SPOKEN:
        return f"no traces: protocol {protocol} is not supported; fix: set {PROTOCOLS[1]}={SPOKEN}, and the port for it"
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError:
        return INSTALL
    return ""


def export(made: Callable[[], TraceSpan], within_s: float) -> str:
    """Export the trace that `made` builds, within `within_s` seconds. Return why that failed; "" on success."""
    said = [f"no traces: the collector did not accept them within {short_duration(within_s)}"]

    def exporting() -> None:
        try:
            said[0] = _export(made(), within_s)
        except Exception as error:  # whatever the error, the run has its verdict
            said[0] = f"no traces: {type(error).__name__}"

    thread = threading.Thread(target=exporting, name="traces", daemon=True)
    thread.start()
    thread.join(within_s)
    return said[0]


def _export(span: TraceSpan, within_s: float) -> str:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    logging.getLogger("opentelemetry").propagate = False
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    ended = _recorded(span)
    if not ended or OTLPSpanExporter(timeout=within_s).export(ended) is SpanExportResult.SUCCESS:
        return ""
    return "no traces: no collector accepted them; fix: set OTEL_EXPORTER_OTLP_ENDPOINT to a collector's endpoint"


def _recorded(span: TraceSpan) -> list[ReadableSpan]:
    """Return `span` and all spans within it in OpenTelemetry's form, parents last."""
    from opentelemetry.sdk.trace import SpanProcessor

    class Keeper(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            ended.append(span)

    ended: list[ReadableSpan] = []
    provider = _provider()
    provider.add_span_processor(Keeper())
    _record(provider.get_tracer("chaosext", __version__), span, None)
    return ended


def _provider() -> TracerProvider:
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider

    named = OTELResourceDetector().detect().attributes
    ours = {"service.name": "chaosext", "service.version": __version__}
    ours = {name: value for name, value in ours.items() if name not in named}
    return TracerProvider(resource=Resource.create(ours), shutdown_on_exit=False)


def _record(tracer: Tracer, span: TraceSpan, parent: Context | None) -> None:
    from opentelemetry.trace import Status, StatusCode, set_span_in_context

    made = tracer.start_span(
        span.name, context=parent, start_time=_ns(span.start_s), attributes=dict(span.attributes)
    )
    for each in span.within:
        _record(tracer, each, set_span_in_context(made))
    if span.well is not None:
        made.set_status(Status(StatusCode.OK if span.well else StatusCode.ERROR))
    made.end(_ns(span.end_s))


def _ns(unix_s: float) -> int:
    return round(unix_s * 1e9)


Value = str | bool | int | float | Sequence[str]

MOST_OUTAGES = 1000
"""Maximum number of outages exported as spans, the longest ones, so as not to overload a collector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSpan:
    """An operation from `start_s` to `end_s` (Unix time). `well`: whether it succeeded; None: unknown."""

    name: str
    start_s: float
    end_s: float
    attributes: Mapping[str, Value] = field(default_factory=dict)
    well: bool | None = None
    within: tuple[TraceSpan, ...] = ()


def trace(result: RunResult, activities: Iterable[Activity], *, cut_at_s: float) -> TraceSpan:
    """Return the run as one span with its parts; `cut_at_s` is the Unix time of the timeline's zero."""
    start_s = _unix_s(result.started_at, otherwise=cut_at_s)
    end_s = start_s + result.duration_s
    played = tuple(_activity(each, end_s) for each in activities if each.began_at)
    return TraceSpan(
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


def _activity(activity: Activity, run_end_s: float) -> TraceSpan:
    """Return the span of an activity; an aborted one has no duration, so it ends with the run."""
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
    return TraceSpan(
        name=veiled(activity.name), start_s=start_s, end_s=end_s, attributes=_sayable(told), well=well
    )


def _cuts(result: RunResult, cut_at_s: float, end_s: float) -> Iterator[TraceSpan]:
    """Yield each cut's span: until the network returned, or the run's end if that was not seen."""
    heals = [event for event in result.events if event.kind in ENDS]
    for cut in (event for event in result.events if event.kind is Kind.CUT):
        heal = next((event for event in heals if event.t_s >= cut.t_s), None)
        told = {"chaosext.object": cut.object, "chaosext.detail": cut.detail}
        until_s = cut_at_s + heal.t_s if heal else end_s
        yield _timed("cut", cut_at_s + cut.t_s, until_s, told, well=heal is not None, lasts=heal is None)


def _outages(result: RunResult, cut_at_s: float, end_s: float) -> list[TraceSpan]:
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
) -> TraceSpan:
    """Return the span of a period; with `lasts` its end was not seen, so it ends with the run."""
    attributes = _sayable({**told, "chaosext.lasts": lasts})
    return TraceSpan(name=name, start_s=start_s, end_s=max(start_s, end_s), attributes=attributes, well=well)


def _sayable(attributes: Mapping[str, Value]) -> Mapping[str, Value]:
    """Redact secrets in the attributes."""
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
