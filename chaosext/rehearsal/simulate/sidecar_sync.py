"""The mesh in one simulation: which sidecars have their configuration or wait for it, and which Pods are injected."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind
from chaosext.rehearsal.simulate import kubelet_behaviour, sidecar_kinds
from chaosext.rehearsal.simulate.prediction import Dns
from chaosext.rehearsal.simulate.sidecar_kinds import SidecarKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosext.rehearsal.simulate.dns_lookups import Lookups
    from chaosext.rehearsal.simulate.scheduler_cache import PodGroup
    from chaosext.rehearsal.simulate.simulation import Followed, Scene

ISTIOD = "istiod"
KUBELET = "kubelet"

INJECT_LABEL = "sidecar.istio.io/inject"
"""Label of a Pod that asks for a sidecar, whatever its namespace says."""

ANSWERED_WITHIN_S = (0.3, 4.0)
"""Delay from the heal until a hanging webhook call succeeds: the connection is retried after 1, 3 and 7 s."""


class SidecarSync:
    """Tracks istiod and the Pods that depend on it; calls `ready` for a Pod that becomes Ready.

    If Pod reachability is unknown, nothing that depends on it is predicted: neither new Pods that istiod
    would have to inject or configure, nor xDS.
    """

    def __init__(self, scene: Scene, lookups: Lookups, ready: Callable[[float, Followed], None]) -> None:
        self._scene, self._stage, self._lookups, self._ready = scene, scene.stage, lookups, ready
        self._mesh = scene.stage.world.mesh
        self._knows = scene.stage.routes.proof.holds
        self._waiting: dict[Followed, None] = {}
        self._awaited: set[Followed] = set()
        self._asks: dict[PodGroup, bool] = {}
        """Group -> whether its new Pods need the injection webhook; Pods of a group are alike."""
        self._clients = {scene.stage.board.number[pod.node] for pod in scene.stage.meshed}
        self._broken = self._lost = self._told = False
        self._settled = False
        """Whether xDS was lost and restored, and no later cut has begun."""

    def begin(self) -> None:
        """Schedule the loss of streams if the cut separates a sidecar's node from every istiod."""
        homes = {pod.node for pod in self._scene.istiod if pod.runs}
        separated = self._stage.separated
        if homes and any(all(separated(one, home) for home in homes) for one in self._clients):
            for begin, heal in self._stage.plan.periods:
                dies_s = begin + self._scene.between(*sidecar_kinds.CONNECTION_DIES_WITHIN_S)
                self._scene.at(dies_s, self._break, heal)
        for begin, _ in self._stage.plan.periods[1:]:
            self._scene.at(begin, self._unsettle)

    def _break(self, t: float, heal: float) -> None:
        if t < heal:
            self._broken = True
            self.look(t)

    def _unsettle(self, t: float) -> None:
        self._settled = False
        self.look(t)

    # -- injection -------------------------------------------------------------------------------------------

    def injects(self, pod: Followed) -> bool | None:
        """Whether the injection webhook admits a new Pod now; None if unknown."""
        group = pod.group
        if group not in self._asks:
            self._asks[group] = self._asks_webhook(pod)
        if not self._asks[group]:
            return True
        _, answers = self._webhook()
        return answers if self._knows or not answers else None

    def _asks_webhook(self, pod: Followed) -> bool:
        """Whether a Pod like this is created only if the webhook answers."""
        settings = self._mesh
        if settings is None or pod.sidecar is SidecarKind.NONE or not settings.webhook_fails_closed:
            return False
        return pod.namespace in settings.injects or pod.group.spec.labels.get(INJECT_LABEL) == "true"

    def _webhook(self) -> tuple[bool, bool]:
        """Return whether the API server knows an endpoint of istiod, and whether one answers it."""
        everyone = self._mesh is not None and self._mesh.istiod.publishes_not_ready
        is_known = False
        for pod in self._scene.istiod:
            if not pod.gone and pod.node >= 0 and (everyone or (pod.serving and not pod.leaving)):
                is_known = True
                if pod.runs and not self._scene.is_cut_off(pod.node):
                    return True, True
        return is_known, False

    def asks_again_s(self, t: float, failures: int) -> float:
        """Return when the controller of a refused Pod retries.

        A call to an endpoint hangs until it times out; without endpoints it fails at once.
        """
        pause, (is_known, _) = sidecar_kinds.retry_after_s(failures), self._webhook()
        if not is_known:
            return t + max(0.05, pause)
        heal = self._stage.plan.heals_s(t)
        if t < heal <= t + sidecar_kinds.WEBHOOK_TIMEOUT_S:
            return heal + self._scene.between(*ANSWERED_WITHIN_S)
        return t + sidecar_kinds.WEBHOOK_TIMEOUT_S + pause

    # -- configuration ---------------------------------------------------------------------------------------

    def expect(self, pod: Followed) -> None:
        """Register a new Pod: if it has a sidecar, the mesh is not in sync until it is Ready."""
        if pod.sidecar is not SidecarKind.NONE:
            self._awaited.add(pod)

    def arrived(self, pod: Followed) -> None:
        """Register that the Pod is Ready, or is gone before that."""
        self._awaited.discard(pod)
        self._waiting.pop(pod, None)

    def start(self, t: float, pod: Followed) -> None:
        """Start a Pod's containers: it is Ready now, or waits for its sidecar."""
        if pod.sidecar is SidecarKind.NONE:
            self._ready(t, pod)
            return
        if not self._knows:
            return
        if self._can_configure(pod, self._lookups.viewer(names=True)):
            self._ready(t, pod)
            return
        pod.waits_since = t
        self._waiting[pod] = None
        at, between = self._scene.at, self._scene.between
        at(t + between(*kubelet_behaviour.first_failure_s(pod.sidecar)), self._fail, pod)
        crash_s = kubelet_behaviour.crash_loop_s(pod.sidecar, t)
        if crash_s is not None:
            at(crash_s - between(*kubelet_behaviour.REFUSED_BEFORE_S), self._fail, pod)
            at(crash_s, self._crash, pod)

    def _can_configure(self, pod: Followed, view: Callable[[int], Dns]) -> bool:
        """Whether a new sidecar resolves istiod's name and reaches a ready istiod."""
        return view(self._stage.like[pod.node]) is not Dns.DEAD and self._finds_istiod(pod.node)

    def _finds_istiod(self, number: int) -> bool:
        answers, epoch = self._stage.answers, self._scene.epoch
        return any(
            answers(number, each.node, each.group.spec.host_network, epoch)
            for each in self._scene.istiod
            if each.ready
        )

    def _fail(self, t: float, pod: Followed) -> None:
        if pod.waits_since < inf and pod.there:
            detail = "its sidecar receives no configuration: probes get connection refused"
            self._scene.mark(t, Kind.PROBE_FAILING, pod.subject, detail, KUBELET)

    def _crash(self, t: float, pod: Followed) -> None:
        if pod.waits_since < inf and pod.there:
            detail = "container istio-proxy: CrashLoopBackOff"
            self._scene.mark(t, Kind.CRASH_LOOP, pod.subject, detail, KUBELET)

    def look(self, t: float) -> None:
        """Handle a change of DNS or istiod: waiting sidecars resume after their delay; xDS is lost or restored."""
        if self._waiting:
            self._configure(t)
        self._watch(t)

    def _configure(self, t: float) -> None:
        view = self._lookups.viewer(names=True)
        for pod in [each for each in self._waiting if self._can_configure(each, view)]:
            del self._waiting[pod]
            configured_s = t + self._scene.between(*sidecar_kinds.CONFIGURED_WITHIN_S)
            self._scene.at(
                kubelet_behaviour.resumes_s(pod.sidecar, pod.waits_since, configured_s), self._resume, pod
            )

    def _resume(self, t: float, pod: Followed) -> None:
        pod.waits_since = inf
        self._ready(t, pod)

    # -- xDS as observed
    # ------------------------------------------------------------------------------------------

    def _watch(self, t: float) -> None:
        if self._mesh is None or not self._stage.meshed or self._settled:
            return
        if not self._knows:
            return
        trace, is_ready = self._scene.trace, any(pod.ready for pod in self._scene.istiod)
        if not self._lost and (self._broken or not is_ready):
            self._lost, trace.xds_lost_s, trace.xds_back_s = True, min(t, trace.xds_lost_s), inf
            detail = "sidecars are cut off from istiod" if is_ready else "no istiod is ready"
            self._scene.at(
                t + self._scene.between(*sidecar_kinds.LOSS_SEEN_WITHIN_S), self._tell_lost, detail
            )
        if self._lost and self._in_sync():
            self._scene.at(t + self._scene.between(*sidecar_kinds.SYNCED_WITHIN_S), self._restore)

    def _tell_lost(self, t: float, detail: str) -> None:
        if self._mesh is not None and self._lost and not self._told:
            self._scene.mark(t, Kind.XDS_LOST, self._mesh.istiod.subject, detail, ISTIOD)
            self._told = True

    def _in_sync(self) -> bool:
        """Whether istiod is ready, no new sidecar is missing, and disconnected ones have reached istiod again."""
        if self._scene.is_cut or self._awaited or not any(pod.ready for pod in self._scene.istiod):
            return False
        if not self._broken:
            return True
        view = self._lookups.viewer(names=True)
        return Dns.DEAD not in map(view, self._stage.judged) and all(map(self._finds_istiod, self._clients))

    def _restore(self, t: float) -> None:
        if self._lost and self._in_sync() and self._mesh is not None:
            self._scene.trace.xds_back_s = t
            self._lost, self._broken, self._settled = False, False, True
            detail = "all sidecars are in sync"
            if self._told:
                self._told = False
                self._scene.mark(t, Kind.XDS_RESTORED, self._mesh.istiod.subject, detail, ISTIOD)
