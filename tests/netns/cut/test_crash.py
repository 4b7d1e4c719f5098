"""The runner dies by SIGKILL, at the worst moments: the kernel keeps the promise of the TTL."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from chaosext.partition.apply import heal, inspect

from .lab import NODE, PEER, Lab, Namespaces, wait_until

pytestmark = pytest.mark.netns

ARMING = """
import os, signal, sys
from chaosext.nodes.process_shell import NetnsShell
from chaosext.partition.apply import arm
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.nodes.process_shell import ProcessStream

die_at, ttl_s, *names = sys.argv[1:]
sent = 0
send = ProcessStream.send

def dying_send(self, text):
    global sent
    sent += 1
    if die_at == "before-send":
        os.kill(os.getpid(), signal.SIGKILL)
    if die_at == "torn-send":
        self._process.stdin.write(text[: len(text) // 2].encode())
        self._process.stdin.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    send(self, text)
    if die_at == "after-first-send":
        os.kill(os.getpid(), signal.SIGKILL)

ProcessStream.send = dying_send
nodes = tuple(NodeCut(node=name, uplinks=("eth0",)) for name in names)
peers = peers_of(["10.77.0.2", "fd77::2"])
arm(Cut(run="crash", owner="t@t", nodes=nodes, peers=peers, ttl_s=float(ttl_s)), {n: NetnsShell(n) for n in names})
print("armed", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def die_while_arming(die_at: str, ttl_s: float, *names: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ARMING, die_at, str(ttl_s), *names],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.strip()


def test_a_cut_whose_runner_was_killed_ends_at_its_ttl(lab: Lab) -> None:
    assert die_while_arming("when-armed", 2, lab.name(NODE)) == "armed"
    killed = time.monotonic()
    assert not lab.opens(NODE, PEER, "ipv4", timeout_s=0.1)
    assert not lab.opens(NODE, PEER, "ipv6", timeout_s=0.1)
    for family in ("ipv4", "ipv6"):
        wait_until(lambda family=family: lab.opens(NODE, PEER, family, timeout_s=0.02), within_s=4)
    assert 1.0 < time.monotonic() - killed < 3.0


@pytest.mark.parametrize("die_at", ["before-send", "torn-send"])
def test_a_runner_killed_before_all_was_sent_has_touched_nothing(nodes: Namespaces, die_at: str) -> None:
    names = [nodes.name(role) for role in ("n0", "n1", "n2")]
    die_while_arming(die_at, 30, *names)
    time.sleep(0.3)  # the scripts that were left alone see the end of their stdin
    assert [nodes.rules(role) for role in ("n0", "n1", "n2")] == ["", "", ""]


def test_a_runner_killed_midway_leaves_what_expires_and_can_be_healed(nodes: Namespaces) -> None:
    roles = ("n0", "n1", "n2")
    shells = {nodes.name(role): nodes.shell(role) for role in roles}
    die_while_arming("after-first-send", 2, *shells)
    time.sleep(0.3)
    assert any(node.tables for node in inspect(shells))
    wait_until(
        lambda: not any(table.is_live for node in inspect(shells) for table in node.tables), within_s=3
    )
    assert heal("crash", shells).left == ()
    assert [nodes.rules(role) for role in roles] == ["", "", ""]


def test_two_processes_heal_at_once(nodes: Namespaces) -> None:
    script = """
import sys
from chaosext.nodes.process_shell import NetnsShell
from chaosext.partition.apply import heal
for _ in range(20):
    heal("crash", {name: NetnsShell(name) for name in sys.argv[1:]}).require_gone()
"""
    names = [nodes.name(role) for role in ("n0", "n1", "n2")]
    die_while_arming("when-armed", 30, *names)
    healers = [
        subprocess.Popen([sys.executable, "-c", script, *names], stderr=subprocess.PIPE) for _ in range(2)
    ]
    assert [healer.communicate(timeout=30)[1] for healer in healers] == [b"", b""]
    assert [nodes.rules(role) for role in ("n0", "n1", "n2")] == ["", "", ""]
