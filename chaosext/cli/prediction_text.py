"""A prediction as text: the outcome, when events happen and how likely, DNS per node, and advice."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.model.timeline import Kind
from chaosext.rehearsal.predict.impact_lines import impact_lines
from chaosext.rehearsal.simulate.prediction import NO_EFFECT, NO_TIME
from chaosext.report.units import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.simulate.prediction import Advice, DnsView, PredictedEvent, Prediction

TOGETHER_S = 10.0
"""Equal lines about several objects are merged if they begin within this time, seconds."""

MANY_ROWS = 80

USUAL = 0.5
"""Less likely endpoint events are merged per object: which of many Pods is lost first is random."""


def prediction_lines(found: Prediction, *, whole: bool = False) -> Iterator[str]:
    """Yield the whole prediction; with `whole` a line for each event and each node."""
    yield from headline(found)
    yield from _block("impact", impact_lines(found.impact))
    yield from _block("routes are not proven", map(str, found.routes.doubts))
    yield from _block("not modelled", map(str, found.doubts))
    yield from _block("depends on an assumption", map(str, found.otherwise))
    yield from _block("assumed", found.assumptions)
    yield from _block("events", timeline_lines(found.timeline, whole=whole))
    yield from _block(
        "DNS per node (during the cut, after the heal, after a rollback, and outages on the way)",
        _dns_lines(found, whole=whole),
    )
    yield from _block("workloads (Pods, on average)", _workload_lines(found))
    yield from _block("advice", advice_lines(found.advice))


def headline(found: Prediction) -> Iterator[str]:
    """Yield the outcome and the timings, in a few lines."""
    yield f"prediction: {found.headline}"
    for outcome in found.outcomes:
        yield f"  {outcome.probability:>4.0%}  DNS after the heal: {outcome.dns_after_heal.value}: {outcome.why}"
    for outage in found.outages:
        yield f"  {outage.probability:>4.0%}  {outage}"
    if found.routes_lost.probability:
        lost = found.routes_lost
        yield (
            f"  {lost.probability:>4.0%}  {lost.nodes} nodes lose routes to Pods on nodes "
            f"that they are not cut off from, {lost.earliest_s:.0f} to {lost.latest_s:.0f} s after the cut, "
            "until the network is back"
        )
    timings = found.timings
    yield (
        f"timings: nodes become NotReady after {timings['node_monitor_grace_period_s']:g} s, "
        f"Pods evicted {timings['default_toleration_s']:g} s later ({timings['source']})"
    )
    if found.routes.holds:
        yield f"routes: {found.routes.rests_on}"
    yield f"method: {found.method}"
    if found.evidence:
        weakest = ", ".join(each.part for each in found.evidence if each.evidence is found.weakest)
        yield f"evidence: {found.weakest.value} ({weakest})"


BRIEFLY = (
    Kind.NODE_NOT_READY,
    Kind.POD_EVICTED,
    Kind.DNS_DEAD,
    Kind.DNS_RESTORED,
    Kind.XDS_LOST,
    Kind.XDS_RESTORED,
    Kind.CRASH_LOOP,
    Kind.HEAL,
    Kind.ROLLBACK,
)
"""Events that matter before a cut is made."""


def brief_lines(found: Prediction) -> Iterator[str]:
    """Yield the prediction before a run: the outcome and its milestones."""
    yield from headline(found)
    yield from (f"  {line}" for line in impact_lines(found.impact))
    told = [event for event in found.timeline if event.kind in BRIEFLY and event.probability >= USUAL]
    yield from (f"  {line}" for line in timeline_lines(told))


def timeline_lines(events: Sequence[PredictedEvent], *, whole: bool = False) -> Iterator[str]:
    """Yield a table of the events: typical, earliest and latest time, probability, kind, object, source."""
    rows = [_Row([event]) for event in events] if whole else _folded(events)
    yield f"{'typical':>10}  {'earliest to latest':>20}  {'likely':>6}  {'what':<18} object, detail [source]"
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
            f"{first.t_s:8.1f} s  {f'{earliest:.1f} to {latest:.1f} s':>20}  {likely:>6.0%}  "
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
    return f"{len(objects)} × {kind}: {names(distinct, at_most=2)}"


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
    return f": {worst.worst.value} for up to {worst.max_s:.0f} s"


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


def scenario_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each scenario, and how many end with each verdict."""
    verdicts: Counter[str] = Counter()
    yield f"{'verdict':<9} {'nodes':>6} {'cut':>7}  {'DNS during':<11} {'after the heal':<24} scenario"
    for row in rows:
        verdicts[row["verdict"]] += 1
        after = ", ".join(f"{each['dns_after_heal']} {each['probability']:.0%}" for each in row["outcomes"])
        added = f" with {', '.join(row['with'])}" if row["with"] else ""
        cuts = f", {row['cuts']} cuts" if row["cuts"] > 1 else ""
        what = f"{row['verdict']:<9} {row['cut_nodes']:>6} {row['cut_for_s']:>5g} s"
        yield f"{what}  {row['dns']['during_cut']:<11} {after:<24} {row['name']}{cuts}{added}"
    yield "in all: " + ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))


def _block(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield f"{title}:"
        yield from (f"  {line}" for line in found)
