"""The documented formats: what is written is what docs/schemas says, to the letter."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from checkout import ROOT
from directories import whole
from jsonschema import Draft202012Validator
from runs import RUNS
from stories import STORIES

from chaosext.model.known_unhealthy import Became
from chaosext.model.result import Lane, VerdictRule
from chaosext.model.signal import Mark, Watched
from chaosext.model.timeline import Kind
from chaosext.model.verdict import Outcome
from chaosext.report.data.run_comparison import OutageChange, compare
from chaosext.report.render.formats import as_json, document

if TYPE_CHECKING:
    from pathlib import Path

DOCS = ROOT / "docs"
SCHEMAS = {path.name.partition(".")[0]: json.loads(path.read_text()) for path in (DOCS / "schemas").iterdir()}


def require(name: str, value: Any) -> None:
    problems = [f"{each.json_path}: {each.message}" for each in validator(name).iter_errors(value)]
    assert not problems


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("story", STORIES)
def test_timeline_and_result(story: str) -> None:
    for event in STORIES[story].events:
        require("timeline", event.to_json())
    require("result", STORIES[story].to_json())


@pytest.mark.parametrize("story", RUNS)
def test_report_and_comparison(story: str) -> None:
    require("report", json.loads(as_json(document(RUNS[story]))))
    require("comparison", json.loads(as_json(compare(RUNS["passed"], RUNS[story]).to_json())))


def test_what_the_sentinels_leave_and_a_rehearsal(tmp_path: Path) -> None:
    path = whole(tmp_path)
    for record in (path / "sentinels").glob("*.jsonl"):
        for line in record.read_text().splitlines():
            require("sentinel", json.loads(line))
    require("clocks", json.loads((path / "sentinels" / "clocks.json").read_text()))
    require("rehearsal", json.loads((path / "rehearsal.json").read_text()))


def enums(value: Any) -> list[set[str | None]]:
    """Every list of allowed words in a schema."""
    if isinstance(value, list):
        return [found for each in value for found in enums(each)]
    if not isinstance(value, dict):
        return []
    own = [set(value["enum"])] if "enum" in value else []
    return own + [found for each in value.values() for found in enums(each)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timeline", Kind),
        ("rehearsal", Kind),
        ("report", Kind),
        ("result", Lane),
        ("result", Outcome),
        ("result", VerdictRule),
        ("result", Became),
        ("comparison", Lane),
        ("comparison", OutageChange),
        ("sentinel", Watched),
    ],
)
def test_every_word_is_documented(name: str, words: Any) -> None:
    assert {each.value for each in words} in enums(SCHEMAS[name])


def test_every_mark_is_documented() -> None:
    told = (DOCS / "formats.md").read_text()
    assert all(f"| `{mark.value}` |" in told for mark in Mark)
    sample = SCHEMAS["sentinel"]["oneOf"][1]
    assert validator("sentinel").is_valid({"n": 0, "t": 1.0, "m": "".join(mark.value for mark in Mark)})
    assert not validator("sentinel").is_valid({"n": 0, "t": 1.0, "m": "!"})
    assert sample["required"] == ["n", "t", "m"]


def test_every_schema_is_named_in_the_document() -> None:
    told = (DOCS / "formats.md").read_text()
    assert all(f"schemas/{name}.schema.json" in told for name in SCHEMAS)


def test_every_kind_is_explained() -> None:
    told = (DOCS / "formats.md").read_text()
    assert [kind.value for kind in Kind if f"`{kind.value}`" not in told] == []
