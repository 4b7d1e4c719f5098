"""Groups similar tracks, so that a hundred nodes fit into a dozen lines. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.names import lasting
from chaosext.report.data.lane_state import State
from chaosext.report.render.html.tracks import BACKGROUND, Track, worst
from chaosext.report.units import natural
from chaosext.timeline.outages import united

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

UNFOLDED = 12
"""Maximum number of lines per lane that a reader takes in at a glance."""
ALIKE_SHARE = 0.02
"""Windows whose edges differ by less than this share of the axis look the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackGroup:
    """One line of a lane: a single track, or several.

    `members`: the tracks that it stands for, the worst first; empty for a single track.
    """

    track: Track
    members: tuple[Track, ...] = ()


def folded(tracks: Sequence[Track], length_s: float) -> tuple[TrackGroup, ...]:
    """Return one group per track if they are few; else group similar tracks, the worst first."""
    if len(tracks) <= UNFOLDED:
        return tuple(TrackGroup(track=track) for track in tracks)
    alike = sorted(_alike(tracks, length_s * ALIKE_SHARE), key=_badness, reverse=True)
    shown, rest = alike[: UNFOLDED - 1], alike[UNFOLDED - 1 :]
    rest = [[track for group in rest for track in group]] if len(rest) > 1 else rest
    return tuple(_group(group) for group in (*shown, *rest))


def ranged(names: Sequence[str]) -> str:
    """Shorten many names to one: `worker-1 … worker-64` for a sequence, else the first few; on each side of `→`."""
    sides = [name.partition(" → ") for name in names]
    here, there = (_ranged({side[at] for side in sides if side[at]}) for at in (0, 2))
    return f"{here} → {there}" if there else here


def _ranged(names: Collection[str]) -> str:
    ordered = sorted(names, key=natural)
    owners = sorted({lasting(f"Pod/{name}").removeprefix("Pod/") for name in names}, key=natural)
    if len(owners) < len(ordered):
        return _ranged(owners)
    if len(ordered) < 3:
        return ", ".join(ordered)
    return f"{ordered[0]} … {ordered[-1]}" if _run_on(ordered) else f"{ordered[0]}, {ordered[1]}, …"


def _run_on(ordered: Sequence[str]) -> bool:
    found = [re.fullmatch(r"(.*?)(\d+)", name) for name in ordered]
    stems = {match[1] if match else None for match in found}
    numbers = [int(match[2]) for match in found if match]
    return (
        len(stems) == 1
        and len(numbers) == len(ordered)
        and numbers == list(range(numbers[0], numbers[-1] + 1))
    )


Shape = tuple[tuple[State, float, float], ...]
"""A track's shape from afar: its bars without background; bars too short to see count only by their state."""


def _alike(tracks: Sequence[Track], within_s: float) -> list[list[Track]]:
    groups: list[tuple[Shape, list[Track]]] = []
    for track in tracks:
        shape = _shape(track, within_s)
        group = next((members for first, members in groups if _same(first, shape, within_s)), None)
        if group is None:
            groups.append((shape, [track]))
        else:
            group.append(track)
    return [members for _, members in groups]


def _shape(track: Track, within_s: float) -> Shape:
    loud = [(bar.state, bar.start_s, bar.end_s) for bar in track.bars if bar.state not in BACKGROUND]
    seen = [each for each in loud if each[2] - each[1] >= within_s]
    hints = {each[0] for each in loud} - {each[0] for each in seen}
    return (*seen, *((state, 0.0, 0.0) for state in State if state in hints))


def _same(one: Shape, other: Shape, within_s: float) -> bool:
    return len(one) == len(other) and all(
        ours[0] is theirs[0] and max(abs(ours[1] - theirs[1]), abs(ours[2] - theirs[2])) <= within_s
        for ours, theirs in zip(one, other, strict=True)
    )


def _badness(group: Sequence[Track]) -> tuple[float, float, float, int]:
    return (*max(map(_bad, group)), len(group))


def _bad(track: Track) -> tuple[float, float, float]:
    """Return a sort key by badness: an outage weighs more than single failed samples."""
    lost_s = sum((math.inf if end_s is None else end_s) - start_s for start_s, end_s in track.windows)
    return lost_s, track.seconds(State.OUT), track.seconds(State.UNSEEN)


def _group(members: Sequence[Track]) -> TrackGroup:
    if len(members) == 1:
        return TrackGroup(track=members[0])
    by_name = sorted(members, key=lambda track: natural(track.name))
    ordered = tuple(sorted(by_name, key=_bad, reverse=True))
    track = Track(
        name=ranged([track.name for track in ordered]),
        tag=f"{len(ordered)}",
        bars=worst([track.bars for track in ordered]),
        dots=tuple(dot for track in ordered for dot in track.dots),
        guesses=tuple(guess for track in ordered for guess in track.guesses),
        windows=united(window for track in ordered for window in track.windows),
    )
    return TrackGroup(track=track, members=ordered)
