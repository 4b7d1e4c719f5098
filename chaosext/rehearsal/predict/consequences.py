"""What became worse or better between two states of a cluster: routes, failure domains, the planned cut, and why.

Both states are asked the same questions: which node reaches which Pods, what is not Ready, what the planned cut leads
to, and what it leads to if each failure domain loses the control plane for as long. An answer is a probability that
something bad happens, and one that it is unknown. A difference counts if either grew or shrank by more than chance
explains. What was known and is unknown now is worse.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import Refused
from chaosext.rehearsal.mitigate.mitigations import mitigated
from chaosext.rehearsal.network.network_model import routes_of
from chaosext.rehearsal.predict.cluster_changes import applied
from chaosext.rehearsal.predict.predict import Rehearsal
from chaosext.rehearsal.simulate.prediction import Dns, Forecast, said_share
from chaosext.rehearsal.simulate.roster import named
from chaosext.rehearsal.simulate.time_budget import UNBOUNDED
from chaosext.rehearsal.snapshot.failure_domains import failure_domains
from chaosext.rehearsal.snapshot.node_patterns import behind, is_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.network.routes import Routes
    from chaosext.rehearsal.predict.cluster_changes import Read
    from chaosext.rehearsal.predict.scenarios import Scenario
    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.failure_domains import Domain
    from chaosext.rehearsal.snapshot.object_changes import Change
    from chaosext.rehearsal.snapshot.snapshot_files import Listed
    from chaosext.rehearsal.snapshot.world import World

    Prepare = Callable[[Sequence["ClusterState"], Sequence[str]], None]

SCHEMA = "chaosext.changes/v1"

DOMAIN_SAMPLES, FINER = 12, 8
"""Simulations of the loss of a failure domain: domains are many, so a rough probability of each must do at first.

Where two differ by no more than chance explains, so many times as many follow.
"""

EXACT, RANDOM = 0.05, 1.5
"""Smallest difference of two shares that counts: of enumerated simulations, and of n random ones times √n."""

MOST_NODES = 150
"""The loss of each single node is compared in clusters of up to so many; beyond, of one of each kind."""

MOST_CLASSES = 300
"""Nodes that differ in their routes: of more kinds than these, only the first are compared."""

WITHOUT_CAUSES = 0.7
"""Share of the time budget for the differences themselves; the rest is for their causes."""

SEVERAL = 8
"""From this many changes on, halves of them are tried before single ones."""

ROUTES, NOW, PLANNED = "routes", "without a cut", "the planned cut"
VERDICT = "verdict"

LONG_S = 60.0
"""An outage on the way counts if it is longer."""

ROUTES_END = "other nodes lose Pod routes"
DNS_ON_THE_WAY = f"DNS is dead for over {LONG_S:g} s on the way"
PASSING = frozenset({ROUTES_END, DNS_ON_THE_WAY})
"""What is no better if it does not happen because something worse does: no routes at all, DNS that stays down."""


class Direction(StrEnum):
    """How a change of the cluster changed an answer."""

    WORSE = "worse"
    BETTER = "better"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """The probability that something bad happens, and that this is unknown. `noise`: what chance explains."""

    bad: float
    unknown: float
    said: str
    noise: float = EXACT


NOTHING = Fact(bad=0.0, unknown=0.0, said="no")


def direction(before: Fact, after: Fact) -> Direction | None:
    """Return whether a fact became worse or better; None if the difference may be chance."""
    noise = max(before.noise, after.noise)
    grown = after.bad - before.bad, after.unknown - before.unknown
    if max(grown) > noise:
        return Direction.WORSE
    return Direction.BETTER if min(grown) < -noise else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An answer that became worse or better. `subject`: routes, no cut, the planned cut, or the domain that is lost.

    `nodes`: those that are cut off, or whose Pods are reached or not. `by`: the objects that cause it, each of them
    `alone`, or only together; empty if that was not found out.
    """

    subject: str
    what: str
    direction: Direction
    before: str
    after: str
    nodes: frozenset[str] = frozenset()
    by: tuple[str, ...] = ()
    alone: bool = True

    @property
    def key(self) -> tuple[str, str, Direction]:
        return self.subject, self.what, self.direction

    def to_json(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "what": self.what,
            "direction": self.direction.value,
            "before": self.before,
            "after": self.after,
            "nodes": sorted(self.nodes),
            "by": list(self.by),
            "alone": self.alone,
        }


