"""The run's own actions over all lanes: the flags along the top. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.model.duration_text import short_duration
from chaosext.model.timeline import Kind
from chaosext.report.render.html.time_axis import CHARACTER_PERCENT
from chaosext.report.units import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chaosext.model.timeline import Event
    from chaosext.report.render.html.time_axis import Axis

FLAGGED = {
    Kind.CUT: "cut",
    Kind.CUT_LOST: "cut lost",
    Kind.CUT_WEAKENED: "cut changed",
    Kind.HEAL: "heal",
    Kind.ENTRY_DRAINED: "drained",
    Kind.ENTRY_TAKEN_BACK: "taken back",
    Kind.ROLLBACK: "rollback",
    Kind.STEADY: "steady",
    Kind.LOCK_LOST: "lock lost",
    Kind.STOP_CONDITION: "stopped",
    Kind.ABORT: "aborted",
}
NEAR_PERCENT = 2.0
"""Flags of one kind that are closer than this are merged."""
LEVELS = 3


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag: `label` at `percent` of the width, on one of LEVELS lines, so that labels don't overlap."""

    percent: float
    kind: Kind
    label: str
    text: str
    level: int = 0

    @property
    def leftwards(self) -> bool:
        """Whether there is no room to the right of it."""
        return self.percent + len(self.label) * CHARACTER_PERCENT > 100


def flags(events: Iterable[Event], axis: Axis, say: Callable[[float], str] | None = None) -> tuple[Flag, ...]:
    """Return the run's own actions; flags that would overlap are on different levels. `say` formats times."""
    apart: dict[Kind, Flag] = {}
    found: list[Flag] = []
    for event in sorted(events, key=lambda event: event.t_s):
        flag = _flag(event, axis, say or _short)
        last = apart.get(event.kind)
        if flag and not (last and flag.percent - last.percent < NEAR_PERCENT):
            apart[event.kind] = flag
            found.append(flag)
    return _levelled(found)


def _flag(event: Event, axis: Axis, say: Callable[[float], str]) -> Flag | None:
    name = FLAGGED.get(event.kind)
    if not name or event.t_s < axis.start_s:
        return None
    label = name if event.t_s == 0 else f"{name} {say(event.t_s)}"
    return Flag(
        axis.percent(event.t_s), event.kind, label, f"{duration(event.t_s)}: {event.object}: {event.detail}"
    )


def _short(t_s: float) -> str:
    return short_duration(round(t_s))


def _levelled(found: Iterable[Flag]) -> tuple[Flag, ...]:
    ends = [-1.0] * LEVELS
    placed: list[Flag] = []
    for flag in found:
        width = (len(flag.label) + 2) * CHARACTER_PERCENT
        start = flag.percent - width if flag.leftwards else flag.percent
        free = [level for level in range(LEVELS) if ends[level] <= start]
        if free:
            ends[free[0]] = start + width
        placed.append(replace(flag, level=free[0] if free else 0, label=flag.label if free else ""))
    return tuple(placed)
