"""How long simulations may take: where the time is up they end, and what was not simulated is not known."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class TimeIsUp(Exception):
    """The time budget ended in the middle of a simulation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeBudget:
    """`seconds` were given in all, and `clock` (in seconds, monotonic) may go on until `end_s`."""

    seconds: float = inf
    end_s: float = inf
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def of(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Self:
        """A budget of so many seconds from now."""
        return cls(seconds=seconds, end_s=clock() + seconds, clock=clock)

    @property
    def is_over(self) -> bool:
        return self.clock() >= self.end_s

    def check(self) -> None:
        """Raises `TimeIsUp` where it is over."""
        if self.is_over:
            raise TimeIsUp

    def share(self, part: float) -> Self:
        """A part, from 0 to 1, of what is left of it."""
        if self.end_s == inf:
            return self
        now_s = self.clock()
        return replace(self, end_s=now_s + max(0.0, self.end_s - now_s) * part)


UNBOUNDED = TimeBudget()