# -- answers about one state -------------------------------------------------------------------------------------


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
            self.names[name] for alike in _classes([self], workers or list(self.names)) for name in alike[:2]
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
                yield f"{name} has no endpoint for over {LONG_S:g} s", _chance(*unit.none)
        elif unit.before and name not in dns:
            down = None if unit.running is None else not unit.running.typical
            yield f"{name} has no running Pod for a while", _chance(float(down is True), float(down is None))


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


# -- differences of two states -----------------------------------------------------------------------------------


def differences(
    before: ClusterState, after: ClusterState, subjects: Iterable[str] | None = None
) -> Iterator[Difference]:
    """Yield what became worse or better, by default in all subjects that both states have."""
    for subject in subjects_of(before, after) if subjects is None else subjects:
        if subject == ROUTES:
            yield from _of_routes(before, after)
            continue
        one, other = before.ending(subject), after.ending(subject)
        if one is not None and other is not None:
            if subject != PLANNED and _is_close(one, other):
                one, other = before.ending(subject, FINER) or one, after.ending(subject, FINER) or other
            yield from _of_endings(subject, one, other, _nodes(after, subject))


def subjects_of(before: ClusterState, after: ClusterState) -> tuple[str, ...]:
    """Return what can be compared: routes, what is wrong now, the planned cut, and domains of both, groups first.

    Of more than `MOST_NODES` single nodes, one of each kind stands for those that are alike.
    """
    both = [name for name in before.domains if name in after.domains]
    groups = [name for name in both if len(after.domains[name].nodes) > 1]
    single = [name for name in both if len(after.domains[name].nodes) == 1]
    if len(single) > MOST_NODES:
        kinds = {_kind_of_node(name, before, after): name for name in reversed(single)}
        single = [name for name in single if kinds[_kind_of_node(name, before, after)] == name]
    return (ROUTES, NOW, PLANNED, *groups, *single)


def _kind_of_node(subject: str, *states: ClusterState) -> tuple[object, ...]:
    """Return a key of a single node: those with the same one are alike in both states."""
    found: list[object] = []
    for state in states:
        (name,) = state.domains[subject].nodes
        number = state.names[name]
        node = state.world.nodes[number]
        vital = tuple(sorted(state.vital.get(name, ())))
        found.append((state.routes.kind(number), node.zone, node.taints, node.control_plane, vital))
    return tuple(found)


def _nodes(state: ClusterState, subject: str) -> frozenset[str]:
    if subject == NOW:
        return frozenset()
    return state.plan.cut_nodes if subject == PLANNED else state.domains[subject].nodes


def _is_close(one: CutEnding, other: CutEnding) -> bool:
    """Whether two endings differ, in all by no more than chance explains, so that more simulations may tell more."""
    pairs = [(before, after) for _, before, after in _paired(one, other)]
    grown = [max(abs(after.bad - before.bad), abs(after.unknown - before.unknown)) for before, after in pairs]
    return max(grown) > EXACT and not any(direction(before, after) for before, after in pairs)


def _paired(one: CutEnding, other: CutEnding) -> Iterator[tuple[str, Fact, Fact]]:
    """Yield each fact of two endings; what an ending lacks does not happen there."""
    for name in dict.fromkeys((*one.facts, *other.facts)):
        yield name, one.facts.get(name, NOTHING), other.facts.get(name, NOTHING)


