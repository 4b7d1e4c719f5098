"""Kept runs of the matrix, made from the stories."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from runs import FORESEEN, run

from chaosext.matrix.cells import MatrixCell
from chaosext.matrix.kept_runs import CellPrediction, KeptRun, Prevention

if TYPE_CHECKING:
    from collections.abc import Mapping

STARTED = datetime.fromisoformat("2026-11-30T20:00:00+00:00")

DEAD_IN_MOST = {"dead": 0.9, "partial": 0.1}


def prediction(outcomes: Mapping[str, float], verdict: str) -> dict[str, Any]:
    timeline = [
        each.event.to_json()
        | {"t_min_s": each.t_min_s, "t_max_s": each.t_max_s, "probability": each.probability}
        for each in FORESEEN
    ]
    return {
        "schema": "chaosext.rehearsal/v1",
        "verdict": verdict,
        "self_heals": verdict == "passed",
        "outcomes": [
            {"dns_after_heal": state, "probability": chance, "why": ""} for state, chance in outcomes.items()
        ],
        "timeline": timeline,
    }


def kept_cell(
    name: str,
    story: str = "deviated-rollback-verified",
    *,
    outcomes: Mapping[str, float] = DEAD_IN_MOST,
    verdict: str = "deviated",
    number: int = 1,
    prevents: tuple[Prevention, ...] = (),
) -> KeptRun:
    """A run of the cell `name` that went as `story`, predicted a minute before its cut."""
    result = run(story).result
    begun = STARTED + timedelta(minutes=number)
    return KeptRun(
        before=CellPrediction.of(MatrixCell.named(name), prediction(outcomes, verdict), {"items": []}, begun),
        result=result.to_json()
        | {
            "run": f"20261130t2000{number:02}0000",
            "started_at": begun.isoformat(),
            "cut_at": (begun + timedelta(seconds=50)).isoformat(),
        },
        timeline=result.events,
        versions={"Kubernetes": "v1.34.4", "chaosext": "0.1.0"},
        prevents=prevents,
    )
