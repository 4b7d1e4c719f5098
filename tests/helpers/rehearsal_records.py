"""Rehearsals as their pages get them: of the bundled snapshots, and one in which everything is long and much."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from checkout import ROOT
from gate_sheets import LONG, loud

from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.predict.recommendations import advised
from chaosext.rehearsal.predict.scenarios import Scenario
from chaosext.rehearsal.simulate.prediction import Forecast
from chaosext.rehearsal.snapshot.reader import read_snapshot
from chaosext.report.data.rehearsal_record import RehearsalRecord, recorded


@cache
def record_of(snapshot: str, cut_for_s: float = 480.0) -> RehearsalRecord:
    """A rehearsal of `examples/snapshots/<snapshot>`, with advice."""
    world = read_snapshot((ROOT / "examples" / "snapshots" / snapshot,))
    plan = Scenario(cut_for_s=cut_for_s).plan(world)
    found = advised(rehearse(world, plan), world, plan)
    return recorded(found, world, plan, files=(f"examples/snapshots/{snapshot}",))


@cache
def crowded_record() -> RehearsalRecord:
    """The story with names without end, and a share of everything."""
    record = record_of("story.json")
    found = loud(record.found)
    shares = {Forecast.DEVIATED: 0.59, Forecast.PASSED: 0.3, Forecast.UNKNOWN: 0.11}
    advice = tuple(replace(each, how=f"{each.how}\n{LONG * 40}") for each in found.advice * 4)
    timeline = tuple(replace(each, probability=each.probability * 0.59) for each in found.timeline)
    return replace(
        record,
        found=replace(found, chances=shares, advice=advice, timeline=timeline),
        source=LONG,
        version=LONG,
        mitigations=(LONG,) * 5,
    )