def _of_endings(
    subject: str, one: CutEnding, other: CutEnding, nodes: frozenset[str]
) -> Iterator[Difference]:
    """Yield the facts that became worse or better; what passes only where the verdict did so, or stayed."""
    overall = direction(one.facts[VERDICT], other.facts[VERDICT])
    for name, before, after in _paired(one, other):
        way = direction(before, after)
        if way and (name not in PASSING or overall in (way, None)):
            yield Difference(
                subject=subject, what=name, direction=way, before=before.said, after=after.said, nodes=nodes
            )


_REACHED = {True: "reached", False: "not reached", None: "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How many pairs of different nodes there are, and of how many one reaches the other's Pods, or it is unknown."""

    pairs: int = 0
    reached: int = 0
    unknown: int = 0

    def to_json(self) -> dict[str, int]:
        return {"pairs": self.pairs, "reached": self.reached, "unknown": self.unknown}


def reached(state: ClusterState) -> Reached:
    """Count the pairs of nodes of one state."""
    counts = {True: 0, False: 0, None: 0}
    for clients, hosts, answers in _pairs([state], list(state.names)):
        counts[answers[0]] += _size(clients, hosts)
    return Reached(pairs=sum(counts.values()), reached=counts[True], unknown=counts[None])


def _pairs(
    states: Sequence[ClusterState], names: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], tuple[bool | None, ...]]]:
    """Yield each pair of classes of nodes that are alike in all states, with whether one reaches the other's Pods."""
    some = _classes(states, names)[:MOST_CLASSES]
    for clients in some:
        for hosts in some:
            if _size(clients, hosts):
                one, other = clients[0], hosts[-1]
                answers = tuple(
                    state.routes.reaches(state.names[one], state.names[other]) for state in states
                )
                yield clients, hosts, answers


def _classes(states: Sequence[ClusterState], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Group nodes that have the same routes in all states."""
    found: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for name in names:
        found[tuple(state.routes.kind(state.names[name]) for state in states)].append(name)
    return [tuple(each) for each in found.values()]


def _size(clients: Sequence[str], hosts: Sequence[str]) -> int:
    """Return the number of pairs of different nodes; two classes are equal or have no node in common."""
    return len(clients) * (len(hosts) - (clients == hosts))


def _of_routes(before: ClusterState, after: ClusterState) -> Iterator[Difference]:
    """Yield the pairs of nodes of which one reaches the other's Pods in one state only, as few groups of them."""
    both = [name for name in before.names if name in after.names]
    clients_of: dict[tuple[bool | None, bool | None, tuple[str, ...]], set[str]] = defaultdict(set)
    for clients, hosts, (one, other) in _pairs([before, after], both):
        if one is not other:
            clients_of[one, other, hosts].update(clients)
    groups: dict[tuple[bool | None, bool | None, frozenset[str]], set[str]] = defaultdict(set)
    for (one, other, hosts), found in clients_of.items():
        groups[one, other, frozenset(found) | frozenset(hosts)].update(hosts)
    for (one, other, clients_and_hosts), found in groups.items():
        way = direction(_of_answer(one), _of_answer(other))
        if way:
            yield Difference(
                subject=ROUTES,
                what=_whom(clients_and_hosts, frozenset(found), frozenset(both)),
                direction=way,
                before=_REACHED[one],
                after=_REACHED[other],
                nodes=frozenset(found),
            )


def _of_answer(reaches: bool | None) -> Fact:
    return Fact(bad=float(reaches is False), unknown=float(reaches is None), said=_REACHED[reaches])


def _whom(clients: frozenset[str], hosts: frozenset[str], every: frozenset[str]) -> str:
    """Name the two ends."""
    if hosts == every:
        return "Pods on every other node, from every node"
    ends = "every other node" if clients == every else _few(clients)
    return f"Pods on {_few(hosts)}, from {ends}"


def _few(nodes: Iterable[str], most: int = 3) -> str:
    names = sorted(nodes)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# -- causes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequences:
    """What became worse or better, the worst first. `changes`: how many there are that matter to a prediction.

    `compared`: failure domains; `alike`: single nodes that another one stands for. `left_out`: what was not compared.
    `unknown`: what is unknown in both states. `new` and `gone`: failure domains of one state only.
    """

    changes: tuple[Change, ...]
    differences: tuple[Difference, ...]
    planned: tuple[CutEnding | None, CutEnding | None]
    routes: tuple[Reached, Reached]
    compared: int = 0
    alike: int = 0
    left_out: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)

    def of(self, way: Direction) -> tuple[Difference, ...]:
        return tuple(each for each in self.differences if each.direction is way)

    @property
    def is_worse(self) -> bool:
        """Whether anything became worse, or was not compared, so that it may have."""
        return bool(self.of(Direction.WORSE)) or bool(self.left_out)

    def to_json(self) -> dict[str, Any]:
        """Return the form in docs/schemas/changes.schema.json."""
        ends = [ending.to_json() if ending else None for ending in self.planned]
        return {
            "schema": SCHEMA,
            "worse": len(self.of(Direction.WORSE)),
            "better": len(self.of(Direction.BETTER)),
            "differences": [each.to_json() for each in self.differences],
            "changes": [
                {"object": each.subject, "what": each.said, "read": each.is_read} for each in self.changes
            ],
            "routes": {"before": self.routes[0].to_json(), "after": self.routes[1].to_json()},
            "planned_cut": {**self.plan, "before": ends[0], "after": ends[1]},
            "domains": {
                "compared": self.compared,
                "alike": self.alike,
                "new": list(self.new),
                "gone": list(self.gone),
            },
            "left_out": list(self.left_out),
            "unknown_in_both": list(self.unknown),
        }


