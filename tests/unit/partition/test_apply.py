"""Arming, renewing, healing and looking, on nodes that can be in any trouble: what is touched, what is said, how long
it may take. The same on a real kernel is in tests/netns.
"""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fake_node import BOOT, FOREIGN, FakeNode, table_json

from chaosext.model import clock
from chaosext.model.errors import Inconclusive, Refused, Unreachable, Unsafe
from chaosext.model.owner import Claim, Holder
from chaosext.nodes.shell import NodeAccess
from chaosext.partition import apply
from chaosext.partition.apply import (
    STRAGGLER_S,
    TAKE_BACK_S,
    TIMEOUT_S,
    Hold,
    arm,
    heal,
    inspect,
    listings,
    on_each,
    renew,
    require_free,
    verify,
)
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.lock_table import hold_statements
from chaosext.partition.nft import arm_ruleset, disarm_ruleset, renew_ruleset

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = tuple(NodeCut(node=name, uplinks=("eth0",)) for name in ("cp1", "cp2"))
CUT = Cut(run="r1", owner="alice@laptop", nodes=NODES, peers=peers_of(["10.0.0.2", "fd00::2"]), ttl_s=30.0)
OTHER = Cut(run="other", owner="bob@desk", nodes=NODES, peers=CUT.peers, ttl_s=30.0)
UNTOUCHED = "nothing was touched on any node"
TAKEN = "the cut was removed from every node; fix the cause, then run again"


ELEMENTS = ', "elem": [{"elem": {"val": 1, "timeout": 60, "expires": 59, "comment": "owner=bob@desk holder=h,b,1,1"}}]'
LOCK_OF = (
    '{{"nftables": [{{"set": {{"family": "inet", "name": "{}", "table": "chaosext.lock"'
    + ELEMENTS.replace("{", "{{").replace("}", "}}")
    + "}}}}]}}"
)


@pytest.fixture
def nodes() -> dict[str, FakeNode]:
    return {
        node.node: FakeNode(node.node, armed_json=lambda node=node: table_json(CUT, node)) for node in NODES
    }


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """How long it was slept; nobody does."""
    slept: list[float] = []
    monkeypatch.setattr(apply.time, "sleep", slept.append)
    return slept


def calls(nodes: dict[str, FakeNode], name: str) -> list[float | None]:
    return [timeout_s for node in nodes.values() for called, timeout_s in node.calls if called == name]


# Arming


def test_arming_sends_each_node_its_rules_and_reads_them_back(nodes: dict[str, FakeNode]) -> None:
    before, started_s = clock.now(), time.monotonic()
    report = arm(CUT, nodes)
    took_s = time.monotonic() - started_s
    assert (report.cut, [node.node for node in report.nodes]) == (CUT, ["cp1", "cp2"])
    assert 0 <= report.nodes[0].elapsed_s <= report.elapsed_s <= took_s
    for own, armed, node in zip(NODES, report.nodes, nodes.values(), strict=True):
        assert (armed.facts.run, armed.facts.owner, armed.facts.remaining_s) == ("r1", "alice@laptop", 29)
        assert armed.facts.dropped_packets == 4 * 3
        assert (armed.foreign_changes, armed.expired_runs) == ((), ())
        assert before <= armed.armed_at <= clock.now()
        assert len(node.sent) == node.left == 1
        assert f'"{own.uplinks[0]}"' in node.sent[0]
    assert calls(nodes, "arm") == [TIMEOUT_S, TIMEOUT_S]
    assert calls(nodes, "heal") == []


def test_the_rules_are_those_of_the_cut_from_now_on(nodes: dict[str, FakeNode]) -> None:
    arm(CUT, nodes)
    assert timeless(nodes["cp1"].sent[0]) == timeless(arm_ruleset(CUT, NODES[0], clock.now().as_wall_clock()))


def timeless(ruleset: str) -> list[str]:
    """Without what depends on when it was sent."""
    lines = [line for line in ruleset.splitlines() if "until=" not in line]
    return [re.sub(r"timeout \d+ms", "timeout", line) for line in lines]


def test_time_limits_are_handed_on(nodes: dict[str, FakeNode]) -> None:
    arm(CUT, nodes, timeout_s=3.0)
    renew(CUT, nodes, timeout_s=4.0)
    inspect(nodes, timeout_s=5.0)
    heal("r1", nodes, timeout_s=6.0)
    listings(nodes, timeout_s=7.0)
    require_free(CUT, nodes, timeout_s=8.0)
    assert calls(nodes, "arm") == [3.0, 4.0] * 2
    assert calls(nodes, "inspect") == [5.0, 8.0] * 2
    assert calls(nodes, "heal") == [6.0] * 2
    assert calls(nodes, "exec nft -s list ruleset") == [7.0] * 2


def test_all_nodes_are_looked_at_before_any_is_sent_its_rules(nodes: dict[str, FakeNode]) -> None:
    nodes["cp2"].tables["other"] = table_json(OTHER, NODES[1])
    with pytest.raises(Refused) as refused:
        arm(CUT, nodes)
    assert refused.value.message == "cp2: run other of bob@desk is in force, 29 s left"
    assert refused.value.fix == UNTOUCHED
    assert [node.sent for node in nodes.values()] == [[], []]
    assert calls(nodes, "heal") == []
    assert [node.left for node in nodes.values()] == [1, 1]


