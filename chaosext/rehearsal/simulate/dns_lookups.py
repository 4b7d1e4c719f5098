"""DNS in one simulation: the kube-dns endpoints that each node's kube-proxy knows, which of them answer, and events.

Source: Kubernetes v1.34 pkg/proxy/topology.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind
from chaosext.rehearsal.simulate.prediction import Dns
from chaosext.rehearsal.snapshot.world import Nearness

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from chaosext.rehearsal.simulate.inputs import SimulationInputs
    from chaosext.rehearsal.simulate.reach import Epoch
    from chaosext.rehearsal.simulate.simulation import Followed, Scene

SLICES_WITHIN_S = (0.01, 0.15)
"""Delay from a Pod's change to the update of its EndpointSlice, in seconds (pkg/controller/endpointslice)."""

SLICES = "kube-controller-manager: endpoint slice controller"
MOMENT_S = 1e-6
"""Shorter times are rounding errors, in seconds."""

LOOKUPS = "kube-proxy's endpoints and the routes to them"

NOTICED = {
    Dns.DEAD: (Kind.DNS_DEAD, "cannot reach any kube-dns endpoint"),
    Dns.PARTIAL: (Kind.DNS_DEGRADED, "can reach only some kube-dns endpoints"),
    Dns.RESOLVABLE: (Kind.DNS_RESTORED, "can reach all kube-dns endpoints"),
}


