"""Where a sentinel's record has holes: seconds in which nobody looked. Pure.

A sample speaks for the interval that begins with it, so that a hole begins where the last sample's interval ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaosext.model.signal import Head, Sample

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


def _samples(missing: int) -> str:
    return "1 sample is" if missing == 1 else f"{missing} samples are"
