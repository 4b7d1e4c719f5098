"""A real Chromium, Debian's: nothing is downloaded. Where it or its driver is missing, these tests are skipped."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUM = os.environ.get("CHAOSEXT_CHROMIUM") or shutil.which("chromium")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = _missing()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if missing:
                item.add_marker(pytest.mark.skip(reason=missing))


def _missing() -> str:
    if not CHROMIUM:
        return "no chromium on PATH (apt-get install chromium)"
    wanted = ("playwright", "axe_playwright_python")
    absent = [name for name in wanted if importlib.util.find_spec(name) is None]
    return f"{absent[0]} is not installed (pip install '.[browser]')" if absent else ""


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page as it was opened, and what it did that it must not."""

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def overflow_px(self) -> int:
        """How far the document is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def sticking_out(self) -> list[str]:
        """The elements whose box ends right of the window, those inside SVG apart: these are clipped."""
        return list(
            self.page.evaluate(
                """[...document.querySelectorAll("body *:not(svg *)")]
                   .filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1)
                   .map((e) => e.tagName + "." + e.className + ": " + e.textContent.trim().slice(0, 60))"""
            )
        )

    def findings(self) -> list[str]:
        """What axe finds that is serious or critical."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {node['html'][:160]} {node['failureSummary']}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]


Open = Callable[..., Any]


@pytest.fixture
def opened(chromium: Any, tmp_path: Path) -> Open:
    """Opens HTML from a file, as whoever got it by mail does."""

    @contextmanager
    def open_page(html: str, *, width: int, scheme: str, script: bool = True) -> Iterator[Opened]:
        path = tmp_path / "report.html"
        path.write_text(html, encoding="utf-8")
        context = chromium.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=script
        )
        found = Opened(context.new_page())
        found.page.on("console", lambda said: found.errors.append(said.text))
        found.page.on("pageerror", lambda error: found.errors.append(str(error)))
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(path.as_uri())
        try:
            yield found
        finally:
            context.close()

    return open_page
