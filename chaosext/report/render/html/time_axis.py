"""The time axis of all lanes: converts seconds from the cut to per cent of the width. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.duration_text import short_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.report.data.wall_clock import WallClock

STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
MOST_TICKS = 7
"""Maximum number of labels that fit on a phone of 360 px."""
BEFORE_SHARE = 0.08
"""Maximum share of the width for the time before the cut: the important events come after it."""
MARGIN_SHARE = 0.02
CHARACTER_PERCENT = 1.9
"""Width of a label's character on a phone, in per cent of 360 px."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A line at `percent` of the width, its label, and the wall clock below it; "" where there is no room for one."""

    percent: float
    label: str
    clock: str = ""


@dataclass(frozen=True, slots=True)
class Axis:
    """A time axis from `start_s` to `end_s`, in seconds from the cut."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s

    def percent(self, t_s: float) -> float:
        """Return the position of `t_s` in per cent of the width; times outside are at the edge."""
        return max(0.0, min(100.0, (t_s - self.start_s) / self.length_s * 100))

    def ticks(self, clock: WallClock | None = None) -> tuple[Tick, ...]:
        """Return round times with their labels, from the cut on; no label overlaps another or the edge."""
        step = next((step for step in STEPS_S if self.length_s / step <= MOST_TICKS), None)
        step = step or STEPS_S[-1] * math.ceil(self.length_s / STEPS_S[-1] / MOST_TICKS)
        times = range(0, math.floor(self.end_s) + 1, step)
        percents = [self.percent(t_s) for t_s in times]
        clocks = [clock.at(t_s, seconds=step < 60) if clock else "" for t_s in times]
        return tuple(
            Tick(*each)
            for each in zip(
                percents,
                _apart(percents, [_label(t_s, step) for t_s in times]),
                _apart(percents, clocks),
                strict=True,
            )
        )


def _apart(percents: Iterable[float], labels: Iterable[str]) -> list[str]:
    """Leave out the labels that would overlap the one before, or the right edge."""
    kept: list[str] = []
    free = 0.0
    for percent, label in zip(percents, labels, strict=True):
        end = percent + (len(label) + 1.5) * CHARACTER_PERCENT
        fits = percent >= free and end <= 100
        kept.append(label if fits else "")
        free = end if fits else free
    return kept


def axis_of(moments: Iterable[float]) -> Axis:
    """Return an axis that shows all `moments`, but only little of the time before the cut."""
    known = list(moments)
    last = max([1.0, *known])
    first = max(min([0.0, *known]), -BEFORE_SHARE * last)
    return Axis(min(first, -MARGIN_SHARE * last), last * (1 + MARGIN_SHARE))


def _label(t_s: int, step_s: int) -> str:
    return short_duration(t_s) if t_s else "0"
