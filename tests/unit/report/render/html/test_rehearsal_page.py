"""A rehearsal's pages, and the drawing of what is predicted: shares, ranges, groups, and nothing unknown as healthy."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import pytest
from checkout import ROOT
from hypothesis import given
from hypothesis import strategies as st
from pages import read, without_the_inlined
from rehearsal_records import crowded_record, record_of

from chaosext.rehearsal.simulate.prediction import Dns, Forecast
from chaosext.rehearsal.snapshot.world import Doubt
from chaosext.report.data.lane_state import State
from chaosext.report.data.predicted_lanes import LaneFacts, LaneMoment, LaneRow, LaneSpan
from chaosext.report.render.html.predicted_figure import _grouped, _segments, _sum, draw_prediction
from chaosext.report.render.html.rehearsal_page import render_rehearsal
from chaosext.report.render.html.time_axis import Axis
from chaosext.report.render.rehearsal_markdown import rehearsal_markdown

GOLDEN = ROOT / "tests" / "golden" / "rehearsal_pages"
AXIS = Axis(0.0, 900.0)


@pytest.mark.parametrize("name", ["story", "mitigated"])
@pytest.mark.parametrize("form", ["html", "md"])
def test_golden(name: str, form: str) -> None:
    """`GOLDEN=write pytest …` writes the files anew."""
    render = {"html": render_rehearsal, "md": rehearsal_markdown}[form]
    path, text = GOLDEN / f"{name}.{form}", without_the_inlined(render(record_of(f"{name}.json")))
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["story", "mitigated", "crowded"])
def test_the_page_is_well_formed_and_refers_to_nothing_outside(name: str) -> None:
    record = crowded_record() if name == "crowded" else record_of(f"{name}.json")
    reader = read(render_rehearsal(record))
    assert len(reader.ids) == len(set(reader.ids))
    assert set(reader.references) <= set(reader.ids)
    assert (reader.levels[0], reader.levels.count(1)) == (1, 1)
    assert all(after - before <= 1 for before, after in zip(reader.levels, reader.levels[1:], strict=False))
    assert set(reader.links) == {"data:,"}


def test_text_from_the_snapshot_stays_text() -> None:
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    record = record_of("story.json")
    timeline = tuple(replace(each, object=f"{each.object}{hostile}") for each in record.found.timeline)
    found = replace(record.found, timeline=timeline, assumptions=(hostile,))
    text = render_rehearsal(replace(record, found=found, source=hostile))
    assert "<img" not in text
    assert text.count("<script>") == 1


def test_what_cannot_be_known_is_amber_and_named_and_no_lookups_are_drawn_as_working() -> None:
    record = record_of("mitigated.json")
    view = replace(
        next(iter(record.found.dns_per_node.values())), during_cut=Dns.UNKNOWN, after_heal=Dns.UNKNOWN
    )
    found = replace(
        record.found,
        doubts=(Doubt(subject="nodes", key="x", why="repaired meanwhile"),),
        verdict=Forecast.UNKNOWN,
        self_heals=None,
        dns_per_node=dict.fromkeys(record.found.dns_per_node, view),
    )
    text = render_rehearsal(replace(record, found=found))
    assert re.search(r'<body class="fixed">', text)
    assert "<strong>UNKNOWN</strong>" in text
    assert "repaired meanwhile" in text
    drawing = draw_prediction(found, record.facts)
    assert drawing
    (dns,) = (lane for lane in drawing.lanes if lane.title == "DNS")
    assert {row.out for row in dns.rows} == {"unknown"}


def test_a_prediction_without_a_timeline_has_no_picture() -> None:
    record = record_of("story.json")
    bare = replace(record.found, timeline=())
    assert draw_prediction(bare, record.facts) is None
    assert "<figure" not in render_rehearsal(replace(record, found=bare))


# -- the drawing -------------------------------------------------------------------------------------------------


def span(begin_s: float, end_s: float | None, share: float = 1.0, state: State = State.OUT) -> LaneSpan:
    end = None if end_s is None else LaneMoment(end_s, end_s, end_s)
    return LaneSpan(state=state, begin=LaneMoment(begin_s, begin_s - 5, begin_s + 5), end=end, share=share)


def test_shares_of_one_state_add_up_and_end_where_their_simulations_recover() -> None:
    found = _segments([span(485, 560, 0.59), span(485, None, 0.41)], AXIS)
    assert [(each.start_s, each.end_s, round(each.share, 2)) for each in found] == [
        (485, 560, 1.0),
        (560, 900, 0.41),
    ]


spans = st.builds(
    span,
    begin_s=st.integers(0, 900).map(float),
    end_s=st.none() | st.integers(0, 900).map(float),
    share=st.floats(0.01, 1),
    state=st.sampled_from([State.OUT, State.FAILING, State.UNSEEN, State.AWAY]),
)


@given(found=st.lists(spans, max_size=6))
def test_no_span_is_lost_and_no_share_exceeds_all(found: list[LaneSpan]) -> None:
    segments = _segments(found, AXIS)
    assert all(0 < each.share <= 1 for each in segments)
    for each in found:
        end_s = each.end.t_s if each.end else AXIS.end_s
        inside = [
            one for one in segments if one.state is each.state and each.begin.t_s <= one.start_s < end_s
        ]
        assert (
            end_s <= each.begin.t_s
            or sum(one.end_s - one.start_s for one in inside) == end_s - each.begin.t_s
        )


def test_objects_that_do_the_same_are_one_line_and_others_are_not() -> None:
    rows = [
        LaneRow(name="worker-1", spans=(span(485, None),)),
        LaneRow(name="worker-2", spans=(span(488, None),)),
        LaneRow(name="worker-3", spans=(span(485, 600),)),
        LaneRow(name="worker-4", spans=(span(485, None, state=State.UNSEEN),)),
    ]
    groups = _grouped(rows, within_s=18)
    assert [[row.name for row in group] for group in groups] == [
        ["worker-1", "worker-2"],
        ["worker-3"],
        ["worker-4"],
    ]


def test_a_state_that_is_not_certain_says_its_share() -> None:
    record = crowded_record()
    drawing = draw_prediction(record.found, record.facts)
    assert drawing
    assert drawing.shared
    (mesh,) = (lane for lane in drawing.lanes if lane.title == "Mesh configuration")
    assert re.search(r'opacity="0\.59"', mesh.rows[0].svg)
    assert "59%" in mesh.rows[0].out


def test_many_lines_of_a_lane_are_counted_not_drawn() -> None:
    record = record_of("story.json")
    (example,) = (
        each
        for each in record.found.timeline
        if each.kind.value == "node_not_ready" and "worker-1" in each.object
    )
    many = tuple(
        replace(
            example, object=f"Node/n-{n}", t_s=10.0 + 40 * n, t_min_s=10.0 + 40 * n, t_max_s=12.0 + 40 * n
        )
        for n in range(20)
    )
    drawing = draw_prediction(
        replace(record.found, timeline=many), LaneFacts(periods=((0.0, 480.0),), horizon_s=900.0)
    )
    assert drawing
    assert drawing.lanes[0].more == "and 12 more, in the JSON"


def test_time_that_is_bad_in_two_ways_counts_once() -> None:
    spans = [span(100, 200, state=State.FAILING), span(150, 250)]
    assert _sum(spans, "dns", AXIS) == "2m30s"
    assert _sum(spans[:1], "dns", AXIS) == "partial, 1m40s"
