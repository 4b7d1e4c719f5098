"""The scheduler's input: nodes, their Pods before the cut, and everything that all simulations share."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import TYPE_CHECKING, Protocol

from chaosext.rehearsal.simulate.roster import rows_of
from chaosext.rehearsal.simulate.taints import NO_EXECUTE, NO_SCHEDULE, UNSCHEDULABLE, admits, tolerates
from chaosext.rehearsal.snapshot.node_patterns import fits_node, fits_term, selects
from chaosext.rehearsal.snapshot.world import HOSTNAME, ZONE, LabelSelector, Requirement, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.simulate.roster import Roster
    from chaosext.rehearsal.snapshot.world import Node, Pod, PodSpec, PodTerm, World


@dataclass(frozen=True, slots=True, eq=False)
class PodGroup:
    """Pods of one template in one namespace, as selectors see them; compared by identity. `turn`: first seen."""

    namespace: str
    spec: PodSpec
    turn: int


class Board:
    """Nodes and their Pods before the cut. Placements in it never change; groups may be added."""

    def __init__(self, world: World) -> None:
        self.nodes = world.nodes
        self.number = {node.name: number for number, node in enumerate(world.nodes)}
        count = len(world.nodes)
        self.cpu, self.memory, self.pods = [0] * count, [0] * count, [0] * count
        self.scored_cpu, self.scored_memory = [0] * count, [0] * count
        self.extended: dict[tuple[int, str], int] = {}
        self.groups: dict[tuple[str, int], PodGroup] = {}
        self.with_affinity: list[PodGroup] = []
        self.with_ports: list[PodGroup] = []
        self.where: dict[PodGroup, Counter[int]] = defaultdict(Counter)
        self.lowest_priority = 0
        """Lowest priority of all groups, at most 0."""
        self._standings: dict[int, NodeStanding] = {}
        self.rosters: dict[frozenset[str], Roster] = {}
        """Workloads and Services, by the quorums that a plan names."""
        self._values: dict[str, list[str | None]] = {}
        self._kin: dict[tuple[str, LabelSelector], tuple[PodGroup, ...]] = {}
        self._minding: dict[PodGroup, bool] = {}
        self.rows = rows_of(world.pods)
        for row, pods in self.rows.items():
            self._place(self.group(row[0], pods[0].spec), pods)

    def _place(self, group: PodGroup, pods: Sequence[Pod]) -> None:
        """Place Pods of one group."""
        spec, scored = group.spec, group.spec.scored_requests or group.spec.requests
        cpu_m, memory_bytes, where = spec.requests.cpu_m, spec.requests.memory_bytes, self.where[group]
        for number in map(self.number.get, [pod.node for pod in pods]):
            if number is None:
                continue
            self.cpu[number] += cpu_m
            self.memory[number] += memory_bytes
            self.pods[number] += 1
            self.scored_cpu[number] += scored.cpu_m
            self.scored_memory[number] += scored.memory_bytes
            where[number] += 1
            for name, amount in spec.requests.extended:
                self.extended[number, name] = self.extended.get((number, name), 0) + amount

    def group(self, namespace: str, spec: PodSpec) -> PodGroup:
        key = (namespace, id(spec))
        if key not in self.groups:
            self.groups[key] = made = PodGroup(namespace, spec, len(self.groups))
            self._kin.clear()
            self._minding.clear()
            self.lowest_priority = min(self.lowest_priority, spec.priority)
            if spec.affinity:
                self.with_affinity.append(made)
            if spec.host_ports:
                self.with_ports.append(made)
        return self.groups[key]

    @cached_property
    def on(self) -> Mapping[int, Mapping[PodGroup, int]]:
        """Node -> number of Pods of each group; nodes without Pods are missing."""
        found: dict[int, dict[PodGroup, int]] = defaultdict(dict)
        for group, counts in self.where.items():
            for node, count in counts.items():
                found[node][group] = count
        return dict(found)

    def kin(self, namespace: str, selector: LabelSelector | None) -> tuple[PodGroup, ...]:
        """Return the groups of a namespace that a selector matches."""
        if selector is None:
            return ()
        key = (namespace, selector)
        if key not in self._kin:
            self._kin[key] = tuple(
                group
                for group in self.groups.values()
                if group.namespace == namespace and selects(selector, group.spec.labels)
            )
        return self._kin[key]

    def minds_others(self, group: PodGroup) -> bool:
        """Whether the placement of other Pods may keep a Pod of the group off a node."""
        if group not in self._minding:
            spec, affinity = group.spec, group.spec.affinity
            self._minding[group] = (
                any(spread.required for spread in spec.spreads)
                or (affinity is not None and bool(affinity.required_pods or affinity.forbidden_pods))
                or any(True for _ in guards(self, group))
            )
        return self._minding[group]

    def values(self, key: str) -> list[str | None]:
        """Return the value of a label on each node, None if it is absent."""
        if key not in self._values:
            self._values[key] = [node.labels.get(key) for node in self.nodes]
        return self._values[key]

    def standing(self, spec: PodSpec) -> NodeStanding:
        """Return the static relation of all nodes to Pods of a template."""
        if id(spec) not in self._standings:
            self._standings[id(spec)] = NodeStanding(self, spec)
        return self._standings[id(spec)]


class NodeStanding:
    """The relation of each node to Pods of one template that all simulations share, by node or by constraint.

    `allows`: whether node selector, node affinity and lasting taints allow the node; `allowed`: the numbers
    of those nodes. `unloved`: number of PreferNoSchedule taints that are not tolerated. `wishes`: sum of
    weights of preferred node affinity. `minds`: whether the NoSchedule and the NoExecute taint of a lost node
    keep such Pods off it. `fits` and `room` are caches, None until first used, and valid while the node is
    unchanged.
    """

    __slots__ = (
        "_board",
        "_places",
        "_spec",
        "allowed",
        "allows",
        "fits",
        "minds",
        "room",
        "unloved",
        "wishes",
    )

    def __init__(self, board: Board, spec: PodSpec) -> None:
        self._board, self._spec = board, spec
        self.allows = [_allows(node, spec) for node in board.nodes]
        self.allowed = tuple(number for number, allowed in enumerate(self.allows) if allowed)
        self.minds = (
            not admits(spec.tolerations, (NO_SCHEDULE,)),
            not admits(spec.tolerations, (NO_EXECUTE,)),
        )
        self.unloved = [_unloved(node, spec) for node in board.nodes]
        self.wishes = [_wish(node, spec) for node in board.nodes]
        self.fits: list[bool | None] = [None] * len(board.nodes)
        self.room: list[int | None] = [None] * len(board.nodes)
        self._places: dict[Spread, dict[int, str]] = {}

    def places(self, spread: Spread) -> dict[int, str]:
        """Return node -> domain, for the nodes that a constraint counts, apart from the taints of the cut."""
        if spread not in self._places:
            keys = {each.topology_key for each in self._spec.spreads if each.required == spread.required}
            self._places[spread] = {
                number: node.labels[spread.topology_key]
                for number, node in enumerate(self._board.nodes)
                if spread.topology_key in node.labels
                and all(key in node.labels for key in keys)
                and _included(node, self._spec, spread)
            }
        return self._places[spread]


def _allows(node: Node, spec: PodSpec) -> bool:
    if node.unschedulable and not admits(spec.tolerations, (UNSCHEDULABLE,)):
        return False
    return admits(spec.tolerations, node.taints) and fits_node(spec.node_selector, spec.affinity, node)


def _unloved(node: Node, spec: PodSpec) -> int:
    return sum(
        taint.effect == "PreferNoSchedule" and not any(tolerates(each, taint) for each in spec.tolerations)
        for taint in node.taints
    )


def _wish(node: Node, spec: PodSpec) -> int:
    wishes = spec.affinity.preferred_nodes if spec.affinity else ()
    return sum(weight for weight, term in wishes if fits_term(term, node))


def _included(node: Node, spec: PodSpec, spread: Spread) -> bool:
    """Apply plugins/podtopologyspread/common.go, `matchNodeInclusionPolicies`."""
    if spread.honours_affinity and not fits_node(spec.node_selector, spec.affinity, node):
        return False
    return not spread.honours_taints or admits(spec.tolerations, node.taints)


BEST = 100


class ExistingAffinity:
    """The effect of existing Pods on a new Pod of `group`; valid until a Pod is added or removed."""

    def __init__(self, placed: Counts, group: PodGroup) -> None:
        self._placed, self._board, self._group = placed, placed.board, group
        affinity = group.spec.affinity
        self._required = [self._domains(term) for term in affinity.required_pods] if affinity else []
        self._forbidden = [self._domains(term)[:2] for term in affinity.forbidden_pods] if affinity else []
        self._forbidden += self._guarded()

    @property
    def minds(self) -> bool:
        """Whether the rules can exclude any node."""
        return bool(self._required or self._forbidden)

    def allows(self, labels: Mapping[str, str]) -> bool:
        """Whether the required rules allow a node with these labels."""
        if any(counts[labels[key]] for key, counts in self._forbidden if key in labels):
            return False
        if any(key not in labels for key, _, _ in self._required):
            return False
        if all(counts[labels[key]] for key, counts, _ in self._required):
            return True
        # the first Pod of a group with affinity to itself may go anywhere (`satisfyPodAffinity`)
        return all(not counts and itself for _, counts, itself in self._required)

    def scores(self, nodes: Sequence[int]) -> list[int]:
        """Return the score of each node for the preferred rules."""
        columns = [(self._board.values(key), counts) for key, counts in self._weights().items() if counts]
        if not columns:
            return [0] * len(nodes)
        raw = [sum(counts[value] for values, counts in columns if (value := values[node])) for node in nodes]
        low, high = min(raw), max(raw)
        return [BEST * (score - low) // (high - low) if high > low else 0 for score in raw]

    def _weights(self) -> Mapping[str, Counter[str]]:
        """Return topology key -> value -> sum of the weights for and against it."""
        weights: dict[str, Counter[str]] = defaultdict(Counter)
        for weight, term in _wishes(self._group.spec):
            for group in self._matching(term):
                self._by_value(term.topology_key, group, weight, weights[term.topology_key])
        for group in self._board.with_affinity:
            for weight, term in _others_wishes(group.spec):
                if self._is_meant(term, group.namespace):
                    self._by_value(term.topology_key, group, weight, weights[term.topology_key])
        return weights

    def _matching(self, term: PodTerm) -> Iterator[PodGroup]:
        spaces = _namespaces(term, self._group.namespace)
        if spaces is None:
            spaces = dict.fromkeys(group.namespace for group in self._board.groups.values())
        for namespace in spaces:
            yield from self._board.kin(namespace, term.selector)

    def _domains(self, term: PodTerm) -> tuple[str, Counter[str], bool]:
        """Return (topology key, value -> number of matching Pods, whether the Pod matches its own term)."""
        counts: Counter[str] = Counter()
        for group in self._matching(term):
            self._by_value(term.topology_key, group, 1, counts)
        return term.topology_key, counts, self._is_meant(term, self._group.namespace)

    def _by_value(self, key: str, group: PodGroup, weight: int, into: Counter[str]) -> None:
        values = self._board.values(key)
        for node, count in self._placed.counts(group).items():
            value = values[node]
            if value is not None and count > 0:
                into[value] += weight * count

    def _guarded(self) -> Iterator[tuple[str, Counter[str]]]:
        """Yield the domains from which other Pods' required anti-affinity excludes this Pod."""
        for group, term in guards(self._board, self._group):
            counts: Counter[str] = Counter()
            self._by_value(term.topology_key, group, 1, counts)
            yield term.topology_key, counts

    def _is_meant(self, term: PodTerm, own: str) -> bool:
        return _is_meant(term, own, self._group)


