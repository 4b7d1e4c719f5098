"""DNS in one simulation: the kube-dns endpoints that each node's kube-proxy knows, which of them answer, and events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind
from chaosext.rehearsal.simulate.dns_endpoints import DnsEndpoint, Endpoints, Viewpoint
from chaosext.rehearsal.simulate.prediction import Dns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chaosext.rehearsal.simulate.dns_endpoints import Views
    from chaosext.rehearsal.simulate.simulation import Followed, Scene

SLICES_WITHIN_S = (0.01, 0.15)
"""Delay from a Pod's change to the update of its EndpointSlice, in seconds (pkg/controller/endpointslice)."""

SLICES = "kube-controller-manager: endpoint slice controller"
MOMENT_S = 1e-6
"""Shorter times are rounding errors, in seconds."""

MOST_ENDPOINTS = 1000
"""Up to this many sets of endpoints are known, with the states that nodes see."""

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
        self._learned = 0
        """How often a node has begun or ended to know other endpoints than the present ones."""
        self._looked_at: tuple[object, ...] = ()
        """What the views depended on when all were last looked at."""
        self._views: dict[int, Dns] = {}
        self._outages: dict[int, Dns] = {}
        """Observer -> the state that counts as an outage: that of the cluster's own names."""
        self._since_s: dict[int, float] | None = {}
        """Since when each observer has its state in `_outages`; None once nothing counts any more."""
        self._told: tuple[str, ...] = ()

    def begin(self) -> None:
        """Start at the first cut."""
        for begin, _ in self._stage.plan.periods[1:]:
            self._scene.at(begin, self._cut_off)
        for t in self._scene.reachability_changes_s:
            self._scene.at(t, self._look)
        if self._has_node_caches and self._stage.world.dns_stale_s:
            self._scene.at(self._stage.world.dns_stale_s, self._look)
        self._cut_off(0.0)

    def _cut_off(self, _t: float) -> None:
        """Freeze what cut nodes know until they reconnect; those that have not since the last cut know less."""
        self._frozen.append(self._endpoints())
        for number in self._stage.observers:
            if self._stage.is_cut[number] and number not in self._stale:
                self._stale[number] = len(self._frozen) - 1
                self._learned += 1
                self._scene.at(self._scene.hears_s(number), self._learn, number)

    def _learn(self, t: float, number: int) -> None:
        age = self._stale.pop(number)
        if self._stage.world.network.keeps_backends:
            self._kept[number] = age
        self._learned += 1
        view = self.view(number)
        outage = self._outage_viewer()(number) if self._has_node_caches else view
        if self._notes(t, number, view, outage):
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
        """Update the view of every observer, if anything has changed that it depends on."""
        if self._stage.world.dns is None:
            return
        depends_on = self._depends_on()
        if depends_on != self._looked_at:
            self._looked_at, known, counted = depends_on, self._views, self._outages
            outage_of = self._outage_viewer() if self._has_node_caches else None
            during = self._scene.trace.during if self._scene.is_cut else None
            for number, view in self.views().items():
                outage = view if outage_of is None else outage_of(number)
                is_same = known.get(number) is view and counted.get(number) is outage
                if not is_same or (during is not None and during.get(number) is not view):
                    self._notes(t, number, view, outage)
        self._changed(t)

    def _depends_on(self) -> tuple[object, ...]:
        """Return all that the observers' views depend on."""
        if not self._stage.knows_dns:
            return (self._scene.epoch,)
        ages = range(len(self._frozen))
        frozen = [self._known(age, None) for age in ages] if self._stale else ()
        kept = [self._known(None, age) for age in ages] if self._kept else ()
        present = self._known(None, None)
        return (self._scene.epoch, self._learned, self._is_stale_served, present, *frozen, *kept)

    def _notes(self, t: float, number: int, view: Dns, outage: Dns) -> bool:
        """Record an observer's view and its worst state in the cut; mark a change, and return whether there was one.

        `outage`: the state that counts as an outage from now on.
        """
        before, during = self._views.get(number, Dns.RESOLVABLE), self._scene.trace.during
        is_new = view is not before
        self._views[number] = view
        self._count(t, number, outage)
        if self._scene.is_cut:
            during[number] = worst((view, during.get(number, Dns.RESOLVABLE)))
        if is_new and view in NOTICED:
            kind, detail = NOTICED[view]
            self._scene.mark(t, kind, self._stage.world.nodes[number].subject, detail, LOOKUPS)
        return is_new

    def _count(self, t: float, number: int, outage: Dns) -> None:
        """Begin to count the time of another state, if it is another one."""
        before = self._outages.get(number, Dns.RESOLVABLE)
        if outage is not before:
            self._spend(t, number, before)
        self._outages[number] = outage

    def _spend(self, t: float, number: int, view: Dns) -> None:
        """Count the time that the observer was in this state until now."""
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
        for number, view in self._outages.items():
            self._spend(self._scene.now, number, view)
        self._since_s = None

    def view(self, number: int) -> Dns:
        """Return the state of lookups from this observer now."""
        return self.viewer()(number)

    def views(self) -> dict[int, Dns]:
        """Return the state of each observer."""
        viewer = self.viewer()
        return {number: viewer(number) for number in self._stage.observers}

    def viewer(self, *, names: bool = False) -> Callable[[int], Dns]:
        """Return a function from a node to its state now; with `names` of the cluster's own names only."""
        stage = self._stage
        if not stage.knows_dns:
            return lambda _: Dns.UNKNOWN
        cached = self._is_stale_served if names else self._has_node_caches
        return self._viewer(Viewpoint(self._scene.epoch, cached, frozenset() if names else stage.captured))

    def _outage_viewer(self) -> Callable[[int], Dns]:
        """Return a function from a node to the state that counts as an outage.

        That names outside the cluster still resolve, by a cache on the node, ends no outage of the cluster's own.
        """
        stage = self._stage
        if not stage.knows_dns:
            return lambda _: Dns.UNKNOWN
        return self._viewer(Viewpoint(self._scene.epoch, self._is_stale_served, stage.captured))

    def _viewer(self, seen: Viewpoint) -> Callable[[int], Dns]:
        present = self._known(None, None).views(seen)
        if not self._stale and not self._kept:
            return present.__getitem__
        known: dict[tuple[int | None, int | None], Views] = {(None, None): present}

        def view(number: int) -> Dns:
            since = self._stale.get(number), self._kept.get(number)
            if since not in known:
                known[since] = self._known(*since).views(seen)
            return known[since][number]

        return view

    def _known(self, frozen: int | None, kept: int | None) -> Endpoints:
        """Return endpoints by the numbers of frozen ones: what a node knows alone, and beside the present ones.

        A node that is cut off keeps those from before the cut.
        """
        pods, known = self._known_pods(frozen, kept), self._stage.endpoints
        key = tuple([(pod.node, pod.runs, pod.group.spec.host_network) for pod in pods])
        found = known.get(key)
        if found is None:
            if len(known) >= MOST_ENDPOINTS:
                known.clear()
            found = known[key] = Endpoints(map(DnsEndpoint._make, key), self._stage)
        return found

    def _known_pods(self, frozen: int | None, kept: int | None) -> list[Followed]:
        if frozen is not None:
            return self._frozen[frozen]
        present = self._endpoints()
        if kept is None:
            return present
        return [*present, *(pod for pod in self._frozen[kept] if not pod.ready and pod not in present)]

    @property
    def _has_node_caches(self) -> bool:
        return self._stage.world.network.nodelocal_dns

    @property
    def _is_stale_served(self) -> bool:
        """Whether NodeLocal DNSCache still answers for cluster names that it knew before the cut."""
        world = self._stage.world
        return self._has_node_caches and self._scene.now < world.dns_stale_s

    def _endpoints(self) -> list[Followed]:
        """Return the ready endpoints; without any, the terminating ones that still serve (`CategorizeEndpoints`)."""
        ready = [pod for pod in self._scene.dns if pod.serving and not pod.leaving]
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


SEVERITY = (Dns.RESOLVABLE, Dns.UNKNOWN, Dns.PARTIAL, Dns.DEAD)


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
