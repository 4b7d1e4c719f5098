"""The page of a rehearsal in a real browser: on a screen and a phone, light and dark, and on paper.

CHAOSEXT_SCREENSHOTS=<directory> keeps what was seen, to be looked at.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
from rehearsal_records import crowded_record, record_of

from chaosext.report.render.html.rehearsal_page import render_rehearsal

if TYPE_CHECKING:
    from conftest import Open

PAGES = ("story", "mitigated", "crowded")


@cache
def html(name: str) -> str:
    return render_rehearsal(crowded_record() if name == "crowded" else record_of(f"{name}.json"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_overflows_or_overlaps_or_shuts_anybody_out(
    opened: Open, name: str, width: int, scheme: str
) -> None:
    with opened(html(name), width=width, scheme=scheme) as found:
        found.keep(f"rehearsal-{name}-{width}-{scheme}")
        found.page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
        assert found.overflow_px() <= 0
        assert found.sticking_out() == []
        assert found.overlaps() == []
        assert found.smallest_text_px() >= 11
        assert found.findings() == []
        assert found.errors == []
        assert [url for url in found.requests if not url.startswith(("file://", "data:"))] == []


@pytest.mark.parametrize("name", PAGES)
def test_the_first_printed_sheet_is_the_answer_and_nothing_of_it_is_cut_off(opened: Open, name: str) -> None:
    with opened(html(name), width=1280, scheme="dark") as found:
        headline = found.page.locator("h1").inner_text()
        assert found.cut_off_on_paper() == []
        sheet = found.page.locator(".a4")
        assert headline[:40] in " ".join(sheet.inner_text().split())
        assert found.page.locator("header.top").bounding_box()["y"] >= sheet.bounding_box()["height"]
        assert found.page.pdf(prefer_css_page_size=True).startswith(b"%PDF-")


def test_a_bar_that_has_the_focus_is_read_out(opened: Open) -> None:
    with opened(html("story"), width=1280, scheme="light") as found:
        found.page.locator(".lane[aria-label=DNS] g[tabindex='0']").first.focus()
        assert "out, 0s to 38s" in found.page.locator(".readout").inner_text()
