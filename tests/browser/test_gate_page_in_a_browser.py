"""The gate's page in a real browser: on a screen and a phone, light and dark, and printed on one sheet of A4.

CHAOSEXT_SCREENSHOTS=<directory> keeps what was seen, to be looked at.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import pytest
from gate_sheets import asked_of, crowded

from chaosext.report.render.html.gate_page import render_gate_page

if TYPE_CHECKING:
    from conftest import Open

PLANS = ("story", "mitigated", "crowded")


@cache
def html(plan: str) -> str:
    return render_gate_page(*(crowded() if plan == "crowded" else asked_of(plan)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("plan", PLANS)
def test_nothing_overflows_or_overlaps_or_shuts_anybody_out(
    opened: Open, plan: str, width: int, scheme: str
) -> None:
    with opened(html(plan), width=width, scheme=scheme) as found:
        found.keep(f"gate-{plan}-{width}-{scheme}")
        found.page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
        assert found.overflow_px() <= 0
        assert found.sticking_out() == []
        assert found.overlaps() == []
        assert found.smallest_text_px() >= 11
        assert found.findings() == []
        assert found.errors == []


@pytest.mark.parametrize("plan", PLANS)
def test_it_is_printed_on_one_sheet_of_a4(opened: Open, plan: str) -> None:
    with opened(html(plan), width=1280, scheme="dark") as found:
        printed = found.page.pdf(prefer_css_page_size=True)
        assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
        assert re.search(rb"/MediaBox\s*\[0 0 59[456][\d.]* 84[123]", printed)
        assert found.cut_off_on_paper() == []
        assert found.errors == []


def test_commands_are_copied_whole(opened: Open) -> None:
    with opened(html("story"), width=1280, scheme="light") as found:
        found.page.evaluate(
            "navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }"
        )
        found.page.get_by_role("button", name="Copy").first.click()
        copied = found.page.evaluate("window.copied")
        assert copied.startswith("kubectl --namespace kube-system patch deployment coredns")
        assert copied.endswith("--timeout 5m")
        assert found.page.get_by_role("button", name="Copied").first.is_visible()
