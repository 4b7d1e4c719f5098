"""The time budget of simulations: when it ends, they stop, and anything not simulated is unknown."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class BudgetSpent(Exception):
    """The time budget ended during a simulation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeBudget:
    """A time budget: `seconds` in total; it ends when `clock` (monotonic, in seconds) reaches `end_s`.

    `tell` is called after each simulation with how many were made and are wanted (None: not known yet).
    """

    seconds: float = inf
    end_s: float = inf
    clock: Callable[[], float] = time.monotonic
    tell: Callable[[int, int | None], None] = lambda _made, _wanted: None

    @classmethod
    def of(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Self:
        """Return a budget that ends `seconds` from now."""
        return cls(seconds=seconds, end_s=clock() + seconds, clock=clock)

    @property
    def is_over(self) -> bool:
        return self.clock() >= self.end_s

    def check(self) -> None:
        """Raise `TimeIsUp` if the budget is over."""
        if self.is_over:
            raise BudgetSpent

    def share(self, part: float) -> Self:
        """Return a budget of a part, from 0 to 1, of the remaining time."""
        if self.end_s == inf:
            return self
        now_s = self.clock()
        return replace(self, end_s=now_s + max(0.0, self.end_s - now_s) * part)


UNBOUNDED = TimeBudget()
