"""What one play is made of: its clock, its tape, the lives of the nodes, and the Pods that are followed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from chaosext.rehearsal.simulate import kubelet_behaviour
from chaosext.rehearsal.simulate.node_lifecycle import back_within_s, live
from chaosext.rehearsal.simulate.sidecar_kinds import Sidecar, sidecar

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosext.model.timeline import Kind
    from chaosext.rehearsal.simulate.inputs import Stage
    from chaosext.rehearsal.simulate.prediction import Dns
    from chaosext.rehearsal.simulate.samples import Draw
    from chaosext.rehearsal.simulate.scheduler_cache import Group
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import Pod as WorldPod


CHECKED_EACH = 64
"""Events from one look at the time budget to the next."""


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
    """What one play came to. DNS by observer: node number -> state. Counters are by (namespace, owner)."""

    marks: list[Mark] = field(default_factory=list)
    during: dict[int, Dns] = field(default_factory=dict)
    after: dict[int, Dns] = field(default_factory=dict)
    rolled_back: dict[int, Dns] = field(default_factory=dict)
    dns_hosts: tuple[tuple[str, bool], ...] = ()
    """Where kube-dns ends up: (node, every judged node reaches it there), sorted."""
    evicted: Counter[tuple[str, str]] = field(default_factory=Counter)
    pending: Counter[tuple[str, str]] = field(default_factory=Counter)
    stuck: Counter[tuple[str, str]] = field(default_factory=Counter)
    others_evicted: int = 0
    xds_lost_s: float = inf
    xds_back_s: float = inf


@dataclass(slots=True, eq=False)
class Followed:
    """A followed Pod. `serving`: Ready, as the API says; `runs` is what is; `waits_since`: its sidecar waits.

    `ails`: it ran before the cut, and was not Ready; nothing that is known here will make it so.
    `retry_s`, `looked_at_s`: when its controller, which was refused, asks for it again: by its back-off, and sooner.
    """

    group: Group
    subject: str
    owner: str
    sidecar: Sidecar = Sidecar.NONE
    node: int = -1
    serving: bool = False
    runs: bool = False
    leaving: bool = False
    gone: bool = False
    ails: bool = False
    waits_since: float = inf
    failures: int = 0
    retry_s: float = -inf
    looked_at_s: float = -inf
    has_preempted: bool = False

    @property
    def namespace(self) -> str:
        return self.group.namespace

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, owner), or itself where it has none."""
        return self.namespace, self.owner or self.subject

    @property
    def ready(self) -> bool:
        """A ready endpoint; one that is Ready but on its way out is serving only (endpointslice/utils.go)."""
        return self.serving and not self.leaving

    @property
    def there(self) -> bool:
        """On a node, and not on its way out."""
        return self.node >= 0 and not self.leaving and not self.gone


class Scene:
    """The clock, the tape, and who is where in one play."""

    def __init__(self, stage: Stage, draw: Draw, budget: TimeBudget) -> None:
        budget.check()
        self.stage, self.draw, self.between, self._budget = stage, draw, draw.between, budget
        self.lives = live(stage.fleet, stage.world.control_plane, stage.plan, draw)
        self.trace, self.quiet, self.now = Trace(), False, 0.0
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
        """The Pod as this play knows it."""
        key = (pod.namespace, pod.name)
        if key not in self._known:
            self._known[key] = made = self._made(pod)
            self.settle(made, made.node)
        return self._known[key]

    def _made(self, pod: WorldPod) -> Followed:
        node = self.stage.board.number.get(pod.node, -1)
        return Followed(
            group=self.stage.board.group(pod.namespace, pod.spec),
            subject=pod.subject,
            owner=pod.owner,
            sidecar=sidecar(pod.spec) if self.stage.world.mesh else Sidecar.NONE,
            node=node,
            serving=pod.ready,
            runs=pod.phase == "Running" and node >= 0,
            leaving=pod.terminating,
            ails=not pod.ready,
        )

    def somebody(self, group: Group, node: int) -> Followed | None:
        """A Pod of that group on that node that is not on its way out."""
        for pod in self.stage.residents.get(node, ()):
            if pod.spec is group.spec and pod.namespace == group.namespace:
                self.follow(pod)
        return next((pod for pod in self.on.get(node, ()) if pod.group is group and pod.there), None)

    def settle(self, pod: Followed, node: int) -> None:
        """It is on this node from now on."""
        pod.node = node
        self.on.setdefault(node, []).append(pod)

    def born_like(self, pod: Followed) -> Followed:
        """What its controller makes instead: a StatefulSet's Pod keeps its name, others are named after the owner."""
        kind, _, name = pod.owner.partition("/")
        subject = pod.subject if kind == "StatefulSet" else f"Pod/{pod.namespace}/{name}-*"
        made = Followed(group=pod.group, subject=subject, owner=pod.owner, sidecar=pod.sidecar)
        for members in (self.dns, self.istiod):
            if pod in members:
                members[made] = None
        return made

    # -- the clock and the tape ------------------------------------------------------------------------------

    def at(self, t: float, act: Callable[..., None], *about: object) -> None:
        """`act(t, *about)` when its time has come; never where `t` is inf."""
        if t < inf:
            heappush(self._heap, (t, next(self._turn), act, about))

    def until(self, limit: float) -> None:
        """Plays all that comes up to `limit`. Raises `TimeIsUp` where the budget is over before."""
        while self._heap and self._heap[0][0] <= limit:
            t, turn, act, about = heappop(self._heap)
            self.now = t
            act(t, *about)
            if turn % CHECKED_EACH == 0:
                self._budget.check()
        self.now = limit

    def mark(
        self, t: float, kind: Kind, subject: str, detail: str, source: str, label: str = "", node: str = ""
    ) -> None:
        """A line of the trace."""
        if not self.quiet:
            self.trace.marks.append(Mark(t, kind, subject, detail, source, label, node))

    # -- nodes -----------------------------------------------------------------------------------------------

    def name(self, node: int) -> str:
        return self.stage.world.nodes[node].name

    @property
    def is_cut(self) -> bool:
        return self.now < self.stage.plan.cut_for_s

    def hears_s(self, node: int) -> float:
        """When kubelet and kube-proxy there know what changed before: now, or once a cut node is connected again."""
        if not self.stage.is_cut[node]:
            return self.now
        at = self.stage.fleet_of.get(node)
        heal = self.stage.plan.cut_for_s
        if at is None:
            within_s = back_within_s(heal, simulated=self.stage.world.nodes[node].simulated)
            back = heal + self.between(*within_s)
        else:
            back = self.lives.back_s[at]
        return max(self.now, back + self.between(*kubelet_behaviour.HEARS_WITHIN_S))

    def is_lost(self, node: int) -> bool:
        """Cut off, or Unknown until its status arrives."""
        at = self.stage.fleet_of.get(node)
        if at is None:
            return self.stage.is_cut[node]
        if self.is_cut:
            return True
        return self.lives.unknown_s[at] < self.now < self.lives.ready_s[at]
