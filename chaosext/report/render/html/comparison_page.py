"""Two runs in one self-contained HTML file, with each changed outage in both runs on one axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.report.data.lane_state import State
from chaosext.report.data.run_comparison import OutageChange
from chaosext.report.render.comparison_markdown import gist, lengths, title
from chaosext.report.render.html import phrases
from chaosext.report.render.html.lanes_of_run import TITLES
from chaosext.report.render.html.page import render
from chaosext.report.render.html.svg import LineStyle, line
from chaosext.report.render.html.time_axis import Axis, axis_of
from chaosext.report.render.html.tracks import Bar, Track
from chaosext.report.units import names, window
from chaosext.timeline.outages import cut_windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from markupsafe import Markup

    from chaosext.model.result import Lane, Window
    from chaosext.report.data.run_comparison import Comparison, Length, Outage
    from chaosext.report.data.run_data import RunData

MOST_DRAWN = 200
"""Maximum number of outages to draw, those that changed most; the page counts the others."""

MOST_BARS = 60
"""Maximum number of bars of a line, which has half the height of a run's own lanes."""


SEEN_PERCENT = 97.0
"""A run that ends after this share of the axis is the longer one: the rest is margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """One outage in both runs: two lines on the same axis, and both durations in words."""

    name: str
    change: OutageChange
    ratio: str
    lines: tuple[Markup, Markup]
    said: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outages:
    """The outages of one lane that changed."""

    title: str
    caption: str
    rows: tuple[Both, ...]


def render_comparison(comparison: Comparison) -> str:
    """Return the comparison as HTML, always the same for the same two runs."""
    ends_s = comparison.first.result.end_s, comparison.second.result.end_s
    axis = axis_of(_moments(comparison))
    changed = [each for each in comparison.outages if each.change is not OutageChange.SAME]
    told = {
        "comparison": comparison,
        "runs": (comparison.first.result, comparison.second.result),
        "tones": [phrases.tone(each.result.verdict) for each in (comparison.first, comparison.second)],
        "title": title(comparison),
        "gist": gist(comparison),
        "lanes": tuple(_lanes(changed[:MOST_DRAWN], axis, ends_s)),
        "more": max(0, len(changed) - MOST_DRAWN),
        "same": len(comparison.outages) - len(changed),
        "ticks": axis.ticks(),
        "differing": [each for each in comparison.facts if each.differs],
        "timing": [each for each in comparison.timing if (each.first, each.second) != (None, None)],
        "cuts": [_cut(each) for each in (comparison.first, comparison.second)],
    }
    return render("comparison.html.jinja", told)


def _moments(comparison: Comparison) -> Iterator[float]:
    for data in (comparison.first, comparison.second):
        yield from (event.t_s for event in data.result.events)


def _cut(data: RunData) -> str:
    return ", ".join(map(window, cut_windows(data.result.events))) or "never"


def _lanes(changed: list[Outage], axis: Axis, ends_s: tuple[float, float]) -> Iterator[Outages]:
    lanes: dict[Lane, list[Outage]] = {}
    for outage in changed:
        lanes.setdefault(outage.lane, []).append(outage)
    for lane, outages in lanes.items():
        rows = tuple(_both(each, axis, ends_s) for each in outages)
        yield Outages(title=TITLES[lane][0], caption=TITLES[lane][1], rows=rows)


def _both(outage: Outage, axis: Axis, ends_s: tuple[float, float]) -> Both:
    name = names([outage.name])
    first, second = (
        line(_track(f"{which}: {name}", found, bars), LineStyle(axis=axis, most_bars=MOST_BARS))
        for which, found, bars in (
            ("first", outage.first, _drawn(outage.change, outage.first, axis, ends_s[0])),
            ("second", outage.second, _drawn(outage.change, outage.second, axis, ends_s[1])),
        )
    )
    return Both(
        name=name,
        change=outage.change,
        ratio="" if outage.ratio is None else f"× {outage.ratio:.2f}",
        lines=(first, second),
        said=lengths(outage),
    )


def _track(name: str, found: Length | None, bars: Iterable[Bar]) -> Track:
    return Track(name=name, bars=tuple(bars), windows=found.windows if found else ())


def _drawn(change: OutageChange, found: Length | None, axis: Axis, over_s: float) -> Iterable[Bar]:
    """Return the bars of one run; if its state is unknown, they show that it was not observed."""
    if found is None and change is OutageChange.NOT_KNOWN:
        return (Bar(axis.start_s, axis.end_s, State.UNSEEN),)
    return _bars(found.windows if found else (), axis, over_s)


def _bars(windows: Iterable[Window], axis: Axis, over_s: float) -> Iterator[Bar]:
    """Yield the bars of one run: nothing reported between outages, not observed after its end."""
    last_s = axis.start_s
    for start_s, end_s in windows:
        until_s = over_s if end_s is None else end_s
        yield Bar(last_s, start_s, State.QUIET)
        yield Bar(start_s, until_s, State.OUT)
        last_s = until_s
    yield Bar(last_s, max(last_s, over_s), State.QUIET)
    if axis.percent(over_s) < SEEN_PERCENT:
        yield Bar(over_s, axis.end_s, State.UNSEEN)
