"""What a run leaves on disk."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from chaosext.model.errors import Refused
from chaosext.model.run_id import RunId
from chaosext.partition.cut import check_run
from chaosext.run import context
from chaosext.run.directory import RunDirectory

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_id_names_a_table_and_sorts_by_time() -> None:
    run = RunId.new()
    assert check_run(run) == run
    assert re.fullmatch(r"\d{8}t\d{6}[0-9a-f]{4}", run)
    assert RunId.new() != run


def test_latest_points_to_the_newest(tmp_path: Path) -> None:
    for run in ("first", "second"):
        RunDirectory(run, tmp_path)
    assert (tmp_path / "latest").resolve() == tmp_path / "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "latest", "second"]
    assert list((tmp_path / "second").iterdir()) == []


def test_files_are_whole(tmp_path: Path) -> None:
    directory = RunDirectory("r", tmp_path)
    directory.write_json("result.json", {"verdict": "passed", "half": "\ud800"})
    directory.write_json("result.json", {"verdict": "deviated"})
    assert json.loads((directory.path / "result.json").read_text()) == {"verdict": "deviated"}
    assert [path.name for path in directory.path.iterdir()] == ["result.json"]


def test_a_directory_that_can_not_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "taken" / "latest").mkdir(parents=True)
    for root in (tmp_path / "file", tmp_path / "taken"):
        with pytest.raises(Refused, match="CHAOSEXT_RUN_DIR"):
            RunDirectory("r", root)


def test_the_environment_names_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSEXT_RUN_DIR", str(tmp_path / "elsewhere"))
    assert RunDirectory("r").path == tmp_path / "elsewhere" / "r"


def test_a_process_is_in_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_current", None)
    monkeypatch.setenv("CHAOSEXT_RUN_DIR", str(tmp_path))
    assert context.current() is context.current()
    assert not context.current().strict


def test_an_owner_fits_into_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: 'a"; drop\n' * 9)
    assert re.fullmatch(r"[A-Za-z0-9@._-]{1,40}", context.owner())


def test_a_file_in_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    directory = RunDirectory("r1", tmp_path)
    (directory.path / "sentinels").mkdir()
    directory.write_json("sentinels/clocks.json", {"nodes": {}})
    assert [each.name for each in (directory.path / "sentinels").iterdir()] == ["clocks.json"]
    assert json.loads((directory.path / "sentinels" / "clocks.json").read_text()) == {"nodes": {}}
