"""What customers of an entry got, in words and numbers."""

from __future__ import annotations

from dataclasses import replace

from runs import RUNS

from chaosext.model.load_balancer_state import Second
from chaosext.model.timeline import Event, Kind
from chaosext.report.data.customers_lane import way_out
from chaosext.report.data.lane_state import State
from chaosext.report.render.formats import document
from chaosext.report.render.html.lanes_of_run import swims
from chaosext.report.render.html.time_axis import Axis
from chaosext.report.sentences.answers import answers
from chaosext.report.sentences.root_cause import chain_of_causes
from chaosext.timeline.outages import outages

ENTRY = "Entry/way-entry"


def event(t_s: float, kind: Kind, name: str = ENTRY) -> Event:
    return Event(t_s=t_s, kind=kind, object=name, detail="", source="entry")


EVENTS = (
    event(10, Kind.ENTRY_DEGRADED),
    event(18, Kind.ENTRY_DRAINED, f"{ENTRY} → way"),
    event(20, Kind.ENTRY_RESTORED),
    event(60, Kind.ENTRY_TAKEN_BACK, f"{ENTRY} → way"),
)
SECONDS = tuple(
    Second(
        t_s=float(t_s),
        ok=10 if 10 < t_s <= 20 else 20,
        failed=10 if 10 < t_s <= 20 else 0,
        served_by={},
        slowest_s=0.0,
    )
    for t_s in range(-5, 81)
)


def run(seconds=SECONDS, events=EVENTS):
    told = RUNS["passed"]
    return replace(told, seconds=seconds, result=replace(told.result, events=events))


def test_the_way_out_is_measured_from_the_drain():
    found = way_out(run())

    assert found
    assert (found.requests, found.failed, found.lowest) == (1600, 100, 0.5)
    assert (found.drained_s, found.back_after_s, found.taken_back_s) == (18, 2, 60)
    assert (found.since, found.since_requests) == (1.0, 57 * 20)


def test_a_failure_long_after_the_drain_lowers_the_ratio_since():
    late = tuple(replace(each, ok=18, failed=2) if each.t_s == 61 else each for each in SECONDS)

    found = way_out(run(late))

    assert found
    assert found.since == 1138 / 1140


def test_customers_who_are_not_well_again_are_said_to_be_so():
    unwell = tuple(each for each in EVENTS if each.kind is not Kind.ENTRY_RESTORED)

    found = way_out(run(events=unwell))

    assert found
    assert found.back_after_s is None


def test_nobody_is_told_of_customers_where_there_is_no_entry():
    assert way_out(run(())) is None
    assert document(run(()))["customers"] is None


def test_the_report_says_how_long_customers_felt_it():
    (lines,) = (each.lines for each in answers(run()) if each.question == "For how long?")

    assert any("100 of 1600 requests failed" in line for line in lines)
    assert any("recovered 2s later" in line and "100.00% succeeded" in line for line in lines)


def test_the_lane_is_as_high_as_requests_fail_and_shows_where_nobody_looked():
    holed = tuple(each for each in SECONDS if not 40 < each.t_s < 50)

    (lane,) = (each for each in swims(run(holed), Axis(-1, 80)) if each.key == "customers")

    (track,) = lane.tracks
    (failing,) = (bar for bar in track.bars if bar.state is State.FAILING)
    assert (failing.start_s, failing.end_s, failing.share) == (10, 20, 0.5)
    assert [(bar.start_s, bar.end_s) for bar in track.bars if bar.state is State.UNSEEN] == [(40, 49)]


def test_the_chain_of_causes_has_the_way_out_once():
    again = event(30, Kind.ENTRY_DRAINED, f"{ENTRY} → way")
    told = run(events=(event(0, Kind.CUT, "Node/cp"), *EVENTS, again)).result
    told = replace(told, outages=outages(told.events))

    lines = chain_of_causes(told)

    assert [line for line in lines if "taken out of the load balancer" in line] == [
        "At 18s cluster way was taken out of the load balancer: ."
    ]
    assert any("customers' requests began to fail at way-entry" in line for line in lines)
    assert any(line == "At 1m cluster way was put back into the load balancer." for line in lines)
