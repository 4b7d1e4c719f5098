"""Whatever the delays there and back are, a node's moment is told to within the error that is stated."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.timeline.clock_offsets import ClockReading, Clocks

DELAYS = st.floats(0, 2, allow_nan=False)
SLACK_S = 1e-6


def measured(
    sent_s: float, there_s: float, back_s: float, offset_s: float, *, boot: str = "a", skew_s: float = 0.0
) -> ClockReading:
    """An honest answer of a node whose clock is `offset_s` ahead."""
    return ClockReading(
        boot=boot,
        mono_s=sent_s + there_s + offset_s,
        wall_s=1e9 + sent_s + there_s + skew_s,
        sent_s=sent_s,
        answered_s=sent_s + there_s + back_s,
        own_wall_s=1e9 + sent_s + (there_s + back_s) / 2,
    )


@given(
    st.lists(st.tuples(st.floats(0, 1e5), DELAYS, DELAYS), min_size=1, max_size=20),
    st.floats(-1e6, 1e6),
    st.floats(0, 1e5),
)
def test_a_moment_is_told_within_the_error(
    asked: list[tuple[float, float, float]], offset_s: float, at_s: float
) -> None:
    clocks = Clocks()
    for sent_s, there_s, back_s in asked:
        clocks.take(measured(sent_s, there_s, back_s, offset_s))
    told_s = clocks.to_runner_s("a", at_s + offset_s)
    offset = clocks.offsets()["a"]
    assert told_s is not None
    assert abs(told_s - at_s) <= offset.error_s + SLACK_S
    assert offset.error_s <= min((there_s + back_s) / 2 for _, there_s, back_s in asked) + SLACK_S


@given(st.floats(0.001, 1.0), st.floats(1.0, 3600.0))
def test_clocks_that_drift_apart_say_so(drift_s: float, after_s: float) -> None:
    clocks = Clocks()
    clocks.take(measured(0, 0.0, 0.0, 5.0))
    clocks.take(measured(after_s, 0.0001, 0.0001, 5.0 + drift_s))
    assert clocks.offsets()["a"].error_s == pytest.approx(drift_s - 0.0001, abs=SLACK_S)


def test_each_boot_has_an_offset_of_its_own() -> None:
    clocks = Clocks()
    clocks.take(measured(10, 0.01, 0.01, 500.0, boot="before"))
    clocks.take(measured(60, 0.01, 0.01, -40.0, boot="after"))
    assert clocks.to_runner_s("before", 512.0) == pytest.approx(12.0)
    assert clocks.to_runner_s("after", 30.0) == pytest.approx(70.0)
    assert clocks.to_runner_s("never met", 30.0) is None
    summary = clocks.summary()
    assert summary is not None
    assert (summary.boots, summary.offset_s) == (2, pytest.approx(-40.0))


def test_a_wall_clock_that_is_wrong_moves_no_moment() -> None:
    clocks = Clocks()
    clocks.take(measured(10, 0.01, 0.01, 500.0, skew_s=90.0))
    summary = clocks.summary()
    assert summary is not None
    assert summary.wall_skew_s == pytest.approx(90.0)
    assert clocks.to_runner_s("a", 511.0) == pytest.approx(11.0)


def test_what_is_written_down_leads_from_a_sample_to_seconds_from_the_cut() -> None:
    clocks = Clocks()
    clocks.take(measured(10, 0.01, 0.01, 500.0))
    written = clocks.offsets()["a"].to_json(zero_s=100.0)
    assert 512.0 + written["from_cut_s"] == pytest.approx(12.0 - 100.0)


def test_nothing_is_known_of_a_node_that_never_answered() -> None:
    assert Clocks().summary() is None
    assert Clocks().offsets() == {}


def test_they_can_be_asked_while_another_thread_measures() -> None:
    """Reading all nodes ended for good when a measurement came in just then."""
    clocks, stop = Clocks(), threading.Event()

    def measure() -> None:
        while not stop.is_set():
            clocks.take(ClockReading(boot="b", mono_s=1, wall_s=1, sent_s=1, answered_s=1.1, own_wall_s=1))

    thread = threading.Thread(target=measure, daemon=True)
    thread.start()
    until_s = time.monotonic() + 1
    while time.monotonic() < until_s:
        assert len(clocks.offsets()) <= 1
    stop.set()
    thread.join()
