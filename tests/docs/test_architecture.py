"""The architecture page and its picture show the real packages, and named modules and files exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "chaosext"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PICTURE = (ROOT / "docs" / "images" / "architecture.svg").read_text(encoding="utf-8")


def layers() -> list[set[str]]:
    """The layers that import-linter keeps, from the top."""
    linter: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contract = next(
        each
        for each in linter["contracts"]
        if each["type"] == "layers" and each["containers"] == ["chaosext"]
    )
    return [set(re.findall(r"\w+", layer)) for layer in contract["layers"]]


def of_picture() -> list[tuple[int, str]]:
    """Each box: how far down it is, and its text."""
    return [(int(y), text) for y, text in re.findall(r'y="(\d+)" text-anchor="middle">([^<]+)<', PICTURE)]


def test_picture_has_the_layers_that_import_linter_keeps() -> None:
    boxes = of_picture()
    drawn = [
        {text.partition(":")[0] for at, text in boxes if at == y} for y in sorted({at for at, _ in boxes})
    ]
    assert drawn == layers()


@pytest.mark.parametrize("text", [text for _, text in of_picture() if ":" in text])
def test_picture_has_the_packages_within_a_package(text: str) -> None:
    name, _, parts = text.partition(": ")
    assert set(parts.split(", ")) == {each.parent.name for each in (PACKAGE / name).glob("*/__init__.py")}


def test_table_has_the_layers_from_the_top() -> None:
    rows = re.findall(
        r"^\| ([^|`]*) \| (`[^|]+) \|", PAGE.partition("## ")[0].replace("| | ", "|  | "), re.MULTILINE
    )
    found: list[set[str]] = []
    for layer, packages in rows:
        found += [set()] if layer.strip() else []
        found[-1] |= set(re.findall(r"\w+", packages))
    assert found == layers()


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md", "docs/failover.md"])
def test_named_modules_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    tops = "|".join(sorted({each.name for each in PACKAGE.iterdir() if each.is_dir()}))
    named = re.findall(rf"`(?:chaosext\.)?((?:{tops})(?:\.[a-z_]+)+)", text)
    assert [name for name in named if not exists(name)] == []


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("page", sorted(PAGES), ids=lambda page: page.name)
def test_named_files_exist(page: Path) -> None:
    folders = "tests|hack|benchmarks|oracle|deploy|examples"
    named = re.findall(
        rf"(?<![\w./-])((?:{folders})/[a-z0-9_./-]*[a-z0-9_/])", page.read_text(encoding="utf-8")
    )
    assert sorted({name for name in named if not (ROOT / name).exists()}) == []


def exists(name: str) -> bool:
    path = PACKAGE.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()