def guards(board: Board, group: PodGroup) -> Iterator[tuple[PodGroup, PodTerm]]:
    """Yield each group and term of required anti-affinity that matches Pods of `group`."""
    for other in board.with_affinity:
        for term in other.spec.affinity.forbidden_pods if other.spec.affinity else ():
            if _is_meant(term, other.namespace, group):
                yield other, term


def _is_meant(term: PodTerm, own: str, group: PodGroup) -> bool:
    """Whether a term of a Pod in the namespace `own` matches Pods of `group`."""
    spaces = _namespaces(term, own)
    meant = spaces is None or group.namespace in spaces
    return meant and selects(term.selector, group.spec.labels)


def _wishes(spec: PodSpec) -> Iterator[tuple[int, PodTerm]]:
    if spec.affinity:
        yield from spec.affinity.preferred_pods
        yield from ((-weight, term) for weight, term in spec.affinity.avoided_pods)


def _others_wishes(spec: PodSpec) -> Iterator[tuple[int, PodTerm]]:
    """Yield an existing Pod's preferences for others; required affinity counts 1 (`HardPodAffinityWeight`)."""
    if spec.affinity:
        yield from ((1, term) for term in spec.affinity.required_pods)
    yield from _wishes(spec)


def _namespaces(term: PodTerm, own: str) -> Iterable[str] | None:
    """Return the namespaces of the Pods that a term covers; None for all."""
    if not term.namespaces:
        return (own,)
    return None if term.namespaces == ("*",) else term.namespaces


