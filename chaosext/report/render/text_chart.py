"""Lanes as text, one character per slice of time, for a pull request or a terminal. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from chaosext.model.result import Lane, length_s
from chaosext.report.data.account import Account, by_owner
from chaosext.report.data.coverage_gaps import SEEN_WITHOUT_SENTINEL
from chaosext.report.units import clipped
from chaosext.timeline.outages import cut_windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaosext.model.result import RunResult, Window

COLUMNS = 60
"""Characters of a lane: GitHub shows about 100 of a code block without scrolling; the names need the rest."""

LABEL = 36
"""Maximum characters of the name before a lane."""
ROWS = 24
"""Maximum number of lanes to draw, the longest outages first."""

OUT, FINE, UNSEEN, CUT = "#", ".", "?", "="
LEGEND = "`=` cut  `#` out  `.` no outage seen  `?` not observed  `-*` any of the Pods of one owner"

DRAWN = (
    Lane.CUSTOMERS,
    Lane.ENTRY,
    Lane.DNS,
    Lane.DNS_KEPT_SOCKET,
    Lane.XDS,
    Lane.SIDECAR_READY,
    Lane.PROBES,
    Lane.BGP,
    Lane.NODE_READY,
    Lane.KUBELET,
)
"""Lanes of the chart, in order; the others are in the table of outages."""

NAMES = {
    Lane.DNS: "DNS",
    Lane.DNS_TCP: "DNS over TCP",
    Lane.DNS_KEPT_SOCKET: "DNS, kept socket",
    Lane.XDS: "xDS",
    Lane.SIDECAR_READY: "sidecar ready",
    Lane.TARGETS: "TCP target",
    Lane.BGP: "BGP",
    Lane.ROUTES: "route",
    Lane.PODS: "Pod network",
    Lane.CUSTOMERS: "customers of",
    Lane.ENTRY: "served by",
    Lane.NODE_READY: "node Ready",
    Lane.KUBELET: "kubelet",
    Lane.PROBES: "probes",
}


Axis = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One line of the chart: a slice of time shows the character of the first layer with a window in it."""

    name: str
    layers: tuple[tuple[str, Sequence[Window]], ...]


def chart(result: RunResult) -> tuple[str, ...]:
    """Return the lines of the chart, its axis first; none if there was no outage."""
    axis = _axis(result)
    lanes = tuple(_lanes(result, axis))
    if not lanes:
        return ()
    cut = _Drawn("cut", ((CUT, cut_windows(result.events)),))
    told = [
        f"{clipped(each.name, LABEL):<{LABEL}} {_cells(axis, each.layers)}" for each in (cut, *lanes[:ROWS])
    ]
    more = [f"… and {len(lanes) - ROWS} more"] if len(lanes) > ROWS else []
    return (_scale(axis), *told, *more)


def _axis(result: RunResult) -> Axis:
    times = [event.t_s for event in result.events]
    return min(0.0, *times, 0.0), max(1.0, *times, 1.0)


def _scale(axis: Axis) -> str:
    """Return the scale: seconds after the cut, at the left edge of every sixth of the chart."""
    start_s, end_s = axis
    marks = [start_s + (end_s - start_s) * part / 6 for part in range(6)]
    return f"{'seconds after the cut':<{LABEL}} " + "".join(
        f"{round(mark):<{COLUMNS // 6}}" for mark in marks
    )


def _lanes(result: RunResult, axis: Axis) -> Iterator[_Drawn]:
    """Yield the outages lane by lane, the longest first; Pods of one owner together."""
    account = Account(result)
    for lane in DRAWN:
        found = {**_blind(result, lane), **result.outages.get(lane, {})}
        owners = by_owner(found)
        out = {owner: tuple(each for name in own for each in found[name]) for owner, own in owners.items()}
        for owner in sorted(owners, key=lambda owner: (-_longest_s(out[owner], axis), owner)):
            unseen = (
                ()
                if lane in SEEN_WITHOUT_SENTINEL
                else [each for name in owners[owner] for each in account.unseen(name)]
            )
            yield _Drawn(f"{NAMES[lane]} {owner.rpartition('/')[2]}", ((OUT, out[owner]), (UNSEEN, unseen)))


def _blind(result: RunResult, lane: Lane) -> Mapping[str, tuple[Window, ...]]:
    """Return empty rows for nodes with gaps in observation, so that these appear even without an outage."""
    return {f"Node/{node}": () for node in result.unobserved} if lane is Lane.DNS else {}


def _cells(axis: Axis, layers: Sequence[tuple[str, Sequence[Window]]]) -> str:
    """Draw a line; a window that begins at the end of the axis is in the last cell."""
    start_s, end_s = axis
    step_s = (end_s - start_s) / COLUMNS
    edges = [*(start_s + step_s * column for column in range(COLUMNS)), math.inf]
    return "".join(_cell(layers, *each) for each in pairwise(edges))


def _cell(layers: Sequence[tuple[str, Sequence[Window]]], from_s: float, to_s: float) -> str:
    for mark, windows in layers:
        if any(start_s < to_s and (end_s is None or end_s > from_s) for start_s, end_s in windows):
            return mark
    return FINE


def _longest_s(windows: Iterable[Window], axis: Axis) -> float:
    return max((length_s(each, axis[1]) for each in windows), default=0.0)
