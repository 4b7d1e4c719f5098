"""Mitigations for workloads that would lose their quorum: longer tolerations, and a spread over failure domains.

A quorum is lost when most of its members are evicted in the cut, since all of them stop together at the heal. It
keeps its members if these tolerate a lost node for longer than the cut, or if too few of them are on cut nodes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from chaosext.cluster.objects import ZONE_LABEL
from chaosext.rehearsal.mitigate.pod_templates import (
    longer_s,
    patched,
    template_of,
    tolerating,
    toleration_json,
)
from chaosext.rehearsal.simulate.roster import QUORUM_KINDS, Roster, rows_of
from chaosext.rehearsal.simulate.taints import NO_EXECUTE, admits, stays_s
from chaosext.rehearsal.snapshot.documents import QUORUM
from chaosext.rehearsal.snapshot.node_patterns import fits_node, is_over
from chaosext.rehearsal.snapshot.world import HOSTNAME, LabelSelector, Requirement, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.simulate.roster import Unit
    from chaosext.rehearsal.snapshot.world import Labels, Node, Pod, PodSpec, World

PATCHED_KINDS = ("StatefulSet", "Deployment")
"""Workloads whose template can be patched; an operator would undo a patch of its own."""

OF_ONE_POD = frozenset(
    {
        "pod-template-hash",
        "controller-revision-hash",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
    }
)
"""Labels that controllers add to Pods, and that do not select all Pods of a workload."""


class _Threatened(NamedTuple):
    """A quorum that the cut takes: its workload (kind, name), namespace, members, and how many it needs."""

    kind: str
    namespace: str
    name: str
    pods: tuple[Pod, ...]
    needed: int


def _threatened(world: World, plan: Plan) -> Iterator[_Threatened]:
    """Yield each quorum that keeps fewer members than it needs, if all that may be evicted are."""
    owners = {(pod.namespace, pod.owner, QUORUM in pod.spec.labels) for pod in world.pods}
    wanted = {each for each in owners if plan.quorums or _may_be_quorum(world, *each)}
    if not wanted or not world.control_plane.evicts:
        return
    candidates = (
        pod for pod in world.pods if (pod.namespace, pod.owner, QUORUM in pod.spec.labels) in wanted
    )
    for unit in Roster(world, rows_of(candidates), plan.quorums).workloads.values():
        if unit.quorum and _kept(unit, plan) < unit.quorum:
            kind, name = template_of(world, unit.pods[0])
            if kind in PATCHED_KINDS:
                pods = tuple(pod for pod in unit.pods if not is_over(pod))
                yield _Threatened(kind, unit.pods[0].namespace, name, pods, unit.quorum)


def _may_be_quorum(world: World, namespace: str, owner: str, is_said: bool) -> bool:
    """Whether Pods of this owner may be members of a quorum; `is_said`: one of their labels says whether they are."""
    if is_said or owner.partition("/")[0] in QUORUM_KINDS:
        return True
    known = world.workloads.get((namespace, owner))
    above = world.workloads.get((namespace, known.owner)) if known else None
    return any(each is not None and each.quorum is not None for each in (known, above))


def _kept(unit: Unit, plan: Plan) -> int:
    """Return the members that no eviction takes: on other nodes, or with a toleration longer than the cut."""
    return sum(pod.node not in plan.cut_nodes or _outlasts(pod.spec, plan) for pod in unit.standing)


def _outlasts(spec: PodSpec, plan: Plan) -> bool:
    return stays_s(spec.tolerations, (NO_EXECUTE,)) > plan.cut_for_s


def _with_specs(world: World, pods: Iterable[Pod], change: Callable[[Pod], Pod]) -> World:
    """Return the world with these Pods changed; the same world if no Pod is."""
    changed = {id(pod): change(pod) for pod in pods}
    if all(id(pod) == key for key, pod in changed.items()):
        return world
    return replace(world, pods=tuple(changed.get(id(pod), pod) for pod in world.pods))


def _shared(change: Callable[[PodSpec], PodSpec]) -> Callable[[PodSpec], PodSpec]:
    """Return the change, made once for each template, as Pods of one template share their spec."""
    known: dict[int, PodSpec] = {}

    def once(spec: PodSpec) -> PodSpec:
        return known.setdefault(id(spec), change(spec))

    return once


# -- workload-tolerations ------------------------------------------------------------------------------------------


def tolerate_longer(world: World, plan: Plan) -> World:
    """Return the world in which members of threatened quorums stay on a lost node for longer than the cut."""
    longer = _shared(lambda spec: tolerating(spec, longer_s(plan)))
    pods = [pod for each in _threatened(world, plan) for pod in each.pods]
    return _with_specs(world, pods, lambda pod: _of_spec(pod, longer(pod.spec)))


def _of_spec(pod: Pod, spec: PodSpec) -> Pod:
    return pod if spec is pod.spec else replace(pod, spec=spec)


def how_to_tolerate_longer(world: World, plan: Plan) -> str:
    """Return the commands that give threatened quorums longer tolerations, with their price."""
    seconds = longer_s(plan)
    lines = [
        f"# restarts the members one by one; for {seconds // 60} min none leaves a failed node, whatever its failure"
    ]
    for each in _threatened(world, plan):
        tolerations = tolerating(each.pods[0].spec, seconds).tolerations
        spec = {"tolerations": [toleration_json(toleration) for toleration in tolerations]}
        lines.append(patched(each.namespace, each.kind, each.name, {"spec": spec}))
    return "\n".join(lines)


# -- workload-spread -----------------------------------------------------------------------------------------------


class _Domains(NamedTuple):
    """The failure domains of a label that a workload may use: value -> its nodes."""

    key: str
    nodes: Mapping[str, tuple[Node, ...]]


def spread_members(world: World, plan: Plan) -> World:
    """Return the world in which members of threatened quorums are spread so that the cut leaves most of them."""
    for each in _threatened(world, plan):
        if found := _domains(world, plan, each):
            world = _spread(world, plan, each, found)
    return world


def how_to_spread_members(world: World, plan: Plan) -> str:
    """Return the commands that spread threatened quorums, with their price."""
    lines = [
        "# restarts the members one by one; a member whose volume cannot follow it to another domain stays Pending"
    ]
    for each in _threatened(world, plan):
        if found := _domains(world, plan, each):
            constraint = {
                "maxSkew": 1,
                "topologyKey": found.key,
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": _own_labels(each.pods[0].spec.labels)},
            }
            spec = {"topologySpreadConstraints": [constraint]}
            lines.append(patched(each.namespace, each.kind, each.name, {"spec": spec}))
    return "\n".join(lines)


def _domains(world: World, plan: Plan, quorum: _Threatened) -> _Domains | None:
    """Return the domains over which an even spread leaves enough members whatever the scheduler chooses, if any."""
    spec, count = quorum.pods[0].spec, len(quorum.pods)
    usable = [node for node in world.nodes if _may_run(spec, node)]
    racks = sorted({key for node in usable for key in node.labels if key.rpartition("/")[2] == "rack"})
    for key in (ZONE_LABEL, *racks, HOSTNAME):
        found: dict[str, list[Node]] = defaultdict(list)
        for node in usable:
            if key in node.labels:
                found[node.labels[key]].append(node)
        hit = sum(any(node.name in plan.cut_nodes for node in nodes) for nodes in found.values())
        if found and count - _most_in(hit, len(found), count) >= quorum.needed:
            return _Domains(key, {value: tuple(nodes) for value, nodes in sorted(found.items())})
    return None


def _may_run(spec: PodSpec, node: Node) -> bool:
    return (
        not node.unschedulable
        and node.ready == "True"
        and fits_node(spec.node_selector, spec.affinity, node)
        and admits(spec.tolerations, node.taints)
    )


def _most_in(hit: int, domains: int, count: int) -> int:
    """Return how many of `count` Pods, spread evenly, may be in `hit` of the domains."""
    each, more = divmod(count, domains)
    return hit * each + min(hit, more)


def _spread(world: World, plan: Plan, quorum: _Threatened, domains: _Domains) -> World:
    """Return the world with the constraint in the template, and its surplus members in other domains."""
    homes = dict(_homes(quorum.pods, domains, plan))
    constraint = _shared(lambda spec: _constrained(spec, domains.key))
    return _with_specs(
        world,
        quorum.pods,
        lambda pod: replace(pod, spec=constraint(pod.spec), node=homes.get(pod.name, pod.node)),
    )


def _homes(pods: Iterable[Pod], domains: _Domains, plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the members that move, and their new nodes: no domain has more than an even share, cut ones come last."""
    pods = tuple(pods)
    domain_of = {node.name: value for value, nodes in domains.nodes.items() for node in nodes}
    limit = -(-len(pods) // len(domains.nodes))
    taken, surplus = Counter[str](), []
    for pod in pods:
        value = domain_of.get(pod.node)
        if value is None or taken[value] >= limit:
            surplus.append(pod)
        else:
            taken[value] += 1
    for pod in surplus:
        value = min(domains.nodes, key=lambda each: (taken[each], each))
        taken[value] += 1
        yield (
            pod.name,
            min(domains.nodes[value], key=lambda node: (node.name in plan.cut_nodes, node.name)).name,
        )


def _constrained(spec: PodSpec, key: str) -> PodSpec:
    requirements = (
        Requirement(key=name, operator="In", values=(value,))
        for name, value in _own_labels(spec.labels).items()
    )
    wanted = Spread(
        max_skew=1, topology_key=key, required=True, selector=LabelSelector(requirements=tuple(requirements))
    )
    others = tuple(each for each in spec.spreads if each.topology_key != key)
    return replace(spec, spreads=(*others, wanted))


def _own_labels(labels: Labels) -> dict[str, Any]:
    return {key: value for key, value in labels.items() if key not in OF_ONE_POD}