def consequences(
    listed: Listed,
    other: Listed,
    changes: Sequence[Change],
    read: Read,
    question: Question,
    *,
    is_derived: bool = False,
    prepare: Prepare | None = None,
) -> Consequences:
    """Compare two states of a cluster, of which the second is the first with all `changes`.

    `is_derived`: it was made from the first, so that no object is missing if none is missing there. `prepare` may
    find the endings of many subjects out, in several processes.
    """
    first = replace(question, budget=question.budget.share(WITHOUT_CAUSES))
    before = ClusterState(read(listed), first)
    read_other = _complete(read) if is_derived and before.routes.proof.holds else read
    after = ClusterState(read_other(other), first) if changes else before
    if not before.names.keys() & after.names.keys():
        raise Refused("the snapshots have no node in common", "compare two snapshots of one cluster")
    subjects = subjects_of(before, after)
    if changes and prepare:
        prepare([before, after], subjects[1:])
    found = list(differences(before, after)) if changes else []
    if changes:
        states = _States(listed, changes, read_other, question)
        found = list(_caused(found, before, states, prepare))
    classes = len(_classes([before, after], [name for name in before.names if name in after.names]))
    beyond = (f"routes of {classes - MOST_CLASSES} kinds of nodes",) if classes > MOST_CLASSES else ()
    both = sum(name in after.domains for name in before.domains)
    undone = [each for each in subjects if changes and each != ROUTES and _is_undone(each, before, after)]
    plan = {"nodes": sorted(after.plan.cut_nodes), "cut_for_s": after.plan.cut_for_s}
    return Consequences(
        changes=tuple(changes),
        differences=tuple(sorted(found, key=_rank)),
        planned=(before.ending(PLANNED), after.ending(PLANNED)),
        routes=(reached(before), reached(after)),
        compared=len(subjects) - len((ROUTES, NOW, PLANNED)),
        alike=both - (len(subjects) - len((ROUTES, NOW, PLANNED))),
        left_out=(*beyond, *(f"{each}: the time budget ended" for each in undone)),
        unknown=tuple(each for each in subjects if _is_unknown(each, before) and _is_unknown(each, after)),
        new=tuple(each for each in after.domains if each not in before.domains),
        gone=tuple(each for each in before.domains if each not in after.domains),
        plan=plan,
    )


