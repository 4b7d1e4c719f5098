"""The node lifecycle controller: when a silent node becomes Unknown, is tainted, and recovers.

Source: Kubernetes v1.34 pkg/controller/nodelifecycle/node_lifecycle_controller.go and
scheduler/rate_limited_queue.go. Times that depend on the machine (the length of a call, the lag of a watch)
were measured on a real control plane. All times are in seconds.

With several cuts, the controller goes on from one to the next, and so do its zone states, queues and tokens.
Between two cuts a node is heard again as after a single one, if it reconnects in time; its grace period then
begins with its last sign of life before the next cut. Recordings show single cuts only.

Since Kubernetes 1.37 (`NodeControllerLeaseCircuitBreaker`) the controller asks the API server for the Lease of each
lost node in every pass. With more lost nodes than its client's rate permits in a period, passes take longer: 10 s for
300 nodes. That a pass skips nodes while its cache of Leases lags behind (milliseconds after the heal) is left out.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heapreplace
from itertools import pairwise, takewhile
from math import ceil, inf
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from chaosext.cluster.objects import Node
    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.simulate.samples import Draw
    from chaosext.rehearsal.snapshot.world import ControlPlane

WORKERS = 8
"""Nodes that a monitor pass handles in parallel (`nodeUpdateWorkerSize`)."""

EVENT_SHARE = 17 / 16
"""API calls in total for each call of the 8 pass workers and 8 NoSchedule workers.

The goroutine that posts events waits in the same client's queue (`StartRecordingToSink` with the controller's
own client).
"""

TAINT_CALLS = 2
"""A Get and a Patch (pkg/controller/controller_utils.go, `AddOrUpdateTaintOnNode`)."""

CALL_S = (0.005, 0.03)
"""Length of a call that the client's rate limit does not delay: measured, from an idle machine to a busy one.

A pass that marks nodes takes as long as the sequence of calls for a node and its Pods. That decides whether
the zone's second token comes before a later pass finds the zone disrupted.
"""

TAINTING_PERIOD_S = 0.1
"""Period of looking at the queues (`NodeEvictionPeriod`)."""

LOOK_SLIP_S = (0.0002, 0.0015)
"""Delay added to each period, as measured: after the 10 s of a token, the looks have lost their phase."""

WATCH_LAG_S = (0.001, 0.014)
"""Lag of a cache behind a write, so that one first token in 13 is lost (measured: 3 of 64).

