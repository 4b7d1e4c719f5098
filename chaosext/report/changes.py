"""What became of each outage from one run to another, and of which nobody can say. Pure.

Pods are new in every run, so they are compared by what made them: `Pod/shop/cart-*` stands for those of a Deployment.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from chaosext.model.lasting import lasting
from chaosext.model.result import Lane, length_s
from chaosext.model.verdict import Outcome
from chaosext.observe.leaf_view import SOURCE as LEAF
from chaosext.report.account import Account
from chaosext.report.chart import TOLD_BY_OTHERS
from chaosext.report.losses import FELT
from chaosext.report.stretches import lanes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.model.result import RunResult, Window
    from chaosext.report.run_data import RunData

NOISE_S = 2.0
NOISE_SHARE = 0.1
"""What lies closer together than this is called the same: a sentinel looks once a second, at either end."""

RULED = (Outcome.REFUSED, Outcome.NOT_KNOWN)
"""After these nobody knows what else would have been out."""


class Change(StrEnum):
    """What became of an outage from the first run to the second."""

    NEW = "new"
    GONE = "gone"
    LONGER = "longer"
    SHORTER = "shorter"
    NOT_BACK = "not back any more"
    BACK = "back again"
    SAME = "same"
    NOT_KNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Length:
    """How long something was out in one run: all its `windows` together. `is_open`: it was not back at the end."""

    seconds: float
    windows: tuple[Window, ...]

    @property
    def is_open(self) -> bool:
        return any(end_s is None for _, end_s in self.windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """How long an object was out in each run; None: it was not."""

    lane: Lane
    name: str
    first: Length | None
    second: Length | None
    change: Change

    @property
    def first_s(self) -> float | None:
        return self.first.seconds if self.first else None

    @property
    def second_s(self) -> float | None:
        return self.second.seconds if self.second else None

    @property
    def ratio(self) -> float | None:
        """The second's length over the first's, where the end of both was seen."""
        if self.first is None or self.second is None or self.first.is_open or self.second.is_open:
            return None
        return self.second.seconds / self.first.seconds if self.first.seconds else None


def changes(first: RunData, second: RunData) -> tuple[Outage, ...]:
    """Every outage of either run, the worst change first."""
    found = [
        _difference(lane, name, one.get(name), two.get(name), (first, second))
        for lane in Lane
        for one, two in [(_lengths(first.result, lane), _lengths(second.result, lane))]
        for name in dict.fromkeys((*one, *two))
    ]
    return tuple(sorted(found, key=_place))


def _lengths(result: RunResult, lane: Lane) -> Mapping[str, Length]:
    """How long each object was out, all its windows together; of the Pods of one owner the longest counts."""
    end_s = result.end_s
    longest: dict[str, Length] = {}
    for name, windows in result.outages.get(lane, {}).items():
        seconds = sum(length_s(each, end_s) for each in windows)
        length = Length(seconds, windows)
        owner = lasting(name)
        if owner not in longest or longest[owner].seconds < seconds:
            longest[owner] = length
    return longest


def _difference(
    lane: Lane, name: str, one: Length | None, two: Length | None, runs: tuple[RunData, RunData]
) -> Outage:
    return Outage(
        lane=lane,
        name=name,
        first=one,
        second=two,
        change=_change(one, two, (lane, name), runs),
    )


def _change(
    one: Length | None, two: Length | None, what: tuple[Lane, str], runs: tuple[RunData, RunData]
) -> Change:
    """That there was no outage is said only of a run that looked; how long one was, only where its end was seen."""
    if one is None or two is None:
        change, found, other = (Change.NEW, two, runs[0]) if one is None else (Change.GONE, one, runs[1])
        return Change.NOT_KNOWN if _is_blind(other, *what, found) else change
    if one.is_open or two.is_open:
        return _CHANGES_OF_ENDLESS[one.is_open, two.is_open]
    apart_s = two.seconds - one.seconds
    if abs(apart_s) <= max(NOISE_S, NOISE_SHARE * max(one.seconds, two.seconds)):
        return Change.SAME
    return Change.LONGER if apart_s > 0 else Change.SHORTER


_CHANGES_OF_ENDLESS = {
    (False, True): Change.NOT_BACK,
    (True, False): Change.BACK,
    (True, True): Change.SAME,
}
"""By whether it was not back when the first run ended, and the second."""


def _is_blind(data: RunData, lane: Lane, name: str, elsewhere: Length | None) -> bool:
    """Whether `data` can't tell of an outage of the object that the other run had: nobody looked, or it was over."""
    over = elsewhere is not None and all(start_s > data.result.end_s for start_s, _ in elsewhere.windows)
    return over or data.result.verdict.outcome in RULED or not _watched(data, lane, name)


def _watched(data: RunData, lane: Lane, name: str) -> bool:
    """Whether somebody looked all the time: a sentinel for that lane, the leaf's watch, or the API server's."""
    if lane in TOLD_BY_OTHERS or name.startswith("Service/"):
        return True
    if name.startswith("Leaf/"):
        return any(event.source == LEAF for event in data.result.events)
    node = name.removeprefix("Node/").partition(" ")[0] if name.startswith("Node/") else ""
    watching = {each for each, signals in data.stretches.items() if lane in lanes_of(signals)}
    blind = Account(data.result).gaps().keys() & ({node} if node else watching)
    return bool({node} & watching if node else watching) and not blind


def _place(outage: Outage) -> tuple[bool, int, float, str, str]:
    """What changed first, of that what users feel, of that the largest change."""
    apart_s = abs((outage.second_s or 0.0) - (outage.first_s or 0.0))
    felt = FELT.index(outage.lane) if outage.lane in FELT else len(FELT)
    return outage.change is Change.SAME, felt, -apart_s, outage.lane.value, outage.name
