"""A run's lanes as rows of text: each cell is a stretch of time. Pure.

If there are more rows than lines, rows are folded: first the nodes of a lane with the same state become one
row, worst first; then each lane becomes one row; then lanes in which nothing happened are left out.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from chaosext.model.duration_text import short_duration
from chaosext.model.result import Lane, Window
from chaosext.run.monitor.progress import FROM_THE_API_SERVER, FROM_THE_ENTRY
from chaosext.timeline.kube_dns_moves import stays
from chaosext.timeline.outages import cut_windows, lasts, united

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaosext.run.monitor.progress import Picture


class Cell(StrEnum):
    """The state in one stretch of time, worst first; digits count the objects that were out."""

    OUT = "█"
    UNSEEN = "╱"
    ASTRAY = "◆"
    HERE = "●"
    GOOD = "─"
    NOTHING = " "


WORST_FIRST = {cell.value: place for place, cell in enumerate(Cell)}

STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""Possible lengths of a cell, seconds; the smallest one with which the whole time fits is used."""

NAMES = {
    Lane.NODE_READY: "NodeReady",
    Lane.KUBELET: "kubelet",
    Lane.DNS: "DNS",
    Lane.XDS: "xDS",
    Lane.BGP: "BGP",
    Lane.PROBES: "probes",
    Lane.DNS_KEPT_SOCKET: "kept UDP",
    Lane.DNS_TCP: "DNS/TCP",
    Lane.ROUTES: "routes",
    Lane.PODS: "Pod net",
    Lane.SIDECAR_READY: "sidecars",
    Lane.TARGETS: "targets",
    Lane.CUSTOMERS: "customers",
    Lane.ENTRY: "entry",
}
ALWAYS = (Lane.DNS, Lane.XDS, Lane.BGP, Lane.PROBES)
WITH_NEWS = (
    Lane.CUSTOMERS,
    Lane.ENTRY,
    Lane.DNS_KEPT_SOCKET,
    Lane.DNS_TCP,
    Lane.ROUTES,
    Lane.PODS,
    Lane.SIDECAR_READY,
    Lane.TARGETS,
    Lane.KUBELET,
)
"""Lanes other than node readiness and kube-dns placement: shown where there is such a thing, or once it was out."""

BY_NODE = frozenset(
    {Lane.NODE_READY, Lane.KUBELET, Lane.DNS, Lane.DNS_KEPT_SOCKET, Lane.BGP, Lane.ROUTES, Lane.PODS}
)
"""Lanes with a row for each node; the others show how many objects were out."""


@dataclass(frozen=True, kw_only=True)
class TerminalRow:
    """One line: lane, node or object, a `Cell` (or a digit) for each stretch of time, and the current state."""

    lane: str
    who: str
    cells: str
    says: str = ""

    @cached_property
    def severity(self) -> tuple[int, int]:
        """Sort key, worst first: by the current state, then by the worst state so far."""
        return _severity(self.cells[-1:]), min(map(_severity, set(self.cells)), default=len(Cell))

    @property
    def is_quiet(self) -> bool:
        """Whether nothing happened in it."""
        return set(self.cells) <= {Cell.GOOD, Cell.NOTHING}


@dataclass(frozen=True)
class TerminalAxis:
    """Time from the cut to now, in at most `width` cells of `step_s` seconds."""

    now_s: float
    width: int

    @cached_property
    def step_s(self) -> int:
        fitting = (step for step in STEPS_S if self.now_s <= step * self.width)
        return next(fitting, math.ceil(self.now_s / max(1, self.width)))

    @cached_property
    def stretches(self) -> tuple[tuple[float, float], ...]:
        """Start and end of each cell, seconds from the cut."""
        count = max(1, min(self.width, math.ceil(self.now_s / self.step_s)))
        return tuple((place * self.step_s, (place + 1) * self.step_s) for place in range(count))

    def cells(self, *marked: tuple[Cell, Iterable[Window]], otherwise: Cell) -> str:
        """Return a cell for each stretch: the first of `marked` whose windows overlap it."""
        found = [otherwise.value] * len(self.stretches)
        for cell, windows in reversed(marked):
            for window in windows:
                for place in self.touched(window):
                    found[place] = cell.value
        return "".join(found)

    def counts(self, windows: Iterable[Iterable[Window]], *, otherwise: str) -> str:
        """Return a digit for each stretch: how many objects were out in it ("+": 10 or more), else `otherwise`."""
        numbers = [0] * len(self.stretches)
        for each in windows:
            for place in {place for window in each for place in self.touched(window)}:
                numbers[place] += 1
        digits = (str(number) if number < 10 else "+" for number in numbers)
        return "".join(cell if digit == "0" else digit for digit, cell in zip(digits, otherwise, strict=True))

    def touched(self, window: Window) -> range:
        """Return the indexes of the stretches that a window overlaps."""
        start_s, end_s = window
        first = max(0, math.floor(start_s / self.step_s))
        end = len(self.stretches) if end_s is None else math.ceil(end_s / self.step_s)
        return range(first, min(len(self.stretches), max(end, first + (end_s is None or end_s > start_s))))


