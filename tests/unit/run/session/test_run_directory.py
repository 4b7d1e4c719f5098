"""What a run leaves on disk."""

from __future__ import annotations

import json
import os
import re
import stat
from typing import TYPE_CHECKING

import pytest

from chaosext.model import redact
from chaosext.model.errors import Refused
from chaosext.model.names import RunId
from chaosext.partition.cut import check_run
from chaosext.run.session import run_context
from chaosext.run.session.run_directory import RunDirectory, found_run

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
    monkeypatch.setattr(run_context, "_current", None)
    monkeypatch.setenv("CHAOSEXT_RUN_DIR", str(tmp_path))
    assert run_context.current() is run_context.current()
    assert not run_context.current().strict


def test_an_owner_fits_into_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: 'a"; drop\n' * 9)
    assert re.fullmatch(r"[A-Za-z0-9@._-]{1,40}", run_context.owner())


def test_a_file_in_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    directory = RunDirectory("r1", tmp_path)
    (directory.path / "sentinels").mkdir()
    directory.write_json("sentinels/clocks.json", {"nodes": {}})
    assert [each.name for each in (directory.path / "sentinels").iterdir()] == ["clocks.json"]
    assert json.loads((directory.path / "sentinels" / "clocks.json").read_text()) == {"nodes": {}}


def test_a_number_that_is_secret_leaves_json_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_pattern", redact.pattern_of(["1234"]))
    directory = RunDirectory("r", tmp_path)
    directory.write_json("result.json", {"t_s": 51234.5, "said": "pin 1234", "at": tmp_path / "1234"})
    read = json.loads((directory.path / "result.json").read_text())
    assert read == {"t_s": 51234.5, "said": "pin (redacted)", "at": f"{tmp_path}/(redacted)"}


# -- what others have prepared where runs are kept -------------------------------------------------------------


def test_a_run_writes_where_it_was_made_whatever_becomes_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    directory = RunDirectory("r", tmp_path / "run")
    directory.path.rename(tmp_path / "run" / "moved")
    directory.path.symlink_to(tmp_path / "elsewhere")
    directory.write_json("result.json", {})
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (tmp_path / "run" / "moved" / "result.json").exists()


def test_a_run_takes_no_directory_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "r").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="File exists"):
        RunDirectory("r", tmp_path)


def test_nobody_else_may_write_into_a_run_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        directory = RunDirectory("r", tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what another user has made")
def test_a_link_of_another_user_leads_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # a checkout in which a game day was played has a `run`
    (tmp_path / "run").symlink_to(tmp_path / "victim")
    os.lchown(tmp_path / "run", 65534, 65534)
    with pytest.raises(Refused, match="a link that another user made"):
        RunDirectory("r", tmp_path / "run")
    with pytest.raises(Refused, match="a link that another user made"):
        found_run("run", tmp_path)
    assert list((tmp_path / "victim").iterdir()) == []


def test_a_link_of_ones_own_leads_to_where_runs_are_kept(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    RunDirectory("r", tmp_path / "run").write_json("result.json", {})
    assert (tmp_path / "disk" / "r" / "result.json").exists()


@pytest.mark.parametrize("leads_to", ["../victim", "/etc", "a/b", "..", "R-1", "latest"])
def test_latest_leads_to_nothing_but_a_run_beside_it(tmp_path: Path, leads_to: str) -> None:
    (tmp_path / "latest").symlink_to(leads_to)
    with pytest.raises(Refused, match=r"neither a directory nor the id of a run|leads to itself|Too many"):
        found_run("latest", tmp_path)


def test_latest_is_replaced_and_what_it_led_to_stays(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("as it was")
    (tmp_path / "latest").symlink_to(tmp_path / "victim")
    RunDirectory("r", tmp_path)
    assert (tmp_path / "latest").readlink().name == "r"
    assert (tmp_path / "victim").read_text() == "as it was"


@pytest.mark.parametrize("name", ["../x", "a/b", "x\n", "", "A"])
def test_a_run_is_found_by_an_id_and_by_no_path_in_disguise(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="the id of a run"):
        found_run(name, tmp_path)


def test_a_run_is_found_by_its_id_its_directory_and_as_the_latest(tmp_path: Path) -> None:
    directory = RunDirectory("r1", tmp_path)
    for name in ("r1", "latest", str(directory.path), str(tmp_path / "latest")):
        assert found_run(name, tmp_path) == directory.path
    assert not found_run("r2", tmp_path).exists()
