"""Durations as people write them in plans and options: `45s`, `5m30s`, `1h`."""

from __future__ import annotations

UNITS = (("h", 3600), ("m", 60), ("s", 1))


def short_duration(seconds: float) -> str:
    """Return a duration in Go's notation, without units that are zero: `8m`, `5m30s`, `1.2s`."""
    whole = int(seconds)
    if whole < 60:
        return f"{round(seconds, 1):g}s"
    parts = []
    for unit, size in UNITS:
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