def test_each_node_that_hinders_is_named(nodes: dict[str, FakeNode]) -> None:
    nodes["cp1"].tables["other"] = table_json(OTHER, NODES[0], owner="x").replace("owner=x", "no=one")
    nodes["cp2"].tables["r1"] = table_json(CUT, NODES[1], live=False)
    with pytest.raises(Refused) as refused:
        arm(CUT, nodes)
    assert refused.value.message == (
        "cp1: run other of unknown is in force, 29 s left; "
        "cp2: run r1 left its table there, heal it or choose another name"
    )
    with pytest.raises(Refused) as refused:
        require_free(CUT, nodes)
    assert refused.value.message.startswith(
        "cp1: run other of unknown is in force, 29 s left; cp2: run r1 left"
    )
    assert refused.value.fix == UNTOUCHED


def test_a_live_cut_after_an_expired_one_is_seen(nodes: dict[str, FakeNode]) -> None:
    nodes["cp1"].tables["old"] = table_json(OTHER, NODES[0], live=False).replace(
        "chaosext_other", "chaosext_old"
    )
    nodes["cp1"].tables["other"] = table_json(OTHER, NODES[0])
    with pytest.raises(Refused, match="run other of bob@desk is in force"):
        arm(CUT, nodes)


def test_expired_tables_of_others_hinder_nobody_and_are_named(nodes: dict[str, FakeNode]) -> None:
    nodes["cp1"].tables["other"] = table_json(OTHER, NODES[0], live=False)
    require_free(CUT, nodes)
    report = arm(CUT, nodes)
    assert [node.expired_runs for node in report.nodes] == [("other",), ()]
    assert report.nodes[0].facts.run == "r1"


def test_a_node_without_a_shell_is_refused(nodes: dict[str, FakeNode]) -> None:
    for work in (arm, renew, require_free):
        with pytest.raises(Refused) as refused:
            work(CUT, {"cp3": nodes["cp1"], "a": nodes["cp1"]})
        assert refused.value.message == "nodes: no shell on cp1, cp2"
        assert refused.value.fix == "known are a, cp3"
    with pytest.raises(Refused, match="no shell on cp1, cp2: known are none"):
        arm(CUT, {})
    assert nodes["cp1"].calls == []


def test_nodes_that_are_not_the_cuts_are_left_alone(nodes: dict[str, FakeNode]) -> None:
    bystander = FakeNode("w1")
    arm(CUT, {**nodes, "w1": bystander})
    require_free(OTHER, {**{name: FakeNode(name) for name in nodes}, "w1": bystander})
    assert bystander.calls == []


def test_one_that_can_not_be_entered_is_unreachable_unless_another_refuses(
    nodes: dict[str, FakeNode],
) -> None:
    nodes["cp1"].trouble["arm"] = Unreachable("cp1: no answer within 10 s")
    with pytest.raises(Unreachable, match="cp1: no answer"):
        arm(CUT, nodes)
    assert nodes["cp2"].sent == []


LOOKS = {
    "@@chaosext failed\nnft is not installed\n": "nft is not installed",
    "@@chaosext foreign-before\n": "the script ended early",
    "@@chaosext failed\n \n": "the script ended early",
    "": "the script ended early",
    "@@chaosext ours-before\n@@chaosext ready\n": "the script ended early",
    "@@chaosext foreign-before\n@@chaosext ready\n": "the script ended early",
    "@@chaosext foreign-before\n@@chaosext ours-before\n[]\n@@chaosext ready\n": "not an answer of nft -j",
}


@pytest.mark.parametrize("said", LOOKS)
def test_a_look_that_is_no_look_is_refused(nodes: dict[str, FakeNode], said: str) -> None:
    nodes["cp1"].trouble["arm"] = said
    with pytest.raises(Refused) as refused:
        arm(CUT, nodes)
    assert refused.value.message.startswith(f"cp1: {LOOKS[said]}")
    assert refused.value.fix == UNTOUCHED
    assert nodes["cp2"].sent == []


def test_what_is_only_unreachable_is_said_so_and_a_refusal_outranks_it(nodes: dict[str, FakeNode]) -> None:
    nodes["cp1"].trouble["line"] = Unreachable("cp1: no answer within 10 s")
    with pytest.raises(Unreachable) as unreachable:
        arm(CUT, nodes)
    assert (unreachable.value.message, unreachable.value.fix) == ("cp1: no answer within 10 s", UNTOUCHED)
    nodes["cp2"].tables["other"] = table_json(OTHER, NODES[1])
    with pytest.raises(Refused, match="cp1: no answer within 10 s; cp2: run other of bob@desk"):
        arm(CUT, nodes)


