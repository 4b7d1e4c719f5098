"""The plan, rehearsed: as long as planned and as long as it may take, with as many plays as its tolerance needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.model.findings import Finding, Status
from chaosext.rehearsal.predict.predict import Rehearsal
from chaosext.rehearsal.predict.recommendations import chance_of
from chaosext.rehearsal.simulate import dns_lookups
from chaosext.rehearsal.simulate.prediction import Dns, Forecast
from chaosext.rehearsal.simulate.simulations import ENUMERATED_NODES
from chaosext.rehearsal.simulate.time_budget import UNBOUNDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.gate.cutover_plan import Acceptance, Cutover
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import World

DNS_AFTER_HEAL = "dns_after_heal"
DNS_DURING_CUT = "dns_during_cut"
SELF_HEALS = "self_heals"
EVICTED_PODS = "evicted_pods"

MOST_PLAYS = 5000
"""More random plays are not made: a probability that would need them can't be known."""

CONFIDENCE_Z = 1.645
"""The standard normal's 95 % quantile."""

FEW, FAR = 30, 0.1
"""So many plays tell what is at least so far from acceptable."""

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """A prediction of the plan with a cut of `cut_for_s`, and how it compares with what is acceptable."""

    cut_for_s: float
    prediction: Prediction
    findings: tuple[Finding, ...]


def needed_plays(probability: float) -> int:
    """Random plays without a failure that show this probability."""
    if probability >= 1:
        return MOST_PLAYS + 1
    return math.ceil(CONFIDENCE_Z**2 * probability / (1 - probability) - ROUNDING)


def lower_bound(share: float, plays: int) -> float:
    """What is at the least as likely, with 95 % confidence, where `share` of so many plays was so: Wilson's interval,
    one-sided (E. B. Wilson, 1927).
    """
    z = CONFIDENCE_Z
    middle = share + z**2 / (2 * plays)
    spread = z * math.sqrt(share * (1 - share) / plays + z**2 / (4 * plays**2))
    return (middle - spread) / (1 + z**2 / plays)


def rehearsed(
    world: World,
    cutover: Cutover,
    nodes: frozenset[str],
    seed: int = 0,
    *,
    hopeful: bool = False,
    budget: TimeBudget = UNBOUNDED,
) -> tuple[Rehearsed, ...]:
    """For each duration of the plan what is expected, and whether it is acceptable; each has its share of the budget.

    Random plays are made until they show what is acceptable, or that it isn't. `hopeful`: it is expected to be, so that
    there are as many as it takes from the beginning.
    """
    rehearsal, accept = Rehearsal(world), cutover.accept
    needed = needed_plays(accept.probability)
    first = needed if hopeful and len(nodes) > ENUMERATED_NODES and needed <= MOST_PLAYS else None

    def play(cut_for_s: float, budget: TimeBudget) -> Rehearsed:
        plan = cutover.plan(nodes, cut_for_s)
        found = rehearsal.of(plan, samples=first, seed=seed, budget=budget)
        while _needs_more(found, accept):
            count = min(MOST_PLAYS, max(needed, 2 * found.samples))
            more = rehearsal.of(plan, samples=count, seed=seed, budget=budget)
            if not more.simulations.is_whole:
                break
            found = more
        return Rehearsed(cut_for_s=cut_for_s, prediction=found, findings=tuple(compared(found, accept)))

    left = len(cutover.durations_s)
    return tuple(
        play(cut_for_s, budget.share(1 / (left - at))) for at, cut_for_s in enumerate(cutover.durations_s)
    )


def _needs_more(found: Prediction, accept: Acceptance) -> bool:
    """It looks acceptable, which so few plays don't show yet."""
    if not 0 < found.samples < MOST_PLAYS or needed_plays(accept.probability) > MOST_PLAYS:
        return False
    if not found.simulations.is_whole:
        return False
    exact = replace(found, samples=0)
    return _all_are(compared(exact, accept), Status.HEALTHY) and not _all_are(
        compared(found, accept), Status.HEALTHY
    )


def _all_are(findings: Iterable[Finding], status: Status) -> bool:
    return all(finding.status is status for finding in findings)