def _severity(cell: str) -> int:
    return WORST_FIRST.get(cell, 0)


def rows(picture: Picture, *, width: int, height: int) -> tuple[TerminalRow, ...]:
    """Return the rows that fit into `height` lines and `width` cells; none before a cut."""
    if picture.now_s is None or height < 1:
        return ()
    lanes = [lane for lane in _lanes(picture, TerminalAxis(picture.now_s, max(1, width))) if lane]
    shown = list(lanes)
    for fold in (_alike, _one_each, _news):
        for place in sorted(range(len(lanes)), key=lambda place: _importance(lanes[place], place)):
            if sum(map(len, shown)) > height:
                shown[place] = fold(lanes[place])
    return tuple(row for lane in shown for row in lane)[:height]


def _importance(lane: Sequence[TerminalRow], place: int) -> tuple[bool, bool, int]:
    """Sort key of what is folded first: quiet lanes, then the others from last to first, with DNS at the end."""
    return not all(row.is_quiet for row in lane), lane[0].lane == NAMES[Lane.DNS], -place


def _alike(lane: Sequence[TerminalRow]) -> Sequence[TerminalRow]:
    """Return one row for each group of rows with the same state, worst first."""
    groups: dict[tuple[int, int], list[TerminalRow]] = {}
    for row in sorted(lane, key=_badness):
        groups.setdefault(row.severity, []).append(row)
    return [_folded(group, len(lane)) for group in groups.values()]


def _one_each(lane: Sequence[TerminalRow]) -> Sequence[TerminalRow]:
    return [_folded(sorted(lane, key=_badness), len(lane))]


def _news(lane: Sequence[TerminalRow]) -> Sequence[TerminalRow]:
    return [] if all(row.is_quiet for row in lane) else _one_each(lane)


def _badness(row: TerminalRow) -> tuple[tuple[int, int], int]:
    """Sort key, worst first; rows of the same severity by how long they were out."""
    return row.severity, -row.cells.count(Cell.OUT)


def _folded(alike: Sequence[TerminalRow], of: int) -> TerminalRow:
    """Fold several rows into one that shows the worst of them in each stretch."""
    first = alike[0]
    if len(alike) == 1:
        return first
    columns = zip(*(row.cells for row in alike), strict=True)
    cells = "".join(min(set(column), key=_severity) for column in columns)
    worst = [row for row in alike if row.severity[0] == first.severity[0]]
    says = first.says if len(worst) == len(alike) == of else f"{len(worst)}/{of} {_word(first)}"
    return TerminalRow(lane=first.lane, who=f"{first.who} +{len(alike) - 1}", cells=cells, says=says)


def _word(row: TerminalRow) -> str:
    """Return a row's current state without its duration."""
    return re.sub(r" [0-9][0-9.hms]*$", "", row.says) or "here"


def _lanes(picture: Picture, axis: TerminalAxis) -> Iterator[Sequence[TerminalRow]]:
    yield [_cut_row(picture, axis)]
    yield _lane(picture, axis, Lane.NODE_READY)
    yield _placement(picture, axis)
    there = (lane for lane in ALWAYS if lane not in picture.absent or picture.outages.get(lane))
    yield from (_lane(picture, axis, lane) for lane in there)
    yield from (_lane(picture, axis, lane) for lane in WITH_NEWS if picture.outages.get(lane))


def _cut_row(picture: Picture, axis: TerminalAxis) -> TerminalRow:
    cells = axis.cells((Cell.OUT, cut_windows(picture.events)), otherwise=Cell.GOOD)
    return TerminalRow(lane="network", who="", cells=cells, says="cut" if picture.in_force else "open")


def _lane(picture: Picture, axis: TerminalAxis, lane: Lane) -> Sequence[TerminalRow]:
    if lane not in BY_NODE:
        return [_count_row(picture, axis, lane)]
    found: dict[str, list[Window]] = {node: [] for node in picture.nodes}
    for name, windows in picture.outages.get(lane, {}).items():
        found.setdefault(_who(name), []).extend(windows)
    if lane is Lane.NODE_READY:
        found |= {node: [(0.0, None)] for node, ready in picture.ready.items() if not (ready or found[node])}
    return [_row(picture, axis, lane, who, united(found[who])) for who in sorted(found)]


def _row(picture: Picture, axis: TerminalAxis, lane: Lane, who: str, out: Sequence[Window]) -> TerminalRow:
    unseen = _unseen(picture, lane, who)
    known = _until(out, unseen[-1][0]) if lasts(unseen) else out
    unknown = united((*unseen, *_unmeasured(picture, lane, who)))
    cells = axis.cells((Cell.OUT, known), (Cell.UNSEEN, unknown), otherwise=Cell.GOOD)
    return TerminalRow(
        lane=NAMES[lane],
        who=who,
        cells=cells,
        says=_says(out, () if lasts(known) else unknown, axis.now_s),
    )


