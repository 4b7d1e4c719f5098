"""The nodes' lock on a real kernel: one of many takers wins, it expires, and no late hand reaches into another's."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chaosext.model.errors import Refused, Unreachable
from chaosext.model.owner import LOCK_S, Claim, me
from chaosext.nodes.process_shell import NetnsShell
from chaosext.partition.apply import inspect
from chaosext.partition.foreign_rules import fingerprint
from chaosext.partition.node_lock import lock_nodes, remove_lock, renew_lock

from .lab import Namespaces, wait_until

if TYPE_CHECKING:
    from chaosext.model.owner import LockFacts

pytestmark = pytest.mark.netns

A = Claim(run="aaa", owner="alice@one")
B = Claim(run="bbb", owner="bob@two")
ROLES = ("n0", "n1", "n2")

RACER = """
import sys, time
from chaosext.model.owner import Claim
from chaosext.model.errors import Refused
from chaosext.nodes.process_shell import NetnsShell
from chaosext.partition.node_lock import lock_nodes, remove_lock

run, *names = sys.argv[1:]
shells = {name: NetnsShell(name) for name in names}
print("ready", flush=True)
for line in sys.stdin:
    time.sleep(max(0.0, float(line) - time.monotonic()))
    try:
        lock_nodes(Claim(run=run, owner="r@r"), shells)
        print("won", flush=True)
    except Refused as error:
        print(f"lost: {error.message}", flush=True)
