"""The course of an experiment: when it cuts, for how long, and what follows, by its arguments and pauses. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from chaosext.experiment.activity_names import (
    CUT_EFFECTIVE,
    HEAL,
    KUBE_DNS_MOVED,
    RESCHEDULE,
    SEVER,
    STEADY_STATE,
)
from chaosext.experiment.load import activities, calls, is_ours
from chaosext.partition.cut import FAMILIES
from chaosext.rehearsal.simulate.planned_cut import Plan, merged
from chaosext.rehearsal.snapshot.world import Doubt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.experiment.cut_request import CutRequest
    from chaosext.experiment.resolve import Resolved
    from chaosext.rehearsal.simulate.planned_cut import Periods
    from chaosext.rehearsal.snapshot.world import World

PROVEN_S = 5.0
"""Duration of `cut_effective`, seconds: dropped connections time out, first in one direction, then in the other."""

LASTS_S: Mapping[str, float] = {SEVER: 0.0, HEAL: 0.0, CUT_EFFECTIVE: PROVEN_S}
"""Functions of chaosext whose duration is known, seconds; a few hundred milliseconds do not count."""

CUT_WITHIN_S = 60.0
"""From the snapshot to the cut, seconds: the baseline is checked in between."""

AFTERWARDS_S = 240.0
"""Observed time after a rollback, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Durations of an experiment's parts, in seconds.

    `lasts_s`: the (first) cut, as far as the experiment says: until it is healed or expires.
    `later`: begin and end of each later cut, counted from the first begin.
    `moves_s`: how long it waits for kube-dns to move before it heals; None: it doesn't wait for that. It begins to wait
    `begins_s` after the cut, and heals `holds_s` after the wait, infinite if that is unknown.
    `settle_s`: from the last heal to the rollback; None: no rollback.
    `doubts`: why the real cut differs from the rehearsed one.
    """

    lasts_s: float
    later: Periods = ()
    moves_s: float | None = None
    begins_s: float = 0.0
    holds_s: float = 0.0
    settle_s: float | None = None
    doubts: tuple[Doubt, ...] = ()

    @property
    def waits_until_s(self) -> float:
        """When it heals at the latest, in seconds from the cut."""
        return self.healed_s(self.begins_s + (self.moves_s or 0.0))

    def healed_s(self, moved_s: float) -> float:
        """When it heals, in seconds from the cut, if kube-dns has moved by `moved_s`; at the latest when it expires."""
        return min(self.lasts_s, max(self.begins_s, moved_s) + self.holds_s)

    def plan(self, world: World, nodes: frozenset[str], cut_for_s: float) -> Plan:
        """The plan of a (first) cut of this length, soon after the snapshot, and of the later ones."""
        periods = ((0.0, cut_for_s), *self.later)
        healed_s = periods[-1][1]
        rollback_s = None if self.settle_s is None else healed_s + self.settle_s
        return Plan(
            cut_nodes=nodes,
            periods=periods,
            horizon_s=(rollback_s or healed_s) + AFTERWARDS_S,
            rollback_s=rollback_s,
            cut_at=world.taken_at,
            cut_within_s=CUT_WITHIN_S,
            doubts=self.doubts,
        )


def course_of(resolved: Resolved) -> Course | None:
    """The course of the experiment by its arguments; None if it cuts nothing."""
    wishes = dict(resolved.wishes())
    if not wishes:
        return None
    method = _Method(resolved)
    (_, first), *later = method.periods(wishes)
    doubts = (*_doubts(wishes), *method.doubts(wishes, several=bool(later)))
    rolls_back = any(True for _ in calls(resolved.experiment, RESCHEDULE))
    settle_s = (method.argument(STEADY_STATE, "settle_s") or 0.0) if rolls_back else None
    moves_s = None
    if not later and not resolved.settings.is_sealed and method.heals:
        moves_s = method.argument(KUBE_DNS_MOVED, "timeout_s")
    if moves_s is None:
        return Course(lasts_s=first, later=tuple(later), settle_s=settle_s, doubts=doubts)
    begins_s, holds_s = method.around_move()
    return Course(
        lasts_s=max(wish.ttl_s for wish in wishes.values()),
        moves_s=moves_s,
        begins_s=begins_s,
        holds_s=holds_s,
        settle_s=settle_s,
        doubts=doubts,
    )


def _doubts(wishes: Mapping[str, CutRequest]) -> Iterator[Doubt]:
    """Doubts: a rehearsal covers cuts that drop all traffic between the control plane and the cut nodes."""
    for place, wish in wishes.items():
        if wish.peers:
            why = "it limits what is cut off; a rehearsal covers all nodes"
            yield Doubt(subject=_the(place, wishes), key="peers", why=why)
        if set(wish.families) != set(FAMILIES):
            why = "it cuts one address family; a rehearsal covers both"
            yield Doubt(subject=_the(place, wishes), key="families", why=why)
    uplinks = next(iter(wishes.values())).uplinks
    for place, wish in wishes.items():
        if wish.uplinks != uplinks:
            why = "it cuts other interfaces than the first cut; a rehearsal covers cuts of the same nodes"
            yield Doubt(subject=place, key="uplinks", why=why)


def _the(place: str, wishes: Mapping[str, CutRequest]) -> str:
    return "the experiment" if len(wishes) == 1 else place


class _Method:
    """The method's activities: when each begins, as far as that is known."""

    def __init__(self, resolved: Resolved) -> None:
        self._resolved = resolved
        everything = activities(resolved.experiment)
        self._steps = [(place, each) for place, each in everything if place.startswith("method")]
        funcs = [_func(each) for _, each in self._steps]
        cuts = [at for at, func in enumerate(funcs) if func == SEVER]
        self._first = cuts[0] if cuts else len(funcs)
        self._last = cuts[-1] if cuts else len(funcs)
        heals = [at for at, func in enumerate(funcs) if func == HEAL and at > self._last]
        self.heals = bool(heals)
        self._heal = heals[0] if heals else len(funcs) - 1

    def periods(self, wishes: Mapping[str, CutRequest]) -> Periods:
        """Each cut from its begin until it is healed or expires, counted from the first begin; joined where they meet.

        A part of unknown length takes no time between cuts (which is a doubt), and for ever in the last one.
        """
        now, periods = 0.0, list[tuple[float, float]]()
        for at in range(self._first, len(self._steps)):
            place, activity = self._steps[at]
            if at > self._first:
                now += self._pause_s(activity, "before")
            if _func(activity) == SEVER:
                periods.append((now, now + wishes[place].ttl_s))
            if _func(activity) == HEAL and not self._resolved.settings.is_sealed:
                periods = [(begin, min(end, max(now, begin))) for begin, end in periods]
            if at > self._last and not is_ours(activity):
                break
            now += LASTS_S.get(_func(activity), 0.0) + self._pause_s(activity, "after")
        if not periods:
            return ((0.0, max(wish.ttl_s for wish in wishes.values())),)
        return merged((begin, end) for begin, end in periods if begin < end) or ((0.0, 0.0),)

    def around_move(self) -> tuple[float, float]:
        """Return the time from the last cut to the wait for kube-dns' move, and from its end to the heal, in seconds.

        Infinite where an activity of another module is in between, whose duration is unknown.
        """
        spent = [0.0, 0.0]
        part = 0
        for at in range(self._last, self._heal + 1):
            _, activity = self._steps[at]
            spent[part] += self._pause_s(activity, "before") if at > self._last else 0.0
            if _func(activity) == KUBE_DNS_MOVED:
                part = 1
            if _func(activity) == HEAL:
                break
            spent[part] += LASTS_S.get(_func(activity), 0.0) if is_ours(activity) else inf
            spent[part] += self._pause_s(activity, "after")
        return spent[0], spent[1]

    def doubts(self, wishes: Mapping[str, CutRequest], *, several: bool) -> Iterator[Doubt]:
        """What no rehearsal can play, by activity, if the experiment cuts more than once.

        `several`: the cuts are apart from each other.
        """
        if len(wishes) < 2:
            return
        known = {place for place, _ in self._steps}
        for place in wishes:
            if place not in known:
                yield Doubt(
                    subject=place, why="it cuts outside of the method; a rehearsal covers the method's cuts"
                )
        end = self._heal if several and self._waits_last() else self._last
        for place, activity in self._steps[self._first : end + 1]:
            why = _why_not(activity)
            if why:
                yield Doubt(subject=f"{place} ({activity.get('name', '')})", why=why)

    def _waits_last(self) -> bool:
        """Whether the last cut is healed once kube-dns has moved."""
        steps = self._steps[self._last : self._heal + 1]
        return self.heals and any(_func(each) == KUBE_DNS_MOVED for _, each in steps)

    def argument(self, func: str, name: str) -> float | None:
        """The argument of the method's first call of `func`."""
        for _, activity in self._steps:
            if _func(activity) == func:
                arguments = self._resolved.looked_up(activity["provider"].get("arguments"))
                return float(arguments[name]) if name in arguments else None
        return None

    def _pause_s(self, activity: dict[str, Any], when: str) -> float:
        """Chaos Toolkit's `pauses` (seconds), which the configuration may define."""
        return float(self._resolved.looked_up(activity.get("pauses")).get(when) or 0.0)


def _func(activity: Mapping[str, Any]) -> str:
    """chaosext's function that an activity calls, "" if it calls another one."""
    return str(activity["provider"].get("func", "")) if is_ours(activity) else ""


def _why_not(activity: Mapping[str, Any]) -> str:
    """Why an activity from the first cut to the last one can't be rehearsed; "" if it can."""
    if activity.get("background"):
        return "it runs in the background, so that it is unknown when it ends"
    func = _func(activity)
    if func in LASTS_S:
        return ""
    if func == RESCHEDULE:
        return "it reschedules kube-dns between two cuts"
    if activity.get("type") == "action":
        return "it is an action between two cuts, whose effect and duration a rehearsal does not know"
    return "how long it takes is known only in the run, and so are the times of the cuts; set pauses instead"
