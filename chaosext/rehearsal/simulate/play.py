"""The predicted timeline, merged from many simulations: the n-th line of a kind about an object is one event.

Lines are added one simulation at a time and stored as numbers, since large clusters produce millions.
"""

from __future__ import annotations

from array import array
from collections import Counter
from itertools import accumulate
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

from chaosext.model.timeline import Kind
from chaosext.rehearsal.simulate.prediction import PredictedEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from chaosext.rehearsal.simulate.simulation import TraceLine

_Name: TypeAlias = "tuple[Kind, str, str, int]"

RAREST = 0.001
"""Events with a lower probability are omitted from the timeline; they still count in the outcomes."""

PLACED = (Kind.POD_BOUND, Kind.POD_READY)


class Timeline:
    """All lines of all simulations. `add` takes those of one; `turn` is its number, and the order of calls is free."""

    def __init__(self) -> None:
        self._seen: dict[_Name, _Seen] = {}

    def add(self, turn: int, weight: float, marks: Sequence[TraceLine]) -> None:
        known = self._seen
        for line, (name, mark) in enumerate(_named(marks)):
            seen = known.get(name)
            if seen is None:
                seen = known[name] = _Seen(mark, turn, line)
            seen.add(mark, weight, turn, line)

    def extremes(self, count: int) -> tuple[list[int], list[int]]:
        """Return the simulations with the earliest and with the latest events, `count` each, rarest events first."""
        rarest = sorted(self._in_order(), key=len)
        firsts, lasts = (_distinct((each.extreme(of) for each in rarest), count) for of in (min, max))
        return firsts, lasts

    def events(self, total: float) -> tuple[PredictedEvent, ...]:
        """Return the events in order; `total` is the weight of all simulations."""
        events = [each.event(total) for each in self._in_order() if each.weight / total >= RAREST]
        return tuple(sorted(events, key=lambda each: (each.t_s, each.kind, each.object, each.t_min_s)))

    def _in_order(self) -> list[_Seen]:
        """Return the events in the order in which numbered simulations first had them, whatever the order of `add`."""
        return sorted(self._seen.values(), key=attrgetter("turn", "line"))


class _Seen:
    """One event over all simulations.

    `turn` and `line` identify its first occurrence: the simulation with the lowest number, and the line in
    it. `mark` is that line.
    """

    __slots__ = ("_nodes", "_rows", "line", "mark", "turn", "weight")

    def __init__(self, mark: TraceLine, turn: int, line: int) -> None:
        self.mark, self.turn, self.line, self.weight = mark, turn, line, 0.0
        self._rows = array("d")  # time, weight and turn of each simulation that has it, flattened
        self._nodes: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._rows) // 3

    def add(self, mark: TraceLine, weight: float, turn: int, line: int) -> None:
        self._rows.extend((mark.t_s, weight, turn))
        self.weight += weight
        if mark.node:
            self._nodes[mark.node] = self._nodes.get(mark.node, 0.0) + weight
        if turn < self.turn:
            self.mark, self.turn, self.line = mark, turn, line

    def extreme(self, of: Callable[[Iterable[tuple[float, float]]], tuple[float, float]]) -> int:
        """Return the simulation in which the event came first (`of` is `min`) or last (`max`)."""
        return int(of(zip(self._rows[::3], self._rows[2::3], strict=True))[1])

    def event(self, total: float) -> PredictedEvent:
        times = sorted(zip(self._rows[::3], self._rows[1::3], strict=True))
        low, high = _range(times)
        shares = {node: weight / total for node, weight in self._nodes.items()}
        probability = min(1.0, self.weight / total)
        is_placed = self.mark.kind in PLACED
        return PredictedEvent(
            t_s=_median(times),
            t_min_s=min(low, times[0][0]),
            t_max_s=max(high, times[-1][0]),
            probability=probability,
            kind=self.mark.kind,
            object=self.mark.object,
            detail=self._placed(shares, probability) if is_placed else self.mark.detail,
            source=self.mark.source,
            nodes=shares if is_placed else {},
        )

    def _placed(self, nodes: dict[str, float], probability: float) -> str:
        if len(nodes) < 2:
            return self.mark.detail
        shares = sorted(nodes.items(), key=lambda pair: (-pair[1], pair[0]))
        named = ", ".join(f"{node} ({share / probability:.0%})" for node, share in shares[:5])
        more = f" or {len(shares) - 5} more" if len(shares) > 5 else ""
        return f"{'to' if self.mark.kind is Kind.POD_BOUND else 'on'} {named}{more}"


def _distinct(numbers: Iterable[int], count: int) -> list[int]:
    """Return the first distinct numbers, at most `count`."""
    found: dict[int, None] = {}
    for number in numbers:
        found[number] = None
        if len(found) == count:
            break
    return list(found)


def _range(times: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the time range of the simulations with weight, widened by their average distance."""
    played = [time for time, weight in times if weight > 0]
    low, high = played[0], played[-1]
    beyond = (high - low) / max(1, len(played) - 1)
    return (max(0.0, low - beyond) if low > 0 else low), high + beyond


def _median(times: Sequence[tuple[float, float]]) -> float:
    """Return the weighted median of sorted (time, weight)."""
    sums = list(accumulate(weight for _, weight in times))
    return next(time for (time, _), upto in zip(times, sums, strict=True) if upto * 2 >= sums[-1])


def _named(marks: Iterable[TraceLine]) -> Iterator[tuple[_Name, TraceLine]]:
    """Yield each line with its identity across simulations: the n-th of its kind about its object."""
    turns: Counter[tuple[Kind, str, str]] = Counter()
    for mark in marks:
        about = (mark.kind, mark.object, mark.label)
        turns[about] += 1
        yield (*about, turns[about]), mark
