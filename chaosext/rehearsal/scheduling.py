"""The scheduler: which nodes a Pod may go to, which one it prefers, and where it stays pending.

Source: Kubernetes v1.34 pkg/scheduler (schedule_one.go: `selectHost`, `numFeasibleNodesToFind`) and its default plugins
in framework/plugins with their weights (apis/config/v1/default_plugins.go). Image locality isn't played: which image
lies where is not in a snapshot.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

from chaosext.rehearsal.eviction import UNSCHEDULABLE, admits, tolerates
from chaosext.rehearsal.selection import fits_node, fits_term, is_over, selects
from chaosext.rehearsal.world import LabelSelector, PodTerm, Requirement, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.chance import Draw
    from chaosext.rehearsal.world import Node, Pod, PodSpec, World

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"

TAINTS_WEIGHT, AFFINITY_WEIGHT, SPREAD_WEIGHT, PODS_WEIGHT = 3, 2, 2, 2
BEST = 100

DEFAULT_SPREADS = ((HOSTNAME, 3), (ZONE, 5))
"""plugins/podtopologyspread/plugin.go, `systemDefaultConstraints`: preferred, for Pods that name none."""

ALL_NODES_BELOW = 100
"""`minFeasibleNodesToFind`: up to so many feasible nodes, all of them are compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Pods of one template in one namespace, as selectors see them; compared by identity."""

    namespace: str
    spec: PodSpec


class Board:
    """Nodes and what runs on them before the cut; made once, never changed."""

    def __init__(self, world: World) -> None:
        self.nodes = world.nodes
        self.number = {node.name: number for number, node in enumerate(world.nodes)}
        count = len(world.nodes)
        self.cpu, self.memory, self.pods = [0] * count, [0] * count, [0] * count
        self.scored_cpu, self.scored_memory = [0] * count, [0] * count
        self.extended: dict[tuple[int, str], int] = {}
        self.groups: dict[tuple[str, int], Group] = {}
        self.where: dict[Group, Counter[int]] = defaultdict(Counter)
        self._static: dict[int, tuple[int, ...]] = {}
        for pod in world.pods:
            if not is_over(pod):
                self._place(pod)

    def _place(self, pod: Pod) -> None:
        group, number = self.group(pod.namespace, pod.spec), self.number.get(pod.node)
        if number is None:
            return
        spec, scored = pod.spec, pod.spec.scored_requests or pod.spec.requests
        self.cpu[number] += spec.requests.cpu_m
        self.memory[number] += spec.requests.memory_bytes
        self.pods[number] += 1
        self.scored_cpu[number] += scored.cpu_m
        self.scored_memory[number] += scored.memory_bytes
        for name, amount in spec.requests.extended:
            self.extended[number, name] = self.extended.get((number, name), 0) + amount
        self.where[group][number] += 1

    def group(self, namespace: str, spec: PodSpec) -> Group:
        key = (namespace, id(spec))
        if key not in self.groups:
            self.groups[key] = Group(namespace, spec)
        return self.groups[key]

    def allowed(self, spec: PodSpec) -> tuple[int, ...]:
        """Nodes that selectors, affinity to nodes and lasting taints allow."""
        key = id(spec)
        if key not in self._static:
            self._static[key] = tuple(n for n, node in enumerate(self.nodes) if _allows(node, spec))
        return self._static[key]


def _allows(node: Node, spec: PodSpec) -> bool:
    if node.unschedulable and not admits(spec.tolerations, (UNSCHEDULABLE,)):
        return False
    return admits(spec.tolerations, node.taints) and fits_node(spec.node_selector, spec.affinity, node)


class Placement:
    """Where Pods are in one play: the board, and what changed."""

    def __init__(self, board: Board, draw: Draw) -> None:
        self.board, self._draw = board, draw
        self._cpu, self._memory, self._pods = list(board.cpu), list(board.memory), list(board.pods)
        self._scored_cpu, self._scored_memory = list(board.scored_cpu), list(board.scored_memory)
        self._extended: dict[tuple[int, str], int] = {}
        self._moved: dict[Group, Counter[int]] = {}
        self._leaving: dict[Group, Counter[int]] = {}

    def add(self, group: Group, node: int, by: int = 1) -> None:
        """A Pod more on a node, or one gone with `by` -1."""
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

    def leave(self, group: Group, node: int, by: int = 1) -> None:
        """A Pod there is Terminating: it takes room, and spreading doesn't count it any more."""
        self._leaving.setdefault(group, Counter())[node] += by

    def counts(self, group: Group, *, staying: bool = False) -> Counter[int]:
        """Node -> Pods of the group; with `staying` without Terminating ones."""
        found = self.board.where.get(group) or Counter()
        changes = [self._moved.get(group)] + ([_negative(self._leaving.get(group))] if staying else [])
        for change in filter(None, changes):
            found = Counter(found)
            found.update(change)
        return found

    def free_for(self, spec: PodSpec, node: int) -> bool:
        """plugins/noderesources/fit.go, `fitsRequest`; ports: plugins/nodeports."""
        held, given = self.board.nodes[node], spec.requests
        if self._pods[node] >= held.max_pods:
            return False
        if given.cpu_m and self._cpu[node] + given.cpu_m > held.allocatable.cpu_m:
            return False
        if given.memory_bytes and self._memory[node] + given.memory_bytes > held.allocatable.memory_bytes:
            return False
        return self._extended_fit(spec, node) and self._ports_free(spec, node)

    def _extended_fit(self, spec: PodSpec, node: int) -> bool:
        there = dict(self.board.nodes[node].allocatable.extended)
        return all(
            self.board.extended.get((node, name), 0) + self._extended.get((node, name), 0) + amount
            <= there.get(name, 0)
            for name, amount in spec.requests.extended
        )

    def _ports_free(self, spec: PodSpec, node: int) -> bool:
        if not spec.host_ports:
            return True
        wanted = set(spec.host_ports)
        return not any(
            wanted & set(group.spec.host_ports) and self.counts(group)[node] > 0
            for group in self.board.groups.values()
            if group.spec.host_ports
        )

    def victims(self, spec: PodSpec, node: int) -> list[Group]:
        """Whose Pods would have to go, lowest priority first, so that one of `spec` fits; none where that can't be.

        plugins/defaultpreemption/default_preemption.go (`SelectVictimsOnNode`), without disruption budgets.
        """
        lower = [
            group
            for group in self.board.groups.values()
            for _ in range(self.counts(group, staying=True)[node])
            if group.spec.priority < spec.priority
        ]
        lower.sort(key=lambda group: group.spec.priority)
        taken: list[Group] = []
        while lower and not self.free_for(spec, node):
            taken.append(lower.pop(0))
            self.add(taken[-1], node, -1)
        enough = self.free_for(spec, node)
        for group in taken:
            self.add(group, node)
        return taken if enough else []

    # -- one Pod -------------------------------------------------------------------------------------------

    def feasible(self, group: Group, is_closed: Callable[[int], bool]) -> list[int]:
        """Nodes that the filters leave, as many as the scheduler looks for; `is_closed`: tainted by now."""
        spec = group.spec
        allowed = self.board.allowed(spec)
        wanted = _wanted(len(self.board.nodes))
        if wanted < len(allowed):
            start = self._draw.random.randrange(len(allowed))
            allowed = allowed[start:] + allowed[:start]
        fits = _Pods(self, group).allows
        found: list[int] = []
        for node in allowed:
            if not is_closed(node) and self.free_for(spec, node) and fits(node):
                found.append(node)
                if len(found) >= wanted:
                    break
        return found

    def best(self, group: Group, nodes: Sequence[int]) -> list[int]:
        """Those with the highest score: the scheduler takes any of them."""
        if len(nodes) < 2:
            return list(nodes)
        totals = self._totals(group, nodes)
        highest = max(totals)
        return [node for node, total in zip(nodes, totals, strict=True) if total == highest]

    def _totals(self, group: Group, nodes: Sequence[int]) -> list[int]:
        taints = _reversed([self._unloved(group.spec, node) for node in nodes])
        wishes = _scaled([_preference(group.spec, self.board.nodes[node]) for node in nodes])
        spread, pods = _spread_scores(self, group, nodes), _Pods(self, group).scores(nodes)
        return [
            TAINTS_WEIGHT * taints[at]
            + AFFINITY_WEIGHT * wishes[at]
            + SPREAD_WEIGHT * spread[at]
            + PODS_WEIGHT * pods[at]
            + self._room(group.spec, node)
            for at, node in enumerate(nodes)
        ]

    def _unloved(self, spec: PodSpec, node: int) -> int:
        return sum(
            taint.effect == "PreferNoSchedule"
            and not any(tolerates(each, taint) for each in spec.tolerations)
            for taint in self.board.nodes[node].taints
        )

    def _room(self, spec: PodSpec, node: int) -> int:
        """Least allocated and balanced allocation, each with weight 1 (plugins/noderesources)."""
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
    """`numFeasibleNodesToFind`: half of the nodes less one per cent for each 125, at least 5 % and 100 nodes."""
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


