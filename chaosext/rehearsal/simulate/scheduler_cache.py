"""The scheduler's input: nodes, their Pods before the cut, and everything that all simulations share."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from chaosext.rehearsal.simulate.roster import rows_of
from chaosext.rehearsal.simulate.taints import NO_EXECUTE, NO_SCHEDULE, UNSCHEDULABLE, admits, tolerates
from chaosext.rehearsal.snapshot.node_patterns import behind, fits_node, fits_term, is_over, selects
from chaosext.rehearsal.snapshot.world import HOSTNAME, ZONE, LabelSelector, Requirement, Resources, Spread

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from chaosext.cluster.objects import Taint
    from chaosext.rehearsal.simulate.roster import Roster, Unit
    from chaosext.rehearsal.simulate.sidecar_kinds import SidecarKind
    from chaosext.rehearsal.snapshot.world import Node, Pod, PodSpec, PodTerm, Service, World


@dataclass(frozen=True, slots=True, eq=False)
class PodGroup:
    """Pods of one template in one namespace, as selectors see them; compared by identity. `turn`: first seen."""

    namespace: str
    spec: PodSpec
    turn: int


class PodState(NamedTuple):
    """A tracked Pod before the cut: the first fields of `simulation.Followed`."""

    group: PodGroup
    subject: str
    owner: str
    sidecar: SidecarKind
    node: int
    serving: bool
    runs: bool
    leaving: bool
    gone: bool
    ails: bool
    counted: tuple[bool, bool] | None


class Board:
    """Nodes and their Pods before the cut. Placements in it never change; groups may be added."""

    def __init__(self, world: World) -> None:
        self.nodes, self._all_pods = world.nodes, world.pods
        self.number = {node.name: number for number, node in enumerate(world.nodes)}
        count = len(world.nodes)
        self.cpu, self.memory, self.pods = [0] * count, [0] * count, [0] * count
        self.scored_cpu, self.scored_memory = [0] * count, [0] * count
        self.extended: dict[tuple[int, str], int] = {}
        self.groups: dict[tuple[str, int], PodGroup] = {}
        self.with_affinity: list[PodGroup] = []
        self.with_ports: list[PodGroup] = []
        self.where: dict[PodGroup, dict[int, int]] = {}
        """Group -> node -> number of Pods."""
        self.lowest_priority = 0
        """Lowest priority of all groups, at most 0."""
        self.rooms: dict[Requests, tuple[list[bool], list[int]]] = {}
        """Requests -> which nodes have room for them, and the score of each (`scheduler`), before the cut."""
        self.rosters: dict[frozenset[str], Roster] = {}
        """Workloads and Services, by the quorums that a plan names."""
        self.hosts: dict[Unit, Mapping[int, int]] = {}
        """Workload or Service -> node -> its Ready Pods, where asked for."""
        self.stays: dict[tuple[Taint, ...], dict[int, float]] = {}
        """NoExecute taints -> identity of a template -> how long its Pods stay, where asked for."""
        self.states: dict[bool, dict[int, PodState]] = {False: {}, True: {}}
        """Whether there is a mesh -> identity of a Pod -> its state before the cut, where asked for."""
        self._standings: dict[Hashable, NodeStanding] = {}
        self._of_spec: dict[int, NodeStanding] = {}
        self._behind: dict[int, tuple[Service, tuple[Pod, ...]]] = {}
        self._values: dict[str, list[str | None]] = {}
        self._kin: dict[tuple[str, LabelSelector], tuple[PodGroup, ...]] = {}
        self._rules: dict[PodGroup, GroupRules] = {}
        self.rows = rows_of(world.pods)
        for row, pods in self.rows.items():
            self._place(self.group(row[0], pods[0].spec), pods)

    def _place(self, group: PodGroup, pods: Sequence[Pod]) -> None:
        """Place Pods of one group."""
        spec, scored = group.spec, group.spec.scored_requests or group.spec.requests
        cpu_m, memory_bytes = spec.requests.cpu_m, spec.requests.memory_bytes
        where = self.where.setdefault(group, {})
        for number in map(self.number.get, [pod.node for pod in pods]):
            if number is None:
                continue
            self.cpu[number] += cpu_m
            self.memory[number] += memory_bytes
            self.pods[number] += 1
            self.scored_cpu[number] += scored.cpu_m
            self.scored_memory[number] += scored.memory_bytes
            where[number] = where.get(number, 0) + 1
            for name, amount in spec.requests.extended:
                self.extended[number, name] = self.extended.get((number, name), 0) + amount

    def group(self, namespace: str, spec: PodSpec) -> PodGroup:
        key = (namespace, id(spec))
        if key not in self.groups:
            self.groups[key] = made = PodGroup(namespace, spec, len(self.groups))
            self._kin.clear()
            self._rules.clear()
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

    @cached_property
    def residents(self) -> Mapping[int, list[Pod]]:
        """Node -> its Pods that are not over; -1 for those on none of the nodes."""
        found: dict[int, list[Pod]] = defaultdict(list)
        for pod in self._all_pods:
            if not is_over(pod):
                found[self.number.get(pod.node, -1)].append(pod)
        return found

    def behind(self, service: Service | None) -> tuple[Pod, ...]:
        """Return the Pods that a Service selects."""
        if service is None:
            return ()
        if id(service) not in self._behind:
            self._behind[id(service)] = service, behind(service, self._all_pods)
        return self._behind[id(service)][1]

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

    def rules(self, group: PodGroup) -> GroupRules:
        """Return the rules about other Pods that hold for Pods of the group."""
        found = self._rules.get(group)
        if found is None:
            found = self._rules[group] = GroupRules(self, group)
        return found

    def values(self, key: str) -> list[str | None]:
        """Return the value of a label on each node, None if it is absent."""
        if key not in self._values:
            self._values[key] = [node.labels.get(key) for node in self.nodes]
        return self._values[key]

    def standing(self, spec: PodSpec) -> NodeStanding:
        """Return the static relation of all nodes to Pods of a template; templates with the same rules share it."""
        found = self._of_spec.get(id(spec))
        if found is None:
            wishes = spec.affinity and (spec.affinity.required_nodes, spec.affinity.preferred_nodes)
            key = spec.tolerations, tuple(sorted(spec.node_selector.items())), wishes
            if key not in self._standings:
                self._standings[key] = NodeStanding(self, spec)
            found = self._of_spec[id(spec)] = self._standings[key]
        return found


class NodeStanding:
    """The relation of each node to Pods with the same tolerations, node selector and node affinity.

    `allows`: whether node selector, node affinity and lasting taints allow the node; `allowed`: the numbers
    of those nodes. `unloved`: number of PreferNoSchedule taints that are not tolerated. `wishes`: sum of
    weights of preferred node affinity; both are empty if they are 0 on all nodes. `minds`: whether the
    NoSchedule and the NoExecute taint of a lost node keep such Pods off it.
    """

    __slots__ = ("_nodes", "_places", "_spec", "allowed", "allows", "minds", "unloved", "wishes")

    def __init__(self, board: Board, spec: PodSpec) -> None:
        self._nodes, self._spec = board.nodes, spec
        self.allows = [_allows(node, spec) for node in board.nodes]
        self.allowed = tuple(number for number, allowed in enumerate(self.allows) if allowed)
        self.minds = (
            not admits(spec.tolerations, (NO_SCHEDULE,)),
            not admits(spec.tolerations, (NO_EXECUTE,)),
        )
        self.unloved = _unless_zero([_unloved(node, spec) for node in board.nodes])
        self.wishes = _unless_zero([_wish(node, spec) for node in board.nodes])
        self._places: dict[tuple[object, ...], dict[int, str]] = {}

    def places(self, spread: Spread, keys: frozenset[str]) -> dict[int, str]:
        """Return node -> domain, for the nodes that a constraint counts, apart from the taints of the cut.

        `keys` are labels that a node must have.
        """
        same = keys, spread.topology_key, spread.honours_affinity, spread.honours_taints
        if same not in self._places:
            self._places[same] = {
                number: node.labels[spread.topology_key]
                for number, node in enumerate(self._nodes)
                if spread.topology_key in node.labels
                and all(key in node.labels for key in keys)
                and _included(node, self._spec, spread)
            }
        return self._places[same]


def _unless_zero(scores: list[int]) -> list[int]:
    return scores if any(scores) else []


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


DEFAULT_SPREADS = ((HOSTNAME, 3), (ZONE, 5))
"""plugin.go, `systemDefaultConstraints`: preferred constraints of Pods that define none."""


class Requests(NamedTuple):
    """What a Pod asks a node for: its requests, and those that count in the node's score."""

    given: Resources
    scored: Resources


