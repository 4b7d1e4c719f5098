"""Recordings of a real control plane, against what the engine makes of their snapshots today."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
from checkout import ROOT

from oracle.calibration import calibrations
from oracle.judge import compare
from oracle.recording import Recording

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.judge import Comparison

RECORDED = sorted((ROOT / "tests" / "golden" / "oracle").glob("*.json.gz"))
REPEATED = [file for file in RECORDED if file.name.startswith("1+3.")]
"""The story without zones, which goes differently each time."""


@cache
def compared(file: Path) -> Comparison:
    return compare(Recording.load(file))


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name.removesuffix(".json.gz"))
def test_what_a_real_control_plane_did_was_predicted(file: Path) -> None:
    comparison = compared(file)
    assert comparison.misses == ()
    assert comparison.is_foreseen


def test_there_are_recordings_of_at_least_thirty_scenarios() -> None:
    assert len({file.name.rsplit(".", 3)[0] for file in RECORDED}) >= 30


def test_outcomes_come_as_often_as_predicted() -> None:
    assert len(REPEATED) >= 20
    assert [each for each in calibrations(map(compared, REPEATED)) if not each.holds] == []
