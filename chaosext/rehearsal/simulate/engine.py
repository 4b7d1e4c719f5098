"""One simulation of a cut: a discrete-event simulation of what the control plane does with the Pods.

It includes the effects on DNS (`dns_lookups`) and the mesh (`sidecar_sync`). The node events are simulated
first, because nothing else affects them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from math import inf
from typing import TYPE_CHECKING

from chaosext.model.duration_text import short_duration
from chaosext.model.timeline import Kind
from chaosext.rehearsal.simulate import kubelet_behaviour
from chaosext.rehearsal.simulate.closed_nodes import ClosedNodes
from chaosext.rehearsal.simulate.dns_lookups import Lookups
from chaosext.rehearsal.simulate.impact_watch import ImpactWatch
from chaosext.rehearsal.simulate.node_lifecycle import Bucket
from chaosext.rehearsal.simulate.ordered_sets import OrderedSets
from chaosext.rehearsal.simulate.pod_routes import PodRoutes
from chaosext.rehearsal.simulate.roster import HERE_TO_STAY
from chaosext.rehearsal.simulate.scheduler import Placement
from chaosext.rehearsal.simulate.sidecar_kinds import SidecarKind
from chaosext.rehearsal.simulate.sidecar_sync import SidecarSync
from chaosext.rehearsal.simulate.simulation import Scene
from chaosext.rehearsal.simulate.taints import EVICTION_CALLS, EVICTION_LAG_S
from chaosext.rehearsal.simulate.time_budget import UNBOUNDED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from chaosext.rehearsal.simulate.inputs import SimulationInputs
    from chaosext.rehearsal.simulate.node_lifecycle import Episode
    from chaosext.rehearsal.simulate.planned_cut import Periods
    from chaosext.rehearsal.simulate.samples import Draw
    from chaosext.rehearsal.simulate.scheduler_cache import PodGroup
    from chaosext.rehearsal.simulate.simulation import Followed, Trace
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import Pod

LIFECYCLE = "kube-controller-manager: node lifecycle controller"
EVICTION = "kube-controller-manager: taint eviction controller"
CONTROLLER = "kube-controller-manager: the Pod's controller"
SCHEDULER = "kube-scheduler"
KUBELET = "kubelet"
PLAN = "the plan"

CREATES_WITHIN_S, BINDS_WITHIN_S = (0.01, 0.3), (0.01, 0.15)
"""A controller's reaction to a deletion, and the scheduler's to a new Pod; seconds, as measured."""

DELETES_WITHIN_S = (0.02, 0.15)
"""Delay between two deletions of a rollback; seconds, as measured."""

AFTER_ROLLBACK_S = 60.0
"""Seconds to simulate after a hypothetical rollback, one that the plan does not include."""

LOWEST_BELOW_ZERO = 2**31
"""`minSumPrioritiesScoreFunc` adds it to each priority, so that fewer Pods always cost less."""

OPENED_S = 0.001
"""Delay from a node losing its taint to the scheduler retrying pending Pods."""

FEW_TIES = 4
"""Up to this many equally good nodes for kube-dns, each is simulated."""


def simulate(
    stage: SimulationInputs, draw: Draw, budget: TimeBudget = UNBOUNDED, *, with_marks: bool = True
) -> Trace:
    """Run one simulation with one set of random values, and record the lines of its trace unless told otherwise.

    Raises `TimeIsUp` if the time budget ends first.
    """
    return _Play(Scene(stage, draw, budget, with_marks=with_marks)).run()


class _Play:
    """The behaviour of controllers, scheduler and kubelet towards Pods."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._stage, self._plan = scene, scene.stage, scene.stage.plan
        self._lives, self._trace, self._between = scene.lives, scene.trace, scene.between
        self._placement = Placement(scene.stage.board, scene.draw)
        self._untied: dict[int, list[tuple[float, float]]] = defaultdict(list)
        """Cut node -> the periods of NoExecute taints that master disruption mode removed."""
        self._closed = ClosedNodes(scene.lives, scene.stage.living)
        settings = scene.stage.world.control_plane
        self._evictor = Bucket(settings.api_qps, settings.api_burst)
        self._lookups = Lookups(scene, self._dns_changed)
        self._sidecars = SidecarSync(scene, self._lookups, self._ready)
        self._pending: dict[Followed, None] = {}
        self._awaits_openings = False
        self._refused: dict[tuple[str, str], dict[Followed, None]] = {}
        self._impact = ImpactWatch(scene)
        self._ordered = OrderedSets(scene)
        self._room = scene.stage.most_evicted

    def run(self) -> Trace:
        scene, end, rollback = self._scene, self._plan.horizon_s, self._plan.rollback_s
        self._begin()
        scene.until(end if rollback is None else min(end, rollback))
        self._conclude()
        scene.quiet = rollback is None
        self._roll_back()
        scene.until(end + AFTER_ROLLBACK_S if rollback is None else end)
        self._trace.rolled_back = self._lookups.views()
        self._trace.marks.sort()
        return self._trace

    def _conclude(self) -> None:
        """Record the state without a rollback."""
        trace, followed = self._trace, [pod for pods in self._scene.on.values() for pod in pods]
        self._lookups.conclude()
        trace.after, trace.dns_hosts = self._lookups.views(), self._lookups.hosts()
        trace.losses = self._impact.losses()
        trace.first_lost_s, trace.dark_s = self._lives.first_lost_s, self._lives.dark_s
        trace.pending = Counter(pod.key for pod in self._pending)
        trace.stuck = Counter(pod.key for pod in followed if pod.waits_since < inf and pod.there)

    def _begin(self) -> None:
        scene = self._scene
        for hub in self._stage.hubs:
            for begin, heal in self._plan.periods:
                lost = f"loses {len(self._stage.cut)} nodes for {short_duration(heal - begin)}"
                scene.mark(begin, Kind.CUT, hub.subject, lost, PLAN)
                scene.mark(heal, Kind.HEAL, hub.subject, "the cut ended", PLAN)
        for _, heal in self._plan.periods:
            scene.at(heal, self._heal)
        for node, since, until in self._lives.untied:
            self._untied[node].append((since, until))
        for at, number in enumerate(self._stage.living):
            episodes = self._lives.episodes(at)
            executed = self._no_execute(at, episodes)
            if scene.with_marks:
                self._tell(number, episodes, executed)
            self._schedule(number, episodes, executed)
        self._tell_zones()
        PodRoutes(scene).begin()
        self._lookups.begin()
        self._sidecars.begin()
        self._impact.begin()

    def _dns_changed(self, t: float) -> None:
        self._sidecars.look(t)

    def _pod_changed(self, t: float, pod: Followed) -> None:
        self._impact.changed(t, pod)
        if pod in self._scene.dns:
            self._lookups.pod_changed(t)
        if pod in self._scene.istiod or pod.sidecar is not SidecarKind.NONE:
            self._sidecars.look(t)
        for made in self._ordered.released_by(pod):
            self._create_soon(t, made)

    # -- nodes -----------------------------------------------------------------------------------------------

    def _tell(self, number: int, episodes: Sequence[Episode], executed: Periods) -> None:
        """Mark the node's own events. They have no effects themselves."""
        subject, horizon = self._stage.world.nodes[number].subject, self._plan.horizon_s
        lines = []
        for each in episodes:
            lines += [
                (each.unknown_s, Kind.NODE_NOT_READY, "Ready is Unknown", LIFECYCLE, ""),
                (each.ready_s, Kind.NODE_READY, "Ready is True again", KUBELET, ""),
            ]
        scheduled = [(each.no_schedule_s, "NoSchedule") for each in episodes]
        for t, effect in (*scheduled, *((since, "NoExecute") for since, _ in executed)):
            detail = f"node.kubernetes.io/unreachable:{effect}"
            lines.append((t, Kind.NODE_TAINTED, detail, LIFECYCLE, effect))
        for t, kind, detail, source, label in lines:
            if t <= horizon:
                self._scene.mark(t, kind, subject, detail, source, label)

    def _tell_zones(self) -> None:
        for t, zone, state in self._lives.zones:
            name = self._stage.fleet.zone_names[zone].replace(":\x00:", "/").strip("/") or "(none)"
            if t <= self._plan.horizon_s:
                self._scene.mark(
                    t, Kind.ZONE_STATE, f"Zone/{name}", f"is {state.value}", LIFECYCLE, state.value
                )

    def _schedule(self, number: int, episodes: Sequence[Episode], executed: Periods) -> None:
        """Schedule the effects of the node's events on Pods."""
        scene = self._scene
        for each in episodes:
            if number in scene.on:
                scene.at(each.unknown_s, self._lose, number)
                scene.at(each.ready_s, self._return, number)
        emptied: set[float] = set()
        for since, off in executed:
            for stays, pods, others in self._stage.evictable[number]:
                if since + stays < min(off, self._plan.horizon_s):
                    left = [] if stays in emptied else others
                    scene.at(since + stays, self._evict_all, pods, left)
                    emptied.add(stays)

    def _no_execute(self, at: int, episodes: Sequence[Episode]) -> Periods:
        """Return the periods with the node's NoExecute taint; master disruption mode removes it for a while."""
        lost = [(each.no_execute_s, each.no_execute_off_s) for each in episodes if each.no_execute_s < inf]
        return (*self._untied.get(at, ()), *lost)

    def _lose(self, t: float, number: int) -> None:
        serving = [pod for pod in self._scene.on[number] if pod.serving]
        for turn, pod in enumerate(serving, start=1):
            self._scene.at(t + turn * self._lives.call_s, self._unready, pod)

    def _unready(self, t: float, pod: Followed) -> None:
        if pod.serving:
            if pod.ready:
                self._scene.mark(t, Kind.POD_NOT_READY, pod.subject, "its node is lost", LIFECYCLE)
            pod.serving = False
            self._pod_changed(t, pod)

    def _return(self, t: float, number: int) -> None:
        for pod in self._scene.on[number]:
            if pod.runs and pod.there and not pod.ails and pod.waits_since == inf:
                self._scene.at(t + self._between(*kubelet_behaviour.CAUGHT_UP_WITHIN_S), self._ready, pod)

    def _heal(self, t: float) -> None:
        for number in self._stage.cut:
            for pod in self._scene.on.get(number, ()):
                if pod.leaving and not pod.gone:
                    self._leave(number, pod)
        self._impact.healed(t)
        self._sidecars.look(t)

    def _leave(self, number: int, pod: Followed) -> None:
        """Stop the Pod once its kubelet is connected again; before that, the kubelet may still report it Ready."""
        hears_s = self._scene.hears_s(number)
        self._scene.at(hears_s + self._stops_after_s(pod), self._stop, pod)
        self._scene.at(hears_s + self._between(*kubelet_behaviour.RECONCILED_WITHIN_S), self._serve, pod)

    def _serve(self, t: float, pod: Followed) -> None:
        if pod.runs and not pod.serving and not pod.ails and not self._scene.is_cut_off(pod.node):
            pod.serving = True
            self._pod_changed(t, pod)

    def _closed_to(self, group: PodGroup, t: float) -> Collection[int]:
        """Return the nodes whose taints keep the group's Pods away now."""
        return self._closed.at(t, self._stage.board.rules(group).standing.minds)

    # -- eviction and replacement
    # -----------------------------------------------------------------------------

    def _evict_all(self, t: float, pods: list[Pod], others: list[Pod]) -> None:
        """Evict all Pods of a node whose toleration expires now, spaced by the rate limit of their common client.

        Pods that are not tracked are from now on, unless they are too many.
        """
        if len(others) <= self._room:
            self._room -= len(others)
            pods, others = [*pods, *others], []
        for pod in pods:
            at = max(t + self._between(*EVICTION_LAG_S), self._evictor.take(EVICTION_CALLS, t))
            self._scene.at(at, self._evict, self._scene.follow(pod))
        if others:
            self._trace.others_evicted += len(others)
            self._trace.uncounted.append(others)
            self._evictor.take(EVICTION_CALLS * len(others), t)

    def _evict(self, t: float, pod: Followed) -> None:
        at = self._stage.fleet_of.get(pod.node)
        if not pod.there or at is None or t >= self._lives.no_execute_off_after(at, t):
            return
        where = self._scene.name(pod.node)
        self._scene.mark(
            t, Kind.POD_EVICTED, pod.subject, f"from {where}, which is not ready", EVICTION, node=where
        )
        self._trace.evicted[pod.key] += 1
        self._delete(t, pod)

    def _delete(self, t: float, pod: Followed) -> None:
        """Make the Pod Terminating: it leaves the endpoints, its owner replaces it, and its kubelet stops it later."""
        self._sidecars.arrived(pod)
        pod.leaving, pod.waits_since = True, inf
        self._placement.leave(pod.group, pod.node)
        self._pod_changed(t, pod)
        if not self._scene.is_cut_off(pod.node):
            self._stop_later(pod)
        kind = pod.owner.partition("/")[0]
        if kind and kind != "StatefulSet" and kind not in HERE_TO_STAY:
            self._replace(t, pod)

    def _stop_later(self, pod: Followed) -> None:
        self._scene.at(self._scene.hears_s(pod.node) + self._stops_after_s(pod), self._stop, pod)

    def _stops_after_s(self, pod: Followed) -> float:
        simulated = self._stage.world.nodes[pod.node].simulated
        grace_s = pod.group.spec.termination_grace_s
        return kubelet_behaviour.stops_after_s(self._between(0.0, 1.0), grace_s, simulated=simulated)

    def _stop(self, t: float, pod: Followed) -> None:
        if pod.gone:
            return
        if self._scene.is_cut_off(pod.node):  # its kubelet reports that after a later heal
            pod.runs = False
            self._pod_changed(t, pod)
            return
        pod.gone, pod.runs, pod.serving = True, False, False
        self._scene.mark(t, Kind.POD_GONE, pod.subject, f"was on {self._scene.name(pod.node)}", KUBELET)
        self._placement.add(pod.group, pod.node, -1)
        self._placement.leave(pod.group, pod.node, -1)
        self._pod_changed(t, pod)
        self._look_at_refused(t, pod.key)
        if pod.owner.startswith("StatefulSet/"):
            self._replace(t, pod)
        if pod.owner.startswith("DaemonSet/"):
            self._scene.at(
                t + self._between(*CREATES_WITHIN_S), self._renew, self._scene.born_like(pod), pod.node
            )
        self._retry_pending(t, pod.node)

    def _renew(self, t: float, pod: Followed, number: int) -> None:
        """Create a DaemonSet's Pod on the same node, which its affinity names."""
        self._scene.mark(t, Kind.POD_CREATED, pod.subject, f"by {pod.owner}", CONTROLLER)
        self._settle(t, pod, number)

    def _replace(self, t: float, pod: Followed) -> None:
        made = self._scene.born_like(pod)
        if not self._ordered.holds_back(made):
            self._create_soon(t, made)

    def _create_soon(self, t: float, made: Followed) -> None:
        self._sidecars.expect(made)
        self._scene.at(t + self._between(*CREATES_WITHIN_S), self._create, made)

    def _create(self, t: float, pod: Followed) -> None:
        is_let_in = self._sidecars.injects(pod)
        if not is_let_in:
            if is_let_in is False:
                self._refuse(t, pod)
            return
        self._scene.mark(t, Kind.POD_CREATED, pod.subject, f"by {pod.owner}", CONTROLLER)
        self._scene.at(t + self._between(*BINDS_WITHIN_S), self._bind_first, pod)

    def _refuse(self, t: float, pod: Followed) -> None:
        """Schedule the controller's next attempt, after its back-off.

        Of two scheduled attempts the earlier one stays, as in client-go's util/workqueue/delaying_queue.go
        (`insert`). A Pod that was refused several times therefore has one attempt pending.
        """
        pod.failures += 1
        self._refused.setdefault(pod.key, {})[pod] = None
        again = self._sidecars.asks_again_s(t, pod.failures)
        if not t < pod.retry_s <= again:
            pod.retry_s = again
            self._scene.at(again, self._retry, pod)

    def _retry(self, t: float, pod: Followed) -> None:
        if t == pod.retry_s:
            self._create_refused(t, pod)

    def _look_at_refused(self, t: float, key: tuple[str, str]) -> None:
        """Retry refused Pods of an owner soon, because another of its Pods changed and its controller syncs at once."""
        for pod in self._refused.get(key, ()):
            soon = t + self._between(*CREATES_WITHIN_S)
            if not t < pod.looked_at_s <= soon:
                pod.looked_at_s = soon
                self._scene.at(soon, self._look_at, pod)

    def _look_at(self, t: float, pod: Followed) -> None:
        if t == pod.looked_at_s:
            self._create_refused(t, pod)

    def _create_refused(self, t: float, pod: Followed) -> None:
        waiting = self._refused[pod.key]
        if pod in waiting:
            del waiting[pod]
            self._create(t, pod)

    # -- placing ---------------------------------------------------------------------------------------------

    def _bind_first(self, t: float, pod: Followed) -> None:
        self._bind(t, pod)

    def _bind(self, t: float, pod: Followed) -> bool:
        """Bind the Pod to a node, or make room for it. Return False if neither is possible, with nothing changed."""
        closed = self._closed_to(pod.group, t)
        nodes = self._placement.feasible(pod.group, closed)
        if nodes:
            self._pending.pop(pod, None)
            self._settle(t, pod, self._pick(pod, self._placement.best(pod.group, nodes, closed)))
            return True
        if pod not in self._pending:
            self._pending[pod] = None
            self._await_openings(t)
            self._scene.mark(t, Kind.POD_PENDING, pod.subject, "it fits on no node", SCHEDULER)
        return not pod.has_preempted and self._preempt(t, pod)

    def _preempt(self, t: float, pod: Followed) -> bool:
        """Preempt Pods on the node where that costs least; return False if no node can make enough room.

        Cost (`pickOneNodeForPreemption`) compares lower priorities, then fewer Pods. The last rule, by start
        times, is left to chance.
        """
        choices = self._placement.preemptions(pod.group, self._closed_to(pod.group, t))
        if not choices:
            return False
        pod.has_preempted = True
        costs = {node: _cost(victims) for node, victims in choices.items()}
        least = min(costs.values())
        node = self._pick(pod, [node for node, cost in costs.items() if cost == least])
        for group in choices[node]:
            victim = self._scene.somebody(group, node)
            if victim is not None:
                self._scene.mark(
                    t, Kind.POD_DELETED, victim.subject, f"preempted by {pod.subject}", SCHEDULER
                )
                self._delete(t, victim)
        return True

    def _await_openings(self, t: float) -> None:
        """Retry pending Pods whenever a node loses a taint, once a Pod waits for that."""
        if self._awaits_openings:
            return
        self._awaits_openings = True
        for at, number in enumerate(self._stage.living):
            for each in self._lives.episodes(at):
                for opened in (each.schedulable_s, each.no_execute_off_s):
                    if opened + OPENED_S >= t:
                        self._scene.at(opened + OPENED_S, self._opened, number)

    def _opened(self, t: float, number: int) -> None:
        """Retry pending Pods after a node lost a taint: its Pods may be preempted now, too."""
        self._retry_pending(t, number, lambda pod: not pod.has_preempted)

    def _retry_pending(
        self, t: float, number: int, preempts: Callable[[Followed], bool] = lambda _: False
    ) -> None:
        """Retry pending Pods in order of priority, after a node became schedulable or got more room.

        After one Pod fails, the others of its template in the same state are skipped.
        """
        if not self._pending:
            return
        lost, may_help = self._lost(number, t), self._placement.may_help

        def helps(pod: Followed) -> bool:
            return may_help(pod.group, number, lost, preempts=preempts(pod))

        alike = {(pod.group, pod.has_preempted): pod for pod in self._pending}
        hopeless = {state for state, pod in alike.items() if not helps(pod)}
        if len(hopeless) == len(alike):
            return
        for pod in sorted(self._pending, key=lambda pod: -pod.group.spec.priority):
            state = pod.group, pod.has_preempted
            if state not in hopeless and not (helps(pod) and self._bind(t, pod)):
                hopeless.add(state)

    def _lost(self, number: int, t: float) -> tuple[bool, bool]:
        """Whether a node has its NoSchedule taint, and its NoExecute taint."""
        at = self._stage.fleet_of.get(number)
        if at is None:
            return False, False
        return self._lives.is_unschedulable(at, t), self._lives.is_emptied(at, t)

    def _pick(self, pod: Followed, best: list[int]) -> int:
        """Pick one of several equally good nodes. For kube-dns, a tie of few nodes matters: each is simulated."""
        if 1 < len(best) <= FEW_TIES and pod in self._scene.dns and not self._scene.quiet:
            return best[self._scene.draw.choose([1.0] * len(best))]
        return self._scene.draw.random.choice(best)

    def _settle(self, t: float, pod: Followed, number: int) -> None:
        """Bind the Pod to a node. On a node that is cut off but not marked yet, it starts once the node reconnects."""
        name = self._scene.name(number)
        self._scene.settle(pod, number)
        self._placement.add(pod.group, number)
        self._scene.mark(t, Kind.POD_BOUND, pod.subject, f"to {name}", SCHEDULER, node=name)
        self._scene.at(
            self._scene.hears_s(number) + self._between(*kubelet_behaviour.STARTS_WITHIN_S), self._start, pod
        )
        at = self._stage.fleet_of.get(number)
        if at is not None:
            self._evict_later(t, pod, at)

    def _evict_later(self, t: float, pod: Followed, at: int) -> None:
        if not self._stage.world.control_plane.evicts:
            return
        stays = self._stage.stays_s(pod.group.spec)
        for each in self._lives.episodes(at):
            if each.no_execute_s < inf and t < each.no_execute_off_s:
                evicted_s = max(each.no_execute_s, t) + stays + self._between(*EVICTION_LAG_S)
                self._scene.at(evicted_s, self._evict, pod)

    def _start(self, t: float, pod: Followed) -> None:
        if pod.there:
            pod.runs = True
            self._sidecars.start(t, pod)
            self._impact.changed(t, pod)

    def _ready(self, t: float, pod: Followed) -> None:
        if pod.ready or not pod.there:
            return
        if self._scene.is_lost(pod.node):
            if self._scene.is_cut_off(pod.node):
                self._scene.at(self._reports_s(pod.node), self._ready, pod)
            return
        pod.serving = True
        name = self._scene.name(pod.node)
        self._scene.mark(t, Kind.POD_READY, pod.subject, f"on {name}", KUBELET, node=name)
        self._sidecars.arrived(pod)
        self._pod_changed(t, pod)

    def _reports_s(self, number: int) -> float:
        """Return when a node's kubelet, cut off now, next reports the state of its Pods."""
        return self._scene.hears_s(number) + self._between(*kubelet_behaviour.CAUGHT_UP_WITHIN_S)

    # -- the rollback ----------------------------------------------------------------------------------------

    def _roll_back(self) -> None:
        """Delete kube-dns' Pods, so that they are scheduled again."""
        mine, t = [pod for pod in self._scene.dns if pod.there], self._scene.now
        if mine:
            deleting = f"deleting {len(mine)} kube-dns Pods"
            self._scene.mark(t, Kind.ROLLBACK, self._stage.named(*mine[0].key), deleting, PLAN)
        for pod in mine:
            t += self._between(*DELETES_WITHIN_S)
            self._scene.mark(t, Kind.POD_DELETED, pod.subject, f"on {self._scene.name(pod.node)}", PLAN)
            self._delete(t, pod)


def _cost(victims: Sequence[PodGroup]) -> tuple[int, int, int]:
    """Return the victims' highest priority, the sum of priorities (0 is the lowest possible), and their number."""
    priorities = [group.spec.priority for group in victims]
    return max(priorities), sum(each + LOWEST_BELOW_ZERO for each in priorities), len(priorities)
