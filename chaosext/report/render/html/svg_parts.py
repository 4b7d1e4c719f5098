"""The drawing of a run: one axis, the cut behind all lanes, and the lines of each lane. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.model.result import Lane, length_s
from chaosext.model.signal import MEANING, Mark
from chaosext.report.data.lane_state import PLACEMENT, State
from chaosext.report.data.wall_clock import WallClock
from chaosext.report.render.html.groups import TrackGroup, folded
from chaosext.report.render.html.lanes_of_run import ENDPOINTS, swims
from chaosext.report.render.html.markers import Flag, flags
from chaosext.report.render.html.svg import GLYPHS, SIGNS, LineStyle, line
from chaosext.report.render.html.time_axis import Axis, Tick, axis_of
from chaosext.report.render.html.tracks import Swim, Track
from chaosext.report.units import duration, window
from chaosext.timeline.outages import cut_windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from markupsafe import Markup

    from chaosext.model.result import Window
    from chaosext.report.data.run_data import RunData
    from chaosext.report.render.html.tracks import Swim, Track

FIRST = frozenset(
    [Lane.CUSTOMERS, Lane.ENTRY, Lane.NODE_READY, PLACEMENT, Lane.DNS, Lane.XDS, Lane.PROBES],
)
"""Lanes that are open: what users feel, and what led to it. The others are evidence, one click away."""
QUIETER = frozenset([Lane.NODE_READY, PLACEMENT, Lane.ENTRY])
"""Those of `FIRST` in which something happens in every cut."""

MOST_BARS = 240
"""Maximum number of bars of one line: as many as a screen can show."""
MOST_BARS_OF_A_MEMBER = 60
MOST_MEMBERS = 100
"""Maximum number of lines per lane for members of groups, the worst first; the others are counted.

Each group gets its share, so that the file stays small however often states change.
"""
FEW = 12
"""Maximum number of lines to draw if nothing happened to any of them."""
FLAG_PX, TICK_PX, CLOCK_PX = 15, 22, 14
"""Height of one level of flags, of the axis' labels below them, and of the wall clock below these."""
MOST_TOLD = 8
"""Maximum number of windows of one line to list in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line, with its name and the length of its outage, also in seconds. `members`: the worst tracks of a group."""

    name: str
    tag: str
    svg: Markup
    out: str
    blind: str
    windows: str
    mild: bool = False
    members: tuple[Row, ...] = ()
    of: int = 0
    out_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRows:
    """A lane as drawn. `folded`: the text of a folded lane, "" for an open one; `more`: what is left off."""

    key: str
    title: str
    caption: str
    folded: str
    rows: tuple[Row, ...]
    more: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Everything with a position on the axis, in per cent of its width. `signs`: name, path and meaning of symbols.

    `ranged`: edges have an earliest and a latest time; `shared`: some states occur in some simulations only.
    """

    ticks: tuple[Tick, ...]
    cuts: tuple[tuple[float, float], ...]
    cuts_said: str
    flags: tuple[Flag, ...]
    flag_height: int
    lanes: tuple[LaneRows, ...]
    letters: tuple[tuple[str, str], ...]
    states: frozenset[State]
    signs: tuple[tuple[str, str, str], ...]
    grouped: bool = False
    guessed: bool = False
    ranged: bool = False
    shared: bool = False

    @property
    def axis_height(self) -> int:
        """Height of the flags, the labels of the axis, and the wall clock, in pixels."""
        return self.flag_height + (CLOCK_PX if any(tick.clock for tick in self.ticks) else 0)


def draw(run: RunData) -> Drawing | None:
    """Draw a run; None if nothing has a position in time: nothing was cut, and nothing observed."""
    axis = axis_of(_moments(run))
    found = swims(run, axis)
    if not (found or run.result.events):
        return None
    tracks = [track for swim in found for track in swim.tracks]
    bars = [bar for track in tracks for bar in track.bars]
    cuts = cut_windows(run.result.events)
    letters = {bar.letter for bar in bars if bar.state is State.OUT}
    glyphs = {dot.glyph for track in tracks for dot in track.dots}
    quiet = all(track.calm for track in tracks) and len(tracks) <= FEW
    first = {swim.key for swim in found if swim.key in FIRST and not all(track.calm for track in swim.tracks)}
    lanes = tuple(_lane(swim, axis, fold=not quiet, aside=bool(first - QUIETER)) for swim in found)
    flagged = flags(run.result.events, axis)
    return Drawing(
        ticks=axis.ticks(WallClock.of(run.result.cut_at)),
        cuts=tuple(_percents(cut, axis) for cut in cuts),
        cuts_said=", ".join(map(window, cuts)) or "nothing was cut",
        flags=flagged,
        flag_height=flag_height(flagged),
        lanes=tuple(sorted(lanes, key=lambda lane: bool(lane.folded))),
        grouped=any(row.members for lane in lanes for row in lane.rows),
        letters=tuple((mark.value, MEANING[mark]) for mark in Mark if mark.value in letters),
        states=frozenset(bar.state for bar in bars),
        signs=tuple((sign, GLYPHS[sign], text) for sign, text in SIGNS.items() if sign in glyphs),
        guessed=any(track.guesses for track in tracks),
    )


def flag_height(flagged: Iterable[Flag]) -> int:
    """The height of flags and of the axis' labels below them, in pixels."""
    return FLAG_PX * (1 + max((flag.level for flag in flagged), default=0)) + TICK_PX


