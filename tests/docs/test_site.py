"""The documentation: the site builds without a warning, its links lead somewhere, and its words are the agreed ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.resources import files
from inspect import isfunction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markdown.extensions.toc import slugify

from chaosext import actions, probes, testing
from chaosext.cli.main import COMMANDS
from chaosext.testing import plugin

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
AT_ROOT = sorted(ROOT.glob("*.md"))
PAGES = [*AT_ROOT, *sorted(DOCS.rglob("*.md"))]
OTHERS = [
    *(DOCS / "schemas").iterdir(),
    *(ROOT / "experiments").iterdir(),
    *(
        each
        for folder in ("deploy", "examples/cutovers")
        for each in (ROOT / folder).rglob("*")
        if each.is_file()
    ),
    ROOT / "action.yml",
    ROOT / "Makefile",
]
"""What else a user reads."""

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
AVOIDED = re.compile(
    r"nobody|whoever|somebody|of ours|take away|\btold\b|\bmend(ed|s)?\b|at the most|let go", re.I
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in strict mode: a warning, such as a broken link, ends the build."""
    place = tmp_path_factory.mktemp("site")
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place


def prose(path: Path) -> str:
    """The text of a page without its blocks of code."""
    return re.sub(r"(?ms)^ *```.*?^ *```", "", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    return {slugify(each.replace("`", ""), "-") for each in re.findall(r"(?m)^#+ (.+)$", prose(path))}


def broken(page: Path, link: str) -> bool:
    """Whether a relative link of `page` leads nowhere."""
    target, _, anchor = link.partition("#")
    path = page.parent / target if target else page
    return not path.exists() or bool(anchor and anchor not in anchors(path))


def test_site_loads_nothing_from_other_hosts(site: Path) -> None:
    loaded = re.compile(
        r"<(?:script|img|iframe)[^>]*\ssrc=\"https?:|<link[^>]*\shref=\"https?:[^>]*stylesheet"
    )
    assert [page.name for page in site.rglob("*.html") if loaded.search(page.read_text())] == []


def test_command_reference_has_every_command(site: Path) -> None:
    page = (site / "cli" / "index.html").read_text()
    assert [name for name in COMMANDS if f"Usage: chaosext {name} " not in page] == []


def public_names() -> set[str]:
    """What callers may use: activities, the fixtures of the pytest plugin, and what these return."""
    exported = {
        f"{module.__name__}.{name}" for module in (actions, probes, testing) for name in module.__all__
    }
    return exported | {f"{plugin.__name__}.{name}" for name in vars(plugin) if name.startswith("chaosext_")}


def test_api_reference_has_the_public_names_and_no_other(site: Path) -> None:
    page = (site / "api" / "index.html").read_text()
    assert set(re.findall(r'<h3 id="(chaosext\.[\w.]+)"', page)) == public_names()


@pytest.mark.parametrize("module", [actions, probes])
def test_every_function_of_a_public_module_is_exported(module: ModuleType) -> None:
    own = {
        name
        for name, value in vars(module).items()
        if isfunction(value) and value.__module__ == module.__name__
    }
    assert {name for name in own if not name.startswith("_")} == set(module.__all__)


@pytest.mark.parametrize("name", sorted(public_names()))
def test_public_name_exists_and_has_a_docstring(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert getattr(import_module(module), attribute).__doc__


def test_package_says_that_it_is_typed() -> None:
    assert (files("chaosext") / "py.typed").is_file()


@pytest.mark.parametrize("page", AT_ROOT, ids=lambda page: page.name)
def test_links_of_pages_outside_the_site_lead_somewhere(page: Path) -> None:
    links = [each for each in LINK.findall(prose(page)) if "://" not in each]
    assert [each for each in links if broken(page, each)] == []


def test_broken_link_is_noticed() -> None:
    readme = ROOT / "README.md"
    assert broken(readme, "docs/no-such-page.md")
    assert broken(readme, "docs/safety.md#no-such-heading")
    assert not broken(readme, "docs/safety.md#many-nodes")


def test_readme_has_at_most_150_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("file", [*PAGES, *OTHERS], ids=lambda file: str(file.relative_to(ROOT)))
def test_file_avoids_words_that_the_style_forbids(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if AVOIDED.search(line)] == []


@pytest.mark.parametrize("page", ["cli", "api"])
def test_generated_page_avoids_words_that_the_style_forbids(site: Path, page: str) -> None:
    lines = (site / page / "index.html").read_text().splitlines()
    assert [line for line in lines if AVOIDED.search(line)] == []


def test_index_of_decisions_lists_every_decision() -> None:
    folder = DOCS / "decisions"
    listed = re.findall(r"^\| \[\d{4}\]\((\S+)\)", (folder / "README.md").read_text(), re.MULTILINE)
    assert listed == sorted(each.name for each in folder.glob("0*.md"))
