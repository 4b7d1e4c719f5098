"""The scheduler: which nodes a Pod may go to, which it prefers, and when it stays pending.

Source: Kubernetes v1.34 pkg/scheduler (schedule_one.go: `selectHost`, `numFeasibleNodesToFind`) and its
default plugins in framework/plugins with their weights (apis/config/v1/default_plugins.go). Image locality is
not modelled, because a snapshot does not say which node has which image.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice, takewhile
from operator import and_
from typing import TYPE_CHECKING

from chaosext.rehearsal.simulate import scheduler_cache
from chaosext.rehearsal.simulate.scheduler_cache import ExistingAffinity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from chaosext.rehearsal.simulate.samples import Draw
    from chaosext.rehearsal.simulate.scheduler_cache import Board, NodeStanding, PodGroup
    from chaosext.rehearsal.snapshot.world import PodSpec

TAINTS_WEIGHT, AFFINITY_WEIGHT, SPREAD_WEIGHT, PODS_WEIGHT = 3, 2, 2, 2
BEST = 100

ALL_NODES_BELOW = 100
"""`minFeasibleNodesToFind`: up to this many feasible nodes, all are compared."""


class Placement:
    """Placement of Pods in one simulation: the board, plus changes."""

    def __init__(self, board: Board, draw: Draw) -> None:
        self.board, self._draw = board, draw
        self._cpu, self._memory, self._pods = list(board.cpu), list(board.memory), list(board.pods)
        self._scored_cpu, self._scored_memory = list(board.scored_cpu), list(board.scored_memory)
        self._extended: dict[tuple[int, str], int] = {}
        self._moved: dict[PodGroup, Counter[int]] = {}
        self._leaving: dict[PodGroup, Counter[int]] = {}
        self._stay: dict[int, Counter[PodGroup]] = defaultdict(Counter)  # node -> change of its staying Pods
        self._ranked: dict[int, list[PodGroup]] = {}
        self._changed: set[int] = set()
        self._affinities: dict[PodGroup, ExistingAffinity] = {}

    def add(self, group: PodGroup, node: int, by: int = 1) -> None:
        """Add a Pod to a node, or remove one with `by` -1."""
        self._shift(group, node, by)
        self._stay[node][group] += by
        self._ranked.pop(node, None)
        self._changed.add(node)
        self._affinities.clear()

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
        self._moved.setdefault(group, Counter())[node] += by

    def leave(self, group: PodGroup, node: int, by: int = 1) -> None:
        """Mark a Pod there as Terminating: it still uses resources, but topology spreading does not count it."""
        self._leaving.setdefault(group, Counter())[node] += by
        self._stay[node][group] -= by
        self._ranked.pop(node, None)

    def counts(self, group: PodGroup, *, staying: bool = False) -> Counter[int]:
        """Return node -> number of the group's Pods; `staying` excludes Terminating ones."""
        found = self.board.where.get(group) or Counter()
        changes = [self._moved.get(group)] + ([_negative(self._leaving.get(group))] if staying else [])
        for change in filter(None, changes):
            found = Counter(found)
            found.update(change)
        return found

    def _count_on(self, group: PodGroup, node: int) -> int:
        there, moved = self.board.where.get(group), self._moved.get(group)
        return (there[node] if there else 0) + (moved[node] if moved else 0)

    def may_help(self, group: PodGroup, node: int, lost: tuple[bool, bool], *, preempts: bool) -> bool:
        """Whether a pending Pod of the group may fit after a node lost a taint or a Pod.

        It may fit on that node, or on another one if its placement depends on other Pods. `lost`: whether the
        node still has its NoSchedule and NoExecute taints.
        """
        if self.board.minds_others(group):
            return True
        spec = group.spec
        if not self._has_room(spec, node) and not (preempts and any(self._below(spec.priority, node))):
            return False
        standing = self.board.standing(spec)
        return standing.allows[node] and not any(map(and_, standing.minds, lost))

    def _fits(self, standing: NodeStanding, spec: PodSpec, node: int) -> bool:
        """Whether the node has the Pod's resources and host ports; resources are cached until the node changes.

        Source: plugins/noderesources/fit.go, `fitsRequest`; plugins/nodeports.
        """
        found = None if node in self._changed else standing.fits[node]
        if found is None:
            found = self._has_room(spec, node)
            if node not in self._changed:
                standing.fits[node] = found
        return found and (not spec.host_ports or self._ports_free(spec, node))

    def _has_room(self, spec: PodSpec, node: int) -> bool:
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

    def _ports_free(self, spec: PodSpec, node: int) -> bool:
        wanted = set(spec.host_ports)
        return not any(
            wanted & set(group.spec.host_ports) and self._count_on(group, node) > 0
            for group in self.board.with_ports
        )

    # -- preemption ----------------------------------------------------------------------------------------

    def preemptions(self, group: PodGroup, is_closed: Callable[[int], bool]) -> dict[int, list[PodGroup]]:
        """Return node -> groups of the Pods to evict there, lowest priority first, so that a Pod of the group fits.

        Source: plugins/defaultpreemption/default_preemption.go (`SelectVictimsOnNode`), without disruption
        budgets.
        """
        spec = group.spec
        if not spec.may_preempt or spec.priority <= self.board.lowest_priority:
            return {}
        allowed = self.board.standing(spec).allowed
        found = ((node, self._victims(spec, node)) for node in allowed if not is_closed(node))
        return {node: victims for node, victims in found if victims}

    def _victims(self, spec: PodSpec, node: int) -> list[PodGroup]:
        """Return the Pods to evict; empty if the Pod already fits, or does not fit even then."""
        taken: list[PodGroup] = []
        for group in self._below(spec.priority, node):
            if self._is_free(spec, node):
                break
            self._shift(group, node, -1)
            taken.append(group)
        enough = self._is_free(spec, node)
        for group in taken:
            self._shift(group, node, 1)
        return taken if enough else []

    def _is_free(self, spec: PodSpec, node: int) -> bool:
        return self._has_room(spec, node) and (not spec.host_ports or self._ports_free(spec, node))

    def _below(self, priority: int, node: int) -> Iterator[PodGroup]:
        """Yield the group of each staying Pod on a node with lower priority, lowest first."""
        if node not in self._ranked:
            counts = Counter(self.board.on.get(node, {}))
            counts.update(self._stay.get(node, {}))
            ranked = sorted(counts, key=lambda group: (group.spec.priority, group.turn))
            self._ranked[node] = [group for group in ranked for _ in range(counts[group])]
        return takewhile(lambda group: group.spec.priority < priority, self._ranked[node])

    # -- one Pod -------------------------------------------------------------------------------------------

    def feasible(self, group: PodGroup, is_closed: Callable[[int], bool]) -> list[int]:
        """Return nodes that pass the filters, as many as the scheduler looks for. `is_closed`: tainted by now."""
        spec, standing = group.spec, self.board.standing(group.spec)
        allowed, wanted = standing.allowed, _wanted(len(self.board.nodes))
        if wanted < len(allowed):
            start = self._draw.random.randrange(len(allowed))
            allowed = allowed[start:] + allowed[:start]
        suits = self._suits(group, is_closed)
        found = (
            node
            for node in allowed
            if not is_closed(node) and self._fits(standing, spec, node) and suits(node)
        )
        return list(islice(found, wanted))

    def _suits(self, group: PodGroup, is_closed: Callable[[int], bool]) -> Callable[[int], bool]:
        """Return a function that tests whether placement rules about other Pods allow a node."""
        affinity, nodes = self._affinity(group), self.board.nodes
        limits = [
            scheduler_cache.Limit(self, group, spread, is_closed)
            for spread in group.spec.spreads
            if spread.required
        ]
        if not limits and not affinity.minds:
            return lambda _: True
        return lambda node: (
            affinity.allows(nodes[node].labels) and all(each.allows(nodes[node].labels) for each in limits)
        )

    def _affinity(self, group: PodGroup) -> ExistingAffinity:
        if group not in self._affinities:
            self._affinities[group] = ExistingAffinity(self, group)
        return self._affinities[group]

    def best(self, group: PodGroup, nodes: Sequence[int], is_closed: Callable[[int], bool]) -> list[int]:
        """Return the nodes with the highest score; the scheduler takes any of them."""
        if len(nodes) < 2:
            return list(nodes)
        totals = self._totals(group, nodes, is_closed)
        highest = max(totals)
        return [node for node, total in zip(nodes, totals, strict=True) if total == highest]

    def _totals(self, group: PodGroup, nodes: Sequence[int], is_closed: Callable[[int], bool]) -> list[int]:
        standing = self.board.standing(group.spec)
        each = zip(
            nodes,
            _reversed([standing.unloved[node] for node in nodes]),
            _scaled([standing.wishes[node] for node in nodes]),
            scheduler_cache.scores(self, group, nodes, is_closed),
            self._affinity(group).scores(nodes),
            strict=True,
        )
        return [
            TAINTS_WEIGHT * taints
            + AFFINITY_WEIGHT * wishes
            + SPREAD_WEIGHT * spread
            + PODS_WEIGHT * pods
            + self._room(standing, group.spec, node)
            for node, taints, wishes, spread, pods in each
        ]

    def _room(self, standing: NodeStanding, spec: PodSpec, node: int) -> int:
        """Return the resource score of the node, cached until something on the node changes."""
        if node in self._changed:
            return self._room_now(spec, node)
        found = standing.room[node]
        if found is None:
            standing.room[node] = found = self._room_now(spec, node)
        return found

    def _room_now(self, spec: PodSpec, node: int) -> int:
        """Return least allocated plus balanced allocation, each with weight 1 (plugins/noderesources)."""
        scored, held = spec.scored_requests or spec.requests, self.board.nodes[node].allocatable
        least = (
            _least(self._scored_cpu[node] + scored.cpu_m, held.cpu_m)
            + _least(self._scored_memory[node] + scored.memory_bytes, held.memory_bytes)
        ) // 2
        given = spec.requests
        if not given.cpu_m and not given.memory_bytes:
            return least
        cpu = min(1.0, (self._cpu[node] + given.cpu_m) / max(1, held.cpu_m))
        memory = min(1.0, (self._memory[node] + given.memory_bytes) / max(1, held.memory_bytes))
        return least + int((1 - abs(cpu - memory) / 2) * BEST)


def _negative(counts: Counter[int] | None) -> Counter[int] | None:
    return counts and Counter({node: -count for node, count in counts.items()})


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