LASTING = "@@chaosext lasting\n30000 0 20\n"
AFTER = f"@@chaosext foreign-after\n{FOREIGN}\n@@chaosext end\n"
GOOD = table_json(CUT, NODES[0])
TAKES = {
    "@@chaosext failed\nError: no space\n@@chaosext ours-after\n" + AFTER: "Error: no space",
    "@@chaosext ours-after\n" + AFTER: "the script ended early",
    "@@chaosext committed\n@@chaosext failed\nnft list tables\n": "nft list tables",
    "@@chaosext committed\n": "the script ended early",
    f"@@chaosext committed\n@@chaosext ours-after\n{GOOD}\n@@chaosext end\n": "the script ended early",
    f"@@chaosext committed\n{LASTING}{AFTER}": "the script ended early",
    f"@@chaosext committed\n@@chaosext ours-after\n{GOOD}\n{AFTER}": "the script ended early",
    f"@@chaosext committed\n@@chaosext lasting\nlong\n@@chaosext ours-after\n{GOOD}\n{AFTER}": "invalid literal",
    f"@@chaosext committed\n{LASTING}@@chaosext ours-after\n"
    + AFTER: "nft took the rules, but there is no table chaosext_r1",
    f"@@chaosext committed\n{LASTING}@@chaosext ours-after\n{{}}\n" + AFTER: "not an answer of nft -j",
    f"@@chaosext committed\n{LASTING.replace('30000', '29999')}@@chaosext ours-after\n{GOOD}\n{AFTER}": (
        "timeouts: wanted 29, found 30"
    ),
    f"@@chaosext committed\n{LASTING}@@chaosext ours-after\n{GOOD.replace('10.0.0.2', '10.0.0.3')}\n{AFTER}": (
        "peers: wanted 10.0.0.2/32, fd00::2/128, found 10.0.0.3/32, fd00::2/128"
    ),
    f"@@chaosext committed\n{LASTING}@@chaosext ours-after\n{GOOD}\n{table_json(OTHER, NODES[0])}\n{AFTER}": (
        "run other was armed at the same moment"
    ),
}


@pytest.mark.parametrize("said", TAKES)
def test_what_did_not_come_out_as_asked_is_taken_back_on_every_node(
    nodes: dict[str, FakeNode], said: str, naps: list[float]
) -> None:
    nodes["cp1"].takes = said
    with pytest.raises(Inconclusive) as inconclusive:
        arm(CUT, nodes)
    assert inconclusive.value.message.startswith(f"cp1: {TAKES[said]}")
    assert inconclusive.value.fix == TAKEN
    assert [node.tables for node in nodes.values()] == [{}, {}]
    assert calls(nodes, "heal") == [TAKE_BACK_S + STRAGGLER_S] * 2
    assert naps == []


def test_an_expired_table_beside_the_cut_is_no_problem(nodes: dict[str, FakeNode]) -> None:
    other = table_json(OTHER, NODES[0], live=False)
    nodes["cp1"].takes = f"@@chaosext committed\n{LASTING}@@chaosext ours-after\n{other}\n{GOOD}\n{AFTER}"
    assert arm(CUT, nodes).nodes[0].expired_runs == ("other",)


def test_both_faults_of_a_node_are_told(nodes: dict[str, FakeNode]) -> None:
    other = table_json(OTHER, NODES[0])
    wrong = GOOD.replace("owner=alice@laptop", "owner=eve")
    nodes["cp1"].takes = f"@@chaosext committed\n{LASTING}@@chaosext ours-after\n{wrong}\n{other}\n{AFTER}"
    with pytest.raises(Inconclusive) as inconclusive:
        arm(CUT, nodes)
    assert inconclusive.value.message == (
        "cp1: owner: wanted alice@laptop, found eve; run other was armed at the same moment"
    )


def test_both_faults_are_told(nodes: dict[str, FakeNode]) -> None:
    for node in nodes.values():
        node.takes = "@@chaosext failed\nno\n"
    with pytest.raises(Inconclusive, match=r"^cp1: no; cp2: no: the cut was removed"):
        arm(CUT, nodes)


def test_a_script_that_did_not_end_is_healed_again_when_it_must_have_ended(
    nodes: dict[str, FakeNode], naps: list[float]
) -> None:
    nodes["cp2"].trouble["sent"] = Unreachable("no answer within 10 s")
    with pytest.raises(Inconclusive, match="cp2: no answer within 10 s"):
        arm(CUT, nodes)
    assert calls(nodes, "heal") == [TAKE_BACK_S] * 4
    assert len(naps) == 1
    assert STRAGGLER_S - 0.5 < naps[0] <= STRAGGLER_S
    assert [node.tables for node in nodes.values()] == [{}, {}]


def test_a_slow_heal_leaves_less_to_wait_for(nodes: dict[str, FakeNode], naps: list[float]) -> None:
    nodes["cp2"].trouble["sent"] = Unreachable("gone")
    healing = nodes["cp1"].run

    def slow(script: str, *, stdin: str = "", timeout_s: float) -> object:
        threading.Event().wait(0.3)
        return healing(script, stdin=stdin, timeout_s=timeout_s)

    nodes["cp1"].run = slow  # type: ignore[method-assign,assignment]
    with pytest.raises(Inconclusive):
        arm(CUT, nodes)
    assert naps[0] <= STRAGGLER_S - 0.3


