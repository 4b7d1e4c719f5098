"""What a snapshot shows of its network, and the questions that every network's module asks of it.

Detection is broad and proof is strict: any sign of another network is a doubt, and only a network's own
agents on every node, together with its own configuration, are a proof.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaosext.rehearsal.snapshot.node_patterns import is_over
from chaosext.rehearsal.snapshot.world import Doubt, Plugin

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.snapshot.world import Node, Pod

    Values = Mapping[str, Any]

DECLARE = "the plan's `network` can say which nodes' Pods stay reachable"
"""How to settle what a cluster cannot tell."""

NAMING_LABELS = ("k8s-app", "app", "name", "app.kubernetes.io/name", "component")
"""Labels that hold the name of a plugin's agents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSigns:
    """The evidence of networks in a snapshot.

    `others`: (API group, kind) -> one object of each, for groups that are not Kubernetes' own. `objects`:
    kind -> (name, spec) of Calico's objects. `configs`: (namespace, ConfigMap) -> its data. `backends`: node
    -> flanneld's annotation. `missed`: kind -> why it could not be read when the snapshot was taken. `documents`:
    kind -> Cilium's BGP objects. `arguments`: template of kube-router's agents -> the words of their command.
    `notes`: node -> its annotations that kube-router reads.
    """

    nodes: Sequence[Node]
    pods: Iterable[Pod]
    daemon_sets: Iterable[str] = ()
    deployments: Collection[str] = ()
    others: Mapping[tuple[str, str], str] = field(default_factory=dict)
    objects: Mapping[str, Sequence[tuple[str, Values]]] = field(default_factory=dict)
    configs: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    backends: Mapping[str, str] = field(default_factory=dict)
    missed: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, Sequence[Values]] = field(default_factory=dict)
    arguments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def kinds_in(self, group: str) -> Iterator[tuple[str, str]]:
        """Yield (kind, one object) for each kind of an API group or of its subgroups."""
        for (found, kind), subject in self.others.items():
            if found == group or found.endswith(f".{group}"):
                yield kind, subject

    def config(self, name: str) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Yield (subject, data) of each ConfigMap whose name begins with `name`."""
        for (namespace, found), data in self.configs.items():
            if found.startswith(name):
                yield f"ConfigMap/{namespace}/{found}", data


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The network that a snapshot shows, with the fields of `Network`. `meshed`: kube-router's mesh between nodes.

    `hold_s`: hold time of BGP sessions, in seconds; None for BIRD's.
    """

    plugin: Plugin
    shown: str = ""
    doubts: tuple[Doubt, ...] = ()
    bgp_doubts: tuple[Doubt, ...] = ()
    bgp_enabled: bool = True
    felix_routes: bool = False
    ebpf: bool = False
    typha: frozenset[str] = frozenset()
    announcing: frozenset[str] = frozenset()
    meshed: bool | None = None
    hold_s: float | None = None
    lingers_s: float = 0.0


def proven(plugin: Plugin, shown: str, *doubts: Doubt) -> Shown:
    """Return this network if there are no doubts, else an unknown one."""
    if doubts:
        return Shown(plugin=Plugin.UNKNOWN, doubts=doubts)
    return Shown(plugin=plugin, shown=shown)


def templates(pods: Iterable[Pod]) -> Iterable[Pod]:
    """Return one Pod of each template; all Pods of a template are agents of the same network, or none is."""
    return {id(pod.spec): pod for pod in pods if not is_over(pod)}.values()


def names_of(pod: Pod) -> Iterator[str]:
    """Yield the names by which an agent is known: its labels' and its DaemonSet's."""
    yield from (pod.spec.labels[label] for label in NAMING_LABELS if label in pod.spec.labels)
    kind, _, owner = pod.owner.partition("/")
    if kind == "DaemonSet":
        yield owner


def agents_missing(
    seen: NetworkSigns, *names: str, needing: Iterable[Node] | None = None
) -> tuple[Doubt, ...]:
    """Return a doubt if any node runs no agent with one of these names that belongs to a DaemonSet.

    `needing`: the nodes that need one, None for all.
    """
    there: dict[str, set[str]] = defaultdict(set)
    agents = {id(pod.spec) for pod in templates(seen.pods) if set(names_of(pod)) & set(names)}
    for pod in seen.pods:
        if id(pod.spec) in agents and pod.owner.startswith("DaemonSet/"):
            there[pod.node].add(pod.phase)
    wanted = seen.nodes if needing is None else needing
    lacking = [node.name for node in wanted if "Running" not in there[node.name]]
    if not lacking:
        return ()
    said = f"none of its Pods runs on {few(lacking)}, so it is not proven that it carries Pod traffic there"
    return (Doubt(subject=f"DaemonSet {names[0]}", why=said),)


def few(names: Sequence[str]) -> str:
    """Return the first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def text(spec: Values, part: str, key: str) -> str:
    """Return the text at `part.key` of a spec; "" if there is none."""
    found = spec.get(part)
    return str(found.get(key) or "") if isinstance(found, dict) else ""
