"""The gate on the snapshots that real runs took before their cuts: go where the run passed, no-go where it deviated."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest
from checkout import ROOT

from chaosext.gate.cutover_plan import Cutover, Selection
from chaosext.gate.decision import Decision
from chaosext.gate.judge import judge
from chaosext.rehearsal.snapshot.reader import read_snapshot

if TYPE_CHECKING:
    from pathlib import Path

RECORDED = sorted((ROOT / "tests" / "golden" / "rehearsal").glob("*.json.gz"))
PLAN = Cutover(
    title="t",
    selection=Selection(selector="!node-role.kubernetes.io/control-plane"),
    cut_for_s=120,
    at_most_s=120,
)
AGREES = {"passed": Decision.GO, "deviated": Decision.NO_GO}

BY_LUCK = {"1+3-native", "1+3-classic"}
"""Runs that passed by chance: whoever slipped through took no kube-dns along, as in about two of five. A gate doesn't
count on it.
"""


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_the_gate_agrees_with_the_real_run(path: Path, tmp_path: Path) -> None:
    recording = json.loads(gzip.decompress(path.read_bytes()))
    snapshot = tmp_path / "snapshot.json"
    snapshot.write_text(json.dumps(recording["snapshot"]))
    if recording["verdict"] not in AGREES:
        pytest.skip(f"the run ended as {recording['verdict']}: there is nothing to agree with")
    lucky = path.name.removesuffix(".json.gz") in BY_LUCK
    wanted = Decision.NO_GO if lucky else AGREES[recording["verdict"]]
    assert judge(read_snapshot([snapshot]), PLAN).decision is wanted
