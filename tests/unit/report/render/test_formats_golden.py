"""Reports of every kind of run, byte for byte; `GOLDEN=write pytest …` writes the files anew.

And what must be true of all of them: whoever was asleep finds their answers on the first screen.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from html import unescape

import pytest
from checkout import ROOT
from runs import RUNS
from stories import STORIES, event

from chaosext.model.result import ForeignRules, Lane, NodeClock
from chaosext.model.timeline import Kind
from chaosext.model.verdict import Outcome, Verdict
from chaosext.report.data.account import covers
from chaosext.report.data.lane_state import State
from chaosext.report.data.run_comparison import compare
from chaosext.report.data.run_data import RunData
from chaosext.report.render.comparison_markdown import markdown
from chaosext.report.render.html.lanes_of_run import swims
from chaosext.report.render.html.page import page
from chaosext.report.render.html.time_axis import axis_of
from chaosext.report.render.junit import junit
from chaosext.report.render.markdown import summary
from chaosext.report.sentences.what_to_do import removal

GOLDEN = ROOT / "tests" / "golden"

COMPARED = {
    "mended": ("deviated-rollback-verified", "passed"),
    "worse": ("passed", "deviated-rollback-not-verified"),
    "killed": ("deviated-rollback-verified", "killed"),
}


def same(folder: str, name: str, text: str) -> None:
    path = GOLDEN / folder / name
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("story", RUNS)
def test_markdown(story: str) -> None:
    same("summary", f"{story}.md", summary(RUNS[story]))


@pytest.mark.parametrize("story", RUNS)
def test_junit(story: str) -> None:
    same("junit", f"{story}.xml", junit(RUNS[story]))


@pytest.mark.parametrize("pair", COMPARED)
def test_comparison(pair: str) -> None:
    first, second = (RUNS[story] for story in COMPARED[pair])
    second = replace(second, result=replace(second.result, run="20261124t230300ab12"))
    same("comparison", f"{pair}.md", markdown(compare(first, second)))


ASKED = ("What broke?", "Why?", "For how long?", "Who was affected?", "Is it over?", "Next steps")

FACTS = {
    "passed": ("exit 0", "no outage was seen", "Yes"),
    "deviated-rollback-verified": (
        "exit 10",
        "DNS failed on all 3 nodes for up to 1m22.2s",
        "no BGP session",
        "1m22.2s",
        "chaosext-worker2",
        "Yes, since 3m10.4s",
        "node affinity",
    ),
    "deviated-half-seen": (
        "exit 10",
        "1 node went unobserved for 27.5s in total, so outages may have been longer",
    ),
    "deviated-rollback-not-verified": (
        "exit 11",
        "no BGP session",
        "not back when the run ended",
        "No, or unknown",
        "kubectl -n kube-system delete pod -l k8s-app=kube-dns",
    ),
    "inconclusive": ("exit 30", "Unknown", "fc00:f853:ccd:e793::2", "proved nothing"),
    "unsafe": (
        "exit 40",
        "chaosext-control-plane",
        "nft delete table",
        "A cut may still be active. Remove it first:",
        "No: rules of chaosext may still be active",
        "Unknown: the run did not end properly",
    ),
    "refused": ("exit 20", "the run was refused before it touched anything", "max_ttl_s"),
    "interrupted": (
        "exit 143",
        "Unknown: the run was stopped early",
        "Signal 15",
        "healed at 23s",
        "check all",
    ),
    "killed": ("Unknown: the run left no result", "result.json", "no heal was seen", "chaosext cleanup"),
}
"""Run -> what a reader at three in the morning has to find at once."""


@pytest.mark.parametrize("story", RUNS)
def test_the_first_screen_answers_the_six_questions(story: str) -> None:
    """In Markdown that is what stands before the first section; in HTML, before the chain of causes."""
    screens = {
        "markdown": summary(RUNS[story]).partition("\n## ")[0],
        "html": text_of(page(RUNS[story]).partition('<section id="causes"')[0]),
    }
    for form, screen in screens.items():
        places = [screen.find(question) for question in ASKED]
        assert -1 not in places, form
        assert places == sorted(places), form
        for fact in FACTS[story]:
            assert plain(fact) in plain(screen), (form, fact)


def test_after_an_unsafe_run_the_command_that_makes_it_safe_comes_first() -> None:
    reports = summary(RUNS["unsafe"]), text_of(page(RUNS["unsafe"]))
    for text in reports:
        command = text.index("docker exec chaosext-control-plane nft delete table inet chaosext_")
        assert command < text.index("What broke?")


def test_what_is_left_and_nobody_has_a_command_for_is_cleaned_up() -> None:
    verdict = Verdict(outcome=Outcome.UNSAFE, reasons=("something went wrong",))
    assert removal(verdict) == ("chaosext cleanup",)


def text_of(html: str) -> str:
    """What is read of a page: no markup, no style."""
    shown = re.sub(r"(?s)<(style|script|svg)\b.*?</\1>", " ", html.partition("<body")[2])
    return unescape(re.sub(r"<[^>]+>", " ", shown))


def plain(text: str) -> str:
    return re.sub(r"[\\`*]|\s+", "", text)


@pytest.mark.parametrize("story", RUNS)
def test_no_lane_is_drawn_good_while_its_dns_was_dead(story: str) -> None:
    """The page that shows an outage in red is made of what the sentinels saw: fixture and result must agree."""
    data = RUNS[story]
    lanes = {swim.key: swim.tracks for swim in swims(data, axis_of(each.t_s for each in data.result.events))}
    dead = {name.removeprefix("Node/"): windows for name, windows in data.result.dns_outages.items()}
    drawn = {track.name: track.bars for track in lanes.get(Lane.DNS, ())}
    assert dead.keys() <= drawn.keys()
    for node, windows in dead.items():
        red = [(bar.start_s, bar.end_s) for bar in drawn[node] if bar.state is State.OUT]
        assert len(red) == len(windows)
        assert all(any(covers((start_s, end_s), each[0]) for start_s, end_s in red) for each in windows)


def test_no_golden_file_is_forgotten() -> None:
    expected = {"summary": {f"{each}.md" for each in RUNS}, "junit": {f"{each}.xml" for each in RUNS}}
    expected["comparison"] = {f"{each}.md" for each in COMPARED}
    for folder, names in expected.items():
        assert {path.name for path in (GOLDEN / folder).iterdir()} == names


def test_a_long_run_of_many_nodes_fits_a_comment_of_a_pull_request() -> None:
    """GitHub takes 65 536 characters."""
    nodes = [f"Node/worker-{n}" for n in range(100)]
    events = tuple(
        event(float(t_s), Kind.DNS_DEAD, name, "10.2.112.10:53/udp timed out")
        for t_s in range(50)
        for name in nodes
    )
    outages = {lane: dict.fromkeys(nodes, ((1.0, 9.0), (12.0, 15.0), (20.0, None))) for lane in Lane}
    blind = {name.removeprefix("Node/"): ((3.0, 4.0),) * 9 for name in nodes}
    clocks = {
        name.removeprefix("Node/"): NodeClock(offset_s=1.0, error_s=0.1, wall_skew_s=90.0, boots=1)
        for name in nodes
    }
    run = replace(STORIES["passed"], events=events, outages=outages, unobserved=blind, clocks=clocks)
    text = summary(RunData(result=run))
    assert len(text) < 65_536
    assert "more in timeline.jsonl" in text


def test_changes_of_foreign_rules_are_told_by_author_and_none_is_hidden() -> None:
    rules = ForeignRules(
        changed_by={"kube-proxy": 32, "Calico": 1},
        unattributed=("cp-1: tables: + table inet mine {",),
        not_compared=("cp-2",),
    )
    text = summary(RunData(result=replace(STORIES["passed"], foreign_rules=rules)))
    told = text.partition("Firewall rules of others</summary>\n\n")[2].partition("\n\n")[0]
    assert told.splitlines() == [
        "- changed by Calico: 1 line",
        "- changed by kube-proxy: 32 lines",
        "- changed by an unknown author: cp-1: tables: + table inet mine {",
        "- not compared: cp-2",
    ]
    assert STORIES["passed"].to_json()["foreign_rules"]["identical"] is True
    assert STORIES["unsafe"].to_json()["foreign_rules"] is None
