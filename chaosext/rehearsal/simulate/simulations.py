"""Which simulations of a cut are made: every way that chance can go, or a sample of them, within a time budget."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from chaosext.rehearsal.simulate.engine import simulate
from chaosext.rehearsal.simulate.play import Timeline
from chaosext.rehearsal.simulate.samples import paths, samples
from chaosext.rehearsal.simulate.time_budget import TimeIsUp

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosext.rehearsal.simulate.inputs import Stage
    from chaosext.rehearsal.simulate.prediction import PredictedEvent
    from chaosext.rehearsal.simulate.samples import Draw, Played
    from chaosext.rehearsal.simulate.simulation import Trace
    from chaosext.rehearsal.simulate.time_budget import TimeBudget

Weighted: TypeAlias = "list[tuple[float, Trace]]"

ENUMERATED_NODES = 3
"""Up to so many cut nodes are enumerated: a thousand ways, most of them of their leases and of the first tokens."""

ENUMERATED = "simulations of all lease ages, monitor phases and orders, weighted by probability"

MOST_WAYS, ENOUGH_WAYS = 3000, 300
"""More ways are not enumerated; fewer are simulated again with other times."""

MOST_STEPS = 300_000
"""Ways times the Pods that are followed in each: what is more takes minutes, and is sampled."""

MOST_SAMPLES, FEWEST_SAMPLES = 500, 12
SAMPLED_NODES, SAMPLED_PODS = 6_000, 50_000
"""A sample is about so many nodes' and at most so many Pods' lives: small clusters' show rarer things."""

ENOUGH_TO_FORETELL, FORETOLD_TWICE = 100, 2.0
"""After so many ways their weight tells how many there are, within a factor of two (it was 1.5 where it was tried)."""

EDGES = 60
"""Up to so many are simulated again in which everything takes as short as it can, and as many as long as it can: a
random one never does.
"""

ENUMERATING, SIMULATING = 0.5, 0.85
"""Shares of the time budget: until a sample is taken instead, and until the rest is left for the edges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """`plays` are what simulations came to, each with its share of them all.

    `made` of `wanted` simulations; `sampled`: they are random ones. `told`: how chance was treated, in words.
    """

    plays: Weighted
    timeline: tuple[PredictedEvent, ...]
    made: int
    wanted: int
    sampled: bool
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulations:
    """Those of one cut. Two with the same seed are the same where neither runs out of time."""

    stage: Stage
    seed: int
    with_timeline: bool
    budget: TimeBudget

    def made(self, number: int | None) -> Made:
        """As many as the cut needs, or that number of random ones; fewer where the time is up before."""
        if number is None and len(self.stage.living) <= ENUMERATED_NODES:
            every = self._every_way()
            if every:
                count = len(every.plays)
                return self._simulated(every, count, f"{count} {ENUMERATED}", sampled=False)
        wanted = number or _affordable(self.stage)
        return self._simulated(
            self._sample(wanted), wanted, f"{wanted} random simulations, seed {self.seed}", sampled=True
        )

    def _every_way(self) -> _Collected | None:
        """All ways, again where they are few: what isn't enumerated, races within a second, differs each time.

        None where they are too many, or take too long: a part of them shows nothing.
        """
        found, play = _Collected(self.with_timeline), self._player(ENUMERATING)
        most = min(MOST_WAYS, MOST_STEPS // max(1, len(self.stage.watched)))
        try:
            for played in paths(play, self.seed):
                found.add(played)
                if found.foretells_more_than(most):
                    return None
            for another in range(1, ENOUGH_WAYS // len(found.plays)):
                found.begin_again()
                for played in paths(play, self.seed + another):
                    found.add(played)
        except TimeIsUp:
            return None
        return found

    def _sample(self, wanted: int) -> _Collected:
        found = _Collected(self.with_timeline)
        try:
            for played in samples(self._player(SIMULATING), self.seed, wanted):
                found.add(played)
        except TimeIsUp:
            pass
        return found

    def _player(self, share: float) -> Callable[[Draw], Trace]:
        return partial(simulate, self.stage, budget=self.budget.share(share))

    def _simulated(self, found: _Collected, wanted: int, told: str, *, sampled: bool) -> Made:
        made = len(found.plays)
        if made < wanted:
            told = f"{made} of {told}: the time budget of {self.budget.seconds:g} s ended"
        return Made(
            timeline=found.events(partial(simulate, self.stage, budget=self.budget)),
            plays=found.shares(),
            made=made,
            wanted=wanted,
            sampled=sampled,
            told=told,
        )


def _affordable(stage: Stage) -> int:
    """As many as a size can afford; small ones show rarer things."""
    by_nodes = SAMPLED_NODES // max(1, len(stage.living))
    by_pods = SAMPLED_PODS // max(1, len(stage.watched))
    return max(FEWEST_SAMPLES, min(MOST_SAMPLES, by_nodes, by_pods))


class _Collected:
    """What simulations came to, in their order. Their lines are in the timeline: kept apart they would be millions."""

    def __init__(self, with_timeline: bool) -> None:
        self.plays: dict[int, tuple[float, Trace]] = {}
        self._redraws: dict[int, Callable[[float | None], Draw]] = {}
        self._timeline = Timeline() if with_timeline else None
        self._before, self._weight = 0, 0.0

    def add(self, played: Played[Trace]) -> None:
        turn, trace = self._before + played.turn, played.value
        if self._timeline:
            self._timeline.add(turn, played.weight, trace.marks)
        trace.marks = []
        self._weight += played.weight
        self.plays[turn], self._redraws[turn] = (played.weight, trace), played.redraw

    def foretells_more_than(self, most: int) -> bool:
        """There are more ways, or will be: as many again as the weight that is left."""
        count = len(self.plays)
        return count > most or (count >= ENOUGH_TO_FORETELL and count > FORETOLD_TWICE * most * self._weight)

    def begin_again(self) -> None:
        """The next ones are of another round: their turns count from what is here."""
        self._before = len(self.plays)

    def shares(self) -> Weighted:
        """Each with its share, in the order of their turns."""
        total = self._weight
        return [(weight / total, trace) for _, (weight, trace) in sorted(self.plays.items())]

    def events(self, simulate_again: Callable[[Draw], Trace]) -> tuple[PredictedEvent, ...]:
        """The timeline, with its edges: simulations without weight, which only tell when events may be.

        Where an event came first it could have come earlier still, and later where it came last: rare ones before
        others, as those have few simulations to show their range.
        """
        if self._timeline is None or not self.plays:
            return ()
        firsts, lasts = self._timeline.extremes(max(1, min(EDGES, len(self.plays) // 10)))
        edges = [(turn, 0.0) for turn in firsts] + [(turn, 1.0) for turn in lasts]
        try:
            for beyond, (turn, lean) in enumerate(edges, start=max(self.plays) + 1):
                self._timeline.add(beyond, 0.0, simulate_again(self._redraws[turn](lean)).marks)
        except TimeIsUp:
            pass
        return self._timeline.events(self._weight)
