"""The inputs that all simulations of one cut share: cut nodes, Pods by node, judged nodes, tracked objects."""

from __future__ import annotations

from collections import Counter, defaultdict
from copy import copy
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.rehearsal.network.network_model import routes_of
from chaosext.rehearsal.simulate.dns_capture import meshed_nodes
from chaosext.rehearsal.simulate.doubts import doubts_of
from chaosext.rehearsal.simulate.node_lifecycle import EXCLUDED_LABEL, CutNodes
from chaosext.rehearsal.simulate.reach import UNTOUCHED, Epoch, Reachability
from chaosext.rehearsal.simulate.roster import Roster, named
from chaosext.rehearsal.simulate.scheduler_cache import Board
from chaosext.rehearsal.simulate.sidecar_kinds import SidecarKind, sidecar
from chaosext.rehearsal.simulate.taints import NO_EXECUTE, stays_s
from chaosext.rehearsal.snapshot.control_plane_flags import minor
from chaosext.rehearsal.snapshot.cut_targets import separation
from chaosext.rehearsal.snapshot.world import Nearness, OtherMesh

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.cluster.objects import Taint
    from chaosext.rehearsal.simulate.dns_endpoints import Endpoints
    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.simulate.roster import Unit
    from chaosext.rehearsal.simulate.scheduler_cache import PodState
    from chaosext.rehearsal.snapshot.world import Doubt, Node, Pod, PodSpec, World

WATCH_ALL_PODS = 500
"""Up to this many Pods on cut nodes, all are tracked; beyond, only kube-dns' and istiod's."""

PLACED = 20_000
"""Maximum of evicted Pods times nodes that a simulation places, where not all Pods are tracked."""

WATCH_ALL_NODES = 100
"""Up to this many nodes, DNS is tracked on each; beyond, on one node of each kind."""

FRESH_S = 300.0
"""Maximum age of a known lease renewal from which later ones are derived, in seconds.

Each renewal is up to 0.4 s late, so that older knowledge is worthless.
"""


class Answers:
    """Whether Pods on one node answer a client on another; cached for each pair of node kinds."""

    def __init__(self, stage: SimulationInputs) -> None:
        self._stage = stage
        self._known: dict[tuple[object, object, bool, Epoch], bool | None] = {}

    def __call__(self, client: int, host: int, own_address: bool, epoch: Epoch) -> bool | None:
        """Return the answer, None if unknown. `own_address`: the Pod uses its node's."""
        if client == host:
            return True
        kinds = self._stage.kinds
        key = kinds[client], kinds[host], own_address, epoch
        if key not in self._known:
            self._known[key] = self._found(client, host, own_address, epoch)
        return self._known[key]

    def _found(self, client: int, host: int, own_address: bool, epoch: Epoch) -> bool | None:
        if epoch.is_cut and self._stage.separated(client, host):
            return False
        return True if own_address else self._stage.routes.reaches(client, host, epoch.route_changes)


