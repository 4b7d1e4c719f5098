"""What people read at the end of a run, byte for byte; `GOLDEN=write pytest …` writes the files anew."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from stories import STORIES

from chaosext.cli.output import result_lines
from chaosext.model.result import ForeignRules
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


def test_changes_of_foreign_rules_are_told_by_author_and_none_is_hidden() -> None:
    rules = ForeignRules(
        changed_by={"kube-proxy": 32, "Calico": 1},
        unattributed=("cp-1: tables: + table inet mine {",),
        not_compared=("cp-2",),
    )
    text = summary(replace(STORIES["passed"], foreign_rules=rules))
    section = text.partition("## Rules that are not ours\n\n")[2].partition("\n\n")[0]
    assert section.splitlines() == [
        "- changed by Calico: 1 line",
        "- changed by kube-proxy: 32 lines",
        "- foreign rules were changed by nobody known: cp-1: tables: + table inet mine {",
        "- foreign rules could not be compared on cp-2",
    ]
    assert STORIES["passed"].to_json()["foreign_rules"]["identical"] is True
    assert STORIES["unsafe"].to_json()["foreign_rules"] is None
