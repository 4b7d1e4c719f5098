"""Whether a predicted probability is what it says: how often a thing came in repeats. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

SURPRISE = 0.01
"""A count is a miss when one as far out, or further, had at most this probability (two-sided)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """One thing that may happen: seen `count` times in `repeats`, with the mean predicted `probability`."""

    what: str
    count: int
    repeats: int
    probability: float

    @property
    def p_value(self) -> float:
        """How likely a count at most as likely as this one is, if the probability is right (exact binomial test)."""
        chances = [_binomial(count, self.repeats, self.probability) for count in range(self.repeats + 1)]
        return min(1.0, sum(chance for chance in chances if chance <= chances[self.count] * (1 + 1e-9)))

    @property
    def holds(self) -> bool:
        return self.p_value > SURPRISE


def _binomial(count: int, of: int, probability: float) -> float:
    return comb(of, count) * float(probability**count * (1 - probability) ** (of - count))
