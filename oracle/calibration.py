"""Whether predicted probabilities are what they say: how often things happened in repeats of one scenario. Pure."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from chaosext.matrix.calibration import Calibration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oracle.judge import Comparison

ENOUGH = 5
"""Repeats of a scenario from which frequencies say something."""

BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
"""Edges of probabilities between which events are counted together."""


def calibrations(comparisons: Iterable[Comparison]) -> tuple[Calibration, ...]:
    """For each outcome of each scenario that was repeated, how often it came and how often it was to come."""
    return tuple(made for repeats in _repeated(comparisons) for made in _of_one(repeats))


def likeliest_share(comparisons: Iterable[Comparison]) -> float:
    """Of the repeated scenarios: in how many the outcome seen most often is the one predicted likeliest; 1 of none."""
    votes = [
        2 * sum(each.is_likeliest for each in repeats) >= len(repeats) for repeats in _repeated(comparisons)
    ]
    return sum(votes) / len(votes) if votes else 1.0


def reliability(comparisons: Iterable[Comparison]) -> tuple[Calibration, ...]:
    """Events by their predicted probability: for people to see, as what happens to one cluster hangs together."""
    chances = [chance for each in comparisons for chance in each.chances]
    bins = ((low, high, [each for each in chances if low <= each[0] < high]) for low, high in pairwise(BINS))
    return tuple(
        Calibration(
            what=f"events of {low:.0%} to {high:.0%}",
            count=sum(came for _, came in found),
            repeats=len(found),
            probability=sum(probability for probability, _ in found) / len(found),
        )
        for low, high, found in bins
        if found
    )


def _repeated(comparisons: Iterable[Comparison]) -> list[list[Comparison]]:
    by_scenario: dict[str, list[Comparison]] = defaultdict(list)
    for each in comparisons:
        by_scenario[each.scenario].append(each)
    return [repeats for repeats in by_scenario.values() if len(repeats) >= ENOUGH]


def _of_one(repeats: list[Comparison]) -> Iterable[Calibration]:
    states = sorted({state for each in repeats for state, _ in each.outcomes})
    for state in states:
        predicted = [dict(each.outcomes).get(state, 0.0) for each in repeats]
        yield Calibration(
            what=f"{repeats[0].scenario}: DNS {state} after the heal",
            count=sum(each.observed is state for each in repeats),
            repeats=len(repeats),
            probability=sum(predicted) / len(predicted),
        )