DEFAULT_SPREADS = ((HOSTNAME, 3), (ZONE, 5))
"""plugin.go, `systemDefaultConstraints`: preferred constraints of Pods that define none."""


class Counts(Protocol):
    """The current placement of Pods."""

    board: Board

    def counts(self, group: PodGroup, *, staying: bool = False) -> Mapping[int, int]:
        """Return node -> number of the group's Pods; `staying` excludes Terminating ones."""


class Limit:
    """A required spread constraint (filtering.go)."""

    __slots__ = ("_domains", "_itself", "_least", "_spread")

    def __init__(
        self, placed: Counts, group: PodGroup, spread: Spread, is_closed: Callable[[int], bool]
    ) -> None:
        self._spread, self._domains = spread, _domains(placed, group, spread, is_closed)
        self._itself = selects(spread.selector, group.spec.labels)
        enough = len(self._domains) >= spread.min_domains
        self._least = min(self._domains.values(), default=0) if enough else 0

    def allows(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self._spread.topology_key)
        if value is None:
            return False
        return self._domains[value] + self._itself - self._least <= self._spread.max_skew


def scores(
    placed: Counts, group: PodGroup, nodes: Sequence[int], is_closed: Callable[[int], bool]
) -> list[int]:
    """Return each node's spread score (scoring.go): fewer matching Pods in a node's domain are better."""
    spreads = preferred(group)
    if not spreads:
        return [0] * len(nodes)
    ignored = _ignored(placed.board, group, spreads, nodes)
    raw = [0.0] * len(nodes)
    for spread in spreads:
        _add(placed, group, spread, nodes, ignored, raw, is_closed)
    return _normalised([round(score) for score in raw], ignored)


