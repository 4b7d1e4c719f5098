"""The longest cut that is safe: the plan's acceptance holds for it, and for every shorter one down to the step.

Each duration is judged as the gate judges a plan. Which ones must be judged follows from where the outcome can
change at all (`turning_points`); it is never assumed that a longer cut is worse where something happens. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from enum import StrEnum
from math import ceil
from typing import TYPE_CHECKING, Any

from chaosext.gate.breaking_event import breaking_event
from chaosext.gate.cutover_plan import AFTERWARDS_S
from chaosext.gate.likelihood import percent
from chaosext.gate.rehearsed import FAR, FEW, counted, falls_short, rehearsed_for
from chaosext.gate.turning_points import turning_points
from chaosext.model.duration_text import short_duration
from chaosext.model.findings import Status, worst
from chaosext.rehearsal.predict.predict import Rehearsal
from chaosext.rehearsal.simulate.planned_cut import MAX_HORIZON_S
from chaosext.rehearsal.simulate.prediction import Dns
from chaosext.rehearsal.simulate.simulations import ENUMERATED_NODES
from chaosext.rehearsal.simulate.time_budget import UNBOUNDED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from chaosext.gate.breaking_event import BreakingEvent
    from chaosext.gate.cutover_plan import Cutover
    from chaosext.gate.domain_cuts import DomainCut
    from chaosext.gate.rehearsed import Rehearsed
    from chaosext.model.findings import Finding
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import World

SCHEMA = "chaosext.longest-cut/v1"

STEP_S, UP_TO_S = 15.0, 3600.0
"""Seconds between two durations, and the longest one, by default."""

MOST_STEPS = 5000
"""Maximum number of durations."""

LEAST_S, FEW_STEPS = 900.0, 240
"""For a plan: the least of its longest durations to try, and the number of steps from which on they are longer."""

PLAN_SHARE = 0.6
"""Share of the time budget for the plan's own nodes, if domains follow."""

LONG_RUN = 0.3
"""Share of the time budget for the rehearsal that shows where the outcome can change."""


class CutLimit(StrEnum):
    """What limits the safe durations."""

    NONE = "none"
    """Every duration up to the longest one is safe."""
    BREAKS = "breaks"
    """The next one is not acceptable."""
    UNKNOWN = "unknown"
    """Of the next one it is unknown whether it is acceptable."""
    TIME = "time budget"
    """The next one was not tried: the time budget ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The durations to try: multiples of `step_s` up to `up_to_s`."""

    step_s: float = STEP_S
    up_to_s: float = UP_TO_S

    @property
    def durations_s(self) -> tuple[float, ...]:
        count = int(self.up_to_s / self.step_s + 1e-9)
        return tuple(round(self.step_s * number, 6) for number in range(1, count + 1))


