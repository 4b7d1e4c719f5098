"""The experiment of a cell: the incident's, with what differs."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from chaosext.experiment.load import load_experiment
from chaosext.experiment.resolve import resolve
from chaosext.matrix.cell_experiment import MAIN, cell_experiment
from chaosext.matrix.cells import LONG_CUT_S, MatrixCell, planned_cells
from chaosext.run.course import Course, course_of


@pytest.fixture(scope="module")
def main() -> dict[str, Any]:
    return dict(load_experiment(Path(MAIN)))


def course(cell: str, main: dict[str, Any]) -> Course:
    found = course_of(resolve(cell_experiment(MatrixCell.named(cell), main, "kind-matrix")))
    assert found
    return found


def test_default_cell_plays_the_incident_on_its_own_cluster(main: dict[str, Any]) -> None:
    before = deepcopy(main)
    made = cell_experiment(MatrixCell.named("calico-bgp"), main, "kind-matrix")
    assert main == before
    assert made["secrets"]["kubernetes"]["KUBERNETES_CONTEXT"] == "kind-matrix"
    made["secrets"] = main["secrets"]
    assert made == main


def test_cut_across_bgp_sessions_lasts_longer_than_their_hold_time(main: dict[str, Any]) -> None:
    found = course("calico-reflectors", main)
    assert found.moves_s is None
    assert found.lasts_s == LONG_CUT_S
    assert found.doubts == ()


def test_production_timings_give_the_control_plane_time_to_evict(main: dict[str, Any]) -> None:
    found = course("calico-bgp@production", main)
    assert (found.lasts_s, found.moves_s, found.settle_s) == (600.0, 480.0, 300.0)


@pytest.mark.parametrize("cell", planned_cells()[::10], ids=str)
def test_experiment_of_every_cell_loads_and_cuts(cell: MatrixCell, main: dict[str, Any]) -> None:
    assert course(cell.name, main).lasts_s > 60