class Lookups:
    """Tracks kube-dns' endpoints; calls `changed` whenever the result of lookups may change."""

    def __init__(self, scene: Scene, changed: Callable[[float], None]) -> None:
        self._scene, self._stage, self._changed = scene, scene.stage, changed
        self._frozen: list[list[Followed]] = []
        self._stale: dict[int, int] = {}
        """Node that is cut off -> number of the frozen endpoints that it knows; the others know the present ones."""
        self._kept: dict[int, int] = {}
        """Node that has reconnected -> number of the frozen endpoints that it doesn't remove, if it removes none."""
        self._views: dict[int, Dns] = {}
        self._since_s: dict[int, float] | None = {}
        """Since when each observer has its view; None once nothing counts any more."""
        self._told: tuple[str, ...] = ()

    def begin(self) -> None:
        """Start at the first cut."""
        for begin, _ in self._stage.plan.periods[1:]:
            self._scene.at(begin, self._cut_off)
        for t in self._scene.reachability_changes_s:
            self._scene.at(t, self._look)
        self._cut_off(0.0)

    def _cut_off(self, _t: float) -> None:
        """Freeze what cut nodes know until they reconnect; those that have not since the last cut know less."""
        self._frozen.append(self._endpoints())
        for number in self._stage.observers:
            if self._stage.is_cut[number] and number not in self._stale:
                self._stale[number] = len(self._frozen) - 1
                self._scene.at(self._scene.hears_s(number), self._learn, number)

    def _learn(self, t: float, number: int) -> None:
        age = self._stale.pop(number)
        if self._stage.world.network.keeps_backends:
            self._kept[number] = age
        if self._notes(t, number, self.view(number)):
            self._changed(t)

    def pod_changed(self, t: float) -> None:
        """Handle a kube-dns Pod that appeared, disappeared, or changed its Ready condition."""
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
        """Update the view of every observer."""
        if self._stage.world.dns is not None:
            for number, view in self.views().items():
                self._notes(t, number, view)
            self._changed(t)

    def _notes(self, t: float, number: int, view: Dns) -> bool:
        """Record an observer's view and its worst state in the cut; mark a change, and return whether there was one."""
        before, during = self._views.get(number, Dns.RESOLVABLE), self._scene.trace.during
        if view is not before:
            self._spend(t, number, before)
        self._views[number] = view
        if self._scene.is_cut:
            during[number] = worst((view, during.get(number, Dns.RESOLVABLE)))
        if view is not before and view in NOTICED:
            kind, detail = NOTICED[view]
            self._scene.mark(t, kind, self._stage.world.nodes[number].subject, detail, LOOKUPS)
        return view is not before

    def _spend(self, t: float, number: int, view: Dns) -> None:
        """Count the time that the observer had this view until now."""
        if self._since_s is None:
            return
        since, self._since_s[number] = self._since_s.get(number, 0.0), t
        if view is Dns.RESOLVABLE or since >= t:
            return
        trace, cut_s = self._scene.trace, self._stage.plan.cut_s(since, t)
        for counts, spent in ((trace.cut_s, cut_s), (trace.healed_s, t - since - cut_s)):
            if spent > MOMENT_S:
                counts[number, view] = counts.get((number, view), 0.0) + spent

    def conclude(self) -> None:
        """Count the time until now, and none after it."""
        for number, view in self._views.items():
            self._spend(self._scene.now, number, view)
        self._since_s = None

    def view(self, number: int) -> Dns:
        """Return the state of lookups from this observer now."""
        if not self._stage.knows_dns:
            return Dns.UNKNOWN
        return self._known_to(number).view(number, self._scene.epoch)

    def _known_to(self, number: int) -> _Endpoints:
        """Return the endpoints that a node knows."""
        stage, known = self._stage, self._known(*self._known_since(number))
        cached = stage.world.network.nodelocal_dns
        return _Endpoints(known, stage, cached=cached, captured=stage.captured)

    def _known_since(self, number: int) -> tuple[int | None, int | None]:
        """Return the numbers of frozen endpoints: those that a node knows alone, and those beside the present ones."""
        return self._stale.get(number), self._kept.get(number)

    def _known(self, frozen: int | None, kept: int | None) -> list[Followed]:
        """Return endpoints; a node that is cut off keeps those from before the cut."""
        if frozen is not None:
            return self._frozen[frozen]
        present = self._endpoints()
        if kept is None:
            return present
        return [*present, *(pod for pod in self._frozen[kept] if not pod.ready and pod not in present)]

    def views(self) -> dict[int, Dns]:
        """Return the state of each observer."""
        viewer = self.viewer()
        return {number: viewer(number) for number in self._stage.observers}

    def viewer(self, *, names: bool = False) -> Callable[[int], Dns]:
        """Return a function from a node to its state now; with `names` of the cluster's own names only.

        Observers of the same kind that know the same endpoints and host none of them share one result.
        """
        stage = self._stage
        if not stage.knows_dns:
            return lambda _: Dns.UNKNOWN
        cached = self._is_stale_served if names else stage.world.network.nodelocal_dns
        captured = frozenset[int]() if names else stage.captured
        known: dict[tuple[int | None, int | None], _Endpoints] = {}
        epoch, kinds = self._scene.epoch, stage.kinds
        seen: dict[tuple[int, tuple[int | None, int | None]], Dns] = {}

        def view(number: int) -> Dns:
            since = self._known_since(number)
            if since not in known:
                known[since] = _Endpoints(self._known(*since), stage, cached=cached, captured=captured)
            endpoints = known[since]
            if number in endpoints.hosts:
                return endpoints.view(number, epoch)
            key = kinds[number], since
            if key not in seen:
                seen[key] = endpoints.view(number, epoch)
            return seen[key]

        return view

    @property
    def _is_stale_served(self) -> bool:
        """Whether NodeLocal DNSCache still answers for cluster names that it knew before the cut."""
        world = self._stage.world
        return world.network.nodelocal_dns and self._scene.now < world.dns_stale_s

    def _endpoints(self) -> list[Followed]:
        """Return the ready endpoints; without any, the terminating ones that still serve (`CategorizeEndpoints`)."""
        ready = [pod for pod in self._scene.dns if pod.ready]
        if ready or not self._stage.uses_ending:
            return ready
        return [pod for pod in self._scene.dns if pod.serving]

    def hosts(self) -> tuple[tuple[str, bool], ...]:
        """Return the nodes of ready kube-dns Pods, and whether every judged node reaches the Pod there."""
        ready = [pod for pod in self._scene.dns if pod.ready]
        return tuple(sorted((self._scene.name(pod.node), self._answers_all(pod)) for pod in ready))

    def _answers_all(self, pod: Followed) -> bool:
        stage, own = self._stage, pod.group.spec.host_network
        epoch = self._scene.epoch
        return pod.runs and all(
            stage.answers(client, pod.node, own, epoch) is not False for client in stage.judged
        )


