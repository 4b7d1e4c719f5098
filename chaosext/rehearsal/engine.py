"""One play of a cut: a discrete-event simulation of what the control plane does with the Pods, and of what that does
to DNS and the mesh. The node lifecycle is played first (`lifecycle`), as nothing of the rest acts back on it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from chaosext.model.timeline import Kind
from chaosext.rehearsal import dns, kubelet, mesh
from chaosext.rehearsal.eviction import (
    EVICTION_CALLS,
    EVICTION_LAG_S,
    NO_EXECUTE,
    NO_SCHEDULE,
    admits,
    stays_s,
)
from chaosext.rehearsal.lifecycle import Bucket, live
from chaosext.rehearsal.mesh import Sidecar, sidecar
from chaosext.rehearsal.prediction import Dns
from chaosext.rehearsal.scheduling import Placement
from chaosext.rehearsal.stage import HERE_TO_STAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosext.rehearsal.chance import Draw
    from chaosext.rehearsal.scheduling import Group
    from chaosext.rehearsal.stage import Stage
    from chaosext.rehearsal.world import Pod as WorldPod
    from chaosext.rehearsal.world import Service

LIFECYCLE = "kube-controller-manager: node lifecycle controller"
EVICTION = "kube-controller-manager: taint eviction controller"
CONTROLLER = "kube-controller-manager: the Pod's controller"
SCHEDULER = "kube-scheduler"
SLICES = "kube-controller-manager: endpoint slice controller"
KUBELET = "kubelet"
LOOKUPS = "kube-proxy's endpoints and the routes to them"
ISTIOD = "istiod"
PLAN = "the plan"

POD_STATUS_S = 0.05
"""Between the Pods of one node that lose their Ready, one call each, as seen on a busy machine."""

CREATES_WITHIN_S, BINDS_WITHIN_S, SLICES_WITHIN_S = (0.01, 0.3), (0.01, 0.15), (0.01, 0.15)

AFTER_ROLLBACK_S = 60.0
"""How long a rollback that is only imagined is played."""


class Mark(NamedTuple):
    """A line of a trace. `label` tells lines of one kind and object apart; `node` is where, for what is placed."""

    t_s: float
    kind: Kind
    object: str
    detail: str
    source: str
    label: str = ""
    node: str = ""


@dataclass(slots=True, kw_only=True)
class Trace:
    """What one play came to. DNS by observer: node number -> state."""

    marks: list[Mark] = field(default_factory=list)
    during: dict[int, Dns] = field(default_factory=dict)
    after: dict[int, Dns] = field(default_factory=dict)
    rolled_back: dict[int, Dns] = field(default_factory=dict)
    dns_hosts: tuple[tuple[str, bool], ...] = ()
    """Where kube-dns ends up: (node, it answers there), sorted."""
    evicted: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(namespace, owner) -> Pods evicted."""
    pending: Counter[tuple[str, str]] = field(default_factory=Counter)
    stuck: Counter[tuple[str, str]] = field(default_factory=Counter)
    others_evicted: int = 0
    xds_lost_s: float = inf
    xds_back_s: float = inf


@dataclass(slots=True, eq=False)
class _Pod:
    """A followed Pod. `ready` is what the API says, `runs` what is."""

    group: Group
    namespace: str
    subject: str
    owner: str
    node: int = -1
    ready: bool = False
    runs: bool = False
    leaving: bool = False
    gone: bool = False
    is_new: bool = False
    sidecar: Sidecar = Sidecar.NONE
    waits_since: float = inf
    failures: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.owner or self.subject


def simulate(stage: Stage, draw: Draw) -> Trace:
    """One play, by one draw of chance."""
    return _Play(stage, draw).run()


