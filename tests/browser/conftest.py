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
SCREENSHOTS = os.environ.get("CHAOSEXT_SCREENSHOTS")
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

    def overlaps(self) -> list[str]:
        """The labels of axes that lie on one another."""
        return list(
            self.page.evaluate(
                """[...document.querySelectorAll(".axis svg")].flatMap((axis) => {
                     const boxes = [...axis.querySelectorAll("text")]
                       .map((text) => [text.textContent, text.getBoundingClientRect()])
                       .filter(([, box]) => box.width);
                     return boxes.flatMap(([one, a], at) => boxes.slice(at + 1)
                       .filter(([, b]) => a.left < b.right && b.left < a.right)
                       .filter(([, b]) => a.top + 2 < b.bottom && b.top + 2 < a.bottom)
                       .map(([other]) => `${one} and ${other}`));
                   })"""
            )
        )

    def smallest_text_px(self) -> float:
        """The size of the smallest text that is shown, axes and marks in bars apart."""
        return float(
            self.page.evaluate(
                """Math.min(...[...document.querySelectorAll("body *:not(svg *)")]
                   .filter((e) => e.checkVisibility())
                   .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
                   .map((e) => parseFloat(getComputedStyle(e).fontSize)))"""
            )
        )

    def cut_off_on_paper(self) -> list[str]:
        """What of the printed sheet is outside of it, or outside of its own box."""
        self.page.set_viewport_size({"width": 718, "height": 1000})  # A4 between margins of 10 mm, at 96 dpi
        self.page.emulate_media(media="print", color_scheme="light")
        return list(
            self.page.evaluate(
                """[...document.querySelectorAll(".a4 *:not(svg *)")].filter((e) => {
                     const sheet = document.querySelector(".a4").getBoundingClientRect();
                     const box = e.getBoundingClientRect();
                     return box.bottom > sheet.bottom + 1 || box.right > sheet.right + 1;
                   }).map((e) => e.tagName + "." + e.className + ": " + e.textContent.trim().slice(0, 60))"""
            )
        )

    def keep(self, name: str) -> None:
        """Save pictures of the page, if they are wanted."""
        if SCREENSHOTS:
            Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")
            self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}-whole.png", full_page=True)

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
