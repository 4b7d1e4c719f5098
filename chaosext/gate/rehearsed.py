"""Rehearsal of the plan, for its planned and longest duration, with as many simulations as its tolerance requires."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.gate.likelihood import MOST_PLAYS, few, likely, needed_plays
from chaosext.gate.losses import ALL_AT_ONCE, lost
from chaosext.model.duration_text import short_duration
from chaosext.model.findings import Finding, Status
from chaosext.rehearsal.network.routes import STRENGTH, EvidenceKind
from chaosext.rehearsal.predict.alternatives import agreed
from chaosext.rehearsal.predict.predict import Rehearsal
from chaosext.rehearsal.predict.recommendations import chance_of
from chaosext.rehearsal.simulate import dns_lookups
from chaosext.rehearsal.simulate.prediction import Dns, Forecast
from chaosext.rehearsal.simulate.simulations import ENUMERATED_NODES
from chaosext.rehearsal.simulate.time_budget import UNBOUNDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.gate.cutover_plan import Acceptance, Cutover
    from chaosext.rehearsal.simulate.planned_cut import Flap, Periods
    from chaosext.rehearsal.simulate.prediction import Otherwise, Prediction
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import World

DNS_AFTER_HEAL = "dns_after_heal"
DNS_DURING_CUT = "dns_during_cut"
SELF_HEALS = "self_heals"
DNS_OUTAGE = "dns_outage"
EVICTED_PODS = "evicted_pods"
PODS_REACHABLE = "pods_reachable"
EVIDENCE = "evidence"

FEW, FAR = 30, 0.1
"""This many simulations identify a result at least this far from acceptable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """A prediction of the plan with a cut of `cut_for_s`, and the comparison with what is acceptable.

    `periods`: begin and end of each cut, the last at `cut_for_s`; `flap`: they come and go so.
    """

    cut_for_s: float
    periods: Periods
    flap: Flap | None
    prediction: Prediction
    findings: tuple[Finding, ...]


def rehearsed(
    world: World,
    cutover: Cutover,
    nodes: frozenset[str],
    seed: int = 0,
    *,
    hopeful: bool = False,
    budget: TimeBudget = UNBOUNDED,
) -> tuple[Rehearsed, ...]:
    """Rehearse each duration of the plan and compare the result with what is acceptable; they share the budget.

    Random simulations are added until they prove that the result is acceptable, or that it is not. `hopeful`:
    an acceptable result is expected, so start with as many as the proof needs.
    """
    rehearsal, left = Rehearsal(world), len(cutover.durations_s)
    return tuple(
        rehearsed_for(
            rehearsal,
            cutover,
            nodes,
            cut_for_s,
            seed=seed,
            hopeful=hopeful,
            budget=budget.share(1 / (left - at)),
        )
        for at, cut_for_s in enumerate(cutover.durations_s)
    )


def rehearsed_for(
    rehearsal: Rehearsal,
    cutover: Cutover,
    nodes: frozenset[str],
    cut_for_s: float,
    *,
    seed: int = 0,
    hopeful: bool = False,
    with_timeline: bool = True,
    budget: TimeBudget = UNBOUNDED,
) -> Rehearsed:
    """Rehearse the plan with a cut of `cut_for_s`, as `rehearsed` does; without its timeline, that takes less time."""
    accept, plan = cutover.accept, cutover.plan(nodes, cut_for_s)
    needed = needed_plays(accept.probability)
    first = needed if hopeful and len(nodes) > ENUMERATED_NODES and needed <= MOST_PLAYS else None

    def predicted(samples: int | None) -> Prediction:
        return rehearsal.of(
            plan,
            samples=samples,
            seed=seed,
            with_timeline=with_timeline,
            budget=budget,
            alternatives=False,
        )

    found = predicted(first)
    while _needs_more(found, accept):
        more = predicted(min(MOST_PLAYS, max(needed, 2 * found.samples)))
        if not more.simulations.is_whole:
            break
        found = more
    findings = tuple(compared(found, accept))
    if _all_are(counting(found, accept), Status.HEALTHY):
        others = rehearsal.otherwise(plan, found, seed=seed, budget=budget)
        findings = tuple(unless_turned(each, others, accept) for each in findings)
        found = agreed(found, others)
    return Rehearsed(
        cut_for_s=cut_for_s,
        periods=plan.periods,
        flap=cutover.flap,
        prediction=found,
        findings=findings,
    )


def unless_turned(finding: Finding, others: Iterable[Otherwise], accept: Acceptance) -> Finding:
    """Return a healthy finding as unknown if it is not healthy with an assumption turned."""
    for each in others if finding.status is Status.HEALTHY else ():
        exact = replace(each.prediction, samples=0)
        for other in compared(exact, accept):
            if other.check == finding.check and other.status is not Status.HEALTHY:
                said = (
                    f"{finding.summary}, assuming that {each.alternative.assumed}; otherwise {other.summary}"
                )
                summary = f"{said}. To settle it: {each.alternative.settles}"
                return Finding(check=finding.check, status=Status.UNKNOWN, summary=summary)
    return finding


def _needs_more(found: Prediction, accept: Acceptance) -> bool:
    """Whether the result looks acceptable, but has too few simulations to prove it."""
    if not 0 < found.samples < MOST_PLAYS or needed_plays(accept.probability) > MOST_PLAYS:
        return False
    if not found.simulations.is_whole:
        return False
    exact = replace(found, samples=0)
    return _all_are(counting(exact, accept), Status.HEALTHY) and not _all_are(
        counting(found, accept), Status.HEALTHY
    )


