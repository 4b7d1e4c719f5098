"""What of ours is where: who attends to it, what somebody has to see to, and how that is said at 23:03."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from checkout import ROOT
from overviews import ALIVE, DEAD, ELSEWHERE, cut, lock, node, sentinels, unfinished

from chaosext.cleanup import survey
from chaosext.cleanup.inventory import Overview, RunnerState
from chaosext.cleanup.survey import look
from chaosext.cli.main import invoke
from chaosext.cli.status import status_lines
from chaosext.model.clock import Moment
from chaosext.model.errors import Refused
from chaosext.safety.intent import Changed, IntentLog, intent_log

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.model.owner import Holder, LockFacts
    from chaosext.nodes.shell import NodeAccess
    from chaosext.partition.reports import NodeTables

GOLDEN = ROOT / "tests" / "golden" / "cli"


@pytest.mark.parametrize(
    ("found", "intended", "runner"),
    [
        (None, None, RunnerState.UNKNOWN),
        (None, ALIVE, RunnerState.ALIVE),
        (None, DEAD, RunnerState.DEAD),
        (None, ELSEWHERE, RunnerState.UNKNOWN),
        (lock("a", ALIVE), None, RunnerState.ALIVE),
        (lock("a", DEAD), None, RunnerState.DEAD),
        (lock("a", DEAD), ALIVE, RunnerState.DEAD),
        (lock("a", ELSEWHERE), None, RunnerState.ELSEWHERE),
        (lock("a", None), None, RunnerState.ELSEWHERE),
        (lock("a", ALIVE, 0), None, RunnerState.UNKNOWN),
        (lock("b", ALIVE), None, RunnerState.UNKNOWN),
    ],
)
def test_what_is_known_of_a_runner(
    found: LockFacts | None, intended: Holder | None, runner: RunnerState
) -> None:
    overview = Overview(nodes=(node("cp", lock=found),), holders={"a": intended} if intended else {})
    assert overview.runner("a") is runner


DRAINED = Changed(run="a", entry="way-entry", cluster="way")
ASKED, HUNG = node("cp"), node("cp", problem="cp: no answer within 10 s")


@pytest.mark.parametrize(
    ("overview", "exit_code"),
    [
        ({}, 30),
        ({"nodes": (ASKED,)}, 0),
        ({"nodes": (node("cp", cut("a"), lock=lock("a", ALIVE)),)}, 10),
        ({"nodes": (node("cp", cut("a"), lock=lock("a", ELSEWHERE)),)}, 10),
        ({"nodes": (node("cp", cut("a", 0)),)}, 10),
        ({"nodes": (node("cp", lock=lock("a", None, 0)),)}, 10),
        ({"nodes": (node("cp", lock=lock("a", DEAD)),)}, 10),
        ({"nodes": (ASKED,), "unfinished": (unfinished("a", "cp"),)}, 10),
        ({"nodes": (ASKED,), "sentinels": (sentinels("a", ALIVE),)}, 10),
        ({"nodes": (ASKED,), "sentinels": (sentinels("a", None),)}, 10),
        ({"nodes": (ASKED,), "drained": (DRAINED,)}, 40),
        ({"nodes": (ASKED,), "drained": (DRAINED,), "holders": {"a": ALIVE}}, 10),
        ({"nodes": (ASKED,), "drained": (DRAINED,), "holders": {"a": DEAD}}, 40),
        ({"nodes": (HUNG,)}, 30),
        ({"problems": ("docker can't be asked",)}, 30),
        ({"nodes": (HUNG,), "unfinished": (unfinished("a", "cp", age_s=100, ttl_s=60),)}, 30),
        ({"nodes": (HUNG,), "unfinished": (unfinished("a", "other"),)}, 30),
        ({"nodes": (HUNG,), "unfinished": (unfinished("a", "cp"),)}, 40),
        ({"nodes": (HUNG,), "unfinished": (unfinished("a", "cp", age_s=100, ttl_s=None),)}, 40),
        ({"nodes": (node("cp", cut("a")),)}, 40),
        ({"nodes": (node("cp", cut("a"), lock=lock("b", ALIVE)),)}, 40),
        ({"nodes": (node("cp", cut("a"), lock=lock("a", DEAD)),)}, 40),
        ({"nodes": (node("cp", cut("a")), node("w", problem="gone"))}, 40),
    ],
)
def test_the_exit_code_is_that_of_the_worst(overview: dict[str, Any], exit_code: int) -> None:
    assert Overview(**overview).exit_code == exit_code


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is 23:05:10 when the kernel lets go, whenever this is read."""
    at = datetime(2026, 11, 23, 23, 5, 10, tzinfo=UTC)
    monkeypatch.setattr(Moment, "as_wall_clock", lambda _: at)


