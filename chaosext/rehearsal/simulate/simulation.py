"""The state of one simulation: its clock, its trace, node events, and the tracked Pods."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import chain, count
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from chaosext.rehearsal.simulate import kubelet_behaviour
from chaosext.rehearsal.simulate.node_lifecycle import back_within_s, live
from chaosext.rehearsal.simulate.reach import Epoch
from chaosext.rehearsal.simulate.scheduler_cache import PodState
from chaosext.rehearsal.simulate.sidecar_kinds import SidecarKind, sidecar

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosext.model.timeline import Kind
    from chaosext.rehearsal.simulate.impact import Loss
    from chaosext.rehearsal.simulate.inputs import SimulationInputs
    from chaosext.rehearsal.simulate.prediction import Dns
    from chaosext.rehearsal.simulate.samples import Draw
    from chaosext.rehearsal.simulate.scheduler_cache import PodGroup
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import Pod as WorldPod


CHECKED_EACH = 64
"""Number of events between two checks of the time budget."""


class TraceLine(NamedTuple):
    """A line of a trace.

    `label` distinguishes lines of the same kind and object; `node` is the node of a placed Pod.
    """

    t_s: float
    kind: Kind
    object: str
    detail: str
    source: str
    label: str = ""
    node: str = ""


@dataclass(slots=True, kw_only=True)
class Trace:
    """The result of one simulation. DNS is by observer: node number -> state. Counters are by (namespace, owner)."""

    marks: list[TraceLine] = field(default_factory=list)
    during: dict[int, Dns] = field(default_factory=dict)
    cut_s: dict[tuple[int, Dns], float] = field(default_factory=dict)
    healed_s: dict[tuple[int, Dns], float] = field(default_factory=dict)
    """Seconds that an observer spends in a state other than resolvable, during the cuts and outside of them."""
    after: dict[int, Dns] = field(default_factory=dict)
    rolled_back: dict[int, Dns] = field(default_factory=dict)
    dns_hosts: tuple[tuple[str, bool], ...] = ()
    """Final location of kube-dns: (node, whether every judged node reaches it there), sorted."""
    evicted: Counter[tuple[str, str]] = field(default_factory=Counter)
    pending: Counter[tuple[str, str]] = field(default_factory=Counter)
    stuck: Counter[tuple[str, str]] = field(default_factory=Counter)
    others_evicted: int = 0
    routes_lost_s: float = inf
    losses: dict[str, Loss] = field(default_factory=dict)
    """Workload or Service -> what it loses."""
    dark_s: tuple[float, float] = (inf, -inf)
    """From when until when all cut nodes are lost."""
    first_lost_s: float = inf
    uncounted: list[list[WorldPod]] = field(default_factory=list)
    """Pods that are not tracked, and may be evicted."""
    xds_lost_s: float = inf
    xds_back_s: float = inf


@dataclass(slots=True, eq=False)
class Followed:
    """A tracked Pod. `serving`: Ready in the API; `runs`: actually running.

    `waits_since`: when its sidecar began to wait. `ails`: it was not Ready before the cut, and nothing in the
    model will make it Ready. `counted`: whether `ImpactWatch` counts it as Ready, and as running; None: never, as
    it was Terminating before the cut. `retry_s`, `looked_at_s`: when its controller retries a refused creation, by
    back-off and on a change of another Pod.
    """

    group: PodGroup
    subject: str
    owner: str
    sidecar: SidecarKind = SidecarKind.NONE
    node: int = -1
    serving: bool = False
    runs: bool = False
    leaving: bool = False
    gone: bool = False
    ails: bool = False
    counted: tuple[bool, bool] | None = (False, False)
    waits_since: float = inf
    failures: int = 0
    retry_s: float = -inf
    looked_at_s: float = -inf
    has_preempted: bool = False
    key: tuple[str, str] = field(init=False)
    """(namespace, owner), or (namespace, the Pod itself) if it has no owner."""

    def __post_init__(self) -> None:
        self.key = self.group.namespace, self.owner or self.subject

    @property
    def namespace(self) -> str:
        return self.group.namespace

    @property
    def ready(self) -> bool:
        """Whether it is a ready endpoint; a Ready Pod that is Terminating is only serving (endpointslice/utils.go)."""
        return self.serving and not self.leaving

    @property
    def there(self) -> bool:
        """Whether it is on a node and not Terminating."""
        return self.node >= 0 and not self.leaving and not self.gone


class Scene:
    """The clock, the trace and the placement of Pods in one simulation."""

    def __init__(
        self, stage: SimulationInputs, draw: Draw, budget: TimeBudget, *, with_marks: bool = True
    ) -> None:
        budget.check()
        self.stage, self.draw, self.between, self._budget = stage, draw, draw.between, budget
        self.lives = live(stage.fleet, stage.world.control_plane, stage.plan, draw)
        self.trace, self.quiet, self.now = Trace(), False, 0.0
        self.with_marks, self._gaps = with_marks, stage.plan.gaps
        self.route_changes_s = stage.routes.changes_s(draw.between)
        self.reachability_changes_s = tuple(sorted({*chain(*stage.plan.periods), *self.route_changes_s}))
        """When it may change which nodes reach which Pods: at the cut, the heal, and the routes' own changes."""
        self._enter_epoch()
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._turn = count()
        self._known: dict[tuple[str, str], Followed] = {}
        self.on: dict[int, list[Followed]] = {}
        self.dns = dict.fromkeys(map(self.follow, stage.dns_pods))
        self.istiod = dict.fromkeys(map(self.follow, stage.istiod_pods))
        if stage.follows_all:
            for pods in stage.pods_on.values():
                for pod in pods:
                    self.follow(pod)

    def follow(self, pod: WorldPod) -> Followed:
        """Return the tracked state of this Pod, creating it if needed."""
        key = (pod.namespace, pod.name)
        if key not in self._known:
            self._known[key] = made = self._made(pod)
            self.settle(made, made.node)
        return self._known[key]

    def tracked(self, pod: WorldPod) -> Followed | None:
        """Return the tracked state of this Pod, None if it isn't tracked."""
        return self._known.get((pod.namespace, pod.name))

    def _made(self, pod: WorldPod) -> Followed:
        known = self.stage.states
        if id(pod) not in known:
            known[id(pod)] = self._state(pod)
        return Followed(*known[id(pod)])

    def _state(self, pod: WorldPod) -> PodState:
        """Return the Pod before the cut."""
        stage = self.stage
        node, is_ready = stage.board.number.get(pod.node, -1), pod.ready
        return PodState(
            group=stage.board.group(pod.namespace, pod.spec),
            subject=pod.subject,
            owner=pod.owner,
            sidecar=sidecar(pod.spec) if stage.world.mesh else SidecarKind.NONE,
            node=node,
            serving=is_ready,
            runs=pod.phase == "Running" and node >= 0,
            leaving=pod.terminating,
            gone=False,
            ails=not is_ready,
            counted=None if pod.terminating else (is_ready, is_ready),
        )

    def somebody(self, group: PodGroup, node: int) -> Followed | None:
        """Return a Pod of the group on the node that is not Terminating, or None."""
        for pod in self.stage.board.residents.get(node, ()):
            if pod.spec is group.spec and pod.namespace == group.namespace:
                self.follow(pod)
        return next((pod for pod in self.on.get(node, ()) if pod.group is group and pod.there), None)

    def settle(self, pod: Followed, node: int) -> None:
        """Place the Pod on the node."""
        pod.node = node
        self.on.setdefault(node, []).append(pod)

    def born_like(self, pod: Followed) -> Followed:
        """Return the Pod that its controller creates instead; only a StatefulSet's Pod keeps its name."""
        kind, _, name = pod.owner.partition("/")
        subject = pod.subject if kind == "StatefulSet" else f"Pod/{pod.namespace}/{name}-*"
        made = Followed(group=pod.group, subject=subject, owner=pod.owner, sidecar=pod.sidecar)
        for members in (self.dns, self.istiod):
            if pod in members:
                members[made] = None
        return made

    # -- the clock and the trace -----------------------------------------------------------------------------

    def at(self, t: float, act: Callable[..., None], *about: object) -> None:
        """Schedule `act(t, *about)` at `t`; never if `t` is inf."""
        if t < inf:
            heappush(self._heap, (t, next(self._turn), act, about))

    def until(self, limit: float) -> None:
        """Run all events up to `limit`. Raises `TimeIsUp` if the time budget ends first."""
        heap = self._heap
        while heap and heap[0][0] <= limit:
            t, turn, act, about = heappop(heap)
            self.now = t
            if not self._epoch_begins_s <= t < self._epoch_ends_s:
                self._enter_epoch()
            act(t, *about)
            if turn % CHECKED_EACH == 0:
                self._budget.check()
        self.now = limit
        self._enter_epoch()

    def _enter_epoch(self) -> None:
        """Set the period of constant reachability that it is now, and whether the nodes are cut off."""
        changes, at = self.reachability_changes_s, bisect_right(self.reachability_changes_s, self.now)
        self._epoch_begins_s = changes[at - 1] if at else -inf
        self._epoch_ends_s = changes[at] if at < len(changes) else inf
        self.is_cut = self.stage.plan.is_cut_at(self.now)
        self.epoch = Epoch(is_cut=self.is_cut, route_changes=bisect_right(self.route_changes_s, self.now))

    def mark(
        self, t: float, kind: Kind, subject: str, detail: str, source: str, label: str = "", node: str = ""
    ) -> None:
        """Add a line to the trace."""
        if self.with_marks and not self.quiet:
            self.trace.marks.append(TraceLine(t, kind, subject, detail, source, label, node))

    # -- nodes -----------------------------------------------------------------------------------------------

    def name(self, node: int) -> str:
        return self.stage.world.nodes[node].name

    def is_cut_off(self, node: int) -> bool:
        """Whether the node is a cut one, and cut off now."""
        return self.stage.is_cut[node] and self.is_cut

    def hears_s(self, node: int) -> float:
        """Return when kubelet and kube-proxy of a node know all changes so far: now, or once it has reconnected.

        It may reconnect too late before the next cut to hear of them; then it does after that one, or later.
        """
        if not self.stage.is_cut[node]:
            return self.now
        for number, (heal, until) in enumerate(self._gaps):
            if until > self.now:
                back = self._back_s(node, number, heal)
                hears = max(self.now, back + self.between(*kubelet_behaviour.HEARS_WITHIN_S))
                if hears < until:
                    return hears
        raise AssertionError("the last gap never ends")

    def _back_s(self, node: int, number: int, heal: float) -> float:
        at = self.stage.fleet_of.get(node)
        if at is not None:
            return self.lives.back_s[number][at]
        is_simulated = self.stage.world.nodes[node].simulated
        within_s = back_within_s(heal, simulated=len(self.stage.fleet.simulated) or 1 if is_simulated else 0)
        return heal + self.between(*within_s)

    def is_lost(self, node: int) -> bool:
        """Whether the node is cut off, or Unknown until its status arrives."""
        at = self.stage.fleet_of.get(node)
        if at is None:
            return self.stage.is_cut[node]
        if self.is_cut:
            return True
        return self.lives.is_unknown(at, self.now)
