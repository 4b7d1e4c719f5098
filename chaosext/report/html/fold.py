"""A hundred nodes in a dozen lines: tracks that went alike, as one. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.report.html.tracks import State, Track, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chaosext.model.result import Window

UNFOLDED = 12
"""As many lines of one lane are taken in at a glance."""
ALIKE_SHARE = 0.02
"""Windows whose edges differ by less than this share of the axis look the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One line of a lane; `members` are the tracks that it stands for, none where it is a track itself."""

    track: Track
    members: tuple[Track, ...] = ()


def folded(tracks: Sequence[Track], length_s: float) -> tuple[Group, ...]:
    """One group a track where there are few; else those that went alike together, the worst first."""
    if len(tracks) <= UNFOLDED:
        return tuple(Group(track=track) for track in tracks)
    alike = sorted(_alike(tracks, length_s * ALIKE_SHARE), key=_badness, reverse=True)
    shown, rest = alike[: UNFOLDED - 1], alike[UNFOLDED - 1 :]
    rest = [[track for group in rest for track in group]] if len(rest) > 1 else rest
    return tuple(_group(group) for group in (*shown, *rest))


def ranged(names: Sequence[str]) -> str:
    """Many names as one: `worker-1 … worker-64` where they run on, else the first few."""
    ordered = sorted(set(names), key=natural)
    if len(ordered) < 3:
        return ", ".join(ordered)
    return f"{ordered[0]} … {ordered[-1]}" if _run_on(ordered) else f"{ordered[0]}, {ordered[1]}, …"


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts worker-2 before worker-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+| → )", name)]


def united(windows: Iterable[Window]) -> tuple[Window, ...]:
    """The moments that lie in at least one of the windows."""
    found: list[Window] = []
    for start_s, end_s in sorted(windows, key=lambda window: window[0]):
        if found and (found[-1][1] is None or start_s <= found[-1][1]):
            ends = (found[-1][1], end_s)
            found[-1] = (found[-1][0], None if None in ends else max(end for end in ends if end is not None))
        else:
            found.append((start_s, end_s))
    return tuple(found)


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
"""What is seen of a track from afar: its bars that are no background, without those too short to be seen."""


def _alike(tracks: Sequence[Track], within_s: float) -> list[list[Track]]:
    groups: list[tuple[Shape, list[Track]]] = []
    for track in tracks:
        shape = tuple(
            (bar.state, bar.start_s, bar.end_s)
            for bar in track.bars
            if bar.state not in (State.GOOD, State.QUIET) and bar.end_s - bar.start_s >= within_s
        )
        group = next((members for first, members in groups if _same(first, shape, within_s)), None)
        if group is None:
            groups.append((shape, [track]))
        else:
            group.append(track)
    return [members for _, members in groups]


def _same(one: Shape, other: Shape, within_s: float) -> bool:
    return len(one) == len(other) and all(
        ours[0] is theirs[0] and max(abs(ours[1] - theirs[1]), abs(ours[2] - theirs[2])) <= within_s
        for ours, theirs in zip(one, other, strict=True)
    )


def _badness(group: Sequence[Track]) -> tuple[float, float, int]:
    return (
        max(track.seconds(State.OUT) for track in group),
        max(track.seconds(State.UNSEEN) for track in group),
        len(group),
    )


def _group(members: Sequence[Track]) -> Group:
    if len(members) == 1:
        return Group(track=members[0])
    ordered = tuple(sorted(members, key=lambda track: natural(track.name)))
    track = Track(
        name=ranged([track.name for track in ordered]),
        tag=f"{len(ordered)}",
        bars=worst([track.bars for track in ordered]),
        dots=tuple(dot for track in ordered for dot in track.dots),
        guesses=tuple(guess for track in ordered for guess in track.guesses),
        windows=united(window for track in ordered for window in track.windows),
    )
    return Group(track=track, members=ordered)
