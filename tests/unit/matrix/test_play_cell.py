"""A cell is played by chaosext's own commands: predicted before it runs, and kept; its testbed is always removed."""

from __future__ import annotations

import gzip
import json
import os
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from kept_cells import DEAD_IN_MOST, STARTED, prediction
from runs import run

from chaosext.matrix import play_cell
from chaosext.matrix.cells import MatrixCell
from chaosext.matrix.kept_runs import MatrixStore
from chaosext.matrix.play_cell import CellNotPlayed, CellPlayer, keep_run
from chaosext.model.errors import Refused, Unsafe
from chaosext.run.preflight import SNAPSHOT
from chaosext.testbed.commands import CommandFailed
from chaosext.testbed.stage_progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

STORY = MatrixCell.named("calico-bgp")


def leave_run(directory: Path, story: str) -> Path:
    """Write what a run leaves."""
    directory.mkdir(parents=True)
    result = run(story).result
    told = result.to_json() | {
        "run": directory.name,
        "started_at": STARTED.isoformat(),
        "cut_at": STARTED.replace(year=2099).isoformat(),
    }
    (directory / "result.json").write_text(json.dumps(told))
    lines = [json.dumps(event.to_json()) for event in result.events]
    (directory / "timeline.jsonl").write_text("\n".join(lines) + "\n")
    return directory


class Bed:
    """Stands for the commands of chaosext, the cluster and the engine of the rehearsal."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.commands, self.story, self.fails = root, list[str](), "deviated-rollback-verified", ""
        self.fails_times, self.predicted_before_run = 100, False
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
        if self.fails and words.startswith(self.fails) and self.fails_times:
            self.fails_times -= 1
            raise CommandFailed("it ended with exit code 30", exit_code_of_command=30)

    def _leave_run(self, root: Path) -> None:
        self.predicted_before_run = any((self.root / "matrix").rglob("prediction.json"))
        count = len(list(root.glob("2*")))
        directory = leave_run(root / f"20261130t2000{count:02}0000", self.story)
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


def test_run_is_not_predicted_on_the_connection_of_the_one_before(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Testbeds of all cells have one name, and so one context: the second one's server has another port."""
    asked: list[str] = []
    monkeypatch.setattr(play_cell, "forget_connections", lambda: asked.append("forgets"))
    predicts = bed.rehearse

    def rehearse(course: Any, place: Path) -> Any:
        asked.append("predicts")
        return predicts(course, place)

    monkeypatch.setattr(play_cell, "rehearse_into", rehearse)
    list(bed.player.play(STORY, 2))
    assert asked == ["forgets", "predicts"] * 2


def test_repeats_are_played_on_one_testbed(bed: Bed) -> None:
    assert len(list(bed.player.play(STORY, 3))) == 3
    assert [each.split()[1] for each in bed.commands if each.startswith("testbed")] == [
        "down",
        *["up"] * 3,
        "down",
    ]


def test_testbed_that_missed_a_deadline_is_continued(bed: Bed) -> None:
    bed.fails, bed.fails_times = "testbed up", 1
    assert len(list(bed.player.play(STORY))) == 1
    assert [each.split()[1] for each in bed.commands if each.startswith("testbed")] == [
        "down",
        "up",
        "up",
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


def test_run_that_leaves_no_directory_is_not_mistaken_for_the_last_one(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(bed.player.play(STORY))
    monkeypatch.setattr(bed, "_leave_run", lambda _: None)
    with pytest.raises(CellNotPlayed, match="left no directory"):
        list(bed.player.play(STORY))
    assert len(bed.player.store.runs()) == 1


def test_reason_of_a_failure_is_the_command_s_own_message(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise CommandFailed(
            "`chaosext testbed up` ended: [ 1.0 s] Create\nchaosext: no node is Ready\n     fix: wait"
        )

    monkeypatch.setattr(play_cell, "run_command", fail)
    with pytest.raises(CellNotPlayed, match=r"^no node is Ready: see \S+log$"):
        list(bed.player.play(STORY))


def test_run_that_was_played_otherwise_is_kept_with_its_own_rehearsal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(play_cell, "_rehearsed_again", lambda *_: None)
    monkeypatch.setattr(play_cell, "_prevents", lambda _: ())
    directory = leave_run(tmp_path / "20261130t2000000000", "deviated-rollback-verified")
    store = MatrixStore(tmp_path / "matrix")
    with pytest.raises(CellNotPlayed, match="no rehearsal"):
        keep_run(store, STORY, directory)
    (directory / "rehearsal.json").write_text(json.dumps(prediction(DEAD_IN_MOST, "deviated")))
    (directory / SNAPSHOT).write_bytes(gzip.compress(b'{"items": []}'))
    assert keep_run(store, STORY, directory).is_foreseen
    assert [each.run for each in store.runs()] == [directory.name]


def test_rehearsal_that_is_newer_than_the_cut_predicts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(play_cell, "_rehearsed_again", lambda *_: None)
    monkeypatch.setattr(play_cell, "_prevents", lambda _: ())
    directory = leave_run(tmp_path / "20261130t2000000000", "deviated-rollback-verified")
    (directory / "rehearsal.json").write_text(json.dumps(prediction(DEAD_IN_MOST, "deviated")))
    (directory / SNAPSHOT).write_bytes(gzip.compress(b'{"items": []}'))
    late = STARTED.replace(year=2099).timestamp() + 1
    os.utime(directory / "rehearsal.json", (late, late))
    with pytest.raises(CellNotPlayed, match="not older than the cut"):
        keep_run(MatrixStore(tmp_path / "matrix"), STORY, directory)


def test_run_that_may_have_left_a_cut_ends_everything(bed: Bed) -> None:
    bed.fails, bed.story = "run", "unsafe"
    with pytest.raises(Unsafe):
        list(bed.player.play(STORY))
    assert bed.commands[-1].startswith("testbed down")