"""

DYING = """
import os, signal, sys
from chaosext.model.owner import Claim
from chaosext.nodes.process_shell import NetnsShell
from chaosext.partition.node_lock import lock_nodes
lock_nodes(Claim(run="dead", owner="d@d"), {name: NetnsShell(name) for name in sys.argv[1:]})
"""


def shells(nodes: Namespaces) -> dict[str, NetnsShell]:
    return {nodes.name(role): nodes.shell(role) for role in ROLES}


def locks(nodes: Namespaces) -> dict[str, LockFacts | None]:
    return {look.node: look.lock for look in inspect(shells(nodes))}


def runs(nodes: Namespaces) -> list[str | None]:
    return [lock.run if lock else None for lock in locks(nodes).values()]


@pytest.fixture
def free(nodes: Namespaces) -> Namespaces:
    for role in ROLES:
        nodes.nft(role, "flush ruleset")
    return nodes


def test_a_lock_says_whose_it_is_and_for_how_long(free: Namespaces) -> None:
    lock_nodes(A, shells(free))
    for lock in locks(free).values():
        assert lock is not None
        assert (lock.run, lock.owner, lock.holder, lock.is_live) == ("aaa", "alice@one", me(), True)
        assert LOCK_S - 5 <= lock.remaining_s <= LOCK_S


def test_a_lock_is_no_foreign_rule(free: Namespaces) -> None:
    before = free.rules("n0")
    lock_nodes(A, shells(free))
    assert fingerprint(free.rules("n0")) == fingerprint(before)


def test_what_is_held_is_refused_naming_who_and_where(free: Namespaces) -> None:
    lock_nodes(A, {free.name("n1"): free.shell("n1")})
    until = r"\(renewed while the run lives, else it expires in \d+ s\)"
    whose = f"run aaa of alice@one holds node {free.name('n1')}"
    with pytest.raises(Refused, match=f"{whose} {until}") as refusal:
        lock_nodes(B, shells(free))
    assert "chaosext cleanup --run aaa" in refusal.value.fix
    assert runs(free) == [None, "aaa", None]  # what was got is given back


def test_a_node_that_does_not_answer_gives_the_others_back(free: Namespaces) -> None:
    nowhere = {"zz-nowhere": NetnsShell("zz-nowhere")}
    with pytest.raises(Unreachable):
        lock_nodes(A, shells(free) | nowhere)
    assert runs(free) == [None, None, None]


def test_a_lock_expires_by_itself_and_is_free_for_another(free: Namespaces) -> None:
    lock_nodes(A, shells(free), ttl_s=1.0)
    with pytest.raises(Refused):
        lock_nodes(B, shells(free))
    wait_until(lambda: not any(lock.is_live for lock in locks(free).values() if lock), 5.0)
    lock_nodes(B, shells(free))
    assert runs(free) == ["bbb"] * 3


def test_renewing_keeps_it_beyond_its_first_time(free: Namespaces) -> None:
    lock_nodes(A, shells(free), ttl_s=1.0)
    until_s = time.monotonic() + 2.5
    while time.monotonic() < until_s:
        assert renew_lock(A, shells(free), ttl_s=1.0) == {}
        time.sleep(0.2)
    assert all(lock and lock.is_live for lock in locks(free).values())


def test_who_comes_back_late_finds_that_it_was_taken_over_and_takes_nothing(free: Namespaces) -> None:
    lock_nodes(A, shells(free), ttl_s=0.3)
    time.sleep(0.5)
    lock_nodes(B, shells(free))
    lost = renew_lock(A, shells(free))
    assert lost == dict.fromkeys(shells(free), "run bbb of bob@two took it over")
    assert remove_lock(A.run, shells(free)) == {}
    assert runs(free) == ["bbb"] * 3
    assert renew_lock(B, shells(free)) == {}


def test_who_comes_back_late_before_anybody_took_it_has_it_again(free: Namespaces) -> None:
    lock_nodes(A, shells(free), ttl_s=0.3)
    time.sleep(0.5)
    assert renew_lock(A, shells(free)) == {}
    assert all(lock and lock.is_live and lock.holder == me() for lock in locks(free).values())


def test_what_was_taken_away_is_lost(free: Namespaces) -> None:
    lock_nodes(A, shells(free))
    free.nft("n1", "delete table inet chaosext.lock")
    assert renew_lock(A, shells(free)) == {free.name("n1"): "it is no longer held"}


def test_releasing_twice_is_as_once(free: Namespaces) -> None:
    lock_nodes(A, shells(free))
    assert remove_lock(A.run, shells(free)) == {}
    assert remove_lock(A.run, shells(free)) == {}
    assert runs(free) == [None, None, None]
    assert free.rules("n0") == ""


def test_a_node_that_can_not_be_asked_is_said_to_be_left(free: Namespaces) -> None:
    problems = remove_lock(A.run, {"nowhere": NetnsShell("nowhere")})
    assert list(problems) == ["nowhere"]


@pytest.mark.parametrize("point", ["first-node-locked", "nodes-locked"])
def test_the_lock_of_a_dead_holder_is_taken_over_at_once(free: Namespaces, point: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DYING, *shells(free)],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CHAOSEXT_CRASH_AT": point},
        timeout=20,
        check=False,
    )
    assert done.returncode == -9
    assert runs(free)[0] == "dead"
    lock_nodes(B, shells(free))
    assert runs(free) == ["bbb"] * 3


def test_a_holder_on_another_machine_is_never_thought_dead(free: Namespaces) -> None:
    """Its host may have our name, and no process here has its id: only its time can tell."""
    elsewhere = replace(A, holder=replace(me(), boot="0ddb0075", started=1))
    lock_nodes(elsewhere, shells(free))
    with pytest.raises(Refused, match="run aaa"):
        lock_nodes(B, shells(free))


def test_a_table_that_is_not_as_ours_is_left_alone(free: Namespaces) -> None:
    free.nft("n0", "table inet chaosext.lock { }")
    with pytest.raises(Refused, match="chaosext did not make"):
        lock_nodes(A, shells(free))
    assert "chaosext.lock" in free.rules("n0")


def test_one_of_two_simultaneous_takers_wins(free: Namespaces) -> None:
    """Free, expired and dead holders' locks in turn; both takers begin within 50 ms."""
    names = list(shells(free))
    racers = {run: _racer(run, names) for run in ("aaa", "bbb")}
    try:
        for turn in range(20):
            _prepare(free, turn)
            start_s = time.monotonic() + 0.05
            for racer, delay_s in zip(racers.values(), (0.0, (turn % 6) * 0.01), strict=True):
                assert racer.stdin
                racer.stdin.write(f"{start_s + delay_s}\n")
                racer.stdin.flush()
            answers = {run: racer.stdout.readline().strip() for run, racer in racers.items() if racer.stdout}
            winners = [run for run, answer in answers.items() if answer == "won"]
            assert len(winners) == 1, json.dumps(answers)
            assert runs(free) == winners * 3
            remove_lock(winners[0], shells(free))
    finally:
        for racer in racers.values():
            racer.communicate(timeout=10)


def _racer(run: str, names: list[str]) -> subprocess.Popen[str]:
    racer = subprocess.Popen(
        [sys.executable, "-c", RACER, run, *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert racer.stdout
    assert racer.stdout.readline() == "ready\n"
    return racer


def _prepare(nodes: Namespaces, turn: int) -> None:
    """What the takers find: nothing, an expired lock, or a dead holder's."""
    gone = replace(me(), pid=2**22 + 1)  # beyond pid_max's greatest (proc(5), /proc/sys/kernel/pid_max)
    if turn % 3 == 1:
        lock_nodes(Claim(run="old", owner="o@o"), shells(nodes), ttl_s=0.05)
        time.sleep(0.1)
    if turn % 3 == 2:
        lock_nodes(Claim(run="old", owner="o@o", holder=gone), shells(nodes))
