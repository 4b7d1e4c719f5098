"""One state of a cluster, which answers what is wrong now, and what the planned cut and each failure domain's lead to.

An answer is a probability that something bad happens, and one that it is unknown.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chaosext.model.duration_text import short_duration
from chaosext.rehearsal.mitigate.mitigations import mitigated
from chaosext.rehearsal.network.network_model import routes_of
from chaosext.rehearsal.predict.predict import Rehearsal
from chaosext.rehearsal.simulate.prediction import Dns, Forecast, said_share
from chaosext.rehearsal.simulate.roster import named
from chaosext.rehearsal.simulate.time_budget import UNBOUNDED
from chaosext.rehearsal.snapshot.failure_domains import failure_domains
from chaosext.rehearsal.snapshot.node_patterns import behind, is_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from chaosext.rehearsal.network.routes import Routes
    from chaosext.rehearsal.predict.scenarios import Scenario
    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.failure_domains import Domain
    from chaosext.rehearsal.snapshot.world import World

DOMAIN_SAMPLES = 12
"""Simulations of the loss of a failure domain: domains are many, so a rough probability of each must do at first."""

EXACT, RANDOM = 0.05, 1.5
"""Smallest difference of two shares that counts: of enumerated simulations, and of n random ones times √n."""

NOW, PLANNED = "without a cut", "the planned cut"
VERDICT = "verdict"

LONG_S = 60.0
"""An outage on the way counts if it is longer."""

ROUTES_END = "other nodes lose Pod routes"
DNS_ON_THE_WAY = f"DNS is dead for over {short_duration(LONG_S)} on the way"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """The probability that something bad happens, and that this is unknown. `noise`: what chance explains."""

    bad: float
    unknown: float
    said: str
    noise: float = EXACT


NOTHING = Fact(bad=0.0, unknown=0.0, said="no")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What both states are asked. `wanted`: the planned cut; `samples` as in `Rehearsal.of`, None by size."""

    wanted: Scenario
    samples: int | None = None
    budget: TimeBudget = UNBOUNDED
    domains: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CutEnding:
    """What a cut leads to. `facts`: name -> answer; what is missing does not happen."""

    verdict: Forecast
    headline: str
    facts: Mapping[str, Fact]

    def to_json(self) -> dict[str, Any]:
        shares = {name: round(fact.bad, 3) for name, fact in sorted(self.facts.items()) if fact.bad > 0}
        return {"verdict": self.verdict.value, "headline": self.headline, "probability": shares}


class ClusterState:
    """A state of the cluster, which answers each question once."""

    def __init__(self, world: World, question: Question) -> None:
        self.world, self._question = world, question
        self._rehearsal = Rehearsal(world)
        self._endings: dict[tuple[str, int], CutEnding | None] = {}
        self._by_nodes: dict[tuple[frozenset[str], int], CutEnding | None] = {}

    @cached_property
    def names(self) -> Mapping[str, int]:
        return {node.name: number for number, node in enumerate(self.world.nodes)}

    @cached_property
    def routes(self) -> Routes:
        """The routes with the network whole."""
        return routes_of(self.world, frozenset())

    @cached_property
    def domains(self) -> Mapping[str, Domain]:
        """The failure domains by name."""
        return {str(each): each for each in failure_domains(self.world)} if self._question.domains else {}

    @cached_property
    def plan(self) -> Plan:
        return self._question.wanted.plan(self.world)

    def ending(self, subject: str, finer: int = 1) -> CutEnding | None:
        """Return what the planned cut, or the loss of a domain, leads to; None if the time budget ended first.

        `finer`: so many times as many simulations of a domain.
        """
        key = subject, finer
        if key not in self._endings:
            is_over = subject != NOW and self._question.budget.is_over
            self._endings[key] = None if is_over else self._ending(subject, finer)
        return self._endings[key]

    def has_answered(self, subject: str) -> bool:
        return (subject, 1) in self._endings

    def learn(self, subject: str, ending: CutEnding | None) -> None:
        """Take an answer that was computed elsewhere."""
        self._endings[subject, 1] = ending

    def _ending(self, subject: str, finer: int) -> CutEnding | None:
        wanted, samples = self._question.wanted, self._question.samples
        if subject == NOW:
            facts = {
                VERDICT: NOTHING,
                "DNS fails on some nodes": self._dns_now,
                **dict(_facts_now(self.world)),
            }
            return CutEnding(verdict=Forecast.PASSED, headline="", facts=facts)
        if subject == PLANNED:
            return self._played(self.plan, samples)
        domain = self.domains.get(subject)
        if domain is None:
            return None
        key = domain.nodes, finer
        if key not in self._by_nodes:
            lost = replace(wanted, cut_nodes=",".join(sorted(domain.nodes)))
            self._by_nodes[key] = self._played(lost.plan(self.world), (samples or DOMAIN_SAMPLES) * finer)
        return self._by_nodes[key]

    def _played(self, plan: Plan, samples: int | None) -> CutEnding | None:
        wanted, budget = self._question.wanted, self._question.budget
        world = mitigated(self.world, plan, wanted.mitigations)
        rehearsal = self._rehearsal if world is self.world else Rehearsal(world)
        found = rehearsal.of(plan, samples=samples, seed=wanted.seed, with_timeline=False, budget=budget)
        return _ending_of(found, self._dns) if found.simulations.is_whole else None

    @cached_property
    def vital(self) -> Mapping[str, set[str]]:
        """Node -> what runs there that others depend on: the cluster's DNS, istiod, members of StatefulSets."""
        found: dict[str, set[str]] = defaultdict(set)
        for service in (self.world.dns, self.world.mesh.istiod if self.world.mesh else None):
            for pod in behind(service, self.world.pods):
                found[pod.node].add(pod.owner)
        for pod in self.world.pods:
            if pod.owner.startswith("StatefulSet/"):
                found[pod.node].add(f"{pod.namespace}/{pod.owner}")
        return found

    @property
    def _dns_now(self) -> Fact:
        """Whether a node without a control-plane role does not reach a Ready Pod of the cluster's DNS."""
        pods = [pod for pod in behind(self.world.dns, self.world.pods) if pod.ready and not pod.terminating]
        if not pods or self.world.dns_doubts:
            return _chance(0.0, 1.0)
        hosts = {self.names[pod.node] for pod in pods if pod.node in self.names}
        workers = [name for name, at in self.names.items() if not self.world.nodes[at].control_plane]
        some = [
            self.names[name]
            for alike in route_classes([self], workers or list(self.names))
            for name in alike[:2]
        ]
        answers = {self.routes.reaches(client, host) for client in some for host in hosts if client != host}
        return _chance(float(False in answers), float(None in answers))

    @cached_property
    def _dns(self) -> frozenset[str]:
        """The workloads behind the cluster's DNS, which lookups judge."""
        pods = behind(self.world.dns, self.world.pods)
        return frozenset(named(self.world, pod.namespace, pod.owner or pod.subject) for pod in pods)