def test_a_heal_that_took_long_leaves_nothing_to_wait_for(
    nodes: dict[str, FakeNode], naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes["cp2"].trouble["sent"] = Unreachable("gone")
    monkeypatch.setattr(apply, "heal", lambda *args, **more: replace(heal(*args, **more), elapsed_s=9.0))
    with pytest.raises(Inconclusive):
        arm(CUT, nodes)
    assert naps == [0.0]


def test_what_can_not_be_seen_gone_is_unsafe(nodes: dict[str, FakeNode], naps: list[float]) -> None:
    nodes["cp1"].takes = "@@chaosext failed\nno\n"
    nodes["cp1"].trouble["heal"] = Unreachable("cp1: dead")
    with pytest.raises(Unsafe) as unsafe:
        arm(CUT, nodes)
    assert unsafe.value.message == "the cut of run r1 may still be active on cp1 (cp1: dead)"
    assert isinstance(unsafe.value.__cause__, Inconclusive)
    assert nodes["cp2"].tables == {}


def test_an_interrupt_leaves_no_rules_either(nodes: dict[str, FakeNode], naps: list[float]) -> None:
    nodes["cp2"].trouble["sent"] = KeyboardInterrupt()  # type: ignore[assignment]
    nodes["cp2"].commit = _interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        arm(CUT, nodes)
    assert [node.tables for node in nodes.values()] == [{}, {}]
    assert calls(nodes, "heal") == [TAKE_BACK_S] * 4


def _interrupted(_: str) -> str:
    raise KeyboardInterrupt


def test_a_change_of_foreign_rules_is_shown(nodes: dict[str, FakeNode]) -> None:
    nodes["cp1"].changed_foreign = FOREIGN.replace("filter {", "mangle {", 1)
    report = arm(CUT, nodes)
    assert [bool(node.foreign_changes) for node in report.nodes] == [True, False]
    assert not report.foreign_identical
    healed = heal("r1", nodes)
    assert [bool(node.foreign_changes) for node in healed.nodes] == [True, False]


# Renewing


def test_renewing_sends_the_renewal(nodes: dict[str, FakeNode]) -> None:
    arm(CUT, nodes)
    report = renew(CUT, nodes)
    assert [node.facts.run for node in report.nodes] == ["r1", "r1"]
    assert timeless(nodes["cp1"].sent[1]) == timeless(
        renew_ruleset(CUT, NODES[0], clock.now().as_wall_clock())
    )


@pytest.mark.parametrize("there", ["nothing", "expired", "another's"])
def test_no_cut_comes_back(nodes: dict[str, FakeNode], there: str) -> None:
    arm(CUT, nodes)
    left = {
        "nothing": {},
        "expired": {"r1": table_json(CUT, NODES[1], live=False)},
        "another's": {"other": table_json(OTHER, NODES[1])},
    }
    nodes["cp2"].tables = left[there]
    with pytest.raises(Refused) as refused:
        renew(CUT, nodes)
    assert refused.value.message == "cp2: run r1 is not in force any more, it was healed or its TTL is over"
    assert nodes["cp1"].tables.keys() == {"r1"}
    assert [len(node.sent) for node in nodes.values()] == [1, 1]


def timeouts_ms(node: FakeNode) -> set[int]:
    return {int(each) for each in re.findall(r"timeout (\d+)ms", node.sent[-1])}


def test_a_renewal_does_not_go_beyond_its_time(nodes: dict[str, FakeNode]) -> None:
    arm(CUT, nodes)
    renew(CUT, nodes, until=clock.now().later(5.0))
    assert all(4000 <= each <= 5000 for each in timeouts_ms(nodes["cp1"]))
    renew(CUT, nodes, until=clock.now().later(500.0))
    assert all(30_000 <= each < 35_000 for each in timeouts_ms(nodes["cp1"]))


def test_a_long_cut_is_renewed_by_its_step(nodes: dict[str, FakeNode]) -> None:
    long = replace(CUT, ttl_s=600.0, dead_man_s=20.0)
    arm(long, nodes)
    assert all(20_000 <= each < 25_000 for each in timeouts_ms(nodes["cp1"]))  # from when it was ready
    for until in (None, clock.now().later(500.0)):
        before = clock.now()
        report = renew(long, nodes, until=until)
        assert all(20_000 <= each < 25_000 for each in timeouts_ms(nodes["cp1"]))
    assert before.later(20.0) <= report.ends <= clock.now().later(20.0)
    assert report.let_go == report.ends.later(0.02)


@pytest.mark.parametrize("left_s", [0.9, 0.0, -100.0])
def test_a_renewal_whose_time_is_over_touches_nothing(nodes: dict[str, FakeNode], left_s: float) -> None:
    arm(CUT, nodes)
    with pytest.raises(Refused) as refused:
        renew(CUT, nodes, until=clock.now().later(left_s))
    assert (refused.value.message, refused.value.fix) == ("the time of run r1 is already over", UNTOUCHED)
    assert [len(node.sent) for node in nodes.values()] == [1, 1]


def test_of_another_boot_nothing_is_known_so_it_is_over(nodes: dict[str, FakeNode]) -> None:
    arm(CUT, nodes)
    with pytest.raises(Refused, match="is already over"):
        renew(CUT, nodes, until=clock.Moment(boot="another", uptime_s=1e9))


def test_a_second_left_is_enough(nodes: dict[str, FakeNode], monkeypatch: pytest.MonkeyPatch) -> None:
    """The shortest TTL there is: to the millisecond, as time stands still."""
    arm(CUT, nodes)
    now = clock.uptime_s()
    monkeypatch.setattr(clock, "uptime_s", lambda: now)
    renew(CUT, nodes, until=clock.now().later(1.0))
    assert timeouts_ms(nodes["cp1"]) == {1000}


# What a change rests on


def test_all_nodes_let_go_at_one_moment_however_late_one_was_ready(nodes: dict[str, FakeNode]) -> None:
    """Counted from when a node was ready: a node that was ready earlier is given more."""
    nodes["cp1"].slow_s = 0.5
    before = clock.now()
    report = arm(CUT, nodes)
    (late,), (early,) = timeouts_ms(nodes["cp1"]), timeouts_ms(nodes["cp2"])
    assert early - late >= 400
    assert before.later(30.5) <= report.ends <= clock.now().later(30.0)
    assert (report.begins, nodes["cp1"].delays_ms, nodes["cp2"].delays_ms) == (None, [0], [0])


def test_a_cut_with_a_delay_begins_at_one_moment(nodes: dict[str, FakeNode]) -> None:
    for node in nodes.values():
        node.takes = "@@chaosext failed\n"
    with pytest.raises(Inconclusive):
        arm(replace(CUT, delay_s=15.0), nodes)
    for node in nodes.values():
        delay_ms, armed_ms = sorted(timeouts_ms(node))
        assert 15_000 <= delay_ms < 20_000
        assert armed_ms - delay_ms in (29_999, 30_000, 30_001)


def test_when_a_cut_with_a_delay_begins_is_said(
    nodes: dict[str, FakeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaosext.partition.apply.discrepancies", lambda *_: ())
    before = clock.now()
    report = arm(replace(CUT, delay_s=15.0), nodes)
    assert report.begins
    assert before.later(15.0) <= report.begins <= clock.now().later(15.0)


def test_by_how_much_the_kernel_may_be_late_is_in_when_it_lets_go(nodes: dict[str, FakeNode]) -> None:
    nodes["cp2"].took_ms = 700
    report = arm(CUT, nodes)
    assert report.let_go == report.ends.later(0.7)


def test_the_last_word_is_asked_for_when_all_nodes_wait(nodes: dict[str, FakeNode]) -> None:
    asked: list[clock.Moment] = []

    def decide(by: clock.Moment) -> None:
        assert [node.calls for node in nodes.values()] == [[("arm", TIMEOUT_S)]] * 2
        assert [node.sent for node in nodes.values()] == [[], []]
        asked.append(by)

    before = clock.now()
    report = arm(CUT, nodes, decide=decide)
    (by,) = asked
    assert before.later(30.0 + TIMEOUT_S) <= by <= clock.now().later(30.0 + TIMEOUT_S)
    assert report.ends <= by


def test_a_last_word_against_it_leaves_all_untouched(nodes: dict[str, FakeNode]) -> None:
    def decide(_: clock.Moment) -> None:
        raise Refused("not at this hour")

    with pytest.raises(Refused, match="not at this hour"):
        arm(CUT, nodes, decide=decide)
    assert [(node.sent, node.left) for node in nodes.values()] == [([], 1)] * 2
    assert calls(nodes, "heal") == []


def test_rules_that_come_too_late_are_refused(nodes: dict[str, FakeNode]) -> None:
    for node in nodes.values():
        node.waited_ms = 60_000
    with pytest.raises(Refused) as refused:
        arm(CUT, nodes)
    late = "the rules came 60.0 s after the node was ready for them: too late"
    assert (refused.value.message, refused.value.fix) == (f"cp1: {late}; cp2: {late}", UNTOUCHED)
    assert [node.allowed_ms for node in nodes.values()] == [[10_000], [10_000]]
    assert calls(nodes, "heal") == []


def test_rules_that_came_too_late_to_one_node_only_are_taken_back(nodes: dict[str, FakeNode]) -> None:
    nodes["cp2"].waited_ms = 10_001
    with pytest.raises(Inconclusive, match=r"cp2: the rules came 10.0 s after .*: the cut was removed"):
        arm(CUT, nodes)
    assert [node.tables for node in nodes.values()] == [{}, {}]


CLAIM = Claim(run="r1", owner="alice@laptop", holder=Holder(host="h", boot="b", pids="p", pid=7, started=3))
HELD = Hold(claim=CLAIM, ttl_s=60)
LOST_LOCK = "@@chaosext failed\nError: Could not process rule: No such file or directory\n@@chaosext lock\n{}"
LOCKS = {
    "": "the lock of this run is gone",
    LOCK_OF.format("run_other"): "the lock of this run has expired, or is another's: run other of bob@desk",
    LOCK_OF.format("run_r1").replace(
        ELEMENTS, ""
    ): "the lock of this run has expired, or is another's: run r1",
}


def test_the_rules_are_applied_only_with_the_lock(nodes: dict[str, FakeNode]) -> None:
    arm(CUT, nodes, hold=HELD)
    renew(CUT, nodes, hold=HELD)
    first = hold_statements(CLAIM, ttl_s=60)
    for node in nodes.values():
        assert [tuple(text.splitlines()[:2]) for text in node.sent] == [first, first]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_that_was_lost_is_refused(nodes: dict[str, FakeNode], lock: str) -> None:
    for node in nodes.values():
        node.takes = f"{LOST_LOCK.format(lock)}\n@@chaosext ours-after\n{AFTER}"
    with pytest.raises(Refused) as refused:
        arm(CUT, nodes, hold=HELD)
    assert refused.value.message.startswith(f"cp1: {LOCKS[lock]}")
    assert refused.value.fix == UNTOUCHED
    assert calls(nodes, "heal") == []


def test_a_lock_that_is_held_is_not_why_nft_failed(nodes: dict[str, FakeNode]) -> None:
    for node in nodes.values():
        own = LOCK_OF.format("run_r1")
        node.takes = f"@@chaosext failed\nno room\n@@chaosext lock\n{own}\n@@chaosext ours-after\n{AFTER}"
    with pytest.raises(Inconclusive, match="cp1: no room"):
        arm(CUT, nodes, hold=HELD)


def test_without_a_lock_to_rest_on_none_is_looked_for(nodes: dict[str, FakeNode]) -> None:
    nodes["cp1"].takes = f"{LOST_LOCK.format('')}\n@@chaosext ours-after\n{AFTER}"
    with pytest.raises(Inconclusive, match="cp1: Error: Could not process rule"):
        arm(CUT, nodes)


def test_a_cut_that_others_changed_is_not_renewed(nodes: dict[str, FakeNode]) -> None:
    arm(CUT, nodes)
    nodes["cp2"].tables["r1"] = nodes["cp2"].tables["r1"].replace('"prerouting"', '"input"')
    with pytest.raises(Refused, match="cp2: 2 of 4 rules of the cut were removed or changed"):
        renew(CUT, nodes)
    assert [len(node.sent) for node in nodes.values()] == [1, 1]
    peers = nodes["cp2"].tables["r1"].replace('"10.0.0.2"', '"10.0.0.3"')
    nodes["cp2"].tables["r1"] = peers
    with pytest.raises(Refused, match=r"were removed or changed; 1 of 2 addresses and prefixes were removed"):
        renew(CUT, nodes)


# Places at which a test can kill the process


def test_the_crash_points_are_passed_where_they_say(
    nodes: dict[str, FakeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[tuple[str, int]] = []
    sent = lambda: sum(len(node.sent) for node in nodes.values())  # noqa: E731
    monkeypatch.setattr(apply, "crash_point", lambda name: passed.append((name, sent())))
    arm(CUT, nodes)
    assert passed[0] == ("arming", 0)
    assert sorted(name for name, _ in passed[1:]) == ["committed"] * 2 + ["first-node-sent"] * 2
    assert all(count for _, count in passed[1:])
    passed.clear()
    heal("r1", nodes)
    assert [name for name, _ in passed] == ["healing", "first-node-healed", "first-node-healed"]


# Healing


def test_healing_takes_the_table_away_and_says_whether_it_was_there(nodes: dict[str, FakeNode]) -> None:
    arm(CUT, nodes)
    nodes["cp2"].tables.clear()
    started_s = time.monotonic()
    report = heal("r1", nodes)
    assert 0 <= report.elapsed_s <= time.monotonic() - started_s
    assert (report.run, report.left, report.foreign_identical) == ("r1", (), True)
    assert [(node.node, node.gone, node.was_there) for node in report.nodes] == [
        ("cp1", True, True),
        ("cp2", True, False),
    ]
    assert [(node.problem, node.foreign_changes, node.foreign_after) for node in report.nodes] == [
        ("", (), FOREIGN)
    ] * 2
    assert calls(nodes, "heal") == [TIMEOUT_S] * 2


def test_healing_tells_the_script_what_goes(nodes: dict[str, FakeNode]) -> None:
    told: list[str] = []
    nodes["cp1"]._heal = lambda stdin: told.append(stdin) or ""  # type: ignore[method-assign]
    heal("r1", {"cp1": nodes["cp1"]}, timeout_s=5.0)
    assert told == [f"1.00 chaosext_r1\n{disarm_ruleset('r1')}"]
    with pytest.raises(Refused, match="can not name a run"):
        heal("R!", nodes)


LISTED = f"@@chaosext foreign-before\n{FOREIGN}\n"
WHOLE = f"{LISTED}@@chaosext disarm\n@@chaosext tables\n{LISTED.replace('before', 'after')}"
LEFT = WHOLE.replace("@@chaosext tables\n", "@@chaosext tables\ntable inet chaosext_r1\n")
HEALS = {
    LEFT + "@@chaosext end\n": "said on stderr",
    LEFT.replace("disarm\n", "disarm\nError: busy\n") + "@@chaosext end\n": "Error: busy; said on stderr",
    WHOLE: "said on stderr",
    WHOLE + "@@chaosext failed\nnft list table\n": "nft list table; said on stderr",
    "": "said on stderr",
    "@@chaosext tables\n@@chaosext foreign-after\n@@chaosext end\n": "said on stderr",
}


@pytest.mark.parametrize("said", HEALS)
def test_what_is_not_seen_gone_is_not_gone(nodes: dict[str, FakeNode], said: str) -> None:
    nodes["cp1"].trouble["heal"] = said
    report = heal("r1", nodes)
    first, second = report.nodes
    assert (first.gone, first.problem.strip()) == (False, HEALS[said])
    assert second.gone
    assert report.left == ("cp1",)
    ended = said.endswith("end\n") and "before" in said
    assert (first.was_there, first.foreign_after) == ((False, FOREIGN) if ended else (None, None))
    assert first.foreign_changes == (() if ended else None)


def test_a_table_that_is_still_there_without_a_word(nodes: dict[str, FakeNode]) -> None:
    nodes["cp1"]._heal = lambda _: LEFT + "@@chaosext end\n"  # type: ignore[method-assign]
    assert heal("r1", nodes).nodes[0].problem == "the table is still there"


def test_rules_that_could_not_be_listed_say_nothing_but_that_it_is_gone(nodes: dict[str, FakeNode]) -> None:
    said = WHOLE.replace("@@chaosext disarm", "@@chaosext unlisted\n@@chaosext disarm") + "@@chaosext end\n"
    nodes["cp1"]._heal = lambda _: said  # type: ignore[method-assign]
    (healed,) = heal("r1", {"cp1": nodes["cp1"]}).nodes
    assert (healed.gone, healed.problem) == (True, "")
    assert (healed.was_there, healed.foreign_changes, healed.foreign_after) == (None, None, None)


@pytest.mark.parametrize("error", [Unreachable("cp1: dead"), Refused("docker: no such command")])
def test_a_dead_node_keeps_no_other_from_being_healed(nodes: dict[str, FakeNode], error: Exception) -> None:
    arm(CUT, nodes)
    nodes["cp1"].trouble["heal"] = error
    report = heal("r1", nodes)
    assert [(node.node, node.gone, node.problem) for node in report.nodes] == [
        ("cp1", False, str(error)),
        ("cp2", True, ""),
    ]
    assert nodes["cp2"].tables == {}


# Looking


def test_looking_says_what_is_where(nodes: dict[str, FakeNode]) -> None:
    arm(CUT, nodes)
    nodes["cp2"].trouble["inspect"] = Unreachable("cp2: dead")
    first, second = inspect(nodes)
    assert (first.node, [table.run for table in first.tables], first.lock, first.problem) == (
        "cp1",
        ["r1"],
        None,
        "",
    )
    assert (second.node, second.tables, second.problem) == ("cp2", (), "cp2: dead")
    assert calls(nodes, "inspect") == [TIMEOUT_S] * 2


LOCK = (
    '{"nftables": [{"set": {"family": "inet", "name": "run_x", "table": "chaosext.lock", '
    '"elem": [{"elem": {"val": 1, "timeout": 60, "expires": 59}}]}}]}'
)


def test_looking_sees_the_lock(nodes: dict[str, FakeNode]) -> None:
    nodes["cp1"]._inspect = lambda _: f"@@chaosext ours\n@@chaosext lock\n{LOCK}\n@@chaosext end\n"  # type: ignore[method-assign]
    (look,) = inspect({"cp1": nodes["cp1"]})
    assert look.lock
    assert (look.lock.run, look.lock.remaining_s) == ("x", 59)


INSPECTIONS = {
    "@@chaosext ours\n[]\n@@chaosext lock\n@@chaosext end\n": "not an answer of nft -j",
    "@@chaosext ours\n@@chaosext lock\n": "said on stderr",
    "@@chaosext ours\n@@chaosext failed\nnft: \n": "nft:; said on stderr",
    "@@chaosext ours\n@@chaosext end\n": "said on stderr",
    "@@chaosext lock\n@@chaosext end\n": "said on stderr",
}


@pytest.mark.parametrize("said", INSPECTIONS)
def test_a_node_that_can_not_say_what_it_has_is_no_free_node(nodes: dict[str, FakeNode], said: str) -> None:
    nodes["cp1"].trouble["inspect"] = said
    look = inspect(nodes)[0]
    assert look.problem.startswith(INSPECTIONS[said])
    with pytest.raises(Refused, match=r"^cp1: "):
        require_free(CUT, nodes)


def test_a_look_that_ends_early_without_a_word(nodes: dict[str, FakeNode]) -> None:
    nodes["cp1"]._inspect = lambda _: ""  # type: ignore[method-assign]
    assert inspect(nodes)[0].problem == "the script ended early"


def test_listings_are_all_rules_or_nothing(nodes: dict[str, FakeNode]) -> None:
    nodes["cp2"].trouble["exec nft -s list ruleset"] = Unreachable("dead")
    assert listings(nodes) == {"cp1": FOREIGN, "cp2": None}
    nodes["cp2"].trouble["exec nft -s list ruleset"] = "half of them"  # exit code 1
    assert listings(nodes)["cp2"] is None
    nodes["cp2"].trouble["exec nft -s list ruleset"] = Refused("no docker")
    assert listings(nodes)["cp2"] is None
    assert calls(nodes, "exec nft -s list ruleset") == [TIMEOUT_S] * 6


# All at once


def test_answers_come_in_order_and_the_work_is_done_at_once() -> None:
    meeting = threading.Barrier(40, timeout=10)

    def work(number: int) -> int:
        meeting.wait()
        return number * 10

    assert on_each(iter(range(40)), work) == tuple(range(0, 400, 10))
    assert on_each([], work) == ()


def test_an_error_waits_for_what_is_on_its_way_but_not_for_what_hangs() -> None:
    hanging, done = threading.Event(), threading.Event()

    def work(number: int) -> None:
        if number == 0:
            raise KeyboardInterrupt
        if number == 1:
            time.sleep(0.2)
            done.set()
        if number == 2:
            hanging.wait(20)

    started_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        on_each([0, 1, 2], work)
    assert done.is_set()
    assert 0.9 < time.monotonic() - started_s < 10
    hanging.set()


# A cut in force


def test_verifying_says_what_is_on_each_node(nodes: dict[str, FakeNode]) -> None:
    arm(CUT, nodes)
    nodes["cp2"].tables.clear()
    first, second = verify(CUT, {**nodes, "w1": FakeNode("w1")}, timeout_s=5.0)
    assert first.table
    assert (first.node, first.table.run, first.boot, first.problem) == ("cp1", "r1", BOOT, "")
    assert first.links == ({"ifname": "eth0", "flags": ["UP", "LOWER_UP"]},)
    assert (second.node, second.table, second.boot, second.problem) == ("cp2", None, BOOT, "")
    assert calls(nodes, "verify") == [5.0] * 2


WHOLE_ANSWER = f"@@chaosext boot\nb\n@@chaosext links\n[]\n@@chaosext ours\n{GOOD}\n@@chaosext end\n"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (WHOLE_ANSWER.replace("[]", "{}"), "not an answer of ip -json"),
        (WHOLE_ANSWER.replace("[]", "[7]"), "not an answer of ip -json"),
        (WHOLE_ANSWER.replace("[]", "Error"), "Expecting value"),
        (WHOLE_ANSWER.replace(GOOD, "{}"), "not an answer of nft -j"),
        (WHOLE_ANSWER.replace("@@chaosext end\n", ""), "said on stderr"),
        (WHOLE_ANSWER.replace("@@chaosext boot\nb\n", ""), "said on stderr"),
        (WHOLE_ANSWER.replace("@@chaosext links\n[]\n", ""), "said on stderr"),
        (WHOLE_ANSWER.replace("@@chaosext ours\n", ""), "said on stderr"),
        ("@@chaosext failed\nnft list table\n", "nft list table; said on stderr"),
    ],
)
def test_a_node_that_can_not_say_whether_it_is_whole_says_why(
    nodes: dict[str, FakeNode], said: str, problem: str
) -> None:
    nodes["cp1"].trouble["verify"] = said
    state = verify(CUT, nodes)[0]
    assert (state.node, state.table, state.problem[: len(problem)]) == ("cp1", None, problem)


@pytest.mark.parametrize("error", [Unreachable("cp1: dead"), Refused("docker: no such command")])
def test_a_node_that_is_not_entered_says_nothing_of_its_cut(
    nodes: dict[str, FakeNode], error: Exception
) -> None:
    nodes["cp1"].trouble["verify"] = error
    state = verify(CUT, nodes)[0]
    assert (state.node, state.problem) == ("cp1", str(error))
    with pytest.raises(Refused, match="no shell on cp2"):
        verify(CUT, {"cp1": nodes["cp1"]})


def test_a_node_that_does_not_say_the_whole_without_a_word(nodes: dict[str, FakeNode]) -> None:
    nodes["cp1"]._verify = lambda _: ""  # type: ignore[method-assign]
    state = verify(CUT, nodes)[0]
    assert (state.node, state.problem) == ("cp1", "the script ended early")


def test_a_heal_says_what_it_has_found(nodes: dict[str, FakeNode]) -> None:
    arm(CUT, nodes)
    nodes["cp2"].tables.clear()
    first, second = heal("r1", nodes).nodes
    assert first.found
    assert (first.found.run, len(first.found.drops)) == ("r1", 4)
    assert (second.found, second.was_there) == (None, False)
    said = WHOLE.replace("@@chaosext disarm", '@@chaosext ours-before\n{"nftables": []}\n@@chaosext disarm')
    nodes["cp1"]._heal = lambda _: said + "@@chaosext end\n"  # type: ignore[method-assign]
    assert heal("r1", nodes).nodes[0].found is None


def test_a_heal_tells_by_which_way_its_nodes_were_entered(nodes: dict[str, FakeNode]) -> None:
    way = NodeAccess(transport="pod", context="prod")
    nodes["cp2"].way = way  # type: ignore[attr-defined]
    assert heal("r1", nodes).way is way


def test_a_heal_sees_that_its_table_was_dormant(nodes: dict[str, FakeNode]) -> None:
    """nft 1.0.6 prints no JSON of it that can be read; its text says so."""
    text = "table inet chaosext_r1 {\n\tflags dormant\n\n\tset peers4 {\n\t}\n}"
    said = WHOLE.replace(FOREIGN, f"{FOREIGN}\n{text}", 1).replace(
        "@@chaosext disarm", '@@chaosext ours-before\n{"nftables": [{"table": {"flags": \n@@chaosext disarm'
    )
    nodes["cp1"]._heal = lambda _: said + "@@chaosext end\n"  # type: ignore[method-assign]
    (healed,) = heal("r1", {"cp1": nodes["cp1"]}).nodes
    assert healed.found
    assert (healed.gone, healed.was_there, healed.found.dormant) == (True, True, True)


# Whose a table is


def test_a_table_that_only_has_the_prefix_hinders_no_arming(nodes: dict[str, FakeNode]) -> None:
    foreign = json.loads(table_json(OTHER, NODES[0]).replace("chaosext run=other", "of another"))
    foreign["nftables"] = [item for item in foreign["nftables"] if "rule" not in item]
    nodes["cp1"].tables["other"] = json.dumps(foreign)
    look = inspect(nodes)[0]
    assert (look.tables, look.foreign) == ((), ("chaosext_other",))
    require_free(CUT, nodes)
    arm(CUT, nodes)


def test_a_table_that_drops_as_ours_do_is_in_doubt_and_hinders(nodes: dict[str, FakeNode]) -> None:
    nodes["cp1"].tables["other"] = table_json(OTHER, NODES[0]).replace("chaosext run=other", "of another")
    assert [table.is_ours for table in inspect(nodes)[0].tables] == [False]
    with pytest.raises(Refused, match="run other of unknown is in force"):
        arm(CUT, nodes)