def _preference(spec: PodSpec, node: Node) -> int:
    wishes = spec.affinity.preferred_nodes if spec.affinity else ()
    return sum(weight for weight, term in wishes if fits_term(term, node))


class _Pods:
    """Affinity and anti-affinity between Pods (plugins/interpodaffinity)."""

    def __init__(self, placement: Placement, group: Group) -> None:
        self._placement, self._board, self._group = placement, placement.board, group
        affinity = group.spec.affinity
        self._required = [self._domains(term) for term in affinity.required_pods] if affinity else []
        self._forbidden = [self._domains(term) for term in affinity.forbidden_pods] if affinity else []
        self._guards = list(self._guarded())
        self._spreads = [_Limit(placement, group, spread) for spread in group.spec.spreads if spread.required]

    def _matching(self, term: PodTerm, own: str) -> Iterator[Group]:
        for group in self._board.groups.values():
            if _names(term, own, group.namespace) and selects(term.selector, group.spec.labels):
                yield group

    def _domains(self, term: PodTerm) -> tuple[str, Counter[str], bool]:
        """(topology key, value -> matching Pods, whether the Pod matches its own term)."""
        counts: Counter[str] = Counter()
        for group in self._matching(term, self._group.namespace):
            self._by_value(term.topology_key, group, 1, counts)
        own = _names(term, self._group.namespace, self._group.namespace)
        return term.topology_key, counts, own and selects(term.selector, self._group.spec.labels)

    def _by_value(self, key: str, group: Group, weight: int, into: Counter[str]) -> None:
        for node, count in self._placement.counts(group).items():
            value = self._board.nodes[node].labels.get(key)
            if value is not None and count > 0:
                into[value] += weight * count

    def _guarded(self) -> Iterator[tuple[str, Counter[str]]]:
        """Where other Pods' required anti-affinity keeps this one away."""
        for group in self._board.groups.values():
            for term in group.spec.affinity.forbidden_pods if group.spec.affinity else ():
                if self._is_meant(term, group.namespace):
                    counts: Counter[str] = Counter()
                    self._by_value(term.topology_key, group, 1, counts)
                    yield term.topology_key, counts

    def _is_meant(self, term: PodTerm, own: str) -> bool:
        return _names(term, own, self._group.namespace) and selects(term.selector, self._group.spec.labels)

    def allows(self, node: int) -> bool:
        labels = self._board.nodes[node].labels
        if any(counts[labels[key]] for key, counts in self._guards if key in labels):
            return False
        if any(counts[labels[key]] for key, counts, _ in self._forbidden if key in labels):
            return False
        return self._together(labels) and all(limit.allows(labels) for limit in self._spreads)

    def _together(self, labels: Mapping[str, str]) -> bool:
        """The first Pod of a group that wants its own company may go anywhere (filtering.go, `satisfyPodAffinity`)."""
        if any(key not in labels for key, _, _ in self._required):
            return False
        if all(counts[labels[key]] for key, counts, _ in self._required):
            return True
        return all(not counts and itself for _, counts, itself in self._required)

    def scores(self, nodes: Sequence[int]) -> list[int]:
        weights: dict[str, Counter[str]] = defaultdict(Counter)
        for weight, term in self._wishes():
            for group in self._matching(term, self._group.namespace):
                self._by_value(term.topology_key, group, weight, weights[term.topology_key])
        for group in self._board.groups.values():
            for weight, term in _others_wishes(group.spec):
                if self._is_meant(term, group.namespace):
                    self._by_value(term.topology_key, group, weight, weights[term.topology_key])
        labels = [self._board.nodes[node].labels for node in nodes]
        raw = [sum(counts[each[key]] for key, counts in weights.items() if key in each) for each in labels]
        low, high = min(raw), max(raw)
        return [BEST * (score - low) // (high - low) if high > low else 0 for score in raw]

    def _wishes(self) -> Iterator[tuple[int, PodTerm]]:
        affinity = self._group.spec.affinity
        if affinity:
            yield from affinity.preferred_pods
            yield from ((-weight, term) for weight, term in affinity.avoided_pods)


def _others_wishes(spec: PodSpec) -> Iterator[tuple[int, PodTerm]]:
    """What a Pod that is already there wishes for others; a required affinity counts 1 (`HardPodAffinityWeight`)."""
    if spec.affinity:
        yield from ((1, term) for term in spec.affinity.required_pods)
        yield from spec.affinity.preferred_pods
        yield from ((-weight, term) for weight, term in spec.affinity.avoided_pods)


def _names(term: PodTerm, own: str, namespace: str) -> bool:
    if not term.namespaces:
        return own == namespace
    return namespace in term.namespaces or term.namespaces == ("*",)


# -- topology spread -------------------------------------------------------------------------------------------


def _spread_counts(placement: Placement, group: Group, spread: Spread) -> Counter[int]:
    """Node -> Pods of the group's namespace that the constraint counts."""
    counts: Counter[int] = Counter()
    for other in placement.board.groups.values():
        if other.namespace == group.namespace and selects(spread.selector, other.spec.labels):
            counts.update(placement.counts(other, staying=True))
    return counts


class _Limit:
    """A constraint that must hold (plugins/podtopologyspread/filtering.go)."""

    __slots__ = ("_domains", "_itself", "_least", "_spread")

    def __init__(self, placement: Placement, group: Group, spread: Spread) -> None:
        self._spread, self._domains = spread, _domains_of(placement, group, spread)
        self._itself = selects(spread.selector, group.spec.labels)
        self._least = min(self._domains.values(), default=0)

    def allows(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self._spread.topology_key)
        if value is None:
            return False
        return self._domains[value] + self._itself - self._least <= self._spread.max_skew


def _domains_of(placement: Placement, group: Group, spread: Spread) -> Counter[str]:
    """Value -> Pods, over the nodes that the constraint's inclusion policies count."""
    counts, domains = _spread_counts(placement, group, spread), Counter[str]()
    for number, node in enumerate(placement.board.nodes):
        value = node.labels.get(spread.topology_key)
        if value is not None and _included(node, group.spec, spread):
            domains[value] += counts[number]
    return domains


def _included(node: Node, spec: PodSpec, spread: Spread) -> bool:
    if spread.honours_affinity and not fits_node(spec.node_selector, spec.affinity, node):
        return False
    return not spread.honours_taints or admits(spec.tolerations, node.taints)


def _preferred_spreads(group: Group) -> Iterable[Spread]:
    """Its own, or the scheduler's default ones, which count Pods of the same template."""
    if group.spec.spreads:
        return [spread for spread in group.spec.spreads if not spread.required]
    if not group.spec.labels:
        return ()
    labels = tuple(
        Requirement(key=k, operator="In", values=(v,)) for k, v in sorted(group.spec.labels.items())
    )
    selector = LabelSelector(requirements=labels)
    return [
        Spread(max_skew=skew, topology_key=key, required=False, selector=selector)
        for key, skew in DEFAULT_SPREADS
    ]


def _spread_scores(placement: Placement, group: Group, nodes: Sequence[int]) -> list[int]:
    """plugins/podtopologyspread/scoring.go: fewer Pods of the kind in a node's domain are better."""
    spreads = list(_preferred_spreads(group))
    if not spreads:
        return [0] * len(nodes)
    own = bool(group.spec.spreads)
    labels = [placement.board.nodes[node].labels for node in nodes]
    ignored = [own and any(spread.topology_key not in each for spread in spreads) for each in labels]
    raw = [0.0] * len(nodes)
    for spread in spreads:
        _add_spread(placement, group, spread, nodes, ignored, raw)
    return _spread_normalised([round(score) for score in raw], ignored)


def _add_spread(
    placement: Placement,
    group: Group,
    spread: Spread,
    nodes: Sequence[int],
    ignored: Sequence[bool],
    raw: list[float],
) -> None:
    key = spread.topology_key
    counts = _spread_counts(placement, group, spread)
    values = [placement.board.nodes[node].labels.get(key) for node in nodes]
    domains: Counter[str] = Counter()
    if key != HOSTNAME:
        domains = _domains_of(placement, group, spread)
        size = len({value for value, out in zip(values, ignored, strict=True) if not out})
    else:
        size = len(nodes) - sum(ignored)
    weight = log(size + 2)
    for at, (node, value) in enumerate(zip(nodes, values, strict=True)):
        if value is not None and not ignored[at]:
            count = counts[node] if key == HOSTNAME else domains[value]
            raw[at] += count * weight + spread.max_skew - 1


def _spread_normalised(scores: Sequence[int], ignored: Sequence[bool]) -> list[int]:
    kept = [score for score, out in zip(scores, ignored, strict=True) if not out]
    low, high = min(kept, default=0), max(kept, default=0)
    return [
        0 if out else BEST * (high + low - score) // high if high else BEST
        for score, out in zip(scores, ignored, strict=True)
    ]
