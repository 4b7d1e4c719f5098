"""A cell is played by chaosext's own commands: predicted before it runs, and kept; its testbed is always removed."""

from __future__ import annotations

import gzip
import json
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from kept_cells import DEAD_IN_MOST, STARTED, prediction
from runs import run

from chaosext.matrix import play_cell
from chaosext.matrix.cells import MatrixCell
from chaosext.matrix.kept_runs import MatrixStore
from chaosext.matrix.play_cell import CellNotPlayed, CellPlayer
from chaosext.model.errors import Refused, Unsafe
from chaosext.run.preflight import SNAPSHOT
from chaosext.testbed.commands import CommandFailed
from chaosext.testbed.stage_progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

STORY = MatrixCell.named("calico-bgp")


class Bed:
    """Stands for the commands of chaosext, the cluster and the engine of the rehearsal."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.commands, self.story, self.fails = root, list[str](), "deviated-rollback-verified", ""
        self.predicted_before_run = False
        monkeypatch.setattr(play_cell, "run_command", self.run)
        monkeypatch.setattr(play_cell, "rehearse_into", self.rehearse)
        monkeypatch.setattr(play_cell, "_prevents", lambda _: ())

    @property
    def player(self) -> CellPlayer:
        return CellPlayer(
            store=MatrixStore(self.root / "matrix"), progress=Progress(), bed="matrix", runs=self.root / "run"
        )

    def run(self, argv: list[str], **_: Any) -> None:
        words = " ".join(map(str, argv[3:]))
        self.commands.append(re.sub(r" /\S+", "", words))
        if words.startswith("run "):
            self._leave_run(self.root / "run" / "calico-bgp_istio_coredns")
        if self.fails and words.startswith(self.fails):
            raise CommandFailed("it ended with exit code 30", exit_code_of_command=30)

    def _leave_run(self, root: Path) -> None:
        self.predicted_before_run = any((self.root / "matrix").rglob("prediction.json"))
        data = run(self.story)
        directory = root / data.result.run
        directory.mkdir(parents=True, exist_ok=True)
        cut_at = STARTED.replace(year=2099).isoformat()
        result = data.result.to_json() | {"started_at": STARTED.isoformat(), "cut_at": cut_at}
        (directory / "result.json").write_text(json.dumps(result))
        lines = [json.dumps(event.to_json()) for event in data.result.events]
        (directory / "timeline.jsonl").write_text("\n".join(lines) + "\n")
        (root / "latest").unlink(missing_ok=True)
        (root / "latest").symlink_to(directory.name)

    def rehearse(self, _: Any, place: Path) -> Any:
        (place / SNAPSHOT).write_bytes(gzip.compress(b'{"items": [], "chaosext": {"version": "v1.34.4"}}'))

        told = SimpleNamespace(headline="deviated", to_json=lambda: prediction(DEAD_IN_MOST, "deviated"))
        return SimpleNamespace(prediction=told)


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bed:
    return Bed(tmp_path, monkeypatch)


def test_cell_is_predicted_on_disk_then_run_then_kept(bed: Bed) -> None:
    (review,) = bed.player.play(STORY)
    assert bed.commands == [
        "testbed down --name matrix --force",
        "testbed up --name matrix --images auto --sidecars native",
        "run --run-dir --plain",
        "testbed down --name matrix --force",
    ]
    assert bed.predicted_before_run
    assert [each.run for each in bed.player.store.runs()] == [review.kept.run]
    assert review.kept.versions["Kubernetes"] == "v1.34.4"
    assert review.is_foreseen


def test_repeats_are_played_on_one_testbed(bed: Bed) -> None:
    assert len(list(bed.player.play(STORY, 3))) == 3
    assert [each.split()[1] for each in bed.commands if each.startswith("testbed")] == [
        "down",
        *["up"] * 3,
        "down",
    ]


def test_expected_deviation_is_no_failure_of_the_command(bed: Bed) -> None:
    bed.fails = "run"
    (review,) = bed.player.play(STORY)
    assert review.heals is False


@pytest.mark.parametrize(
    ("fails", "story", "step"),
    [("testbed up", "passed", "up"), ("run", "inconclusive", "run"), ("run", "refused", "run")],
)
def test_cell_that_fails_is_recorded_and_its_testbed_removed(
    bed: Bed, fails: str, story: str, step: str
) -> None:
    bed.fails, bed.story = fails, story
    with pytest.raises(CellNotPlayed):
        list(bed.player.play(STORY))
    assert [each.step for each in bed.player.store.failures()] == [step]
    assert bed.player.store.runs() == ()
    assert bed.commands[-1].startswith("testbed down")


def test_cell_that_can_not_be_predicted_is_not_run(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise Refused("no permission to read nodes", "grant it")

    monkeypatch.setattr(play_cell, "rehearse_into", refuse)
    with pytest.raises(CellNotPlayed, match="no permission"):
        list(bed.player.play(STORY))
    assert not any(each.startswith("run") for each in bed.commands)


def test_run_that_may_have_left_a_cut_ends_everything(bed: Bed) -> None:
    bed.fails, bed.story = "run", "unsafe"
    with pytest.raises(Unsafe):
        list(bed.player.play(STORY))
    assert bed.commands[-1].startswith("testbed down")