def preferred(group: PodGroup) -> Sequence[Spread]:
    """Return the Pod's own preferred constraints, or the scheduler's defaults, which count Pods of its template."""
    spec = group.spec
    if spec.spreads:
        return [spread for spread in spec.spreads if not spread.required]
    if not spec.labels:
        return ()
    labels = (Requirement(key=k, operator="In", values=(v,)) for k, v in sorted(spec.labels.items()))
    selector = LabelSelector(requirements=tuple(labels))
    return [
        Spread(max_skew=skew, topology_key=key, required=False, selector=selector)
        for key, skew in DEFAULT_SPREADS
    ]


def _counts(placed: Counts, group: PodGroup, spread: Spread) -> Counter[int]:
    """Return node -> number of the namespace's Pods that the constraint counts; an empty selector counts none."""
    found: Counter[int] = Counter()
    if spread.selector and spread.selector.requirements:
        for other in placed.board.kin(group.namespace, spread.selector):
            found.update(placed.counts(other, staying=True))
    return found


def _domains(
    placed: Counts, group: PodGroup, spread: Spread, is_closed: Callable[[int], bool]
) -> Counter[str]:
    """Return value -> number of Pods, over the nodes that the constraint's inclusion policies count."""
    places = placed.board.standing(group.spec).places(spread)
    if spread.honours_taints:
        places = {number: value for number, value in places.items() if not is_closed(number)}
    domains = Counter(dict.fromkeys(places.values(), 0))
    for number, count in _counts(placed, group, spread).items():
        if number in places:
            domains[places[number]] += count
    return domains


def _ignored(board: Board, group: PodGroup, spreads: Sequence[Spread], nodes: Sequence[int]) -> list[bool]:
    """Return which nodes lack a label that the Pod's own constraints name."""
    if not group.spec.spreads:
        return [False] * len(nodes)
    columns = [board.values(spread.topology_key) for spread in spreads]
    return [any(values[node] is None for values in columns) for node in nodes]


def _add(
    placed: Counts,
    group: PodGroup,
    spread: Spread,
    nodes: Sequence[int],
    ignored: Sequence[bool],
    raw: list[float],
    is_closed: Callable[[int], bool],
) -> None:
    key, values = spread.topology_key, placed.board.values(spread.topology_key)
    kept = [(at, node) for at, node in enumerate(nodes) if not ignored[at]]
    if key == HOSTNAME:
        counts, size = _counts(placed, group, spread), len(kept)
        found = [(at, counts[node]) for at, node in kept if values[node] is not None]
    else:
        domains, size = _domains(placed, group, spread, is_closed), len({values[node] for _, node in kept})
        found = [(at, domains[value]) for at, node in kept if (value := values[node]) is not None]
    weight = log(size + 2)
    for at, count in found:
        raw[at] += count * weight + spread.max_skew - 1


def _normalised(scores: Sequence[int], ignored: Sequence[bool]) -> list[int]:
    kept = [score for score, out in zip(scores, ignored, strict=True) if not out]
    low, high = min(kept, default=0), max(kept, default=0)
    return [
        0 if out else BEST * (high + low - score) // high if high else BEST
        for score, out in zip(scores, ignored, strict=True)
    ]
