"""Records of the gate: of the bundled snapshots, and of a plan in which everything is long and much."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from checkout import ROOT

from chaosext.experiment.cutover_plan_file import read_cutover
from chaosext.gate.decision import Weighed, Weight
from chaosext.gate.judge import judge
from chaosext.gate.remedies import Search
from chaosext.gate.ticket import Asked, Sheet
from chaosext.model.findings import Finding, Status
from chaosext.rehearsal.snapshot.reader import read_snapshot
from chaosext.report.data.predicted_lanes import LaneFacts

if TYPE_CHECKING:
    from chaosext.rehearsal.simulate.prediction import Prediction

AT = datetime(2026, 11, 23, 21, tzinfo=UTC)
LONG = "a-name-as-long-as-they-come." * 9
WIDE = "漢字の長い名前 WWWWMMMM " * 20


@cache
def asked_of(snapshot: str) -> tuple[Sheet, tuple[LaneFacts, ...]]:
    """The record of `examples/snapshots/<snapshot>.json`, and what its lanes need."""
    plan, file = ROOT / "examples/cutovers/all-workers.yaml", ROOT / f"examples/snapshots/{snapshot}.json"
    cutover, _ = read_cutover(plan, AT)
    world = read_snapshot((file,))
    found = judge(world, cutover)
    search = Search(
        world=world, cutover=cutover, before=found, live={}, context="", tell=lambda _: None
    ).search()
    sheet = Sheet(
        asked=Asked(
            at=AT,
            by="me@host",
            plan="plan.yaml",
            plan_sha256="a" * 64,
            snapshot_sha256="b" * 64,
            files=(f"{snapshot}.json",),
        ),
        cutover=cutover,
        judgement=found,
        remedies=search.remedies,
        untried=search.untried,
        version=world.control_plane.version,
        node_count=len(world.nodes),
        meshed=True,
    )
    return sheet, tuple(
        LaneFacts.of(world, cutover.plan(found.nodes, each.cut_for_s)) for each in found.rehearsed
    )


def loud(found: Prediction) -> Prediction:
    """The same prediction with long names, details and assumptions."""
    return replace(
        found,
        assumptions=tuple(f"{LONG} {number}" for number in range(40)),
        timeline=tuple(
            replace(event, object=f"{event.object}-{LONG}", detail=f"{event.detail} {WIDE}")
            for event in found.timeline
        ),
    )


@cache
def crowded() -> tuple[Sheet, tuple[LaneFacts, ...]]:
    """Two durations, sixty checks against a go, and names without end."""
    sheet, lanes = asked_of("story")
    found = sheet.judgement
    against = tuple(
        Weighed(
            finding=Finding(check=f"{LONG}_{number}", status=Status.UNHEALTHY, summary=f"{WIDE} {LONG}"),
            weight=Weight.COUNTS,
        )
        for number in range(60)
    )
    return replace(
        sheet,
        asked=replace(sheet.asked, by=LONG, files=(LONG, LONG), missed=((LONG, WIDE),) * 9),
        cutover=replace(sheet.cutover, title=WIDE + LONG, change=LONG, waived={LONG: WIDE}),
        remedies=tuple(
            replace(each, mitigations=(LONG, "x"), how=(WIDE * 20,)) for each in sheet.remedies * 5
        ),
        untried=(LONG,) * 20,
        judgement=replace(
            found,
            nodes=frozenset(f"{LONG}-{number}" for number in range(300)),
            weighed=(*against, *found.weighed),
            rehearsed=tuple(replace(each, prediction=loud(each.prediction)) for each in found.rehearsed * 2),
        ),
    ), lanes * 2
