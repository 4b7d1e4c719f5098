"""What a report can't tell: what a run's directory lacks, and the seconds in which nobody looked. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.verdict import Outcome
from chaosext.report.data.account import Account
from chaosext.report.sentences.units import duration, names, window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from chaosext.model.result import Window
    from chaosext.report.data.run_data import RunData

TOLD = 3
"""So many holes of a node are told one by one."""

CUT_SHORT = {
    Outcome.NOT_KNOWN: "the run left no result",
    Outcome.INTERRUPTED: "the run was ended before its time",
    Outcome.INCONCLUSIVE: "the run proved nothing",
    Outcome.UNSAFE: "the run did not come to its end",
}
"""After these nobody knows what else would have been out."""


def unseen(data: RunData) -> Iterator[str]:
    """Lines for people, each of something that is not known and must not be taken for healthy."""
    yield from data.missing
    yield from _blind(data.result.unobserved)


def hiding(data: RunData) -> Iterator[str]:
    """Those of `unseen` that can hide an outage: all but gaps that are too short for one."""
    yield from data.missing
    yield from _blind(Account(data.result).gaps())


def doubt(data: RunData) -> str:
    """Why what was not seen may have been there all the same, "" where all was watched, up to the end."""
    if data.result.verdict.outcome in CUT_SHORT:
        return CUT_SHORT[data.result.verdict.outcome]
    account = Account(data.result)
    if not data.stretches:
        return "what the sentinels saw can't be read" if account.watched else "nobody watched from the nodes"
    blind = account.gaps()
    if blind:
        return f"{names(blind)} {'was' if len(blind) == 1 else 'were'} not always watched"
    return "not all that the run wrote can be read" if data.missing else ""


def _blind(unobserved: Mapping[str, Sequence[Window]]) -> Iterator[str]:
    for node, windows in sorted(unobserved.items()):
        if windows:
            yield f"{node} was not observed {_holes(windows)}"


def _holes(windows: Sequence[Window]) -> str:
    closed = [(start_s, end_s) for start_s, end_s in windows if end_s is not None]
    told = [f"from {window(each)}" for each in closed[:TOLD]]
    rest = [end_s - start_s for start_s, end_s in closed[TOLD:]]
    more = [f"{len(rest)} times more ({duration(sum(rest))} together)"] if rest else []
    return ", ".join((*told, *more, *(window(each) for each in windows if each[1] is None)))
