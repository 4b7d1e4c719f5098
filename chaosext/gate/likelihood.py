"""How likely an effect must be, and whether enough simulations show that it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chaosext.model.findings import Finding, Status

if TYPE_CHECKING:
    from chaosext.gate.cutover_plan import Acceptance
    from chaosext.rehearsal.simulate.prediction import Prediction

MOST_PLAYS = 5000
"""Maximum of random simulations: a probability that needs more is unknown."""

CONFIDENCE_Z = 1.645
"""95% quantile of the standard normal distribution."""

ROUNDING = 1e-9


def needed_plays(probability: float) -> int:
    """Return how many random simulations without a failure prove this probability."""
    if probability >= 1:
        return MOST_PLAYS + 1
    return math.ceil(CONFIDENCE_Z**2 * probability / (1 - probability) - ROUNDING)


def lower_bound(share: float, plays: int) -> float:
    """Return the 95% lower confidence bound of a probability, given its `share` of `plays` simulations.

    Source: Wilson's interval, one-sided (E. B. Wilson, 1927).
    """
    z = CONFIDENCE_Z
    middle = share + z**2 / (2 * plays)
    spread = z * math.sqrt(share * (1 - share) / plays + z**2 / (4 * plays**2))
    return (middle - spread) / (1 + z**2 / plays)


def likely(
    check: str, found: Prediction, accept: Acceptance, chance: float, unknown: float, what: str
) -> Finding:
    """Return healthy if the condition is likely enough and enough simulations prove it."""
    said = f"{what} in {percent(chance)}, wanted {percent(accept.probability)}"
    if chance + unknown < accept.probability - ROUNDING:
        return Finding(check=check, status=Status.UNHEALTHY, summary=said)
    if chance < accept.probability - ROUNDING or not found.simulations.made:
        why = f"unknown in {percent(unknown)}" if found.simulations.is_whole else few(found)
        return Finding(check=check, status=Status.UNKNOWN, summary=f"{said}; {why}")
    if found.samples and lower_bound(chance, found.samples) < accept.probability - ROUNDING:
        said = f"{said}, which {found.samples} random simulations cannot show"
        return Finding(check=check, status=Status.UNKNOWN, summary=said)
    return Finding(check=check, status=Status.HEALTHY, summary=said)


def few(found: Prediction) -> str:
    """Say how many simulations were made."""
    return f"only {found.simulations.made} of {found.simulations.wanted} simulations were completed in time"


def percent(share: float) -> str:
    """Format a probability; 100% and 0% only for a certain one, else `>99.9%` or `<0.1%`."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1 - ROUNDING:
        return ">99.9%"
    return f"{round(100 * share, 1):g}%"