def range_for(cutover: Cutover) -> Range:
    """Return the durations to try for a plan: up to twice its longest, so that the margin shows."""
    up_to_s = min(max(2 * cutover.at_most_s, LEAST_S), MAX_HORIZON_S - AFTERWARDS_S)
    return Range(step_s=STEP_S * ceil(up_to_s / STEP_S / FEW_STEPS), up_to_s=up_to_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class LongestCut:
    """The longest safe cut of some nodes. `safe_s`: 0 if not even the shortest duration is known to be safe.

    `next_s`: the duration after it, if it was tried; `findings` are those that stand against it, `event` the first
    event that leads to them, as far as it is known. `settles`: why it is unknown, with the object in question.
    `domain`: which nodes, "" for the plan's; `alike`: nodes with the same answer, which this one stands for.
    """

    nodes: frozenset[str]
    safe_s: float
    limit: CutLimit
    probability: float
    tried: Range
    next_s: float | None = None
    findings: tuple[Finding, ...] = ()
    event: BreakingEvent | None = None
    settles: str = ""
    domain: str = ""
    alike: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """The answer in a sentence: `safe up to 5m30s (99%); at 5m45s the first kube-dns Pod moves to cp-1`."""
        likely = percent(self.probability)
        if self.limit is CutLimit.NONE:
            return f"safe up to {short_duration(self.safe_s)}, the longest tried ({likely})"
        if self.safe_s:
            return f"safe up to {short_duration(self.safe_s)} ({likely}); {self.then}"
        return f"not safe: {self.then}" if self.limit is CutLimit.BREAKS else self.then

    @property
    def then(self) -> str:
        """What limits it: `at 5m45s the first kube-dns Pod moves to cp-1`."""
        if self.limit is CutLimit.NONE:
            return "nothing up to the longest tried"
        if self.limit is CutLimit.TIME:
            return "longer cuts were not tried: the time budget ended" if self.safe_s else NOT_TRIED
        why, next_s = str(self.event) if self.event else self.settles or self._summary, self.next_s or 0.0
        if self.limit is CutLimit.BREAKS:
            return f"at {short_duration(next_s)} {why}"
        return f"from {short_duration(next_s)} on unknown: {why}" if self.safe_s else f"unknown: {why}"

    @property
    def _summary(self) -> str:
        return (
            f"{self.findings[0].check}: {self.findings[0].summary}"
            if self.findings
            else "it is not acceptable"
        )

    def no_return(self, start: datetime | None) -> datetime | None:
        """Return the latest safe end of a cut that begins at `start`; None without a start, or if none is safe."""
        if start is None or not self.safe_s:
            return None
        return (start.astimezone(UTC) + timedelta(seconds=self.safe_s)).astimezone(start.tzinfo)

    def to_json(self, start: datetime | None = None) -> dict[str, Any]:
        no_return = self.no_return(start)
        return {
            "domain": self.domain,
            "alike": list(self.alike),
            "nodes": sorted(self.nodes),
            "answer": self.answer,
            "safe_s": self.safe_s,
            "limit": self.limit.value,
            "next_s": self.next_s,
            "checks": [
                {"check": each.check, "status": each.status.value, "summary": each.summary}
                for each in self.findings
            ],
            "event": self.event.to_json() if self.event else None,
            "settles": self.settles,
            "probability": self.probability,
            "step_s": self.tried.step_s,
            "up_to_s": self.tried.up_to_s,
            "no_return": no_return.isoformat() if no_return else None,
        }


NOT_TRIED = "unknown: the time budget ended before any duration was tried"


def clock(moment: datetime) -> str:
    """Return a time of the day with its time zone, and its date."""
    return f"{moment:%Y-%m-%d %H:%M:%S} {moment.tzname() or ''}".rstrip()


def first_bad(spans: Iterable[range], is_good: Callable[[int], bool]) -> int | None:
    """Return the first index that is not good, None if all are.

    Within a span, what is not good stays so; nothing is assumed from one span to the next.
    """
    for span in spans:
        if is_good(span[-1]):
            continue
        low, high = span[0], span[-1]
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if is_good(middle) else (low, middle)
        return low
    return None


def longest_cuts(
    world: World,
    cutover: Cutover,
    nodes: frozenset[str],
    domains: Iterable[DomainCut] = (),
    tried: Range | None = None,
    *,
    seed: int = 0,
    budget: TimeBudget = UNBOUNDED,
    on_all: Callable[..., Iterable[LongestCut]] = map,
) -> tuple[LongestCut, ...]:
    """Return the longest safe cut of the plan's nodes, and then of each domain. All share the budget.

    `on_all` maps a function over the cuts, as `map` does.
    """
    domains = tuple(domains)
    cuts: list[tuple[frozenset[str], DomainCut | None]] = [
        (nodes, None),
        *((each.nodes, each) for each in domains),
    ]

    def search(numbered: tuple[int, tuple[frozenset[str], DomainCut | None]]) -> LongestCut:
        at, (those, domain) = numbered
        part = budget.share(1 / (len(cuts) - at) if at else PLAN_SHARE if domains else 1.0)
        found = longest_cut(world, cutover, those, tried, seed=seed, budget=part)
        return (
            found if domain is None else replace(found, domain=" = ".join(domain.names), alike=domain.alike)
        )

    return tuple(on_all(search, list(enumerate(cuts))))


def longest_cut(
    world: World,
    cutover: Cutover,
    nodes: frozenset[str],
    tried: Range | None = None,
    *,
    seed: int = 0,
    budget: TimeBudget = UNBOUNDED,
) -> LongestCut:
    """Return the longest safe cut of these nodes, by the plan's acceptance; the plan has one cut."""
    return _Search(world, cutover, nodes, tried or Range(), seed, budget).result()


def _settles(found: Prediction) -> str:
    """Return why the outcome is unknown, with the object that would settle it; "" if a finding's summary says it."""
    if found.routes.doubts:
        return found.routes.why_not
    if found.doubts:
        return str(found.doubts[0])
    if found.dns.after_heal is Dns.UNKNOWN and not found.otherwise:
        return next((each.why for each in found.outcomes if each.dns_after_heal is Dns.UNKNOWN), "")
    return ""


class _OutOfTime(Exception):
    """The time budget ended before a duration was judged."""


class _Search:
    """The search for the longest safe cut of some nodes; each duration is judged once."""

    def __init__(
        self,
        world: World,
        cutover: Cutover,
        nodes: frozenset[str],
        tried: Range,
        seed: int,
        budget: TimeBudget,
    ) -> None:
        self._world, self._cutover, self._nodes, self._tried = world, cutover, nodes, tried
        self._seed, self._budget = seed, budget
        self._rehearsal, self._durations_s = Rehearsal(world), tried.durations_s
        self._status: dict[int, Status] = {}

    def result(self) -> LongestCut:
        longest_s, spans = self._durations_s[-1], self._spans()
        try:
            while (at := first_bad(spans, self._is_good)) is not None:
                found = self._judged(at)
                if self._status[at] is not Status.HEALTHY:
                    return self._limited(at, found)
        except _OutOfTime:
            return self._cut_short(spans)
        return self._found(longest_s, CutLimit.NONE)

    def _spans(self) -> tuple[range, ...]:
        plan = self._cutover.plan(self._nodes, self._durations_s[-1])
        points = turning_points(
            self._world, plan, self._durations_s, seed=self._seed, budget=self._budget.share(LONG_RUN)
        )
        return tuple(points.spans(self._durations_s))

    def _is_good(self, at: int) -> bool:
        if at not in self._status:
            if self._is_hopeless(at):
                return False
            self._judged(at)
        return self._status[at] is Status.HEALTHY

    def _is_hopeless(self, at: int) -> bool:
        """Whether a few random simulations already show that the outcome is far from acceptable."""
        accept = self._cutover.accept
        if len(self._nodes) <= ENUMERATED_NODES or accept.probability <= FAR:
            return False
        found = self._rehearsal.of(
            self._cutover.plan(self._nodes, self._durations_s[at]),
            samples=FEW,
            seed=self._seed,
            with_timeline=False,
            budget=self._budget,
            alternatives=False,
        )
        return falls_short(found, replace(accept, probability=accept.probability - FAR))

    def _judged(self, at: int) -> Rehearsed:
        """Judge a duration as the gate does. Raises `_OutOfTime`."""
        found = rehearsed_for(
            self._rehearsal,
            self._cutover,
            self._nodes,
            self._durations_s[at],
            seed=self._seed,
            hopeful=True,
            with_timeline=False,
            budget=self._budget,
        )
        status = worst(each.status for each in counted(found.findings, self._cutover.accept))
        is_whole = found.prediction.simulations.is_whole and not self._budget.is_over
        if not is_whole and status is not Status.UNHEALTHY:
            raise _OutOfTime
        self._status[at] = status
        return found

    def _limited(self, at: int, found: Rehearsed) -> LongestCut:
        """Return the answer, with what stands against the duration number `at`."""
        against = [
            each
            for each in counted(found.findings, self._cutover.accept)
            if each.status is not Status.HEALTHY
        ]
        against.sort(key=lambda each: each.status is not Status.UNHEALTHY)
        safe_s = self._durations_s[at - 1] if at else 0.0
        is_broken = self._status[at] is Status.UNHEALTHY
        return replace(
            self._found(safe_s, CutLimit.BREAKS if is_broken else CutLimit.UNKNOWN),
            next_s=self._durations_s[at],
            findings=tuple(against),
            event=self._event(at, against) if is_broken else None,
            settles="" if is_broken else _settles(found.prediction),
        )

    def _event(self, at: int, against: Iterable[Finding]) -> BreakingEvent | None:
        plan = self._cutover.plan(self._nodes, self._durations_s[at])
        found = self._rehearsal.of(plan, seed=self._seed, budget=self._budget, alternatives=False)
        return breaking_event(self._world, found, self._cutover.accept, against)

    def _cut_short(self, spans: Iterable[range]) -> LongestCut:
        """Return what is known when the time budget ends."""
        safe = -1
        for span in spans:
            good = [at for at in span if self._status.get(at) is Status.HEALTHY]
            safe = max([safe, *good])
            if safe < span[-1]:
                break
        return self._found(self._durations_s[safe] if safe >= 0 else 0.0, CutLimit.TIME)

    def _found(self, safe_s: float, limit: CutLimit) -> LongestCut:
        return LongestCut(
            nodes=self._nodes,
            safe_s=safe_s,
            limit=limit,
            probability=self._cutover.accept.probability,
            tried=self._tried,
        )
