"""Lanes may lose detail, never anything bad: folding and coarsening show at each moment the worst there was."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from chaosext.report.render.html.tracks import WORST_FIRST, Bar, State, coarse, joined, worst

STATES = st.sampled_from([State.OUT, State.UNSEEN, State.GOOD])


@st.composite
def tracks(draw: st.DrawFn) -> tuple[Bar, ...]:
    """Bars that follow on one another without a hole."""
    lengths = draw(st.lists(st.integers(1, 400), min_size=1, max_size=30))
    edges = [sum(lengths[:n]) / 10 for n in range(len(lengths) + 1)]
    return tuple(Bar(a, b, draw(STATES)) for a, b in itertools.pairwise(edges))


def at(bars: tuple[Bar, ...], t_s: float) -> State | None:
    return next((bar.state for bar in bars if bar.start_s <= t_s < bar.end_s), None)


def rank(state: State | None) -> int:
    return len(WORST_FIRST) if state is None else WORST_FIRST.index(state)


def moments(*found: tuple[Bar, ...]) -> list[float]:
    """The middles between all edges: a moment of every combination."""
    edges = sorted({edge for bars in found for bar in bars for edge in (bar.start_s, bar.end_s)})
    return [(a + b) / 2 for a, b in itertools.pairwise(edges)]


@given(tracks(), st.integers(1, 12))
def test_a_coarse_line_is_never_better_than_the_fine_one(bars: tuple[Bar, ...], at_most: int) -> None:
    length_s = bars[-1].end_s
    rough = coarse(bars, length_s, at_most)
    assert len(rough) <= max(at_most + 2, 1)
    assert all(rank(at(rough, t_s)) <= rank(at(bars, t_s)) for t_s in moments(bars))


@given(st.lists(tracks(), min_size=1, max_size=6))
def test_a_group_is_at_each_moment_as_bad_as_its_worst_member(members: list[tuple[Bar, ...]]) -> None:
    group = worst(members)
    for t_s in moments(*members):
        assert rank(at(group, t_s)) == min(rank(at(bars, t_s)) for bars in members)


@given(tracks())
def test_joining_changes_nothing_that_can_be_seen(bars: tuple[Bar, ...]) -> None:
    whole = joined(bars)
    assert all(at(whole, t_s) is at(bars, t_s) for t_s in moments(bars))
    assert all(a.state is not b.state for a, b in itertools.pairwise(whole))
