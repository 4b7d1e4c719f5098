"""Where a sentinel's record has holes: seconds in which nobody looked. Pure.

A sample speaks for the interval that begins with it, so that a hole begins where the last sample's interval ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.observe.outages import united

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.model.result import Window
    from chaosext.model.signal import Head, Sample

IN_A_ROW = 3
"""Samples in a row that must fail before something is called lost (and succeed before it is restored)."""

HIDING_S = IN_A_ROW - 0.5
"""A gap of this many seconds can hide a whole outage: samples come each second, give or take half of one."""

LATE_INTERVALS = 2.5
"""So many intervals after a sample the next one is overdue: one that is late by more than a round is a missing one."""


def gap(head: Head, last: Sample, next_head: Head, sample: Sample) -> str:
    """Why nobody looked between `last` and `sample`, in words; "" where the one follows on the other."""
    if next_head.boot != head.boot:
        return "the node was started anew"
    if sample.n <= last.n:
        return "the sentinel was started anew"
    if sample.n != last.n + 1:
        return f"{_samples(sample.n - last.n - 1)} missing"
    late_s = sample.mono_s - last.mono_s
    return f"no sample for {late_s:.1f} s" if late_s > overdue_s(head, next_head) else ""


def overdue_s(head: Head, next_head: Head) -> float:
    """How long after a sample the next one is overdue, in seconds."""
    return LATE_INTERVALS * max(head.interval_s, next_head.interval_s)


def seen_until_s(head: Head, last: Sample, next_s: float | None = None) -> float:
    """Until when `last` speaks: for its instant only, where another sentinel's sample (`next_s`) came before that."""
    until_s = last.mono_s + head.interval_s
    return last.mono_s if next_s is not None and next_s <= until_s else until_s


def is_stale(head: Head, last: Sample, next_head: Head, sample: Sample) -> bool:
    """A line that is there twice: of this boot, and no later than what was taken already."""
    return next_head.boot == head.boot and sample.mono_s <= last.mono_s


def hiding(windows: Iterable[Window]) -> tuple[Window, ...]:
    """Of the windows in which nobody looked, those in which an outage could come and go unseen.

    Where less is seen between two of them than it takes to call something lost, they count as one.
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
