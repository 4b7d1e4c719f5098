"""Time that cannot be set: seconds this machine was awake since it booted, and the ID of that boot.

A wall clock may be changed during a cut; the time between two moments of one boot cannot. While a machine
sleeps or a virtual machine is paused, the kernel's timeouts stop, and so does this clock: it never runs ahead
of them.
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
"""The kernel chooses a new one at each boot (random(4))."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Moment:
    """`uptime_s` seconds (CLOCK_MONOTONIC, clock_gettime(2)) after boot `boot`; compare only within one boot."""

    boot: str
    uptime_s: float

    def later(self, seconds: float) -> Moment:
        return Moment(boot=self.boot, uptime_s=self.uptime_s + seconds)

    @property
    def has_passed(self) -> bool:
        """Whether this moment is known to be over. False for a moment of another boot."""
        age_s = self.age_s()
        return age_s is not None and age_s >= 0

    def as_wall_clock(self) -> datetime:
        """Convert to the current wall clock (UTC), for display only."""
        return datetime.now(UTC) - timedelta(seconds=self.age_s() or 0.0)

    def age_s(self) -> float | None:
        """Seconds since this moment; None if it belongs to another boot or another machine."""
        return uptime_s() - self.uptime_s if self.boot == boot_id() else None

    def to_json(self) -> dict[str, Any]:
        return {"boot": self.boot, "uptime_s": round(self.uptime_s, 3)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Parse the output of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(boot=str(value["boot"]), uptime_s=float(value["uptime_s"]))


def now() -> Moment:
    return Moment(boot=boot_id(), uptime_s=uptime_s())


def booted() -> Moment:
    return Moment(boot=boot_id(), uptime_s=0.0)


def at_wall_clock(at: datetime) -> Moment:
    """The moment of this boot at which the current wall clock shows `at`: the best estimate after a reboot."""
    return now().later((at - datetime.now(UTC)).total_seconds())


def is_over(moment: Moment | None) -> TypeGuard[Moment]:
    """Whether `moment` is known to have passed; False for an unknown one (None)."""
    return moment is not None and moment.has_passed


def uptime_s() -> float:
    return time.monotonic()


def since_boot_s() -> float:
    """Seconds since this machine booted, including sleep, during which decisions age as well."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@cache
def boot_id() -> str:
    return BOOT_ID.read_text().strip()
