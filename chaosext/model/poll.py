"""Waiting by asking: one loop for everything that is asked again until it is as wanted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")


def poll(
    ask: Callable[[], Value],
    *,
    within_s: float,
    every_s: float,
    until: Callable[[Value], object] = bool,
    tolerate: type[Exception] | tuple[type[Exception], ...] = (),
    at_deadline: bool = True,
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Value:
    """Ask at least once, then again after each `every_s` seconds, until the answer is as wanted.

    Args:
        ask: Makes one answer. Its own duration is not bounded here.
        within_s: Seconds until the last question. No pause goes beyond it.
        every_s: Seconds between an answer and the next question.
        until: Whether an answer is as wanted; by default, whether it is truthy.
        tolerate: Errors of `ask` that count as an unwanted answer.
        at_deadline: Ask a last time after exactly `within_s` seconds. Else give up as soon as the next question
            would come later than that.
        wait: Pauses for some seconds. A true result, as of `threading.Event.wait`, ends the polling.
        clock: The current time in seconds.

    Returns:
        The first wanted answer, else the last one.

    Raises:
        Exception: Any error of `ask`; a tolerated one only if it came last.
    """
    deadline_s = clock() + within_s

    def goes_on() -> bool:
        left_s = deadline_s - clock()
        is_last = left_s <= 0 or (left_s < every_s and not at_deadline)
        return not is_last and not wait(min(every_s, left_s))

    while True:
        try:
            answer = ask()
        except tolerate:
            if not goes_on():
                raise
        else:
            if until(answer) or not goes_on():
                return answer
