"""What the scheduler looks at: nodes, what runs on them before the cut, and what of it is the same in every play."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from chaosext.rehearsal import pod_affinity
from chaosext.rehearsal.eviction import NO_EXECUTE, NO_SCHEDULE, UNSCHEDULABLE, admits, tolerates
from chaosext.rehearsal.selection import fits_node, fits_term, is_over, selects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.rehearsal.world import LabelSelector, Node, Pod, PodSpec, Spread, World


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Pods of one template in one namespace, as selectors see them; compared by identity. `turn`: as first met."""

    namespace: str
    spec: PodSpec
    turn: int


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
        self.with_affinity: list[Group] = []
        self.with_ports: list[Group] = []
        self.where: dict[Group, Counter[int]] = defaultdict(Counter)
        self.lowest_priority = 0
        """Of all groups; 0 where it is higher."""
        self._standings: dict[int, Standing] = {}
        self._values: dict[str, list[str | None]] = {}
        self._kin: dict[tuple[str, LabelSelector], tuple[Group, ...]] = {}
        self._minding: dict[Group, bool] = {}
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
            self.groups[key] = made = Group(namespace, spec, len(self.groups))
            self._kin.clear()
            self._minding.clear()
            self.lowest_priority = min(self.lowest_priority, spec.priority)
            if spec.affinity:
                self.with_affinity.append(made)
            if spec.host_ports:
                self.with_ports.append(made)
        return self.groups[key]

    @cached_property
    def on(self) -> Mapping[int, Mapping[Group, int]]:
        """Node -> Pods of each group there; nodes without Pods are missing."""
        found: dict[int, dict[Group, int]] = defaultdict(dict)
        for group, counts in self.where.items():
            for node, count in counts.items():
                found[node][group] = count
        return dict(found)

    def kin(self, namespace: str, selector: LabelSelector | None) -> tuple[Group, ...]:
        """Groups of a namespace that a selector selects."""
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

    def minds_others(self, group: Group) -> bool:
        """Whether where other Pods are may keep one of the group off a node."""
        if group not in self._minding:
            spec, affinity = group.spec, group.spec.affinity
            self._minding[group] = (
                any(spread.required for spread in spec.spreads)
                or (affinity is not None and bool(affinity.required_pods or affinity.forbidden_pods))
                or any(True for _ in pod_affinity.guards(self, group))
            )
        return self._minding[group]

    def values(self, key: str) -> list[str | None]:
        """By node: what its label says, None where it has none."""
        if key not in self._values:
            self._values[key] = [node.labels.get(key) for node in self.nodes]
        return self._values[key]

    def standing(self, spec: PodSpec) -> Standing:
        """What the nodes are to Pods of a template."""
        if id(spec) not in self._standings:
            self._standings[id(spec)] = Standing(self, spec)
        return self._standings[id(spec)]


class Standing:
    """What each node is to Pods of one template in every play: by node, or by constraint.

    `allows`: whether selectors, affinity to nodes and lasting taints do; `allowed`: those nodes. `unloved` counts a
    node's PreferNoSchedule taints, `wishes` are weights of preferred node affinity. `minds`: whether the taints
    NoSchedule and NoExecute of a lost node keep such Pods off it. `fits` and `room` are None until they are asked for,
    and hold while nothing on the node has changed.
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
        """Node -> domain, of the nodes that a constraint counts whatever happens to them."""
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
    """plugins/podtopologyspread/common.go, `matchNodeInclusionPolicies`."""
    if spread.honours_affinity and not fits_node(spec.node_selector, spec.affinity, node):
        return False
    return not spread.honours_taints or admits(spec.tolerations, node.taints)