def _complete(read: Read) -> Read:
    def complete(listed: Listed) -> World:
        world = read(listed)
        return replace(world, network=replace(world.network, is_complete=True))

    return complete


def _is_unknown(subject: str, state: ClusterState) -> bool:
    if subject == ROUTES:
        return not state.routes.proof.holds
    ending = state.ending(subject)
    return ending is not None and ending.verdict is Forecast.UNKNOWN


def _is_undone(subject: str, before: ClusterState, after: ClusterState) -> bool:
    return before.ending(subject) is None or after.ending(subject) is None


def _rank(each: Difference) -> tuple[bool, int, str, bool, str]:
    """Sort by direction, then routes, planned cut, groups of nodes, nodes; the verdict first."""
    places = {ROUTES: 0, NOW: 1, PLANNED: 2}
    place = places.get(each.subject, 3 if len(each.nodes) > 1 else 4)
    return each.direction is Direction.BETTER, place, each.subject, each.what != VERDICT, each.what


class _States:
    """The states with some of the changes, each read and asked once."""

    def __init__(self, listed: Listed, changes: Sequence[Change], read: Read, question: Question) -> None:
        self.changes, self.question = changes, question
        self._listed, self._read = listed, read
        self._known: dict[frozenset[int], ClusterState | None] = {}

    def with_only(self, chosen: Iterable[int]) -> ClusterState | None:
        """Return the state with these changes; None if they do not fit without the others."""
        key = frozenset(chosen)
        if key not in self._known:
            try:
                some = [each for number, each in enumerate(self.changes) if number in key]
                self._known[key] = ClusterState(self._read(applied(self._listed, some)), self.question)
            except Refused:
                self._known[key] = None
        return self._known[key]


def _caused(
    found: Sequence[Difference], before: ClusterState, states: _States, prepare: Prepare | None
) -> Iterator[Difference]:
    """Yield each difference with the changes that cause it: alone, or together if each of them is needed.

    A change that caused another difference alone is tried first: if it does so again, no other is tried.
    """
    known: dict[int, None] = {}
    for each in found:
        causes, alone = _causes(each, before, states, list(known))
        if alone and causes and causes[0] not in known:
            known[causes[0]] = None
            state = states.with_only(causes[:1])
            rest = dict.fromkeys(other.subject for other in found if other.subject != ROUTES)
            if state and prepare and len(states.changes) > 1:
                prepare([state], [subject for subject in rest if not state.has_answered(subject)])
        by = tuple(states.changes[number].subject for number in causes)
        yield replace(each, by=by, alone=alone)


def _causes(
    each: Difference, before: ClusterState, states: _States, known: Sequence[int]
) -> tuple[tuple[int, ...], bool]:
    """Return the numbers of the changes that cause a difference, and whether one of them is enough."""
    count = len(states.changes)
    if count == 1:
        return (0,), True

    def appears(chosen: Iterable[int]) -> bool:
        after = states.with_only(chosen)
        if after is None:
            return False
        try:
            return any(other.key == each.key for other in differences(before, after, [each.subject]))
        except (Refused, KeyError):  # the plan or the domain does not exist in this state
            return False

    again = tuple(number for number in known if appears([number]))
    if again:
        return again, True
    some = _narrowed(tuple(range(count)), appears)
    if states.question.budget.is_over and each.subject not in (ROUTES, NOW):
        return (), False
    if alone := tuple(number for number in some if appears([number])):
        return alone, True
    needed = tuple(number for number in some if not appears(set(some) - {number}))
    return needed, False


def _narrowed(numbers: tuple[int, ...], appears: Callable[[Iterable[int]], bool]) -> tuple[int, ...]:
    """Return fewer changes that cause a difference, by halves, as long as one of the halves does."""
    while len(numbers) > SEVERAL:
        middle = len(numbers) // 2
        half = next((part for part in (numbers[:middle], numbers[middle:]) if appears(part)), None)
        if half is None:
            break
        numbers = half
    return numbers
