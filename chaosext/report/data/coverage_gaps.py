"""Gaps that a report must state: missing files of a run, and gaps in observation. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.result import Lane
from chaosext.model.verdict import Outcome
from chaosext.report.data.account import Account
from chaosext.report.units import duration, names, window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from chaosext.model.result import Window
    from chaosext.report.data.run_data import RunData

SEEN_WITHOUT_SENTINEL = (Lane.NODE_READY, Lane.KUBELET, Lane.PROBES, Lane.CUSTOMERS, Lane.ENTRY)
"""Lanes reported by the API server or the load balancer, with or without a sentinel."""

TOLD = 3
"""Maximum number of gaps per node to list one by one."""

CUT_SHORT = {
    Outcome.NOT_KNOWN: "the run left no result",
    Outcome.INTERRUPTED: "the run was stopped early",
    Outcome.INCONCLUSIVE: "the run proved nothing",
    Outcome.UNSAFE: "the run did not end properly",
}
"""With these outcomes, it is unknown which other outages would have happened."""


def unseen(data: RunData) -> Iterator[str]:
    """Yield user-visible lines, each about something unknown that must not count as healthy."""
    yield from data.missing
    yield from _blind(data.result.unobserved)


def hiding(data: RunData) -> Iterator[str]:
    """The lines of `unseen` that can hide an outage: all but gaps that are too short for one."""
    yield from data.missing
    yield from _blind(Account(data.result).gaps())


def doubt(data: RunData) -> str:
    """Why an outage may have gone unseen; "" if everything was watched up to the end."""
    if data.result.verdict.outcome in CUT_SHORT:
        return CUT_SHORT[data.result.verdict.outcome]
    account = Account(data.result)
    if not data.stretches:
        return (
            "the sentinels' records can't be read"
            if account.watched
            else "no sentinel watched from the nodes"
        )
    blind = account.gaps()
    if blind:
        return f"{names(blind)} {'was' if len(blind) == 1 else 'were'} not watched all the time"
    return "some files of the run can't be read" if data.missing else ""


def _blind(unobserved: Mapping[str, Sequence[Window]]) -> Iterator[str]:
    for node, windows in sorted(unobserved.items()):
        if windows:
            yield f"{node} was not observed {_holes(windows)}"


def _holes(windows: Sequence[Window]) -> str:
    closed = [(start_s, end_s) for start_s, end_s in windows if end_s is not None]
    told = [f"from {window(each)}" for each in closed[:TOLD]]
    rest = [end_s - start_s for start_s, end_s in closed[TOLD:]]
    more = [f"{len(rest)} more times ({duration(sum(rest))} in total)"] if rest else []
    return ", ".join((*told, *more, *(window(each) for each in windows if each[1] is None)))
