"""The HTML report in a real browser: wide and narrow, light and dark, on paper, by keyboard, and for screen readers.

CHAOSEXT_SCREENSHOTS=<directory> keeps what was seen, to be looked at.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest
from runs import RUNS
from stories import ONE, TWO

from chaosext.model.result import NodeClock
from chaosext.model.signal import Mark, Signal, Watched
from chaosext.report.data.run_comparison import compare
from chaosext.report.data.sentinel_spans import Stretch
from chaosext.report.render.html import comparison_page
from chaosext.report.render.html.page import page

if TYPE_CHECKING:
    from conftest import Open, Opened

    from chaosext.report.data.run_data import RunData

STORIES = (
    "passed",
    "deviated-rollback-verified",
    "inconclusive",
    "interrupted",
    "unsafe",
    "killed",
    "hundred",
    "watched",
    "compared",
)
WIDE, NARROW = 1280, 390


@cache
def html(story: str) -> str:
    if story == "compared":
        first, second = (
            RUNS[each] for each in ("deviated-rollback-verified", "deviated-rollback-not-verified")
        )
        return comparison_page.render_comparison(compare(first, second))
    return page({"hundred": hundred, "watched": watched}.get(story, lambda: RUNS[story])())


def watched() -> RunData:
    """A run with everything in it: sentinels, a gap, a prediction, a clock that is off."""
    run = RUNS["deviated-rollback-verified"]
    kinds = (Watched.DNS_UDP, Watched.DNS_UDP_KEPT, Watched.DNS_TCP, Watched.BGP)
    signals = [Signal(kind=kind, target="10.2.112.10", label="kube-dns") for kind in kinds]
    seen = (Stretch(-9, 55, Mark.GOOD), Stretch(55, 137, Mark.TIMED_OUT), Stretch(137, 190, Mark.GOOD))
    gap = (Stretch(-9, 40, Mark.GOOD), Stretch(40, 52, Mark.UNKNOWN), Stretch(52, 190, Mark.GOOD))
    result = replace(
        run.result,
        unobserved={TWO: ((40.0, 52.0),)},
        clocks={TWO: NodeClock(offset_s=1.0, error_s=0.001, wall_skew_s=90.0, boots=2)},
    )
    stretches = {ONE: dict.fromkeys(signals, seen), TWO: dict.fromkeys(signals, gap)}
    return replace(
        run, result=result, stretches=stretches, missing=(f"sentinels/{TWO}.jsonl: 3 lines can't be read",)
    )


def hundred() -> RunData:
    """A hundred nodes, of which a few flap."""
    run = RUNS["deviated-rollback-verified"]
    signal = Signal(kind=Watched.DNS_UDP, target="10.2.112.10", label="kube-dns")
    dead = (Stretch(-9, 55, Mark.GOOD), Stretch(55, 137, Mark.TIMED_OUT), Stretch(137, 190, Mark.GOOD))
    good = (Stretch(-9, 190, Mark.GOOD),)
    flaps = tuple(Stretch(n, n + 1, Mark.REFUSED if n % 3 else Mark.GOOD) for n in range(-9, 190))
    kinds = {n: flaps if n > 95 else dead if n % 2 else good for n in range(1, 101)}
    return replace(run, stretches={f"worker-{n}": {signal: seen} for n, seen in kinds.items()})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("story", STORIES)
def test_nothing_overflows_or_fails_or_shuts_anybody_out(
    opened: Open, story: str, width: int, scheme: str
) -> None:
    with opened(html(story), width=width, scheme=scheme) as found:
        found.keep(f"{story}-{width}-{scheme}")
        for state in ("folded", "open"):
            assert found.overflow_px() <= 0, state
            assert found.sticking_out() == [], state
            assert found.overlaps() == [], state
            assert found.findings() == [], state
            found.page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
        assert found.errors == []
        assert [url for url in found.requests if not url.startswith(("file://", "data:"))] == []


def test_what_is_looked_for_would_be_seen(opened: Open) -> None:
    """A page that is too wide, fetches, runs what the policy doesn't know, and can't be read by everyone."""
    broken = html("passed").replace(
        "</main>",
        '<p class="wide">________</p><button></button><img src="https://example.invalid/x.png">'
        "<script>document.title = 'run'</script></main>",
    )
    with opened(broken, width=NARROW, scheme="light") as found:
        found.page.evaluate("document.querySelector('.wide').style.width = '900px'")
        assert found.overflow_px() > 0
        assert any("wide" in each for each in found.sticking_out())
        assert {each.partition(":")[0] for each in found.findings()} >= {"button-name", "image-alt"}
        assert sum("Content Security Policy" in each for each in found.errors) >= 2
        assert found.page.title() != "run"


@pytest.mark.parametrize("story", ["deviated-rollback-verified", "watched"])
def test_on_paper_nothing_is_cut_off_and_the_evidence_is_there(opened: Open, story: str) -> None:
    with opened(html(story), width=WIDE, scheme="dark") as found:
        found.page.emulate_media(media="print", color_scheme="light")
        found.page.set_viewport_size({"width": 718, "height": 1000})  # A4 between margins of 10 mm, at 96 dpi
        assert found.overflow_px() <= 0
        assert found.sticking_out() == []
        assert found.page.locator(".steps .events .detail").first.bounding_box()["height"] > 0
        assert not found.page.locator(".skip").is_visible()
        assert found.page.pdf(format="A4").startswith(b"%PDF-")


@pytest.mark.parametrize("story", [*STORIES[:-1], "refused"])
def test_the_first_printed_sheet_is_a_summary_on_which_nothing_is_cut_off(opened: Open, story: str) -> None:
    with opened(html(story), width=WIDE, scheme="dark") as found:
        assert found.cut_off_on_paper() == []
        sheet = found.page.locator(".a4")
        assert sheet.is_visible()
        assert all(each in sheet.inner_text() for each in ASKED)
        after = found.page.locator("header.top").bounding_box()["y"]
        assert after >= sheet.bounding_box()["height"]


def test_the_keyboard_reaches_and_opens_each_fold(opened: Open) -> None:
    with opened(html("watched"), width=WIDE, scheme="light") as found:
        summaries = found.page.locator("details > summary")
        visible = [each for each in summaries.all() if each.is_visible()]
        assert len(visible) > 10
        reached = opened_by_keyboard(found)
        assert len(reached) >= len(visible)
        shut = "[...document.querySelectorAll('details')].filter((each) => !each.open).length"
        assert found.page.evaluate(shut) == 0


def opened_by_keyboard(found: Opened) -> list[str]:
    """Tab through the whole page, and press Enter on whatever folds."""
    reached: list[str] = []
    focused = "document.activeElement.tagName + ':' + document.activeElement.textContent.trim().slice(0, 80)"
    for _ in range(2000):
        found.page.keyboard.press("Tab")
        where = found.page.evaluate(focused)
        if where.startswith("BODY"):
            break
        if where.startswith("SUMMARY"):
            reached.append(where)
            found.page.keyboard.press("Enter")
    return reached


def test_a_bar_that_has_the_focus_is_read_out(opened: Open) -> None:
    with opened(html("watched"), width=WIDE, scheme="light") as found:
        bar = found.page.locator("main .plot g[tabindex='0']", has=found.page.locator("rect.u")).first
        bar.focus()
        assert "not observed, 40s to 52s" in found.page.locator(".readout").inner_text()


def test_the_first_screen_of_a_laptop_shows_the_verdict_and_the_first_lanes(opened: Open) -> None:
    with opened(html("deviated-rollback-verified"), width=WIDE, scheme="light") as found:
        assert found.page.locator("h1").bounding_box()["y"] < 200
        assert found.page.locator(".lane").nth(1).bounding_box()["y"] < 800


def test_each_answer_is_two_lines_and_the_whole_of_it_is_one_click_away(opened: Open) -> None:
    with opened(html("deviated-rollback-verified"), width=WIDE, scheme="light") as found:
        tops = [found.page.get_by_text(each, exact=True).nth(-1).bounding_box() for each in ASKED]
        assert all(tops)
        answers = found.page.locator(".answers dd").all()
        assert all(each.bounding_box()["height"] < 120 for each in answers)


ASKED = ("What broke?", "Why?", "For how long?", "Who was affected?", "Is it over?", "Next steps")


def test_the_timeline_can_be_filtered_and_read_without_script(opened: Open) -> None:
    with opened(html("watched"), width=WIDE, scheme="light") as found:
        found.page.locator("#timeline summary").first.click()
        lines = found.page.locator("#timeline li")
        assert lines.first.is_visible()
        found.page.get_by_label("Show only").fill("dns dead")
        shown = [each for each in lines.all() if each.is_visible()]
        assert 0 < len(shown) < lines.count()
        assert all("DNS dead" in each.inner_text() for each in shown)
    with opened(html("watched"), width=WIDE, scheme="light", script=False) as found:
        found.page.locator("#timeline summary").first.click()
        assert found.page.locator("#timeline li").first.is_visible()
        assert not found.page.get_by_label("Show only").is_visible()


def test_the_lanes_and_their_table_tell_the_same(opened: Open) -> None:
    """Whoever can't see the drawing reads each outage in the table."""
    with opened(html("watched"), width=WIDE, scheme="light") as found:
        found.page.locator("#outages > summary").click()
        rows = found.page.locator("#outages tbody tr")
        drawn = [each for each in found.page.locator(".plot .row .sum b").all_text_contents() if each]
        told = [each for each in rows.locator("td:nth-child(3)").all_text_contents() if each != "–"]
        assert drawn == told
