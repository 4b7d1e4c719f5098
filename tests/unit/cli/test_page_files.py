"""`--report` of rehearse: where pages are written, and what is refused before anything takes its time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from checkout import ROOT

from chaosext.cli.main import invoke

if TYPE_CHECKING:
    from pathlib import Path

STORY = str(ROOT / "examples" / "snapshots" / "story.json")
SHORT = ("--cut-for", "120s", "--horizon", "300s", "--samples", "12", "--no-advice", "--time-budget", "1h")


@pytest.fixture
def rehearse(capsys: pytest.CaptureFixture[str]) -> Any:
    def calling(*arguments: str) -> tuple[int, str, str]:
        code = invoke(["rehearse", "--snapshot", STORY, *SHORT, *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return calling


def test_one_answer_is_written_in_each_form(rehearse: Any, tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("cut.html", "cut.md", "cut.json")]
    code, said, error = rehearse(*(word for place in places for word in ("--report", str(place))), "--json")
    assert code == 0
    assert error == "".join(f"report: {place}\n" for place in places)
    html, markdown, found = (place.read_text() for place in places)
    assert json.loads(found) == json.loads(said)
    assert html.startswith("<!doctype html>")
    assert markdown.startswith("# ")
    assert all("2 of 3 nodes lose the control plane for 2m" in text for text in (html, markdown))


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("cut.pdf", "--report cut.pdf: unknown format"),
        ("cut", "--report cut: unknown format"),
        ("no/such/cut.html", "--report no/such/cut.html: there is no directory no/such"),
    ],
)
def test_a_place_that_does_not_fit_is_refused_with_its_fix(rehearse: Any, place: str, says: str) -> None:
    code, said, error = rehearse("--report", place)
    assert (code, said) == (20, "")
    assert says in error
    assert "fix: " in error


def test_no_directory_is_made(rehearse: Any, tmp_path: Path) -> None:
    assert rehearse("--report", str(tmp_path / "new" / "cut.html"))[0] == 20
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("other", [("--scenarios", "x.yaml"), ("--patch", "dns-affinity")])
def test_a_page_is_about_one_cut(rehearse: Any, tmp_path: Path, other: tuple[str, str]) -> None:
    code, _, error = rehearse("--report", str(tmp_path / "cut.html"), *other)
    assert code == 20
    assert f"--report is about one cut, and {other[0]} is set" in error
