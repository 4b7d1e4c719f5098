"""The gate's decision in words: for the terminal, and as a page of Markdown for a change ticket. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.gate.decision import Decision, Weight
from chaosext.gate.likelihood import percent
from chaosext.model.duration_text import short_duration
from chaosext.model.findings import Status
from chaosext.model.timeline import Kind
from chaosext.rehearsal.predict.impact_lines import impact_lines
from chaosext.rehearsal.simulate.prediction import Forecast
from chaosext.report.render.markdown import fenced, plain, points, section, table
from chaosext.report.sentences.how_long import how_long, shortest
from chaosext.report.units import clipped, listed, names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.gate.decision import Weighed
    from chaosext.gate.rehearsed import Rehearsed
    from chaosext.gate.remedies import Remedy
    from chaosext.gate.ticket import Sheet
    from chaosext.rehearsal.simulate.planned_cut import Flap
    from chaosext.rehearsal.simulate.prediction import PredictedEvent, Prediction

HEADLINES = {
    Decision.GO: "Go",
    Decision.NO_GO: "No-go",
    Decision.NOT_KNOWN: "No-go: the outcome is unknown",
}

USUAL = 0.05
"""Events with a lower probability are left out; they still count in the probabilities."""

LONGEST = 220
"""Maximum characters of a text from elsewhere; --json has all of it."""

WORDS = {
    Status.HEALTHY: "ok",
    Status.UNHEALTHY: "not ok",
    Status.UNKNOWN: "unknown",
    Status.NOT_APPLICABLE: "not applicable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckLine:
    """A check's line: its name, its answer in a word, and the details."""

    check: str
    answer: str
    said: str


def text_lines(sheet: Sheet) -> Iterator[str]:
    """The decision as lines for the terminal."""
    yield f"{HEADLINES[sheet.decision].lower()} (exit {sheet.decision.exit_code}): {sheet.cutover.title}"
    yield from (f"  {name}: {said}" for name, said in facts(sheet))
    yield from _block("reasons", reasons(sheet))
    for each in sheet.judgement.rehearsed:
        yield from _block(f"prediction for {_cut(each)}", expected(each.prediction))
    for number, remedy in enumerate(sheet.remedies, start=1):
        yield from _block(
            f"{number}. {effect(remedy)}", (line for how in remedy.how for line in how.splitlines())
        )
    yield from _block("remarks", remarks(sheet))
    yield from _block("known to be unhealthy", known(sheet))
    yield from _block("not checked", not_checked(sheet))


def _block(title: str, lines: Iterable[str]) -> Iterator[str]:
    told = tuple(lines)
    if told:
        yield f"{title}:"
        yield from (f"  {line}" for line in told)


def markdown(sheet: Sheet) -> str:
    """Return one page of GitHub Flavored Markdown, always the same for the same sheet."""
    parts = (
        f"# {HEADLINES[sheet.decision]}: {plain(sheet.cutover.title)}\n",
        "\n".join((*table(("", ""), ((f"**{name}**", plain(said)) for name, said in facts(sheet))), "")),
        section("Reasons", points(reasons(sheet))),
        *(
            section(f"Prediction for {_cut(each)}", points(expected(each.prediction)))
            for each in sheet.judgement.rehearsed
        ),
        section("Changes that would make it a go", _remedies(sheet)),
        section("Checks", table(("check", "answer", ""), map(_row, sheet.judgement.weighed))),
        section("Known to be unhealthy", points(known(sheet))),
        section("Not checked", points(not_checked(sheet))),
        section("Assumptions", points(sheet.assumptions)),
        section("Digests, to verify this page later", points(digests(sheet))),
    )
    return "\n".join(part for part in parts if part)


def _remedies(sheet: Sheet) -> Iterator[str]:
    for number, remedy in enumerate(sheet.remedies, start=1):
        yield from (f"{number}. {plain(effect(remedy))}", "", *fenced(remedy.how, "sh"), "")


def _row(each: Weighed) -> tuple[str, str, str]:
    told = mark(each)
    answer = f"**{told.answer}**" if each.stands_against else told.answer
    return plain(told.check), answer, plain(told.said)


def mark(each: Weighed) -> CheckLine:
    finding = each.finding
    about = "" if each.cut_for_s is None else f" ({short_duration(each.cut_for_s)})"
    said = f"{clipped(finding.summary, LONGEST)}{_weight(each)}"
    return CheckLine(check=f"{finding.check}{about}", answer=WORDS[finding.status], said=said)


def _weight(each: Weighed) -> str:
    if each.weight is Weight.WAIVED:
        return f" (waived: {each.waiver})"
    return " (remark)" if each.weight is Weight.REMARK else ""


