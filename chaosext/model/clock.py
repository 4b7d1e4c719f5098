"""Time that nobody can set: seconds that this machine was awake since it booted, and which boot that was.

A wall clock may be moved while a cut is in force; what is measured between two moments of one boot may not. While a
machine sleeps, or a virtual one is paused, the kernel's timeouts stand still, and so does this: it is never early.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Mapping

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Chosen anew by the kernel at each boot (random(4))."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Moment:
    """`uptime_s` seconds (CLOCK_MONOTONIC, clock_gettime(2)) after the boot named `boot`; comparable within it only."""

    boot: str
    uptime_s: float

    def later(self, seconds: float) -> Moment:
        return Moment(boot=self.boot, uptime_s=self.uptime_s + seconds)

    @property
    def has_passed(self) -> bool:
        """Whether it is over. One of another boot is not known to be."""
        age_s = self.age_s()
        return age_s is not None and age_s >= 0

    def as_wall_clock(self) -> datetime:
        """For people to read, by the wall clock as it is now (UTC)."""
        return datetime.now(UTC) - timedelta(seconds=self.age_s() or 0.0)

    def age_s(self) -> float | None:
        """Seconds since then; None when that was in another boot, or on another machine."""
        return uptime_s() - self.uptime_s if self.boot == boot_id() else None

    def to_json(self) -> dict[str, Any]:
        return {"boot": self.boot, "uptime_s": round(self.uptime_s, 3)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what `to_json` did not write."""
        return cls(boot=str(value["boot"]), uptime_s=float(value["uptime_s"]))


def now() -> Moment:
    return Moment(boot=boot_id(), uptime_s=uptime_s())


def booted() -> Moment:
    return Moment(boot=boot_id(), uptime_s=0.0)


def at_wall_clock(at: datetime) -> Moment:
    """The moment of this boot at which the wall clock, as it is now, shows `at`: the best there is after a reboot."""
    return now().later((at - datetime.now(UTC)).total_seconds())


def is_over(moment: Moment | None) -> TypeGuard[Moment]:
    """Whether it is known to have passed: what nobody knows the moment of may go on."""
    return moment is not None and moment.has_passed


def uptime_s() -> float:
    return time.monotonic()


def since_boot_s() -> float:
    """Seconds since this machine booted, the time that it slept included: what is decided grows old meanwhile."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@cache
def boot_id() -> str:
    return BOOT_ID.read_text().strip()
