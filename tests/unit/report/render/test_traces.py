"""The trace of a run: what a collector that speaks OTLP takes in, and that nothing waits for one that does not."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from collector import collector, told
from stories import CP, ONE, STORIES

from chaosext.model.findings import Status
from chaosext.model.redact import hide
from chaosext.model.result import Lane
from chaosext.report.data.activities import Activity, Phase
from chaosext.report.render import traces
from chaosext.report.render.traces import TraceSpan, trace

if TYPE_CHECKING:
    from collector import Collector

NIGHT = STORIES["deviated-rollback-verified"]
BEGAN_S = datetime.fromisoformat(NIGHT.started_at).timestamp()
CUT_AT_S = BEGAN_S + 10.0


def activity(name: str, began_at: str = NIGHT.started_at, **more: Any) -> Activity:
    given = {"status": Status.HEALTHY, "said": "well", "duration_s": 2.5} | more
    return Activity(phase=Phase.METHOD, name=name, began_at=began_at, **given)


def exported(
    monkeypatch: pytest.MonkeyPatch, span: TraceSpan, **environment: str
) -> tuple[Collector, dict[str, Any]]:
    with collector() as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.endpoint)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert traces.export(lambda: span, 5.0) == ""
    return server, {each.name: each for each in server.spans}


def test_the_run_is_the_root_and_all_that_took_place_is_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    span = trace(NIGHT, [activity("sever"), activity("heal", status=Status.UNHEALTHY)], cut_at_s=CUT_AT_S)
    server, found = exported(monkeypatch, span)
    root = found["chaosext run"]
    assert server.paths == ["/v1/traces"]
    assert root.parent_span_id == b""
    assert {each.parent_span_id for each in server.spans if each is not root} == {root.span_id}
    assert {each.trace_id for each in server.spans} == {root.trace_id}
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (
        round(BEGAN_S * 1e9),
        round((BEGAN_S + NIGHT.duration_s) * 1e9),
    )
    attributes = told(root)
    assert (attributes["chaosext.verdict"], attributes["chaosext.exit_code"]) == ("deviated", 10)
    assert attributes["chaosext.rollback_verified"] is True
    assert attributes["chaosext.reasons"] == list(NIGHT.verdict.reasons)
    assert attributes["chaosext.context"] == "kind-chaosext"
    assert (root.status.code, found["sever"].status.code, found["heal"].status.code) == (2, 1, 2)
    assert told(found["sever"])["chaosext.phase"] == "method"
    assert server.resource["service.name"] == "chaosext"


def test_the_cut_and_each_outage_are_spans_of_their_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    server, found = exported(monkeypatch, trace(NIGHT, [], cut_at_s=CUT_AT_S))
    cut = found["cut"]
    assert cut.start_time_unix_nano == round(CUT_AT_S * 1e9)
    assert cut.end_time_unix_nano == round((CUT_AT_S + 53.2) * 1e9)
    assert told(cut)["chaosext.object"] == f"Node/{CP}"
    dns = {told(each)["chaosext.object"]: each for each in server.spans if each.name == "out: dns"}
    ((start_s, end_s),) = NIGHT.outages[Lane.DNS][f"Node/{ONE}"]
    assert dns[f"Node/{ONE}"].start_time_unix_nano == round((CUT_AT_S + start_s) * 1e9)
    assert dns[f"Node/{ONE}"].end_time_unix_nano == round((CUT_AT_S + (end_s or 0)) * 1e9)
    assert told(dns[f"Node/{ONE}"])["chaosext.lasts"] is False


def test_what_was_not_seen_to_end_ends_with_the_run_and_says_so() -> None:
    result = replace(STORIES["unsafe"], outages={Lane.DNS: {"Node/a": ((5.0, None),)}}, duration_s=71.0)
    whole = trace(
        result, [activity("hold", duration_s=0.0, status=Status.UNKNOWN, ended=False)], cut_at_s=CUT_AT_S
    )
    hold, cut, out = whole.within
    assert {each.end_s for each in whole.within} == {BEGAN_S + 71.0}
    assert (hold.well, cut.well, out.well) == (False, False, False)
    assert cut.attributes["chaosext.lasts"] is True
    assert out.attributes["chaosext.lasts"] is True


def test_a_refused_run_is_a_trace_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = exported(monkeypatch, trace(replace(STORIES["refused"], started_at=""), [], cut_at_s=CUT_AT_S))
    assert list(found) == ["chaosext run"]
    assert told(found["chaosext run"])["chaosext.exit_code"] == 20


def test_of_very_many_outages_the_longest_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MOST_OUTAGES", 2)
    windows = {f"Node/{number}": ((1.0, 1.0 + number),) for number in range(1, 5)}
    whole = trace(replace(NIGHT, events=(), outages={Lane.DNS: windows}), [], cut_at_s=CUT_AT_S)
    assert [span.attributes["chaosext.object"] for span in whole.within] == ["Node/4", "Node/3"]


def test_no_secret_becomes_a_name_or_an_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(["Tr0ub4dor-t"])
    said = "it is Tr0ub4dor-t"
    event = replace(NIGHT.events[0], object=said, detail=said)
    verdict = replace(NIGHT.verdict, reasons=(said,))
    result = replace(
        NIGHT,
        experiment=said,
        verdict=verdict,
        events=(event,),
        outages={Lane.DNS: {said: ((1.0, 2.0),)}},
    )
    server, _ = exported(monkeypatch, trace(result, [activity(said, said=said)], cut_at_s=CUT_AT_S))
    assert "Tr0ub4dor" not in str(server.requests)
    assert "(redacted)" in str(server.requests)


def test_the_sdks_own_environment_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"OTEL_SERVICE_NAME": "game-day", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=staging"}
    server, _ = exported(monkeypatch, trace(NIGHT, [], cut_at_s=CUT_AT_S), **named)
    assert server.resource["service.name"] == "game-day"
    assert server.resource["deployment.environment"] == "staging"


def test_a_collector_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with collector(hangs=True) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.endpoint)
        began_s = time.monotonic()
        said = traces.export(lambda: trace(NIGHT, [], cut_at_s=CUT_AT_S), 0.5)
        assert time.monotonic() - began_s < 1.5
        assert said.startswith("no traces: the collector did not accept them")


@pytest.mark.parametrize("status", [400, 503])
def test_what_a_collector_does_not_take_in_is_said(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    with collector(status) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.endpoint)
        assert traces.export(lambda: trace(NIGHT, [], cut_at_s=CUT_AT_S), 1.0).startswith("no traces: ")


def test_a_fault_of_ours_is_said_and_no_more() -> None:
    def broken() -> TraceSpan:
        raise ZeroDivisionError("of Tr0ub4dor")

    assert traces.export(broken, 1.0) == "no traces: ZeroDivisionError"


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_made_only_where_an_endpoint_is_set(environment: dict[str, str], wanted: bool) -> None:
    assert traces.is_wanted(environment) is wanted


def test_what_hinders_is_said_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    assert traces.hindrance({}) == ""
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in traces.hindrance(
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    )
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    assert traces.hindrance({}) == traces.INSTALL