def is_hopeless(
    world: World, cutover: Cutover, nodes: frozenset[str], seed: int = 0, budget: TimeBudget = UNBOUNDED
) -> bool:
    """By a few plays it is so far from acceptable that no more need be made."""
    accept = replace(cutover.accept, probability=max(0.0, cutover.accept.probability - FAR))
    plan = cutover.plan(nodes, cutover.at_most_s)
    found = Rehearsal(world).of(plan, samples=FEW, seed=seed, with_timeline=False, budget=budget)
    return falls_short(found, accept)


def falls_short(found: Prediction, accept: Acceptance) -> bool:
    """Something is not as the plan wants it."""
    return any(finding.status is Status.UNHEALTHY for finding in compared(found, accept))


def compared(found: Prediction, accept: Acceptance) -> Iterator[Finding]:
    """A finding for each thing that the plan wants to be so."""
    yield _likely(DNS_AFTER_HEAL, found, accept, *_dns_chances(found, accept.dns_after_heal))
    if accept.self_heals:
        passes, unknown = (found.chances.get(each, 0.0) for each in (Forecast.PASSED, Forecast.UNKNOWN))
        yield _likely(SELF_HEALS, found, accept, passes, unknown, "the cluster heals by itself")
    if accept.dns_during_cut is not None:
        yield _during(found, accept.dns_during_cut)
    if accept.evicted_pods is not None:
        yield _evicted(found, accept.evicted_pods)


def _dns_chances(found: Prediction, at_worst: Dns) -> tuple[float, float, str]:
    said = f"DNS {at_worst.value}{' or better' * (at_worst is not Dns.RESOLVABLE)} after the heal"
    return chance_of(found, *_as_good_as(at_worst)), chance_of(found, Dns.UNKNOWN), said


def _as_good_as(at_worst: Dns) -> Iterable[Dns]:
    return (Dns.RESOLVABLE,) if at_worst is Dns.RESOLVABLE else (Dns.RESOLVABLE, Dns.PARTIAL)


def _likely(
    check: str, found: Prediction, accept: Acceptance, chance: float, unknown: float, what: str
) -> Finding:
    """Healthy where it is likely enough, and enough plays show it."""
    said = f"{what} in {percent(chance)}, wanted {percent(accept.probability)}"
    if chance + unknown < accept.probability - ROUNDING:
        return Finding(check=check, status=Status.UNHEALTHY, summary=said)
    if chance < accept.probability - ROUNDING or not found.simulations.made:
        why = f"unknown in {percent(unknown)}" if found.simulations.is_whole else _few(found)
        return Finding(check=check, status=Status.UNKNOWN, summary=f"{said}; {why}")
    if found.samples and lower_bound(chance, found.samples) < accept.probability - ROUNDING:
        said = f"{said}, which {found.samples} random simulations cannot show"
        return Finding(check=check, status=Status.UNKNOWN, summary=said)
    return Finding(check=check, status=Status.HEALTHY, summary=said)


def _during(found: Prediction, at_worst: Dns) -> Finding:
    state = found.dns.during_cut
    good = dns_lookups.SEVERITY.index(state) <= dns_lookups.SEVERITY.index(at_worst)
    status = Status.UNKNOWN if state is Dns.UNKNOWN else Status.HEALTHY if good else Status.UNHEALTHY
    said = f"DNS {state.value} during the cut, wanted {at_worst.value}"
    if not found.simulations.is_whole and status is Status.HEALTHY:
        status, said = Status.UNKNOWN, f"{said}; {_few(found)}"
    return Finding(check=DNS_DURING_CUT, status=status, summary=said)


def _evicted(found: Prediction, at_most: int) -> Finding:
    evicted = sum(float(each.get("evicted", 0.0)) for each in found.workloads.values())
    status = Status.HEALTHY if evicted <= at_most else Status.UNHEALTHY
    said = f"{evicted:.1f} Pods evicted on average, wanted at most {at_most}"
    if not found.simulations.is_whole:
        status, said = Status.UNKNOWN, f"{said}; {_few(found)}"
    return Finding(check=EVICTED_PODS, status=status, summary=said)


def _few(found: Prediction) -> str:
    return f"only {found.simulations.made} of {found.simulations.wanted} simulations were completed in time"


def percent(share: float) -> str:
    """100 % and 0 % only for what is certain: `99.9 %`, `<0.1 %`."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1 - ROUNDING:
        return ">99.9%"
    return f"{round(100 * share, 1):g}%"