BUSY = Overview(
    nodes=(
        node("chaosext-control-plane", cut("20261123t230300ab12"), lock=lock("20261123t230300ab12", DEAD)),
        node("chaosext-worker"),
        node("cp-2", cut("20261122t010203cd34", 0, packets=0), lock=lock("20261122t010203cd34", None, 0)),
        node("cp-3", problem="cp-3: no answer within 10 s"),
    ),
    unfinished=(unfinished("20261123t230300ab12", "chaosext-control-plane", "cp-3"),),
    holders={"20261123t230300ab12": DEAD},
    sentinels=(sentinels("20261123t230300ab12", DEAD),),
    problems=("docker can't list kind's nodes (…): list them with --node",),
)
CALM = Overview(nodes=(node("cp", cut("a", 30), lock=lock("a", ALIVE)), node("w")))


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize(
    ("name", "overview"),
    [
        ("status-busy.txt", BUSY),
        ("status-calm.txt", CALM),
        ("status-nothing.txt", Overview(nodes=(node("cp"), node("w")))),
    ],
)
def test_what_people_read(name: str, overview: Overview) -> None:
    compare(name, "\n".join(status_lines(overview)) + "\n")


@pytest.mark.usefixtures("still")
def test_what_machines_read() -> None:
    compare("status.json", _without_holder(json.dumps(BUSY.to_json(), indent=2, ensure_ascii=False)) + "\n")