class SimulationInputs:
    """A world and a plan, prepared for simulation. Raises `Refused` if the plan names nodes that do not exist."""

    def __init__(self, world: World, plan: Plan, board: Board | None = None) -> None:
        self.world, self.plan = world, plan
        self.board = board or Board(world)
        self.routes = routes_of(world, plan.cut_nodes, plan.doubts, plan.periods)
        if unknown := sorted(plan.cut_nodes - self.board.number.keys()):
            raise Refused(
                f"--cut-nodes: {', '.join(unknown[:5])} is not a node in the snapshot",
                f"name some of {', '.join(sorted(self.board.number)[:5])}, …",
            )
        self.cut = tuple(n for n, node in enumerate(world.nodes) if node.name in plan.cut_nodes)
        self.is_cut = [node.name in plan.cut_nodes for node in world.nodes]
        self.separated = separation(world.nodes, plan.cut_nodes)
        self.living = tuple(n for n in self.cut if world.nodes[n].ready == "True")
        self.fleet_of = {number: at for at, number in enumerate(self.living)}
        self.answers = Answers(self)
        self.endpoints: dict[tuple[object, ...], Endpoints] = {}
        """Endpoints of kube-dns that simulations met: there are few, and what nodes see of them is known then."""

    def turned(self, world: World) -> SimulationInputs:
        """Return the inputs for a world with an assumption turned; all that it leaves as it is remains prepared."""
        if (
            world.nodes is not self.world.nodes
            or world.pods is not self.world.pods
            or world.dns != self.world.dns
            or world.network != self.world.network
        ):
            return SimulationInputs(world, self.plan)
        if world.mesh != self.world.mesh:
            return SimulationInputs(world, self.plan, self.board)
        twin = copy(self)
        twin.world, twin.answers, twin.endpoints = world, Answers(twin), {}
        for name in ("doubts", "uses_ending"):
            twin.__dict__.pop(name, None)
        return twin

    @cached_property
    def hubs(self) -> tuple[Node, ...]:
        """The control-plane nodes that are not cut: the side that cut nodes lose contact with."""
        return tuple(n for n in self.world.nodes if n.control_plane and n.name not in self.plan.cut_nodes)

    @cached_property
    def dns_pods(self) -> tuple[Pod, ...]:
        return self.board.behind(self.world.dns)

    @cached_property
    def knows_dns(self) -> bool:
        """Whether a kube-dns was ready before the cut, and it is what the nodes ask; otherwise DNS is unknown."""
        if self.world.dns is None or self.world.dns_doubts:
            return False
        return any(pod.ready and not pod.terminating for pod in self.dns_pods)

    @cached_property
    def prefers_zone(self) -> bool:
        """Whether nodes ask the kube-dns of their own zone while there is one."""
        return self.world.dns is not None and self.world.dns.prefers in (Nearness.ZONE, Nearness.BALANCED)

    @cached_property
    def unmodelled(self) -> tuple[OtherMesh, ...]:
        """What Pods depend on and isn't modelled: meshes, and webhooks whose own Pods are all cut off."""
        return (*self.world.other_meshes, *self._closed_webhooks())

    def _closed_webhooks(self) -> Iterator[OtherMesh]:
        for each in self.world.webhooks:
            servers = self.board.behind(each.service)
            if all(pod.node in self.plan.cut_nodes for pod in servers if pod.ready):
                yield OtherMesh(
                    name=f"webhook {each.subject}",
                    subject=each.subject,
                    members=each.members,
                    settles="a Pod of it on a node that is not cut, or failurePolicy Ignore,",
                    why="without its Pods none of those is created again, and when it is tried again isn't modelled",
                )

    @cached_property
    def doubts(self) -> tuple[Doubt, ...]:
        """Why no outcome of this cut can be known, apart from routes and DNS."""
        longest_s = max(end - begin for begin, end in self.plan.periods)
        return doubts_of(self.world, self.plan.cut_nodes, longest_s)

    @cached_property
    def istiod_pods(self) -> tuple[Pod, ...]:
        return self.board.behind(self.world.mesh.istiod if self.world.mesh else None)

    @cached_property
    def pods_on(self) -> dict[int, list[Pod]]:
        """Cut node -> its Pods."""
        return {
            number: pods
            for number, pods in self.board.residents.items()
            if number >= 0 and self.is_cut[number]
        }

    @property
    def states(self) -> dict[int, PodState]:
        """Identity of a Pod -> the Pod before the cut, as each simulation begins with it, where tracked so far."""
        return self.board.states[self.world.mesh is not None]

    @cached_property
    def follows_all(self) -> bool:
        return sum(map(len, self.pods_on.values())) <= WATCH_ALL_PODS

    @cached_property
    def watched(self) -> frozenset[tuple[str, str]]:
        """(namespace, name) of the Pods that are tracked individually."""
        chosen: tuple[Pod, ...] = (*self.dns_pods, *self.istiod_pods)
        if self.follows_all:
            chosen += tuple(pod for pods in self.pods_on.values() for pod in pods)
        return frozenset((pod.namespace, pod.name) for pod in chosen)

    @cached_property
    def _watched_nodes(self) -> frozenset[int]:
        """The nodes of Pods that are tracked individually."""
        chosen = (*self.dns_pods, *self.istiod_pods)
        return frozenset(self.board.number.get(pod.node, -1) for pod in chosen)

    @cached_property
    def evictable(self) -> dict[int, list[tuple[float, list[Pod], list[Pod]]]]:
        """Cut node -> (seconds after NoExecute, watched Pods, other Pods), soonest first."""
        if not self.world.control_plane.evicts:
            return {number: [] for number in self.living}
        return {number: self._evictable(number) for number in self.living}

    def _evictable(self, number: int) -> list[tuple[float, list[Pod], list[Pod]]]:
        taints = (NO_EXECUTE, *_no_execute(self.world.nodes[number]))
        known = self.board.stays.setdefault(taints, {})
        after: dict[float, list[Pod]] = defaultdict(list)
        for pod in self.pods_on.get(number, ()):
            stays = known.get(id(pod.spec))
            if stays is None:
                stays = self.stays_s(pod.spec, taints)
            if stays < inf and not pod.terminating:
                after[stays].append(pod)
        return [(stays, *self._split(pods)) for stays, pods in sorted(after.items())]

    def stays_s(self, spec: PodSpec, taints: tuple[Taint, ...] = (NO_EXECUTE,)) -> float:
        """Return how long a Pod of a template stays on a node with these NoExecute taints, cached."""
        known = self.board.stays.setdefault(taints, {})
        if id(spec) not in known:
            known[id(spec)] = stays_s(spec.tolerations, taints)
        return known[id(spec)]

    def _split(self, pods: list[Pod]) -> tuple[list[Pod], list[Pod]]:
        if self.follows_all:
            return pods, []
        if self.board.number[pods[0].node] not in self._watched_nodes:
            return [], pods
        known = [pod for pod in pods if (pod.namespace, pod.name) in self.watched]
        others = [pod for pod in pods if (pod.namespace, pod.name) not in self.watched] if known else pods
        return known, others

    @cached_property
    def fleet(self) -> CutNodes:
        """The inputs of the node lifecycle controller."""
        nodes, zones = self.world.nodes, sorted({node.zone for node in self.world.nodes})
        number_of, living = {zone: at for at, zone in enumerate(zones)}, set(self.living)
        ready, lost = [0] * len(zones), [0] * len(zones)
        for number, node in enumerate(nodes):
            if number not in living and EXCLUDED_LABEL not in node.labels:
                (ready if node.ready == "True" else lost)[number_of[node.zone]] += 1
        return CutNodes(
            zone_of=tuple(number_of[nodes[n].zone] for n in self.living),
            ready_pods=tuple(sum(pod.ready for pod in self.pods_on.get(n, ())) for n in self.living),
            counted=tuple(EXCLUDED_LABEL not in nodes[n].labels for n in self.living),
            ages_s=tuple(self._age_s(nodes[n]) for n in self.living),
            zone_names=tuple(zones),
            others_ready=tuple(ready),
            others_lost=tuple(lost),
            simulated=frozenset(at for at, n in enumerate(self.living) if nodes[n].simulated),
        )

    def _age_s(self, node: Node) -> float | None:
        """Return the age of the node's lease at `cut_at` without further renewals; None if the snapshot is too old."""
        if self.plan.cut_at is None or node.lease_renewed is None:
            return None
        age = (self.plan.cut_at - node.lease_renewed).total_seconds()
        return age if 0 <= age <= FRESH_S else None

    @cached_property
    def uses_ending(self) -> bool:
        """Whether kube-proxy falls back to terminating endpoints: feature ProxyTerminatingEndpoints, on since 1.26."""
        return not (0, 0) < minor(self.world.control_plane.version) < (1, 26)

    @cached_property
    def stranded(self) -> Mapping[int, int]:
        """Observer -> number of nodes whose Pods it stops reaching with the routes' first change.

        Only nodes that the cut does not separate count: those that it does are unreachable anyway.
        """
        found: Counter[int] = Counter()
        for kind, alike in self._of_kind.items():
            for client in self.observers:
                host = next((number for number in alike if number != client), client)
                if self._loses(client, host):
                    found[client] += len(alike) - (self.kinds[client] == kind)
        return found

    @cached_property
    def _of_kind(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = defaultdict(list)
        for number, kind in enumerate(self.kinds):
            found[kind].append(number)
        return found

    def _loses(self, client: int, host: int) -> bool:
        if client == host or self.separated(client, host):
            return False
        before, after = (
            self.answers(client, host, False, Epoch(is_cut=True, route_changes=changes)) for changes in (0, 1)
        )
        return before is True and after is False

    @cached_property
    def observers(self) -> tuple[int, ...]:
        """Nodes whose DNS is tracked: all, or one of each kind plus those that host kube-dns."""
        if len(self.world.nodes) <= WATCH_ALL_NODES:
            return tuple(range(len(self.world.nodes)))
        return tuple(sorted(set(self.like.values())))

    @cached_property
    def like(self) -> dict[int, int]:
        """Node -> the observer with the same view."""
        if len(self.world.nodes) <= WATCH_ALL_NODES:
            return {number: number for number in range(len(self.world.nodes))}
        first: dict[tuple[int, str], int] = {}
        hosts = {pod.node for pod in self.dns_pods}
        return {
            number: first.setdefault((kind, name if name in hosts else ""), number)
            for number, (kind, name) in enumerate(zip(self.kinds, self.board.number, strict=True))
        }

    @cached_property
    def kinds(self) -> tuple[int, ...]:
        """The number of each node's kind; two nodes of one kind reach the same others, cut or not."""
        numbers: dict[tuple[object, ...], int] = {}
        by_zone = self.prefers_zone
        kinds = (
            (
                self.is_cut[number],
                node.control_plane,
                by_zone and node.zone,
                number in self.captured,
                self.routes.kind(number),
            )
            for number, node in enumerate(self.world.nodes)
        )
        return tuple(numbers.setdefault(kind, len(numbers)) for kind in kinds)

    @cached_property
    def captured(self) -> frozenset[int]:
        """Nodes on which sidecars answer all lookups of Services."""
        if self.world.mesh is None or not self.world.mesh.captures_dns:
            return frozenset()
        return frozenset(self.board.number[name] for name in meshed_nodes(self.world))

    @cached_property
    def judged(self) -> tuple[int, ...]:
        """Observers whose lookups decide the state of DNS: nodes without a control-plane role; otherwise all."""
        workers = tuple(n for n in self.observers if not self.world.nodes[n].control_plane)
        return workers or self.observers

    # -- what users lose -------------------------------------------------------------------------------------

    @cached_property
    def roster(self) -> Roster:
        """The workloads and Services, which all cuts of a world share."""
        rosters, quorums = self.board.rosters, self.plan.quorums
        if quorums not in rosters:
            rosters[quorums] = Roster(self.world, self.board.rows, quorums)
        return rosters[quorums]

    @cached_property
    def reach(self) -> Reachability:
        """Answers about sets of nodes, in the cut and after it."""
        return Reachability(self.kinds, self.answers)

    @cached_property
    def _reach_before(self) -> Reachability:
        """The same before the cut."""
        routes = self.routes
        return Reachability(self.kinds, lambda client, host, own, _: own or routes.reaches(client, host))

    def hosts_before(self, unit: Unit) -> Mapping[int, int]:
        """Return node -> Ready Pods of a unit before the cut."""
        if unit not in self.board.hosts:
            self.board.hosts[unit] = unit.hosts(self.board.number)
        return self.board.hosts[unit]

    def reached_before(self, unit: Unit) -> bool:
        """Whether all clients reached some of its Pods before the cut, as far as is known."""
        hosts = self.hosts_before(unit)
        return self._reach_before.all_reach(self.judged, hosts, unit.own_address, UNTOUCHED) is not False

    @cached_property
    def has_followers(self) -> bool:
        """Whether clients follow the API in the cut: nodes that are not cut, and run ordinary Pods."""
        return any(
            not is_cut and (not node.control_plane or not node.taints)
            for is_cut, node in zip(self.is_cut, self.world.nodes, strict=True)
        )

    @cached_property
    def cut_quorums(self) -> tuple[Unit, ...]:
        """Quorums with members on cut nodes."""
        workloads = self.roster.workloads.values()
        return tuple(unit for unit in workloads if unit.quorum and self.lost_by(unit))

    def lost_by(self, unit: Unit) -> int:
        """Return the number of its Ready Pods on cut nodes."""
        return sum(pod.node in self.plan.cut_nodes for pod in unit.standing)

    @property
    def most_evicted(self) -> int:
        """How many evicted Pods a simulation tracks that it did not track before; fewer in large clusters."""
        return min(WATCH_ALL_PODS, PLACED // max(1, len(self.world.nodes)))

    def counts(self, unit: Unit) -> bool:
        """Whether each of its Pods on cut nodes is tracked."""
        if self.follows_all:
            return True
        cut, watched = self.plan.cut_nodes, self.watched
        return all(pod.node not in cut or (pod.namespace, pod.name) in watched for pod in unit.pods)

    # -- names -----------------------------------------------------------------------------------------------

    def named(self, namespace: str, owner: str) -> str:
        """Return the workload that users know: a ReplicaSet's Deployment, a bare Pod itself."""
        return named(self.world, namespace, owner)

    @cached_property
    def meshed(self) -> tuple[Pod, ...]:
        """Pods with a sidecar, on cut nodes."""
        if self.world.mesh is None:
            return ()
        return tuple(self._meshed())

    def _meshed(self) -> Iterator[Pod]:
        for pods in self.pods_on.values():
            yield from (pod for pod in pods if sidecar(pod.spec) is not SidecarKind.NONE)


def _no_execute(node: Node) -> tuple[Taint, ...]:
    return tuple(taint for taint in node.taints if taint.effect == "NoExecute")
