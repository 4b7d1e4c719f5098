"""Which simulations of a cut are run: all combinations of random choices or a sample, within a time budget."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from chaosext.rehearsal.simulate.engine import simulate
from chaosext.rehearsal.simulate.play import Timeline
from chaosext.rehearsal.simulate.samples import paths, samples
from chaosext.rehearsal.simulate.time_budget import BudgetSpent

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosext.rehearsal.simulate.inputs import SimulationInputs
    from chaosext.rehearsal.simulate.prediction import PredictedEvent
    from chaosext.rehearsal.simulate.samples import Draw, Played
    from chaosext.rehearsal.simulate.simulation import Trace
    from chaosext.rehearsal.simulate.time_budget import TimeBudget

Weighted: TypeAlias = "list[tuple[float, Trace]]"

ENUMERATED_NODES = 3
"""Up to this many cut nodes, all combinations are enumerated: about 1,000, mostly of lease ages and first tokens."""

ENUMERATED = "simulations of all lease ages, monitor phases and orders, weighted by probability"

MOST_WAYS, ENOUGH_WAYS = 3000, 300
"""Maximum number of combinations to enumerate; fewer than the second are repeated with other durations."""

MOST_STEPS = 300_000
"""Maximum of combinations times tracked Pods. More would take minutes, and are sampled instead."""

MOST_SAMPLES, FEWEST_SAMPLES = 500, 12
SAMPLED_NODES, SAMPLED_PODS = 6_000, 50_000
"""Total of node and Pod simulations in a sample; a smaller cluster gets more simulations, which show rarer events."""

ENOUGH_TO_FORETELL, FORETOLD_TWICE = 100, 2.0
"""After this many combinations, their weight predicts the total within this factor (it was 1.5 in trials)."""

EDGES = 60
"""Maximum number of simulations to repeat with all durations at their minimum, and as many at their maximum.

Random durations never reach both ends.
"""

ENUMERATING, SIMULATING = 0.5, 0.85
"""Shares of the time budget: when to give up enumeration for a sample, and when to end simulations for the edges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The simulations that were run.

    `plays`: results, each with its share of the total weight. `made` of `wanted` simulations ran; `sampled`:
    they are random. `told`: a description of the method.
    """

    plays: Weighted
    timeline: tuple[PredictedEvent, ...]
    made: int
    wanted: int
    sampled: bool
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulations:
    """The simulations of one cut. The same seed gives the same result unless the time budget ends."""

    stage: SimulationInputs
    seed: int
    with_timeline: bool
    budget: TimeBudget

    def made(self, number: int | None) -> Made:
        """Run as many simulations as the cut needs, or `number` random ones; fewer if the time budget ends."""
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
        """Enumerate all combinations, repeatedly if they are few, since races within a second differ each time.

        Return None if they are too many or take too long, because a part of them proves nothing.
        """
        found, play = _Collected(self.with_timeline), self._player(ENUMERATING)
        most = min(MOST_WAYS, MOST_STEPS // max(1, len(self.stage.watched)))
        try:
            for played in paths(play, self.seed):
                found.add(played)
                self.budget.tell(len(found.plays), None)
                if found.foretells_more_than(most):
                    return None
            for another in range(1, ENOUGH_WAYS // len(found.plays)):
                found.begin_again()
                for played in paths(play, self.seed + another):
                    found.add(played)
                    self.budget.tell(len(found.plays), None)
        except BudgetSpent:
            return None
        return found

    def _sample(self, wanted: int) -> _Collected:
        found = _Collected(self.with_timeline)
        try:
            for played in samples(self._player(SIMULATING), self.seed, wanted):
                found.add(played)
                self.budget.tell(len(found.plays), wanted)
        except BudgetSpent:
            pass
        return found

    def _player(self, share: float) -> Callable[[Draw], Trace]:
        return partial(simulate, self.stage, budget=self.budget.share(share), with_marks=self.with_timeline)

    def _simulated(self, found: _Collected, wanted: int, told: str, *, sampled: bool) -> Made:
        made = len(found.plays)
        if made < wanted:
            told = f"{made} of {told}: the time budget of {self.budget.seconds:g}s ended"
        return Made(
            timeline=found.events(partial(simulate, self.stage, budget=self.budget)),
            plays=found.shares(),
            made=made,
            wanted=wanted,
            sampled=sampled,
            told=told,
        )


def _affordable(stage: SimulationInputs) -> int:
    """Return how many random simulations are affordable at this size; smaller clusters get more."""
    by_nodes = SAMPLED_NODES // max(1, len(stage.living))
    more = 0 if stage.follows_all else stage.most_evicted
    by_pods = SAMPLED_PODS // max(1, len(stage.watched) + more)
    return max(FEWEST_SAMPLES, min(MOST_SAMPLES, by_nodes, by_pods))


class _Collected:
    """Results of simulations, in order. Lines are merged into the timeline, since separately they would be millions."""

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
        """Whether there are more combinations than `most`, found or extrapolated from the remaining weight."""
        count = len(self.plays)
        return count > most or (count >= ENOUGH_TO_FORETELL and count > FORETOLD_TWICE * most * self._weight)

    def begin_again(self) -> None:
        """Begin another round: number its simulations from here on."""
        self._before = len(self.plays)

    def shares(self) -> Weighted:
        """Return each result with its share, by number."""
        total = self._weight
        return [(weight / total, trace) for _, (weight, trace) in sorted(self.plays.items())]

    def events(self, simulate_again: Callable[[Draw], Trace]) -> tuple[PredictedEvent, ...]:
        """Return the timeline, widened by edge simulations without weight, which only extend the ranges of event times.

        The simulation with an event's earliest time is repeated with minimum durations, the one with its
        latest time with maximum durations. Rare events come first, as few simulations show their range.
        """
        if self._timeline is None or not self.plays:
            return ()
        firsts, lasts = self._timeline.extremes(max(1, min(EDGES, len(self.plays) // 10)))
        edges = [(turn, 0.0) for turn in firsts] + [(turn, 1.0) for turn in lasts]
        try:
            for beyond, (turn, lean) in enumerate(edges, start=max(self.plays) + 1):
                self._timeline.add(beyond, 0.0, simulate_again(self._redraws[turn](lean)).marks)
        except BudgetSpent:
            pass
        return self._timeline.events(self._weight)
