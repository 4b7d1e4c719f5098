"""What a report can't tell: what a run's directory lacks, and the seconds in which nobody looked. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.report.units import duration, window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.model.result import Window
    from chaosext.report.run_data import RunData

TOLD = 3
"""So many holes of a node are told one by one."""


def unseen(data: RunData) -> Iterator[str]:
    """Lines for people, each of something that is not known and must not be taken for healthy."""
    yield from data.missing
    for node, windows in sorted(data.result.unobserved.items()):
        if windows:
            yield f"{node} was not observed {_holes(windows)}"


def _holes(windows: Sequence[Window]) -> str:
    closed = [(start_s, end_s) for start_s, end_s in windows if end_s is not None]
    told = [f"from {window(each)}" for each in closed[:TOLD]]
    rest = [end_s - start_s for start_s, end_s in closed[TOLD:]]
    more = [f"{len(rest)} times more ({duration(sum(rest))} together)"] if rest else []
    return ", ".join((*told, *more, *(window(each) for each in windows if each[1] is None)))
