"""Polling asks at least once, pauses between questions, and never beyond the deadline."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.model.errors import Refused, Unreachable
from chaosext.model.poll import poll

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Clock:
    """A clock that only pauses and questions move. `asked_s`: when each question was asked."""

    answers: list[object] = field(default_factory=list)
    takes_s: float = 0.0
    now_s: float = 100.0
    asked_s: list[float] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)

    def ask(self) -> object:
        self.asked_s.append(self.now_s - 100.0)
        self.now_s += self.takes_s
        answer = self.answers[min(len(self.asked_s), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(self, seconds: float) -> None:
        self.waited_s.append(seconds)
        self.now_s += seconds

    def poll(self, within_s: float, every_s: float, **more: object) -> object:
        return poll(
            self.ask,
            within_s=within_s,
            every_s=every_s,
            wait=self.wait,
            clock=lambda: self.now_s,
            **more,  # type: ignore[arg-type]
        )


def test_poll_returns_the_first_truthy_answer() -> None:
    clock = Clock([None, 0, "yes", "later"])
    assert clock.poll(10.0, 2.0) == "yes"
    assert clock.asked_s == [0.0, 2.0, 4.0]


def test_poll_returns_the_first_answer_that_until_accepts() -> None:
    clock = Clock([3, 2, 1])
    assert clock.poll(10.0, 2.0, until=lambda answer: answer < 3) == 2


@pytest.mark.parametrize("within_s", [0.0, -5.0])
def test_poll_asks_once_without_time(within_s: float) -> None:
    clock = Clock([False])
    assert clock.poll(within_s, 2.0) is False
    assert (clock.asked_s, clock.waited_s) == ([0.0], [])


def test_poll_asks_a_last_time_at_the_deadline() -> None:
    clock = Clock([None])
    assert clock.poll(5.0, 2.0) is None
    assert clock.asked_s == [0.0, 2.0, 4.0, 5.0]


def test_poll_gives_up_when_the_next_question_would_come_too_late() -> None:
    clock = Clock([None])
    clock.poll(5.0, 2.0, at_deadline=False)
    assert clock.asked_s == [0.0, 2.0, 4.0]


def test_poll_does_not_ask_again_after_a_slow_answer() -> None:
    clock = Clock([None], takes_s=7.0)
    clock.poll(5.0, 2.0)
    assert clock.asked_s == [0.0]


def test_poll_asks_on_after_a_tolerated_error() -> None:
    clock = Clock([Unreachable("no answer"), "there"])
    assert clock.poll(5.0, 2.0, tolerate=Unreachable) == "there"


def test_poll_raises_a_tolerated_error_that_came_last() -> None:
    clock = Clock([False, Unreachable("first"), Unreachable("last")])
    with pytest.raises(Unreachable, match="last"):
        clock.poll(3.0, 2.0, tolerate=Unreachable)


def test_poll_returns_the_last_answer_when_errors_came_before_it() -> None:
    clock = Clock([Unreachable("first"), False])
    assert clock.poll(3.0, 2.0, tolerate=Unreachable) is False


def test_poll_raises_any_other_error_at_once() -> None:
    clock = Clock([Refused("no"), "there"])
    with pytest.raises(Refused):
        clock.poll(5.0, 2.0, tolerate=Unreachable)
    assert clock.asked_s == [0.0]


def test_poll_does_not_tolerate_an_error_of_until() -> None:
    def until(_: object) -> bool:
        raise Unreachable("of the condition")

    clock = Clock([1])
    with pytest.raises(Unreachable):
        clock.poll(5.0, 2.0, tolerate=Unreachable, until=until)
    assert clock.asked_s == [0.0]


def test_poll_ends_with_the_last_answer_when_its_pause_is_cut_short() -> None:
    hurried, asked = threading.Event(), list[int]()

    def ask() -> int:
        asked.append(0)
        hurried.set()
        return 0

    assert poll(ask, within_s=60.0, every_s=60.0, wait=hurried.wait) == 0
    assert len(asked) == 1


def test_poll_ends_with_a_tolerated_error_when_its_pause_is_cut_short() -> None:
    def ask() -> int:
        raise Unreachable("no answer")

    with pytest.raises(Unreachable):
        poll(ask, within_s=60.0, every_s=60.0, tolerate=Unreachable, wait=lambda _: True)


TIMES = st.integers(0, 50).map(float)  # whole seconds, so that sums are exact
ANSWERS: st.SearchStrategy[Callable[[], object]] = st.sampled_from(
    [lambda: None, lambda: 1, lambda: Unreachable("no answer")]
)


@given(
    answers=st.lists(ANSWERS, min_size=1, max_size=8),
    within_s=TIMES,
    every_s=st.integers(1, 20).map(float),
    takes_s=st.integers(0, 5).map(float),
    at_deadline=st.booleans(),
)
def test_poll_keeps_its_promises(
    answers: list[Callable[[], object]], within_s: float, every_s: float, takes_s: float, at_deadline: bool
) -> None:
    clock = Clock([answer() for answer in answers], takes_s=takes_s)
    try:
        found = clock.poll(within_s, every_s, tolerate=Unreachable, at_deadline=at_deadline)
    except Unreachable as error:
        found = error
    asked = clock.asked_s
    given_ = [clock.answers[min(number, len(answers) - 1)] for number in range(len(asked))]
    assert found is given_[-1]
    assert all(answer != 1 for answer in given_[:-1])  # ends with the first wanted answer
    assert asked[0] == 0.0
    assert asked[-1] <= within_s
    pauses = [later - earlier - takes_s for earlier, later in pairwise(asked)]
    assert pauses == clock.waited_s
    assert all(pause == every_s for pause in pauses[:-1])
    if found != 1:  # gave up, and not too early
        left_s = within_s - asked[-1] - takes_s
        assert left_s <= 0 if at_deadline else left_s < every_s
    if not at_deadline:
        assert all(pause == every_s for pause in pauses)