def _without_holder(text: str) -> str:
    return text.replace(str(DEAD), "HOST/BOOT/PIDS/PID/START")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What docker shows, and what was inspected by which transport."""
    found: dict[str, Any] = {"docker": ("kind-cp", "kind-w"), "asked": {}}

    def inspect(shells: dict[str, Any]) -> tuple[NodeTables, ...]:
        found["asked"] = {name: type(shell).__name__ for name, shell in shells.items()}
        return tuple(node(name) for name in reversed(shells))

    def discover(way: NodeAccess, cluster: str | None) -> tuple[str, ...]:
        if isinstance(found["docker"], Exception):
            raise found["docker"]
        return found["docker"] if way.transport == "docker" else ()

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(survey, "inspect", inspect)
    monkeypatch.setattr(survey, "discover", discover)
    return found


def intend(run: str, *nodes: str, **more: Any) -> None:
    intent_log().write({"event": "intent", "run": run, "nodes": list(nodes), "ttl_s": 60, **more})


def test_nodes_are_found_by_docker_by_name_and_by_the_intent_log(world: dict[str, Any]) -> None:
    intend("a", "kind-cp", "n1", transport="netns")
    overview = look(["mine"]).overview
    assert world["asked"] == {
        "kind-cp": "DockerShell",
        "kind-w": "DockerShell",
        "mine": "DockerShell",
        "n1": "NetnsShell",
    }
    assert [each.node for each in overview.nodes] == ["kind-cp", "kind-w", "mine", "n1"]
    assert [each.run for each in overview.unfinished] == ["a"]
    assert overview.runner("a") is RunnerState.ALIVE


def test_a_finished_runs_holder_is_remembered(world: dict[str, Any]) -> None:
    intend("a", "kind-cp")
    intent_log().write({"event": "gone", "run": "a", "nodes": ["kind-cp"]})
    overview = look().overview
    assert (overview.unfinished, overview.runner("a")) == ((), RunnerState.ALIVE)


def test_without_docker_named_nodes_are_asked_and_nobody_else_is_forgotten(world: dict[str, Any]) -> None:
    world["docker"] = Refused("docker can't be asked", "name nodes")
    assert look(["mine"]).overview.problems == ()
    assert look().overview.problems == ("docker can't be asked: name nodes",)
    intend("a", "kind-cp")
    assert [each.node for each in look().overview.nodes] == ["kind-cp"]


def test_of_one_cluster_the_intent_log_names_no_others_nodes(world: dict[str, Any]) -> None:
    """`cleanup --all --cluster staging` is no reason to touch what goes on elsewhere."""
    intend("mine", "kind-cp")
    intend("theirs", "prod-cp", context="kind-prod")
    intend("gone", "old-cp", context="kind-kind")
    world["docker"] = ("kind-cp",)
    assert {each.node for each in look().overview.nodes} == {"kind-cp", "prod-cp", "old-cp"}
    overview = look(cluster="kind").overview
    assert {each.node for each in overview.nodes} == {"kind-cp", "old-cp"}
    assert [run.run for run in overview.unfinished] == ["mine", "gone"]


def test_to_find_no_node_is_not_to_see_nothing() -> None:
    assert list(status_lines(Overview())) == ["no nodes found, so nothing was checked: name them with --node"]


def test_an_intent_log_that_can_not_be_read_keeps_no_node_from_being_asked(
    world: dict[str, Any], tmp_path: Path
) -> None:
    IntentLog(tmp_path / "chaosext" / "intent.jsonl").path.mkdir(parents=True)
    overview = look().overview
    assert [each.node for each in overview.nodes] == ["kind-cp", "kind-w"]
    assert "can't be read" in overview.problems[0]
    assert overview.exit_code == 30


@pytest.mark.parametrize(
    ("nodes", "more", "why"),
    [
        (["n1"], {"transport": "carrier-pigeon"}, "transport: unknown value 'carrier-pigeon'"),
        (["--privileged"], {}, "node: '--privileged' is not a valid node name"),
        (["n1\0"], {}, "is not a valid node name"),
    ],
)
def test_an_entry_that_leads_nowhere_keeps_no_other_node_from_being_asked(
    world: dict[str, Any], nodes: list[str], more: dict[str, Any], why: str
) -> None:
    intend("broken", *nodes, **more)
    intend("a", "n2", transport="netns")
    overview = look().overview
    assert world["asked"].keys() == {"kind-cp", "kind-w", "n2"}
    assert [each.run for each in overview.unfinished] == ["broken", "a"]
    assert overview.unasked.keys() == set(nodes)
    assert why in overview.unasked[nodes[0]]
    assert [(name, run.run) for name, run in overview.in_doubt] == [(nodes[0], "broken")]
    assert overview.exit_code == 40


def test_a_table_that_only_has_our_prefix_is_said_and_is_no_cut(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = replace(node("kind-cp"), foreign=("chaosext_allowlist",))
    monkeypatch.setattr(survey, "inspect", lambda _: (foreign,))
    overview = look().overview
    assert (tuple(overview.cuts), overview.has_something) == ((), False)
    (problem,) = overview.problems
    assert problem.startswith("table inet chaosext_allowlist on kind-cp is not chaosext's")
    assert overview.exit_code == 30


def test_the_command(world: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "chaosext.status/v1"
    assert invoke(["status", "--transport", "ssh"]) == 20
    assert invoke(["status", "--node", "--privileged"]) == 20
    assert "is not a valid node name" in capsys.readouterr().err
