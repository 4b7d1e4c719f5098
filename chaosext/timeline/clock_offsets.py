"""How a node's clocks stand to the runner's, from questions asked and answered. Pure.

Asked at `sent_s` and answered at `answered_s`, the node read its clock somewhere in between; taking the middle is
wrong by half the round trip at the most (Cristian, "Probabilistic clock synchronization", 1989). So the quickest
answer is the best one. Each boot of a node has an offset of its own: its monotonic clock begins anew.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaosext.model.result import NodeClock

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT = 500
"""Measurements kept a boot: at one each few seconds, more than what drift within an error could hide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One answer. `mono_s`, `wall_s`: the node's clocks in the boot named `boot`; the rest is by the runner's."""

    boot: str
    mono_s: float
    wall_s: float
    sent_s: float
    answered_s: float
    own_wall_s: float

    @property
    def offset_s(self) -> float:
        """The node's monotonic clock less the runner's."""
        return self.mono_s - (self.sent_s + self.answered_s) / 2

    @property
    def error_s(self) -> float:
        """By how much `offset_s` may be wrong."""
        return (self.answered_s - self.sent_s) / 2

    @property
    def wall_skew_s(self) -> float:
        """The node's wall clock less the runner's, where `own_wall_s` is the runner's in the middle of the question."""
        return self.wall_s - self.own_wall_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """What is known of one boot: see `model.result.NodeClock`."""

    offset_s: float
    error_s: float
    wall_skew_s: float

    def to_json(self, zero_s: float) -> dict[str, Any]:
        """As in clocks.json: seconds from the cut (at `zero_s` by the runner) are a sample's `t` + `from_cut_s`."""
        return {
            "from_cut_s": round(-self.offset_s - zero_s, 6),
            "error_s": round(self.error_s, 6),
            "wall_skew_s": round(self.wall_skew_s, 3),
        }


@dataclass(slots=True)
class Clocks:
    """One node's, as measurements come in. One thread takes them; any may ask meanwhile."""

    _boots: dict[str, deque[Measured]] = field(default_factory=dict)
    _best: dict[str, Measured] = field(default_factory=dict)

    def take(self, measured: Measured) -> None:
        best = self._best.get(measured.boot)
        if best is None or measured.error_s <= best.error_s:
            self._best[measured.boot] = measured
        self._boots.setdefault(measured.boot, deque(maxlen=KEPT)).append(measured)

    def to_runner_s(self, boot: str, mono_s: float) -> float | None:
        """The runner's monotonic time of `mono_s` in `boot`; None for a boot whose clock was never asked."""
        best = self._best.get(boot)
        return None if best is None else mono_s - best.offset_s

    def offsets(self) -> Mapping[str, Offset]:
        """Boot -> what is known of it, in the order in which the boots were met."""
        return {boot: self._offset(boot) for boot in tuple(self._boots)}

    def summary(self) -> NodeClock | None:
        """The last boot's, and how many there were; None where nothing was ever answered."""
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
        """The best measurement's; where others contradict it the clocks drift apart, and the error says so.

        The wall clock's skew is the last one measured: unlike the offset it may be set at any moment.
        """
        best, measured = self._best[boot], tuple(self._boots[boot])
        drift_s = max(abs(each.offset_s - best.offset_s) - each.error_s for each in measured)
        return Offset(
            offset_s=best.offset_s,
            error_s=max(best.error_s, drift_s),
            wall_skew_s=measured[-1].wall_skew_s,
        )
