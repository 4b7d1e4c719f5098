"""What a cut can hurt: the workloads and Services of a world, each with its Pods before the cut."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

from chaosext.rehearsal.simulate.sidecar_kinds import SidecarKind, sidecar
from chaosext.rehearsal.snapshot.documents import QUORUM
from chaosext.rehearsal.snapshot.node_patterns import has_all, is_over

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from chaosext.rehearsal.snapshot.world import Pod, PodSpec, Service, Workload, World

QUORUM_KINDS = frozenset({"StatefulSet", "EtcdCluster", "StrimziPodSet"})
"""Owners of Pods that need most of each other, from documents: etcd, ZooKeeper, Kafka, Consul, databases.

A StatefulSet that is none, such as a cache, says so with `chaosext.io/quorum: "false"`.
"""

QUORUM_SIZE = 3
"""Members from which a StatefulSet counts as a quorum; fewer cannot lose one and still have one."""

UNREPLICATED = frozenset({"Node", "Job"})
"""Owners whose Pods are not replicas of one another: static Pods, and Pods that end."""

HERE_TO_STAY = frozenset({"DaemonSet", "Node"})
"""Owners that bind a Pod to its node: the Pod is not re-created elsewhere."""

Row = tuple[str, str, int]
"""Namespace, owner (or the Pod itself), and template, by identity, of Pods that are alike."""


def rows_of(pods: Iterable[Pod]) -> Mapping[Row, list[Pod]]:
    """Return the Pods that are not over, in rows."""
    found: dict[Row, list[Pod]] = defaultdict(list)
    for pod in pods:
        if not is_over(pod):
            found[pod.namespace, pod.owner or pod.subject, id(pod.spec)].append(pod)
    return found


class Unit:
    """A workload, or a Service with the Pods behind it.

    `wanted`: its replicas, for a Service its Pods before the cut. `quorum`: members that it needs at every
    moment, 0 if it is not a quorum, or had no majority before the cut (`is_broken_quorum`). `keys` are the
    (namespace, owner) of its Pods.
    """

    def __init__(self, name: str, *, service: Service | None = None) -> None:
        self.name, self.service = name, service
        self.wanted = self.quorum = 0
        self.is_broken_quorum = False
        self.pods: list[Pod] = []
        self.specs: list[PodSpec] = []
        self.keys: set[tuple[str, str]] = set()

    def add(self, row: Row, pods: list[Pod]) -> None:
        """Add Pods of one owner and template."""
        self.pods += pods
        self.specs.append(pods[0].spec)
        self.keys.add(row[:2])

    @property
    def publishes_not_ready(self) -> bool:
        return self.service is not None and self.service.publishes_not_ready

    @property
    def external(self) -> bool:
        return self.service is not None and self.service.external

    @cached_property
    def standing(self) -> list[Pod]:
        """The Pods that are Ready before the cut, and not Terminating."""
        return [pod for pod in self.pods if pod.ready and not pod.terminating]

    @property
    def ready(self) -> int:
        return len(self.standing)

    @cached_property
    def own_address(self) -> bool:
        """Whether its Pods use their node's address; if only some do, they count as those that don't."""
        return all(spec.host_network for spec in self.specs)

    @cached_property
    def is_meshed(self) -> bool:
        return any(sidecar(spec) is not SidecarKind.NONE for spec in self.specs)

    def hosts(self, number: Mapping[str, int]) -> Counter[int]:
        """Return node -> Ready Pods before the cut; `number` has the number of each node."""
        return Counter(number[pod.node] for pod in self.standing if pod.node in number)


class Roster:
    """The units of a world; `quorums` names workloads that are quorums beside those that the world shows."""

    def __init__(
        self, world: World, rows: Mapping[Row, list[Pod]], quorums: frozenset[str] = frozenset()
    ) -> None:
        self._world, self._quorums = world, quorums
        self._of: dict[Row, list[Unit]] = defaultdict(list)
        self.workloads: dict[str, Unit] = {}
        self._rows: dict[str, list[tuple[Row, list[Pod]]]] = defaultdict(list)
        for row, pods in rows.items():
            self._rows[row[0]].append((row, pods))
            self._add_workload(row, pods)
        for unit in self.workloads.values():
            self._complete(unit)
        self.services = tuple(self._services())

    def of(self, namespace: str, owner: str, spec: PodSpec) -> Iterable[Unit]:
        """Return the units of a Pod; `owner` is the Pod itself if it has none."""
        return self._of.get((namespace, owner, id(spec)), ())

    def of_pod(self, pod: Pod) -> Iterable[Unit]:
        return self.of(pod.namespace, pod.owner or pod.subject, pod.spec)

    def rows(self, namespace: str) -> Iterable[tuple[Row, list[Pod]]]:
        """Return the Pods of a namespace, by owner and template."""
        return self._rows.get(namespace, ())

    # -- workloads -------------------------------------------------------------------------------------------

    def _add_workload(self, row: Row, pods: list[Pod]) -> None:
        namespace, owner, _ = row
        if owner.partition("/")[0] in UNREPLICATED:
            return
        name = named(self._world, namespace, owner)
        unit = self.workloads.setdefault(name, Unit(name))
        unit.add(row, pods)
        self._of[row].append(unit)

    def _complete(self, unit: Unit) -> None:
        """Set the wanted replicas and the quorum of a workload."""
        known = list(self._known(unit))
        tops = [each.replicas for each in known if each.subject == unit.name and each.kind != "DaemonSet"]
        unit.wanted = max(tops, default=len(unit.pods))
        if self._is_quorum(unit, known):
            needed = unit.wanted // 2 + 1
            unit.quorum = needed if unit.ready >= needed else 0
            unit.is_broken_quorum = not unit.quorum

    def _known(self, unit: Unit) -> Iterator[Workload]:
        """Yield the controllers of its Pods, and the controllers of those, as far as the world has them."""
        known = self._world.workloads
        for namespace, owner in sorted(unit.keys):
            if found := known.get((namespace, owner)):
                yield found
                if above := known.get((namespace, found.owner)):
                    yield above

    def _is_quorum(self, unit: Unit, known: Iterable[Workload]) -> bool:
        """Whether it needs most of its Pods: as the plan, its label or its annotation says, else by its kind."""
        said = {each.quorum for each in known} | {
            {"true": True, "false": False}.get(spec.labels.get(QUORUM, "")) for spec in unit.specs
        }
        if unit.name in self._quorums or True in said:
            return True
        kinds = {owner.partition("/")[0] for _, owner in unit.keys}
        return False not in said and bool(kinds & QUORUM_KINDS) and unit.wanted >= QUORUM_SIZE

    # -- Services --------------------------------------------------------------------------------------------

    def _services(self) -> Iterator[Unit]:
        """Yield each Service with Pods, apart from those of the cluster's DNS, which lookups judge.

        A cache on each node has a Service of its own for the same Pods (kube-dns-upstream).
        """
        dns = self._world.dns
        of_dns = (dns.namespace, dns.selector) if dns else None
        for service in self._world.services:
            if not service.selector or (service.namespace, service.selector) == of_dns:
                continue
            unit = Unit(service.subject, service=service)
            for row, pods in self.rows(service.namespace):
                if has_all(service.selector, pods[0].spec.labels):
                    unit.add(row, pods)
                    self._of[row].append(unit)
            if unit.pods:
                unit.wanted = len(unit.pods)
                yield unit


def named(world: World, namespace: str, owner: str) -> str:
    """Return the workload that users know: a ReplicaSet's Deployment, a bare Pod itself."""
    known = world.workloads.get((namespace, owner))
    top = known.owner if known and known.owner else owner
    kind, _, name = top.partition("/")
    return top if kind == "Pod" else f"{kind}/{namespace}/{name}"
