"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.model.duration_text import short_duration
from chaosext.rehearsal.predict.scenarios import seconds


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0s"),
        (1.25, "1.2s"),
        (59.4, "59.4s"),
        (330, "5m30s"),
        (480, "8m"),
        (3600, "1h"),
        (59.96, "1m"),
        (82.2, "1m22s"),
        (3661.7, "1h1m2s"),
        (7205, "2h5s"),
        (float("inf"), "infs"),
    ],
)
def test_units_that_are_zero_are_left_out(value: float, said: str) -> None:
    assert short_duration(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(-0.06, "-0.1s"), (-0.04, "0s"), (55.0, "55s"), (82.24, "1m22.2s"), (599.97, "10m"), (3661.7, "1h1m2s")],
)
def test_what_was_measured_keeps_its_tenths_for_ten_minutes(value: float, said: str) -> None:
    assert short_duration(value, exact=True) == said


@given(st.integers(0, 100_000))
def test_whole_seconds_are_read_back_as_they_were(value: int) -> None:
    assert seconds(short_duration(value)) == value
