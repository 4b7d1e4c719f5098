"""The answer of a rehearsal on one screen: verdict, causes, impact, six lanes, fixes, and what to run next. Pure."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from math import floor
from typing import TYPE_CHECKING

from chaosext.model.duration_text import short_duration
from chaosext.model.result import Lane
from chaosext.report.data.lane_state import CUT, PLACEMENT, PODS, State
from chaosext.report.data.predicted_lanes import LaneFacts, LaneMoment, predicted_lanes
from chaosext.report.render.screen import (
    COLUMNS,
    EMPTY,
    LABEL,
    ScreenBlock,
    ScreenRow,
    Tone,
    screen,
    wrapped,
)
from chaosext.report.sentences.lane_notes import lane_note
from chaosext.report.sentences.prediction_sentences import (
    Light,
    basis_sentence,
    causes,
    cut_sentence,
    fixes,
    impact_sentences,
    recovery_sentence,
    verdict_sentence,
)
from chaosext.report.units import clipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.snapshot.world import World
    from chaosext.report.data.predicted_lanes import LaneSpan, PredictedLane

NOTE = 40
"""Columns of the note beside a lane; label and lane have the others."""

STEPS_S = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600)
"""Possible distances between two labels of the axis, seconds."""

TICK = 6
"""Columns that a label of the axis needs."""

NAMES = {
    CUT: "cut",
    Lane.NODE_READY: "nodes",
    PLACEMENT: "kube-dns",
    Lane.DNS: "DNS",
    Lane.XDS: "mesh",
    PODS: "Pods",
}

LEGEND = "# bad  ~ expected  + rarer  ? unknown"

OFTEN, EVER = 0.5, 0.005
"""Shares of simulations from which on a state is drawn as itself, and at all."""

FINE, RARER = ".", "+"
MARKS = {
    State.UNSEEN: "?",
    State.OUT: "#",
    State.FAILING: "#",
    State.AWAY: "~",
    State.ASTRAY: "x",
    State.HERE: "o",
}
"""State -> its character, the worst first."""

TONES = {
    "#": Tone.BAD,
    "x": Tone.BAD,
    "?": Tone.WARN,
    "+": Tone.WARN,
    "~": Tone.WARN,
    "=": Tone.TITLE,
    "o": Tone.GOOD,
    FINE: Tone.FAINT,
    " ": Tone.PLAIN,
}
NEVER = LaneMoment(-1.0, -1.0, -1.0)

LIGHTS = {Light.OK: Tone.GOOD, Light.NOT_OK: Tone.BAD, Light.UNKNOWN: Tone.WARN}


def prediction_screen(
    found: Prediction,
    world: World,
    plan: Plan,
    next_steps: Sequence[str] = (),
    columns: int = COLUMNS,
) -> tuple[ScreenRow, ...]:
    """Return the screen; `next_steps` are commands."""
    lanes = predicted_lanes(found, LaneFacts.of(world, plan))
    verdict, width = verdict_sentence(found, plan.cut_nodes), columns - LABEL
    why = [each for each in causes(found, lanes, width) if each not in (verdict.text, found.routes.why_not)]
    settles = [each for each in verdict.settles if each != verdict.text]
    said = {f"unknown: {each}" for each in verdict.settles}
    impact = [each for each in impact_sentences(found, width) if each not in said]
    return screen(
        (
            verdict_block(verdict.light, verdict.text, LIGHTS[verdict.light], columns),
            ScreenBlock(label="Settle", texts=settles, deep=2, most=3),
            ScreenBlock(label="Cut", texts=[cut_sentence(plan, len(world.nodes), width)], most=1),
            ScreenBlock(label="Why", texts=why, deep=2, most=3),
            ScreenBlock(label="Impact", texts=impact, most=4),
            ScreenBlock(
                label="Recovery", texts=[recovery_sentence(found, lanes, plan.rollback_s)], deep=2, most=2
            ),
            ScreenBlock(label="Basis", texts=[f"{basis_sentence(found)} (-v)"], most=1),
            GAP,
            chart_block(lanes, found, plan.horizon_s, columns),
            GAP,
            fix_block([(each.name, str(each)) for each in fixes(found)]),
            ScreenBlock(
                label="Next", texts=next_steps, tone=Tone.COMMAND, most=4, least=2, are_commands=True
            ),
        ),
        columns,
    )


GAP = ScreenBlock(rows=(EMPTY,), most=1, least=0)


def verdict_block(word: str, text: str, tone: Tone, columns: int = COLUMNS) -> ScreenBlock:
    """Return the verdict in at most two rows, its first word in colour."""
    first, *more = wrapped(f"{word}: {text}", columns, 2)
    head = ScreenRow.of((first[: len(word)], tone), (first[len(word) :], Tone.TITLE))
    return ScreenBlock(rows=(head, *(ScreenRow.of((line, Tone.TITLE)) for line in more)), most=2)


def fix_block(found: Sequence[tuple[str, str]]) -> ScreenBlock:
    """Return a row for each fix: its name, and what it achieves at which price."""
    width = max((len(name) for name, _ in found), default=0)
    return ScreenBlock(label="Fix", texts=[f"{name:<{width}}  {what}" for name, what in found], most=4)


# -- the lanes -----------------------------------------------------------------------------------------------------


def chart_block(
    lanes: Sequence[PredictedLane], found: Prediction, horizon_s: float, columns: int = COLUMNS
) -> ScreenBlock:
    """Return the lanes on a common axis; no rows if there are none."""
    if not lanes:
        return ScreenBlock(most=0, least=0)
    width = columns - LABEL - NOTE - 2
    axis = f"{ticks(horizon_s, width):<{width}}  {LEGEND}"
    head = ScreenRow.of((" " * LABEL, Tone.PLAIN), (axis, Tone.FAINT), columns=columns)
    rows = (_lane_row(lane, found, horizon_s, width) for lane in lanes)
    return ScreenBlock(rows=(head, *rows), most=len(lanes) + 1, least=len(lanes) + 1)


def ticks(horizon_s: float, width: int) -> str:
    """Return the labels of the axis, each beginning at its column."""
    most = width // TICK
    step_s = next((each for each in STEPS_S if horizon_s / each <= most), STEPS_S[-1])
    line = ""
    for number in range(int(horizon_s / step_s) + 1):
        at = floor(number * step_s / horizon_s * width)
        label = short_duration(number * step_s)
        if at + len(label) <= width and (not line or at > len(line)):
            line = f"{line:<{at}}{label}"
    return line


def _lane_row(lane: PredictedLane, found: Prediction, horizon_s: float, width: int) -> ScreenRow:
    cells = lane_cells(lane, horizon_s, width)
    marks = [("".join(same), TONES[mark]) for mark, same in groupby(cells)]
    name = f"{NAMES.get(lane.key, lane.title):<{LABEL}}"
    return ScreenRow.of(
        (name, Tone.TITLE), *marks, (f"  {clipped(lane_note(lane, found, NOTE), NOTE)}", Tone.PLAIN)
    )


def lane_cells(lane: PredictedLane, horizon_s: float, width: int) -> str:
    """Return a character for each slice of time: the worst state that is likely in it, or that some simulation has."""
    step_s = horizon_s / width
    rows = [row.spans for row in lane.rows if row.counts]
    alike = rows if lane.key == PLACEMENT else list({_look(each, step_s): each for each in rows}.values())
    slices = ((at * step_s, (at + 1) * step_s) for at in range(width))
    if lane.key == CUT:
        return "".join("=" if _shares(alike, each, max) else FINE for each in slices)
    together = sum if lane.key == PLACEMENT else max
    return "".join(_mark(_shares(alike, each, together), lane.key) for each in slices)


def _look(spans: Sequence[LaneSpan], step_s: float) -> tuple[object, ...]:
    """Return what a row looks like: thousands of nodes have few looks."""
    return tuple(
        (
            span.state,
            round(span.share, 2),
            *(round(each / step_s) for each in (*span.begin, *(span.end or NEVER))),
        )
        for span in spans
    )


def _shares(
    rows: Iterable[Sequence[LaneSpan]],
    slice_s: tuple[float, float],
    together: Callable[[Iterable[float]], float],
) -> Mapping[State, float]:
    """Return state -> the share of simulations that have it in this slice, over all rows `together`."""
    found: dict[State, list[float]] = defaultdict(list)
    for spans in rows:
        own: dict[State, float] = defaultdict(float)
        for span in spans:
            own[span.state] += _share(span, *slice_s)
        for state, share in own.items():
            found[state].append(share)
    return {state: min(1.0, together(shares)) for state, shares in found.items() if together(shares) > 0}


def _share(span: LaneSpan, since_s: float, until_s: float) -> float:
    """Return the share of simulations in which the span overlaps a slice of time."""
    still = 1.0 - chance_by(span.end, since_s) if span.end else 1.0
    return span.share * chance_by(span.begin, until_s) * still


def chance_by(moment: LaneMoment, t_s: float) -> float:
    """Return the probability that it happens before `t_s`: half before its typical time, evenly up to each end."""
    if t_s <= moment.earliest_s:
        return 0.0
    if t_s >= moment.latest_s:
        return 1.0
    if t_s < moment.t_s:
        return 0.5 * (t_s - moment.earliest_s) / (moment.t_s - moment.earliest_s)
    return 0.5 + 0.5 * (t_s - moment.t_s) / (moment.latest_s - moment.t_s)


def _mark(shares: Mapping[State, float], lane: str) -> str:
    for least in (OFTEN, EVER):
        for state, mark in MARKS.items():
            if shares.get(state, 0.0) >= least:
                return mark if least is OFTEN else RARER
    return " " if lane == PLACEMENT else FINE