def _ending_of(found: Prediction, dns: frozenset[str]) -> CutEnding:
    noise = max(EXACT, RANDOM / found.samples**0.5) if found.samples else EXACT
    facts = {name: replace(fact, noise=noise) for name, fact in _facts(found, dns)}
    return CutEnding(verdict=found.verdict, headline=found.headline, facts=facts)


_DOES = {Forecast.PASSED: "passes", Forecast.DEVIATED: "deviates", Forecast.UNKNOWN: "is unknown"}


def _facts(found: Prediction, dns: frozenset[str]) -> Iterator[tuple[str, Fact]]:
    deviates, unknown = (found.chances.get(verdict, 0.0) for verdict in (Forecast.DEVIATED, Forecast.UNKNOWN))
    share = found.chances.get(found.verdict, 1.0)
    in_some = "" if share > 1 - EXACT else f" in {said_share(share)}"
    yield VERDICT, Fact(bad=deviates, unknown=unknown, said=f"{_DOES[found.verdict]}{in_some}")
    yield "DNS fails during it", _of_state(found.dns.during_cut)
    after = {each.dns_after_heal: each.probability for each in found.outcomes}
    bad = after.get(Dns.DEAD, 0.0) + after.get(Dns.PARTIAL, 0.0)
    yield "DNS fails after the heal", _chance(bad, after.get(Dns.UNKNOWN, 0.0))
    for outage in found.outages:
        within, unsure = outage.dead_within(LONG_S)
        yield DNS_ON_THE_WAY, _chance(1.0 - within - unsure, unsure)
        break
    yield ROUTES_END, _chance(found.routes_lost.probability, 0.0)
    for name, unit in found.impact.units.items() if found.impact else ():
        yield f"{name} loses its quorum", _chance(*unit.quorum_lost)
        if unit.is_service:
            yield f"{name} has no endpoint at the end", _chance(*unit.none_at_end)
            yield f"{name} has no endpoint for a while", _chance(*unit.none)
            if unit.available and not unit.available.typical and (unit.for_s or 0.0) > LONG_S:
                yield f"{name} has no endpoint for over {short_duration(LONG_S)}", _chance(*unit.none)
        elif unit.before and name not in dns:
            down = None if unit.running is None else not unit.running.typical
            yield (
                f"{name} has no running Pod for a while",
                _chance(float(down is True), float(down is None)),
            )


def _facts_now(world: World) -> Iterator[tuple[str, Fact]]:
    """Yield what is wrong before any cut."""
    for node in world.nodes:
        yield f"{node.subject} is not Ready", _chance(float(node.ready != "True"), 0.0)
    for service in world.services:
        pods = behind(service, world.pods)
        is_down = bool(pods) and not any(pod.ready and not pod.terminating for pod in pods)
        yield f"{service.subject} has no Ready Pod", _chance(float(is_down), 0.0)
    waiting = (pod for pod in world.pods if not pod.node and not is_over(pod))
    for name in dict.fromkeys(named(world, pod.namespace, pod.owner or pod.subject) for pod in waiting):
        yield f"{name} has Pods that fit on no node", _chance(1.0, 0.0)


def _chance(bad: float, unknown: float) -> Fact:
    bad, unknown = max(0.0, bad), max(0.0, unknown)
    said = "unknown" if unknown > max(bad, EXACT) else "no" if bad < EXACT else "yes"
    return Fact(bad=bad, unknown=unknown, said=f"in {said_share(bad)}" if EXACT <= bad < 1 - EXACT else said)


def _of_state(state: Dns) -> Fact:
    return _chance(float(state in (Dns.DEAD, Dns.PARTIAL)), float(state is Dns.UNKNOWN))


def route_classes(states: Sequence[ClusterState], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Group nodes that have the same routes in all states."""
    found: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for name in names:
        found[tuple(state.routes.kind(state.names[name]) for state in states)].append(name)
    return [tuple(each) for each in found.values()]
