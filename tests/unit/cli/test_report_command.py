"""`chaosext report`: whichever way a run is named, and wherever its report is to go."""

from __future__ import annotations

import json
import resource
import time
from typing import TYPE_CHECKING

import pytest
from directories import whole

from chaosext.cli.main import invoke
from chaosext.report.render import formats as endings
from chaosext.report.render.formats import Ending

if TYPE_CHECKING:
    from pathlib import Path

FILES = ["report.html", "summary.md", "junit.xml", "report.json"]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "run"
    made = whole(root)
    (root / "latest").symlink_to(made.name)
    monkeypatch.setenv("CHAOSEXT_RUN_DIR", str(root))
    return made


@pytest.mark.parametrize("named", ["latest", "id", "path", "link"])
def test_a_run_is_found_by_any_of_its_names(
    path: Path, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"latest": "latest", "id": path.name, "path": str(path), "link": str(path.parent / "latest")}
    assert invoke(["report", names[named]]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told == [
        f"{path.name}: deviated, rollback verified (exit 10)",
        *(str(path / name) for name in FILES),
    ]
    assert all((path / name).stat().st_size for name in FILES)


def test_reporting_twice_writes_the_same(path: Path) -> None:
    assert invoke(["report", "latest"]) == 0
    first = {name: (path / name).read_text() for name in FILES}
    assert invoke(["report", "latest"]) == 0
    assert {name: (path / name).read_text() for name in FILES} == first


def test_one_format_goes_to_stdout(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["report", "latest", "--format", "markdown", "-o", "-"]) == 0
    assert capsys.readouterr().out.startswith("# Deviated, rollback verified (exit 10)")
    assert not (path / "summary.md").exists()


def test_half_a_letter_in_a_title_is_printed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = json.loads((path / "result.json").read_text())
    (path / "result.json").write_text(json.dumps({**result, "experiment": "half \ud800 a letter"}))
    assert invoke(["report", "latest", "--format", "json", "-o", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["experiment"] == "half \ud800 a letter"


def test_formats_go_to_a_file_or_a_directory(path: Path, tmp_path: Path) -> None:
    assert invoke(["report", "latest", "--format", "junit", "-o", str(tmp_path / "new" / "ci.xml")]) == 0
    assert (tmp_path / "new" / "ci.xml").read_text().startswith("<?xml")
    assert invoke(["report", "latest", "-o", str(tmp_path / "public")]) == 0
    assert sorted(each.name for each in (tmp_path / "public").iterdir()) == sorted(FILES)


def test_what_was_written_as_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["report", "latest", "--format", "html", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["run"], told["verdict"], told["not_known"]) == (path.name, "deviated", [])
    assert told["written"] == {"html": str(path / "report.html")}


def test_a_killed_run_is_reported_and_what_is_missing_said(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path / "result.json").unlink()
    assert invoke(["report", "latest"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [
        f"{path.name}: not known (exit 30)",
        f"unknown: {path.name} has no result.json",
    ]
    assert "Not known" in (path / "summary.md").read_text()


def test_two_runs_are_compared(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = whole(path.parent / "elsewhere", "passed")
    assert invoke(["report", str(path), str(other), "--format", "markdown", "--format", "json"]) == 0
    written = [other / f"compared-with-{path.name}.{suffix}" for suffix in ("md", "json")]
    told = capsys.readouterr().out.splitlines()
    assert told[1:] == [*map(str, written), "limited comparison: both are the same run"]
    assert written[0].read_text().startswith("# Passed, was deviated, rollback verified")
    assert json.loads(written[1].read_text())["schema"] == "chaosext.comparison/v1"


def test_compare_takes_runs_as_well_as_snapshots(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = whole(path.parent / "elsewhere", "passed")
    assert invoke(["compare", "latest", str(other)]) == 0
    written = [other / f"compared-with-{path.name}.{suffix}" for suffix in ("html", "md", "json")]
    assert capsys.readouterr().out.splitlines()[1:4] == [*map(str, written)]
    assert all(each.exists() for each in written)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report", "nowhere"], "nowhere: no such directory"),
        (["report", "latest", "--format", "markdown", "--format", "json", "-o", "-"], "-o -: 2 formats"),
        (["report", "latest", "latest", "--format", "junit"], "not available for a comparison"),
        (["report", "latest", "-o", "/dev/null/x"], "/dev/null/x"),
    ],
)
def test_what_cannot_be_is_refused_by_field_and_fix(
    path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert invoke(arguments) == 20
    first, fix = capsys.readouterr().err.splitlines()
    assert said in first
    assert fix.startswith("     fix: ")


def test_at_the_end_of_a_run_every_report_is_written(path: Path) -> None:
    ending = Ending()
    ending(path, 20.0)
    assert (ending.best(), ending.problems) == (path / "report.html", [])
    assert sorted(each.name for each in ending.written.values()) == sorted(FILES)


def test_a_report_that_fails_is_a_line_and_the_others_are_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> str:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setitem(endings.FORMATS, "html", broken)
    ending = Ending()
    ending(path, 20.0)
    assert ending.problems == ["no report.html: ZeroDivisionError: a fault of ours"]
    assert ending.best() == path / "summary.md"


def test_a_report_that_takes_too_long_is_not_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "read_run", lambda _: time.sleep(5.0))
    ending, began_s = Ending(), time.monotonic()
    ending(path, 0.1)
    assert time.monotonic() - began_s < 2.0
    assert ending.problems == [f"no report within 0.1s; create it with: chaosext report {path}"]


def test_a_full_disk_leaves_no_half_report(path: Path) -> None:
    before = sorted(path.iterdir())
    ending, (soft, hard) = Ending(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        ending(path, 20.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [each for each in ending.problems if each.startswith("no report.html: OSError")]
    assert sorted(path.iterdir()) == before
