"""Two runs beside each other: what differs, and why they may be hardly comparable. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.observe.placement import node_of
from chaosext.report.account import Account
from chaosext.report.changes import RULED, changes
from chaosext.report.foresight import foresight

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.model.result import RunResult
    from chaosext.report.changes import Outage
    from chaosext.report.run_data import RunData

SCHEMA = "chaosext.comparison/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Something that both runs have a word for; None: the run has none."""

    name: str
    first: Any
    second: Any

    @property
    def differs(self) -> bool:
        return bool(self.first != self.second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs. `doubts`: why the two are hardly comparable. `facts`: verdict, placement, versions and timings in
    force. `timing`: how long it took, and how far a rehearsal was off, in seconds. `outages`: the worst change first.
    """

    first: RunData
    second: RunData
    doubts: tuple[str, ...]
    facts: tuple[Pair, ...]
    timing: tuple[Pair, ...]
    outages: tuple[Outage, ...]

    def to_json(self) -> dict[str, Any]:
        """As docs/schemas/comparison.schema.json has it."""
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
    """What differs from the first run to the second. Runs that can't be compared are, and `doubts` says so."""
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
        yield "it is the same run"
    if one.experiment != two.experiment:
        names = [f"`{each.experiment}`" if each.experiment else "one not known" for each in (one, two)]
        yield f"the experiments differ: {' and '.join(names)}"
    contexts = [each.briefing.context if each.briefing else "" for each in (one, two)]
    if all(contexts) and contexts[0] != contexts[1]:
        yield f"the clusters differ: {contexts[0]} and {contexts[1]}"
    for which, data in (("first", first), ("second", second)):
        if data.result.verdict.outcome in RULED:
            yield f"the {which} run is {data.result.verdict.outcome.value}: what it has no outage of may well fail"
        if Account(data.result).gaps():
            yield f"in the {which} run not everything was observed: what is missing there is no health"
    if bool(first.stretches) != bool(second.stretches):
        yield "sentinels watched in one of the two only"


def _facts(first: RunResult, second: RunResult) -> Iterator[Pair]:
    yield Pair(name="verdict", first=first.verdict.headline, second=second.verdict.headline)
    yield Pair(name="exit code", first=first.exit_code, second=second.exit_code)
    yield Pair(name="kube-dns before", first=_before(first), second=_before(second))
    yield Pair(name="kube-dns moved", first=first.kube_dns_moved, second=second.kube_dns_moved)
    yield Pair(name="kube-dns moved to", first=_moved_to(first), second=_moved_to(second))
    yield Pair(name="nodes without BGP", first=_unpeered(first), second=_unpeered(second))
    one, two = (each.briefing.timings if each.briefing else {} for each in (first, second))
    for name in dict.fromkeys((*one, *two)):
        yield Pair(name=f"timings in force: {name}", first=one.get(name), second=two.get(name))


def _before(result: RunResult) -> str | None:
    return ", ".join(sorted(result.briefing.kube_dns_nodes)) if result.briefing else None


def _unpeered(result: RunResult) -> str | None:
    return ", ".join(sorted(result.briefing.unpeered_nodes)) or "none" if result.briefing else None


def _moved_to(result: RunResult) -> str | None:
    """The nodes on which kube-dns was placed between cut and heal."""
    account = Account(result)
    bound = {node_of(event) for event in account.bound() if event.t_s < account.heal_s}
    return ", ".join(sorted(bound)) or None


def _timing(first: RunData, second: RunData) -> Iterator[Pair]:
    one, two = first.result, second.result
    yield Pair(name="took", first=round(one.duration_s, 1), second=round(two.duration_s, 1))
    times = two.timing.to_json()
    for name, value in one.timing.to_json().items():
        yield Pair(name=_TIMES[name], first=value, second=times[name])
    yield Pair(name="rehearsal was off by", first=_off_s(first), second=_off_s(second))


_TIMES = {
    "detect_s": "cut to first NotReady",
    "outage_s": "first outage to steady state",
    "heal_to_outage_s": "heal to DNS death",
    "recover_s": "heal to steady state",
    "rollback_s": "rollback to steady state",
}


def _off_s(data: RunData) -> float | None:
    """How far the rehearsal's expectations that came true were off, on average."""
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
