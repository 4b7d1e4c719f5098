"""All that is chance in a rehearsal, drawn in one place.

What decides how it ends (lease ages, the monitor's phase, whose turn it is, where a tie goes) is asked with `choose`,
which can be enumerated: every answer is played, each with its exact weight. What only moves a time within its range
is asked with `between`, and always comes from a generator with a fixed seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Value = TypeVar("Value")

PHASES = (0.046910077, 0.230765345, 0.5, 0.769234655, 0.953089923)
PHASE_WEIGHTS = (0.118463443, 0.239314335, 0.284444444, 0.239314335, 0.118463443)
"""Gauss and Legendre's points and weights on [0, 1]: exact for polynomials up to degree 9, and a joint probability of
n lease ages, given the monitor's phase, is a polynomial of degree n in it."""


class Draw(Protocol):
    """The answers of chance in one play."""

    @property
    def random(self) -> Random:
        """For what only moves details."""

    def between(self, low: float, high: float) -> float:
        """How long something takes, by a rule that says from where to where."""

    def phase(self) -> float:
        """A point in [0, 1) of a period that nobody knows."""

    def choose(self, weights: Sequence[float]) -> int:
        """An index, each as likely as its weight's share."""


class Sampled:
    """One random play of `count`; phases are stratified, so that a few plays already cover a period."""

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
        return self.random.choices(range(len(weights)), weights)[0]


@dataclass(frozen=True, slots=True)
class Played(Generic[Value]):
    """One play: its place among all, how likely it is, what it came to, and the draw to play it again, leaning to one
    side or not.
    """

    turn: int
    weight: float
    value: Value
    redraw: Callable[[float | None], Draw]


class _Path:
    """One path through the tree of choices: follows `prefix`, then takes every first branch, and notes the others.

    The generator starts anew with every choice, from what was chosen so far: paths agree as far as their choices do.
    Played again with other times, it may come to choices that it had not; there it takes what is left.
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
    """Anywhere in a range, or always at the same share of it: 0 for as soon as can be, 1 for as late as can be.

    Either takes one number from the generator, so that what else is random stays as it is.
    """
    if lean is None:
        return random.uniform

    def leaning(low: float, high: float) -> float:
        random.random()
        return low + (high - low) * lean

    return leaning


def paths(play: Callable[[Draw], Value], seed: int) -> Iterator[Played[Value]]:
    """Every path, depth first: only all of them together have the weights of chance."""
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
    """The prefix of the next path, depth first; None after the last."""
    for depth in range(len(branches) - 1, -1, -1):
        taken, count = branches[depth]
        if taken + 1 < count:
            return (*(index for index, _ in branches[:depth]), taken + 1)
    return None


def samples(play: Callable[[Draw], Value], seed: int, number: int) -> Iterator[Played[Value]]:
    """So many random plays of equal weight, in an order in which the first ones cover a period evenly, too."""
    for index in _evenly(number):
        redraw = partial(Sampled, seed, index, number)
        yield Played(index, 1.0 / number, play(redraw(None)), redraw)


def _evenly(number: int) -> Iterator[int]:
    """0 to `number` - 1 by their bits in reverse order (van der Corput's sequence)."""
    bits = max(1, (number - 1).bit_length())
    reverse = (int(f"{each:0{bits}b}"[::-1], 2) for each in range(1 << bits))
    return (each for each in reverse if each < number)
