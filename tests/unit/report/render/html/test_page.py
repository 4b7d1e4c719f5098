"""The HTML report as a file: self-contained, under a strict policy, the same for the same run, safe with any text."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from checkout import ROOT
from runs import RUNS
from stories import CP, STORIES, event

from chaosext.model.result import NodeClock
from chaosext.model.timeline import Kind
from chaosext.model.verdict import WITH_ROLLBACK, Outcome, Verdict
from chaosext.report.data.run_data import RunData
from chaosext.report.render.html.page import page
from chaosext.report.render.html.phrases import MEANS

GOLDEN = ROOT / "tests" / "golden" / "report"

VOID = {"meta", "link", "input", "br", "hr", "img"}
NOT_CLOSED_IN_SVG = {"path", "rect", "line", "circle"}


class Reader(HTMLParser):
    """Reads a page strictly: every element closed where it must be, every id once."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.levels: list[int] = []
        self.links: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen(tag, dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in NOT_CLOSED_IN_SVG, f"<{tag}/> closes nothing in HTML"
        self.seen(tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def seen(self, tag: str, attributes: dict[str, str | None]) -> None:
        if re.fullmatch(r"h[1-6]", tag):
            self.levels.append(int(tag[1]))
        self.ids += [value for name, value in attributes.items() if name == "id" and value]
        self.references += [
            each
            for name in ("aria-labelledby", "aria-describedby", "for")
            for each in (attributes.get(name) or "").split()
        ]
        self.links += [value for name, value in attributes.items() if name in ("href", "src") and value]
        assert "style" not in attributes, "the policy lets no inline style attribute through"
        assert not any(name.startswith("on") for name in attributes), "nor handlers"


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def without_the_inlined(html: str) -> str:
    """Style and script have files of their own; a golden page shows that they are there, and not what is in them."""
    html = re.sub(r"(?s)<style>.*?</style>", "<style>…</style>", html)
    html = re.sub(r"(?s)<script>.*?</script>", "<script>…</script>", html)
    return re.sub(r"sha256-[A-Za-z0-9+/=]+", "sha256-…", html)


@pytest.mark.parametrize("story", RUNS)
def test_golden(story: str) -> None:
    path, text = GOLDEN / f"{story}.html", without_the_inlined(page(RUNS[story]))
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_no_golden_file_is_forgotten() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{story}.html" for story in RUNS}


@pytest.mark.parametrize("story", RUNS)
def test_the_page_is_well_formed_and_refers_to_nothing_outside(story: str) -> None:
    reader = read(page(RUNS[story]))
    assert len(reader.ids) == len(set(reader.ids))
    assert set(reader.references) <= set(reader.ids)
    assert reader.levels[0] == 1
    assert reader.levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(reader.levels, reader.levels[1:], strict=False))
    assert all(link.startswith("#") or link == "data:," for link in reader.links)
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)


@pytest.mark.parametrize("story", RUNS)
def test_the_policy_lets_through_exactly_what_is_in_the_page(story: str) -> None:
    html = page(RUNS[story])
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy
    assert policy[1].replace("&#39;", "'").startswith("default-src 'none'; ")
    for element in ("style", "script"):
        found = re.findall(rf"(?s)<{element}>(.*?)</{element}>", html)
        assert len(found) == 1
        digest = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
        assert (
            f"{element}-src &#39;sha256-{digest}&#39;" in html or f"{element}-src 'sha256-{digest}'" in html
        )


@pytest.mark.parametrize("story", RUNS)
def test_the_verdict_stands_on_top_with_its_exit_code(story: str) -> None:
    html = page(RUNS[story])
    verdict = RUNS[story].result.verdict
    top = html.partition("</header>")[0].partition("<body")[2]
    assert f"{verdict.headline[0].upper()}{verdict.headline[1:]}</strong>" in top
    assert f"exit {verdict.exit_code}</span>" in top


HOSTILE = "</script></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'`&{{7*7}}"


def test_text_from_outside_stays_text_wherever_it_stands() -> None:
    kinds = (Kind.CUT, Kind.POD_EVICTED, Kind.PROBE_FAILING, Kind.DNS_DEAD, Kind.HEAL, Kind.ENDPOINTS_CHANGED)
    run = RUNS["deviated-rollback-verified"]
    events = [
        event(float(n), kind, f"Pod/kube-system/coredns-{HOSTILE}", HOSTILE) for n, kind in enumerate(kinds)
    ]
    hostile = replace(
        run,
        result=replace(
            run.result,
            run=HOSTILE,
            experiment=HOSTILE,
            started_at=HOSTILE,
            verdict=replace(run.result.verdict, reasons=(HOSTILE,)),
            events=(*run.result.events, *events),
            clocks={HOSTILE: NodeClock(offset_s=0.0, error_s=0.1, wall_skew_s=9.0, boots=1)},
            unobserved={HOSTILE: ((1.0, 2.0),)},
        ),
        missing=(HOSTILE,),
    )
    html = page(hostile)
    reader = read(html)
    assert "<img" not in html
    assert html.count("<script>") == 1
    assert "{{7*7}}" in html
    assert all(link.startswith("#") or link == "data:," for link in reader.links)


def test_the_same_run_gives_the_same_page() -> None:
    assert page(RUNS["deviated-rollback-verified"]) == page(RUNS["deviated-rollback-verified"])


def test_each_claim_of_the_chain_has_its_evidence_below_it() -> None:
    html = page(RUNS["deviated-rollback-verified"])
    steps = re.findall(r'(?s)<li class="\w+">\s*<p class="t">.*?</div>\s*</li>', html)
    assert len(steps) > 8
    for step in steps:
        assert '<span class="detail">' in step, step[:300]


def test_a_run_of_which_nothing_was_seen_still_has_a_page() -> None:
    bare = RunData(result=replace(STORIES["refused"], experiment="", started_at="", events=()))
    html = page(bare)
    assert "Nothing was touched" in html
    assert "<figure" not in html


def test_a_wall_clock_that_is_off_is_said_where_the_clocks_are_folded() -> None:
    clocks = {
        CP: NodeClock(offset_s=1.0, error_s=0.001, wall_skew_s=90.0, boots=1),
        "b": NodeClock(offset_s=0, error_s=0, wall_skew_s=0, boots=1),
    }
    html = page(RunData(result=replace(STORIES["passed"], clocks=clocks)))
    assert f"Clocks of 2 nodes: {CP} is 90.0 s ahead</summary>" in html


@pytest.mark.parametrize("outcome", sorted(Outcome))
def test_every_verdict_that_can_be_read_is_explained(outcome: Outcome) -> None:
    for verified in (None, True, False) if outcome in WITH_ROLLBACK else (None,):
        assert MEANS[Verdict(outcome=outcome, reasons=(), rollback_verified=verified).headline]
