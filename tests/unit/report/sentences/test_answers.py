"""The six answers: what was not seen is called absent only where somebody looked for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from runs import RUNS, run
from stories import CP, ONE, STORIES, TWO, event, result, verdict

from chaosext.model.findings import Status
from chaosext.model.result import Lane, Ruling, VerdictRule
from chaosext.model.timeline import Event, Kind
from chaosext.model.verdict import Outcome
from chaosext.report.data.run_data import RunData
from chaosext.report.sentences.answers import answers, headline
from chaosext.timeline.outages import outages

PASSED = RUNS["passed"]
CALM = ("Nothing broke", "There was no outage", "Nobody that", "Nothing:", "Yes")
"""How sentences begin that may only be said of what was watched to its end."""


def told(data: RunData) -> dict[str, str]:
    return {each.question: " ".join(each.lines) for each in answers(data)}


UNWATCHED = replace(PASSED, stretches={}, sentinels=False, result=replace(PASSED.result, clocks={}))
UNREADABLE = replace(PASSED, stretches={}, missing=("sentinels/clocks.json can't be read",))


def blind(*windows: tuple[float, float | None]) -> RunData:
    return replace(PASSED, result=replace(PASSED.result, unobserved={TWO: windows}))


@pytest.mark.parametrize("story", ["inconclusive", "interrupted", "killed", "unsafe"])
def test_a_run_that_did_not_come_to_its_end_says_nothing_calm(story: str) -> None:
    said = told(RUNS[story])
    for question in ("What broke?", "For how long?", "Who was affected?"):
        assert not said[question].startswith(CALM), question
    assert said["For how long?"].startswith("Unknown: ")
    assert said["Who was affected?"].startswith("Unknown: ")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (UNWATCHED, "no sentinel watched from the nodes"),
        (UNREADABLE, "the sentinels' records can't be read"),
        (blind((30.0, 50.0)), f"{TWO} was not watched all the time"),
        (blind((70.0, None)), f"{TWO} was not watched all the time"),
        (replace(PASSED, missing=("sentinels/x.jsonl: 3 lines can't be read",)), "can't be read"),
    ],
)
def test_a_pass_that_was_not_watched_whole_is_not_said_to_be_without_outage(data: RunData, why: str) -> None:
    said = told(data)
    assert headline(data).startswith("No outage was seen, but ")
    assert why in headline(data)
    for question in ("What broke?", "For how long?", "Who was affected?"):
        assert said[question].startswith("Unknown: "), question
        assert why in said[question], question


def test_a_pass_without_sentinels_leaves_something_to_do() -> None:
    assert told(PASSED)["Next steps"].startswith("None. ")
    assert told(UNWATCHED)["Next steps"].startswith("Run it with sentinels")


@pytest.mark.parametrize("data", [PASSED, blind((30.0, 31.0))])
def test_a_pass_that_was_watched_whole_is_calm(data: RunData) -> None:
    said = told(data)
    assert headline(data) == "Nothing broke."
    assert said["For how long?"] == "There was no outage to measure."
    assert said["Who was affected?"] == "Nothing that was watched."


def test_a_run_that_was_killed_while_it_cut_is_not_said_to_have_cut_nothing() -> None:
    killed = verdict(Outcome.NOT_KNOWN, "the run left no readable result.json")
    data = RunData(result=result(killed, event(-3.0, Kind.STEADY, "Cluster/x", "")))
    assert told(data)["Is it over?"] == "Unknown: the run recorded no cut."


def test_a_run_that_was_interrupted_before_its_cut_has_healed_none() -> None:
    early = verdict(Outcome.INTERRUPTED, "signal 15 ended the run; nothing had been cut", number=15)
    said = told(RunData(result=result(early)))
    assert said["Is it over?"] == "Yes: nothing was cut."
    assert said["Next steps"].startswith("Nothing had been cut")


def test_a_cut_of_which_one_node_was_not_healed_is_not_over() -> None:
    ended = verdict(Outcome.INTERRUPTED, "signal 15 ended the run", number=15)
    cut, heal = (event(0.0, Kind.CUT, "Node/cp-1,cp-2", ""), event(9.0, Kind.HEAL, "Node/cp-1", ""))
    assert told(RunData(result=result(ended, cut, heal)))["Is it over?"] == "Unknown: no heal was seen."


def test_a_gap_that_hides_no_outage_makes_none_longer() -> None:
    story = run("deviated-rollback-verified")
    short = replace(story, result=replace(story.result, unobserved={ONE: ((180.0, 181.0),)}))
    assert told(short) == told(story)


@pytest.mark.parametrize(
    ("dns", "said"),
    [
        ({ONE: ((1.0, 9.0),)}, "DNS failed on 1 of 3 nodes for 8s."),
        ({ONE: ((1.0, 9.0),), TWO: ((1.0, 6.0),)}, "DNS failed on 2 of 3 nodes for up to 8s."),
        ({ONE: ((1.0, 9.0), (20.0, 22.0))}, "DNS failed on 1 of 3 nodes for up to 8s."),
        (
            {CP: ((1.0, 9.0),), ONE: ((1.0, 9.0),), TWO: ((181.0, None),)},
            "DNS failed on all 3 nodes for at least 9.4s; 1 not back when the run ended.",
        ),
        (
            {TWO: ((181.0, None),)},
            "DNS failed on 1 of 3 nodes for at least 9.4s; not back when the run ended.",
        ),
    ],
)
def test_the_headline_says_on_how_many_of_how_many_and_what_is_not_back(
    dns: dict[str, tuple[tuple[float, float | None], ...]], said: str
) -> None:
    story = STORIES["deviated-rollback-verified"]
    outages = {Lane.DNS: {f"Node/{node}": windows for node, windows in dns.items()}}
    assert headline(RunData(result=replace(story, outages=outages))) == said


def test_a_service_is_nobody_who_feels_it_where_its_pods_are_known() -> None:
    said = told(RUNS["deviated-rollback-verified"])
    assert "istiod" not in said["Who was affected?"]
    assert "istiod" not in said["For how long?"]


def test_what_is_missing_is_why_it_is_not_over_and_what_to_do_about_it() -> None:
    data = RUNS["deviated-rollback-not-verified"]
    gone = event(60.0, Kind.NODE_DELETED, f"Node/{TWO}", "its Node object was deleted")
    back = event(90.0, Kind.NODE_READY, f"Node/{TWO}", "registered again, and Ready")
    lost = Ruling(
        rule=VerdictRule.COMPLETE, status=Status.UNHEALTHY, reason=f"Node/{TWO} is gone (1 of 9 objects)"
    )

    def said(*events: Event) -> dict[str, str]:
        ordered = tuple(sorted((*data.result.events, *events), key=lambda each: each.t_s))
        judged = replace(data.result, events=ordered, outages=outages(ordered), rulings=(lost,))
        return told(replace(data, result=judged))

    assert said(gone)["Is it over?"] == f"No: since the baseline Node/{TWO} is gone (1 of 9 objects)."
    assert f"on {TWO}: restart kubelet (`systemctl restart kubelet`)" in said(gone)["Next steps"]
    assert "restart kubelet" not in said(gone, back)["Next steps"]
