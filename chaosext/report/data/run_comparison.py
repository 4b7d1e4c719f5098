"""Compares two runs: what differs, and what limits the comparison. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chaosext.model.names import lasting
from chaosext.model.result import Lane, length_s
from chaosext.model.verdict import Outcome
from chaosext.report.data.account import Account
from chaosext.report.data.coverage_gaps import SEEN_WITHOUT_SENTINEL
from chaosext.report.data.outage_summary import FELT
from chaosext.report.data.prediction_review import foresight
from chaosext.report.data.sentinel_spans import lanes_of
from chaosext.timeline.kube_dns_moves import node_of
from chaosext.timeline.leaf_events import SOURCE as LEAF

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.model.result import RunResult, Window
    from chaosext.report.data.run_data import RunData

SCHEMA = "chaosext.comparison/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A value in both runs; None if a run has none."""

    name: str
    first: Any
    second: Any

    @property
    def differs(self) -> bool:
        return bool(self.first != self.second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The comparison of two runs. `doubts`: what limits it.

    `facts`: verdict, placement, versions and timings. `timing`: durations, and the error of the rehearsal, in
    seconds. `outages`: the worst change first.
    """

    first: RunData
    second: RunData
    doubts: tuple[str, ...]
    facts: tuple[Pair, ...]
    timing: tuple[Pair, ...]
    outages: tuple[Outage, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON by docs/schemas/comparison.schema.json."""
        return {
            "schema": SCHEMA,
            "first": _identity(self.first.result),
            "second": _identity(self.second.result),
            "doubts": list(self.doubts),
            "facts": [_pair(each) for each in self.facts],
            "timing_s": [_pair(each) for each in self.timing],
            "outages": [_outage(each) for each in self.outages],
        }


def compare(first: RunData, second: RunData) -> Comparison:
    """Compare the second run with the first; any two runs can be compared, with `doubts` as the limits."""
    return Comparison(
        first=first,
        second=second,
        doubts=tuple(_doubts(first, second)),
        facts=tuple(_facts(first.result, second.result)),
        timing=tuple(_timing(first, second)),
        outages=changes(first, second),
    )


def _doubts(first: RunData, second: RunData) -> Iterator[str]:
    one, two = first.result, second.result
    if one.run == two.run:
        yield "both are the same run"
    if one.experiment != two.experiment:
        names = [f"`{each.experiment}`" if each.experiment else "an unknown one" for each in (one, two)]
        yield f"the experiments differ: {' and '.join(names)}"
    contexts = [each.briefing.context if each.briefing else "" for each in (one, two)]
    if all(contexts) and contexts[0] != contexts[1]:
        yield f"the clusters differ: {contexts[0]} and {contexts[1]}"
    for which, data in (("first", first), ("second", second)):
        if data.result.verdict.outcome in RULED:
            yield f"the {which} run is {data.result.verdict.outcome.value}: an outage that it lacks may still happen"
        if Account(data.result).gaps():
            yield f"the {which} run has coverage gaps: an outage that it lacks may have gone unseen"
    if bool(first.stretches) != bool(second.stretches):
        yield "only one of the runs had sentinels"


def _facts(first: RunResult, second: RunResult) -> Iterator[Pair]:
    yield Pair(name="verdict", first=first.verdict.headline, second=second.verdict.headline)
    yield Pair(name="exit code", first=first.exit_code, second=second.exit_code)
    yield Pair(name="kube-dns before", first=_before(first), second=_before(second))
    yield Pair(name="kube-dns moved", first=first.kube_dns_moved, second=second.kube_dns_moved)
    yield Pair(name="kube-dns moved to", first=_moved_to(first), second=_moved_to(second))
    yield Pair(name="nodes without BGP", first=_unpeered(first), second=_unpeered(second))
    one, two = (each.briefing.timings if each.briefing else {} for each in (first, second))
    for name in dict.fromkeys((*one, *two)):
        yield Pair(name=f"timings: {name}", first=one.get(name), second=two.get(name))


def _before(result: RunResult) -> str | None:
    return ", ".join(sorted(result.briefing.kube_dns_nodes)) if result.briefing else None


def _unpeered(result: RunResult) -> str | None:
    return ", ".join(sorted(result.briefing.unpeered_nodes)) or "none" if result.briefing else None


def _moved_to(result: RunResult) -> str | None:
    """The nodes that kube-dns was bound to between cut and heal."""
    account = Account(result)
    bound = {node_of(event) for event in account.bound() if event.t_s < account.heal_s}
    return ", ".join(sorted(bound)) or None


def _timing(first: RunData, second: RunData) -> Iterator[Pair]:
    one, two = first.result, second.result
    yield Pair(name="took", first=round(one.duration_s, 1), second=round(two.duration_s, 1))
    times = two.timing.to_json()
    for name, value in one.timing.to_json().items():
        yield Pair(name=_TIMES[name], first=value, second=times[name])
    yield Pair(name="error of the rehearsal", first=_off_s(first), second=_off_s(second))


_TIMES = {
    "detect_s": "cut to first NotReady",
    "outage_s": "first outage to steady state",
    "heal_to_outage_s": "heal to DNS outage",
    "recover_s": "heal to steady state",
    "rollback_s": "rollback to steady state",
}


def _off_s(data: RunData) -> float | None:
    """The average error of the rehearsal's expectations that came true."""
    off_s = [
        abs(each.observed_s - each.predicted.event.t_s)
        for each in foresight(data)
        if each.observed_s is not None
    ]
    return round(sum(off_s) / len(off_s), 1) if off_s else None


def _identity(result: RunResult) -> dict[str, Any]:
    return {
        "run": result.run,
        "experiment": result.experiment,
        "started_at": result.started_at,
        "context": result.briefing.context if result.briefing else None,
        **result.verdict.to_json(),
        "exit_code": result.exit_code,
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {"name": pair.name, "first": pair.first, "second": pair.second, "differs": pair.differs}


def _outage(outage: Outage) -> dict[str, Any]:
    return {
        "lane": outage.lane.value,
        "object": outage.name,
        "change": outage.change.value,
        "first_s": _rounded(outage.first_s),
        "second_s": _rounded(outage.second_s),
        "ratio": None if outage.ratio is None else round(outage.ratio, 2),
        "not_back": [bool(each and each.is_open) for each in (outage.first, outage.second)],
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


NOISE_S = 2.0
NOISE_SHARE = 0.1
"""Durations closer than this count as equal: a sentinel samples once a second, at either end."""

RULED = (Outcome.REFUSED, Outcome.NOT_KNOWN)
"""With these outcomes, it is unknown which other outages would have happened."""


class OutageChange(StrEnum):
    """How an outage changed from the first run to the second."""

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
    """The outages of an object in one run: all its `windows` together. `is_open`: it was not back at the end."""

    seconds: float
    windows: tuple[Window, ...]

    @property
    def is_open(self) -> bool:
        return any(end_s is None for _, end_s in self.windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """The outage of an object in each run; None if it had none."""

    lane: Lane
    name: str
    first: Length | None
    second: Length | None
    change: OutageChange

    @property
    def first_s(self) -> float | None:
        return self.first.seconds if self.first else None

    @property
    def second_s(self) -> float | None:
        return self.second.seconds if self.second else None

    @property
    def ratio(self) -> float | None:
        """The second length divided by the first, if both ends were seen."""
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
    """Return each object's outage, all windows together; for Pods of one owner, the longest."""
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
) -> OutageChange:
    """Return the change; "no outage" counts only if the run observed, and a length only if its end was seen."""
    if one is None or two is None:
        change, found, other = (
            (OutageChange.NEW, two, runs[0]) if one is None else (OutageChange.GONE, one, runs[1])
        )
        return OutageChange.NOT_KNOWN if _is_blind(other, *what, found) else change
    if one.is_open or two.is_open:
        return _CHANGES_OF_ENDLESS[one.is_open, two.is_open]
    apart_s = two.seconds - one.seconds
    if abs(apart_s) <= max(NOISE_S, NOISE_SHARE * max(one.seconds, two.seconds)):
        return OutageChange.SAME
    return OutageChange.LONGER if apart_s > 0 else OutageChange.SHORTER


_CHANGES_OF_ENDLESS = {
    (False, True): OutageChange.NOT_BACK,
    (True, False): OutageChange.BACK,
    (True, True): OutageChange.SAME,
}
"""The change by whether it was not back when each run ended."""


def _is_blind(data: RunData, lane: Lane, name: str, elsewhere: Length | None) -> bool:
    """Whether `data` could not have seen the other run's outage of the object: not observed, or over."""
    over = elsewhere is not None and all(start_s > data.result.end_s for start_s, _ in elsewhere.windows)
    return over or data.result.verdict.outcome in RULED or not _watched(data, lane, name)


def _watched(data: RunData, lane: Lane, name: str) -> bool:
    """Whether it was observed all the time: by a sentinel, the leaf's watch or the API server's."""
    if lane in SEEN_WITHOUT_SENTINEL or name.startswith("Service/"):
        return True
    if name.startswith("Leaf/"):
        return any(event.source == LEAF for event in data.result.events)
    node = name.removeprefix("Node/").partition(" ")[0] if name.startswith("Node/") else ""
    watching = {each for each, signals in data.stretches.items() if lane in lanes_of(signals)}
    blind = Account(data.result).gaps().keys() & ({node} if node else watching)
    return bool({node} & watching if node else watching) and not blind


def _place(outage: Outage) -> tuple[bool, int, float, str, str]:
    """Sort key: changes first, then what users feel, then the largest change."""
    apart_s = abs((outage.second_s or 0.0) - (outage.first_s or 0.0))
    felt = FELT.index(outage.lane) if outage.lane in FELT else len(FELT)
    return outage.change is OutageChange.SAME, felt, -apart_s, outage.lane.value, outage.name
