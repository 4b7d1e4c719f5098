"""When what was heard of a stop condition stops a run."""

from __future__ import annotations

import pytest

from chaosext.run.stop.condition_state import ConditionReply, ConditionStanding, Says

TRUE, FALSE, UNKNOWN = (
    ConditionReply(says, f"it is {says.value}") for says in (Says.TRUE, Says.FALSE, Says.UNKNOWN)
)


def why(standing: ConditionStanding, *heard: tuple[float, ConditionReply]) -> str:
    """Why it stops after what was `heard` when, "" where it does not; asked at the last moment only."""
    for at_s, reply in heard:
        standing = standing.heard(reply, at_s)
    return standing.why_stop(heard[-1][0]) if heard else standing.why_stop(0.0)


def test_what_was_never_asked_stops_nobody() -> None:
    assert why(ConditionStanding(unknown_s=0.0)) == ""


def test_true_stops_at_once_and_false_never() -> None:
    assert why(ConditionStanding(), (1.0, FALSE), (6.0, TRUE)) == "it is true"
    assert why(ConditionStanding(), (1.0, TRUE), (6.0, FALSE)) == ""


@pytest.mark.parametrize(
    ("heard", "stops"),
    [
        ([(0.0, TRUE), (9.0, TRUE)], False),
        ([(0.0, TRUE), (10.0, TRUE)], True),
        ([(0.0, TRUE), (5.0, FALSE), (10.0, TRUE)], False),
        ([(0.0, TRUE), (5.0, UNKNOWN), (10.0, TRUE)], True),
        ([(0.0, TRUE), (5.0, FALSE), (10.0, TRUE), (20.0, TRUE)], True),
    ],
)
def test_it_has_to_be_true_for_as_long_as_asked_and_unknown_does_not_make_it_false(
    heard: list[tuple[float, ConditionReply]], stops: bool
) -> None:
    assert bool(why(ConditionStanding(for_s=10.0, unknown_s=60.0), *heard)) is stops


@pytest.mark.parametrize(
    ("unknown_s", "heard", "said"),
    [
        (30.0, [(0.0, UNKNOWN), (29.0, UNKNOWN)], ""),
        (30.0, [(0.0, UNKNOWN), (30.0, UNKNOWN)], "unknown for 30 s: it is unknown"),
        (30.0, [(0.0, UNKNOWN), (20.0, FALSE), (40.0, UNKNOWN)], ""),
        (0.0, [(5.0, UNKNOWN)], "unknown for 0 s: it is unknown"),
        (None, [(0.0, UNKNOWN), (9e9, UNKNOWN)], ""),
    ],
)
def test_unknown_stops_when_it_lasts(
    unknown_s: float | None, heard: list[tuple[float, ConditionReply]], said: str
) -> None:
    assert why(ConditionStanding(unknown_s=unknown_s), *heard) == said
