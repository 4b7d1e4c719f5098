"""The gate's page, printed by a real browser: one sheet of A4, whatever stands on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from checkout import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

PAGES = sorted((ROOT / "tests" / "golden" / "gate").glob("*.html"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_it_is_one_sheet_of_a4(chromium: Any, path: Path) -> None:
    page: Page = chromium.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.goto(path.as_uri())
    printed = page.pdf(prefer_css_page_size=True)
    page.close()
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
    assert re.search(rb"/MediaBox\s*\[0 0 59[456][\d.]* 84[123]", printed)
    assert not faults
