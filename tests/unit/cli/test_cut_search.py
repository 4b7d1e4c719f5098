"""`chaosext rehearse --longest` and `--worst` as people and pipelines call it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from checkout import ROOT
from jsonschema import Draft202012Validator

from chaosext.cli.main import invoke

SCHEMAS = ROOT / "docs" / "schemas"
STORY = str(ROOT / "examples" / "snapshots" / "story.json")
MITIGATED = str(ROOT / "examples" / "snapshots" / "mitigated.json")
SHORT = ("--up-to", "60s", "--step", "20s")


@pytest.fixture
def rehearse(capsys: pytest.CaptureFixture[str]) -> Any:
    def calling(*arguments: str) -> tuple[int, str]:
        code = invoke(["rehearse", "--time-budget", "1h", *arguments])
        said = capsys.readouterr()
        return code, said.out + said.err * (code == 20)

    return calling


def fits_a_screen(said: str) -> bool:
    lines = said.splitlines()
    return len(lines) <= 24 and max(map(len, lines)) <= 100


def test_longest_says_first_how_long_a_cut_may_last(rehearse: Any) -> None:
    code, said = rehearse("--snapshot", STORY, "--longest", *SHORT, "--fail-on", "deviated")
    assert code == 10
    assert said.startswith("not safe: at 20s the first kube-dns Pod moves to cp-1 (30s to 35s after the cut")
    assert "node worker-1 " in said
    assert fits_a_screen(said)


def test_longest_as_json_is_as_the_schema_says_and_has_the_point_of_no_return(rehearse: Any) -> None:
    words = ("--snapshot", MITIGATED, "--longest", *SHORT, "--json", "--cut-at", "2026-11-29T22:00:00+01:00")
    code, said = rehearse(*words, "--fail-on", "deviated", "--fail-on", "unknown")
    found = json.loads(said)
    Draft202012Validator(json.loads((SCHEMAS / "longest-cut.schema.json").read_text())).validate(found)
    assert (code, found["plan"]["safe_s"], found["plan"]["limit"]) == (0, 60, "none")
    assert found["plan"]["no_return"] == "2026-11-29T22:01:00+01:00"
    assert [each["domain"] for each in found["domains"]] == ["node worker-1", "node worker-2"]


def test_longest_with_a_mitigation_in_place(rehearse: Any) -> None:
    _, said = rehearse("--snapshot", STORY, "--longest", *SHORT, "--with", "dns-affinity")
    assert said.startswith("safe up to 1m, the longest tried (99%).")


def test_the_gate_s_schema_describes_the_longest_cut_as_its_own_schema_does() -> None:
    own = json.loads((SCHEMAS / "longest-cut.schema.json").read_text())["properties"]
    gate = json.loads((SCHEMAS / "gate.schema.json").read_text())["properties"]["longest"]["anyOf"][1]
    assert gate["properties"] == {name: own[name] for name in ("plan", "domains")}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--cut-for", "8m"), "--longest and --cut-for"),
        (("--flap", "on=15s,off=10s,times=7"), "--longest and --flap"),
        (("--rollback-at", "10m"), "--longest and --rollback-at"),
        (("--scenarios", "scenarios.yaml"), "--longest and --scenarios"),
        (("--step", "2m", "--up-to", "1m"), "--step 2m up to --up-to 1m"),
        (("--step", "1s", "--up-to", "23h"), "--step 1s up to --up-to 23h"),
        (("--probability", "0"), "--probability"),
    ],
)
def test_options_that_do_not_go_with_longest_are_refused(
    rehearse: Any, arguments: tuple[str, ...], says: str
) -> None:
    code, said = rehearse("--snapshot", STORY, "--longest", *arguments)
    assert code == 20
    assert says in said


# -- the worst cuts --------------------------------------------------------------------------------------------


def test_worst_says_first_which_cut_is_the_smallest_that_breaks_anything(rehearse: Any) -> None:
    code, said = rehearse("--snapshot", STORY, "--worst", "--cut-for", "2m", "--fail-on", "deviated")
    assert code == 10
    assert said.startswith(
        "1 node cut off for 2m breaks DNS, the mesh and a Service: control-plane node cp-1."
    )
    assert "node worker-2: DNS 100%" in said
    assert "worker-2 NotReady → " in said
    assert "left out: " in said
    assert fits_a_screen(said)


def test_worst_as_json_is_as_the_schema_says(rehearse: Any) -> None:
    code, said = rehearse("--snapshot", STORY, "--worst", "--cut-for", "2m", "--json")
    found = json.loads(said)
    Draft202012Validator(json.loads((SCHEMAS / "worst-cuts.schema.json").read_text())).validate(found)
    assert code == 0
    assert found["durations_s"] == [120]
    assert {tuple(each["domains"]) for each in found["cuts"]} >= {("node worker-1",), ("node worker-2",)}


def test_two_searches_print_the_same(rehearse: Any) -> None:
    words = ("--snapshot", STORY, "--worst", "--cut-for", "2m", "--json")
    assert rehearse(*words) == rehearse(*words)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--longest",), "--longest and --worst"),
        (("--cut-nodes", "worker-1"), "--worst and --cut-nodes"),
        (("--flap", "on=15s,off=10s,times=7"), "--worst and --flap"),
        (("--samples", "3"), "--worst and --samples"),
        (("--scenarios", "scenarios.yaml"), "--worst and --scenarios"),
    ],
)
def test_options_that_do_not_go_with_worst_are_refused(
    rehearse: Any, arguments: tuple[str, ...], says: str
) -> None:
    code, said = rehearse("--snapshot", STORY, "--worst", *arguments)
    assert code == 20
    assert says in said