def _unseen(picture: Picture, lane: Lane, who: str) -> Sequence[Window]:
    """Return when `who` was not observed: by the API server, or by the node's sentinel."""
    if lane in FROM_THE_API_SERVER:
        return picture.unheard()
    return picture.unseen(who) if who in picture.nodes else ()


def _unmeasured(picture: Picture, lane: Lane, who: str = "") -> Iterator[Window]:
    """Return when `who` ("": any object) was not measured, although its node was observed."""
    for name, windows in picture.unmeasured.get(lane, {}).items():
        if who in ("", _who(name)):
            yield from windows


def _count_row(picture: Picture, axis: TerminalAxis, lane: Lane) -> TerminalRow:
    out = _counted(picture.outages.get(lane, {}))
    unseen = _unseen_somewhere(picture, lane)
    now = sum(map(lasts, out.values()))
    says = f"{now} out" if now else _blindness(picture, lane) or (f"{len(out)} were out" if out else "good")
    cells = axis.counts(out.values(), otherwise=axis.cells((Cell.UNSEEN, unseen), otherwise=Cell.GOOD))
    return TerminalRow(lane=NAMES[lane], who="", cells=cells, says=says)


def _unseen_somewhere(picture: Picture, lane: Lane) -> Sequence[Window]:
    """Return when some of the counted objects were not observed, so that their state is unknown."""
    if lane in FROM_THE_API_SERVER:
        return picture.unheard()
    if lane in FROM_THE_ENTRY:
        return ()
    if not picture.nodes:
        return ((0.0, None),)
    blind = (window for node in picture.nodes for window in picture.unseen(node))
    return united((*blind, *_unmeasured(picture, lane)))


def _blindness(picture: Picture, lane: Lane) -> str:
    """Return how many nodes are not observed now, or else how many objects are not measured; "" for none."""
    if lane in FROM_THE_API_SERVER:
        return "unseen" * (not picture.is_api_server_heard)
    if lane in FROM_THE_ENTRY:
        return ""
    blind = sum(not picture.is_observed(node) for node in picture.nodes)
    if blind == len(picture.nodes):
        return "unseen"
    if blind:
        return f"{blind}/{len(picture.nodes)} unknown"
    unmeasured = sum(map(lasts, picture.unmeasured.get(lane, {}).values()))
    return f"{unmeasured} unknown" if unmeasured else ""


def _counted(out: Mapping[str, Sequence[Window]]) -> Mapping[str, Sequence[Window]]:
    """Return only Pods if there are any: their outages explain those of the Service."""
    return {name: windows for name, windows in out.items() if name.startswith("Pod/")} or out


def _who(name: str) -> str:
    """Return the node of an object such as `Node/cp → 10.0.0.1`; another object's own name."""
    node = NODE.match(name)
    return node[1] if node else name


def _says(out: Sequence[Window], unseen: Sequence[Window], now_s: float) -> str:
    if lasts(unseen):
        return "unseen"
    if not out:
        return "good"
    total_s = sum((now_s if end_s is None else end_s) - start_s for start_s, end_s in out)
    return f"{'out' if lasts(out) else 'was out'} {seconds(total_s)}"


def _until(windows: Iterable[Window], end_s: float) -> Sequence[Window]:
    """End open windows at `end_s`: what is no longer observed may not have lasted."""
    return [(start_s, end_s if end is None else end) for start_s, end in windows]


NODE = re.compile(r"Node/([^ ,]+)")


def _placement(picture: Picture, axis: TerminalAxis) -> list[TerminalRow]:
    """Return where kube-dns' Pods were, according to the API server."""
    before = picture.briefing.kube_dns_nodes if picture.briefing else ()
    unpeered = picture.briefing.unpeered_nodes if picture.briefing else ()
    here = stays(picture.events, before, 0.0)
    return [_placed(picture, axis, node, united(here[node]), node in unpeered) for node in sorted(here)]


def _placed(
    picture: Picture, axis: TerminalAxis, node: str, here: Sequence[Window], astray: bool
) -> TerminalRow:
    unheard = picture.unheard()
    known = _until(here, unheard[-1][0]) if unheard else here
    cell = Cell.ASTRAY if astray else Cell.HERE
    cells = axis.cells((cell, known), (Cell.UNSEEN, unheard), otherwise=Cell.NOTHING)
    says = "here" + ", no BGP" * astray if lasts(here) else "gone"
    return TerminalRow(lane="kube-dns", who=node, cells=cells, says="unseen" if unheard else says)


def seconds(number: float) -> str:
    """Format a duration for reading at a glance."""
    return short_duration(round(number) if number < 100 else 60 * round(number / 60))
