"""The HTML report as a file: self-contained, under a strict policy, the same for the same run, safe with any text."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from dataclasses import replace

import pytest
from checkout import ROOT
from pages import read, without_the_inlined
from runs import RUNS
from stories import CP, STORIES, event

from chaosext.model.result import NodeClock
from chaosext.model.timeline import Kind
from chaosext.model.verdict import WITH_ROLLBACK, Outcome, Verdict
from chaosext.report.data.run_data import RunData
from chaosext.report.render.html.page import page
from chaosext.report.render.html.phrases import MEANS

GOLDEN = ROOT / "tests" / "golden" / "report"


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
    assert f"Clocks of 2 nodes: {CP} is 1m30s ahead</summary>" in html


@pytest.mark.parametrize("outcome", sorted(Outcome))
def test_every_verdict_that_can_be_read_is_explained(outcome: Outcome) -> None:
    for verified in (None, True, False) if outcome in WITH_ROLLBACK else (None,):
        assert MEANS[Verdict(outcome=outcome, reasons=(), rollback_verified=verified).headline]


def test_a_report_links_to_the_dashboard_of_its_time_if_there_is_one() -> None:
    run = RUNS["deviated-rollback-verified"]
    html = page(replace(run, dashboard="https://grafana.example/d/abc?var-cluster=eu"))
    assert re.search(r'href="https://grafana.example/d/abc\?var-cluster=eu&amp;from=\d+&amp;to=\d+"', html)
    assert "grafana" not in page(run)
    assert "alert(1)" not in page(replace(run, dashboard="javascript:alert(1)"))


def test_the_time_of_day_stands_beside_the_seconds_from_the_cut() -> None:
    run = RUNS["deviated-rollback-verified"]
    html = page(run)
    assert "<time>23:03:28</time>" in html
    assert "which was on 23 November 2026 at 23:03:28 UTC" in html
    unknown = page(replace(run, result=replace(run.result, cut_at="")))
    assert "<time>" not in unknown
    assert "UTC}" not in unknown


def test_commands_of_the_next_steps_can_be_copied() -> None:
    html = page(RUNS["deviated-rollback-verified"])
    commands = re.findall(r"data-copy><code>([^<]+)</code>", html)
    assert "kubectl -n kube-system delete pod -l k8s-app=kube-dns" in commands
    assert all(" " in each for each in commands)
