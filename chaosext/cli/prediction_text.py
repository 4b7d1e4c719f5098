"""A prediction as text: the outcome, when events happen and how likely, DNS per node, and advice."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.model.duration_text import short_duration
from chaosext.model.printable import one_line
from chaosext.model.timeline import Kind
from chaosext.rehearsal.predict.impact_lines import impact_lines
from chaosext.rehearsal.simulate.prediction import DNS_OUTAGE_S, NO_EFFECT, NO_TIME, Dns, said_share
from chaosext.report.data.predicted_lanes import LaneFacts, predicted_lanes
from chaosext.report.render.screen import COLUMNS
from chaosext.report.sentences.lane_notes import lane_note
from chaosext.report.sentences.prediction_sentences import (
    Light,
    at,
    basis_sentence,
    outage_text,
    routes_failure,
    verdict_sentence,
)
from chaosext.report.units import clipped, names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.simulate.prediction import Advice, DnsView, PredictedEvent, Prediction

TOGETHER_S = 10.0
"""Equal lines about several objects are merged if they begin within this time, seconds."""

MANY_ROWS = 80

USUAL = 0.5
"""Less likely endpoint events are merged per object: which of many Pods is lost first is random."""


def prediction_lines(found: Prediction, *, whole: bool = False) -> Iterator[str]:
    """Yield all details of the prediction; with `whole` a line for each event and each node."""
    yield f"prediction: {found.headline}"
    yield from outcome_lines(found)
    yield from _block("impact", impact_lines(found.impact))
    yield from basis_lines(found)
    yield from timeline_block(found, whole=whole)
    yield from _block(
        "DNS per node (during the cut, after the heal, after a rollback, and outages on the way)",
        _dns_lines(found, whole=whole),
    )
    yield from _block("workloads (Pods, on average)", _workload_lines(found))
    yield from _block("advice", advice_lines(found.advice))


def outcome_lines(found: Prediction) -> Iterator[str]:
    """Yield each outcome of DNS and each outage on the way, with its share."""
    for outcome in found.outcomes:
        yield f"  {outcome.probability:>4.0%}  DNS after the heal: {outcome.dns_after_heal.value}: {outcome.why}"
    for outage in found.outages:
        yield f"  {outage.probability:>4.0%}  {outage_text(outage)}"
    if found.routes_lost.probability:
        yield f"  {found.routes_lost.probability:>4.0%}  {routes_failure(found)}"


def basis_lines(found: Prediction) -> Iterator[str]:
    """Yield what the prediction rests on: timings, routes, method, evidence, and what is assumed or unknown."""
    timings = found.timings
    yield (
        f"timings: nodes become NotReady after {short_duration(timings['node_monitor_grace_period_s'])}, "
        f"Pods evicted {short_duration(timings['default_toleration_s'])} later ({timings['source']})"
    )
    if found.routes.holds:
        yield f"routes: {found.routes.rests_on}"
    yield f"method: {found.method}"
    yield from _block(
        "evidence", (f"{each.part}: {each.evidence.value} ({each.rests_on})" for each in found.evidence)
    )
    yield from _block("routes are not proven", map(str, found.routes.doubts))
    yield from _block("not modelled", map(str, found.doubts))
    yield from _block("depends on an assumption", map(str, found.otherwise))
    yield from _block("assumed", found.assumptions)


def timeline_block(found: Prediction, *, whole: bool = False) -> Iterator[str]:
    """Yield the table of events."""
    yield from _block("events", timeline_lines(found.timeline, whole=whole))


def brief_lines(found: Prediction) -> Iterator[str]:
    """Yield the prediction before a run: the verdict, what it rests on, what users lose, and what happens when."""
    yield str(verdict_sentence(found))
    yield from outcome_lines(found)
    yield basis_sentence(found)
    yield from (f"  {line}" for line in impact_lines(found.impact))
    facts = LaneFacts.seen_in(found)
    for lane in predicted_lanes(found, facts) if facts else ():
        if lane.rows:
            yield f"  {lane.title}: {lane_note(lane, found)}"


def timeline_lines(events: Sequence[PredictedEvent], *, whole: bool = False) -> Iterator[str]:
    """Yield a table of the events: typical, earliest and latest time, probability, kind, object, source."""
    rows = [_Row([event]) for event in events] if whole else _folded(events)
    yield f"{'typical':>8}  {'range':<17}  {'likely':>6}  {'what':<18} object, detail [source]"
    for row in rows:
        yield str(row)


@dataclass(slots=True)
class _Row:
    """Similar events of one kind in one row."""

    events: list[PredictedEvent]

    def __str__(self) -> str:
        first = self.events[0]
        earliest, latest = min(e.t_min_s for e in self.events), max(e.t_max_s for e in self.events)
        likely = max(event.probability for event in self.events)
        details = {event.detail for event in self.events}
        said = first.detail if len(details) == 1 else f"{len(details)} different ways"
        whom = _whom([event.object for event in self.events])
        return (
            f"{at(first.t_s):>8}  {f'{at(earliest)}-{at(latest)}':<17}  {said_share(likely):>6}  "
            f"{first.kind.value:<18} {whom}{': ' + said if said else ''} [{first.source}]"
        )


def _folded(events: Sequence[PredictedEvent]) -> list[_Row]:
    """Merge events into a readable number of rows: those with equal details; in large clusters, of one kind."""
    fine = _rows(events, lambda event: event.detail)
    return fine if len(fine) <= MANY_ROWS else _rows(events, lambda event: "")


def _rows(events: Iterable[PredictedEvent], detail: Callable[[PredictedEvent], str]) -> list[_Row]:
    rows: list[_Row] = []
    newest: dict[tuple[str, ...], _Row] = {}
    for event in events:
        by_chance = event.kind is Kind.ENDPOINTS_CHANGED and event.probability < USUAL
        key = (event.kind.value, event.source, event.object if by_chance else detail(event))
        row = newest.get(key)
        if row is None or event.t_s - row.events[0].t_s > TOGETHER_S:
            row = newest[key] = _Row([])
            rows.append(row)
        row.events.append(event)
    return rows


def _whom(objects: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(objects))
    if len(distinct) == 1:
        return f"{distinct[0]}{f' ({len(objects)} times)' if len(objects) > 1 else ''}"
    kind = distinct[0].partition("/")[0]
    return f"{_number(objects)} × {kind}: {names(distinct, at_most=2)}"


def _number(objects: Sequence[str]) -> int:
    """Count objects, not events: new Pods of a workload share one name, and have an event each."""
    return len({name for name in objects if not name.endswith("-*")}) + sum(
        name.endswith("-*") for name in objects
    )


def _dns_lines(found: Prediction, *, whole: bool) -> Iterator[str]:
    alike: dict[object, list[str]] = defaultdict(list)
    for node, view in sorted(found.dns_per_node.items()):
        worst = view.outage.worst if view.outage and view.outage.probability else None
        alike[node if whole else (view.states, worst)].append(node)
    for nodes in alike.values():
        said = f"{len(nodes)} nodes, " if len(nodes) > 1 else ""
        views = [found.dns_per_node[node] for node in nodes]
        yield f"{_states(views[0])}  {said}{names(nodes, at_most=3)}{_outage(views)}"


def _outage(views: Iterable[DnsView]) -> str:
    """Return the longest outage of views with the same states."""
    outages = [view.outage for view in views if view.outage and view.outage.probability]
    if not outages:
        return ""
    worst = max(outages, key=lambda each: each.max_s)
    return f": {worst.worst.value} for up to {at(worst.max_s)}"


def _states(view: DnsView) -> str:
    return "  ".join(f"{state.value if state else '':<10}" for state in view.states)


def _workload_lines(found: Prediction) -> Iterator[str]:
    for name, counts in found.workloads.items():
        hit = {what: number for what, number in counts.items() if number is None or round(number, 1)}
        if hit:
            yield f"{name}: " + ", ".join(
                f"{what} unknown" if number is None else f"{number:.1f} {what}"
                for what, number in hit.items()
            )


def advice_lines(advice: Iterable[Advice]) -> Iterator[str]:
    """Yield each mitigation with its effect and what to apply, the most helpful first."""
    for rank, each in enumerate(advice, start=1):
        yield f"{rank}. {each.mitigation}: {each.effect}"
        if each.effect not in (NO_EFFECT, NO_TIME):
            yield from (f"     {line}" for line in each.how.splitlines())


MOST_AFTER = 29
"""Columns of DNS after the heal; a fourth outcome is cut off."""

FULL = 20
"""With more scenarios than this, their verdict is said again after the table."""


def scenario_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the verdict on all scenarios, then a line for each, in at most 100 columns."""
    verdict = _of_scenarios(rows)
    cells = [("verdict", "nodes", "cut", "DNS during", "DNS after the heal", "no DNS", "scenario")]
    cells += map(_cells, rows)
    after = min(MOST_AFTER, max(len(row[4]) for row in cells))
    yield verdict
    for verdict_, nodes, cut, during, then, lost, name in cells:
        then_ = f"{clipped(then, after):<{after}}"
        yield clipped(f"{verdict_:<9} {nodes:>5} {cut:>6}  {during:<10}  {then_}  {lost:>6}  {name}", COLUMNS)
    if len(rows) > FULL:
        yield verdict


