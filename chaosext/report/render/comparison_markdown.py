"""A comparison of two runs as Markdown, for a pull request. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.report.data.run_comparison import OutageChange
from chaosext.report.render.markdown import plain, points, section, table
from chaosext.report.render.text_chart import NAMES
from chaosext.report.units import capital, duration, names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.report.data.run_comparison import Comparison, Length, Outage, Pair

TOLD = 40
"""Maximum number of changed outages with a row of their own, the largest change first."""


def markdown(comparison: Comparison) -> str:
    """Return what differs from the first run to the second, as Markdown."""
    first, second = comparison.first.result, comparison.second.result
    changed = [each for each in comparison.outages if each.change is not OutageChange.SAME]
    sections = (
        f"# {title(comparison)}\n\n{gist(comparison)}\n\nFirst: `{first.run}`, second: `{second.run}`.\n",
        section("Limited comparability", points(comparison.doubts)),
        section("Outages that changed", _outages(changed)),
        section("Durations", _times(comparison.timing)),
        section("Other differences", _facts(comparison.facts)),
        section("Same in both runs", points(_same(comparison))),
    )
    return "\n".join(each for each in sections if each)


def title(comparison: Comparison) -> str:
    """How the verdict changed."""
    first, second = (each.result.verdict.headline for each in (comparison.first, comparison.second))
    return capital(f"{second} both times" if first == second else f"{second}, was {first}")


def gist(comparison: Comparison) -> str:
    """One sentence: how many outages are new, gone or changed."""
    counted = {change: sum(each.change is change for each in comparison.outages) for change in OutageChange}
    told = [f"{n} {change.value}" for change, n in counted.items() if n]
    return f"Outages: {', '.join(told)}." if told else "Neither run saw an outage."


def _outages(changed: list[Outage]) -> Iterator[str]:
    rows = [
        (NAMES[each.lane], plain(names([each.name])), each.change.value, *lengths(each), _ratio(each))
        for each in changed[:TOLD]
    ]
    if rows:
        yield from table(("what", "where", "", "first", "second", "ratio"), rows)
    if len(changed) > TOLD:
        yield f"\n… and {len(changed) - TOLD} more."


def lengths(outage: Outage) -> tuple[str, str]:
    """The duration of an outage in each run, in words."""
    none = "unknown" if outage.change is OutageChange.NOT_KNOWN else "–"
    first, second = (_length(each) if each else none for each in (outage.first, outage.second))
    return first, second


def _length(found: Length) -> str:
    return f"{duration(found.seconds)}{', not back' * found.is_open}"


def _ratio(outage: Outage) -> str:
    return "" if outage.ratio is None else f"× {outage.ratio:.2f}"


def _times(pairs: Iterable[Pair]) -> Iterator[str]:
    rows = [(each.name, _time(each.first), _time(each.second)) for each in pairs if _is_known(each)]
    if rows:
        yield from table(("", "first", "second"), rows)


def _facts(pairs: Iterable[Pair]) -> Iterator[str]:
    rows = [(plain(each.name), _word(each.first), _word(each.second)) for each in pairs if each.differs]
    if rows:
        yield from table(("", "first", "second"), rows)


def _is_known(pair: Pair) -> bool:
    return pair.first is not None or pair.second is not None


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)


def _word(value: object) -> str:
    return "–" if value is None else plain(str(value))


def _same(comparison: Comparison) -> Iterator[str]:
    same = [each for each in comparison.outages if each.change is OutageChange.SAME]
    if same:
        yield f"{len(same)} outages are as long as before"
    for each in comparison.facts:
        if not each.differs and each.first is not None:
            yield f"{each.name}: {each.first}"
