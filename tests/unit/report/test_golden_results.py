"""What people read at the end of a run, byte for byte; `GOLDEN=write pytest …` writes the files anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stories import STORIES

from chaosext.cli.output import result_lines
from chaosext.report.markdown import summary

GOLDEN = Path(__file__).parents[2] / "golden" / "results"


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("story", STORIES)
def test_summary(story: str) -> None:
    compare(f"{story}.summary.md", summary(STORIES[story]))


@pytest.mark.parametrize("story", STORIES)
def test_terminal(story: str) -> None:
    lines = result_lines(STORIES[story], Path("run/20261123t230300ab12"))
    compare(f"{story}.txt", "\n".join(lines) + "\n")


def test_no_golden_file_is_forgotten() -> None:
    expected = {f"{story}{kind}" for story in STORIES for kind in (".summary.md", ".txt")}
    assert {path.name for path in GOLDEN.iterdir()} == expected
