"""What users lose in the predicted cut, against what the plan accepts: one finding per condition."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chaosext.gate.likelihood import likely
from chaosext.model.findings import Evidence, Finding, Status, worst
from chaosext.rehearsal.simulate.impact import Chance, any_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.gate.cutover_plan import Acceptance, Protected, Tolerated
    from chaosext.rehearsal.simulate.impact import Impact, UnitImpact, Way
    from chaosext.rehearsal.simulate.prediction import Prediction

QUORUM_LOST = "quorum_lost"
SERVICES_AT_END = "services_at_end"
SERVICES_DURING_CUT = "services_during_cut"
ALL_AT_ONCE = "all_at_once"
PENDING_PODS = "pending_pods"
PROTECTED = "protected"
LOSSES = (QUORUM_LOST, SERVICES_AT_END, SERVICES_DURING_CUT, ALL_AT_ONCE, PENDING_PODS, PROTECTED)

SHOWN = 0.0005
"""Objects that are less likely hit are not named."""


def lost(found: Prediction, accept: Acceptance) -> Iterator[Finding]:
    """Yield the findings. Nothing is healthy that was not simulated, or that a doubt about the cluster may turn."""
    impact = found.impact
    for check, finding in _findings(found, impact, accept) if impact else _unasked(accept):
        if finding is None:
            said = f"not predicted: {found.method}"
            yield Finding(check=check, status=Status.UNKNOWN, summary=said)
        elif finding.status is Status.HEALTHY and (doubts := [*found.routes.doubts, *found.doubts]):
            said = f"{finding.summary}; unknown: {doubts[0]}"
            yield replace(finding, status=Status.UNKNOWN, summary=said)
        else:
            yield finding


def _unasked(accept: Acceptance) -> Iterator[tuple[str, None]]:
    asked = {
        QUORUM_LOST: not accept.quorum_lost,
        SERVICES_AT_END: True,
        SERVICES_DURING_CUT: accept.services_during_cut is not None,
        ALL_AT_ONCE: True,
        PENDING_PODS: accept.pending_pods is not None,
        PROTECTED: bool(accept.protect),
    }
    yield from ((check, None) for check, is_asked in asked.items() if is_asked)


def _findings(found: Prediction, impact: Impact, accept: Acceptance) -> Iterator[tuple[str, Finding]]:
    def avoided(
        check: str, bad: Chance, what: str, rows: Iterable[tuple[str, Chance]]
    ) -> tuple[str, Finding]:
        finding = likely(check, found, accept, _good(bad), bad.unknown, what)
        return check, _with_rows(finding, rows)

    workloads, services = impact.workloads, impact.services
    if not accept.quorum_lost:
        hit = [(each.name, each.quorum_lost) for each in workloads]
        yield avoided(QUORUM_LOST, impact.quorum_lost, "no quorum lost", hit)
    ended = impact.chance(lambda way: _exceeds(way.ended, way.unsure_ended, accept.services_at_end))
    said = f"{_named(accept.services_at_end)} without endpoints at the end"
    yield avoided(SERVICES_AT_END, ended, said, [(each.name, each.none_at_end) for each in services])
    if accept.services_during_cut is not None:
        yield avoided(
            SERVICES_DURING_CUT,
            _during(impact, accept.services_during_cut),
            f"{_named(accept.services_during_cut)} without endpoints during the cut",
            [(each.name, each.none) for each in services],
        )
    at_once = [(each.name, each.at_once) for each in workloads]
    yield avoided(ALL_AT_ONCE, impact.all_at_once, "no workload stopped as a whole at the heal", at_once)
    if accept.pending_pods is not None:
        most = accept.pending_pods
        over = impact.chance(lambda way: None if way.pending is None else way.pending > most)
        rows = [(name, Chance(1.0)) for name, count in impact.pending.items() if count >= SHOWN]
        yield avoided(PENDING_PODS, over, f"at most {most} Pods that fit on no node at the end", rows)
    if accept.protect:
        yield PROTECTED, _protected(found, impact, accept)


def _good(bad: Chance) -> float:
    return max(0.0, 1.0 - bad.likely - bad.unknown)


def _exceeds(hit: frozenset[str], unsure: frozenset[str], tolerated: Tolerated) -> bool | None:
    """Whether more is hit than the plan tolerates; None if that depends on what is unsure."""
    if isinstance(tolerated, int):
        return True if len(hit) > tolerated else None if len(hit | unsure) > tolerated else False
    return any_of(hit - tolerated, unsure - tolerated)


def _during(impact: Impact, tolerated: Tolerated) -> Chance:
    """Return the chance that too many Services have no endpoints for some clients in the cut."""
    unreached = frozenset(each.name for each in impact.services if each.unreached)

    def exceeds(way: Way) -> bool | None:
        return _exceeds(way.during | unreached, way.unsure_during, tolerated)

    return impact.chance(exceeds)


def _named(tolerated: Tolerated) -> str:
    if isinstance(tolerated, int):
        return f"at most {tolerated} Services" if tolerated else "no Service"
    return f"no Service but {', '.join(sorted(tolerated))}"


def _with_rows(finding: Finding, rows: Iterable[tuple[str, Chance]]) -> Finding:
    """Name the objects that are hit, with their probabilities, if the finding is not healthy."""
    if finding.status is Status.HEALTHY:
        return finding
    hit = [(name, chance) for name, chance in rows if max(chance) >= SHOWN]
    evidence = tuple(_row(name, chance) for name, chance in hit)
    more = f" and {len(hit) - 1} more" if len(hit) > 1 else ""
    said = f"{finding.summary} ({hit[0][0]}{more})" if hit else finding.summary
    return replace(finding, summary=said, evidence=evidence)


def _row(name: str, chance: Chance) -> Evidence:
    status = Status.UNHEALTHY if chance.likely >= SHOWN else Status.UNKNOWN
    return Evidence(subject=name, status=status, detail=f"{chance.likely:.0%}, unknown {chance.unknown:.0%}")


# -- what the plan protects ----------------------------------------------------------------------------------


def _protected(found: Prediction, impact: Impact, accept: Acceptance) -> Finding:
    """Return the worst finding about what the plan protects; what the cut does not affect keeps all its Pods."""
    findings = [
        _kept(found, accept, entry, unit)
        for entry in accept.protect
        for unit in impact.units.values()
        if entry.covers(unit.name)
    ]
    status = worst(each.status for each in findings) if findings else Status.HEALTHY
    bad = [each for each in findings if each.status is not Status.HEALTHY]
    rows = tuple(
        Evidence(subject=each.summary.partition(":")[0], status=each.status, detail=each.summary)
        for each in bad
    )
    first = next((each.summary for each in bad if each.status is status), "")
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    said = f"{first}{more}" if first else f"{len(accept.protect)} protected, all keep their Pods"
    return Finding(check=PROTECTED, status=status, summary=said, evidence=rows)


def _kept(found: Prediction, accept: Acceptance, entry: Protected, unit: UnitImpact) -> Finding:
    below = unit.below(entry.at_least)
    what = f"{unit.name}: at least {entry.at_least} Pods for its clients throughout"
    return likely(PROTECTED, found, accept, _good(below), below.unknown, what)
