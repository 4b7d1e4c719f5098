"""`chaosext rehearse` as people and pipelines call it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from jsonschema import Draft202012Validator

from chaosext.cli.main import invoke
from chaosext.cli.prediction_text import brief_lines
from chaosext.cli.rehearse import MITIGATIONS
from chaosext.rehearsal.mitigate import mitigations
from chaosext.rehearsal.predict.predict import rehearse as predict
from chaosext.rehearsal.predict.scenarios import Scenario
from chaosext.rehearsal.snapshot.reader import read_snapshot

SNAPSHOTS = ROOT / "examples" / "snapshots"
SCHEMA = ROOT / "docs" / "schemas" / "rehearsal.schema.json"
STORY, MITIGATED = str(SNAPSHOTS / "story.json"), str(SNAPSHOTS / "mitigated.json")
LARGER = str(SNAPSHOTS / "larger.json.gz")
SHORT = ("--cut-for", "120s", "--horizon", "300s", "--samples", "12")


@pytest.fixture
def rehearse(capsys: pytest.CaptureFixture[str]) -> Any:
    def calling(*arguments: str) -> tuple[int, str]:
        budget = () if "--time-budget" in arguments else ("--time-budget", "1h")  # on a busy machine, too
        code = invoke(["rehearse", *arguments, *budget])
        said = capsys.readouterr()
        return code, said.out + said.err

    return calling


def test_the_bundled_snapshots_tell_the_story(rehearse: Any) -> None:
    verdicts = {}
    for path in (STORY, MITIGATED, LARGER):
        code, said = rehearse("--snapshot", path, "--no-advice", "--json", "--samples", "12")
        assert code == 0
        found = json.loads(said)
        verdicts[path] = found["verdict"], found["dns"]["after_heal"], found["self_heals"]
    assert verdicts[STORY] == ("deviated", "dead", False)
    assert verdicts[MITIGATED] == ("passed", "resolvable", True)
    assert verdicts[LARGER][1] in ("partial", "resolvable")


def test_the_json_is_as_the_schema_says(rehearse: Any) -> None:
    _, said = rehearse("--snapshot", STORY, *SHORT, "--json")
    found = json.loads(said)
    keys = {
        "schema",
        "assumptions",
        "timings",
        "timeline",
        "dns",
        "mesh",
        "workloads",
        "self_heals",
        "verdict",
    }
    more = {"headline", "advice", "outcomes", "method", "simulations", "routes", "routes_lost", "impact"}
    assert keys | more | {"doubts", "unsettled", "evidence"} == found.keys()
    assert found["simulations"]["made"] == found["simulations"]["wanted"]
    assert found["routes"] == {
        "proven": True,
        "rests_on": "Calico's BGP sessions, none of which crosses the cut",
        "doubts": [],
    }
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(found)
    assert found["schema"] == "chaosext.rehearsal/v1"
    assert {"during_cut", "after_heal", "per_node"} <= found["dns"].keys()
    for event in found["timeline"]:
        assert event["t_min_s"] <= event["t_s"] <= event["t_max_s"]
        assert 0 < event["probability"] <= 1
    assert sum(each["probability"] for each in found["outcomes"]) == pytest.approx(1.0, abs=0.01)
    assert {"mitigation", "effect", "passes", "how"} == found["advice"][0].keys()


def test_people_read_when_what_how_likely_why_and_what_would_help(rehearse: Any) -> None:
    _, said = rehearse("--snapshot", STORY, *SHORT, "-v")
    for wanted in (
        "prediction: deviated, it does not heal by itself",
        "DNS after the heal: dead: 2 of 2 kube-dns Pods on cp-1",
        "node_not_ready",
        "Node/worker-1: Ready is Unknown [kube-controller-manager: node lifecycle controller]",
        "resolvable  dead        resolvable  worker-1: dead",
        "1. dns-affinity: passed instead of deviated",
        "kubectl --namespace kube-system patch deployment coredns",
        "assumed:",
    ):
        assert wanted in said
    assert said.splitlines()[-23].startswith("NOT OK: DNS stays down on both nodes that were cut off")


def test_two_runs_print_the_same_bytes() -> None:
    """In processes of their own, whose hashes differ."""
    command = [sys.executable, "-c", "from chaosext.cli.main import main; main()", "rehearse", "--json"]
    outputs = {
        subprocess.run(
            [*command, "--snapshot", path, *SHORT],
            capture_output=True,
            check=True,
            timeout=120,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for path in (STORY,)
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_the_network_is_not_touched(rehearse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a rehearsal opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    assert rehearse("--snapshot", STORY, *SHORT)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((STORY, "--fail-on", "deviated"), 10),
        ((STORY, "--fail-on", "unknown"), 0),
        ((STORY, "--with", "dns-affinity", "--fail-on", "deviated"), 0),
        ((MITIGATED, "--fail-on", "deviated", "--fail-on", "unknown"), 0),
    ],
)
def test_a_pipeline_is_told_by_the_exit_code(rehearse: Any, arguments: tuple[str, ...], code: int) -> None:
    assert rehearse("--snapshot", *arguments, *SHORT, "--no-advice")[0] == code


def test_what_cant_be_known_can_fail_a_pipeline_too(rehearse: Any, tmp_path: Path) -> None:
    listed = json.loads(Path(STORY).read_text())
    listed["items"] = [each for each in listed["items"] if each["kind"] != "BGPPeer"]
    path = tmp_path / "without.json"
    path.write_text(json.dumps(listed))
    code, said = rehearse("--snapshot", str(path), *SHORT, "--fail-on", "unknown")
    assert code == 30
    assert said.startswith("UNKNOWN: the snapshot does not prove which nodes reach which Pods")
    assert "no BGPPeer in the snapshot" in said.splitlines()[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--snapshot", "/nowhere.json"), "/nowhere.json"),
        (("--snapshot", STORY, "--cut-nodes", "worker-9"), "--cut-nodes"),
        (("--snapshot", STORY, "--cut-for", "soon"), "--cut-for"),
        (("--snapshot", STORY, "--cut-for", "0s"), "--cut-for"),
        (("--snapshot", STORY, "--cut-for", "400s", "--horizon", "300s"), "--horizon"),
        (("--snapshot", STORY, "--flap", "on=15s,off=10s"), "--flap"),
        (
            ("--snapshot", STORY, "--flap", "on=15s,off=10s,times=7", "--cut-for", "8m"),
            "--flap and --cut-for",
        ),
        (("--snapshot", STORY, "--flap", "on=60s,off=60s,times=9", "--horizon", "15m"), "--horizon"),
        (("--snapshot", STORY, "--patch", "zones"), "zones changes nothing here"),
        (("--snapshot", STORY, "--rollback-at", "10s"), "rollback"),
        (("--snapshot", STORY, "--with", "luck"), "--with"),
        (("--snapshot", STORY, "--controller-manager-arg", "x=1"), "--controller-manager-arg"),
        (("--snapshot", STORY, "--cut-at", "2026-11-23T10:00:00"), "--cut-at"),
        (("--snapshot", STORY, "--samples", "0"), "--samples"),
        (("--snapshot", STORY, "--time-budget", "0s"), "--time-budget"),
        (("--snapshot", STORY, "--time-budget", "long"), "--time-budget"),
        (("--snapshot", STORY, "--scenarios", "/nowhere.yaml"), "--scenarios"),
        ((), "no snapshot is named"),
    ],
)
def test_bad_input_is_refused_with_its_field(rehearse: Any, arguments: tuple[str, ...], says: str) -> None:
    code, said = rehearse(*arguments)
    assert code == 20
    assert says in said


def test_every_cut_of_a_flap_is_played(rehearse: Any) -> None:
    """Four cuts of 16 s, 10 s apart, under a grace period of 20 s move kube-dns; one of them does not."""
    words = ("--snapshot", STORY, "--no-advice", "--samples", "12", "--json")
    _, said = rehearse(*words, "--flap", "on=16s,off=10s,times=4")
    found = json.loads(said)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(found)
    assert [event["t_s"] for event in found["timeline"] if event["kind"] == "cut"] == [0, 26, 52, 78]
    assert found["verdict"] == "deviated"
    assert "of simulations" in found["headline"]
    _, once = rehearse(*words, "--flap", "on=16s,off=10s,times=1")
    assert once == rehearse(*words, "--cut-for", "16s")[1]
    assert json.loads(once)["verdict"] == "passed"


def test_a_short_cut_says_for_how_long_dns_is_dead_after_it(rehearse: Any) -> None:
    """A cut of 15 s: DNS is dead on every node for some seconds after the heal, in about half of the simulations."""
    _, said = rehearse("--snapshot", STORY, "--no-advice", "--cut-for", "15s", "-v")
    headline = said.splitlines()[0]
    assert headline.startswith("prediction: passed in 96% of simulations after 4s, at most 7s, without DNS")
    assert headline.endswith("on 2 nodes after the heal (in 52% of simulations); deviates in 4%")
    assert "it heals by itself" not in headline
    assert re.search(
        r"\n   52%  2 nodes are without DNS for [34][.0-9]*s \(up to [67][.0-9]*s\) after the heal\n", said
    )
    assert "\nNOT OK: in 4% of simulations " in said


def test_the_horizon_follows_the_cut(rehearse: Any) -> None:
    words = ("--snapshot", STORY, "--no-advice", "--samples", "3")
    _, said = rehearse(*words, "--cut-for", "20m", "--rollback-at", "25m")
    assert "lose the control plane for 20m" in said
    assert "with the rollback at 25m, complete" in said


def test_a_patch_is_printed_alone_and_can_be_read(rehearse: Any) -> None:
    code, said = rehearse("--snapshot", STORY, "--patch", "dns-affinity")
    assert code == 0
    first, *yaml, last = said.splitlines()
    assert first.endswith("patch deployment coredns --type strategic --patch-file /dev/stdin <<'EOF'")
    assert yaml[0] == "spec:"
    assert yaml[-1] == "EOF"
    assert last.startswith("kubectl --namespace kube-system rollout status")


@pytest.mark.parametrize("option", ["--timeline", "--assumptions"])
def test_details_come_before_the_screen(rehearse: Any, option: str) -> None:
    words = ("--snapshot", STORY, *SHORT, "--no-advice")
    (_, screen), (_, said) = rehearse(*words), rehearse(*words, option)
    assert len(screen.splitlines()) < 24
    assert said.endswith(screen)
    assert len(said.splitlines()) > len(screen.splitlines()) + 2


def test_scenarios_print_their_verdict_and_one_line_each_in_their_order(
    rehearse: Any, tmp_path: Path
) -> None:
    path = tmp_path / "scenarios.yaml"
    name = "x" * 200
    path.write_text(
        f"- {{name: {name}, cut_for: 120s}}\n- {{name: helped, cut_for: 120s, with: [dns-affinity]}}\n"
    )
    code, said = rehearse("--snapshot", STORY, *SHORT, "--scenarios", str(path), "--fail-on", "deviated")
    assert code == 10
    verdict, _, first, second = said.splitlines()
    assert verdict == "NOT OK: 1 of 2 scenarios fails (1 deviated, 1 passed)"
    assert first.startswith("deviated")
    assert len(first) == 100
    assert second.startswith("passed ")
    assert second.endswith("helped with dns-affinity")


def test_many_scenarios_on_all_cores_are_as_one_by_one(rehearse: Any, tmp_path: Path) -> None:
    path = tmp_path / "scenarios.json"
    wanted = [{"cut_for": f"{30 + 10 * at}s", "seed": at} for at in range(12)]
    path.write_text(json.dumps(wanted))
    _, said = rehearse("--snapshot", STORY, *SHORT, "--scenarios", str(path), "--json")
    together = json.loads(said)["scenarios"]
    path.write_text(json.dumps(wanted[5:7]))
    _, said = rehearse("--snapshot", STORY, *SHORT, "--scenarios", str(path), "--json")
    alone = json.loads(said)["scenarios"]
    unnamed = [{**row, "name": ""} for row in together[5:7]]
    assert unnamed == [{**row, "name": ""} for row in alone]


def test_a_time_budget_that_is_too_short_leaves_it_unknown_and_says_how_much_was_simulated(
    rehearse: Any,
) -> None:
    code, said = rehearse(
        "--snapshot", STORY, *SHORT, "--json", "--time-budget", "1ms", "--fail-on", "unknown"
    )
    found = json.loads(said)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(found)
    assert (code, found["verdict"], found["self_heals"], found["workloads"]) == (30, "unknown", None, None)
    assert found["simulations"]["made"] == 0 < found["simulations"]["wanted"]
    assert "the time budget of 0.001s ended" in found["method"]
    _, said = rehearse("--snapshot", STORY, *SHORT, "--time-budget", "1ms")
    assert said.startswith("UNKNOWN: only 0 of 12 simulations were made before the time budget ended")


@pytest.mark.parametrize("text", ["{", "a: [", "x", "- {cut_nodez: a}", "\x00"])
def test_a_file_that_holds_no_scenarios_is_refused(rehearse: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "scenarios.yaml"
    path.write_text(text)
    code, said = rehearse("--snapshot", STORY, "--scenarios", str(path))
    assert code == 20
    assert "scenario" in said


def test_the_mitigations_on_offer_are_those_that_there_are() -> None:
    assert tuple(mitigations.MITIGATIONS) == MITIGATIONS


def test_a_snapshot_from_stdin_is_predicted_as_its_file() -> None:
    command = [
        sys.executable,
        "-c",
        "from chaosext.cli.main import main; main()",
        "rehearse",
        "--json",
        *SHORT,
    ]
    outputs = {
        subprocess.run(
            [*command, "--snapshot", path],
            input=Path(STORY).read_bytes(),
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout
        for path in (STORY, "-")
    }
    assert len(outputs) == 1


def test_what_was_read_of_a_directory_is_said(rehearse: Any, tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_bytes(Path(STORY).read_bytes())
    (tmp_path / "notes.txt").write_text("nothing")
    code, said = rehearse("--snapshot", str(tmp_path), *SHORT, "--no-advice")
    assert code == 0
    assert "objects from 1 file; passed over 1 file without objects" in said


def test_dns_that_was_down_before_is_not_blamed_on_the_cut(rehearse: Any, tmp_path: Path) -> None:
    found = json.loads(Path(STORY).read_text())
    for each in found["items"]:
        if each["kind"] == "Pod" and each["metadata"]["name"].startswith("coredns"):
            each["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    path = tmp_path / "c.json"
    path.write_text(json.dumps(found))
    code, said = rehearse("--snapshot", str(path), *SHORT, "--no-advice", "--fail-on", "unknown")
    assert code == 30
    assert said.startswith("UNKNOWN: nothing can be said about this cut's effect on DNS; it was down before")
    assert "dns_dead" not in said


def test_the_brief_before_a_run_has_the_words_of_the_screen() -> None:
    world = read_snapshot([Path(STORY)])
    plan = Scenario(rollback_s=660.0).plan(world)
    verdict, *lines = brief_lines(predict(world, plan, samples=12))
    assert verdict == "NOT OK: DNS stays down on 2 of 3 nodes after the network is back"
    assert "  Cut: 0s to 8m" in lines
    assert any(line.startswith("  DNS: down on 2 8m") for line in lines)
    assert any(line.startswith("  Pods: 8 crash-loop ") for line in lines)
