"""Recommendations: each mitigation is simulated on the same cut, and ranked by its effect on DNS and Pods."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from chaosext.model.duration_text import short_duration
from chaosext.rehearsal.mitigate.mitigations import MITIGATIONS
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.prediction import DNS_OUTAGE_S, NO_EFFECT, NO_TIME, Advice, Dns, Forecast
from chaosext.rehearsal.simulate.time_budget import UNBOUNDED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import World

SAMPLES = 30
"""Simulations of each mitigation, enough to rank them."""

FEWER_FROM_NODES, FEW_SAMPLES = 1000, 3
"""From this number of nodes, one simulation takes long, so that this number must do."""

Score = tuple[bool, float, float, float, float, float]
"""Whether it passes; minus the probability that routes are lost; minus that of a long outage of DNS that no cut
explains; that of resolvable minus dead DNS after the heal; minus that of a lost quorum or of a Service without
endpoints at the end; minus the stuck and pending Pods."""

LEAST = 0.05
"""A difference in probability that may be random."""


class Tried(NamedTuple):
    """A mitigation, and the prediction with it in place, without assumptions turned."""

    name: str
    then: Prediction


def tried(
    world: World, plan: Plan, *, samples: int | None = None, seed: int = 0, budget: TimeBudget = UNBOUNDED
) -> tuple[Tried, ...]:
    """Simulate each mitigation that applies."""
    count = min(samples or SAMPLES, FEW_SAMPLES if len(world.nodes) >= FEWER_FROM_NODES else SAMPLES)
    found = []
    for each in MITIGATIONS.values():
        changed = each.apply(world, plan)
        if changed is not world:
            then = rehearse(changed, plan, samples=count, seed=seed, with_timeline=False, budget=budget)
            found.append(Tried(each.name, replace(then, otherwise=())))
    return tuple(found)


def advised(
    found: Prediction,
    world: World,
    plan: Plan,
    *,
    samples: int | None = None,
    seed: int = 0,
    budget: TimeBudget = UNBOUNDED,
    trials: Callable[[], Sequence[Tried]] | None = None,
) -> Prediction:
    """Return the prediction with advice, most effective first; with none if all is well or the verdict is unknown.

    Mitigations that the budget left no time for come last, marked as such. `trials` gives the result of `tried`, if
    that has begun before.
    """
    if found.verdict is Forecast.UNKNOWN or _is_well(found):
        return found
    every = trials() if trials else tried(world, plan, samples=samples, seed=seed, budget=budget)
    known = [each for each in every if each.then.simulations.is_whole]
    ranked = sorted(known, key=lambda each: score(each.then), reverse=True)
    untried = [each for each in every if not each.then.simulations.is_whole]
    return found.advised(tuple(_advice(each, found, world, plan) for each in (*ranked, *untried)))


def takes_memory(world: World) -> bool:
    """Whether the cluster is so large that a second process would need too much memory."""
    return len(world.nodes) >= FEWER_FROM_NODES


def _is_well(found: Prediction) -> bool:
    is_good = found.verdict is Forecast.PASSED and chance_of(found, Dns.RESOLVABLE) > 1 - LEAST
    return is_good and found.routes_lost.probability < LEAST and long_outage(found) < LEAST


def chance_of(found: Prediction, *states: Dns) -> float:
    """Return the probability that DNS is in one of these states after the heal."""
    return sum(outcome.probability for outcome in found.outcomes if outcome.dns_after_heal in states)


def long_outage(found: Prediction) -> float:
    """Return the probability that DNS is dead for longer than is acceptable by default where no cut explains it."""
    return max(0.0, 1.0 - sum(found.dns.dead_within(DNS_OUTAGE_S)))


def passes(found: Prediction) -> float:
    """Return the probability that the cluster heals, that no routes are lost meanwhile, and DNS is not bad for long.

    DNS that answers in part only, such as NodeLocal DNSCache without an upstream, is bad, too.
    """
    within = found.dns.outage.worst_within(DNS_OUTAGE_S)[0] if found.dns.outage else 0.0
    return min(found.chances.get(Forecast.PASSED, 0.0), 1.0 - found.routes_lost.probability, within)


def score(found: Prediction) -> Score:
    """Return the rank of a prediction; higher is better."""
    return (
        found.verdict is Forecast.PASSED,
        -round(found.routes_lost.probability, 2),
        -round(long_outage(found), 2),
        round(chance_of(found, Dns.RESOLVABLE) - chance_of(found, Dns.DEAD), 2),
        -round(_lost(found), 2),
        -_pods(found, "stuck", "pending"),
    )


def _lost(found: Prediction) -> float:
    """Return the expected number of quorums and Services that are lost."""
    if found.impact is None:
        return 0.0
    units = found.impact.units.values()
    return sum(
        each.quorum_lost.likely + (each.none_at_end.likely if each.is_service else 0.0) for each in units
    )


def _pods(found: Prediction, *whats: str) -> float:
    counts = found.workloads.values()
    return round(sum(float(each.get(what, 0)) for each in counts for what in whats), 1)


def _advice(each: Tried, before: Prediction, world: World, plan: Plan) -> Advice:
    how = MITIGATIONS[each.name].how(world, plan)
    if not each.then.simulations.is_whole:
        return Advice(mitigation=each.name, effect=NO_TIME, how=how)
    effect = "; ".join(_effects(each.then, before)) or NO_EFFECT
    return Advice(mitigation=each.name, effect=effect, how=how, passes=passes(each.then))


def _effects(then: Prediction, before: Prediction) -> Iterable[str]:
    """Describe the differences between the two predictions."""
    now_impact, was_impact = then.impact, before.impact
    if then.verdict is not before.verdict:
        yield f"{then.verdict.value} instead of {before.verdict.value}"
    for state in (Dns.RESOLVABLE, Dns.PARTIAL, Dns.DEAD):
        now, was = chance_of(then, state), chance_of(before, state)
        if now - was > LEAST:
            yield f"DNS {state.value} after the heal in {now:.0%} instead of {was:.0%}"
    if then.dns.during_cut is not before.dns.during_cut:
        yield f"DNS {then.dns.during_cut.value} during the cut instead of {before.dns.during_cut.value}"
    now, was = long_outage(then), long_outage(before)
    if abs(now - was) > LEAST:
        limit = short_duration(DNS_OUTAGE_S)
        yield f"over {limit} without DNS after the heal or on nodes that are not cut in {now:.0%} instead of {was:.0%}"
    now, was = then.routes_lost.probability, before.routes_lost.probability
    if abs(now - was) > LEAST:
        yield f"routes between nodes that are not cut off from each other lost in {now:.0%} instead of {was:.0%}"
    if now_impact and was_impact:
        now, was = now_impact.quorum_lost.likely, was_impact.quorum_lost.likely
        if abs(now - was) > LEAST:
            yield f"a quorum lost in {now:.0%} instead of {was:.0%}"
    for what in ("stuck", "pending", "evicted"):
        now, was = _pods(then, what), _pods(before, what)
        if abs(now - was) > max(0.5, 0.1 * was):
            yield f"{now:.0f} Pods {what} instead of {was:.0f}"
