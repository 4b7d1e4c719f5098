"""Whether a node reached an API server while it was to be cut off from all of them, by its sentinel's word. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.signal import Head, Mark, Sample
from chaosext.observe.windows import marks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

API_SERVER = "API server"
"""How a plan labels the targets that are one."""


def samples_reached(entries: Iterable[Head | Sample], is_within: Callable[[str, float], bool]) -> int:
    """In how many samples a connect to an API server succeeded, of those whose boot and monotonic time `is_within`."""
    head: Head | None = None
    reached = 0
    for entry in entries:
        if isinstance(entry, Head):
            head = entry
        elif head is not None and is_within(head.boot, entry.mono_s):
            reached += _has_reached(head, entry)
    return reached


def _has_reached(head: Head, sample: Sample) -> bool:
    marks = zip(head.signals, marks_of(head, sample.marks), strict=True)
    return any(signal.label == API_SERVER and mark is Mark.GOOD for signal, mark in marks)