A node whose turn comes within this time still looks Ready (`doNoExecuteTaintingPass`: "Node was in a taint
queue, but it's ready now").
"""

QUEUED_AGAIN = 0.01
"""Probability that a pass with an older copy of a node queues it although it has its taint, which wastes a token."""

PASS_S, PASS_PER_NODE_S = 0.002, 2e-5
"""Length of a pass, and its share for each node, as measured; the next pass starts one period after its end."""

LOOKS_S = (0.0, WATCH_LAG_S[1], 0.06, TAINTING_PERIOD_S)
"""Boundaries of the ranges for the first look, in seconds after the first node was queued.

A look is equally likely at any time of its period.
"""

LOOK_WEIGHTS = tuple(later - earlier for earlier, later in pairwise(LOOKS_S))

RENEWAL_JITTER = 0.04
"""Lease renewals are up to this share late (k8s.io/component-helpers/apimachinery/lease/controller.go)."""

MIXED_AFTER_S = 1800.0
"""After this long, lateness has mixed a node's renewals: the last one before a cut is of any age."""

MOMENTS = (1.0,) * 12
"""Weights of the parts into which the possible time of the cut is divided; all are equally likely."""

EXCLUDED_LABEL = "node.kubernetes.io/exclude-disruption"
"""Nodes with this label do not count in their zone's state."""

REQUEST_S = 10.0
"""Timeout of a kubelet's request for its Lease (pkg/kubelet, `heartbeatClientConfig.Timeout`)."""

BACK_S, RENEWED_S, POSTED_S = 10.0, 4.0, 5.0
"""Maximum from the heal until a kubelet is connected again, and from then until its Lease and its status arrive.

It retries after 1, 3 and 7 s, with a back-off of up to 7 s in between
(k8s.io/component-helpers/apimachinery/lease/controller.go, `backoffEnsureLease`;
pkg/kubelet/kubelet_node_status.go).
"""


KWOK_BACK_S, KWOK_BACK_PER_NODE_S, KWOK_POSTED_S = 2.0, 0.032, 0.5
"""The same for nodes simulated by KWOK: overdue work is done as soon as the process runs again, for one node after
the other, as measured (2 s with few nodes, 9 s with 297)."""


def back_within_s(silent_s: float, *, simulated: int = 0) -> tuple[float, float]:
    """Return the range from the heal to the reconnection of a node that was cut off for `silent_s`.

    Retransmission intervals double, so a node reconnects soon after a short cut. `simulated`: the number of nodes that
    KWOK simulates beside it and with it, 0 for a real one.
    """
    if simulated:
        return 0.0, max(KWOK_BACK_S, simulated * KWOK_BACK_PER_NODE_S)
    return 0.1, min(BACK_S, max(0.5, silent_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class CutNodes:
    """The cut nodes, by number, and the other nodes of their zones.

    `zone_of[node]`: number of its zone. `ready_pods[node]`: Pods that lose Ready with it. `counted[node]`:
    whether it counts in zone states. `others_ready`, `others_lost`: numbers of nodes in each zone that are
    not cut. `ages_s[node]`: age of the last known renewal of its Lease at the plan's `cut_at`, None if
    unknown. `simulated`: nodes that KWOK simulates.
    """

    zone_of: tuple[int, ...]
    ready_pods: tuple[int, ...]
    counted: tuple[bool, ...]
    ages_s: tuple[float | None, ...]
    zone_names: tuple[str, ...]
    others_ready: tuple[int, ...]
    others_lost: tuple[int, ...]
    simulated: frozenset[int] = frozenset()


class Episode(NamedTuple):
    """Times of one loss of a node, in seconds; inf: never. Its fields are those of `Lives`."""

    unknown_s: float
    no_schedule_s: float
    no_execute_s: float
    ready_s: float
    schedulable_s: float
    no_execute_off_s: float


@dataclass(slots=True)
class Lives:
    """Times of each cut node's events, in seconds; inf: never. `zones` are (time, zone, state).

    A node that is lost in several cuts has an episode for each: its last one is in the lists by node, those
    before it in `earlier`.
    """

    call_s: float
    """Length of the controller's calls in this simulation."""
    unknown_s: list[float]
    no_schedule_s: list[float]
    no_execute_s: list[float]
    ready_s: list[float]
    schedulable_s: list[float]
    no_execute_off_s: list[float]
    back_s: list[list[float]] = field(default_factory=list)
    """After each cut, when each node's kubelet is connected again; inf: not before the next cut."""
    zones: list[tuple[float, int, ZoneState]] = field(default_factory=list)
    untied: list[tuple[int, float, float]] = field(default_factory=list)
    """NoExecute taints that master disruption mode removed: (node, since, until)."""
    earlier: dict[int, list[Episode]] = field(default_factory=dict)

    @classmethod
    def of(cls, count: int, call_s: float) -> Self:
        """Return `count` nodes without any events."""
        return cls(call_s, *[[inf] * count for _ in Episode._fields])  # type: ignore[arg-type]

    def episodes(self, node: int) -> list[Episode]:
        """Return the node's episodes in order; the last one may be without events."""
        last = Episode(
            self.unknown_s[node],
            self.no_schedule_s[node],
            self.no_execute_s[node],
            self.ready_s[node],
            self.schedulable_s[node],
            self.no_execute_off_s[node],
        )
        return [*self.earlier[node], last] if node in self.earlier else [last]

    @property
    def first_lost_s(self) -> float:
        """When the first node is lost."""
        earlier = (episodes[0].unknown_s for episodes in self.earlier.values())
        return min((*self.unknown_s, *earlier), default=inf)

    @property
    def dark_s(self) -> tuple[float, float]:
        """From when until when all nodes are lost; (inf, -inf) if that is unknown, as some were lost before, too."""
        if self.earlier or not self.unknown_s:
            return inf, -inf
        return max(self.unknown_s), min(self.ready_s)

    def close(self, node: int) -> None:
        """Keep the node's last episode: in a later cut it may be lost again."""
        self.earlier.setdefault(node, []).append(self.episodes(node)[-1])
        by_node = (
            self.unknown_s,
            self.no_schedule_s,
            self.no_execute_s,
            self.ready_s,
            self.schedulable_s,
            self.no_execute_off_s,
        )
        for times in by_node:
            times[node] = inf

    def is_unschedulable(self, node: int, t: float) -> bool:
        """Whether the node has its NoSchedule taint at `t`."""
        if self.no_schedule_s[node] <= t < self.schedulable_s[node]:
            return True
        return bool(self.earlier) and any(
            each.no_schedule_s <= t < each.schedulable_s for each in self.earlier.get(node, ())
        )

    def is_emptied(self, node: int, t: float) -> bool:
        """Whether the node has its NoExecute taint at `t`."""
        if self.no_execute_s[node] <= t < self.no_execute_off_s[node]:
            return True
        return bool(self.earlier) and any(
            each.no_execute_s <= t < each.no_execute_off_s for each in self.earlier.get(node, ())
        )

    def is_unknown(self, node: int, t: float) -> bool:
        """Whether the node is Unknown at `t`."""
        if self.unknown_s[node] < t < self.ready_s[node]:
            return True
        return bool(self.earlier) and any(
            each.unknown_s < t < each.ready_s for each in self.earlier.get(node, ())
        )

    def no_execute_off_after(self, node: int, t: float) -> float:
        """Return when the last NoExecute taint by `t` is removed; inf: never, or it never had one."""
        known = [each for each in self.earlier.get(node, ()) if each.unknown_s <= t]
        if known and t < self.unknown_s[node]:
            return known[-1].no_execute_off_s
        return self.no_execute_off_s[node]


class Bucket:
    """A token bucket: `rate` tokens per second, at most `burst` (golang.org/x/time/rate). Rate 0: never a token."""

    __slots__ = ("_at", "_level", "burst", "rate")

    def __init__(self, rate: float, burst: float, level: float | None = None, at: float = -inf) -> None:
        self.rate, self.burst = rate, burst
        self._level = burst if level is None else level
        self._at = at

    def level(self, t: float) -> float:
        if self._at == -inf:
            return self._level
        return min(self.burst, self._level + max(0.0, t - self._at) * self.rate)

    def free_from(self, t: float) -> float:
        """Return the first time from `t` on at which a token is available."""
        missing = 1.0 - self.level(t)
        if missing <= 1e-9:
            return t
        return max(t, self._at) + missing / self.rate if self.rate > 0 else inf

    def take(self, count: float, t: float) -> float:
        """Take `count` tokens, waiting if necessary, and return the time of the last one."""
        left = self.level(t) - count
        self._level, self._at = left, max(t, self._at)
        return self._at if left >= 0 else self._at + -left / self.rate


class _Looks:
    """`doNoExecuteTaintingPass`: one goroutine looks at the queues of all zones, so a missed look affects all of them.

    The time of the first look decides much: too early for the cache, before the pass ends and finds the zone
    disrupted, or after that. It is therefore enumerated as a choice.
    """

    __slots__ = ("_draw", "_every_s", "_one_s")

    def __init__(self, draw: Draw) -> None:
        self._draw, self._every_s = draw, TAINTING_PERIOD_S + draw.random.uniform(*LOOK_SLIP_S)
        self._one_s: float | None = None

    def first_from(self, t: float) -> float:
        """Return the first look from `t` on; inf if `t` is inf."""
        if t == inf:
            return inf
        if self._one_s is None:
            at = self._draw.choose(LOOK_WEIGHTS)
            self._one_s = t + self._draw.random.uniform(LOOKS_S[at], LOOKS_S[at + 1])
        return self._one_s + self._every_s * ceil((t - self._one_s) / self._every_s)


def phases_of_lease(
    phase_s: float, period_s: float, renewal_s: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the passes that may have seen a lease's last renewal, with the probability of each.

    A lease is up to `renewal_s` old at the cut. The first pass after the cut is at `phase_s`; passes before
    it are `period_s` apart. The first pass after the last renewal is the one that saw it.
    """
    longest = renewal_s * (1 + RENEWAL_JITTER / 2)
    edges = [0.0]
    passes = [phase_s]
    while passes[-1] - period_s > -longest:
        passes.append(passes[-1] - period_s)
        edges.append(min(longest, max(0.0, -passes[-1])))
    edges.append(longest)
    return tuple(passes), tuple((high - low) / longest for low, high in pairwise(edges))


def seen_by(age_s: float, phase_s: float, period_s: float) -> float:
    """Return the time of the pass that saw a renewal `age_s` before the cut."""
    return phase_s - period_s * int((age_s + phase_s) // period_s)


def _before(limit_s: float, times: list[float]) -> list[float]:
    """Return the times, inf for those that are not before the limit."""
    return [t if t < limit_s else inf for t in times]


def live(fleet: CutNodes, control_plane: ControlPlane, plan: Plan, draw: Draw) -> Lives:
    """Simulate the cut as the controller sees it."""
    return _Controller(fleet, control_plane, plan, draw).play()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contact:
    """The cut nodes' contact with the control plane from a heal to the next cut, at `until_s`; inf: the last heal.

    By node: when it is connected again, when its status arrives, and when its first sign of life does; inf:
    not before the next cut. `last_s`: its last sign of life, once that is known.
    """

    heal_s: float
    until_s: float
    back_s: list[float]
    posted_s: list[float]
    alive_s: list[float]
    last_s: dict[int, float] = field(default_factory=dict)

    def is_heard(self, node: int, t: float) -> bool:
        return self.alive_s[node] <= t < self.until_s


class _Controller:
    """Monitor passes, zone states and zone queues of one simulation."""

    def __init__(self, fleet: CutNodes, control_plane: ControlPlane, plan: Plan, draw: Draw) -> None:
        count, timings, self._draw = len(fleet.zone_of), control_plane.timings, draw
        self._fleet, self._settings, self._plan = fleet, control_plane, plan
        self._sizes = Counter(
            zone for zone, counts in zip(fleet.zone_of, fleet.counted, strict=True) if counts
        )
        everybody = count + sum(fleet.others_ready) + sum(fleet.others_lost)
        self._period_s = timings.monitor_period_s + PASS_S + PASS_PER_NODE_S * everybody
        self._first_pass_s = draw.phase() * timings.monitor_period_s
        self._seen_s = self._last_seen()
        self._call_s, self._lag_s = draw.random.uniform(*CALL_S), draw.random.uniform(*WATCH_LAG_S)
        self._api = Bucket(control_plane.api_qps, control_plane.api_burst)
        self._lives, self._looks = Lives.of(count, self._call_s), _Looks(draw)
        self._states = self._at_first = self._zone_states(-inf, -inf)
        self._queues: list[dict[int, float]] = [{} for _ in fleet.zone_names]  # node -> since when, in order
        self._limiters = [Bucket(rate, 1, 1.0 if rate else 0.0) for rate in self._rates(self._states)]
        self._again: list[int] = []
        self._unmarked = list(range(count))
        self._silent_since_s, self._sign_s = [0.0] * count, [-inf] * count
        self._gaps, self._contacts = plan.gaps, list[_Contact]()
        self._heal_s = self._gaps[0][0]
        self._reconnect()

    def _reconnect(self) -> None:
        """Find out when each node is heard again after the next heal: the longer it was silent, the later."""
        between, played = self._draw.between, self._fleet.simulated
        heal, until = self._gaps[len(self._contacts)]
        silent_s = [heal - since for since in self._silent_since_s]
        back_s = [
            heal + between(*back_within_s(silent, simulated=len(played) if node in played else 0))
            for node, silent in enumerate(silent_s)
        ]
        posted_s = [
            back + between(0.0, KWOK_POSTED_S if node in played else POSTED_S)
            for node, back in enumerate(back_s)
        ]
        alive_s = [
            min(posted, back + between(0.0, min(RENEWED_S, max(0.0, silent - REQUEST_S))))
            for posted, back, silent in zip(posted_s, back_s, silent_s, strict=True)
        ]
        contact = _Contact(
            heal_s=heal,
            until_s=until,
            back_s=_before(until, back_s),
            posted_s=_before(until, posted_s),
            alive_s=_before(until, alive_s),
        )
        self._contacts.append(contact)
        self._lives.back_s.append(contact.back_s)
        self._silent_since_s = [
            until if back < inf else since
            for back, since in zip(contact.back_s, self._silent_since_s, strict=True)
        ]

    def _contact(self, t: float) -> _Contact:
        """Return the contact since the last heal by `t`; before the first heal, the one after it."""
        while len(self._contacts) < len(self._gaps) and self._gaps[len(self._contacts)][0] <= t:
            self._reconnect()
        return next((each for each in reversed(self._contacts) if each.heal_s <= t), self._contacts[0])

    def _is_heard(self, node: int, at: float, contact: _Contact) -> bool:
        """Whether a pass at `at` finds the node connected; if not, it sees the last sign of life before that."""
        if contact.is_heard(node, at):
            self._seen_s[node] = at
            return True
        last = next((each for each in reversed(self._contacts) if each.alive_s[node] <= at), None)
        if last is None:
            return False
        if node not in last.last_s:
            last.last_s[node] = self._last_sign(last.alive_s[node], last.until_s)
        sign = last.last_s[node]
        if sign > self._sign_s[node]:
            self._sign_s[node] = sign
            self._seen_s[node] = at - self._period_s * int((at - sign) / self._period_s)
        return False

    def _last_sign(self, alive_s: float, until_s: float) -> float:
        """Return a node's last renewal before a cut, of those that began with its first sign of life."""
        period_s, uniform = self._settings.lease_renewal_s, self._draw.random.uniform
        if until_s - alive_s > MIXED_AFTER_S:
            return until_s - uniform(0, period_s * (1 + RENEWAL_JITTER / 2))
        sign, renewed = alive_s, alive_s
        while renewed < until_s:
            sign, renewed = renewed, renewed + period_s * (1 + uniform(0, RENEWAL_JITTER))
        return sign

    def _last_seen(self) -> list[float]:
        first, period = self._first_pass_s, self._period_s
        passes, weights = phases_of_lease(first, period, self._settings.lease_renewal_s)
        return [
            passes[self._draw.choose(weights)] if age is None else seen_by(age, first, period)
            for age in self._ages()
        ]

    def _ages(self) -> list[float | None]:
        """Return the lease ages at the cut: renewals continue from the last known one, each with its own jitter."""
        known = self._fleet.ages_s
        later_s = self._later() if known.count(None) < len(known) else 0.0
        return [None if age is None else self._renewed(age + later_s) for age in known]

    def _later(self) -> float:
        """Return the delay from `cut_at` to the cut."""
        within_s = self._plan.cut_within_s
        if not within_s:
            return 0.0
        return within_s * (self._draw.choose(MOMENTS) + self._draw.random.random()) / len(MOMENTS)

    def _renewed(self, age_s: float) -> float:
        period_s = self._settings.lease_renewal_s
        while age_s > period_s * (1 + RENEWAL_JITTER):
            age_s -= period_s * (1 + self._draw.random.uniform(0, RENEWAL_JITTER))
        return age_s

    def play(self) -> Lives:
        at = self._first_expiry() if self._unmarked else inf
        while at <= self._plan.horizon_s and not self._over(at):
            end = self._pass(at)
            self._disruption(at, end)
            self._taint_until(end + self._period_s)
            at = self._next_pass(at, end)
            self._requeue(end + self._period_s)
            self._taint_until(at)
        while len(self._contacts) < len(self._gaps):
            self._reconnect()
        return self._lives

    def _first_expiry(self) -> float:
        """Return the first pass that can find an expired node; earlier passes change nothing."""
        earliest = min(self._seen_s) + self._settings.timings.grace_s
        passes = max(0, ceil((earliest - self._first_pass_s) / self._period_s))
        return self._first_pass_s + passes * self._period_s

    def _next_pass(self, at: float, end: float) -> float:
        """Return the next pass that can change anything, after one from `at` to `end`."""
        following = end + self._period_s
        if self._again:
            return following
        idle_s = self._wakes_s(at, following) - following
        every_s = self._period_s + (self._asking_s(self._asked_for(at, None)) if idle_s > 0 else 0.0)
        return following + every_s * max(0, ceil(idle_s / every_s))

    def _wakes_s(self, at: float, t: float) -> float:
        """Return the first time from `t` on at which a pass can find anything new, after one at `at`.

        With every node marked, nothing is until the heal; with every node heard and nothing lost, nothing is
        until the grace period ends in the next cut.
        """
        heal = self._plan.heals_s(t)
        if not self._unmarked:
            return heal if self._plan.heals_s(at) == heal else t
        contact = self._contact(t)
        if t < contact.heal_s or contact.until_s == inf or len(self._unmarked) < len(self._seen_s):
            return t
        if self._unwell() or not all(contact.is_heard(node, t) for node in self._unmarked):
            return t
        renewal_s = self._settings.lease_renewal_s * (1 + RENEWAL_JITTER)
        return contact.until_s - renewal_s + self._settings.timings.grace_s

    def _over(self, at: float) -> bool:
        """Whether nothing can happen any more: after the last heal, every node has recovered or was never lost."""
        if len(self._contacts) < len(self._gaps) or at < max(self._contacts[-1].alive_s) or self._again:
            return False
        lives = zip(self._lives.unknown_s, self._lives.no_execute_off_s, strict=True)
        return all(since == inf or off < inf for since, off in lives) and not self._unwell()

    def _unwell(self) -> bool:
        return self._states != self._at_first

    # -- a monitor pass ------------------------------------------------------------------------------------

    def _pass(self, at: float) -> float:
        """Run one pass and return the time of its end."""
        contact = self._contact(at) if at >= self._heal_s else None
        asked = self._asked_for(at, contact)
        if contact:
            self._recover(at, contact, self._asking_s(asked))
        is_long = len(self._unmarked) > WORKERS or len(asked) > WORKERS
        due = [node for node in self._unmarked if self._may_expire(node, at, contact, is_long=is_long)]
        turns = [*due, *asked]
        if not turns:
            return at
        if len(turns) > WORKERS:
            self._draw.random.shuffle(turns)
        end = self._mark(turns, at)
        self._unmarked = [node for node in self._unmarked if self._lives.unknown_s[node] == inf]
        return end

    def _asked_for(self, at: float, contact: _Contact | None) -> list[int]:
        """Return the lost nodes whose Leases a pass at `at` asks for again."""
        if not self._settings.asks_for_leases:
            return []
        lost = zip(self._lives.unknown_s, self._lives.ready_s, strict=True)
        return [
            node
            for node, (since, until) in enumerate(lost)
            if since < inf == until and not (contact and contact.is_heard(node, at))
        ]

    def _asking_s(self, asked: Sequence[int]) -> float:
        """Return by how much a pass that asks for these nodes' Leases is longer, once all burst tokens are used."""
        if not asked:
            return 0.0
        limited_s = len(asked) / self._api.rate - self._period_s if self._api.rate > 0 else 0.0
        return max(ceil(len(asked) / WORKERS) * self._call_s, limited_s)

    def _may_expire(self, node: int, at: float, contact: _Contact | None, *, is_long: bool) -> bool:
        """Whether the pass may find the node expired; a long pass also finds nodes that expire while it runs."""
        if contact and self._is_heard(node, at, contact):
            return False
        return self._expired(node, at) or is_long

    def _expired(self, node: int, at: float) -> bool:
        return at - self._seen_s[node] > self._settings.timings.grace_s

    def _mark(self, turns: Sequence[int], at: float) -> float:
        """Mark nodes in parallel: each worker takes the next node, all share one client's tokens. Return the end.

        For a node that is marked already, only its Lease is asked for.
        """
        workers, end = [at] * WORKERS, at
        for node in turns:
            start = workers[0]
            if start > self._plan.horizon_s:
                break
            if start >= self._heal_s and self._is_heard(node, start, self._contact(start)):
                continue
            if self._lives.unknown_s[node] < inf:
                done = self._ask(start)
            elif self._expired(node, start):
                asked = self._ask(start) if self._settings.asks_for_leases else start
                done = self._turn_unknown(node, asked)
            else:
                continue
            heapreplace(workers, done)
            end = max(end, done)
        return end

    def _ask(self, start: float) -> float:
        """Ask for a Lease. Return when the answer arrives."""
        return max(start + self._call_s, self._api.take(1, start))

    def _turn_unknown(self, node: int, start: float) -> float:
        """Mark the node Unknown, queue it, and unready its Pods. Return when the worker has finished."""
        pods, zone, marked = self._fleet.ready_pods[node], self._fleet.zone_of[node], start + self._call_s
        self._lives.unknown_s[node] = marked
        self._lives.no_schedule_s[node] = marked + self._draw.between(0.01, 0.1)
        self._queues[zone][node] = marked
        paid = self._api.take((1 + TAINT_CALLS + pods) * EVENT_SHARE, start)
        return max(marked + pods * self._call_s, paid)

    def _recover(self, at: float, contact: _Contact, pass_s: float) -> None:
        """Make lost nodes Ready whose status arrived, and remove their taint within the pass, which takes `pass_s`."""
        lives, until_s = self._lives, contact.until_s
        for node, posted_s in enumerate(contact.posted_s):
            if posted_s <= at and lives.unknown_s[node] < until_s and lives.ready_s[node] == inf:
                self._well_again(node, at, contact, pass_s)

    def _well_again(self, node: int, at: float, contact: _Contact, pass_s: float) -> None:
        lives, between = self._lives, self._draw.between
        lives.ready_s[node] = max(contact.posted_s[node], lives.unknown_s[node] + self._call_s)
        lives.schedulable_s[node] = lives.ready_s[node] + between(0.01, 0.3)
        lives.no_execute_off_s[node] = at + between(0.005, 0.05 + pass_s)
        self._queues[self._fleet.zone_of[node]].pop(node, None)
        if contact.until_s < inf:
            lives.close(node)
            insort(self._unmarked, node)

    def _requeue(self, at: float) -> None:
        """Queue all lost nodes without NoExecute again, in any order, as every pass does."""
        for node in self._again:
            if self._lives.unknown_s[node] < inf == self._lives.ready_s[node]:
                self._queues[self._fleet.zone_of[node]][node] = at
        self._again.clear()
        for queue in self._queues:
            queue.update(dict.fromkeys(queue, at))

    # -- zone states ---------------------------------------------------------------------------------------

    def _disruption(self, at: float, end: float) -> None:
        """Apply `handleDisruption` at the end of a pass, with what the pass saw."""
        states, before = self._zone_states(at, end), self._states
        if states == before:
            return
        self._taint_until(end)
        if _all_lost(states):
            self._enter_master_disruption(end)
        if _all_lost(before):
            self._seen_s = [max(seen, end) for seen in self._seen_s]
        self._lives.zones += [(end, zone, new) for zone, new in states.items() if new is not before[zone]]
        for zone, rate in enumerate(self._rates(states)):
            self._swap_limiter(zone, rate, end)
        self._states = states

    def _zone_states(self, at: float, end: float) -> dict[int, ZoneState]:
        """Return the state of each zone with at least one counted node."""
        fleet, lost = self._fleet, Counter[int]()
        for node, since in enumerate(self._lives.unknown_s):
            if since <= end and self._lives.ready_s[node] > at and fleet.counted[node]:
                lost[fleet.zone_of[node]] += 1
        return {
            zone: zone_state(
                ready + self._sizes[zone] - lost[zone], bad + lost[zone], self._settings.unhealthy_threshold
            )
            for zone, (ready, bad) in enumerate(zip(fleet.others_ready, fleet.others_lost, strict=True))
            if ready + bad + self._sizes[zone]
        }

    def _swap_limiter(self, zone: int, rate: float, at: float) -> None:
        """Apply `SwapLimiter`: the new limiter starts empty if the old one was."""
        old = self._limiters[zone]
        if old.rate != rate:
            full = rate > 0 < old.rate and old.free_from(at) <= at
            self._limiters[zone] = Bucket(rate, 1, 1.0 if full else 0.0, at)

    def _rates(self, states: dict[int, ZoneState]) -> list[float]:
        """Return the rate of each zone's limiter, in nodes per second."""
        if _all_lost(states):
            return [0.0 for _ in self._queues]
        return [self._rate(zone, states.get(zone, ZoneState.NORMAL)) for zone, _ in enumerate(self._queues)]

    def _rate(self, zone: int, state: ZoneState) -> float:
        settings, fleet = self._settings, self._fleet
        if state is ZoneState.FULL_DISRUPTION and not settings.evicts_lost_zones:
            return 0.0
        if state is not ZoneState.PARTIAL_DISRUPTION:
            return settings.eviction_rate
        size = fleet.others_ready[zone] + fleet.others_lost[zone] + self._sizes[zone]
        return settings.secondary_eviction_rate if size > settings.large_cluster_size else 0.0

    def _enter_master_disruption(self, at: float) -> None:
        """Handle the loss of all zones: the controller blames itself, removes its taints, and evicts nothing.

        A taint that is being written at that moment stays, and its node's Pods are evicted (seen in the oracle).
        """
        for node, since in enumerate(self._lives.no_execute_s):
            if since <= at:
                self._lives.untied.append((node, since, at))
                self._lives.no_execute_s[node] = inf
                self._again.append(node)
        for queue in self._queues:
            self._again += queue
            queue.clear()

    # -- the zones' queues ---------------------------------------------------------------------------------

    def _taint_until(self, limit: float) -> None:
        """Taint nodes with NoExecute whose turn comes before `limit`."""
        for queue, limiter in zip(self._queues, self._limiters, strict=True):
            while queue:
                look = self._looks.first_from(limiter.free_from(next(iter(queue.values()))))
                if look >= limit:
                    break
                limiter.take(1, look)
                self._take_turn(queue, look)

    def _take_turn(self, queue: dict[int, float], look: float) -> None:
        """Take the turn of the node queued first; among nodes queued at the same time, any."""
        first = next(iter(queue.values()))
        those = [node for node, _ in takewhile(lambda each: each[1] == first, queue.items())]
        node = those[self._draw.choose([1.0] * len(those))]
        del queue[node]
        if self._lives.no_execute_s[node] < inf:
            return
        if look - self._lives.unknown_s[node] < self._lag_s:
            self._again.append(node)
            return
        self._lives.no_execute_s[node] = look + TAINT_CALLS * self._call_s
        if self._draw.random.random() < QUEUED_AGAIN:
            self._again.append(node)


def _all_lost(states: dict[int, ZoneState]) -> bool:
    return all(state is ZoneState.FULL_DISRUPTION for state in states.values())


UNHEALTHY_ZONE_THRESHOLD = 0.55
"""kube-controller-manager `--unhealthy-zone-threshold`."""


class ZoneState(StrEnum):
    """A zone's state, with the controller's names."""

    NORMAL = "Normal"
    PARTIAL_DISRUPTION = "PartialDisruption"
    FULL_DISRUPTION = "FullDisruption"


def zone_state(ready: int, not_ready: int, threshold: float = UNHEALTHY_ZONE_THRESHOLD) -> ZoneState:
    """Return the state of a zone with these numbers of ready and not-ready nodes."""
    if not_ready > 0 and ready == 0:
        return ZoneState.FULL_DISRUPTION
    if not_ready > 2 and not_ready / (ready + not_ready) >= threshold:
        return ZoneState.PARTIAL_DISRUPTION
    return ZoneState.NORMAL


def zone_states(nodes: Iterable[Node], lost: Collection[str]) -> dict[str, ZoneState]:
    """Return each zone's state (by its label, "" for none) if the nodes named in `lost` are not ready."""
    counts = Counter((node.zone, node.name in lost) for node in nodes)
    return {zone: zone_state(counts[zone, False], counts[zone, True]) for zone, _ in sorted(counts)}