# -- its parts, in words ---------------------------------------------------------------------------------------


def facts(sheet: Sheet) -> Iterator[tuple[str, str]]:
    """Yield the question: the cluster, the cut, and who asked."""
    asked, cutover, nodes = sheet.asked, sheet.cutover, sheet.judgement.nodes
    if cutover.change:
        yield "change", cutover.change
    named = (
        f"context {asked.context}, UID {asked.uid}" if asked.live else f"snapshot {', '.join(asked.files)}"
    )
    yield (
        "cluster",
        f"{named}, Kubernetes {sheet.version or 'of an unknown version'}, {sheet.node_count} nodes",
    )
    yield "cut", f"{len(nodes)} nodes ({names(sorted(nodes))}) lose the control plane {_lengths(sheet)}"
    if cutover.start:
        zone = f" {cutover.timezone}" if cutover.timezone else ""
        yield "begins", f"{cutover.start.isoformat(sep=' ', timespec='minutes')}{zone}"
    yield from longest(sheet)
    yield "acceptable", "; ".join(_acceptable(sheet))
    yield "asked", f"by {asked.by}, {asked.at.isoformat(sep=' ', timespec='seconds')}"


def _lengths(sheet: Sheet) -> str:
    if sheet.cutover.flap:
        return f"in {sheet.cutover.flap}, {short_duration(sheet.cutover.cut_for_s)} in all"
    planned, *longest = map(short_duration, sheet.cutover.durations_s)
    return f"for {planned}, at most {longest[0]}" if longest else f"for {planned}"


def longest(sheet: Sheet) -> Iterator[tuple[str, str]]:
    """Yield how long the cut may last: for the plan, and for the part of it where that is shortest."""
    if sheet.longest:
        plan, *domains = sheet.longest
        yield "how long", how_long(plan, sheet.cutover.start)
        if first := shortest(domains):
            yield "weakest part", f"{first.domain}: {first.answer}"


def _acceptable(sheet: Sheet) -> Iterator[str]:
    accept = sheet.cutover.accept
    yield f"DNS {accept.dns_after_heal.value} after the heal"
    if accept.self_heals:
        yield "full recovery without help"
    if accept.pods_reachable:
        yield "Pods reachable between nodes that the cut leaves together"
    if accept.dns_outage_s is not None:
        yield f"at most {short_duration(accept.dns_outage_s)} without DNS on nodes that are not cut, and after a heal"
    if accept.dns_during_cut:
        yield f"DNS {accept.dns_during_cut.value} during the cut"
    if accept.evicted_pods is not None:
        yield f"at most {accept.evicted_pods} evicted Pods"
    if accept.quorum_lost:
        yield "a lost quorum"
    if accept.protect:
        yield f"Pods of {names([each.name for each in accept.protect])} throughout"
    yield f"with a probability of at least {percent(accept.probability)}"


def reasons(sheet: Sheet) -> Iterator[str]:
    """Yield the findings against a go, or the basis of a go."""
    against = sheet.judgement.against
    yield from (reason(sheet, each) for each in against)
    if not against:
        counted = sum(each.weight is Weight.COUNTS for each in sheet.judgement.weighed)
        yield f"all {counted} required checks are ok, and the predicted effect of the cut is acceptable"
    yield from waivers(sheet)


def reason(sheet: Sheet, each: Weighed) -> str:
    """Say what a finding against a go is."""
    unknown = " is unknown" if each.finding.status is Status.UNKNOWN else ""
    return f"{each.finding.check}{unknown}: {clipped(each.finding.summary, LONGEST)}{_about(sheet, each)}"


def waivers(sheet: Sheet) -> Iterator[str]:
    """Yield the findings that the plan waives, and why."""
    for each in sheet.judgement.weighed:
        if each.weight is Weight.WAIVED:
            yield f"waived: {each.finding.check} ({clipped(each.finding.summary, LONGEST)}), because {each.waiver}"


def _about(sheet: Sheet, each: Weighed) -> str:
    several = len(sheet.judgement.rehearsed) > 1 and each.cut_for_s is not None
    return f" (cut for {short_duration(each.cut_for_s or 0)})" if several else ""


def _cut(each: Rehearsed) -> str:
    return cuts(each.flap, each.cut_for_s)


def cuts(flap: Flap | None, cut_for_s: float) -> str:
    """The cut in words, or those that come and go."""
    return str(flap) if flap else f"a cut of {short_duration(cut_for_s)}"


