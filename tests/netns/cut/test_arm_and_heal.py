"""Arming and healing when things go wrong: what is left on the nodes, and what is said about it."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from chaosext.model import clock
from chaosext.model.errors import Inconclusive, Refused, Unreachable, Unsafe
from chaosext.nodes.process_shell import NetnsShell
from chaosext.partition.apply import arm, heal, inspect, renew, require_free
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.nft import Lasting, arm_ruleset
from chaosext.partition.scripts import ARM, LATEST_S, arm_input, sections

from .lab import NODE, Lab, Namespaces, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaosext.nodes.process_shell import ProcessStream
    from chaosext.nodes.shell import ShellResult

pytestmark = pytest.mark.netns

ROLES = ("n0", "n1", "n2")
IGNORES_RULES = 'nft() { if [[ $1 == -f ]]; then cat >/dev/null; else command nft "$@"; fi; }\n'
FORGETS_IPV6 = (
    'nft() { if [[ $1 == -f ]]; then grep -v saddr.@peers6 | command nft -f -; else command nft "$@"; fi; }\n'
)
REJECTS_RULES = 'nft() { if [[ $1 == -f ]]; then echo no room; return 1; else command nft "$@"; fi; }\n'
NOTHING = ""
UNBOUND = 'timeout() { shift 3; "$@"; }\n'
"""`timeout` starts a program; with this it starts what trouble has made of `nft` as well."""


@dataclass(frozen=True)
class TroubledShell:
    """A node on which arming goes as `trouble` (bash) has it; healing works, unless the way in is lost."""

    inner: NetnsShell
    trouble: str = NOTHING
    on_send: Callable[[], None] = lambda: None
    run_trouble: str = NOTHING
    run_raises: Exception | None = None
    calls: list[str] = field(default_factory=list)

    @property
    def node(self) -> str:
        return self.inner.node

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        self.calls.append("run")
        if self.run_raises:
            raise self.run_raises
        return self.inner.run(self.run_trouble + script, stdin=stdin, timeout_s=timeout_s)

    def stream(self, script: str, *, timeout_s: float | None = None) -> ProcessStream:
        self.calls.append("stream")
        trouble = UNBOUND + self.trouble if self.trouble else NOTHING
        stream = self.inner.stream(trouble + script, timeout_s=timeout_s)
        send = stream.send

        def send_in_trouble(text: str) -> None:
            self.on_send()
            send(text)

        stream.send = send_in_trouble  # type: ignore[method-assign]
        return stream


def cut_of(nodes: Namespaces, run: str = "op1", ttl_s: float = 30.0) -> Cut:
    return Cut(
        run=run,
        owner="test@lab",
        nodes=tuple(NodeCut(node=nodes.name(role), uplinks=("eth0",)) for role in ROLES),
        peers=peers_of(["10.0.0.1", "fc00::1"]),
        ttl_s=ttl_s,
    )


def shells_of(nodes: Namespaces, **troubled: TroubledShell) -> dict[str, NetnsShell | TroubledShell]:
    return {nodes.name(role): troubled.get(role) or nodes.shell(role) for role in ROLES}


def nothing_is_left(nodes: Namespaces) -> bool:
    return all(nodes.rules(role) == "" for role in ROLES)


def test_one_shell_call_a_node_arms_and_reads_back(nodes: Namespaces) -> None:
    shells = {nodes.name(role): TroubledShell(nodes.shell(role)) for role in ROLES}
    report = arm(cut_of(nodes), shells)
    assert [shell.calls for shell in shells.values()] == [["stream"]] * 3
    assert [node.facts.remaining_s in (29, 30) for node in report.nodes] == [True] * 3
    assert report.let_go.uptime_s - report.armed_at.uptime_s < 31


@pytest.mark.parametrize("k", ROLES)
@pytest.mark.parametrize(
    ("trouble", "said"),
    [(IGNORES_RULES, "there is no table"), (FORGETS_IPV6, "rules: wanted"), (REJECTS_RULES, "no room")],
    ids=["ignores", "forgets-ipv6", "rejects"],
)
def test_a_node_that_did_not_come_out_as_asked_undoes_all(
    nodes: Namespaces, k: str, trouble: str, said: str
) -> None:
    shells = shells_of(nodes, **{k: TroubledShell(nodes.shell(k), trouble)})
    with pytest.raises(Inconclusive, match=said) as caught:
        arm(cut_of(nodes), shells)
    assert nodes.name(k) in str(caught.value)
    assert nothing_is_left(nodes)


@pytest.mark.parametrize("k", ROLES)
def test_a_node_that_can_not_be_entered_keeps_all_untouched(nodes: Namespaces, k: str) -> None:
    never_sent = TroubledShell(
        nodes.shell("n0" if k != "n0" else "n1"), on_send=lambda: pytest.fail("was sent")
    )
    shells = shells_of(nodes) | {never_sent.node: never_sent, nodes.name(k): NetnsShell("no-such-namespace")}
    with pytest.raises(Unreachable, match="no-such-namespace"):
        arm(cut_of(nodes), shells)
    assert nothing_is_left(nodes)


def test_a_node_that_falls_silent_while_arming_is_healed_within_the_timeout(nodes: Namespaces) -> None:
    mute = TroubledShell(
        nodes.shell("n1"), 'nft() { command nft "$@"; if [[ $1 == -f ]]; then sleep 60; fi; }\n'
    )
    started = time.monotonic()
    with pytest.raises(Inconclusive, match="no answer within 1 s"):
        arm(cut_of(nodes), shells_of(nodes, n1=mute), timeout_s=1)
    assert time.monotonic() - started < 10
    assert nothing_is_left(nodes)


def test_rules_that_land_after_their_node_was_given_up_are_taken_away(nodes: Namespaces) -> None:
    land_late = """setsid -f bash -c 'sleep 1.5; nft -f - <<<"$0"' "$(cat)"; sleep 60"""
    late = f'nft() {{ if [[ $1 == -f ]]; then {land_late}; else command nft "$@"; fi; }}\n'
    with pytest.raises(Inconclusive, match="no answer within 1 s"):
        arm(cut_of(nodes), shells_of(nodes, n1=TroubledShell(nodes.shell("n1"), late)), timeout_s=1)
    time.sleep(1)
    assert nothing_is_left(nodes)


def test_an_nft_that_is_slow_is_ended_on_its_node(
    nodes: Namespaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was told to leave meanwhile has healed and left: nothing may come after that."""
    slow = tmp_path / "nft"
    slow.write_text(f'#!/bin/bash\n[[ $1 != -f ]] || sleep {LATEST_S + 1}\nexec {shutil.which("nft")} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with nodes.shell("n0").stream(ARM, timeout_s=20) as lines:
        cut = cut_of(nodes)
        rules = arm_ruleset(cut, cut.nodes[0], datetime.now(UTC))
        lines.send(arm_input(20_000, Lasting.of(cut), rules))
        said = sections(lines, until="end")
    assert said["failed"] == f"nft did not end within {LATEST_S} s"
    assert "committed" not in said
    time.sleep(1.5)
    assert nothing_is_left(nodes)


def test_what_can_not_be_seen_gone_is_unsafe_and_says_how_to_remove_it(nodes: Namespaces) -> None:
    lost = TroubledShell(nodes.shell("n2"), FORGETS_IPV6, run_raises=Unreachable("the way in is lost"))
    with pytest.raises(Unsafe, match="the way in is lost") as caught:
        arm(cut_of(nodes), shells_of(nodes, n2=lost))
    assert caught.value.fix == f"docker exec {lost.node} nft delete table inet chaosext_op1"
    assert nodes.rules("n0") == nodes.rules("n1") == ""


def test_what_can_not_be_seen_gone_is_safe_once_its_ttl_is_over(nodes: Namespaces) -> None:
    lost = TroubledShell(nodes.shell("n0"), run_raises=Unreachable("the way in is lost"))
    report = heal("op1", {lost.node: lost})
    now = clock.now()
    report.require_gone(let_go=now.later(-1))
    with pytest.raises(Unsafe):
        report.require_gone(let_go=now.later(30))


def test_an_interrupt_while_arming_leaves_nothing(nodes: Namespaces) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        arm(cut_of(nodes), shells_of(nodes, n1=TroubledShell(nodes.shell("n1"), on_send=interrupt)))
    assert nothing_is_left(nodes)


def test_a_second_run_is_refused_and_changes_nothing(nodes: Namespaces) -> None:
    first = Cut(
        run="first",
        owner="test@lab",
        nodes=(NodeCut(node=nodes.name("n1"), uplinks=("eth0",)),),
        peers=peers_of(["10.0.0.9"]),
        ttl_s=30,
    )
    arm(first, shells_of(nodes))
    with pytest.raises(Refused, match=r"run first of test@lab is in force, 2\d s left"):
        arm(cut_of(nodes), shells_of(nodes))
    assert "chaosext_op1" not in "".join(nodes.rules(role) for role in ROLES)
    assert "chaosext_first" in nodes.rules("n1")


def test_whether_nodes_are_free_is_asked_before_and_without_arming(nodes: Namespaces) -> None:
    require_free(cut_of(nodes), shells_of(nodes))
    assert all(nodes.rules(role) == "" for role in ROLES)
    arm(cut_of(nodes, "first"), shells_of(nodes))
    before = [nodes.rules(role) for role in ROLES]
    with pytest.raises(Refused, match=r"run first of \S+ is in force"):
        require_free(cut_of(nodes), shells_of(nodes))
    assert [nodes.rules(role).count("chain") for role in ROLES] == [text.count("chain") for text in before]


def test_an_expired_table_leaves_a_node_free_and_a_silent_node_is_not(nodes: Namespaces) -> None:
    arm(cut_of(nodes, "old", ttl_s=1), shells_of(nodes))
    time.sleep(1.1)
    require_free(cut_of(nodes), shells_of(nodes))
    lost = TroubledShell(nodes.shell("n0"), run_raises=Unreachable("no such container"))
    with pytest.raises(Refused, match="no such container"):
        require_free(cut_of(nodes), shells_of(nodes, n0=lost))
    bare = TroubledShell(nodes.shell("n0"), run_trouble="PATH=/nowhere\n")
    with pytest.raises(Refused, match="not found"):
        require_free(cut_of(nodes), shells_of(nodes, n0=bare))


def test_the_same_run_is_not_armed_twice(nodes: Namespaces) -> None:
    arm(cut_of(nodes), shells_of(nodes))
    with pytest.raises(Refused, match="is in force"):
        arm(cut_of(nodes), shells_of(nodes))
    assert all(table.tables[0].is_live for table in inspect(shells_of(nodes)))


def test_two_runs_at_the_same_moment_never_both_stand(nodes: Namespaces) -> None:
    def attempt(run: str) -> bool:
        try:
            arm(cut_of(nodes, run), shells_of(nodes))
        except (Refused, Inconclusive):
            return False
        return True

    with ThreadPoolExecutor() as pool:
        won = list(pool.map(attempt, ("one", "two")))
    standing = {table.run for node in inspect(shells_of(nodes)) for table in node.tables}
    assert len(standing) == sum(won) <= 1


def test_an_expired_table_of_another_run_is_reported_and_left_for_a_cleanup(nodes: Namespaces) -> None:
    arm(cut_of(nodes, "old", ttl_s=1), shells_of(nodes))
    time.sleep(1.1)
    report = arm(cut_of(nodes), shells_of(nodes))
    assert [node.expired_runs for node in report.nodes] == [("old",)] * 3
    assert heal("op1", shells_of(nodes)).left == ()
    assert {table.run for node in inspect(shells_of(nodes)) for table in node.tables} == {"old"}


def test_healing_is_idempotent(nodes: Namespaces) -> None:
    arm(cut_of(nodes), shells_of(nodes))
    reports = [heal("op1", shells_of(nodes)) for _ in range(10)]
    assert [report.left for report in reports] == [()] * 10
    assert [report.nodes[0].was_there for report in reports] == [True] + [False] * 9
    assert nothing_is_left(nodes)


def test_healing_takes_only_the_named_run(nodes: Namespaces) -> None:
    arm(cut_of(nodes), shells_of(nodes))
    assert heal("op", shells_of(nodes)).left == ()  # a prefix of the run's name
    assert all(node.tables[0].is_live for node in inspect(shells_of(nodes)))


def test_a_heal_does_not_wait_for_a_ruleset_that_takes_long_to_list(nodes: Namespaces) -> None:
    arm(cut_of(nodes), shells_of(nodes))
    crowded = TroubledShell(nodes.shell("n0"), run_trouble="timeout() { return 124; }\n")
    report = heal("op1", shells_of(nodes, n0=crowded))
    assert report.left == ()
    assert (report.nodes[0].was_there, report.nodes[0].foreign_changes, report.foreign_identical) == (
        None,
        None,
        None,
    )
    assert nothing_is_left(nodes)


def test_a_heal_with_little_time_does_not_spend_it_on_listings(
    nodes: Namespaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 100,000 rules `nft list ruleset` takes 5 s and more, and `nft list tables` 2 s (nft 1.0.6)."""
    arm(cut_of(nodes), shells_of(nodes))
    crowded = tmp_path / "nft"
    crowded.write_text(
        f'#!/bin/bash\ncase "$*" in *"list ruleset"|"list tables") sleep 9;; esac\nexec {shutil.which("nft")} "$@"\n'
    )
    crowded.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path), prepend=":")
        report = heal("op1", shells_of(nodes), timeout_s=3)
    assert (report.left, report.foreign_identical) == ((), None)
    assert nothing_is_left(nodes)


@pytest.mark.parametrize("trouble", [IGNORES_RULES, REJECTS_RULES, "nft() { return 1; }\n", "exit 0\n"])
def test_a_heal_that_did_not_work_is_not_called_gone(nodes: Namespaces, trouble: str) -> None:
    arm(cut_of(nodes), shells_of(nodes))
    report = heal("op1", shells_of(nodes, n1=TroubledShell(nodes.shell("n1"), run_trouble=trouble)))
    assert report.left == (nodes.name("n1"),)
    with pytest.raises(Unsafe, match=nodes.name("n1")):
        report.require_gone()


def test_a_node_that_can_not_be_asked_is_in_the_inspection_with_its_problem(nodes: Namespaces) -> None:
    arm(cut_of(nodes), shells_of(nodes))
    refused = TroubledShell(nodes.shell("n1"), run_trouble="nft() { return 1; }\n")
    found = inspect({"a": NetnsShell("no-such-namespace"), "b": refused, "c": nodes.shell("n2")})
    assert [bool(node.problem) for node in found] == [True, True, False]
    assert [len(node.tables) for node in found] == [0, 0, 1]


def test_a_renewed_cut_lives_its_ttl_anew_and_says_until_when(nodes: Namespaces) -> None:
    first = arm(cut_of(nodes, ttl_s=2), shells_of(nodes))
    time.sleep(1.2)
    second = renew(cut_of(nodes, ttl_s=2), shells_of(nodes))
    time.sleep(1.2)  # beyond the first TTL, within the second
    assert all(node.tables[0].is_live for node in inspect(shells_of(nodes)))
    assert second.nodes[0].facts.until > first.nodes[0].facts.until


@pytest.mark.parametrize("end", ["healed", "expired"])
def test_a_cut_that_is_over_can_not_be_renewed(nodes: Namespaces, end: str) -> None:
    cut = cut_of(nodes, ttl_s=1)
    arm(cut, shells_of(nodes))
    if end == "healed":
        heal("op1", {nodes.name("n1"): nodes.shell("n1")})  # one node is enough
    else:
        time.sleep(1.1)
    with pytest.raises(Refused, match="healed or its TTL is over"):
        renew(cut, shells_of(nodes))
    assert not any(table.is_live for table in inspect({nodes.name("n1"): nodes.shell("n1")})[0].tables)


def test_a_cut_healed_between_look_and_renewal_stays_healed(nodes: Namespaces) -> None:
    healing = TroubledShell(nodes.shell("n1"), on_send=lambda: heal("op1", shells_of(nodes)).require_gone())
    arm(cut_of(nodes), shells_of(nodes))
    with pytest.raises(Inconclusive):
        renew(cut_of(nodes), shells_of(nodes, n1=healing))
    assert nothing_is_left(nodes)


def test_a_torn_transaction_is_not_applied(nodes: Namespaces) -> None:
    class Torn(TroubledShell):
        def stream(self, script: str, *, timeout_s: float | None = None) -> ProcessStream:
            stream = self.inner.stream(script, timeout_s=timeout_s)
            send = stream.send
            stream.send = lambda text: send(text.rsplit("}", 1)[0] + "}\n")  # type: ignore[method-assign]
            return stream

    with pytest.raises(Inconclusive, match="the script ended early"):
        arm(cut_of(nodes), shells_of(nodes, n0=Torn(nodes.shell("n0"))))
    assert nothing_is_left(nodes)


def test_two_hundred_foreign_rules_are_byte_identical_all_along(lab: Lab) -> None:
    rules = "\n".join(f"ip saddr 10.1.{n}.0/24 tcp dport {n + 1} counter accept" for n in range(200))
    lab.nft(
        NODE,
        f"""
        table ip filter {{
          set blocked {{ type ipv4_addr; flags interval; elements = {{ 1.0.0.0/8, 2.0.0.1 }}
          }}
          chain INPUT {{
            type filter hook input priority 0; policy accept
            ip saddr @blocked drop
            {rules}
          }}
        }}
        table inet chaosextra {{ chain mine {{ comment "looks like ours"; }}
        }}
        """,
    )
    before = lab.rules(NODE)
    report = arm(lab.cut(), lab.shells)
    assert before.strip() in lab.rules(NODE)
    assert report.foreign_identical
    healed = heal("lab1", lab.shells)
    assert healed.foreign_identical
    assert lab.rules(NODE) == before


def test_a_foreign_change_while_arming_is_shown(nodes: Namespaces) -> None:
    other = TroubledShell(nodes.shell("n0"), on_send=lambda: nodes.nft("n0", "add table ip intruder\n"))
    report = arm(cut_of(nodes), shells_of(nodes, n0=other))
    assert [str(change) for change in report.nodes[0].foreign_changes] == ["tables: + table ip intruder {"]
    assert report.nodes[1].foreign_changes == ()


def test_the_network_is_back_at_the_ttl_with_everything_left_alone(lab: Lab) -> None:
    report = arm(lab.cut(ttl_s=1.5), lab.shells)
    wait_until(lambda: lab.opens(NODE, "peer", "ipv4", timeout_s=0.02), within_s=3)
    late = report.let_go.age_s()
    assert abs(late) < 0.5
    assert [table.is_live for table in inspect(lab.shells)[0].tables] == [False]
    assert heal("lab1", lab.shells).left == ()
    assert lab.rules(NODE) == ""


def test_a_missing_shell_or_a_missing_nft_is_refused(nodes: Namespaces) -> None:
    with pytest.raises(Refused, match=f"no shell on {nodes.name('n2')}"):
        arm(cut_of(nodes), {nodes.name(role): nodes.shell(role) for role in ("n0", "n1")})
    bare = TroubledShell(nodes.shell("n0"), "command() { return 1; }\n")
    with pytest.raises(Refused, match="nft is not installed"):
        arm(cut_of(nodes), shells_of(nodes, n0=bare))
