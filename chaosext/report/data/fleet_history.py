"""The history of a fleet: what each cluster's rehearsal or gate said on each day, and what became worse since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_DAYS = 400
"""Days that are kept of each cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetDay:
    """A cluster on one day, as "2026-11-30". `verdict`: of rehearsal or gate, or "failed".

    `worse` and `better`: how many answers became so since the snapshot of the day before; None if nothing was compared.
    `said`: the same in a sentence.
    """

    date: str
    verdict: str
    exit_code: int
    worse: int | None = None
    better: int | None = None
    said: str = ""

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """Read a line of the history. Raises MALFORMED errors for anything else."""
        counts = [None if said[name] is None else int(said[name]) for name in ("worse", "better")]
        return cls(
            date=str(said["date"]),
            verdict=str(said["verdict"]),
            exit_code=int(said["exit_code"]),
            worse=counts[0],
            better=counts[1],
            said=str(said["said"]),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "date": self.date,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "worse": self.worse,
            "better": self.better,
            "said": self.said,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRow:
    """A cluster and its days, the oldest first; none if it has not answered yet."""

    cluster: str
    days: tuple[FleetDay, ...] = ()


def with_day(days: Iterable[FleetDay], day: FleetDay) -> tuple[FleetDay, ...]:
    """Return the history with this day, in place of what was known of it before."""
    found = {each.date: each for each in days} | {day.date: day}
    return tuple(found[date] for date in sorted(found))[-MOST_DAYS:]
