"""The most important of each predicted lane, in a few words. Pure."""

from __future__ import annotations

from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING

from chaosext.model.result import Lane
from chaosext.rehearsal.simulate.prediction import CERTAIN, RARE, said_share
from chaosext.report.data.lane_state import CUT, PLACEMENT, PODS, State
from chaosext.report.data.predicted_lanes import LaneMoment
from chaosext.report.sentences.prediction_sentences import LEAST, at, kube_dns_move, when
from chaosext.report.units import names, natural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.report.data.predicted_lanes import LaneSpan, PredictedLane


def lane_note(lane: PredictedLane, found: Prediction, width: float = inf) -> str:
    """Say the most important of a lane: how many objects, since when. At most `width` characters, where it can be."""
    every = list(_notes(lane, found))
    return next((each for each in every if len(each) <= width), every[-1])


def _notes(lane: PredictedLane, found: Prediction) -> Iterator[str]:
    """Yield a note, and shorter ones; at least one."""
    rows = [(row.name, span) for row in lane.rows if row.counts for span in row.spans if span.share > RARE]
    if lane.key == CUT:
        begins, ends = rows[0][1].begin.t_s, (rows[-1][1].end or rows[-1][1].begin).t_s
        several = f"{len(rows)} cuts, " if len(rows) > 1 else ""
        yield f"{several}{at(begins)} to {at(ends)}"
    elif any(span.state is State.UNSEEN for _, span in rows):
        yield "unknown"
    elif lane.key == PLACEMENT:
        yield from _placement_notes(lane, found)
    elif (worst := _worst(rows)) is None:
        yield _quiet_note(lane.key, found)
    else:
        alike = _without_brief([(name, span) for name, span in rows if _alike(span, worst)], worst)
        number = (
            sum(span.count for _, span in alike) if lane.key == PODS else len({name for name, _ in alike})
        )
        share, spans = _share_of(lane.key, alike), [span for _, span in alike]
        names_ = {span.label or span.state.name for span in spans}
        said = _NOTES.get((lane.key, *sorted(names_)), "{n} affected").format(n=number)
        yield from (f"{_chance(share)}{said} {each}" for each in _times(spans))


def _chance(share: float) -> str:
    return f"{said_share(share)}: " if share < CERTAIN else ""


_NOTES = {
    (Lane.NODE_READY, State.AWAY.name): "{n} NotReady",
    (Lane.DNS, State.OUT.name): "down on {n}",
    (Lane.DNS, State.FAILING.name): "partial on {n}",
    (Lane.DNS, State.FAILING.name, State.OUT.name): "failing on {n}",
    (Lane.XDS, State.OUT.name): "without istiod",
    (PODS, "evicted"): "{n} evicted",
    (PODS, "Pending"): "{n} Pending",
    (PODS, "probes fail"): "{n} fail probes",
    (PODS, "crash loop"): "{n} crash-loop",
}


def _share_of(lane: str, rows: Iterable[tuple[str, LaneSpan]]) -> float:
    """Return in how many simulations it happens: to the object that it happens to most often, or to any Pod."""
    shares: dict[str, float] = defaultdict(float)
    for name, span in rows:
        shares[name] += span.share
    return min(1.0, sum(shares.values()) if lane == PODS else max(shares.values()))


def _times(spans: Sequence[LaneSpan]) -> Iterator[str]:
    """Yield when the spans begin and end, with the range of the begin; then shorter forms."""
    first = min(span.begin for span in spans)
    begin = LaneMoment(first.t_s, first.earliest_s, max(span.begin.latest_s for span in spans))
    ends = [span.end.t_s for span in spans if span.end]
    if len(ends) == len(spans) and max(ends) > begin.t_s:
        yield f"{when(begin)} to {at(max(ends))}"
        yield f"{at(begin.t_s)} to {at(max(ends))}"
    since = "at" if len(ends) == len(spans) else "from"
    yield f"{since} {when(begin)}"
    yield f"{since} {at(begin.t_s)}"


BRIEF, ENDLESS_S = 0.25, 86_400.0

_SERIOUS = (State.OUT, State.FAILING, State.AWAY)
_LABELS = ("crash loop", "probes fail", "", "evicted", "Pending")
"""What matters most comes first."""


def _worst(rows: Sequence[tuple[str, LaneSpan]]) -> LaneSpan | None:
    """Return what matters most: what lasts to the end, then the worst state, then the longest in most simulations."""

    def rank(span: LaneSpan) -> tuple[bool, bool, int, int, float]:
        length = (span.end.t_s if span.end else inf) - span.begin.t_s
        share = span.share if span.share >= LEAST else 0.0
        return (
            not share,
            span.end is not None,
            _LABELS.index(span.label),
            _SERIOUS.index(span.state),
            -length * share if share else 0.0,
        )

    return min((span for _, span in rows), key=rank, default=None)


def _alike(span: LaneSpan, other: LaneSpan) -> bool:
    """Whether one note can say both: what lasts to the end, or the same at about the same time."""
    if span.label != other.label or (span.end is None) != (other.end is None):
        return False
    return span.end is None or (span.share >= LEAST and _overlap(span.begin, other.begin))


def _without_brief(rows: Sequence[tuple[str, LaneSpan]], worst: LaneSpan) -> Sequence[tuple[str, LaneSpan]]:
    """Leave out other states that last much shorter than the worst one: a node is on its way to it."""
    others = [(name, span) for name, span in rows if span.state is not worst.state]
    same = [(name, span) for name, span in rows if span.state is worst.state]
    return same if _weight(others) < BRIEF * _weight(same) else rows


def _weight(rows: Sequence[tuple[str, LaneSpan]]) -> float:
    return sum(span.share * ((span.end.t_s if span.end else ENDLESS_S) - span.begin.t_s) for _, span in rows)


def _overlap(moment: LaneMoment, other: LaneMoment) -> bool:
    return moment.earliest_s <= other.latest_s and other.earliest_s <= moment.latest_s


def _placement_notes(lane: PredictedLane, found: Prediction) -> Iterator[str]:
    move = kube_dns_move(found, [lane])
    if move:
        number = f"{len(move.nodes)} node{'s' * (len(move.nodes) > 1)}"
        for where in (names(move.nodes, at_most=2), number):
            yield f"{_chance(move.share)}to {where} {when(move.at)}"
        yield f"{_chance(move.share)}to {number} {at(move.at.t_s)}"
    else:
        stay = sorted((row.name for row in lane.rows), key=natural)
        yield f"stays on {names(stay, at_most=2)}" if stay else "not in the snapshot"
        yield f"stays on {len(stay)} node{'s' * (len(stay) > 1)}"


def _quiet_note(key: str, found: Prediction) -> str:
    if key == Lane.XDS and not found.mesh.get("present"):
        return "no mesh"
    quiet: dict[str, str] = {
        Lane.NODE_READY: "all stay Ready",
        Lane.DNS: "works",
        Lane.XDS: "in sync",
        PODS: "none evicted",
    }
    return quiet.get(key, "")
