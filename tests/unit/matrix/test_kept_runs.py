"""Kept runs: what is written is read again, and a prediction can't be changed or made afterwards."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from checkout import ROOT
from jsonschema import Draft202012Validator
from kept_cells import kept_cell

from chaosext.matrix.cells import MatrixCell
from chaosext.matrix.kept_runs import CellFailure, CellPrediction, KeptRun, MatrixStore
from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STORY = "calico-bgp/istio/coredns"


def test_kept_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    store, kept = MatrixStore(tmp_path), kept_cell(STORY)
    path = store.keep(kept)
    assert path == tmp_path / STORY / f"{kept.run}.json.gz"
    assert [each.to_json() for each in store.runs()] == [kept.to_json()]


def test_kept_run_has_the_documented_form() -> None:
    schema = json.loads((ROOT / "docs" / "schemas" / "cell.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(kept_cell(f"{STORY}+dns-affinity").to_json())


def test_prediction_is_on_disk_before_its_run_and_leaves_with_it(tmp_path: Path) -> None:
    store, kept = MatrixStore(tmp_path), kept_cell(STORY)
    path = store.promise(kept.before)
    assert json.loads(path.read_text())["sha256"] == kept.before.sha256
    store.keep(kept)
    assert not path.exists()


def test_failure_is_known_until_the_cell_is_played(tmp_path: Path) -> None:
    store = MatrixStore(tmp_path)
    failure = CellFailure(cell=STORY, step="up", reason="no node is Ready", at="2026-11-30T20:00:00+00:00")
    store.fail(failure)
    assert store.failures() == (failure,)
    store.keep(kept_cell(STORY))
    assert store.failures() == ()


def test_runs_of_one_cell_are_those_of_no_other(tmp_path: Path) -> None:
    store = MatrixStore(tmp_path)
    store.keep(kept_cell(STORY))
    store.keep(kept_cell(f"{STORY}+dns-affinity"))
    assert [each.cell.name for each in store.of(MatrixCell.named(STORY))] == [STORY]
    assert len(store.runs()) == 2


def test_store_without_a_directory_is_empty(tmp_path: Path) -> None:
    assert MatrixStore(tmp_path / "none").runs() == ()


def other_prediction(value: dict[str, Any]) -> None:
    value["prediction"]["outcomes"][0]["probability"] = 1.0


def made_afterwards(value: dict[str, Any]) -> None:
    value["predicted_at"] = value["result"]["cut_at"]


def never_cut(value: dict[str, Any]) -> None:
    value["result"]["cut_at"] = ""


def of_another_schema(value: dict[str, Any]) -> None:
    value["schema"] = "chaosext.cell/v2"


def without_timeline(value: dict[str, Any]) -> None:
    del value["timeline"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_prediction, "not the one that was digested"),
        (made_afterwards, "not older than the cut"),
        (never_cut, "not older than the cut"),
        (of_another_schema, "schema 'chaosext.cell/v2'"),
        (without_timeline, "timeline"),
    ],
)
def test_kept_run_that_proves_nothing_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    store, value = MatrixStore(tmp_path), kept_cell(STORY).to_json()
    path = store.keep(kept_cell(STORY))
    change(value)
    path.write_bytes(gzip.compress(json.dumps(value).encode()))
    with pytest.raises(Refused, match=said):
        store.runs()


def test_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    store = MatrixStore(tmp_path)
    path = store.keep(kept_cell(STORY))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(Refused, match="cut off"):
        store.runs()


def test_digest_does_not_depend_on_the_order_of_fields() -> None:
    before = kept_cell(STORY).before
    turned = dict(reversed(before.prediction.items()))
    again = CellPrediction.of(MatrixCell.named(STORY), turned, {}, datetime.now(UTC))
    assert again.sha256 == before.sha256


def test_explanations_are_read_from_yaml_and_a_malformed_one_is_refused(tmp_path: Path) -> None:
    store = MatrixStore(tmp_path)
    assert store.explanations() == ()
    path = tmp_path / "explanations.yaml"
    path.write_text("- {cells: 'calico-*', difference: '*node_ready*', why: the machine was busy}\n")
    assert [each.why for each in store.explanations()] == ["the machine was busy"]
    path.write_text("- {cells: 'calico-*'}\n")
    with pytest.raises(Refused, match=r"explanations.yaml"):
        store.explanations()


def test_run_is_read_as_reports_read_it() -> None:
    data = kept_cell(STORY).data()
    assert (data.forecast, data.result.verdict.outcome.value) == ("deviated", "deviated")
    assert len(data.prediction) == 2


def test_versions_are_kept(tmp_path: Path) -> None:
    kept: KeptRun = replace(kept_cell(STORY), versions={"Calico": "v3.28.5"}, up_s=91.5, late_s=0.3)
    store = MatrixStore(tmp_path)
    store.keep(kept)
    found = store.runs()[0]
    assert (found.versions, found.up_s, found.late_s) == ({"Calico": "v3.28.5"}, 91.5, 0.3)
