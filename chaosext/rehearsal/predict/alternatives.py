"""Assumptions that could turn the outcome: each is simulated both ways; where the outcome differs, it is unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from chaosext.rehearsal.simulate.prediction import Dns, DnsView, Forecast, PredictedOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaosext.rehearsal.simulate.prediction import DnsOutage, Otherwise, Prediction

State = TypeVar("State", Dns, Forecast)

LEAST = 0.05
"""A difference in probability that may be random."""


def agreed(found: Prediction, others: Sequence[Otherwise]) -> Prediction:
    """Return what the prediction and those with an assumption turned agree on; the rest is unknown."""
    turned = tuple(each for each in others if _turns(each.prediction, found))
    dns = _common_view([found.dns, *(each.prediction.dns for each in others)])
    outages = max((found.outages, *(each.prediction.outages for each in others)), key=_longest_s)
    found = replace(found, dns=dns, outages=outages)
    if not turned:
        return found
    every = [found, *(each.prediction for each in turned)]
    return replace(
        found,
        verdict=Forecast.UNKNOWN,
        self_heals=None,
        chances=_common([each.chances for each in every], Forecast.UNKNOWN),
        healing=_common([each.healing for each in every], Forecast.UNKNOWN),
        outcomes=_outcomes(found, every, f"it depends on an assumption: {turned[0]}"),
        otherwise=turned,
    )


def _turns(other: Prediction, found: Prediction) -> bool:
    """Whether the outcome is another one."""
    if other.verdict is not found.verdict or other.dns.after_heal is not found.dns.after_heal:
        return True
    return found.chances.get(found.verdict, 0.0) - other.chances.get(found.verdict, 0.0) > LEAST


def _outcomes(found: Prediction, every: Iterable[Prediction], why: str) -> tuple[PredictedOutcome, ...]:
    whys = {each.dns_after_heal: each.why for each in found.outcomes}
    shares = [{each.dns_after_heal: each.probability for each in one.outcomes} for one in every]
    ranked = sorted(_common(shares, Dns.UNKNOWN).items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(
        PredictedOutcome(dns_after_heal=state, probability=share, why=whys.get(state, why))
        for state, share in ranked
    )


def _common(shares: Sequence[Mapping[State, float]], unknown: State) -> dict[State, float]:
    """Return each state with the share that all agree on; what remains is unknown."""
    known = {state for each in shares for state in each} - {unknown}
    found = {state: min(each.get(state, 0.0) for each in shares) for state in sorted(known)}
    found[unknown] = max(0.0, 1.0 - sum(found.values()))
    return {state: share for state, share in found.items() if share > 0}


def _common_view(views: Sequence[DnsView]) -> DnsView:
    return DnsView(
        during_cut=_same([each.during_cut for each in views]),
        after_heal=_same([each.after_heal for each in views]),
        after_rollback=_same([each.after_rollback or Dns.UNKNOWN for each in views]),
        outage=_common_outage([each.outage for each in views]),
    )


def _common_outage(outages: Sequence[DnsOutage | None]) -> DnsOutage | None:
    """Return the first outage, which knows of the others; None if any is unknown."""
    first, *others = outages
    known = tuple(each for each in others if each)
    return replace(first, otherwise=known) if first and len(known) == len(others) else None


def _longest_s(outages: Iterable[DnsOutage]) -> float:
    return max((each.typical_s for each in outages), default=0.0)


def _same(states: Sequence[Dns]) -> Dns:
    return states[0] if len(set(states)) == 1 else Dns.UNKNOWN
