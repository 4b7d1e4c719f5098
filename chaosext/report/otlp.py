"""A run's trace to whoever takes it in by OpenTelemetry's protocol (OTLP over HTTP): bounded, and told where it failed.

What is asked for is what OpenTelemetry's own environment says: OTEL_EXPORTER_OTLP_ENDPOINT or …_TRACES_ENDPOINT, and
whatever else its SDK heeds (headers, certificates, resource attributes, sampling).
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from chaosext import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.trace import Tracer

    from chaosext.report.spans import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN = "http/protobuf"

INSTALL = "no traces: OpenTelemetry is not installed; fix: pip install 'chaosext[otel]'"


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether an endpoint is set, and nothing says that no traces are to be exported."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return environment.get("OTEL_TRACES_EXPORTER", "") != "none" and any(map(environment.get, ENDPOINTS))


def hindrance(environment: Mapping[str, str]) -> str:
    """Why nothing can be exported, with the fix, in a line; "" where it can."""
    protocol = next(filter(None, map(environment.get, PROTOCOLS)), SPOKEN)
    if protocol != SPOKEN:
        return f"no traces: the protocol {protocol} is not spoken; fix: {PROTOCOLS[1]}={SPOKEN}, and its port"
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError:
        return INSTALL
    return ""


def export(made: Callable[[], Span], within_s: float) -> str:
    """Export the trace that `made` makes, within `within_s`. Returns why that failed, "" where it did not."""
    said = [f"no traces: nobody took them in within {within_s:g} s"]

    def exporting() -> None:
        try:
            said[0] = _export(made(), within_s)
        except Exception as error:  # whatever it is, the run has its verdict
            said[0] = f"no traces: {type(error).__name__}"

    thread = threading.Thread(target=exporting, name="traces", daemon=True)
    thread.start()
    thread.join(within_s)
    return said[0]


def _export(span: Span, within_s: float) -> str:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    logging.getLogger("opentelemetry").propagate = False
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    ended = _recorded(span)
    if not ended or OTLPSpanExporter(timeout=within_s).export(ended) is SpanExportResult.SUCCESS:
        return ""
    return "no traces: nobody took them in; see that OTEL_EXPORTER_OTLP_ENDPOINT is that of a collector"


def _recorded(span: Span) -> list[ReadableSpan]:
    """`span` and all within it, as OpenTelemetry's, parents last."""
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


def _record(tracer: Tracer, span: Span, parent: Context | None) -> None:
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
