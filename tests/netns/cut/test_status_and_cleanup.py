"""`chaosext status` and `chaosext cleanup` on a real kernel: what processes that live or were killed have put there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.cli.main import invoke
from chaosext.safety.intent import intent_log

from .lab import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .lab import Namespaces

pytestmark = pytest.mark.netns

ROLES = ("n0", "n1", "n2")

RUNNER = """
import os, signal, sys, time
from chaosext.model.owner import Claim
from chaosext.nodes.shell import NodeAccess
from chaosext.nodes.transport import shells
from chaosext.partition.apply import arm
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.node_lock import lock_nodes
from chaosext.safety.intent import intent_log

run, ttl_s, does, *names = sys.argv[1:]
on = shells(names, NodeAccess(transport="netns"))
if "lock" in does:
    lock_nodes(Claim(run=run, owner="t@t"), on)
if "log" in does:
    intent = {"run": run, "event": "intent", "owner": "t@t", "ttl_s": float(ttl_s), "transport": "netns"}
    intent_log().write({**intent, "nodes": names})
nodes = tuple(NodeCut(node=name, uplinks=("eth0",)) for name in names)
arm(Cut(run=run, owner="t@t", nodes=nodes, peers=peers_of(["10.77.0.2", "fd77::2"]), ttl_s=float(ttl_s)), on)
print("armed", flush=True)
if "die" in does:
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def runner(nodes: Namespaces) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A process that has armed a cut on the nodes, and then lives on or dies by SIGKILL."""
    started: list[subprocess.Popen[str]] = []

    def start(run: str, does: str, *roles: str, ttl_s: float = 30) -> subprocess.Popen[str]:
        names = [nodes.name(role) for role in roles or ROLES]
        argv = [sys.executable, "-c", RUNNER, run, str(ttl_s), does, *names]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == "armed\n"
        if "die" in does:
            assert process.wait(timeout=10) == -signal.SIGKILL
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def chaosext(nodes: Namespaces, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """The command on all three nodes: its exit code, and the JSON that it prints."""

    def command(*arguments: str, named: bool = True) -> tuple[int, Any]:
        names = [word for role in ROLES for word in ("--node", nodes.name(role))] if named else []
        exit_code = invoke([*arguments, *names, "--transport", "netns", "--json"])
        return exit_code, json.loads(capsys.readouterr().out)

    return command


def rules(nodes: Namespaces) -> list[str]:
    return [nodes.rules(role) for role in ROLES]


def kinds(told: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {(each["kind"], each["run"], each["why"]) for each in told}


def test_bare_nodes(chaosext: Any, nodes: Namespaces) -> None:
    assert chaosext("status")[0] == 0
    exit_code, told = chaosext("cleanup")
    assert (exit_code, told["removed"], rules(nodes)) == (0, [], ["", "", ""])


def test_an_expired_table_is_said_and_cleaned_up_once(chaosext: Any, runner: Any, nodes: Namespaces) -> None:
    runner("old", "die", ttl_s=1)
    wait_until(lambda: chaosext("status")[0] == 10, within_s=4)
    cuts = [cut for node in chaosext("status")[1]["nodes"] for cut in node["cuts"]]
    assert [(cut["run"], cut["live"], cut["remaining_s"]) for cut in cuts] == [("old", False, 0)] * 3
    assert chaosext("cleanup", "--dry-run")[1]["removed"]
    assert all(rules(nodes))
    exit_code, told = chaosext("cleanup")
    assert (exit_code, kinds(told["removed"]), rules(nodes)) == (0, {("cut", "old", "expired")}, ["", "", ""])
    assert chaosext("cleanup")[1]["removed"] == []
    assert chaosext("status")[0] == 0


THEIRS = """table inet chaosext_allowlist {
  set peers4 { type ipv4_addr . inet_service; elements = { 192.0.2.7 . 443 }; }
  chain input { type filter hook input priority 0; policy accept; ip saddr . tcp dport @peers4 counter drop; }
}
"""


def test_a_table_of_another_that_has_our_prefix_is_left_alone_and_said(
    chaosext: Any, runner: Any, nodes: Namespaces
) -> None:
    runner("old", "die", ttl_s=1)
    nodes.nft("n0", THEIRS)
    wait_until(lambda: chaosext("status")[0] == 30, within_s=4)
    for more in ([], ["--all"], ["--run", "allowlist"]):
        exit_code, told = chaosext("cleanup", *more)
        (problem,) = told["problems"]
        assert problem.startswith(f"table inet chaosext_allowlist on {nodes.name('n0')} is not chaosext's")
        assert exit_code == 30
        assert "ip saddr . tcp dport @peers4" in nodes.rules("n0")
    assert [nodes.rules(role) for role in ("n1", "n2")] == ["", ""]
    assert "chaosext_old" not in nodes.rules("n0")


def test_a_cut_with_a_rule_of_another_in_its_table_is_left_and_named(
    chaosext: Any, runner: Any, nodes: Namespaces
) -> None:
    runner("killed", "lock die")
    nodes.nft("n0", "add chain inet chaosext_killed theirs\n")
    exit_code, told = chaosext("cleanup")
    (left,) = told["left"]
    assert (exit_code, left["node"], left["foreign"]) == (40, nodes.name("n0"), "chain theirs")
    assert told["may_cut"] == {"killed": [nodes.name("n0")]}
    assert [nodes.rules(role) for role in ("n1", "n2")] == ["", ""]


def test_what_a_killed_runner_left_is_an_orphan_without_any_log(
    chaosext: Any, runner: Any, nodes: Namespaces
) -> None:
    runner("killed", "lock die")
    exit_code, told = chaosext("status")
    assert exit_code == 40
    (cut,) = told["nodes"][0]["cuts"]
    assert (cut["owner"], cut["runner"], cut["uplinks"], cut["peers"]) == ("t@t", "dead", ["eth0"], 2)
    assert 25 <= cut["remaining_s"] <= 30
    assert told["nodes"][0]["lock"]["runner"] == "dead"
    exit_code, told = chaosext("cleanup")
    assert (exit_code, rules(nodes)) == (0, ["", "", ""])
    assert kinds(told["removed"]) == {("cut", "killed", "orphaned"), ("lock", "killed", "orphaned")}
    assert chaosext("cleanup")[1]["removed"] == []


def test_the_intent_log_knows_the_nodes_and_the_dead(
    chaosext: Any, runner: Any, nodes: Namespaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner("logged", "log die", "n0", "n2")
    exit_code, told = chaosext("status", named=False)
    assert (exit_code, [node["node"] for node in told["nodes"]]) == (40, [nodes.name("n0"), nodes.name("n2")])
    exit_code, told = chaosext("cleanup", named=False)
    assert (exit_code, kinds(told["removed"])) == (0, {("cut", "logged", "orphaned")})
    assert (intent_log().outstanding(), rules(nodes)) == ((), ["", "", ""])
    exit_code, told = chaosext("status", named=False)
    empty: dict[str, Any] = {key: [] for key in ("nodes", "unfinished", "sentinels", "drained", "problems")}
    assert (exit_code, told) == (30, {"schema": "chaosext.status/v1", "exit_code": 30, **empty})


@pytest.mark.parametrize("does", ["lock", "log"])
def test_the_cut_of_a_living_process_is_left_alone_until_it_is_named(
    chaosext: Any, runner: Any, nodes: Namespaces, does: str
) -> None:
    runner("alive", does)
    before = rules(nodes)
    assert chaosext("status")[0] == 10
    exit_code, told = chaosext("cleanup")
    assert (exit_code, told["removed"], told["finished"]) == (0, [], {})
    assert {(each["run"], each["runner"]) for each in told["left"]} == {("alive", "alive")}
    assert [text.count("chaosext_alive") for text in rules(nodes)] == [
        text.count("chaosext_alive") for text in before
    ]
    assert chaosext("cleanup", "--run", "alive")[0] == 0
    assert rules(nodes) == ["", "", ""]
    assert chaosext("cleanup", "--run", "alive")[1]["removed"] == []


def test_a_live_cut_of_nobody_knows_whom_is_said_and_left_and_all_takes_it(
    chaosext: Any, runner: Any, nodes: Namespaces
) -> None:
    runner("stranger", "die", "n1")
    assert chaosext("status")[0] == 40
    exit_code, told = chaosext("cleanup")
    assert (exit_code, told["removed"], len(told["left"])) == (40, [], 1)
    assert told["may_cut"] == {"stranger": [nodes.name("n1")]}
    assert "chaosext_stranger" in nodes.rules("n1")
    assert chaosext("cleanup", "--all")[0] == 0
    assert rules(nodes) == ["", "", ""]


def test_one_run_is_cleaned_up_and_the_other_stays(chaosext: Any, runner: Any, nodes: Namespaces) -> None:
    runner("one", "log die", "n0")
    runner("two", "log", "n1")
    assert kinds(chaosext("cleanup")[1]["removed"]) == {("cut", "one", "orphaned")}
    assert ["chaosext_two" in text for text in rules(nodes)] == [False, True, False]
    assert [run.run for run in intent_log().outstanding()] == ["two"]


def test_a_node_that_is_gone_is_in_doubt_until_its_ttl_is_over(
    chaosext: Any, runner: Any, nodes: Namespaces, home: Path
) -> None:
    runner("torn", "log die", "n0", "n1", ttl_s=20)
    nodes.made.remove("n1")
    subprocess.run(["ip", "netns", "del", nodes.name("n1")], check=True, timeout=10)
    exit_code, told = chaosext("cleanup", named=False)
    assert (exit_code, told["may_cut"]) == (40, {"torn": [nodes.name("n1")]})
    assert nodes.rules("n0") == ""
    assert [run.nodes for run in intent_log().outstanding()] == [(nodes.name("n1"),)]
    assert chaosext("status", named=False)[0] == 40
    _age_the_log(home, by_s=60)
    assert chaosext("cleanup", named=False)[0] == 30
    assert chaosext("status", named=False)[1]["unfinished"] == []


def _age_the_log(home: Path, by_s: float) -> None:
    path = home / "chaosext" / "intent.jsonl"
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    aged = ({**entry, "uptime_s": entry["uptime_s"] - by_s} for entry in entries)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in aged))


def test_foreign_rules_and_look_alikes_are_not_touched(chaosext: Any, nodes: Namespaces) -> None:
    nodes.nft("n0", "table inet mine { chain c { type filter hook input priority 0; counter; }; }")
    nodes.nft("n0", "table ip chaosext_like { set s { type ipv4_addr; }; }")
    before = nodes.rules("n0")
    assert chaosext("cleanup", "--all")[1]["removed"] == []
    assert nodes.rules("n0") == before


def test_a_hung_node_is_named_and_keeps_no_other_waiting(
    chaosext: Any, runner: Any, nodes: Namespaces, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner("hung", "log lock die", "n0", "n1")
    hanging = home / "bin" / "nft"
    hanging.parent.mkdir()
    hanging.write_text(
        f'#!/bin/bash\n[[ $(ip netns identify $$) == {nodes.name("n0")} ]] && sleep 60\nexec /usr/sbin/nft "$@"\n'
    )
    hanging.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(hanging.parent), prepend=":")
        started = time.monotonic()
        exit_code, told = chaosext("cleanup", named=False)
    assert time.monotonic() - started < 14
    assert (exit_code, told["may_cut"]) == (40, {"hung": [nodes.name("n0")]})
    assert "10 s" in told["unasked"][nodes.name("n0")]
    assert nodes.rules("n1") == ""
    assert chaosext("cleanup", named=False)[0] == 0
    assert rules(nodes) == ["", "", ""]
