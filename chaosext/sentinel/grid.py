"""When a round begins, and its number: on a fixed grid of the monotonic clock, so that nothing drifts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Round `first` begins at `start_s` (monotonic), and one more each `interval_s`."""

    start_s: float
    interval_s: float
    first: int = 0

    def next(self, now_s: float, last: int) -> int:
        """The number of the round to begin, after `last`: the one whose time it is, or the next one.

        Rounds whose time went by unseen keep their numbers: they are missing, and so show as a gap.
        """
        current = self.first + floor((now_s - self.start_s) / self.interval_s)
        return max(last + 1, current)

    def begins_s(self, number: int) -> float:
        return self.start_s + (number - self.first) * self.interval_s
