"""At which durations of a cut its outcome can change at all, read from one rehearsal of a long cut.

Until the heal, a cut is the same however long it lasts. So two durations between which nothing happens lead to
the same state at the heal, and to the same recovery. Between them only what is counted in seconds grows: the time
without DNS on nodes that are not cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind
from chaosext.rehearsal.network.network_model import routes_of
from chaosext.rehearsal.predict.predict import Rehearsal
from chaosext.rehearsal.simulate.doubts import doubts_of
from chaosext.rehearsal.simulate.node_lifecycle import BACK_S, POSTED_S
from chaosext.rehearsal.simulate.planned_cut import Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chaosext.rehearsal.simulate.prediction import PredictedEvent
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import World

PLANNED = frozenset({Kind.CUT, Kind.HEAL, Kind.ROLLBACK})
"""Events of the plan itself."""

DERIVED = frozenset({Kind.ENDPOINTS_CHANGED, Kind.DNS_DEGRADED, Kind.DNS_DEAD, Kind.DNS_RESTORED})
"""Events that follow from others at once, and that come and go."""

MOVES = frozenset({Kind.POD_EVICTED, Kind.POD_CREATED, Kind.POD_BOUND, Kind.POD_PENDING, Kind.POD_DELETED})
"""Events that put a Pod elsewhere."""

MARKS = frozenset({Kind.NODE_TAINTED, Kind.ZONE_STATE})
"""Events that act only on Pods that move: taints on nodes, and the pace of the next taints."""

SLACK_S = 5.0
"""Added to each range of times, as no simulation shows its very ends."""

REMEMBERED_S = 480.0
"""For this long after the first eviction, a refused Pod is created again within the time predicted after a heal.

Its controller waits twice as long at each attempt, up to 1000 s (client-go, `ItemExponentialFailureRateLimiter`), so
that its next attempt comes at most as long after the heal as the first one was before it.
"""

CHANGES_LAST_S = 90.0
"""After that, the next attempt comes too late for some durations: whenever it does, for at least 100 s of them.

The shortest pause that outlasts the 600 s after a heal is one of 655 s, less the time that nodes and Pods need.
"""

MESH = frozenset({Kind.XDS_LOST, Kind.CRASH_LOOP, Kind.PROBE_FAILING})
"""Signs that new Pods may have been refused, or wait for their sidecars."""

Span = tuple[float, float]
"""From which duration to which, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurningPoints:
    """The durations at which the outcome of a cut of these nodes may change.

    `busy`: ranges in which any step may change it. `steps_s`: durations from which on a new doubt applies.
    `slow_s`: from which duration on a changed outcome stays changed for at least `CHANGES_LAST_S`, and no longer.
    """

    busy: tuple[Span, ...] = ()
    steps_s: tuple[float, ...] = ()
    slow_s: float = inf

    def spans(self, durations_s: Sequence[float]) -> Iterator[range]:
        """Yield ranges of indexes into the ascending durations: within one, the outcome can only get worse."""
        first = 0
        for at in range(1, len(durations_s)):
            is_long = durations_s[at] > self.slow_s and durations_s[at] - durations_s[first] > CHANGES_LAST_S
            if is_long or self._may_differ(durations_s[at - 1], durations_s[at]):
                yield range(first, at)
                first = at
        if durations_s:
            yield range(first, len(durations_s))

    def _may_differ(self, shorter_s: float, longer_s: float) -> bool:
        is_busy = any(begin <= longer_s and shorter_s <= end for begin, end in self.busy)
        return is_busy or any(shorter_s < step_s <= longer_s for step_s in self.steps_s)


ANYWHERE = TurningPoints(busy=((0.0, inf),))
"""The outcome may change at every duration."""


def turning_points(
    world: World,
    plan: Plan,
    durations_s: Sequence[float],
    *,
    seed: int,
    budget: TimeBudget,
) -> TurningPoints:
    """Return where the outcome of the plan's cut may change if it lasts for one of the ascending durations.

    `plan` is one cut for the longest of them. With each assumption of the world turned, things happen at other
    times: those count, too.
    """
    only_cut = Plan(
        cut_nodes=plan.cut_nodes,
        cut_for_s=plan.cut_for_s,
        horizon_s=plan.cut_for_s,
        quorums=plan.quorums,
        protected=plan.protected,
        doubts=plan.doubts,
    )
    worlds = (world, *(each.apply(world) for each in world.alternatives))
    busy: list[Span] = []
    slow_s = inf
    for at, each in enumerate(worlds):
        found = Rehearsal(each).of(
            only_cut, seed=seed, budget=budget.share(1 / (len(worlds) - at)), alternatives=False
        )
        if not found.simulations.is_whole:
            return ANYWHERE
        busy += (*_busy(each, found.timeline), *_of_routes(each, only_cut))
        slow_s = min(slow_s, _slow_s(found.timeline))
    return TurningPoints(
        busy=tuple(sorted(busy)), steps_s=tuple(_new_doubts(world, plan, durations_s)), slow_s=slow_s
    )


def _busy(world: World, timeline: Iterable[PredictedEvent]) -> Iterator[Span]:
    """Yield the durations at which an event of the timeline may happen in one cut and not in the next longer one.

    An event still happens within a moment after the heal: until the nodes are heard again.
    """
    late_s = BACK_S + POSTED_S + world.control_plane.timings.monitor_period_s + SLACK_S
    events = [each for each in timeline if each.kind not in PLANNED]
    moved_s = min((each.t_min_s for each in events if each.kind in MOVES), default=inf)
    derived = frozenset() if world.dns_stale_s else DERIVED
    for each in events:
        if each.kind in derived or (each.kind in MARKS and each.t_max_s < moved_s):
            continue
        begin_s = max(each.t_min_s, moved_s) if each.kind in MARKS else each.t_min_s
        yield begin_s - late_s, each.t_max_s + SLACK_S


def _slow_s(timeline: Iterable[PredictedEvent]) -> float:
    """Return from which duration on refused Pods may come too late; inf: no Pod is refused."""
    events = tuple(timeline)
    if not any(each.kind in MESH for each in events):
        return inf
    return min((each.t_min_s for each in events if each.kind in MOVES), default=inf) + REMEMBERED_S


def _of_routes(world: World, plan: Plan) -> Iterator[Span]:
    """Yield the durations at which a session across the cut may end or not; it may still end after the heal."""
    routes = routes_of(world, plan.cut_nodes, plan.doubts, plan.periods)
    if latest := routes.changes_s(lambda _, high: high):
        yield 0.0, latest[0] + SLACK_S


def _new_doubts(world: World, plan: Plan, durations_s: Sequence[float]) -> Iterator[float]:
    """Yield the durations from which on something that isn't modelled may act, such as a node repair."""
    before = None
    for duration_s in durations_s:
        now = len(doubts_of(world, plan.cut_nodes, duration_s))
        if before is not None and now != before:
            yield duration_s
        before = now
