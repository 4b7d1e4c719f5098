"""What a rehearsal expected, beside what was observed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.model.timeline import Event, Kind, Predicted
    from chaosext.report.run_data import RunData


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One expectation, and when it came true first; None: nobody saw it."""

    predicted: Predicted
    observed_s: float | None

    @property
    def verdict(self) -> str:
        """How far off it was, in words."""
        if self.observed_s is None:
            return "not seen"
        if self.predicted.t_min_s <= self.observed_s <= self.predicted.t_max_s:
            return "as predicted"
        off_s = self.observed_s - self.predicted.event.t_s
        return f"{abs(off_s):.1f} s {'later' if off_s > 0 else 'earlier'}"


def foresight(run: RunData) -> tuple[Expected, ...]:
    """Every expectation, in the rehearsal's order."""
    return tuple(_expected(run))


def _expected(run: RunData) -> Iterator[Expected]:
    first: dict[tuple[Kind, str], Event] = {}
    for event in sorted(run.result.events, key=lambda event: event.t_s):
        if event.t_s >= 0:
            first.setdefault((event.kind, event.object), event)
    for each in run.prediction:
        seen = first.get((each.event.kind, each.event.object))
        yield Expected(predicted=each, observed_s=seen.t_s if seen else None)
