"""Draws the lanes of a prediction. Pure.

They look as those of a run; in addition, the share of simulations is opacity, and ranges are whiskers.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from chaosext.model.duration_text import short_duration
from chaosext.model.result import length_s
from chaosext.model.timeline import Event, Kind
from chaosext.rehearsal.simulate.prediction import CERTAIN, RARE, said_share
from chaosext.report.data.lane_state import CUT, PLACEMENT, PODS, State
from chaosext.report.data.predicted_lanes import LaneMoment, LaneRow, LaneSpan, predicted_lanes
from chaosext.report.render.html.groups import ranged
from chaosext.report.render.html.markers import flags
from chaosext.report.render.html.svg import HEIGHT_PX, SHAPES, THINNEST_PERCENT
from chaosext.report.render.html.svg_parts import Drawing, LaneRows, Row, flag_height
from chaosext.report.render.html.time_axis import Axis, axis_of
from chaosext.timeline.outages import united

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.report.data.predicted_lanes import LaneFacts, PredictedLane
    from chaosext.report.data.wall_clock import WallClock

MOST_LINES = 8
"""Maximum number of lines of one lane; the others are counted."""

ALIKE_SHARE = 0.02
"""Objects whose spans begin and end within this share of the axis are one line."""

SHOWN_PERCENT = 0.6
"""A range that is narrower is not drawn, in per cent of the width."""
LABELLED_PERCENT = 7.0
"""Minimum width of a bar with its share written on it, in per cent."""

WHOLE_S = 10.0
"""No moment from here on is predicted more exactly than to a second."""

FLAGGED = (Kind.CUT, Kind.HEAL, Kind.ROLLBACK)

LEGEND = (
    (State.OUT, "out, or crash-looping"),
    (State.FAILING, "some DNS lookups fail"),
    (State.UNSEEN, "unknown, and never counted as healthy"),
    (State.AWAY, "nodes NotReady, Pods evicted or Pending"),
    (State.HERE, "kube-dns is here"),
    (State.ASTRAY, "kube-dns is here, and other nodes learn no route to it"),
    (State.QUIET, "as before the cut"),
)
"""The states of a prediction in words, in the order of the legend."""

WORDS = {
    State.OUT: "out",
    State.FAILING: "some lookups fail",
    State.UNSEEN: "unknown",
    State.AWAY: "NotReady",
    State.HERE: "runs kube-dns",
    State.ASTRAY: "runs kube-dns, and other nodes learn no route to it",
}

HALF_HEIGHT = ("o", 11, 8)
"""How failing lookups are drawn: lower than an outage."""

BADNESS = {state: rank for rank, state in enumerate(State)}


@dataclass(frozen=True, slots=True)
class Segment:
    """A state that does not change from `start_s` to `end_s`, in a `share` of simulations."""

    state: State
    start_s: float
    end_s: float
    share: float
    label: str


def draw_prediction(found: Prediction, facts: LaneFacts, clock: WallClock | None = None) -> Drawing | None:
    """Draw a prediction; None if it has no timeline. `clock`: the time of day of a planned cut."""
    lanes = predicted_lanes(found, facts)
    if not lanes:
        return None
    axis = axis_of((0.0, facts.horizon_s))
    grouped = [(lane, _grouped(lane.rows, axis.length_s * ALIKE_SHARE)) for lane in lanes if lane.key != CUT]
    spans = [span for _, groups in grouped for group in groups for span in group[0].spans]
    flagged = flags(_actions(found), axis, say=short_duration)
    return Drawing(
        ticks=axis.ticks(clock),
        cuts=tuple((axis.percent(a), axis.percent(b) - axis.percent(a)) for a, b in facts.periods),
        cuts_said=", ".join(
            f"{short_duration(begin)} to {short_duration(end)}" for begin, end in facts.periods
        ),
        flags=flagged,
        flag_height=flag_height(flagged),
        lanes=tuple(_lane(lane, groups, axis) for lane, groups in grouped),
        letters=(),
        states=frozenset(span.state for span in spans) | {State.QUIET},
        signs=(),
        ranged=True,
        shared=any(span.share < CERTAIN for span in spans),
    )


def _actions(found: Prediction) -> Iterator[Event]:
    for each in found.timeline:
        if each.kind in FLAGGED:
            yield Event(
                t_s=each.t_s, kind=each.kind, object=each.object, detail=each.detail, source=each.source
            )


def _lane(lane: PredictedLane, groups: Sequence[Sequence[LaneRow]], axis: Axis) -> LaneRows:
    if len(groups) > MOST_LINES:
        groups = sorted(groups, key=_badness)
    shown = groups[:MOST_LINES]
    left = sum(len(group) for group in groups[MOST_LINES:])
    return LaneRows(
        key=lane.key,
        title=lane.title,
        caption=lane.caption,
        folded="" if shown else "as before the cut",
        rows=tuple(_row(group, lane.key, axis) for group in shown),
        more=f"and {left} more, in the JSON" if left else "",
    )


# -- groups ------------------------------------------------------------------------------------------------------


def _grouped(rows: Iterable[LaneRow], within_s: float) -> list[list[LaneRow]]:
    """Put objects that look the same into one group each."""
    found: list[list[LaneRow]] = []
    for row in (replace(each, spans=_main(each.spans, within_s)) for each in rows):
        group = next((each for each in found if _alike(each[0], row, within_s)), None)
        if group is None:
            found.append([row])
        else:
            group.append(row)
    return found


def _main(spans: Sequence[LaneSpan], within_s: float) -> tuple[LaneSpan, ...]:
    """Leave out what cannot be seen beside a worse span: some failing lookups, seconds before all fail."""
    return tuple(
        span
        for span in spans
        if span.state is State.UNSEEN
        or span.end is None
        or not _beside_worse(span, span.end, spans, within_s)
    )


def _beside_worse(span: LaneSpan, end: LaneMoment, spans: Iterable[LaneSpan], within_s: float) -> bool:
    return any(
        BADNESS[worse.state] < BADNESS[span.state]
        and worse.share >= span.share - RARE
        and max(abs(worse.begin.t_s - span.begin.t_s), abs(end.t_s - worse.begin.t_s)) <= within_s
        for worse in spans
    )


def _alike(one: LaneRow, other: LaneRow, within_s: float) -> bool:
    return len(one.spans) == len(other.spans) and all(
        ours.state is theirs.state
        and ours.label == theirs.label
        and (ours.end is None) == (theirs.end is None)
        and abs(ours.begin.t_s - theirs.begin.t_s) <= within_s
        and abs((ours.end or ours.begin).t_s - (theirs.end or theirs.begin).t_s) <= within_s
        for ours, theirs in zip(one.spans, other.spans, strict=True)
    )


def _badness(group: Sequence[LaneRow]) -> tuple[int, float]:
    """Return a sort key: the worst states first, then the likeliest."""
    spans = group[0].spans
    return min(BADNESS[span.state] for span in spans), -sum(span.share for span in spans)


def _merged(group: Sequence[LaneRow]) -> tuple[LaneSpan, ...]:
    """Return the spans of a group: typical times of all, from the earliest to the latest."""
    return tuple(
        LaneSpan(
            state=spans[0].state,
            begin=_between([span.begin for span in spans]),
            end=_between([span.end for span in spans if span.end]) if spans[0].end else None,
            share=sum(span.share for span in spans) / len(spans),
            label=spans[0].label,
            count=sum(span.count for span in spans),
        )
        for spans in zip(*(row.spans for row in group), strict=True)
    )


def _between(moments: Sequence[LaneMoment]) -> LaneMoment:
    return LaneMoment(
        median(each.t_s for each in moments),
        min(each.earliest_s for each in moments),
        max(each.latest_s for each in moments),
    )


# -- lines -------------------------------------------------------------------------------------------------------


def _row(group: Sequence[LaneRow], lane: str, axis: Axis) -> Row:
    name, spans = ranged([row.name for row in group]), _merged(group)
    told = "; ".join(_told(span) for span in spans)
    return Row(
        name=name,
        tag=str(len(group)) if len(group) > 1 else "",
        svg=_line(name, lane, spans, axis),
        out=_sum(spans, lane, axis),
        blind="",
        windows=told,
        out_s=_bad_s(spans, axis),
        mild=all(span.state in (State.AWAY, State.HERE) for span in spans),
    )


def _bad_s(spans: Sequence[LaneSpan], axis: Axis) -> float:
    """The seconds in which something is out or unknown, weighed by their shares."""
    bad = [each for each in _segments(spans, axis) if each.state not in (State.AWAY, State.HERE)]
    return sum((each.end_s - each.start_s) * each.share for each in bad)


def _told(span: LaneSpan) -> str:
    """A span in words: `out from 8m5s (8m to 8m12s) to the end, in 59% of simulations`."""
    until = f"until {_moment(span.end)}" if span.end else "to the end"
    share = f", in {said_share(span.share)} of simulations" if span.share < CERTAIN else ""
    what = span.label or WORDS.get(span.state, span.state.value)
    return f"{what} from {_moment(span.begin)} {until}{share}"


def _moment(when: LaneMoment) -> str:
    typical, earliest, latest = map(_at, (when.t_s, when.earliest_s, when.latest_s))
    return typical if typical == earliest == latest else f"{typical} ({earliest} to {latest})"


def _at(t_s: float) -> str:
    """A moment, from 10 s on in whole seconds."""
    return short_duration(t_s if t_s < WHOLE_S else round(t_s))


def _sum(spans: Sequence[LaneSpan], lane: str, axis: Axis) -> str:
    """What stands at the end of a line: how long it is out, in which share; of Pods, the worst that happens to them."""
    if lane == PLACEMENT:
        return _in_share(max(span.share for span in spans))
    if lane == PODS:
        worst = min(spans, key=lambda span: (BADNESS[span.state], -span.begin.t_s))
        return f"{worst.count} {worst.label}"
    segments = _segments(spans, axis)
    if any(each.state is State.UNSEEN for each in segments):
        return "unknown"
    what = "partial, " if all(each.state is State.FAILING for each in segments) else ""
    last = [each for each in segments if each.end_s >= axis.end_s]
    if last:
        return f"{what}to the end{_in_share(min(1.0, sum(each.share for each in last)))}"
    periods = united((each.start_s, each.end_s) for each in segments)
    lasts = sum(length_s(each, axis.end_s) for each in periods)
    return f"{what}{_at(lasts)}{_in_share(max(each.share for each in segments))}"


def _in_share(share: float) -> str:
    return f" in {said_share(share)}" if share < CERTAIN else ""


def _segments(spans: Sequence[LaneSpan], axis: Axis) -> list[Segment]:
    """Return the shares of each state between any two edges; the shares of what overlaps are added up."""
    edges: dict[tuple[State, str], set[float]] = defaultdict(set)
    ends = [(span, span.begin.t_s, span.end.t_s if span.end else axis.end_s) for span in spans]
    for span, start_s, end_s in ends:
        edges[span.state, span.label] |= {start_s, max(start_s, end_s)}
    return [
        Segment(state, start_s, end_s, min(1.0, share), label)
        for (state, label), moments in edges.items()
        for start_s, end_s in pairwise(sorted(moments))
        if (
            share := sum(
                span.share
                for span, begin_s, until_s in ends
                if (span.state, span.label) == (state, label) and begin_s <= start_s and end_s <= until_s
            )
        )
        > 0
    ]


def _line(name: str, lane: str, spans: Sequence[LaneSpan], axis: Axis) -> Markup:
    segments = sorted(_segments(spans, axis), key=lambda each: -BADNESS[each.state])
    quiet = "" if lane == PLACEMENT else '<rect class="q" x="0" width="100%" y="10" height="2"/>'
    parts = [
        quiet,
        *(_bar(each, name, axis) for each in segments),
        *(_range(when, span, axis) for span in spans for when in (span.begin, span.end) if when),
    ]
    label = escape(f"{name}: {'; '.join(map(_told, spans)) or 'as before the cut'}")
    about = f'height="{HEIGHT_PX}" role="group" aria-label="{label}"'
    return Markup(f'<svg class="line" {about}>{"".join(parts)}</svg>')  # noqa: S704  escaped, each part


def _bar(segment: Segment, name: str, axis: Axis) -> str:
    css, top, height = HALF_HEIGHT if segment.state is State.FAILING else SHAPES[segment.state]
    left, right = axis.percent(segment.start_s), axis.percent(segment.end_s)
    width = max(right - left, THINNEST_PERCENT)
    certain = segment.share >= CERTAIN
    pale = "" if certain else f' opacity="{max(0.15, segment.share):.2f}"'
    rect = f'<rect class="{css}"{pale} x="{left:.2f}%" width="{width:.2f}%" y="{top}" height="{height}"/>'
    share = "" if certain else f", in {said_share(segment.share)} of simulations"
    what = segment.label or WORDS.get(segment.state, segment.state.value)
    text = escape(f"{name}: {what}, {_at(segment.start_s)} to {_at(segment.end_s)}{share}")
    shown = "" if certain or width < LABELLED_PERCENT else said_share(segment.share)
    mark = (
        f'<text class="share" x="{(left + right) / 2:.2f}%" y="15" text-anchor="middle">{shown}</text>'
        if shown
        else ""
    )
    return f'<g tabindex="0" role="img" aria-label="{text}"><title>{text}</title>{rect}{mark}</g>'


def _range(when: LaneMoment, span: LaneSpan, axis: Axis) -> str:
    """Draw from when to when an edge may be."""
    left, right = axis.percent(when.earliest_s), axis.percent(when.latest_s)
    if right - left < SHOWN_PERCENT:
        return ""
    text = escape(f"{span.label or WORDS.get(span.state, '')}: {_moment(when)}")
    ends = "".join(f'<line x1="{x:.2f}%" x2="{x:.2f}%" y1="8" y2="14"/>' for x in (left, right))
    return (
        f'<g class="r"><title>{text}</title>'
        f'<line x1="{left:.2f}%" x2="{right:.2f}%" y1="11" y2="11"/>{ends}</g>'
    )