def _all_are(findings: Iterable[Finding], status: Status) -> bool:
    return all(finding.status is status for finding in findings)


def is_hopeless(
    world: World, cutover: Cutover, nodes: frozenset[str], seed: int = 0, budget: TimeBudget = UNBOUNDED
) -> bool:
    """Whether a few simulations show a result so far from acceptable that more are useless."""
    accept = replace(cutover.accept, probability=max(0.0, cutover.accept.probability - FAR))
    plan = cutover.plan(nodes, cutover.at_most_s)
    found = Rehearsal(world).of(
        plan, samples=FEW, seed=seed, with_timeline=False, budget=budget, alternatives=False
    )
    return falls_short(found, accept)


def falls_short(found: Prediction, accept: Acceptance) -> bool:
    """Whether any condition of the plan is not met."""
    return any(finding.status is Status.UNHEALTHY for finding in counting(found, accept))


def counting(found: Prediction, accept: Acceptance) -> Iterator[Finding]:
    """Yield the findings that count, without the remark."""
    return counted(compared(found, accept), accept)


def counted(findings: Iterable[Finding], accept: Acceptance) -> Iterator[Finding]:
    """Yield those of the findings that count."""
    return (each for each in findings if each.check != ALL_AT_ONCE or not accept.all_at_once)


def compared(found: Prediction, accept: Acceptance) -> Iterator[Finding]:
    """Yield a finding for each condition of the plan."""
    yield likely(DNS_AFTER_HEAL, found, accept, *_dns_chances(found, accept.dns_after_heal))
    if accept.self_heals:
        passes, unknown = (found.healing.get(each, 0.0) for each in (Forecast.PASSED, Forecast.UNKNOWN))
        yield likely(SELF_HEALS, found, accept, passes, unknown, "the cluster heals by itself")
    if accept.pods_reachable:
        yield _reachable(found, accept)
    if accept.dns_outage_s is not None:
        within, unknown = found.dns.dead_within(accept.dns_outage_s)
        what = f"at most {short_duration(accept.dns_outage_s)} without DNS on nodes that are not cut, and after a heal,"
        yield likely(DNS_OUTAGE, found, accept, within, unknown, what)
    if accept.dns_during_cut is not None:
        yield _during(found, accept.dns_during_cut)
    if accept.evicted_pods is not None:
        yield _evicted(found, accept.evicted_pods)
    yield from lost(found, accept)
    if accept.evidence is not EvidenceKind.DOCUMENTS:
        yield _evident(found, accept.evidence)


def _reachable(found: Prediction, accept: Acceptance) -> Finding:
    """Compare the chance that nodes that the cut leaves together keep reaching each other's Pods."""
    lost, what = found.routes_lost, "Pods stay reachable between nodes that the cut leaves together,"
    if not found.routes.holds:
        return Finding(check=PODS_REACHABLE, status=Status.UNKNOWN, summary=found.routes.why_not)
    finding = likely(PODS_REACHABLE, found, accept, 1 - lost.probability, 0.0, what)
    if not lost.probability:
        return finding
    first, last = (short_duration(round(each)) for each in (lost.earliest_s, lost.latest_s))
    when = f"{first} to {last} after the cut, until the network is back"
    return replace(
        finding, summary=f"{finding.summary}: {lost.nodes} nodes lose routes to others' Pods {when}"
    )


def _dns_chances(found: Prediction, at_worst: Dns) -> tuple[float, float, str]:
    said = f"DNS {at_worst.value}{' or better' * (at_worst is not Dns.RESOLVABLE)} after the heal"
    return chance_of(found, *_as_good_as(at_worst)), chance_of(found, Dns.UNKNOWN), said


def _as_good_as(at_worst: Dns) -> Iterable[Dns]:
    return (Dns.RESOLVABLE,) if at_worst is Dns.RESOLVABLE else (Dns.RESOLVABLE, Dns.PARTIAL)


def _during(found: Prediction, at_worst: Dns) -> Finding:
    state = found.dns.during_cut
    good = dns_lookups.SEVERITY.index(state) <= dns_lookups.SEVERITY.index(at_worst)
    status = Status.UNKNOWN if state is Dns.UNKNOWN else Status.HEALTHY if good else Status.UNHEALTHY
    said = f"DNS {state.value} during the cut, wanted {at_worst.value}"
    if not found.simulations.is_whole and status is Status.HEALTHY:
        status, said = Status.UNKNOWN, f"{said}; {few(found)}"
    return Finding(check=DNS_DURING_CUT, status=status, summary=said)


def _evicted(found: Prediction, at_most: int) -> Finding:
    evicted = sum(float(each.get("evicted", 0.0)) for each in found.workloads.values())
    status = Status.HEALTHY if evicted <= at_most else Status.UNHEALTHY
    said = f"{evicted:.1f} Pods evicted on average, wanted at most {at_most}"
    if not found.simulations.is_whole:
        status, said = Status.UNKNOWN, f"{said}; {few(found)}"
    return Finding(check=EVICTED_PODS, status=status, summary=said)


def _evident(found: Prediction, at_least: EvidenceKind) -> Finding:
    weak = [each for each in found.evidence if STRENGTH.index(each.evidence) < STRENGTH.index(at_least)]
    said = f"the prediction rests on {found.weakest.value}, wanted {at_least.value}"
    if weak:
        parts = "; ".join(f"{each.part}: {each.rests_on or 'nothing that is proven'}" for each in weak)
        return Finding(check=EVIDENCE, status=Status.UNKNOWN, summary=f"{said} ({parts})")
    return Finding(check=EVIDENCE, status=Status.HEALTHY, summary=said)
