"""The scheduler: which nodes a Pod may go to, which it prefers, and when it stays pending.

Source: Kubernetes v1.34 pkg/scheduler (schedule_one.go: `selectHost`, `numFeasibleNodesToFind`) and its
default plugins in framework/plugins with their weights (apis/config/v1/default_plugins.go). Image locality is
not modelled, because a snapshot does not say which node has which image.

Large clusters place thousands of Pods, so that everything is held by node in lists, and what is alike is
computed once: the resources by requests, the rules by group, and only for nodes that changed since.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import filterfalse, islice, repeat, takewhile
from math import log
from operator import add, and_
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from chaosext.rehearsal.snapshot.world import HOSTNAME

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.simulate.samples import Draw
    from chaosext.rehearsal.simulate.scheduler_cache import (
        AffinityRule,
        Board,
        GroupRules,
        PodGroup,
        Requests,
        SpreadRule,
    )
    from chaosext.rehearsal.snapshot.world import PodSpec

Value = TypeVar("Value")

TAINTS_WEIGHT, AFFINITY_WEIGHT, SPREAD_WEIGHT, PODS_WEIGHT = 3, 2, 2, 2
BEST = 100

ALL_NODES_BELOW = 100
"""`minFeasibleNodesToFind`: up to this many feasible nodes, all are compared."""


class Placement:
    """Placement of Pods in one simulation: the board, plus changes.

    `closed` in its methods are the nodes whose taints keep the Pod away by now; none by default.
    """

    def __init__(self, board: Board, draw: Draw) -> None:
        self.board, self._draw = board, draw
        self._cpu, self._memory, self._pods = list(board.cpu), list(board.memory), list(board.pods)
        self._scored_cpu, self._scored_memory = list(board.scored_cpu), list(board.scored_memory)
        self._extended: dict[tuple[int, str], int] = {}
        self._present: dict[PodGroup, dict[int, int]] = {}
        """Group -> node -> number of its Pods, for groups that differ from the board."""
        self._staying: dict[PodGroup, dict[int, int]] = {}
        """The same without Terminating Pods."""
        self._stay: dict[int, Counter[PodGroup]] = defaultdict(Counter)  # node -> change of its staying Pods
        self._ranked: dict[int, list[PodGroup]] = {}
        self._changes: list[int] = []
        """Nodes in the order in which their resources changed."""
        self._rooms: dict[Requests, _Room] = {}
        self._affinities: dict[PodGroup, _Affinity] = {}
        self._involves: dict[PodGroup, list[PodGroup]] = {}
        """Group -> groups whose known affinity counts its Pods."""

    def add(self, group: PodGroup, node: int, by: int = 1) -> None:
        """Add a Pod to a node, or remove one with `by` -1."""
        self._shift(group, node, by)
        self._stay[node][group] += by
        self._ranked.pop(node, None)
        self._changes.append(node)
        for other in self._involves.pop(group, ()):
            self._affinities.pop(other, None)

    def _shift(self, group: PodGroup, node: int, by: int) -> None:
        """Add a Pod's resources to those used on a node; also for trials that are undone."""
        spec = group.spec
        scored = spec.scored_requests or spec.requests
        self._cpu[node] += by * spec.requests.cpu_m
        self._memory[node] += by * spec.requests.memory_bytes
        self._pods[node] += by
        self._scored_cpu[node] += by * scored.cpu_m
        self._scored_memory[node] += by * scored.memory_bytes
        for name, amount in spec.requests.extended:
            self._extended[node, name] = self._extended.get((node, name), 0) + by * amount
        for table in (self._present, self._staying):
            self._change(table, group, node, by)

    def _change(self, table: dict[PodGroup, dict[int, int]], group: PodGroup, node: int, by: int) -> None:
        counts = table.get(group)
        if counts is None:
            counts = table[group] = dict(self.board.where.get(group, ()))
        counts[node] = counts.get(node, 0) + by

    def leave(self, group: PodGroup, node: int, by: int = 1) -> None:
        """Mark a Pod there as Terminating: it still uses resources, but topology spreading does not count it."""
        self._change(self._staying, group, node, -by)
        self._stay[node][group] -= by
        self._ranked.pop(node, None)

    def _counts(self, group: PodGroup) -> Mapping[int, int]:
        """Return node -> number of the group's Pods."""
        found = self._present.get(group)
        return self.board.where.get(group, {}) if found is None else found

    def _staying_of(self, groups: Iterable[PodGroup]) -> Mapping[int, int]:
        """Return node -> number of the groups' Pods without Terminating ones."""
        tables = [self._staying.get(group) or self.board.where.get(group, {}) for group in groups]
        if len(tables) == 1:
            return tables[0]
        found: dict[int, int] = {}
        for table in tables:
            for node, count in table.items():
                found[node] = found.get(node, 0) + count
        return found

    def may_help(self, group: PodGroup, node: int, lost: tuple[bool, bool], *, preempts: bool) -> bool:
        """Whether a pending Pod of the group may fit after a node lost a taint or a Pod.

        It may fit on that node, or on another one if its placement depends on other Pods. `lost`: whether the
        node still has its NoSchedule and NoExecute taints.
        """
        rules = self.board.rules(group)
        if rules.minds_others:
            return True
        standing, spec = rules.standing, group.spec
        if not standing.allows[node] or any(map(and_, standing.minds, lost)):
            return False
        return self._has_room(spec, node) or (preempts and any(self._below(spec.priority, node)))

    # -- resources -------------------------------------------------------------------------------------------

    def _room(self, group: PodGroup) -> _Room:
        """Return which nodes have room for a Pod of the group, and how they score."""
        requests = self.board.rules(group).requests
        found = self._rooms.get(requests)
        if found is None:
            found = self._rooms[requests] = self._first_room(group.spec, requests)
        if found.upto < len(self._changes):
            for node in set(self._changes[found.upto :]):
                found.fits[node] = self._has_room(group.spec, node)
                found.scores[node] = self._score(requests, node)
            found.upto = len(self._changes)
        return found

    def _first_room(self, spec: PodSpec, requests: Requests) -> _Room:
        """Return the room before the cut, which all simulations share, with the nodes changed since to be updated."""
        shared = self.board.rooms
        if requests not in shared:
            start = Placement(self.board, self._draw) if self._changes else self
            nodes = range(len(self.board.nodes))
            shared[requests] = (
                [start._has_room(spec, node) for node in nodes],
                [start._score(requests, node) for node in nodes],
            )
        fits, scores = shared[requests]
        return _Room(list(fits), list(scores))

    def _has_room(self, spec: PodSpec, node: int) -> bool:
        """Source: plugins/noderesources/fit.go, `fitsRequest`."""
        held, given = self.board.nodes[node], spec.requests
        if self._pods[node] >= held.max_pods:
            return False
        if given.cpu_m and self._cpu[node] + given.cpu_m > held.allocatable.cpu_m:
            return False
        if given.memory_bytes and self._memory[node] + given.memory_bytes > held.allocatable.memory_bytes:
            return False
        return not given.extended or self._extended_fit(spec, node)

    def _extended_fit(self, spec: PodSpec, node: int) -> bool:
        there = dict(self.board.nodes[node].allocatable.extended)
        return all(
            self.board.extended.get((node, name), 0) + self._extended.get((node, name), 0) + amount
            <= there.get(name, 0)
            for name, amount in spec.requests.extended
        )

    def _ports_free(self, group: PodGroup, node: int) -> bool:
        """Source: plugins/nodeports."""
        return not any(self._counts(other).get(node, 0) > 0 for other in self.board.rules(group).ports_of)

    def _score(self, requests: Requests, node: int) -> int:
        """Return least allocated plus balanced allocation, each with weight 1 (plugins/noderesources)."""
        (given, scored), held = requests, self.board.nodes[node].allocatable
        least = (
            _least(self._scored_cpu[node] + scored.cpu_m, held.cpu_m)
            + _least(self._scored_memory[node] + scored.memory_bytes, held.memory_bytes)
        ) // 2
        if not given.cpu_m and not given.memory_bytes:
            return least
        cpu = min(1.0, (self._cpu[node] + given.cpu_m) / max(1, held.cpu_m))
        memory = min(1.0, (self._memory[node] + given.memory_bytes) / max(1, held.memory_bytes))
        return least + int((1 - abs(cpu - memory) / 2) * BEST)

    # -- preemption ------------------------------------------------------------------------------------------

    def preemptions(self, group: PodGroup, closed: Collection[int]) -> dict[int, list[PodGroup]]:
        """Return node -> groups of the Pods to evict there, lowest priority first, so that a Pod of the group fits.

        Source: plugins/defaultpreemption/default_preemption.go (`SelectVictimsOnNode`), without disruption
        budgets.
        """
        spec = group.spec
        if not spec.may_preempt or spec.priority <= self.board.lowest_priority:
            return {}
        allowed = self.board.rules(group).standing.allowed
        found = ((node, self._victims(group, node)) for node in allowed if node not in closed)
        return {node: victims for node, victims in found if victims}

    def _victims(self, group: PodGroup, node: int) -> list[PodGroup]:
        """Return the Pods to evict; empty if the Pod already fits, or does not fit even then."""
        taken: list[PodGroup] = []
        for other in self._below(group.spec.priority, node):
            if self._is_free(group, node):
                break
            self._shift(other, node, -1)
            taken.append(other)
        enough = bool(taken) and self._is_free(group, node)
        for other in taken:
            self._shift(other, node, 1)
        return taken if enough else []

    def _is_free(self, group: PodGroup, node: int) -> bool:
        return self._has_room(group.spec, node) and self._ports_free(group, node)

    def _below(self, priority: int, node: int) -> Iterator[PodGroup]:
        """Yield the group of each staying Pod on a node with lower priority, lowest first."""
        if node not in self._ranked:
            counts = Counter(self.board.on.get(node, {}))
            counts.update(self._stay.get(node, {}))
            ranked = sorted(counts, key=lambda group: (group.spec.priority, group.turn))
            self._ranked[node] = [group for group in ranked for _ in range(counts[group])]
        return takewhile(lambda group: group.spec.priority < priority, self._ranked[node])

    # -- filters ---------------------------------------------------------------------------------------------

    def feasible(self, group: PodGroup, closed: Collection[int] = ()) -> list[int]:
        """Return nodes that pass the filters, as many as the scheduler looks for."""
        rules, fits = self.board.rules(group), self._room(group).fits
        allowed = rules.standing.allowed
        wanted = _wanted(len(self.board.nodes))
        if wanted < len(allowed):
            start = self._draw.random.randrange(len(allowed))
            allowed = allowed[start:] + allowed[:start]
        found: Iterator[int] = filter(fits.__getitem__, allowed)
        if closed:
            found = filterfalse(closed.__contains__, found)
        if rules.minds_others or rules.ports_of:
            found = self._suiting(group, found, closed)
        return list(islice(found, wanted))

    def _suiting(self, group: PodGroup, nodes: Iterator[int], closed: Collection[int]) -> Iterator[int]:
        """Yield the nodes that the rules about other Pods allow."""
        rules = self.board.rules(group)
        if rules.ports_of:
            nodes = filter(lambda node: self._ports_free(group, node), nodes)
        if rules.required or rules.forbidden:
            nodes = self._affinity(group).allowed(nodes)
        for limit in rules.limits:
            nodes = _within(nodes, limit.values, self._open_domains(limit, closed))
        return nodes

    def _open_domains(self, limit: SpreadRule, closed: Collection[int]) -> set[str | None]:
        """Return the domains that may take another Pod by a required spread constraint (filtering.go)."""
        spread, places = limit.spread, limit.places
        counted = {places[node] for node in places if not (spread.honours_taints and node in closed)}
        domains = self._domains(limit, closed)
        enough = len(counted) >= spread.min_domains
        least = min((domains.get(domain, 0) for domain in counted), default=0) if enough else 0
        most = spread.max_skew + least - limit.itself
        return {domain for domain in {*limit.values} - {None} if domains.get(domain, 0) <= most}

    def _domains(self, rule: SpreadRule, closed: Collection[int]) -> dict[str | None, int]:
        """Return domain -> number of Pods that a constraint counts there, 0 if missing."""
        domains: dict[str | None, int] = {}
        places, honours_taints = rule.places, rule.spread.honours_taints
        for node, count in self._staying_of(rule.counted).items():
            if node in places and not (honours_taints and node in closed):
                domains[places[node]] = domains.get(places[node], 0) + count
        return domains

    def _affinity(self, group: PodGroup) -> _Affinity:
        """Return the effect of the Pods present; known until a Pod comes or goes that it counts."""
        rules, found = self.board.rules(group), self._affinities.get(group)
        if found is None or found.rules is not rules:
            found = self._affinities[group] = _Affinity(rules, self._by_value)
            for other in rules.involved:
                self._involves.setdefault(other, []).append(group)
        return found

    def _by_value(self, rule: AffinityRule) -> dict[str, int]:
        """Return label value -> weighted number of the Pods that a rule matches."""
        found: dict[str, int] = {}
        for group in rule.matched:
            for node, count in self._counts(group).items():
                value = rule.values[node]
                if value is not None and count > 0:
                    found[value] = found.get(value, 0) + rule.weight * count
        return found

    # -- scores ----------------------------------------------------------------------------------------------

    def best(self, group: PodGroup, nodes: Sequence[int], closed: Collection[int] = ()) -> list[int]:
        """Return the nodes with the highest score; the scheduler takes any of them.

        A score that is the same on all nodes is left out.
        """
        if len(nodes) < 2:
            return list(nodes)
        rules, scores = self.board.rules(group), self._room(group).scores
        standing = rules.standing
        totals = _at(scores, nodes)
        if standing.unloved:
            totals = _plus(totals, _reversed(_at(standing.unloved, nodes)), TAINTS_WEIGHT)
        if standing.wishes:
            totals = _plus(totals, _scaled(_at(standing.wishes, nodes)), AFFINITY_WEIGHT)
        if rules.wishes:
            totals = list(map(add, totals, self._spread_scores(rules, nodes, closed)))
        if rules.preferred:
            totals = _plus(totals, self._affinity(group).scores(nodes), PODS_WEIGHT)
        highest = max(totals)
        return [node for node, total in zip(nodes, totals, strict=True) if total == highest]

    def _spread_scores(self, rules: GroupRules, nodes: Sequence[int], closed: Collection[int]) -> list[int]:
        """Return each node's weighted spread score (scoring.go): fewer matching Pods in its domain are better.

        Nodes with the same counts have the same score.
        """
        labelled = nodes
        if rules.is_partial:
            columns = [rule.values for rule in rules.wishes]
            labelled = [node for node in nodes if all(values[node] is not None for values in columns)]
        terms = [self._spread_term(rule, labelled, closed) for rule in rules.wishes]
        rows = list(zip(*(term.counts(nodes) for term in terms), strict=True))
        distinct = set(rows)
        out = {row for row in distinct if None in row} if rules.is_partial else set()
        raw = {row: round(_sum(row, terms)) for row in distinct - out}
        low, high = min(raw.values(), default=0), max(raw.values(), default=0)
        scores = {row: BEST * (high + low - score) // high if high else BEST for row, score in raw.items()}
        weighted = {row: SPREAD_WEIGHT * scores.get(row, 0) for row in distinct}
        return list(map(weighted.__getitem__, rows))

    def _spread_term(self, rule: SpreadRule, labelled: Sequence[int], closed: Collection[int]) -> _SpreadTerm:
        if rule.spread.topology_key == HOSTNAME:
            counts = self._staying_of(rule.counted)
            return _SpreadTerm(
                rule.values, rule.on_all, None, counts, log(len(labelled) + 2), rule.spread.max_skew
            )
        size = len(set(_at(rule.values, labelled)))
        domains = self._domains(rule, closed)
        return _SpreadTerm(rule.values, rule.on_all, domains, {}, log(size + 2), rule.spread.max_skew)


class _Room:
    """Which nodes have room for Pods with certain requests, and how they score; `upto`: changes considered."""

    __slots__ = ("fits", "scores", "upto")

    def __init__(self, fits: list[bool], scores: list[int]) -> None:
        self.fits, self.scores, self.upto = fits, scores, 0


class _SpreadTerm(NamedTuple):
    """A preferred spread constraint at one moment: the Pods by domain, or on each host if `domains` is None."""

    values: Sequence[str | None]
    on_all: bool
    domains: dict[str | None, int] | None
    hosts: Mapping[int, int]
    weight: float
    max_skew: int

    def counts(self, nodes: Sequence[int]) -> Iterable[int | None]:
        """Return the number of Pods that count for each node, None for one without the label."""
        values, domains, hosts = self.values, self.domains, self.hosts
        if self.on_all:
            if domains is None:
                return map(hosts.get, nodes, repeat(0))
            return map(domains.get, map(values.__getitem__, nodes), repeat(0))
        if domains is None:
            return [None if values[node] is None else hosts.get(node, 0) for node in nodes]
        return [None if (value := values[node]) is None else domains.get(value, 0) for node in nodes]


def _sum(row: Iterable[int | None], terms: Iterable[_SpreadTerm]) -> float:
    score = 0.0
    for count, term in zip(row, terms, strict=True):
        if count is not None:
            score += count * term.weight + term.max_skew - 1
    return score


class _Affinity:
    """The effect of existing Pods on a new Pod of a group; valid until a Pod that counts is added or removed."""

    def __init__(self, rules: GroupRules, by_value: Callable[[AffinityRule], dict[str, int]]) -> None:
        self.rules = rules
        required = [by_value(rule) for rule in rules.required]
        self._required = [
            (rule.values, {*counts}) for rule, counts in zip(rules.required, required, strict=True)
        ]
        # the first Pod of a group with affinity to itself may go anywhere (`satisfyPodAffinity`)
        self._is_first = all(
            not counts and rule.itself for rule, counts in zip(rules.required, required, strict=True)
        )
        self._forbidden = [(rule.values, {*by_value(rule)}) for rule in rules.forbidden]
        weights: dict[str, Counter[str]] = defaultdict(Counter)
        columns = {rule.key: rule.values for rule in rules.preferred}
        for rule in rules.preferred:
            weights[rule.key].update(by_value(rule))
        self._columns = [(columns[key], counts) for key, counts in weights.items() if counts]

    def allowed(self, nodes: Iterator[int]) -> Iterator[int]:
        """Yield the nodes that the required rules allow."""
        for values, taken in self._forbidden:
            nodes = _without(nodes, values, taken)
        for values, there in self._required:
            nodes = _without(nodes, values, {None}) if self._is_first else _within(nodes, values, there)
        return nodes

    def scores(self, nodes: Sequence[int]) -> list[int]:
        """Return the score of each node for the preferred rules."""
        if not self._columns:
            return [0] * len(nodes)
        raw = [
            sum(counts[value] for values, counts in self._columns if (value := values[node]))
            for node in nodes
        ]
        low, high = min(raw), max(raw)
        return [BEST * (score - low) // (high - low) if high > low else 0 for score in raw]


def _within(
    nodes: Iterable[int], values: Sequence[str | None], good: Collection[str | None]
) -> Iterator[int]:
    return (node for node in nodes if values[node] in good)


def _without(
    nodes: Iterable[int], values: Sequence[str | None], bad: Collection[str | None]
) -> Iterator[int]:
    return (node for node in nodes if values[node] not in bad)


def _at(values: Sequence[Value], nodes: Iterable[int]) -> list[Value]:
    return list(map(values.__getitem__, nodes))


def _plus(totals: Sequence[int], scores: Sequence[int], weight: int) -> list[int]:
    return [total + weight * score for total, score in zip(totals, scores, strict=True)]


def _wanted(nodes: int) -> int:
    """Return `numFeasibleNodesToFind`: 50 % of the nodes minus 1 % per 125 nodes, at least 5 % and 100 nodes."""
    if nodes < ALL_NODES_BELOW:
        return nodes
    return max(ALL_NODES_BELOW, nodes * max(5, 50 - nodes // 125) // 100)


def _least(asked: int, held: int) -> int:
    return 0 if held <= 0 or asked > held else (held - asked) * BEST // held


def _scaled(scores: Sequence[int]) -> list[int]:
    """plugins/helper/normalize_score.go."""
    highest = max(scores)
    return [score * BEST // highest for score in scores] if highest else list(scores)


def _reversed(scores: Sequence[int]) -> list[int]:
    highest = max(scores)
    return [BEST - score * BEST // highest for score in scores] if highest else [BEST] * len(scores)
