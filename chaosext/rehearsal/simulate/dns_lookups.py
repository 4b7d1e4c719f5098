"""DNS in one play: which endpoints each node's kube-proxy knows, which of them answer it, and what people notice.

Source: Kubernetes v1.34 pkg/proxy/topology.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind
from chaosext.rehearsal.simulate.prediction import Dns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from chaosext.rehearsal.simulate.inputs import Stage
    from chaosext.rehearsal.simulate.simulation import Followed, Scene

SLICES_WITHIN_S = (0.01, 0.15)
"""From a Pod's change to the EndpointSlice's (pkg/controller/endpointslice)."""

SLICES = "kube-controller-manager: endpoint slice controller"
LOOKUPS = "kube-proxy's endpoints and the routes to them"

NOTICED = {
    Dns.DEAD: (Kind.DNS_DEAD, "cannot reach any kube-dns endpoint"),
    Dns.PARTIAL: (Kind.DNS_DEGRADED, "can reach only some kube-dns endpoints"),
    Dns.RESOLVABLE: (Kind.DNS_RESTORED, "can reach all kube-dns endpoints"),
}


class Lookups:
    """Follows kube-dns' endpoints. `changed` is called whenever lookups may go differently."""

    def __init__(self, scene: Scene, changed: Callable[[float], None]) -> None:
        self._scene, self._stage, self._changed = scene, scene.stage, changed
        self._frozen = self._endpoints()
        self._synced = {number for number in scene.stage.observers if not scene.stage.is_cut[number]}
        self._views: dict[int, Dns] = {}
        self._told: tuple[str, ...] = ()

    def begin(self) -> None:
        """From the cut on: nodes that are cut off know what they knew, until they are connected again."""
        scene, heal = self._scene, self._stage.plan.cut_for_s
        for t in self._stage.epochs_s:
            scene.at(t, self._look)
        for number in self._stage.observers:
            if self._stage.is_cut[number]:
                scene.at(max(heal, scene.hears_s(number)), self._learn, number)

    def _learn(self, t: float, number: int) -> None:
        self._synced.add(number)
        if self._notes(t, number, self.view(number)):
            self._changed(t)

    def pod_changed(self, t: float) -> None:
        """A kube-dns Pod came, went, or changed its Ready."""
        self._scene.at(t + self._scene.between(*SLICES_WITHIN_S), self._publish)

    def _publish(self, t: float) -> None:
        service, scene = self._stage.world.dns, self._scene
        hosts = tuple(sorted(scene.name(pod.node) for pod in scene.dns if pod.ready))
        if service is not None and hosts != self._told:
            self._told = hosts
            detail = ", ".join(f"one on {host}" for host in hosts) or "no ready endpoint"
            scene.mark(t, Kind.ENDPOINTS_CHANGED, service.subject, detail, SLICES, label=detail)
        self._look(t)

    def _look(self, t: float) -> None:
        """Every observer looks."""
        if self._stage.world.dns is not None:
            for number, view in self.views().items():
                self._notes(t, number, view)
            self._changed(t)

    def _notes(self, t: float, number: int, view: Dns) -> bool:
        """One observer's view: what differs is told, and the worst of the cut is kept."""
        before, during = self._views.get(number, Dns.RESOLVABLE), self._scene.trace.during
        self._views[number] = view
        if self._scene.is_cut:
            during[number] = worst((view, during.get(number, Dns.RESOLVABLE)))
        if view is not before and view in NOTICED:
            kind, detail = NOTICED[view]
            self._scene.mark(t, kind, self._stage.world.nodes[number].subject, detail, LOOKUPS)
        return view is not before

    def view(self, number: int) -> Dns:
        """How lookups from this observer go now."""
        if not self._stage.knows_dns:
            return Dns.UNKNOWN
        return self._known_to(number).view(number, self._stage.epoch(self._scene.now))

    def _known_to(self, number: int) -> _Endpoints:
        """A node that is cut off knows what it knew before."""
        return _Endpoints(self._endpoints() if number in self._synced else self._frozen, self._stage)

    def views(self) -> dict[int, Dns]:
        """Every observer's."""
        viewer = self.viewer()
        return {number: viewer(number) for number in self._stage.observers}

    def viewer(self) -> Callable[[int], Dns]:
        """How lookups go, as of now. Observers of one kind that host no kube-dns and know the same see the same."""
        stage, synced = self._stage, self._synced
        if not stage.knows_dns:
            return lambda _: Dns.UNKNOWN
        fresh, old = _Endpoints(self._endpoints(), stage), _Endpoints(self._frozen, stage)
        epoch, kinds, seen = stage.epoch(self._scene.now), stage.kinds, dict[tuple[int, bool], Dns]()

        def view(number: int) -> Dns:
            endpoints = fresh if number in synced else old
            if number in endpoints.hosts:
                return endpoints.view(number, epoch)
            key = kinds[number], endpoints is fresh
            if key not in seen:
                seen[key] = endpoints.view(number, epoch)
            return seen[key]

        return view

    def _endpoints(self) -> list[Followed]:
        """Ready ones; where there are none, those that still serve while they end (`CategorizeEndpoints`)."""
        ready = [pod for pod in self._scene.dns if pod.ready]
        if ready or not self._stage.uses_ending:
            return ready
        return [pod for pod in self._scene.dns if pod.serving]

    def hosts(self) -> tuple[tuple[str, bool], ...]:
        """Where ready kube-dns Pods are, and whether every judged node has an answer from there."""
        ready = [pod for pod in self._scene.dns if pod.ready]
        return tuple(sorted((self._scene.name(pod.node), self._answers_all(pod)) for pod in ready))

    def _answers_all(self, pod: Followed) -> bool:
        stage, own = self._stage, pod.group.spec.host_network
        epoch = stage.epoch(self._scene.now)
        return pod.runs and all(
            stage.answers(client, pod.node, own, epoch) is not False for client in stage.judged
        )