class _Play:
    """The heap of what is to come, and the state of the followed Pods."""

    def __init__(self, stage: Stage, draw: Draw) -> None:
        self._stage, self._draw, self._between = stage, draw, draw.random.uniform
        self._plan, self._world, self._nodes = stage.plan, stage.world, stage.world.nodes
        self._lives = live(stage.fleet, self._world.control_plane, self._plan, draw)
        self._placement = Placement(stage.board, draw)
        self._evictor = Bucket(self._world.control_plane.api_qps, self._world.control_plane.api_burst)
        self._trace, self._quiet = Trace(), False
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._turn = count()
        self._pods: dict[tuple[str, str], _Pod] = {}
        self._on: dict[int, list[_Pod]] = {}
        self._pending: list[_Pod] = []
        self._refused: dict[tuple[str, str], list[_Pod]] = {}
        self._dns = [self._follow(pod) for pod in stage.dns_pods]
        self._istiod = [self._follow(pod) for pod in stage.istiod_pods]
        if stage.follows_all:
            for pods in stage.pods_on.values():
                for pod in pods:
                    self._follow(pod)
        self._frozen = [pod for pod in self._dns if pod.ready]
        self._synced: set[int] = {n for n in stage.observers if not stage.is_cut[n]}
        self._views: dict[int, Dns] = {}
        self._broken = False

    def _follow(self, pod: WorldPod) -> _Pod:
        key = (pod.namespace, pod.name)
        if key not in self._pods:
            made = _Pod(
                self._stage.board.group(pod.namespace, pod.spec), pod.namespace, pod.subject, pod.owner
            )
            made.node = self._stage.board.number.get(pod.node, -1)
            made.ready, made.leaving = pod.ready, pod.terminating
            made.runs = pod.phase == "Running" and made.node >= 0
            made.sidecar = sidecar(pod.spec) if self._world.mesh else Sidecar.NONE
            self._pods[key] = made
            self._on.setdefault(made.node, []).append(made)
        return self._pods[key]

    # -- the clock -----------------------------------------------------------------------------------------

    def _at(self, t: float, act: Callable[..., None], *about: object) -> None:
        """`act(t, *about)` when its time has come; never where `t` is inf."""
        if t < inf:
            heappush(self._heap, (t, next(self._turn), act, about))

    def _until(self, limit: float) -> None:
        while self._heap and self._heap[0][0] <= limit:
            t, _, act, about = heappop(self._heap)
            act(t, *about)

    def _mark(
        self, t: float, kind: Kind, subject: str, detail: str, source: str, label: str = "", node: str = ""
    ) -> None:
        if not self._quiet:
            self._trace.marks.append(Mark(t, kind, subject, detail, source, label, node))

    def run(self) -> Trace:
        plan, end = self._plan, self._plan.horizon_s
        self._begin()
        rollback = plan.rollback_s
        self._until(min(end, rollback if rollback is not None else end))
        self._trace.after = self._seen_now(end)
        self._trace.dns_hosts = self._dns_hosts()
        self._trace.pending = Counter(pod.key for pod in self._pending)
        self._trace.stuck = Counter(pod.key for pod in self._pods.values() if pod.waits_since < inf)
        self._quiet = rollback is None
        self._roll_back(end if rollback is None else rollback)
        self._until(end + AFTER_ROLLBACK_S if rollback is None else end)
        self._trace.rolled_back = self._seen_now(end)
        self._trace.marks.sort()
        return self._trace

    def _begin(self) -> None:
        plan, names = self._plan, len(self._stage.cut)
        for hub in self._stage.hubs:
            self._mark(0.0, Kind.CUT, hub.subject, f"loses {names} nodes for {plan.cut_for_s:g} s", PLAN)
        self._at(0.0, self._look)
        self._at(plan.cut_for_s, self._heal)
        for t, zone, state in self._lives.zones:
            self._at(t, self._zone, zone, state.value)
        for at, number in enumerate(self._stage.living):
            self._schedule_node(at, number)
        self._begin_mesh()

    def _zone(self, t: float, zone: int, state: str) -> None:
        name = self._stage.fleet.zone_names[zone].replace(":\x00:", "/") or "(none)"
        self._mark(t, Kind.ZONE_STATE, f"Zone/{name}", f"is {state}", LIFECYCLE, label=state)

    def _heal(self, t: float) -> None:
        for hub in self._stage.hubs:
            self._mark(t, Kind.HEAL, hub.subject, "the cut is over", PLAN)
        for number in self._stage.observers:
            if self._stage.is_cut[number]:
                self._at(t + self._between(*dns.LEARNS_WITHIN_S), self._learn, number)
        for number in self._stage.cut:
            for pod in self._on.get(number, ()):
                if pod.leaving and not pod.gone:
                    self._stop_later(pod, t)
        self._look(t)

    def _learn(self, t: float, number: int) -> None:
        self._synced.add(number)
        self._look(t)

    # -- nodes ---------------------------------------------------------------------------------------------

    def _schedule_node(self, at: int, number: int) -> None:
        lives = self._lives
        self._at(lives.unknown_s[at], self._lose, number)
        taints = ((lives.no_schedule_s[at], "NoSchedule"), (lives.no_execute_s[at], "NoExecute"))
        for t, effect in taints:
            self._at(t, self._taint, number, effect)
        since, off = lives.no_execute_s[at], lives.no_execute_off_s[at]
        if since < inf:
            for stays, pods, others in self._stage.evictable[number]:
                if since + stays < min(off, self._plan.horizon_s):
                    self._at(since + stays, self._evict_all, pods, others)
        self._at(lives.ready_s[at], self._return, number)
        self._at(lives.schedulable_s[at] + 0.01, self._retry_pending)

    def _lose(self, t: float, number: int) -> None:
        self._mark(t, Kind.NODE_NOT_READY, self._nodes[number].subject, "Ready is Unknown", LIFECYCLE)
        turn = 1
        for pod in self._on.get(number, ()):
            if pod.ready:
                self._at(t + turn * POD_STATUS_S, self._unready, pod)
                turn += 1

    def _unready(self, t: float, pod: _Pod) -> None:
        if pod.ready:
            pod.ready = False
            self._mark(t, Kind.POD_NOT_READY, pod.subject, "its node is lost", LIFECYCLE)
            self._changed(t, pod)

    def _taint(self, t: float, number: int, effect: str) -> None:
        detail = f"node.kubernetes.io/unreachable:{effect}"
        self._mark(t, Kind.NODE_TAINTED, self._nodes[number].subject, detail, LIFECYCLE, label=effect)

    def _return(self, t: float, number: int) -> None:
        self._mark(t, Kind.NODE_READY, self._nodes[number].subject, "Ready is True again", KUBELET)
        for pod in self._on.get(number, ()):
            if pod.runs and not pod.leaving and not pod.gone:
                self._at(t + self._between(*kubelet.CAUGHT_UP_WITHIN_S), self._ready, pod)

    def _is_lost(self, number: int, t: float) -> bool:
        """Cut off, and not back yet."""
        if not self._stage.is_cut[number]:
            return False
        at = self._stage.fleet_of.get(number)
        if at is None or t < self._plan.cut_for_s:
            return True
        lives = self._lives
        return lives.unknown_s[at] < t < lives.ready_s[at]

    def _closed(self, group: Group, t: float) -> Callable[[int], bool]:
        """Whether a node's taints keep the Pod away now."""
        lives, fleet_of = self._lives, self._stage.fleet_of
        spec = group.spec
        minds_schedule = not admits(spec.tolerations, (NO_SCHEDULE,))
        minds_execute = not admits(spec.tolerations, (NO_EXECUTE,))

        def closed(number: int) -> bool:
            at = fleet_of.get(number)
            if at is None:
                return False
            if minds_schedule and lives.no_schedule_s[at] <= t < lives.schedulable_s[at]:
                return True
            return minds_execute and lives.no_execute_s[at] <= t < lives.no_execute_off_s[at]

        return closed

    # -- eviction and what comes instead ---------------------------------------------------------------------

    def _evict_all(self, t: float, pods: list[WorldPod], others: int) -> None:
        self._trace.others_evicted += others
        for pod in pods:
            at = max(t + self._between(*EVICTION_LAG_S), self._evictor.take(EVICTION_CALLS, t))
            self._at(at, self._evict, self._follow(pod))
        if others:
            self._evictor.take(EVICTION_CALLS * others, t)

    def _evict(self, t: float, pod: _Pod) -> None:
        if pod.leaving or pod.gone or pod.node < 0 or self._untied(pod.node, t):
            return
        where = self._nodes[pod.node].name
        self._mark(
            t, Kind.POD_EVICTED, pod.subject, f"from {where}, which is not ready", EVICTION, node=where
        )
        self._trace.evicted[pod.key] += 1
        self._delete(t, pod)

    def _untied(self, number: int, t: float) -> bool:
        at = self._stage.fleet_of.get(number)
        return at is not None and t >= self._lives.no_execute_off_s[at]

    def _delete(self, t: float, pod: _Pod) -> None:
        """Terminating: it leaves the endpoints, its owner replaces it, and it is gone once its kubelet hears of it."""
        pod.leaving, pod.ready = True, False
        self._placement.leave(pod.group, pod.node)
        self._changed(t, pod)
        if not self._is_lost(pod.node, t):
            self._stop_later(pod, t)
        kind = pod.owner.partition("/")[0]
        if pod.owner and kind not in HERE_TO_STAY and kind != "StatefulSet":
            self._replace(t, pod)

    def _stop_later(self, pod: _Pod, t: float) -> None:
        self._at(t + self._between(*kubelet.STOPS_WITHIN_S), self._stop, pod)

    def _stop(self, t: float, pod: _Pod) -> None:
        if pod.gone:
            return
        pod.gone, pod.runs, pod.waits_since = True, False, inf
        self._mark(t, Kind.POD_GONE, pod.subject, f"was on {self._nodes[pod.node].name}", KUBELET)
        self._placement.add(pod.group, pod.node, -1)
        self._placement.leave(pod.group, pod.node, -1)
        self._changed(t, pod)
        for waiting in self._refused.pop(pod.key, ()):
            self._at(t + self._between(*CREATES_WITHIN_S), self._create, waiting)
        if pod.owner.startswith("StatefulSet/"):
            self._replace(t, pod)
        self._retry_pending(t)

    def _replace(self, t: float, pod: _Pod) -> None:
        name = pod.subject if pod.owner.startswith("StatefulSet/") else _unborn(pod)
        made = _Pod(pod.group, pod.namespace, name, pod.owner, is_new=True, sidecar=pod.sidecar)
        for service in (self._dns, self._istiod):
            if pod in service:
                service.append(made)
        self._at(t + self._between(*CREATES_WITHIN_S), self._create, made)

    def _create(self, t: float, pod: _Pod) -> None:
        if pod.sidecar is not Sidecar.NONE and not self._injects(t, pod):
            return
        self._mark(t, Kind.POD_CREATED, pod.subject, f"by {pod.owner}", CONTROLLER)
        self._at(t + self._between(*BINDS_WITHIN_S), self._bind, pod)

    def _injects(self, t: float, pod: _Pod) -> bool:
        """Whether the injection webhook answers; where not, when the Pod's controller asks again."""
        settings = self._world.mesh
        if settings is None or not settings.webhook_fails_closed or pod.namespace not in settings.injects:
            return True
        all_ = settings.istiod.publishes_not_ready
        known = [each for each in self._istiod if each.node >= 0 and not each.gone and (each.ready or all_)]
        if any(self._answers_hub(each, t) for each in known):
            return True
        self._ask_again(t, pod, hangs=bool(known))
        return False

    def _answers_hub(self, pod: _Pod, t: float) -> bool:
        return pod.runs and not (self._stage.is_cut[pod.node] and t < self._plan.cut_for_s)

    def _ask_again(self, t: float, pod: _Pod, *, hangs: bool) -> None:
        pod.failures += 1
        pause = mesh.retry_after_s(pod.failures)
        heal = self._plan.cut_for_s
        if hangs:
            answered = heal + self._between(0.3, 4.0) if t < heal <= t + mesh.WEBHOOK_TIMEOUT_S else inf
            pause = min(t + mesh.WEBHOOK_TIMEOUT_S + pause, answered) - t
        else:
            self._refused.setdefault(pod.key, []).append(pod)
        self._at(t + max(pause, 0.1), self._create_again, pod, hangs)

    def _create_again(self, t: float, pod: _Pod, hangs: bool) -> None:
        """Unless somebody else's event has made the controller ask before."""
        waiting = self._refused.get(pod.key, [])
        if hangs:
            self._create(t, pod)
        elif pod in waiting:
            waiting.remove(pod)
            self._create(t, pod)

    # -- placing ---------------------------------------------------------------------------------------------

    def _bind(self, t: float, pod: _Pod) -> None:
        nodes = self._placement.feasible(pod.group, self._closed(pod.group, t))
        if not nodes:
            if pod not in self._pending:
                self._pending.append(pod)
                self._mark(t, Kind.POD_PENDING, pod.subject, "no node can take it", SCHEDULER)
            return
        if pod in self._pending:
            self._pending.remove(pod)
        self._settle(t, pod, self._pick(pod, self._placement.best(pod.group, nodes)))

    def _pick(self, pod: _Pod, best: list[int]) -> int:
        """A tie: any of them; where it decides how DNS ends, each of them is played."""
        if len(best) == 1:
            return best[0]
        if pod in self._dns and not self._quiet and self._plan.cut_for_s > 0 and len(best) <= 4:
            return best[self._draw.choose([1.0] * len(best))]
        return self._draw.random.choice(best)

    def _settle(self, t: float, pod: _Pod, number: int) -> None:
        name = self._nodes[number].name
        pod.node = number
        self._on.setdefault(number, []).append(pod)
        self._placement.add(pod.group, number)
        self._mark(t, Kind.POD_BOUND, pod.subject, f"to {name}", SCHEDULER, node=name)
        starts = t
        at = self._stage.fleet_of.get(number)
        if at is not None:
            if t < self._plan.cut_for_s:
                starts = self._plan.cut_for_s + self._between(*kubelet.STOPS_WITHIN_S)
            self._evict_later(t, pod, at)
        elif self._stage.is_cut[number]:
            starts = max(t, self._plan.cut_for_s)
        self._at(starts + self._between(*kubelet.STARTS_WITHIN_S), self._start, pod)

    def _evict_later(self, t: float, pod: _Pod, at: int) -> None:
        since = self._lives.no_execute_s[at]
        stays = stays_s(pod.group.spec.tolerations, (NO_EXECUTE,))
        if since < inf and t < self._lives.no_execute_off_s[at] and stays < inf:
            self._at(max(since, t) + stays + self._between(*EVICTION_LAG_S), self._evict, pod)

    def _retry_pending(self, t: float) -> None:
        for pod in sorted(self._pending, key=lambda pod: -pod.group.spec.priority):
            self._bind(t, pod)

    # -- running ---------------------------------------------------------------------------------------------

    def _start(self, t: float, pod: _Pod) -> None:
        if pod.leaving or pod.gone:
            return
        pod.runs = True
        if pod.sidecar is Sidecar.NONE or self._gets_configuration(pod):
            self._ready(t, pod)
        else:
            self._wait(t, pod)

    def _gets_configuration(self, pod: _Pod) -> bool:
        """A new sidecar resolves istiod's name, and finds it ready."""
        view = self._view(self._stage.like[pod.node])
        return view is not Dns.DEAD and any(each.ready for each in self._istiod)

    def _wait(self, t: float, pod: _Pod) -> None:
        pod.waits_since = t
        self._at(t + self._between(*kubelet.first_failure_s(pod.sidecar)), self._fail, pod)
        crash = kubelet.crash_loop_s(pod.sidecar)
        if crash is not None:
            self._at(t + crash, self._crash, pod)

    def _fail(self, t: float, pod: _Pod) -> None:
        if pod.waits_since < inf:
            detail = "its sidecar gets no configuration: probes get connection refused"
            self._mark(t, Kind.PROBE_FAILING, pod.subject, detail, KUBELET)

    def _crash(self, t: float, pod: _Pod) -> None:
        if pod.waits_since < inf:
            self._mark(t, Kind.CRASH_LOOP, pod.subject, "container istio-proxy: CrashLoopBackOff", KUBELET)

    def _ready(self, t: float, pod: _Pod) -> None:
        if pod.ready or pod.leaving or pod.gone or self._is_lost(pod.node, t):
            return
        pod.ready = True
        name = self._nodes[pod.node].name
        self._mark(t, Kind.POD_READY, pod.subject, f"on {name}", KUBELET, node=name)
        self._changed(t, pod)

    # -- endpoints and DNS -----------------------------------------------------------------------------------

    def _changed(self, t: float, pod: _Pod) -> None:
        """A Pod came, went, or changed its Ready: what follows it is looked at again."""
        if pod in self._dns:
            self._at(t + self._between(*SLICES_WITHIN_S), self._slices)
        if pod in self._istiod:
            self._at(t + self._between(*SLICES_WITHIN_S), self._watch_xds)

    def _slices(self, t: float) -> None:
        service = self._world.dns
        if service is not None:
            self._report(t, service)
        self._look(t)

    _told: tuple[str, ...] | None = None

    def _report(self, t: float, service: Service) -> None:
        hosts = tuple(sorted(self._nodes[pod.node].name for pod in self._dns if pod.ready))
        if hosts != self._told:
            self._told = hosts
            detail = ", ".join(f"one on {host}" for host in hosts) or "no ready endpoint"
            self._mark(t, Kind.ENDPOINTS_CHANGED, service.subject, detail, SLICES)

    def _view(self, number: int) -> Dns:
        """How lookups from this node go now."""
        known = [pod for pod in self._dns if pod.ready] if number in self._synced else self._frozen
        answers = [self._answers(number, pod) for pod in known]
        return dns.state(answers, cached=self._world.network.nodelocal_dns)

    def _answers(self, client: int, pod: _Pod) -> bool | None:
        if not pod.runs or pod.node < 0:
            return False
        if self._is_cut_now and self._stage.separated(client, pod.node):
            return False
        return True if pod.group.spec.host_network else self._stage.reaches(client, pod.node)

    _is_cut_now = True

    def _look(self, t: float) -> None:
        """DNS on every observer: what changed is told, and the worst of the cut is kept."""
        self._is_cut_now = t < self._plan.cut_for_s
        if self._world.dns is None:
            return
        for number in self._stage.observers:
            view, before = self._view(number), self._views.get(number, Dns.RESOLVABLE)
            self._views[number] = view
            if self._is_cut_now:
                self._trace.during[number] = dns.worst((view, self._trace.during.get(number, Dns.RESOLVABLE)))
            if view is not before:
                self._tell(t, number, view)
        self._after_dns(t)

    def _tell(self, t: float, number: int, view: Dns) -> None:
        kinds = {Dns.DEAD: Kind.DNS_DEAD, Dns.PARTIAL: Kind.DNS_DEGRADED, Dns.RESOLVABLE: Kind.DNS_RESTORED}
        if view in kinds:
            self._mark(t, kinds[view], self._nodes[number].subject, _because(view), LOOKUPS)

    def _seen_now(self, t: float) -> dict[int, Dns]:
        self._is_cut_now = t < self._plan.cut_for_s
        if self._world.dns is None:
            return dict.fromkeys(self._stage.observers, Dns.UNKNOWN)
        return {number: self._view(number) for number in self._stage.observers}

    def _dns_hosts(self) -> tuple[tuple[str, bool], ...]:
        judged = self._stage.judged
        found = [
            (self._nodes[pod.node].name, all(self._answers(client, pod) is not False for client in judged))
            for pod in self._dns
            if pod.ready
        ]
        return tuple(sorted(found))

    # -- the mesh --------------------------------------------------------------------------------------------

    def _begin_mesh(self) -> None:
        """Sidecars lose their stream where the cut lies between them and every istiod."""
        homes = {pod.node for pod in self._istiod if pod.node >= 0 and pod.runs}
        for pod in self._stage.meshed:
            number = self._stage.board.number[pod.node]
            if homes and all(self._stage.separated(number, home) for home in homes):
                self._at(self._between(*mesh.CONNECTION_DIES_WITHIN_S), self._break_streams)
                return

    def _break_streams(self, t: float) -> None:
        if t < self._plan.cut_for_s:
            self._broken = True
            self._watch_xds(t)

    def _watch_xds(self, t: float) -> None:
        """Lost where no istiod is ready or reachable; restored once all sidecars have their configuration."""
        if self._world.mesh is None or not (self._stage.meshed or self._broken):
            return
        trace, lost = self._trace, not any(pod.ready for pod in self._istiod)
        if (lost or self._broken) and trace.xds_lost_s == inf:
            trace.xds_lost_s = t
            detail = "no istiod is ready" if lost else "sidecars are cut off from istiod"
            self._mark(t, Kind.XDS_LOST, self._world.mesh.istiod.subject, detail, ISTIOD)
        if trace.xds_lost_s < inf and self._in_sync(t):
            self._at(t + self._between(*mesh.SYNCS_WITHIN_S), self._restore_xds)

    def _in_sync(self, t: float) -> bool:
        if t < self._plan.cut_for_s or not any(pod.ready for pod in self._istiod):
            return False
        if self._broken and any(self._views.get(n) is Dns.DEAD for n in self._stage.judged):
            return False
        waiting = (pod for pod in self._pods.values() if pod.sidecar is not Sidecar.NONE)
        return all(pod.waits_since == inf for pod in waiting)

    def _restore_xds(self, t: float) -> None:
        trace = self._trace
        if trace.xds_back_s == inf and self._in_sync(t) and self._world.mesh is not None:
            trace.xds_back_s = t
            self._mark(
                t, Kind.XDS_RESTORED, self._world.mesh.istiod.subject, "all sidecars are in sync", ISTIOD
            )

    def _after_dns(self, t: float) -> None:
        """Sidecars that waited for DNS go on; those in a back-off at their next life."""
        for pods in list(self._on.values()):
            for pod in pods:
                if pod.waits_since < inf and self._gets_configuration(pod):
                    low, high = kubelet.resumes_s(pod.sidecar, t - pod.waits_since)
                    pod.waits_since = inf
                    self._at(t + self._between(low, high), self._ready, pod)
        self._watch_xds(t)

    # -- the rollback ----------------------------------------------------------------------------------------

    def _roll_back(self, t: float) -> None:
        """kube-dns' Pods are deleted, and scheduled anew."""
        mine = [pod for pod in self._dns if not pod.gone and not pod.leaving and pod.node >= 0]
        if not mine:
            return
        subject = f"Service/{mine[0].namespace}/{self._world.dns.name}" if self._world.dns else ""
        self._mark(t, Kind.ROLLBACK, subject, f"deleting {len(mine)} kube-dns Pods", PLAN)
        for pod in mine:
            t += self._between(0.01, 0.05)
            self._mark(t, Kind.POD_DELETED, pod.subject, f"on {self._nodes[pod.node].name}", PLAN)
            self._delete(t, pod)


def _unborn(pod: _Pod) -> str:
    """How a Pod that doesn't exist yet is named: after its owner."""
    return f"Pod/{pod.namespace}/{pod.owner.partition('/')[2]}-*"


def _because(view: Dns) -> str:
    return {
        Dns.DEAD: "no kube-dns endpoint that it knows answers",
        Dns.PARTIAL: "some kube-dns endpoints that it knows don't answer",
        Dns.RESOLVABLE: "every kube-dns endpoint that it knows answers",
    }.get(view, "")