def _cells(row: Mapping[str, Any]) -> tuple[str, str, str, str, str, str, str]:
    after = (f"{each['dns_after_heal']} {said_share(each['probability'])}" for each in row["outcomes"])
    cuts = f"{row['cuts']} cuts, " if row["cuts"] > 1 else ""
    added = f" with {', '.join(row['with'])}" if row["with"] else ""
    lost_s = _without_dns_s(row)
    return (
        row["verdict"],
        str(row["cut_nodes"]),
        short_duration(row["cut_for_s"]),
        row["dns"]["during_cut"],
        ", ".join(after),
        at(lost_s) if lost_s else "-",
        one_line(f"{cuts}{row['name']}{added}"),
    )


def _without_dns_s(row: Mapping[str, Any]) -> float:
    """Return the longest time without DNS that no cut explains."""
    dead = (each for each in row["dns"]["outages"] if each["worst"] == Dns.DEAD.value)
    return max((float(each["max_s"]) for each in dead), default=0.0)


def _of_scenarios(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how many scenarios fail, counting long outages of DNS as the gate does by default."""
    kinds = Counter(
        "without DNS for long"
        if row["verdict"] == "passed" and _without_dns_s(row) > DNS_OUTAGE_S
        else row["verdict"]
        for row in rows
    )
    failed = kinds["deviated"] + kinds["without DNS for long"]
    light = Light.NOT_OK if failed else Light.UNKNOWN if kinds["unknown"] else Light.OK
    said = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return f"{light}: {failed} of {len(rows)} scenarios fail{'s' * (failed == 1)} ({said})"


def _block(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield f"{title}:"
        yield from (f"  {line}" for line in found)
