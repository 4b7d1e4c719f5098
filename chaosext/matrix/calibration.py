"""Whether a predicted probability is what it says: how often a thing came in repeats. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.simulate.prediction import Dns

ENOUGH = 5
"""Repeats from which frequencies say something."""

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


def dns_calibrations(
    of: str, states: Iterable[Dns], repeats: Sequence[tuple[Mapping[Dns, float], Dns]]
) -> Iterator[Calibration]:
    """Yield how often each of the `states` of DNS came after the heal, and how often it was to come.

    `of`: what was repeated. `repeats`: the predicted probabilities of each, and the state that came.
    """
    for state in sorted(states):
        yield Calibration(
            what=f"{of}: DNS {state} after the heal",
            count=sum(seen is state for _, seen in repeats),
            repeats=len(repeats),
            probability=sum(predicted.get(state, 0.0) for predicted, _ in repeats) / len(repeats),
        )


def _binomial(count: int, of: int, probability: float) -> float:
    return comb(of, count) * float(probability**count * (1 - probability) ** (of - count))
