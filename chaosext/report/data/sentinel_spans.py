"""Reads the sentinels' observations by node, in the run's own time, from their records and clocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.model.bounded_json import JSON_BYTES, parse_json
from chaosext.model.errors import MALFORMED, finite
from chaosext.model.signal import Mark, Sample, Signal, StreamHead
from chaosext.sentinel.sample_log import parse_line
from chaosext.timeline.sample_windows import signal_windows
from chaosext.timeline.signal_kinds import questions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.model.files import Folder
    from chaosext.model.result import Lane
    from chaosext.timeline.sample_windows import Span

SENTINELS = "sentinels"
CLOCKS = "clocks.json"
CLOCKS_SCHEMA = "chaosext.clocks/v1"

RECORD = ".jsonl"

MOST_RECORDS = 10_000
MOST_RECORD_BYTES = 64 << 20
MOST_BYTES = 256 << 20
"""Maximum bytes of a node's record, and of all together: 1,000 nodes write 160 MiB in an hour."""

LONGEST_LINE = 256 << 10
MOST_TORN = 10_000
"""Maximum bytes of a line, as a head names every signal, and number of unreadable lines: more is not a record."""

HAIR_S = 0.001
"""Minimum gap between spans, in seconds: a smaller one is due to the rounding in a record."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A signal was `mark` from `start_s` to `end_s`, in seconds from the cut. Mark.UNKNOWN: not observed."""

    start_s: float
    end_s: float
    mark: Mark


Stretches = Mapping[str, Mapping[Signal, tuple[Stretch, ...]]]
"""Node -> signal -> its spans, in order of time, without a gap."""

Clocks = Mapping[str, Mapping[str, float]]
"""Node -> boot -> seconds to add to the node's monotonic clock to get seconds from the cut."""


def lanes_of(signals: Iterable[Signal]) -> frozenset[Lane]:
    """The lanes that a node's signals are watched for."""
    head = StreamHead(run="", node="", boot="", mono_s=0.0, wall_s=0.0, signals=tuple(signals))
    return frozenset(question.manner.lane for question in questions(head))


def read_stretches(run_folder: Folder, run: str) -> tuple[Stretches, tuple[str, ...]]:
    """Read the observations of `run`'s sentinels, with user-visible lines about gaps. Reads one record at a time."""
    none = f"{SENTINELS}/ holds no record: no sentinel watched from the nodes"
    try:
        with run_folder.folder(SENTINELS) as folder:
            names = folder.names(RECORD, most=MOST_RECORDS)
            return _read_all(folder, names, run) if names else ({}, (none,))
    except FileNotFoundError:
        return {}, (none,)
    except OSError as error:
        return {}, (f"{SENTINELS}/ can't be read ({error.strerror})",)


def _read_all(folder: Folder, names: Iterable[str], run: str) -> tuple[Stretches, tuple[str, ...]]:
    try:
        clocks = _clocks(folder.read(CLOCKS, most=JSON_BYTES))
    except (OSError, *MALFORMED) as error:
        without = "the times of the sentinels' samples are unknown"
        return {}, (f"{SENTINELS}/{CLOCKS} can't be read ({type(error).__name__}): {without}",)
    found: dict[str, Mapping[Signal, tuple[Stretch, ...]]] = {}
    missing: list[str] = []
    left = MOST_BYTES
    for name in names:
        record = _Record(run=run, node=name.removesuffix(RECORD))
        found[record.node] = _read(folder, record, clocks.get(record.node, {}), min(left, MOST_RECORD_BYTES))
        missing += record.missing()
        left -= record.size
    return {node: signals for node, signals in found.items() if signals}, tuple(missing)


class _Record:
    """One node's record: its readable lines of this run, and a count of the others."""

    def __init__(self, *, run: str, node: str) -> None:
        self._run, self.node = run, node
        self._foreign = False
        self.size = 0
        self.torn = self.foreign = 0
        self.without_clock: set[str] = set()
        self.lost: list[str] = []

    def entries(self, lines: Iterable[str]) -> Iterator[StreamHead | Sample]:
        for line in lines:
            self.size += len(line) + 1
            try:
                entry = parse_line(line)
            except ValueError:
                self.torn += 1
                if self.torn > MOST_TORN:
                    raise OSError(0, f"more than {MOST_TORN:,} of its lines can't be read") from None
                continue
            if isinstance(entry, StreamHead):
                self._take(entry)
            self.foreign += self._foreign
            if not self._foreign:
                yield entry

    def _take(self, head: StreamHead) -> None:
        self._foreign = (head.run, head.node) != (self._run, self.node)
        if head.lost and not self._foreign:
            self.lost.append(head.lost)

    def missing(self) -> Iterator[str]:
        name = f"{SENTINELS}/{self.node}{RECORD}"
        if self.torn:
            yield f"{name}: {_lines(self.torn)} can't be read"
        if self.foreign:
            yield f"{name}: {_lines(self.foreign)} of another run or node ignored"
        for boot in sorted(self.without_clock):
            yield f"{name}: no clock was measured for boot {boot}: the times of its samples are unknown"
        for lost in dict.fromkeys(self.lost):
            yield f"{name}: {lost}"


def _read(
    folder: Folder, record: _Record, clocks: Mapping[str, float], most: int
) -> Mapping[Signal, tuple[Stretch, ...]]:
    try:
        lines = folder.lines(f"{record.node}{RECORD}", longest=LONGEST_LINE, most=most)
        windows = signal_windows(record.entries(lines))
    except OSError as error:
        record.lost.append(f"could not be read completely: {error.strerror}")
        return {}
    dated = {signal: tuple(_dated(spans, clocks, record)) for signal, spans in windows.items()}
    return {signal: stretches for signal, stretches in dated.items() if stretches}


def _dated(spans: Iterable[Span], clocks: Mapping[str, float], record: _Record) -> Iterator[Stretch]:
    """Convert the spans to seconds from the cut; time between them, such as a reboot, was not observed.

    If imprecise clocks make the spans of two boots overlap, the first one counts.
    """
    end_s = -math.inf
    for span in spans:
        from_cut_s = clocks.get(span.boot)
        if from_cut_s is None:
            record.without_clock.add(span.boot)
            continue
        start_s, until_s = max(span.start_mono_s + from_cut_s, end_s), span.end_mono_s + from_cut_s
        if HAIR_S < start_s - end_s < math.inf:
            yield Stretch(end_s, start_s, Mark.UNKNOWN)
        if until_s > start_s:
            yield Stretch(start_s, until_s, span.mark)
            end_s = until_s


def _clocks(text: bytes) -> Clocks:
    value: Any = parse_json(text)
    if value["schema"] != CLOCKS_SCHEMA:
        raise ValueError(f"schema {value['schema']!r}, not {CLOCKS_SCHEMA}")
    return {
        str(node): {str(boot): finite(clock["from_cut_s"]) for boot, clock in boots.items()}
        for node, boots in value["nodes"].items()
    }


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"
