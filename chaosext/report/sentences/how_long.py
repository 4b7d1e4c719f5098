"""How long a cut may last, in sentences: for the plan, and for each failure domain. Pure."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from chaosext.gate.longest_cut import CutLimit, clock
from chaosext.model.duration_text import short_duration
from chaosext.report.units import clipped, names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from chaosext.gate.longest_cut import LongestCut

WIDTH, ROWS = 100, 24
"""Columns and rows of the answer."""

MOST_DOMAINS = 14
"""Domains that are listed, those with the shortest safe cut first."""

LONGEST_NAME = 30


def how_long(plan: LongestCut, start: datetime | None = None) -> str:
    """Return the answer for the plan in a sentence, with its point of no return by the clock."""
    no_return = plan.no_return(start)
    return f"{plan.answer}{f'. Point of no return: {clock(no_return)}' if no_return else ''}"


def shortest(domains: Sequence[LongestCut]) -> LongestCut | None:
    """Return the domain whose cut may last least, of those with a limit."""
    limited = [each for each in domains if each.limit is not CutLimit.NONE]
    return min(limited, key=_order) if limited else None


def how_long_lines(found: Sequence[LongestCut], start: datetime | None = None) -> Iterator[str]:
    """Yield the answer as lines: the plan's sentence, then a row for each failure domain, the shortest first."""
    plan, *domains = found
    yield from wrap(f"{how_long(plan, start)}.", WIDTH)[:6]
    tried = f"{short_duration(plan.tried.step_s)} to {short_duration(plan.tried.up_to_s)}"
    yield f"  cut off: {len(plan.nodes)} nodes ({names(sorted(plan.nodes), at_most=2)}); tried: {tried}"
    if not domains:
        return
    yield ""
    yield f"{'if only this is cut off':<{LONGEST_NAME}} {'nodes':>5}  {'safe up to':<11} then"
    ranked = sorted(domains, key=_order)
    for each in ranked[:MOST_DOMAINS]:
        yield _row(each)
    if left := ranked[MOST_DOMAINS:]:
        yield f"and {len(left)} more, in --json"


def _order(each: LongestCut) -> tuple[float, bool, str]:
    return (each.safe_s, each.limit is CutLimit.NONE, each.domain)


def _row(each: LongestCut) -> str:
    more = f" (and {len(each.alike)} alike)" if each.alike else ""
    name = clipped(each.domain, LONGEST_NAME - len(more)) + more
    safe = short_duration(each.safe_s) if each.safe_s else _none(each)
    return clipped(f"{name:<{LONGEST_NAME}} {len(each.nodes):>5}  {safe:<11} {each.then}", WIDTH)


def _none(each: LongestCut) -> str:
    return "never" if each.limit is CutLimit.BREAKS else "unknown"
