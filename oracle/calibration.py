"""Whether predicted probabilities are what they say: how often things happened in repeats of one scenario. Pure."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from chaosext.matrix.calibration import ENOUGH, Calibration, dns_calibrations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oracle.judge import Comparison

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
    found = [(dict(each.outcomes), each.observed) for each in repeats]
    states = {state for predicted, _ in found for state in predicted}
    return dns_calibrations(repeats[0].scenario, states, found)
