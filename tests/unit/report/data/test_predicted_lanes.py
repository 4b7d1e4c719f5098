"""A prediction's lanes, on the bundled snapshots and on small worlds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from worlds import CALICO, cluster, workers_of

from chaosext.model.result import Lane
from chaosext.model.timeline import Kind
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.prediction import PredictedEvent
from chaosext.rehearsal.snapshot.reader import read_snapshot
from chaosext.rehearsal.snapshot.world import Doubt, Network
from chaosext.report.data.lane_state import CUT, PLACEMENT, PODS, State
from chaosext.report.data.predicted_lanes import LaneFacts, LaneRow, PredictedLane, predicted_lanes

if TYPE_CHECKING:
    from chaosext.rehearsal.simulate.prediction import Prediction

EXAMPLES = Path(__file__).parents[4] / "examples/snapshots"


@cache
def predicted(name: str, rollback_s: float | None = None) -> tuple[Prediction, LaneFacts]:
    world = read_snapshot([EXAMPLES / name])
    plan = Plan(cut_nodes=workers_of(world), rollback_s=rollback_s)
    return rehearse(world, plan), LaneFacts.of(world, plan)


def lanes_of(name: str, rollback_s: float | None = None) -> dict[str, PredictedLane]:
    return {lane.key: lane for lane in predicted_lanes(*predicted(name, rollback_s))}


def row(lane: PredictedLane, name: str) -> LaneRow:
    return next(each for each in lane.rows if each.name == name)


def test_lanes_are_six_in_order() -> None:
    assert list(lanes_of("story.json")) == [CUT, Lane.NODE_READY, PLACEMENT, Lane.DNS, Lane.XDS, PODS]


def test_lanes_tell_the_incident() -> None:
    lanes = lanes_of("story.json")
    (cut,) = lanes[CUT].rows[0].spans
    assert (cut.begin.t_s, cut.end and cut.end.t_s) == (0.0, 480.0)
    (away,) = row(lanes[Lane.NODE_READY], "worker-1").spans
    assert away.state is State.AWAY
    assert away.begin.earliest_s <= away.begin.t_s <= away.begin.latest_s < 30
    assert [each.state for each in row(lanes[PLACEMENT], "cp-1").spans] == [State.ASTRAY, State.ASTRAY]
    assert row(lanes[PLACEMENT], "worker-1").spans[0].end is not None
    lasting = [each for each in row(lanes[Lane.DNS], "worker-2").spans if each.end is None]
    assert [(each.state, round(each.share, 3)) for each in lasting] == [(State.OUT, 1.0)]
    loops = [each for each in row(lanes[PODS], "shop/catalog-*").spans if each.label == "crash loop"]
    assert [(each.count, each.end) for each in loops] == [(4, None)]


def test_rollback_ends_what_the_cut_left() -> None:
    lanes = lanes_of("story.json", rollback_s=660.0)
    assert all(each.end for row in lanes[Lane.DNS].rows for each in row.spans)
    assert all(each.end for each in row(lanes[PLACEMENT], "cp-1").spans)
    assert all(each.end for each in row(lanes[PODS], "shop/catalog-*").spans)


def test_outage_that_heals_ends_in_every_simulation() -> None:
    lanes = lanes_of("mitigated.json")
    assert all(each.end for row in lanes[Lane.DNS].rows for each in row.spans)


def test_unproven_routes_are_unknown_from_the_first_second_to_the_last() -> None:
    world = cluster(network=Network(doubts=(Doubt(subject="the network", why="nothing shows it"),)))
    plan = Plan(cut_nodes=workers_of(world))
    lanes = {lane.key: lane for lane in predicted_lanes(rehearse(world, plan), LaneFacts.of(world, plan))}
    spans = row(lanes[Lane.DNS], "worker-1").spans
    assert [(each.state, each.begin.t_s, each.end) for each in spans if each.state is State.UNSEEN] == [
        (State.UNSEEN, 0.0, None)
    ]


def test_prediction_without_timeline_has_no_lanes() -> None:
    found, facts = predicted("story.json")
    assert predicted_lanes(replace(found, timeline=()), facts) == ()


OF_NODES = (Kind.DNS_DEAD, Kind.DNS_DEGRADED, Kind.DNS_RESTORED, Kind.NODE_NOT_READY, Kind.NODE_READY)
OF_PODS = (Kind.POD_EVICTED, Kind.POD_PENDING, Kind.CRASH_LOOP, Kind.PROBE_FAILING, Kind.POD_READY)


@st.composite
def timelines(draw: st.DrawFn) -> tuple[PredictedEvent, ...]:
    """Events in any order, with any ranges and probabilities."""
    times = st.tuples(*[st.floats(0, 900)] * 3).map(sorted)
    events = []
    for earliest, typical, latest in draw(st.lists(times, min_size=1, max_size=12)):
        kind = draw(st.sampled_from((*OF_NODES, *OF_PODS)))
        events.append(
            PredictedEvent(
                t_s=typical,
                t_min_s=earliest,
                t_max_s=latest,
                probability=draw(st.floats(0.001, 1)),
                kind=kind,
                object="Node/worker-1" if kind in OF_NODES else "Pod/shop/web-1-*",
                detail="",
                source="",
            )
        )
    return tuple(sorted(events, key=lambda each: each.t_s))


@given(timelines())
def test_spans_begin_before_they_end_and_share_the_simulations(timeline: tuple[PredictedEvent, ...]) -> None:
    world = cluster(network=CALICO)
    plan = Plan(cut_nodes=workers_of(world))
    found = replace(predicted("story.json")[0], timeline=timeline)
    for lane in predicted_lanes(found, LaneFacts.of(world, plan)):
        for each in lane.rows:
            for span in each.spans:
                assert 0 < span.share <= 1
                assert span.end is None or span.begin.t_s <= span.end.t_s
            if lane.key == Lane.DNS:
                assert sum(span.share for span in each.spans if span.end is None) <= 1.001
