"""Estimate the offset of a node's clocks from the runner's, from requests and their answers. Pure.

The node read its clock at some time between `sent_s` and `answered_s`. Assuming the middle is wrong by at
most half the round trip (Cristian, "Probabilistic clock synchronization", 1989), so the fastest answer is the
best one. Each boot of a node has its own offset, because its monotonic clock restarts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaosext.model.result import NodeClock

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT = 500
"""Measurements kept per boot: with one every few seconds, enough to reveal clock drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReading:
    """One answer. `mono_s`, `wall_s`: the node's clocks in boot `boot`; all other times are the runner's."""

    boot: str
    mono_s: float
    wall_s: float
    sent_s: float
    answered_s: float
    own_wall_s: float

    @property
    def offset_s(self) -> float:
        """The node's monotonic clock minus the runner's."""
        return self.mono_s - (self.sent_s + self.answered_s) / 2

    @property
    def error_s(self) -> float:
        """Maximum error of `offset_s`."""
        return (self.answered_s - self.sent_s) / 2

    @property
    def wall_skew_s(self) -> float:
        """The node's wall clock minus the runner's (`own_wall_s`: the runner's in the middle of the request)."""
        return self.wall_s - self.own_wall_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """The offset of one boot: see `model.result.NodeClock`."""

    offset_s: float
    error_s: float
    wall_skew_s: float

    def to_json(self, zero_s: float) -> dict[str, Any]:
        """Format for clocks.json: a sample's `t` + `from_cut_s` is in seconds from the cut.

        `zero_s`: the cut on the runner's monotonic clock.
        """
        return {
            "from_cut_s": round(-self.offset_s - zero_s, 6),
            "error_s": round(self.error_s, 6),
            "wall_skew_s": round(self.wall_skew_s, 3),
        }


@dataclass(slots=True)
class Clocks:
    """The measurements of one node. One thread adds them; any thread may read."""

    _boots: dict[str, deque[ClockReading]] = field(default_factory=dict)
    _best: dict[str, ClockReading] = field(default_factory=dict)

    def take(self, measured: ClockReading) -> None:
        best = self._best.get(measured.boot)
        if best is None or measured.error_s <= best.error_s:
            self._best[measured.boot] = measured
        self._boots.setdefault(measured.boot, deque(maxlen=KEPT)).append(measured)

    def to_runner_s(self, boot: str, mono_s: float) -> float | None:
        """Convert `mono_s` of `boot` to the runner's monotonic time; None for a boot that was never measured."""
        best = self._best.get(boot)
        return None if best is None else mono_s - best.offset_s

    def offsets(self) -> Mapping[str, Offset]:
        """Boot -> its offset, in the order in which the boots were first seen."""
        return {boot: self._offset(boot) for boot in tuple(self._boots)}

    def summary(self) -> NodeClock | None:
        """The offset of the last boot, and the number of boots; None without any answer."""
        offsets = tuple(self.offsets().values())
        if not offsets:
            return None
        last = offsets[-1]
        return NodeClock(
            offset_s=last.offset_s,
            error_s=last.error_s,
            wall_skew_s=last.wall_skew_s,
            boots=len(offsets),
        )

    def _offset(self, boot: str) -> Offset:
        """The best measurement. If others contradict it, the clocks drift apart, and the error includes that.

        The wall clock skew is the latest one, because unlike the offset it can be changed at any time.
        """
        best, measured = self._best[boot], tuple(self._boots[boot])
        drift_s = max(abs(each.offset_s - best.offset_s) - each.error_s for each in measured)
        return Offset(
            offset_s=best.offset_s,
            error_s=max(best.error_s, drift_s),
            wall_skew_s=measured[-1].wall_skew_s,
        )
