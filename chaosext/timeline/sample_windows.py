"""Fold a sentinel's record into the spans in which each signal stayed the same. Pure.

Compares whole mark strings first, so the cost depends on the number of changes rather than on the duration.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.model.signal import Mark, Sample, Signal, StreamHead
from chaosext.timeline.outages import united

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from chaosext.model.result import Window

MARKS: Mapping[str, Mark] = {mark.value: mark for mark in Mark}


@dataclass(frozen=True, slots=True)
class Span:
    """A signal was `mark` from start to end, in seconds of the node's monotonic clock in boot `boot`."""

    boot: str
    start_mono_s: float
    end_mono_s: float
    mark: Mark


def signal_windows(entries: Iterable[StreamHead | Sample]) -> Mapping[Signal, tuple[Span, ...]]:
    """The spans of each signal in order; adjacent spans of one boot touch, and differ in their marks.

    A gap in the record is a span of `Mark.UNKNOWN`; after a reboot, it begins with the new boot. Between
    spans that do not touch, the signal was not observed either: the node was down, or the signal was not in
    the plan.
    """
    spans: dict[Signal, list[Span]] = {}
    for stretch in _stretches(entries):
        for signal, mark in zip(stretch.head.signals, marks_of(stretch.head, stretch.marks), strict=True):
            _extend(spans.setdefault(signal, []), stretch, mark)
    return {signal: tuple(found) for signal, found in spans.items()}


def marks_of(head: StreamHead, marks: str) -> tuple[Mark, ...]:
    """Return one mark for each of the head's signals; unknown if it is missing or invalid."""
    known = marks[: len(head.signals)].ljust(len(head.signals), Mark.UNKNOWN.value)
    return tuple(MARKS.get(mark, Mark.UNKNOWN) for mark in known)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Consecutive equal samples; `marks` is "" for a gap."""

    head: StreamHead
    start_s: float
    end_s: float
    marks: str


@dataclass(slots=True)
class _Row:
    """Consecutive equal samples that may continue."""

    head: StreamHead
    first: Sample
    last: Sample

    def goes_on(self, head: StreamHead, sample: Sample) -> bool:
        same = head is self.head and sample.marks == self.last.marks
        return same and not gap(head, self.last, head, sample)

    def ended_by(self, head: StreamHead, sample: Sample) -> Iterator[_Stretch]:
        """Yield this row and, if there is one, the gap between it and `sample`."""
        if not gap(self.head, self.last, head, sample):
            yield self._until(sample.mono_s)
            return
        rebooted = head.boot != self.head.boot
        end_s = seen_until_s(self.head, self.last, None if rebooted else sample.mono_s)
        yield self._until(end_s)
        yield _Stretch(head, min(0.0, sample.mono_s) if rebooted else end_s, sample.mono_s, "")

    def ended(self) -> _Stretch:
        return self._until(seen_until_s(self.head, self.last))

    def _until(self, end_s: float) -> _Stretch:
        return _Stretch(self.head, self.first.mono_s, end_s, self.last.marks)


def _stretches(entries: Iterable[StreamHead | Sample]) -> Iterator[_Stretch]:
    row: _Row | None = None
    for head, sample in _headed(entries):
        if row is None:
            row = _Row(head, sample, sample)
        elif is_stale(row.head, row.last, head, sample):
            continue
        elif row.goes_on(head, sample):
            row.last = sample
        else:
            yield from row.ended_by(head, sample)
            row = _Row(head, sample, sample)
    if row:
        yield row.ended()


def _headed(entries: Iterable[StreamHead | Sample]) -> Iterator[tuple[StreamHead, Sample]]:
    """Yield each sample with its head. Drops samples before the first head: the meaning of their marks is unknown."""
    head: StreamHead | None = None
    for entry in entries:
        if isinstance(entry, Sample):
            if head:
                yield head, entry
        else:
            head = entry


def _extend(spans: list[Span], stretch: _Stretch, mark: Mark) -> None:
    boot, last = stretch.head.boot, spans[-1] if spans else None
    if last and last.mark is mark and last.boot == boot and last.end_mono_s == stretch.start_s:
        spans[-1] = replace(last, end_mono_s=stretch.end_s)
    elif stretch.end_s > stretch.start_s:
        spans.append(Span(boot, stretch.start_s, stretch.end_s, mark))


IN_A_ROW = 3
"""Samples in a row that must fail before a signal counts as lost (and succeed before it is restored)."""

HIDING_S = IN_A_ROW - 0.5
"""A gap of this many seconds can hide a whole outage: samples come every second, plus or minus half a second."""

LATE_INTERVALS = 2.5
"""Intervals after which the next sample is overdue: a sample more than one round late counts as missing."""


def gap(head: StreamHead, last: Sample, next_head: StreamHead, sample: Sample) -> str:
    """Why nothing was observed between `last` and `sample`; "" if they are consecutive."""
    if next_head.boot != head.boot:
        return "the node was restarted"
    if sample.n <= last.n:
        return "the sentinel was restarted"
    if sample.n != last.n + 1:
        return f"{_samples(sample.n - last.n - 1)} missing"
    late_s = sample.mono_s - last.mono_s
    return f"no sample for {late_s:.1f} s" if late_s > overdue_s(head, next_head) else ""


def overdue_s(head: StreamHead, next_head: StreamHead) -> float:
    """Seconds after a sample at which the next one is overdue."""
    return LATE_INTERVALS * max(head.interval_s, next_head.interval_s)


def seen_until_s(head: StreamHead, last: Sample, next_s: float | None = None) -> float:
    """Until when `last` is valid: only for its instant if another sentinel's sample (`next_s`) came earlier."""
    until_s = last.mono_s + head.interval_s
    return last.mono_s if next_s is not None and next_s <= until_s else until_s


def is_stale(head: StreamHead, last: Sample, next_head: StreamHead, sample: Sample) -> bool:
    """Whether a line is a duplicate: of this boot, and not later than the last sample taken."""
    return next_head.boot == head.boot and sample.mono_s <= last.mono_s


def hiding(windows: Iterable[Window]) -> tuple[Window, ...]:
    """Select the unobserved windows long enough to hide an outage.

    Two windows with too little observation between them to notice a loss count as one.
    """
    found: list[Window] = []
    for start_s, end_s in united(windows):
        last_s = found[-1][1] if found else None
        if last_s is not None and start_s - last_s < HIDING_S:
            found[-1] = (found[-1][0], end_s)
        else:
            found.append((start_s, end_s))
    return tuple(each for each in found if each[1] is None or each[1] - each[0] >= HIDING_S)


def _samples(missing: int) -> str:
    return "1 sample is" if missing == 1 else f"{missing} samples are"


API_SERVER = "API server"
"""Label of API servers among the targets of a plan."""


def samples_reached(entries: Iterable[StreamHead | Sample], is_within: Callable[[str, float], bool]) -> int:
    """Count samples with a successful connect to an API server whose boot and monotonic time are within `is_within`."""
    head: StreamHead | None = None
    reached = 0
    for entry in entries:
        if isinstance(entry, StreamHead):
            head = entry
        elif head is not None and is_within(head.boot, entry.mono_s):
            reached += _has_reached(head, entry)
    return reached


def _has_reached(head: StreamHead, sample: Sample) -> bool:
    marks = zip(head.signals, marks_of(head, sample.marks), strict=True)
    return any(signal.label == API_SERVER and mark is Mark.GOOD for signal, mark in marks)
