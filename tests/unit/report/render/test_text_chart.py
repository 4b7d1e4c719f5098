"""Lanes as text: each character is true of its slice of time, and what nobody saw is never drawn as fine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from stories import STORIES

from chaosext.model.result import Lane
from chaosext.model.timeline import Event, Kind
from chaosext.report.render.text_chart import COLUMNS, FINE, LABEL, OUT, ROWS, UNSEEN, chart

if TYPE_CHECKING:
    from chaosext.model.result import RunResult, Window

RUN = STORIES["passed"]
END_S = max(event.t_s for event in RUN.events)
SLICE_S = END_S / COLUMNS


def cells(result: RunResult, name: str) -> str:
    return next(line[LABEL + 1 :] for line in chart(result) if line.startswith(name))


def out(*windows: Window, unseen: tuple[Window, ...] = ()) -> RunResult:
    return replace(RUN, outages={Lane.DNS: {"Node/a": windows}}, unobserved={"a": unseen} if unseen else {})


moments = st.integers(0, int(END_S) * 10 - 1).map(lambda tenths: tenths / 10 + 0.01)
"""Never at the edge of a slice, where rounding decides."""

windows = st.tuples(moments, moments).map(sorted)


@given(windows, windows)
def test_each_character_is_true_of_its_slice(dead: list[float], blind: list[float]) -> None:
    drawn = cells(out((dead[0], dead[1]), unseen=((blind[0], blind[1]),)), "DNS a")
    for column, cell in enumerate(drawn):
        from_s, to_s = SLICE_S * column, SLICE_S * (column + 1)
        is_dead, is_blind = (start_s < to_s and end_s > from_s for start_s, end_s in (dead, blind))
        assert cell == (OUT if is_dead else UNSEEN if is_blind else FINE)


def test_what_lasts_is_drawn_to_the_end() -> None:
    assert cells(out((END_S * 0.5001, None)), "DNS a") == FINE * (COLUMNS // 2) + OUT * (COLUMNS // 2)


def test_a_node_that_nobody_saw_has_a_row_though_nothing_was_out() -> None:
    blind = replace(RUN, outages={}, unobserved={"a": ((0.0, None),)})
    assert cells(blind, "DNS a") == UNSEEN * COLUMNS


def test_what_lies_behind_an_unobserved_node_is_not_drawn_as_fine() -> None:
    """A Pod's node is not in its name: the sentinel that told of it is."""
    pod, way = "Pod/shop/cart-6c9f7d5b8-kx2vn", "Node/a → 172.18.0.5"
    told = Event(t_s=1.0, kind=Kind.XDS_LOST, object=pod, detail="", source="sentinel on a")
    blind = replace(
        RUN,
        events=(told, *RUN.events),
        outages={Lane.XDS: {pod: ((1.0, 9.0),)}, Lane.BGP: {way: ((1.0, 9.0),)}},
        unobserved={"a": ((9.0, None),)},
    )
    for name in ("xDS cart-6c9f7d5b8-kx2vn", "BGP a → 172.18.0.5"):
        assert FINE not in cells(blind, name)[10:]


def test_what_goes_out_with_the_last_that_was_seen_is_drawn() -> None:
    assert cells(out((END_S, None)), "DNS a") == FINE * (COLUMNS - 1) + OUT


def test_the_control_planes_view_is_not_blind_where_a_sentinel_is() -> None:
    seen = replace(
        RUN, outages={Lane.NODE_READY: {"Node/a": ((0.0, 1.0),)}}, unobserved={"a": ((0.0, None),)}
    )
    assert UNSEEN not in cells(seen, "node Ready a")


def test_where_nothing_was_out_there_is_no_chart() -> None:
    assert chart(replace(RUN, outages={})) == ()


def test_a_hundred_nodes_are_the_worst_and_a_count() -> None:
    many = {f"Node/n{n}": ((0.0, float(n + 1)),) for n in range(100)}
    lines = chart(replace(RUN, outages={Lane.DNS: many}))
    assert lines[2].startswith("DNS n99 ")
    assert (len(lines), lines[-1]) == (ROWS + 3, "… and 76 more")
    assert max(map(len, lines)) <= LABEL + 1 + COLUMNS
