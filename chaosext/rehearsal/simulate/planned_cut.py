"""The planned cut: nodes, the periods in which they are cut off, and the horizon of the prediction."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from chaosext.model.duration_text import short_duration
from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from chaosext.rehearsal.snapshot.world import Doubt

Periods: TypeAlias = "tuple[tuple[float, float], ...]"
"""(begin, end) of each cut, in seconds from the first begin; ascending, with a gap between two."""

MAX_HORIZON_S = 86_400.0

HORIZON_S, RECOVERS_S = 900.0, 420.0
"""End of a prediction by default: at least the first, and the second after the last heal or rollback, in seconds.

CrashLoopBackOff waits for up to 5 minutes.
"""

MOST_CUTS = 500
"""Maximum number of cuts in a plan: each takes as long to simulate as a plan of its own."""

TOGETHER_S = 1e-9
"""A shorter gap between two cuts is none, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flap:
    """A cut that comes and goes: `times` cuts of `on_s` seconds, `off_s` seconds apart.

    Raises `ValueError` if it is none.
    """

    on_s: float
    off_s: float
    times: int

    def __post_init__(self) -> None:
        if not 0 < self.on_s <= MAX_HORIZON_S:
            raise ValueError(
                f"on is {short_duration(self.on_s)}; set it to the length of one cut, longer than 0, such as 15s"
            )
        if not 0 <= self.off_s <= MAX_HORIZON_S:
            raise ValueError(
                f"off is {short_duration(self.off_s)}; set it to the time between two cuts, such as 10s"
            )
        if not 1 <= self.times <= MOST_CUTS:
            raise ValueError(f"times is {self.times}; set it to the number of cuts, 1 to {MOST_CUTS}")

    @property
    def periods(self) -> Periods:
        """Its cuts; one if there is no time between them."""
        begins = (turn * (self.on_s + self.off_s) for turn in range(self.times))
        return merged((begin, begin + self.on_s) for begin in begins)

    @property
    def lasts_s(self) -> float:
        """Seconds from the begin of the first cut to the end of the last one."""
        return self.periods[-1][1]

    def __str__(self) -> str:
        if self.times == 1:
            return f"a cut of {short_duration(self.on_s)}"
        return f"{self.times} cuts of {short_duration(self.on_s)}, {short_duration(self.off_s)} apart"


def enough_s(periods: Periods, rollback_s: float | None = None) -> float:
    """Return the end of a prediction that shows whether everything recovers, in seconds from the first cut."""
    last_s = max(periods[-1][1], rollback_s or 0.0)
    return min(max(HORIZON_S, last_s + RECOVERS_S), max(MAX_HORIZON_S, last_s))


def merged(periods: Iterable[tuple[float, float]]) -> Periods:
    """Return the periods in ascending order; those that overlap or meet are one."""
    found: list[tuple[float, float]] = []
    for begin, end in sorted(periods):
        if found and begin <= found[-1][1] + TOGETHER_S:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Cuts of the nodes named in `cut_nodes` from the control plane, the first one from 0 s on.

    Set `cut_for_s` for one cut of this duration, or `periods` for several; both are known then, and
    `cut_for_s` is the end of the last cut. `rollback_s`: when kube-dns is rescheduled (its Pods are deleted),
    None for never. `cut_at`: the earliest time of the first cut, which comes up to `cut_within_s` later. Set
    it if the leases in the snapshot are fresh enough to show how old they are at the cut, or at least which
    are renewed together. `doubts`: why the real cut may differ from the modelled one; its effects are unknown
    then. `quorums`: workloads that need most of their Pods at every moment, beside StatefulSets of three and
    more ("Deployment/infra/etcd"). `protected`: workloads, Services and namespaces ("namespace/payments")
    whose impact is always computed.

    Raises `Refused` for a cut that cannot be simulated.
    """

    cut_nodes: frozenset[str]
    cut_for_s: float = 480.0
    periods: Periods = ()
    horizon_s: float = 900.0
    rollback_s: float | None = None
    cut_at: datetime | None = None
    cut_within_s: float = 0.0
    quorums: frozenset[str] = frozenset()
    protected: frozenset[str] = frozenset()
    doubts: tuple[Doubt, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "periods", self.periods or ((0.0, self.cut_for_s),))
        object.__setattr__(self, "cut_for_s", self.periods[-1][1])
        if not self.cut_nodes:
            raise Refused(
                "the cut includes no nodes", "name nodes, or a selector that matches some, in --cut-nodes"
            )
        if not 0 < self.cut_for_s <= self.horizon_s <= MAX_HORIZON_S:
            raise Refused(
                f"a cut of {short_duration(self.cut_for_s)} within a horizon of "
                f"{short_duration(self.horizon_s)} cannot be simulated",
                f"choose 0 < --cut-for <= --horizon <= {short_duration(MAX_HORIZON_S)}",
            )
        if self.periods != merged(self.periods) or self.periods[0][0] != 0.0:
            raise Refused(
                "the cuts are not one after the other", "begin the first at 0 s, each other after a gap"
            )
        if any(begin >= end for begin, end in self.periods) or len(self.periods) > MOST_CUTS:
            raise Refused(
                f"{len(self.periods)} cuts cannot be simulated",
                f"plan at most {MOST_CUTS}, each longer than 0",
            )
        if self.rollback_s is not None and self.rollback_s < self.cut_for_s:
            raise Refused("the rollback is before the heal", "set --rollback-at to a time after --cut-for")

    @property
    def gaps(self) -> Periods:
        """(heal, begin of the next cut) of each cut; the last one ends at infinity."""
        begins = (*(begin for begin, _ in self.periods[1:]), inf)
        return tuple((end, begin) for (_, end), begin in zip(self.periods, begins, strict=True))

    def heals_s(self, t_s: float) -> float:
        """Return the end of the cut that is in force at `t_s`, or `t_s` if none is."""
        at = bisect_right(self.periods, (t_s, inf)) - 1
        return max(t_s, self.periods[at][1]) if at >= 0 else t_s

    def is_cut_at(self, t_s: float) -> bool:
        """Whether the nodes are cut off at `t_s`."""
        return self.heals_s(t_s) > t_s

    def cut_s(self, since_s: float, until_s: float) -> float:
        """Return how many of the seconds between two times the nodes are cut off."""
        overlaps = (min(until_s, end) - max(since_s, begin) for begin, end in self.periods)
        return sum(max(0.0, overlap) for overlap in overlaps)
