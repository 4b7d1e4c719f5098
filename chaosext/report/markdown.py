"""The result as Markdown, for a pull request, a ticket, or a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.report.story import chain_of_causes, what_to_do

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.model.result import RunResult, Window


def summary(result: RunResult) -> str:
    """`summary.md`: what broke, why, for how long, for whom, is it over, what now."""
    sections = (
        _head(result),
        _section("Why", result.verdict.reasons),
        _section("Chain of causes", chain_of_causes(result), numbered=True),
        _section("DNS outages", _outages(result)),
        _section("What to do", what_to_do(result)),
        _section("Rules that are not ours", _foreign_rules(result)),
        _section("Known before the cut", _briefing(result)),
    )
    return "\n".join(section for section in sections if section)


def _head(result: RunResult) -> str:
    verdict = result.verdict
    return (
        f"# {verdict.headline} (exit {verdict.exit_code})\n\n"
        f"{result.experiment}: run `{result.run}`, started {result.started_at}, took {result.duration_s:.0f} s.\n"
    )


def _section(title: str, lines: Iterable[str], *, numbered: bool = False) -> str:
    items = [f"{index}. {line}" if numbered else f"- {line}" for index, line in enumerate(lines, 1)]
    return "\n".join((f"## {title}", "", *items, "")) if items else ""


def _outages(result: RunResult) -> tuple[str, ...]:
    return tuple(
        f"{name}: {_window(window)}" for name, found in sorted(result.dns_outages.items()) for window in found
    )


def _window(window: Window) -> str:
    start_s, end_s = window
    if end_s is None:
        return f"dead from {start_s:.1f} s on, and not back when the run ended"
    return f"dead for {end_s - start_s:.1f} s ({start_s:.1f} s to {end_s:.1f} s after the cut)"


def _foreign_rules(result: RunResult) -> tuple[str, ...]:
    rules = result.foreign_rules
    if rules is None:
        return ()
    if rules.identical:
        return ("after the last heal byte for byte what they were before the cut",)
    known = [
        f"changed by {author}: {lines} line{'s' * (lines > 1)}"
        for author, lines in sorted(rules.changed_by.items())
    ]
    return (*known, *rules.reasons)


def _briefing(result: RunResult) -> tuple[str, ...]:
    if result.briefing is None:
        return ()
    timings = ", ".join(f"{name} {value}" for name, value in result.briefing.timings.items())
    unpeered = ", ".join(result.briefing.unpeered_nodes) or "none"
    return (*result.briefing.outlook, f"nodes without a BGP peer: {unpeered}", f"timings in force: {timings}")