def expected(found: Prediction) -> Iterator[str]:
    """The predicted events and outcomes, with their probabilities."""
    if not found.simulations.made:
        yield f"unknown: {found.method}"
        return
    lost = _of(found, Kind.NODE_NOT_READY)
    yield (
        f"{_when(lost)}{len(_objects(lost))} nodes become NotReady" if lost else "no node becomes NotReady"
    )
    yield _evictions(found)
    yield f"DNS during the cut: {found.dns.during_cut.value}"
    for outcome in found.outcomes:
        chance = percent(outcome.probability)
        yield f"DNS after the heal: {outcome.dns_after_heal.value} ({chance}): {outcome.why}"
    for outage in found.outages:
        yield f"on the way to a recovery: {outage} ({percent(outage.probability)})"
    yield from _mesh(found)
    yield from _crashes(found)
    yield from impact_lines(found.impact)
    passed, unknown = (found.healing.get(each, 0.0) for each in (Forecast.PASSED, Forecast.UNKNOWN))
    more = f"; unknown: {percent(unknown)}" if unknown else ""
    yield f"full recovery without help: {percent(passed)}{more}"
    if found.dns.after_rollback and any(event.kind is Kind.ROLLBACK for event in found.timeline):
        yield f"DNS after the rollback: {found.dns.after_rollback.value}"
    yield f"timings: {found.timings['source']}; {found.method}"


def _of(found: Prediction, kind: Kind) -> list[PredictedEvent]:
    return [event for event in found.timeline if event.kind is kind and event.probability >= USUAL]


def _objects(events: Iterable[PredictedEvent]) -> set[str]:
    return {event.object for event in events}


def _when(events: Iterable[PredictedEvent]) -> str:
    """Return the range from the earliest to the latest time of any of the events."""
    told = tuple(events)
    first, last = min(event.t_min_s for event in told), max(event.t_max_s for event in told)
    return f"{short_duration(round(first))} to {short_duration(round(last))} after the cut "


def _evictions(found: Prediction) -> str:
    evicted = _of(found, Kind.POD_EVICTED)
    counts = {name: each.get("evicted", 0.0) for name, each in found.workloads.items()}
    hit = [
        f"{name.partition('/')[2] or name} {count:.1f}" for name, count in counts.items() if round(count, 1)
    ]
    if not evicted or not hit:
        return "no Pod is evicted"
    more = [f"{len(hit) - 6} more workloads"] if len(hit) > 6 else []
    return f"{_when(evicted)}Pods are evicted, on average {listed([*hit[:6], *more])}"


def _mesh(found: Prediction) -> Iterator[str]:
    if not found.mesh.get("present"):
        return
    lost, back = found.mesh["xds_lost_probability"], found.mesh["xds_restored_probability"]
    if lost is None:
        yield "unknown whether sidecars lose istiod, and whether Pods get stuck without it"
    elif lost:
        yield f"sidecars lose istiod: {percent(lost)}; all are in sync again: {percent(back)}"


def _crashes(found: Prediction) -> Iterator[str]:
    loops = _of(found, Kind.CRASH_LOOP)
    if loops:
        yield f"{_when(loops)}{len(loops)} Pods crash-loop: {names(sorted(_objects(loops)), at_most=2)}"


def effect(remedy: Remedy) -> str:
    """The effect of a remedy."""
    what = " with ".join(remedy.mitigations)
    if remedy.decision is Decision.GO:
        return f"{what}: makes it a go"
    return f"{what}: makes the cut acceptable; {listed(remedy.remains)} would still prevent a go"


def remarks(sheet: Sheet) -> Iterator[str]:
    for each in sheet.judgement.weighed:
        if each.weight is Weight.REMARK and each.finding.status is not Status.HEALTHY:
            yield f"{each.finding.check}: {clipped(each.finding.summary, LONGEST)}"


def known(sheet: Sheet) -> Iterator[str]:
    """The entries that the plan accepts as unhealthy, and which of them match nothing."""
    for entry in sheet.cutover.known:
        unmatched = "matches nothing; " if entry in sheet.judgement.unmatched else ""
        yield f"{entry}: {unmatched}{clipped(entry.reason, LONGEST)}, until {entry.until:%Y-%m-%d %H:%M} UTC"


def not_checked(sheet: Sheet) -> Iterator[str]:
    return (f"{name}: {clipped(why, LONGEST)}" for name, why in sheet.not_checked())


def digests(sheet: Sheet) -> Iterator[str]:
    """The digests of plan and snapshot."""
    asked = sheet.asked
    kept = f"of {', '.join(asked.files)}, uncompressed" if asked.files else "which was not kept"
    yield f"plan {asked.plan}: SHA-256 `{asked.plan_sha256}`"
    yield f"snapshot, {kept}: SHA-256 `{asked.snapshot_sha256}`"
