"""Durations and moments as people write them in plans and options: `45s`, `5m30s`, `1h`."""

from __future__ import annotations

from math import isfinite

UNITS = (("h", 3600), ("m", 60))

WHOLE_FROM_S, WHOLE_FROM_EXACTLY_S = 60.0, 600.0
"""Durations from here on are in whole seconds; those that were measured, to a tenth, stay exact for longer."""


def short_duration(seconds: float, *, exact: bool = False) -> str:
    """Return a duration in Go's notation, without units that are zero: `8m`, `5m30s`, `1.2s`; `exact`: `1m22.2s`."""
    if not isfinite(seconds):
        return f"{seconds}s"
    is_whole = abs(seconds) >= (WHOLE_FROM_EXACTLY_S if exact else WHOLE_FROM_S)
    rest = abs(round(seconds) if is_whole else round(seconds, 1))
    sign = "-" if seconds < 0 < rest else ""
    parts = []
    for unit, size in UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count:.0f}{unit}")
    if rest or not parts:
        parts.append(f"{round(rest, 1):g}s")
    return sign + "".join(parts)
