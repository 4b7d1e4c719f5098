"""Merge what each simulation costs users into probabilities; where Pods are too many to be tracked, into bounds."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cached_property
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING

from chaosext.rehearsal.simulate.impact import BudgetImpact, Chance, CountRange, Impact, Loss, UnitImpact, Way
from chaosext.rehearsal.simulate.impact_watch import SETTLED_S
from chaosext.rehearsal.simulate.inputs import WATCH_ALL_PODS
from chaosext.rehearsal.simulate.reach import Epoch
from chaosext.rehearsal.snapshot.disruption_budgets import allowed
from chaosext.rehearsal.snapshot.node_patterns import selects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.simulate.inputs import SimulationInputs
    from chaosext.rehearsal.simulate.roster import Unit
    from chaosext.rehearsal.simulate.simulation import Trace
    from chaosext.rehearsal.simulate.simulations import Weighted
    from chaosext.rehearsal.snapshot.world import Pod

TOO_MANY = (
    f"more than {WATCH_ALL_PODS} Pods on cut nodes: of workloads whose Pods may be evicted, "
    "only bounds are known"
)
NO_SERVICES = "the snapshot contains no Services: whether clients lose one is unknown"


class ImpactMerge:
    """The impact of a cut, from its simulations. `missing` is the share of simulations that were not made."""

    def __init__(self, stage: SimulationInputs, plays: Weighted, missing: float) -> None:
        self._stage, self._plays, self._made = stage, plays, 1.0 - missing
        self._bounds = _Bounds(stage, plays)

    @cached_property
    def ways(self) -> tuple[Way, ...]:
        """What each simulation loses, in order."""
        return tuple(self._way(trace) for _, trace in self._plays)

    def impact(self) -> Impact:
        """Return the merged result."""
        ways: dict[Way, float] = defaultdict(float)
        for (share, _), way in zip(self._plays, self.ways, strict=True):
            ways[way] += share * self._made
        return Impact(
            units={each.name: each for each in self._units()},
            budgets=tuple(self._budgets()),
            pending=self._pending(),
            ways=ways,
            unknown=tuple(self._unknown()),
        )

    # -- one simulation --------------------------------------------------------------------------------------

    def _way(self, trace: Trace) -> Way:
        bounds, losses = self._bounds, self._counted(trace)
        services = {name: loss for name, loss in losses.items() if name in self._services}
        ended = losses if self._lacks_services else services
        sure = set() if self._lacks_services else {n for n, loss in ended.items() if loss.none_at_end}
        unsure = {name for name, loss in ended.items() if loss.none_at_end is not False} - sure
        quorums = frozenset(name for name, loss in trace.losses.items() if loss.quorum_lost)
        perhaps = {name for name, loss in losses.items() if loss.quorum_lost is None}
        return Way(
            quorums=quorums,
            unsure_quorums=(bounds.quorums(trace) | perhaps) - quorums,
            ended=frozenset(sure),
            unsure_ended=bounds.ended(trace) | unsure,
            during=bounds.during | {name for name, loss in services.items() if not loss.available},
            unsure_during=bounds.unsure_during,
            at_once=frozenset(name for name, loss in losses.items() if loss.at_once),
            unsure_at_once=bounds.at_once(trace),
            pending=None if trace.uncounted else trace.pending.total(),
        )

    def _counted(self, trace: Trace) -> Mapping[str, Loss]:
        """Return the losses of units whose Pods are all tracked."""
        return {name: loss for name, loss in trace.losses.items() if name not in self._bounds.units}

    @cached_property
    def _services(self) -> dict[str, Unit]:
        return {unit.name: unit for unit in self._stage.roster.services}

    @property
    def _lacks_services(self) -> bool:
        return "Service" in self._stage.world.missing

    # -- all simulations -------------------------------------------------------------------------------------

    def _units(self) -> Iterator[UnitImpact]:
        yield from self._bounds.impacts(self._made)
        all_units = self._stage.roster.workloads | self._services
        losses: dict[str, list[tuple[float, Loss]]] = defaultdict(list)
        for share, trace in self._plays:
            for name, loss in self._counted(trace).items():
                losses[name].append((share * self._made, loss))
        for name, found in losses.items():
            unit = all_units[name]
            if _is_hit(unit, found):
                yield self._unit(unit, found)
        for unit in self._services.values():
            if unit.name not in losses and unit.name not in self._bounds.units and self._unreached(unit):
                yield self._unit(unit, [])

    def _unit(self, unit: Unit, losses: Sequence[tuple[float, Loss]]) -> UnitImpact:
        rest = max(0.0, self._made - sum(share for share, _ in losses))
        before = unit.ready
        calm = [(rest, Loss(before, 0.0, 0.0, before, before))] if rest > 1e-9 or not losses else []
        found = [*losses, *calm]
        hit = [(share, loss) for share, loss in losses if loss.available < before]
        return UnitImpact(
            name=unit.name,
            replicas=unit.wanted,
            before=before,
            available=_range((share, loss.available) for share, loss in found),
            running=_range((share, loss.running) for share, loss in found),
            from_s=_median((loss.from_s, share) for share, loss in hit),
            for_s=_median((loss.for_s, share) for share, loss in hit),
            serving=_shares((share, loss.serving) for share, loss in found),
            quorum=unit.quorum,
            quorum_lost=_chance((share, loss.quorum_lost) for share, loss in found),
            at_once=_chance((share, loss.at_once) for share, loss in found),
            none=_chance((share, before > 0 and not loss.available) for share, loss in found),
            none_at_end=_chance((share, loss.none_at_end) for share, loss in found),
            unreached=self._unreached(unit) if unit.service else False,
            external=unit.external,
        )

    def _unreached(self, unit: Unit) -> bool | None:
        """Whether clients on cut nodes, which keep the endpoints from before, reach none of them at some time."""
        stage = self._stage
        clients = [number for number in stage.judged if stage.is_cut[number]]
        hosts = stage.hosts_before(unit)
        if not clients or not hosts or not stage.reached_before(unit):
            return False
        are_lost = any(trace.routes_lost_s < float("inf") for _, trace in self._plays)
        epochs = [Epoch(is_cut=True, route_changes=changes) for changes in range(1 + are_lost)]
        found = {stage.reach.all_reach(clients, hosts, unit.own_address, epoch) for epoch in epochs}
        return True if False in found else None if None in found else False

    def _pending(self) -> Mapping[str, float]:
        found: dict[str, float] = defaultdict(float)
        for share, trace in self._plays:
            for key, count in trace.pending.items():
                found[self._stage.named(*key)] += share * count
        return found

    def _budgets(self) -> Iterator[BudgetImpact]:
        """Yield the PodDisruptionBudgets of which more Pods are evicted than they allow."""
        if not self._stage.world.budgets:
            return
        evicted = self._evicted()
        spaces = {namespace for namespace, _ in evicted}
        for budget in self._stage.world.budgets:
            if budget.namespace not in spaces:
                continue
            rows = [
                (row, pods)
                for row, pods in self._stage.roster.rows(budget.namespace)
                if selects(budget.selector, pods[0].spec.labels)
            ]
            count = sum(evicted.get(key, 0.0) for key in {row[:2] for row, _ in rows})
            try:
                allows = max(0, allowed(budget, [pod for _, pods in rows for pod in pods]))
            except ValueError:
                continue
            if count > allows:
                name = f"PodDisruptionBudget/{budget.namespace}/{budget.name}"
                yield BudgetImpact(name=name, allowed=allows, evicted=count)

    def _evicted(self) -> Mapping[tuple[str, str], float]:
        """Return (namespace, owner) -> Pods evicted on average; of those that are not tracked, at most."""
        found: dict[tuple[str, str], float] = defaultdict(float)
        for share, trace in self._plays:
            for key, count in trace.evicted.items():
                found[key] += share * count
        for share, pods in self._bounds.uncounted.values():
            for pod in pods:
                found[pod.namespace, pod.owner or pod.subject] += share
        return found

    def _unknown(self) -> Iterator[str]:
        if self._lacks_services:
            yield NO_SERVICES
        if self._bounds.uncounted:
            yield TOO_MANY
        for unit in self._stage.roster.workloads.values():
            if unit.is_broken_quorum:
                yield f"{unit.name} had no majority of its {unit.wanted} Pods before the cut"


class _Bounds:
    """What is known of units with Pods that are not tracked individually. Empty if all are tracked.

    Before it is evicted, a Pod on a cut node is not available from when its node is lost until it returns; this
    is exact. An evicted Pod is gone at the heal, and where its replacement runs is unknown.
    """

    def __init__(self, stage: SimulationInputs, plays: Weighted) -> None:
        self._stage, self._plays = stage, plays
        self.uncounted: dict[int, tuple[float, list[Pod]]] = {}
        self._units_of: dict[int, Counter[str]] = {}
        self._gone_in: dict[int, Counter[str]] = {}
        self._hit: dict[str, Mapping[str, float]] = {}
        for share, trace in plays:
            for pods in trace.uncounted:
                before, _ = self.uncounted.get(id(pods), (0.0, pods))
                self.uncounted[id(pods)] = before + share, pods

    @cached_property
    def units(self) -> Mapping[str, tuple[Unit, int]]:
        """Unit -> its Ready Pods on cut nodes."""
        stage = self._stage
        if stage.follows_all:
            return {}
        found = ((unit, stage.lost_by(unit)) for unit in self._asked if not stage.counts(unit))
        return {unit.name: (unit, lost) for unit, lost in found if unit.ready}

    @property
    def _asked(self) -> Iterator[Unit]:
        """Yield the Services, the quorums, and the workloads that may lose all Pods or that the plan protects.

        All others are left out, as they may be thousands.
        """
        roster, evictable, protected = self._stage.roster, self._evictable, self._stage.plan.protected
        yield from roster.services
        for unit in roster.workloads.values():
            emptied = evictable.get(unit.name, 0) >= unit.ready
            is_protected = unit.name in protected or f"namespace/{unit.name.split('/')[1]}" in protected
            if emptied or unit.quorum or is_protected:
                yield unit

    @cached_property
    def _evictable(self) -> Counter[str]:
        """Unit -> Pods that are evicted in any simulation, and not tracked then."""
        found = Counter[str]()
        for key in self.uncounted:
            found.update(self._by_unit(key))
        return found

    def _by_unit(self, key: int) -> Counter[str]:
        """Return unit -> Pods of those that are evicted together; `key` is that of `uncounted`."""
        if key not in self._units_of:
            _, pods = self.uncounted[key]
            of = self._stage.roster.of_pod
            self._units_of[key] = Counter(unit.name for pod in pods for unit in of(pod))
        return self._units_of[key]

    def _gone(self, trace: Trace) -> Counter[str]:
        """Return unit -> Pods that a simulation may evict without tracking them."""
        if not trace.uncounted:
            return Counter()
        found = self._gone_in.get(id(trace))
        if found is None:
            found = self._gone_in[id(trace)] = Counter[str]()
            for pods in trace.uncounted:
                found.update(self._by_unit(id(pods)))
        return found

    def _left(self, unit: Unit) -> int:
        """Return the Pods that certainly keep running, in every simulation."""
        seen = (trace.losses.get(unit.name) for _, trace in self._plays)
        running = min((loss.running for loss in seen if loss), default=unit.ready)
        return max(0, running - self._evictable[unit.name])

    def quorums(self, trace: Trace) -> frozenset[str]:
        """Return the quorums that a simulation may lose."""
        gone, losses = self._gone(trace), trace.losses

        def keeps(unit: Unit) -> bool:
            loss = losses.get(unit.name)
            running = loss.running if loss else unit.ready
            return running - gone[unit.name] >= unit.quorum and not (loss and loss.quorum_lost is not False)

        found = (unit for unit, _ in self.units.values() if unit.quorum)
        return frozenset(unit.name for unit in found if not keeps(unit))

    def ended(self, trace: Trace) -> frozenset[str]:
        """Return the Services that may have no endpoints at the end; without Services in the snapshot, workloads."""
        lacks, plan, gone = "Service" in self._stage.world.missing, self._stage.plan, self._gone(trace)
        is_settled = plan.horizon_s >= plan.cut_for_s + SETTLED_S

        def keeps(unit: Unit, lost: int) -> bool:
            loss = trace.losses.get(unit.name)
            left = loss.left if loss else unit.ready
            sure = left - (gone[unit.name] if is_settled else lost)
            return sure > 0 and not (loss and loss.none_at_end is not False)

        units = ((unit, lost) for unit, lost in self.units.values() if unit.service or lacks)
        return frozenset(unit.name for unit, lost in units if not keeps(unit, lost))

    def at_once(self, trace: Trace) -> frozenset[str]:
        """Return the workloads that may be stopped as a whole at the heal."""
        gone = self._gone(trace)

        def keeps(unit: Unit) -> bool:
            loss = trace.losses.get(unit.name)
            return (loss.running if loss else unit.ready) > gone[unit.name]

        units = (unit for unit, _ in self.units.values() if unit.ready > 1 and not unit.service)
        return frozenset(unit.name for unit in units if not keeps(unit))

    def _quorum_lost(self, unit: Unit, made: float) -> Chance:
        """Return the chance that a quorum is lost: certainly, if too few are left among those that are tracked."""
        seen = ((share, trace.losses.get(unit.name)) for share, trace in self._plays)
        lost = sum(share for share, loss in seen if loss and loss.quorum_lost)
        return Chance(made * lost, made * max(0.0, self._share(unit, self.quorums) - lost))

    def _share(self, unit: Unit, hit: Callable[[Trace], frozenset[str]]) -> float:
        """Return the share of simulations in which a unit may be hit."""
        return self._shares(hit).get(unit.name, 0.0)

    def _shares(self, hit: Callable[[Trace], frozenset[str]]) -> Mapping[str, float]:
        name = hit.__name__
        if name not in self._hit:
            found: dict[str, float] = defaultdict(float)
            for share, trace in self._plays:
                for unit in hit(trace):
                    found[unit] += share
            self._hit[name] = found
        return self._hit[name]

    @cached_property
    def _dark(self) -> tuple[tuple[float, float], ...]:
        """From when until when all cut nodes are lost, in each simulation; empty if in some they never are."""
        found = tuple(trace.dark_s for _, trace in self._plays)
        return found if found and all(since < until for since, until in found) else ()

    @cached_property
    def _emptied(self) -> frozenset[str]:
        """Services with all of their Ready Pods on cut nodes."""
        return frozenset(
            unit.name for unit, lost in self.units.values() if unit.service and lost == unit.ready
        )

    @property
    def during(self) -> frozenset[str]:
        return self._emptied if self._dark else frozenset()

    @property
    def unsure_during(self) -> frozenset[str]:
        is_calm = all(since == inf for since in self._first_losses())
        return frozenset() if self._dark or is_calm else self._emptied

    def _first_losses(self) -> Iterable[float]:
        return (trace.first_lost_s for _, trace in self._plays)

    def impacts(self, made: float) -> Iterator[UnitImpact]:
        """Yield the units that lose Pods; `made` is the share of simulations that were made."""
        if all(since == inf for since in self._first_losses()):
            return
        since_s = sorted(since for since, _ in self._dark)
        lasts_s = sorted(until - since for since, until in self._dark)
        for unit, lost in self.units.values():
            if lost:
                yield self._impact(unit, lost, made, since_s, lasts_s)

    def _impact(
        self, unit: Unit, lost: int, made: float, since_s: Sequence[float], lasts_s: Sequence[float]
    ) -> UnitImpact:
        low, left = unit.ready - lost, self._left(unit)
        is_dark = bool(since_s)
        return UnitImpact(
            name=unit.name,
            replicas=unit.wanted,
            before=unit.ready,
            available=CountRange(low, low, low) if is_dark else None,
            running=CountRange(left, left, left) if left == unit.ready else None,
            from_s=since_s[len(since_s) // 2] if is_dark else None,
            for_s=lasts_s[len(lasts_s) // 2] if is_dark else None,
            serving={low: made} if is_dark else {},
            quorum=unit.quorum,
            quorum_lost=self._quorum_lost(unit, made),
            at_once=Chance(unknown=made * self._share(unit, self.at_once)),
            none=Chance(made * (not low)) if is_dark else Chance(unknown=made),
            none_at_end=Chance(unknown=made * self._share(unit, self.ended)),
            unreached=False,
            external=unit.external,
        )


def _is_hit(unit: Unit, losses: Iterable[tuple[float, Loss]]) -> bool:
    return any(
        min(loss.available, loss.running) < unit.ready or loss.quorum_lost is not False for _, loss in losses
    )


def _range(counts: Iterable[tuple[float, int]]) -> CountRange:
    shares = _shares(counts)
    typical = max(sorted(shares), key=shares.__getitem__)
    return CountRange(typical, min(shares), max(shares))


def _shares(counts: Iterable[tuple[float, int]]) -> dict[int, float]:
    found: dict[int, float] = defaultdict(float)
    for share, count in counts:
        found[count] += share
    return dict(sorted(found.items()))


def _median(times: Iterable[tuple[float, float]]) -> float | None:
    """Return the weighted median of (time, weight); None if there is none."""
    ordered = sorted(times)
    sums = list(accumulate(weight for _, weight in ordered))
    return next((t for (t, _), upto in zip(ordered, sums, strict=True) if upto * 2 >= sums[-1]), None)


def _chance(answers: Iterable[tuple[float, bool | None]]) -> Chance:
    likely = unknown = 0.0
    for share, answer in answers:
        likely += share * (answer is True)
        unknown += share * (answer is None)
    return Chance(min(1.0, likely), min(1.0, unknown))
