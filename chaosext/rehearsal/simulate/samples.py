"""All randomness of a rehearsal.

Values that decide the outcome (lease ages, the monitor's phase, the order of nodes, ties) come from `choose`,
which can be enumerated: every choice is simulated, with its exact weight. Values that only shift a time
within its range come from `between`, always from a generator with a fixed seed.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, count
from random import Random
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Value = TypeVar("Value")

PHASES = (0.046910077, 0.230765345, 0.5, 0.769234655, 0.953089923)
PHASE_WEIGHTS = (0.118463443, 0.239314335, 0.284444444, 0.239314335, 0.118463443)
"""Gauss-Legendre points and weights on [0, 1], exact for polynomials up to degree 9.

The joint probability of n lease ages, given the monitor's phase, is a polynomial of degree n in the phase.
"""


class Draw(Protocol):
    """The random values of one simulation."""

    @property
    def random(self) -> Random:
        """Generator for details that do not affect the outcome."""

    def between(self, low: float, high: float) -> float:
        """Return a duration within the range."""

    def phase(self) -> float:
        """Return a point in [0, 1) of a period whose phase is unknown."""

    def choose(self, weights: Sequence[float]) -> int:
        """Return an index, with the probability of its weight's share."""


class Sampled:
    """One of `count` random simulations; phases are stratified, so that few simulations already cover a period."""

    __slots__ = ("_index", "_stratum", "between", "random")

    def __init__(self, seed: int, index: int, count: int, lean: float | None) -> None:
        self.random = Random(seed * 1_000_003 + index)  # noqa: S311  # a simulation, not a secret
        self.between = _between(self.random, lean)
        self._index, self._stratum = index, 1.0 / count

    def phase(self) -> float:
        return (self._index + self.random.random()) * self._stratum

    def choose(self, weights: Sequence[float]) -> int:
        if len(weights) == 1:
            return 0
        until = list(accumulate(weights))
        return bisect_right(until, self.random.random() * until[-1], 0, len(until) - 1)


@dataclass(frozen=True, slots=True)
class Played(Generic[Value]):
    """One simulation: its number, probability and result.

    `redraw` returns the same random values for another run, optionally with all durations at one end of their
    ranges.
    """

    turn: int
    weight: float
    value: Value
    redraw: Callable[[float | None], Draw]


class _Path:
    """One path through the tree of choices: follows `prefix`, then takes every first branch, and records the others.

    The generator is reseeded at every choice, from the choices so far, so that two paths agree as far as
    their choices do. A repetition with other durations may meet new choices; it then takes the last possible
    branch if its prefix names a higher one.
    """

    __slots__ = ("_prefix", "_seed", "between", "branches", "random", "weight")

    def __init__(self, prefix: tuple[int, ...], seed: int, lean: float | None) -> None:
        self._prefix, self._seed = prefix, seed
        self.random = Random(seed)  # noqa: S311
        self.between = _between(self.random, lean)
        self.weight = 1.0
        self.branches: list[tuple[int, int]] = []

    def phase(self) -> float:
        return PHASES[self.choose(PHASE_WEIGHTS)]

    def choose(self, weights: Sequence[float]) -> int:
        possible = [index for index, weight in enumerate(weights) if weight > 0]
        if len(possible) == 1:
            return possible[0]
        depth = len(self.branches)
        taken = min(self._prefix[depth], len(possible) - 1) if depth < len(self._prefix) else 0
        self.branches.append((taken, len(possible)))
        self._seed = hash((self._seed, taken))
        self.random.seed(self._seed)
        self.weight *= weights[possible[taken]] / sum(weights)
        return possible[taken]


def _between(random: Random, lean: float | None) -> Callable[[float, float], float]:
    """Return a function that draws from a range, or with `lean` always returns the same share of it.

    A share of 0 is the earliest time, 1 the latest. Both versions take one number from the generator, so that
    all other random values stay the same.
    """
    if lean is None:
        return random.uniform

    def leaning(low: float, high: float) -> float:
        random.random()
        return low + (high - low) * lean

    return leaning


def paths(play: Callable[[Draw], Value], seed: int) -> Iterator[Played[Value]]:
    """Simulate every path, depth first. Only the complete set has the right weights."""
    prefix: tuple[int, ...] | None = ()
    for turn in count():
        if prefix is None:
            return
        path = _Path(prefix, seed, None)
        value = play(path)
        taken = tuple(index for index, _ in path.branches)
        yield Played(turn, path.weight, value, partial(_Path, taken, seed))
        prefix = _next(path.branches)


def _next(branches: list[tuple[int, int]]) -> tuple[int, ...] | None:
    """Return the prefix of the next path, depth first; None after the last."""
    for depth in range(len(branches) - 1, -1, -1):
        taken, count = branches[depth]
        if taken + 1 < count:
            return (*(index for index, _ in branches[:depth]), taken + 1)
    return None


def samples(play: Callable[[Draw], Value], seed: int, number: int) -> Iterator[Played[Value]]:
    """Run `number` random simulations of equal weight, ordered so that the first ones already cover a period evenly."""
    for index in _evenly(number):
        redraw = partial(Sampled, seed, index, number)
        yield Played(index, 1.0 / number, play(redraw(None)), redraw)


def _evenly(number: int) -> Iterator[int]:
    """Yield 0 to `number` - 1 in bit-reversed order (van der Corput's sequence)."""
    bits = max(1, (number - 1).bit_length())
    reverse = (int(f"{each:0{bits}b}"[::-1], 2) for each in range(1 << bits))
    return (each for each in reverse if each < number)
