"""DNS in one play: which endpoints each node's kube-proxy knows, which of them answer it, and what people notice.

Source: Kubernetes v1.34 pkg/proxy/topology.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind
from chaosext.rehearsal import dns
from chaosext.rehearsal.prediction import Dns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chaosext.rehearsal.scene import Followed, Scene

SLICES_WITHIN_S = (0.01, 0.15)
"""From a Pod's change to the EndpointSlice's (pkg/controller/endpointslice)."""

SLICES = "kube-controller-manager: endpoint slice controller"
LOOKUPS = "kube-proxy's endpoints and the routes to them"

NOTICED = {
    Dns.DEAD: (Kind.DNS_DEAD, "no kube-dns endpoint that it knows answers"),
    Dns.PARTIAL: (Kind.DNS_DEGRADED, "some kube-dns endpoints that it knows don't answer"),
    Dns.RESOLVABLE: (Kind.DNS_RESTORED, "every kube-dns endpoint that it knows answers"),
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
        scene.at(0.0, self._look)
        scene.at(heal, self._look)
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
            during[number] = dns.worst((view, during.get(number, Dns.RESOLVABLE)))
        if view is not before and view in NOTICED:
            kind, detail = NOTICED[view]
            self._scene.mark(t, kind, self._stage.world.nodes[number].subject, detail, LOOKUPS)
        return view is not before

    def view(self, number: int) -> Dns:
        """How lookups from this observer go now."""
        return self._view(number, self._usable(self._known(number in self._synced)))

    def views(self) -> dict[int, Dns]:
        """Every observer's; those of one kind that host no kube-dns and know the same see the same."""
        hosts, kinds = {pod.node for pod in self._scene.dns}, self._stage.kinds
        usable = {synced: self._usable(self._known(synced)) for synced in (True, False)}
        seen: dict[object, Dns] = {}
        found = {}
        for number in self._stage.observers:
            synced = number in self._synced
            key = number if number in hosts else (kinds[number], synced)
            if key not in seen:
                seen[key] = self._view(number, usable[synced])
            found[number] = seen[key]
        return found

    def _known(self, synced: bool) -> list[Followed]:
        return self._endpoints() if synced else self._frozen

    def _endpoints(self) -> list[Followed]:
        """Ready ones; where there are none, those that still serve while they end (`CategorizeEndpoints`)."""
        ready = [pod for pod in self._scene.dns if pod.ready]
        if ready or not self._stage.uses_ending:
            return ready
        return [pod for pod in self._scene.dns if pod.serving]

    def _usable(self, known: Iterable[Followed]) -> list[tuple[int, bool]]:
        """Of endpoints: (node, or -1 where nothing runs, whether it has that node's address)."""
        return [(pod.node if pod.runs else -1, pod.group.spec.host_network) for pod in known]

    def _view(self, number: int, usable: Iterable[tuple[int, bool]]) -> Dns:
        if self._stage.world.dns is None or not self._scene.dns:
            return Dns.UNKNOWN
        answers, is_cut = self._stage.answers, self._scene.is_cut
        each = [node >= 0 and answers[number, node, own, is_cut] for node, own in usable]
        return dns.state(each, cached=self._stage.world.network.nodelocal_dns)

    def hosts(self) -> tuple[tuple[str, bool], ...]:
        """Where ready kube-dns Pods are, and whether every judged node has an answer from there."""
        ready = [pod for pod in self._scene.dns if pod.ready]
        return tuple(sorted((self._scene.name(pod.node), self._answers_all(pod)) for pod in ready))

    def _answers_all(self, pod: Followed) -> bool:
        answers, is_cut, own = self._stage.answers, self._scene.is_cut, pod.group.spec.host_network
        judged = self._stage.judged
        return pod.runs and all(answers[client, pod.node, own, is_cut] is not False for client in judged)