class _Endpoints:
    """kube-dns' endpoints as a kube-proxy knows them, those on nodes of one kind together."""

    def __init__(self, known: Iterable[Followed], stage: Stage) -> None:
        self._stage, self._is_any_silent = stage, False
        self._alike: dict[tuple[int, bool], dict[int, None]] = {}
        for pod in known:
            if pod.runs:
                own = pod.group.spec.host_network
                self._alike.setdefault((stage.kinds[pod.node], own), {})[pod.node] = None
            else:
                self._is_any_silent = True
        self.hosts = {number for numbers in self._alike.values() for number in numbers}

    def view(self, number: int, epoch: int) -> Dns:
        """How lookups from a node go."""
        found: set[bool | None] = {False} if self._is_any_silent else set()
        for (_, own), hosts in self._alike.items():
            if number in hosts:
                found.add(True)
            other = next((host for host in hosts if host != number), None)
            if other is not None:
                found.add(self._stage.answers(number, other, own, epoch))
        return state(found, cached=self._stage.world.network.nodelocal_dns)


SEVERITY = (Dns.RESOLVABLE, Dns.UNKNOWN, Dns.PARTIAL, Dns.DEAD)


def state(answers: Collection[bool | None], *, cached: bool = False) -> Dns:
    """Of one node: `answers` has an entry for each endpoint that its kube-proxy knows, None where nobody knows.

    With NodeLocal DNSCache (`cached`) names outside the cluster still resolve, and those of the cluster don't once
    their 30 s are over (its Corefile forwards cluster.local to kube-dns' own endpoints).
    """
    if None in answers:
        return Dns.UNKNOWN
    if answers and all(answers):
        return Dns.RESOLVABLE
    return Dns.PARTIAL if any(answers) or cached else Dns.DEAD


def worst(states: Iterable[Dns]) -> Dns:
    """The worst of one node's states over a time."""
    return max(states, key=SEVERITY.index, default=Dns.RESOLVABLE)


def overall(states: Iterable[Dns]) -> Dns:
    """Of all nodes that carry workloads: dead where it is dead for all, partial where some are hit."""
    kinds = set(states)
    if len(kinds) == 1:
        return kinds.pop()
    if Dns.UNKNOWN in kinds and Dns.DEAD not in kinds and Dns.PARTIAL not in kinds:
        return Dns.UNKNOWN
    return Dns.PARTIAL if kinds else Dns.UNKNOWN