def _moments(run: RunData) -> Iterator[float]:
    """Yield the times of everything that happened or was observed."""
    yield from (event.t_s for event in run.result.events)
    for lost in run.result.outages.values():
        yield from (
            moment for found in lost.values() for each in found for moment in each if moment is not None
        )
    for signals in run.stretches.values():
        for stretches in signals.values():
            yield from (stretches[0].start_s, stretches[-1].end_s)


def _percents(found: Window, axis: Axis) -> tuple[float, float]:
    """Return the left edge of a window, and its width."""
    start, end = axis.percent(found[0]), 100.0 if found[1] is None else axis.percent(found[1])
    return start, end - start


def _lane(swim: Swim, axis: Axis, *, fold: bool, aside: bool) -> LaneRows:
    """Draw a lane. `fold`: fold it if nothing happened; `aside`: fold it, too, unless it is one of `FIRST`."""
    groups = folded(swim.tracks, axis.length_s)
    share = min(1.0, MOST_MEMBERS / len(swim.tracks))
    is_calm = fold and all(track.calm for track in swim.tracks)
    is_aside = swim.key == ENDPOINTS or (aside and swim.key not in FIRST)
    return LaneRows(
        key=swim.key,
        title=swim.title,
        caption=swim.caption,
        folded=_in_a_line(swim) if is_calm or is_aside else "",
        rows=tuple(_row(group, axis, math.ceil(len(group.members) * share)) for group in groups),
    )


def _in_a_line(swim: Swim) -> str:
    """What a folded lane contains."""
    out = sum(bool(track.windows) or track.seconds(State.OUT) > 0 for track in swim.tracks)
    if out:
        return f"{out} of {len(swim.tracks)} lines had outages"
    gaps = "" if all(track.calm for track in swim.tracks) else ", some not always observed"
    return f"no outage in {len(swim.tracks)} lines{gaps}"


def _row(group: TrackGroup, axis: Axis, shown: int) -> Row:
    track, alike = group.track, group.members or (group.track,)
    out_s = max(_out_s(each, axis) for each in alike)
    lasting = ", not back" if track.windows and track.windows[-1][1] is None else ""
    blind_s = max(each.seconds(State.UNSEEN) for each in alike)
    upto = "up to " if group.members else ""
    return Row(
        name=track.name,
        tag=track.tag,
        svg=line(track, LineStyle(axis=axis, most_bars=MOST_BARS)),
        out=f"{upto}{duration(out_s)}{lasting}" if out_s else "",
        blind=f"{upto}{duration(blind_s)}" if blind_s else "",
        windows=_windows(track),
        mild=any(bar.state in (State.AWAY, State.DRAINED) for bar in track.bars),
        members=tuple(_member(each, axis) for each in group.members[:shown]),
        of=len(group.members),
        out_s=out_s,
    )


def _member(track: Track, axis: Axis) -> Row:
    row = _row(TrackGroup(track=track), axis, 0)
    return replace(row, svg=line(track, LineStyle(axis=axis, most_bars=MOST_BARS_OF_A_MEMBER, stops=False)))


def _out_s(track: Track, axis: Axis) -> float:
    """Return the total length of outages; one that did not end counts to the end of the axis."""
    return sum(length_s(each, axis.end_s) for each in track.windows)


def _windows(track: Track) -> str:
    told = "; ".join(map(window, track.windows[:MOST_TOLD]))
    more = len(track.windows) - MOST_TOLD
    return f"{told}; and {more} more" if more > 0 else told
