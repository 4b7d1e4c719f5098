"""Which nodes taints close: the same at every time as the node lifecycle says, in whatever order it is asked."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from chaosext.rehearsal.simulate.closed_nodes import ClosedNodes
from chaosext.rehearsal.simulate.node_lifecycle import Lives

NUMBERS = (4, 2, 7)
"""The nodes' numbers in the cluster."""

times = st.one_of(st.just(inf), st.sampled_from((0.0, 10.0, 20.0, 30.0, 40.0, 50.0)))
episode = st.tuples(*[times] * 6)


@st.composite
def lives(draw: st.DrawFn) -> Lives:
    found = Lives.of(len(NUMBERS), 0.01)
    for node in draw(st.lists(st.sampled_from(range(len(NUMBERS))), max_size=3)):
        _set(found, node, draw(episode))
        found.close(node)
    for node in range(len(NUMBERS)):
        _set(found, node, draw(episode))
    return found


def _set(found: Lives, node: int, when: tuple[float, ...]) -> None:
    lists = (found.unknown_s, found.no_schedule_s, found.no_execute_s)
    lists += (found.ready_s, found.schedulable_s, found.no_execute_off_s)
    for each, t in zip(lists, when, strict=True):
        each[node] = t


@given(lives(), st.lists(st.floats(0.0, 60.0), min_size=1, max_size=8), st.booleans(), st.booleans())
def test_nodes_are_closed_as_the_node_lifecycle_says(
    found: Lives, asked: list[float], minds_schedule: bool, minds_execute: bool
) -> None:
    closed = ClosedNodes(found, NUMBERS)
    for t in asked:
        expected = {
            number
            for at, number in enumerate(NUMBERS)
            if (minds_schedule and found.is_unschedulable(at, t))
            or (minds_execute and found.is_emptied(at, t))
        }
        assert set(closed.at(t, (minds_schedule, minds_execute))) == expected