class _Endpoints:
    """kube-dns' endpoints as one kube-proxy knows them, grouped by the kind of their node."""

    def __init__(
        self, known: Iterable[Followed], stage: SimulationInputs, *, cached: bool, captured: frozenset[int]
    ) -> None:
        self._stage, self._service, self._cached, self._captured = stage, stage.world.dns, cached, captured
        self._silent: set[int] = set()
        self._alike: dict[tuple[int, bool], dict[int, None]] = {}
        for pod in known:
            if pod.runs:
                own = pod.group.spec.host_network
                self._alike.setdefault((stage.kinds[pod.node], own), {})[pod.node] = None
            else:
                self._silent.add(pod.node)
        self.hosts = {number for numbers in self._alike.values() for number in numbers} | self._silent

    def view(self, number: int, epoch: Epoch) -> Dns:
        """Return the state of lookups from a node."""
        return state(self._answers(number, epoch), cached=self._cached or number in self._captured)

    def _answers(self, number: int, epoch: Epoch) -> set[bool | None]:
        """Return the answers of the endpoints that the node uses: all, or those near it (`CategorizeEndpoints`)."""
        service = self._service
        is_near = service is not None and service.prefers is Nearness.NODE and number in self.hosts
        if is_near or (service is not None and service.local_only):
            return self._own(number)
        if self._stage.prefers_zone:
            zone = self._stage.world.nodes[number].zone
            near = {host for host in self.hosts if self._stage.world.nodes[host].zone == zone}
            if near:
                return self._of(near, number, epoch)
        return self._of(self.hosts, number, epoch)

    def _own(self, number: int) -> set[bool | None]:
        runs = any(number in hosts for hosts in self._alike.values())
        return {answer for answer, there in ((True, runs), (False, number in self._silent)) if there}

    def _of(self, used: set[int], number: int, epoch: Epoch) -> set[bool | None]:
        found: set[bool | None] = {False} if self._silent & used else set()
        for (_, own), hosts in self._alike.items():
            if number in hosts:
                found.add(True)
            other = next((host for host in hosts if host != number and host in used), None)
            if other is not None:
                found.add(self._stage.answers(number, other, own, epoch))
        return found


SEVERITY = (Dns.RESOLVABLE, Dns.UNKNOWN, Dns.PARTIAL, Dns.DEAD)


def state(answers: Collection[bool | None], *, cached: bool = False) -> Dns:
    """Return one node's state from `answers`: one entry per endpoint that its kube-proxy knows, None if unknown.

    With NodeLocal DNSCache (`cached`), names outside the cluster still resolve, and cluster names fail after
    their 30 s in the cache (its Corefile forwards cluster.local to kube-dns' own endpoints). With sidecars that
    answer for Services, it is the other way round.
    """
    if None in answers:
        return Dns.UNKNOWN
    if answers and all(answers):
        return Dns.RESOLVABLE
    return Dns.PARTIAL if any(answers) or cached else Dns.DEAD


def worst(states: Iterable[Dns]) -> Dns:
    """Return the worst of one node's states over time."""
    return max(states, key=SEVERITY.index, default=Dns.RESOLVABLE)


def overall(states: Iterable[Dns]) -> Dns:
    """Return the state of all nodes with workloads: dead if it is dead on all, partial if only some are affected."""
    kinds = set(states)
    if len(kinds) == 1:
        return kinds.pop()
    if Dns.UNKNOWN in kinds and Dns.DEAD not in kinds and Dns.PARTIAL not in kinds:
        return Dns.UNKNOWN
    return Dns.PARTIAL if kinds else Dns.UNKNOWN
