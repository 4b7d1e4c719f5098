"""The wall clock beside seconds from the cut, and the link to the dashboards of the same time. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

if TYPE_CHECKING:
    from chaosext.model.result import RunResult

AROUND_S = 60.0
"""Seconds that the dashboards show before the first and after the last event."""


@dataclass(frozen=True, slots=True)
class WallClock:
    """Converts seconds from the cut to the time of day in the zone of `zero`, which is when the cut is.

    `zero` is None if it is unknown; then there are no times.
    """

    zero: datetime | None = None

    @classmethod
    def of(cls, cut_at: str) -> Self:
        """From a time in ISO 8601, in UTC; unknown for any other text, and for one without its offset."""
        try:
            zero = datetime.fromisoformat(cut_at)
        except ValueError:
            return cls()
        return cls(zero.astimezone(UTC) if zero.tzinfo else None)

    def at(self, t_s: float, *, seconds: bool = True) -> str:
        """`23:03:41`, or `23:03` without seconds; "" if it is unknown."""
        try:
            moment = self.zero + timedelta(seconds=t_s) if self.zero else None
        except OverflowError:
            return ""
        return f"{moment:{'%H:%M:%S' if seconds else '%H:%M'}}" if moment else ""

    @property
    def day(self) -> str:
        """`23 November 2026`; "" if it is unknown."""
        return f"{self.zero:%-d %B %Y}" if self.zero else ""


def dashboard_link(url: str, result: RunResult) -> str:
    """Return `url` with the run's time as Grafana's `from` and `to` (milliseconds since 1970); "" for none.

    Grafana documents both: https://grafana.com/docs/grafana/latest/dashboards/use-dashboards/#time-range-controls.
    """
    zero = WallClock.of(result.cut_at).zero
    try:
        split = urlsplit(url)
    except ValueError:
        return ""
    if not zero or split.scheme not in ("http", "https"):
        return ""
    first_s = min((event.t_s for event in result.events), default=0.0)
    edges = {"from": first_s - AROUND_S, "to": result.end_s + AROUND_S}
    asked = [each for each in parse_qsl(split.query, keep_blank_values=True) if each[0] not in edges]
    times = {name: str(round((zero.timestamp() + t_s) * 1000)) for name, t_s in edges.items()}
    return urlunsplit(split._replace(query=urlencode([*asked, *times.items()])))
