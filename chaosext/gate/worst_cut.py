"""The worst cuts: the smallest sets of failure domains whose loss breaks DNS, the mesh, a Service, a quorum or routes.

Every domain alone and every pair of them is cut off from the control plane, for several durations. What was left out
is listed; what can't be known is listed as unknown, never as harmless. Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from typing import TYPE_CHECKING, Any

from chaosext.gate.breaking_event import chain
from chaosext.gate.cutover_plan import AFTERWARDS_S
from chaosext.gate.domain_cuts import DomainCut, domain_cuts
from chaosext.model.duration_text import short_duration
from chaosext.rehearsal.predict.predict import Rehearsal
from chaosext.rehearsal.predict.recommendations import chance_of, long_outage
from chaosext.rehearsal.simulate.impact import any_of
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.prediction import Dns, Forecast
from chaosext.rehearsal.simulate.roster import Roster, rows_of
from chaosext.rehearsal.simulate.time_budget import UNBOUNDED
from chaosext.rehearsal.snapshot.alike_nodes import alike_nodes
from chaosext.rehearsal.snapshot.cut_targets import majority_lost
from chaosext.rehearsal.snapshot.failure_domains import DomainKind
from chaosext.rehearsal.snapshot.node_patterns import behind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from chaosext.gate.breaking_event import BreakingEvent
    from chaosext.rehearsal.simulate.impact import Impact
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import World

SCHEMA = "chaosext.worst-cuts/v1"

LADDER_S = (60.0, 300.0, 600.0, 1200.0, 1800.0)
"""Durations by default, in seconds."""

SAMPLES, PAIR_SAMPLES, TRACE_SAMPLES = 16, 8, 30
"""Simulations of a domain's cut, of a pair's, and of one that is shown with its trace."""

LIKELY = 0.05
"""A cut breaks what it breaks in at least this share of simulations."""

MOST_PAIRS = 800
"""Maximum number of pairs to simulate: those that have all Pods of something come first, then those of few nodes."""

MOST_SHOWN = 20
"""Maximum number of cuts that are shown with their trace."""

FOR_PAIRS = 0.5
"""Share of the time budget that is left for pairs and traces, after the domains alone."""


class Harm(StrEnum):
    """What a cut breaks."""

    DNS = "DNS"
    """It does not resolve after the heal, or is dead for more than 30 s after it or on nodes that are not cut."""
    MESH = "the mesh"
    """Sidecars lose istiod."""
    SERVICE = "a Service"
    """It has no endpoints, in the cut for clients that follow the API, or at the end."""
    QUORUM = "a quorum"
    ROUTES = "Pod routes"
    """Nodes lose routes to Pods that they are not cut off from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """What a cut breaks, and how likely. `name`: the Service or workload, "" for DNS, mesh and routes.

    `at_longest`: how likely if the cut takes as long as the longest one tried.
    """

    harm: Harm
    probability: float
    name: str = ""
    at_longest: float = 0.0

    @property
    def key(self) -> tuple[Harm, str]:
        return self.harm, self.name

    def to_json(self) -> dict[str, Any]:
        return {
            "harm": self.harm.value,
            "name": self.name,
            "probability": round(self.probability, 3),
            "probability_at_longest": round(self.at_longest, 3),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCut:
    """A cut, with what it breaks and no smaller one does. `lost`: nodes that lose the control plane.

    They are the domain's nodes; all others, if the domain has most of the control-plane nodes.
    """

    cut: DomainCut
    lost: frozenset[str]
    cut_for_s: float
    broken: tuple[Broken, ...]
    trace: tuple[BreakingEvent, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "domains": list(self.cut.names),
            "alike": list(self.cut.alike),
            "nodes": sorted(self.cut.nodes),
            "nodes_without_control_plane": sorted(self.lost),
            "cut_for_s": self.cut_for_s,
            "breaks": [each.to_json() for each in self.broken],
            "trace": [each.to_json() for each in self.trace],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownCut:
    """A cut whose outcome is unknown, and breaks nothing as far as is known."""

    cut: DomainCut
    cut_for_s: float
    why: str

    def to_json(self) -> dict[str, Any]:
        nodes = sorted(self.cut.nodes)
        return {"domains": list(self.cut.names), "nodes": nodes, "cut_for_s": self.cut_for_s, "why": self.why}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCuts:
    """The result: cuts that break something, fewest nodes first, then shortest; those that are unknown.

    `left_out`: what was not simulated; `domains`, `pairs`: how many were.
    """

    found: tuple[WorstCut, ...]
    unknown: tuple[UnknownCut, ...]
    left_out: tuple[str, ...]
    domains: int
    pairs: int
    durations_s: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the form of `chaosext.worst-cuts/v1`."""
        return {
            "schema": SCHEMA,
            "domains": self.domains,
            "pairs": self.pairs,
            "durations_s": list(self.durations_s),
            "cuts": [each.to_json() for each in self.found],
            "unknown": [each.to_json() for each in self.unknown],
            "left_out": list(self.left_out),
        }


# -- one cut ---------------------------------------------------------------------------------------------------


def lost_by(world: World, isolated: frozenset[str]) -> frozenset[str]:
    """Return the nodes that lose the control plane if `isolated` is cut off: the side without most of its nodes."""
    masters = [node.name for node in world.nodes if node.control_plane]
    inside = sum(name in isolated for name in masters)
    if masters and 2 * inside > len(masters):
        return frozenset(node.name for node in world.nodes) - isolated
    return isolated


def harms(found: Prediction, *, follows: bool) -> tuple[Broken, ...]:
    """Return what a predicted cut breaks. `follows`: clients that are not cut off follow the API."""
    chances = [Broken(harm=Harm.DNS, probability=_dns(found))]
    chances.append(Broken(harm=Harm.MESH, probability=found.mesh.get("xds_lost_probability") or 0.0))
    chances.append(Broken(harm=Harm.ROUTES, probability=found.routes_lost.probability))
    if found.impact:
        chances += _of_units(found.impact, follows=follows)
    return tuple(each for each in chances if each.probability >= LIKELY)


def _dns(found: Prediction) -> float:
    """Return the probability that DNS is not well after the heal, or is dead for too long where no cut explains it."""
    ill = chance_of(found, Dns.DEAD, Dns.PARTIAL)
    return max(ill, long_outage(found))


def _of_units(impact: Impact, *, follows: bool) -> Iterator[Broken]:
    minded = frozenset(each.name for each in impact.services if follows or each.external)
    hit: dict[tuple[Harm, str], float] = defaultdict(float)
    for way, share in impact.ways.items():
        for name in (way.during & minded) | way.ended:
            hit[Harm.SERVICE, name] += share
        for name in way.quorums:
            hit[Harm.QUORUM, name] += share
    yield from (Broken(harm=harm, name=name, probability=hit[harm, name]) for harm, name in sorted(hit))


def _why_unknown(found: Prediction) -> str:
    """Return why it is unknown whether the cut breaks anything more; "" if it is known."""
    return (found.routes.why_not or found.why_unknown) if _is_unknown(found) else ""


def _is_unknown(found: Prediction) -> bool:
    impact = found.impact
    if (
        impact is None
        or not found.simulations.is_whole
        or found.routes.doubts
        or found.doubts
        or found.otherwise
    ):
        return True
    unsure = impact.chance(lambda way: any_of(frozenset(), way.unsure_during | way.unsure_quorums))
    return unsure.unknown >= LIKELY or found.verdict is Forecast.UNKNOWN


# -- the search ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A cut of one or two domains. `parts`: their numbers."""

    cut: DomainCut
    parts: tuple[int, ...]
    lost: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A cut for one duration."""

    lost: frozenset[str]
    cut_for_s: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """The result of a job; `why`: why something is unknown, "" if nothing is."""

    broken: tuple[Broken, ...] = ()
    why: str = ""


def worst_cuts(
    world: World,
    durations_s: Sequence[float] = LADDER_S,
    *,
    seed: int = 0,
    budget: TimeBudget = UNBOUNDED,
    on_all: Callable[..., Iterable[Any]] = map,
    tell: Callable[[str], None] = lambda _: None,
) -> WorstCuts:
    """Return the smallest cuts that break something, with what was left out.

    `on_all` maps a function over the cuts, as `map` does; `tell` is called with what is simulated next.
    """
    return _WorstSearch(world, tuple(sorted(durations_s)), seed, budget, on_all, tell).result()


class _WorstSearch:
    """The search: all domains for all durations, then pairs for the longest one, and what breaks for shorter ones."""

    def __init__(
        self,
        world: World,
        durations_s: tuple[float, ...],
        seed: int,
        budget: TimeBudget,
        on_all: Callable[..., Iterable[Any]],
        tell: Callable[[str], None],
    ) -> None:
        self._world, self._durations_s, self._seed = world, durations_s, seed
        self._budget, self._on_all, self._tell = budget, on_all, tell
        self._rehearsal, self._class_of = Rehearsal(world), alike_nodes(world)
        self._singles = [
            self._case(cut, (at,)) for at, cut in enumerate(domain_cuts(world, tuple(DomainKind)))
        ]
        self._rows: dict[tuple[frozenset[str], float], _Row] = {}
        self._untried = 0

    def result(self) -> WorstCuts:
        singles = self._singles
        self._tell(f"cutting off {len(singles)} failure domains, each for {len(self._durations_s)} durations")
        self._play(singles, self._durations_s, SAMPLES, self._budget.share(1 - FOR_PAIRS))
        pairs, left = self._pairs()
        self._tell(f"cutting off {len(pairs)} pairs of them")
        self._play(pairs, self._durations_s[-1:], PAIR_SAMPLES, self._budget.share(1 - FOR_PAIRS / 2))
        broken = [each for each in pairs if self._adds(each, self._durations_s[-1])]
        self._play(broken, self._durations_s[:-1], PAIR_SAMPLES, self._budget.share(1 - FOR_PAIRS / 2))
        found = self._found([*singles, *broken])
        self._tell(f"tracing {min(len(found), MOST_SHOWN)} cuts")
        return WorstCuts(
            found=(*self._on_all(self._traced, found[:MOST_SHOWN]), *found[MOST_SHOWN:]),
            unknown=tuple(self._unknown([*singles, *pairs])),
            left_out=tuple(self._left_out(left)),
            domains=len(singles),
            pairs=len(pairs),
            durations_s=self._durations_s,
        )

    def _case(self, cut: DomainCut, parts: tuple[int, ...]) -> _Case:
        return _Case(cut=cut, parts=parts, lost=lost_by(self._world, cut.nodes))

    # -- simulations -----------------------------------------------------------------------------------------

    def _play(
        self, cases: Iterable[_Case], durations_s: Iterable[float], samples: int, budget: TimeBudget
    ) -> None:
        """Simulate what was not simulated yet; what the budget leaves no time for counts as untried."""
        times_s = tuple(durations_s)
        wanted = dict.fromkeys((case.lost, duration_s) for case in cases for duration_s in times_s)
        jobs = [
            _Job(lost=lost, cut_for_s=duration_s, samples=samples)
            for lost, duration_s in wanted
            if (lost, duration_s) not in self._rows
        ]

        def played(job: _Job) -> _Row | None:
            return None if budget.is_over else self._row(job, budget)

        for job, row in zip(jobs, self._on_all(played, jobs), strict=True):
            if row is None:
                self._untried += 1
            self._rows[job.lost, job.cut_for_s] = row or _Row(why="the time budget ended")

    def _row(self, job: _Job, budget: TimeBudget) -> _Row:
        found = self._rehearsal.of(
            self._plan(job.lost, job.cut_for_s),
            samples=job.samples,
            seed=self._seed,
            with_timeline=False,
            budget=budget,
        )
        return _Row(broken=harms(found, follows=self._follows(job.lost)), why=_why_unknown(found))

    def _plan(self, lost: frozenset[str], cut_for_s: float) -> Plan:
        return Plan(
            cut_nodes=lost,
            cut_for_s=cut_for_s,
            horizon_s=cut_for_s + AFTERWARDS_S,
            doubts=majority_lost(self._world, lost),
        )

    def _follows(self, lost: frozenset[str]) -> bool:
        return any(not node.control_plane and node.name not in lost for node in self._world.nodes)

    # -- pairs -----------------------------------------------------------------------------------------------

    def _pairs(self) -> tuple[list[_Case], int]:
        """Return the pairs to simulate, and how many are left out.

        Two nodes of one class are a pair, too. A pair is left out if it takes in the whole cluster, or one that is
        within the other.
        """
        everybody = {node.name for node in self._world.nodes}
        seen = {case.cut.nodes for case in self._singles}
        found: list[_Case] = []
        for cut, parts in self._all_pairs():
            if cut.nodes in seen or cut.nodes == everybody:
                continue
            seen.add(cut.nodes)
            found.append(self._case(cut, parts))
        wholes = self._wholes()
        found.sort(
            key=lambda each: (not self._has_whole(each.cut.nodes, wholes), len(each.cut.nodes), each.parts)
        )
        return found[:MOST_PAIRS], max(0, len(found) - MOST_PAIRS)

    def _all_pairs(self) -> Iterator[tuple[DomainCut, tuple[int, ...]]]:
        for one, other in combinations(self._singles, 2):
            names = tuple(f"{a} + {b}" for a in one.cut.names[:1] for b in other.cut.names[:1])
            yield (
                DomainCut(
                    names=names,
                    kinds=one.cut.kinds | other.cut.kinds,
                    nodes=one.cut.nodes | other.cut.nodes,
                ),
                (*one.parts, *other.parts),
            )
        for case in self._singles:
            if case.cut.alike:
                second = case.cut.alike[0]
                names = (f"{case.cut.names[0]} + {second}",)
                yield (
                    replace(case.cut, names=names, nodes=case.cut.nodes | {second}, alike=()),
                    case.parts * 2,
                )

    def _wholes(self) -> list[tuple[Counter[str], int]]:
        """Return the nodes of what Pods make up together, with how many of these Pods it can't lose all at once."""
        roster = Roster(self._world, rows_of(self._world.pods))
        units = [
            (tuple(unit.standing), unit.quorum) for unit in (*roster.services, *roster.workloads.values())
        ]
        mesh = behind(self._world.mesh.istiod if self._world.mesh else None, self._world.pods)
        units += [(behind(self._world.dns, self._world.pods), 0), (mesh, 0)]
        return [
            (Counter(pod.node for pod in pods), len(pods) - quorum + 1 if quorum else len(pods))
            for pods, quorum in units
            if pods
        ]

    def _has_whole(self, nodes: frozenset[str], wholes: Iterable[tuple[Counter[str], int]]) -> bool:
        return any(sum(hosts[node] for node in nodes) >= needed for hosts, needed in wholes)

    # -- what is minimal -------------------------------------------------------------------------------------

    def _adds(self, pair: _Case, duration_s: float) -> bool:
        """Whether a pair breaks what neither of its domains alone does."""
        return bool(self._own(pair, duration_s))

    def _own(self, case: _Case, duration_s: float) -> tuple[Broken, ...]:
        """Return what a cut breaks at this duration and no smaller one does, nor itself for a shorter time."""
        broken = self._rows.get((case.lost, duration_s), _Row()).broken
        known = {
            each.key
            for shorter_s in self._durations_s
            if shorter_s < duration_s
            for each in self._rows.get((case.lost, shorter_s), _Row()).broken
        }
        known |= {
            each.key
            for smaller in self._smaller(case)
            for other_s in self._durations_s
            if other_s <= duration_s
            for each in self._rows.get((smaller.lost, other_s), _Row()).broken
        }
        longest = self._rows.get((case.lost, self._durations_s[-1]), _Row()).broken
        then = {each.key: each.probability for each in longest}
        return tuple(
            replace(each, at_longest=then.get(each.key, 0.0)) for each in broken if each.key not in known
        )

    def _smaller(self, case: _Case) -> Iterator[_Case]:
        """Yield the smaller domains that are a part of a cut, are like a part of it, or cut off the same nodes."""
        size = self._classes(case.cut.nodes)
        for single in self._singles:
            is_part = single.lost == case.lost or self._classes(single.cut.nodes) <= size
            if is_part and len(single.cut.nodes) < len(case.cut.nodes):
                yield single

    def _classes(self, nodes: frozenset[str]) -> Counter[int]:
        return Counter(self._class_of[node] for node in nodes)

    def _found(self, cases: Iterable[_Case]) -> list[WorstCut]:
        found = [
            WorstCut(cut=case.cut, lost=case.lost, cut_for_s=duration_s, broken=own)
            for case in cases
            for duration_s in self._durations_s
            if (own := self._own(case, duration_s))
        ]
        return sorted(
            found, key=lambda each: (len(each.cut.nodes), each.cut_for_s, -len(each.broken), each.cut.names)
        )

    def _traced(self, worst: WorstCut) -> WorstCut:
        """Return the cut with its chain of causes, and with probabilities of more simulations."""
        found = self._rehearsal.of(
            self._plan(worst.lost, worst.cut_for_s),
            samples=TRACE_SAMPLES,
            seed=self._seed,
            budget=self._budget,
            alternatives=False,
        )
        if not found.simulations.is_whole:
            return worst
        likely = {each.key: each for each in harms(found, follows=self._follows(worst.lost))}
        broken = tuple(
            replace(each, probability=likely[each.key].probability) if each.key in likely else each
            for each in worst.broken
        )
        names = {each.name for each in worst.broken}
        return replace(
            worst, broken=broken, trace=chain(self._world, found, names, dns=any(not n for n in names))
        )

    # -- what is not known -----------------------------------------------------------------------------------

    def _unknown(self, cases: Iterable[_Case]) -> Iterator[UnknownCut]:
        """Yield the cuts that are unknown and break nothing as far as is known, each for its shortest duration."""
        for case in cases:
            rows = [
                (each, self._rows[case.lost, each])
                for each in self._durations_s
                if (case.lost, each) in self._rows
            ]
            if any(row.broken for _, row in rows):
                continue
            first = next(((duration_s, row.why) for duration_s, row in rows if row.why), None)
            if first:
                yield UnknownCut(cut=case.cut, cut_for_s=first[0], why=first[1])

    def _left_out(self, pairs: int) -> Iterator[str]:
        merged = sum(len(case.cut.alike) for case in self._singles)
        if self._untried:
            yield f"{self._untried} cuts for which the time budget left no time"
        if pairs:
            yield f"{pairs} pairs of domains, which hold all Pods of nothing together, or of the most nodes"
        kinds = {kind for case in self._singles for kind in case.cut.kinds}
        if DomainKind.LEAF in kinds:
            yield "a leaf that fails and withdraws routes; here its nodes lose the control plane"
        if DomainKind.REFLECTORS in kinds:
            yield "a route reflector that fails; here it loses the control plane, or the others do"
        yield "traffic between nodes without a control-plane role: a cut takes only the control plane"
        longest = short_duration(self._durations_s[-1])
        yield f"three domains at once; pairs for less than {longest}, if they break nothing in {longest}"
        alone, paired = (f"{1 - 0.05 ** (1 / count):.0%}" for count in (SAMPLES, PAIR_SAMPLES))
        yield f"effects of a domain in less than {alone} of cases, of a pair in less than {paired}: they may be missed"
        if merged:
            yield f"{merged} nodes that are like another one (role, zone, capacity, labels that matter, Pods)"