class SpreadRule(NamedTuple):
    """A topologySpreadConstraint as it applies to a group.

    `values`: the label's value on each node; `on_all`: all nodes have it. `places`: node -> domain, for the nodes that
    count. `counted`: the groups whose Pods count. `itself`: whether a Pod of the group is counted, too.
    """

    spread: Spread
    values: Sequence[str | None]
    on_all: bool
    places: Mapping[int, str]
    counted: tuple[PodGroup, ...]
    itself: bool


class AffinityRule(NamedTuple):
    """A term of (anti-)affinity as it applies to a group: the groups that it matches, and its weight.

    `values`: the label's value on each node. `itself`: whether it matches the group.
    """

    key: str
    values: Sequence[str | None]
    matched: tuple[PodGroup, ...]
    weight: int = 1
    itself: bool = False


class GroupRules:
    """What nodes and other Pods mean for a new Pod of a group; valid until the board gets another group.

    `standing`: its relation to all nodes. `requests`: what it asks for. `minds_others`: whether other Pods may
    keep it off a node, apart from the room and the ports that they take. `ports_of`: groups with one of its host
    ports. `required`, `forbidden`, `preferred`: rules of affinity, its own and those of others. `involved`: the
    groups that these count. `limits`, `wishes`: required and preferred spread constraints. `is_partial`: nodes
    without a label of the preferred ones get no score.
    """

    def __init__(self, board: Board, group: PodGroup) -> None:
        self._board, self._group = board, group
        spec, affinity = group.spec, group.spec.affinity
        self.standing = board.standing(spec)
        self.requests = Requests(spec.requests, spec.scored_requests or spec.requests)
        wanted = set(spec.host_ports)
        self.ports_of = [other for other in board.with_ports if wanted & set(other.spec.host_ports)]
        self.required = [self._rule(term) for term in affinity.required_pods] if affinity else []
        self.forbidden = [self._rule(term) for term in affinity.forbidden_pods] if affinity else []
        self.forbidden += self._guards()
        self.preferred = list(self._preferred())
        every = (*self.required, *self.forbidden, *self.preferred)
        self.involved = frozenset(other for rule in every for other in rule.matched)
        self.limits = [self._spread(each) for each in spec.spreads if each.required]
        self.wishes = [self._spread(each) for each in _preferred_spreads(spec)]
        self.is_partial = bool(spec.spreads)
        self.minds_others = bool(self.limits or self.required or self.forbidden)

    # -- spread ----------------------------------------------------------------------------------------------

    def _spread(self, spread: Spread) -> SpreadRule:
        board, group, spec = self._board, self._group, self._group.spec
        keys = frozenset(each.topology_key for each in spec.spreads if each.required == spread.required)
        selector = spread.selector
        return SpreadRule(
            spread=spread,
            values=board.values(spread.topology_key),
            on_all=None not in board.values(spread.topology_key),
            places=self.standing.places(spread, keys),
            # an empty selector counts no Pod
            counted=board.kin(group.namespace, selector) if selector and selector.requirements else (),
            itself=selects(selector, spec.labels),
        )

    # -- affinity --------------------------------------------------------------------------------------------

    def _rule(self, term: PodTerm, weight: int = 1) -> AffinityRule:
        """Return a rule of the group's own term."""
        own = self._group.namespace
        return AffinityRule(
            key=term.topology_key,
            values=self._board.values(term.topology_key),
            matched=tuple(self._matching(term)),
            weight=weight,
            itself=_is_meant(term, own, self._group),
        )

    def _matching(self, term: PodTerm) -> Iterator[PodGroup]:
        spaces = _namespaces(term, self._group.namespace)
        if spaces is None:
            spaces = dict.fromkeys(group.namespace for group in self._board.groups.values())
        for namespace in spaces:
            yield from self._board.kin(namespace, term.selector)

    def _others_rule(self, other: PodGroup, term: PodTerm, weight: int = 1) -> AffinityRule:
        """Return a rule of another group's term that matches this one."""
        return AffinityRule(term.topology_key, self._board.values(term.topology_key), (other,), weight)

    def _guards(self) -> Iterator[AffinityRule]:
        """Yield the rules by which other Pods' required anti-affinity excludes this Pod."""
        for other in self._board.with_affinity:
            for term in other.spec.affinity.forbidden_pods if other.spec.affinity else ():
                if _is_meant(term, other.namespace, self._group):
                    yield self._others_rule(other, term)

    def _preferred(self) -> Iterator[AffinityRule]:
        for weight, term in _wishes(self._group.spec):
            yield self._rule(term, weight)
        for other in self._board.with_affinity:
            for weight, term in _others_wishes(other.spec):
                if _is_meant(term, other.namespace, self._group):
                    yield self._others_rule(other, term, weight)


def _preferred_spreads(spec: PodSpec) -> Sequence[Spread]:
    """Return the Pod's own preferred constraints, or the scheduler's defaults, which count Pods of its template."""
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
