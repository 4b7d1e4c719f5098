"""What an arming rests on, on a real kernel: the lock, its own age, and one moment at which all nodes let go."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chaosext.checks.cut_effective import MOST_FROM, Path, gather, sampled
from chaosext.checks.tcp_reachability import Reach, Target
from chaosext.model import clock
from chaosext.model.errors import Inconclusive, Refused
from chaosext.model.owner import Claim
from chaosext.partition.apply import Hold, arm, heal, inspect, renew, verify
from chaosext.partition.cut import FAMILIES, peers_of
from chaosext.partition.nft import lost
from chaosext.partition.node_lock import lock_nodes, remove_lock

from .lab import ADDRESS, NODE, OUTSIDER, PEER, Lab, Namespaces, wait_until
from .test_arm_and_heal import ROLES, TroubledShell, cut_of, nothing_is_left, shells_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.netns

MINE, OTHERS = Claim(run="op1", owner="test@lab"), Claim(run="other", owner="bob@desk")
HELD = Hold(claim=MINE, ttl_s=60)
SLOW_S = 1.5


def without_locks(nodes: Namespaces) -> None:
    for claim in (MINE, OTHERS):
        remove_lock(claim.run, shells_of(nodes))


def test_arming_and_renewing_start_the_lock_anew(nodes: Namespaces) -> None:
    lock_nodes(MINE, shells_of(nodes), ttl_s=4)
    arm(cut_of(nodes), shells_of(nodes), hold=HELD)
    assert {look.lock.remaining_s for look in inspect(shells_of(nodes)) if look.lock} <= {58, 59, 60}
    renew(cut_of(nodes), shells_of(nodes), hold=replace(HELD, ttl_s=90))
    assert {look.lock.remaining_s for look in inspect(shells_of(nodes)) if look.lock} <= {88, 89, 90}


def taken_over(nodes: Namespaces) -> None:
    without_locks(nodes)
    lock_nodes(OTHERS, shells_of(nodes))


def expired(nodes: Namespaces) -> None:
    without_locks(nodes)
    lock_nodes(MINE, shells_of(nodes), ttl_s=1)
    time.sleep(1.1)


LOSSES = {
    without_locks: "the lock of this run is gone",
    taken_over: "the lock of this run has expired, or is another's: run other",
    expired: "the lock of this run has expired, or is another's: run op1",
}


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_no_rule_is_applied_by_a_run_that_has_lost_its_lock_meanwhile(
    nodes: Namespaces, lose: Callable[[Namespaces], None]
) -> None:
    """Between its last look and its rules: as when it was stopped there."""
    lock_nodes(MINE, shells_of(nodes))
    with pytest.raises(Refused) as refused:
        arm(cut_of(nodes), shells_of(nodes), hold=HELD, decide=lambda _: lose(nodes))
    assert refused.value.message.startswith(f"{nodes.name('n0')}: {LOSSES[lose]}")
    assert all(look.tables == () for look in inspect(shells_of(nodes)))
    without_locks(nodes)
    assert nothing_is_left(nodes)


def test_a_cut_whose_lock_is_lost_is_not_renewed(nodes: Namespaces) -> None:
    lock_nodes(MINE, shells_of(nodes))
    arm(cut_of(nodes), shells_of(nodes), hold=HELD)
    without_locks(nodes)
    with pytest.raises(Refused, match="the lock of this run is gone"):
        renew(cut_of(nodes), shells_of(nodes), hold=HELD)


def test_a_lock_that_is_lost_on_one_node_only_undoes_all(nodes: Namespaces) -> None:
    lock_nodes(MINE, shells_of(nodes))

    def lose(_: clock.Moment) -> None:
        remove_lock("op1", {nodes.name("n1"): nodes.shell("n1")})

    with pytest.raises(Inconclusive, match="n1: the lock of this run is gone"):
        arm(cut_of(nodes), shells_of(nodes), hold=HELD, decide=lose)
    assert all(look.tables == () for look in inspect(shells_of(nodes)))


def test_rules_that_reach_a_node_too_late_are_not_applied(nodes: Namespaces) -> None:
    """The node counts from when it was ready, by its own clock."""
    with pytest.raises(
        Refused, match=r"n0: the rules came 1\.\d s after the node was ready for them: too late"
    ):
        arm(cut_of(nodes), _patient(nodes), decide=lambda _: time.sleep(SLOW_S), timeout_s=1.0)
    assert nothing_is_left(nodes)


def _patient(nodes: Namespaces) -> dict[str, TroubledShell]:
    """Shells whose own time limit is longer than what is allowed for the rules: the node alone has to see to that."""

    class Patient(TroubledShell):
        def stream(self, script: str, *, timeout_s: float | None = None):  # type: ignore[no-untyped-def]
            return super().stream(script, timeout_s=20)

    return {nodes.name(role): Patient(nodes.shell(role)) for role in ROLES}


def test_a_slow_node_lets_go_when_the_others_do(nodes: Namespaces) -> None:
    """Its rules are applied 0.8 s later, and the rules of the others are not in force any longer for that."""
    reads_slowly = "cat() { command cat; sleep 0.8; }\n"
    shells = shells_of(nodes, n1=TroubledShell(nodes.shell("n1"), reads_slowly))
    report = arm(cut_of(nodes, ttl_s=4.0), shells)
    late_s = {node.node: node.armed_at.uptime_s - report.armed_at.uptime_s for node in report.nodes}
    assert late_s[nodes.name("n1")] > 0.5
    ended: dict[str, clock.Moment] = {}

    def watch(role: str) -> None:
        on = {nodes.name(role): nodes.shell(role)}
        wait_until(
            lambda: not any(table.is_live for look in inspect(on) for table in look.tables), within_s=10
        )
        ended[role] = clock.now()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(watch, ROLES))
    first, last = min(ended.values()), max(ended.values())
    assert last.uptime_s - first.uptime_s < 0.7
    assert last.uptime_s - report.ends.uptime_s < 1.0
    assert first.uptime_s - report.ends.uptime_s > -0.5


def test_an_nft_that_would_make_a_node_let_go_too_late_undoes_all(nodes: Namespaces) -> None:
    dawdles = f'nft() {{ if [[ $1 == -f ]]; then sleep {SLOW_S}; fi; command nft "$@"; }}\n'
    bounded = 'timeout() { shift 3; local end=$((SECONDS + 1)); "$@"; (( SECONDS < end )); }\n'
    shells = shells_of(nodes)
    slow = shells[nodes.name("n2")]
    shells[nodes.name("n2")] = TroubledShell(slow, dawdles + bounded)  # type: ignore[arg-type]
    with pytest.raises(Inconclusive, match="n2: nft did not end within 1 s"):
        arm(cut_of(nodes), shells)
    assert nothing_is_left(nodes)


# What is spared, and what was planned


def test_what_is_spared_stays_open_in_both_families_although_its_subnet_is_cut(lab: Lab) -> None:
    subnet = peers_of((), ["10.77.0.0/24", "fd77::/64"])
    spared = peers_of([ADDRESS["ipv4"][OUTSIDER], ADDRESS["ipv6"][OUTSIDER]])
    cut = replace(lab.cut(), peers=subnet, spared=spared)
    arm(cut, lab.shells)
    for source, target in ((NODE, OUTSIDER), (OUTSIDER, NODE)):
        assert lab.opens(source, target, "ipv4")
        assert lab.opens(source, target, "ipv6")
    for source, target in ((NODE, PEER), (PEER, NODE)):
        assert not lab.opens(source, target, "ipv4")
        assert not lab.opens(source, target, "ipv6")
    heal("lab1", lab.shells).require_gone()
    assert lab.rules(NODE) == ""


def test_a_cut_in_force_is_verified_to_be_whole_through_renewals_and_its_expiry(lab: Lab) -> None:
    cut = replace(lab.cut(ttl_s=30.0), dead_man_s=3.0)
    arm(cut, lab.shells)
    for _ in range(3):
        renew(cut, lab.shells)
        (state,) = verify(cut, lab.shells)
        assert lost(cut, cut.nodes[0], state.table) == ()
        assert "eth0" in {link["ifname"] for link in state.links}
        assert len(state.boot) == 36
    time.sleep(3.2)
    (state,) = verify(cut, lab.shells)
    assert lost(cut, cut.nodes[0], state.table, expired=True) == ()
    assert lost(cut, cut.nodes[0], state.table) == ("all addresses were removed from the cut",)


DEEDS = {
    "flush ruleset": "all rules of the cut were removed",
    "delete table inet chaosext_lab1": "all rules of the cut were removed",
    "add table inet chaosext_lab1 { flags dormant; }": "the table of the cut was made dormant: it drops nothing",
    "flush chain inet chaosext_lab1 outbound": "2 of 4 rules of the cut were removed or changed",
    "flush table inet chaosext_lab1": "4 of 4 rules of the cut were removed or changed",
    "chain inet chaosext_lab1 inbound { policy drop; }": "2 of 4 rules of the cut were removed or changed",
    "insert rule inet chaosext_lab1 inbound accept": "rules were added to the table of the cut",
    "add chain inet chaosext_lab1 more": "rules were added to the table of the cut",
    "delete element inet chaosext_lab1 peers4 { 10.77.0.2 }": (
        "1 of 4 addresses and prefixes were removed from the cut (10.77.0.2)"
    ),
    "add element inet chaosext_lab1 peers6 { fd99::1 }": "addresses and prefixes were added to the cut (fd99::1)",
}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_change_of_the_cut_by_others_is_seen_while_it_lasts_and_at_its_heal(lab: Lab, deed: str) -> None:
    cut = lab.cut()
    arm(cut, lab.shells)
    lab.nft(NODE, f"{deed}\n")
    (state,) = verify(cut, lab.shells)
    assert state.problem == ""
    assert lost(cut, cut.nodes[0], state.table) == (DEEDS[deed],)
    (healed,) = heal("lab1", lab.shells).nodes
    assert healed.gone
    assert healed.was_there is (state.table is not None)
    assert lost(cut, cut.nodes[0], healed.found) == (DEEDS[deed],)


# Many paths


def test_the_proof_of_many_paths_is_over_long_before_the_cut(lab: Lab) -> None:
    """125 workers with two addresses each: 500 paths, of which the 250 from the control plane are measured here."""
    far = [(f"10.99.{number}.1", f"fd99::{number:x}") for number in range(125)]
    four, six = (ADDRESS[family][PEER] for family in FAMILIES)
    lab.ip(NODE, f"route add 10.99.0.0/16 via {four}", f"route add fd99::/64 via {six}")
    cut = replace(lab.cut(ttl_s=60.0), peers=peers_of((), ["10.99.0.0/16", "fd99::/64"]))
    every = [
        path
        for number, addresses in enumerate(far)
        for address in addresses
        for path in (
            Path(source=cut.nodes[0].node, towards=f"w{number}", target=Target(address, 10250)),
            Path(source=f"w{number}", towards=cut.nodes[0].node, target=Target(ADDRESS["ipv4"][NODE], 6443)),
        )
    ]
    paths, left_out = sampled(every, {cut.nodes[0].node})
    assert left_out.nodes == ()
    arm(cut, lab.shells)
    began_s = time.monotonic()
    found = gather([path for path in paths if path.source == cut.nodes[0].node], lab.shells)
    took_s = time.monotonic() - began_s
    assert len(found.connects) == MOST_FROM
    assert {connect.reach for connect in found.connects.values()} <= {Reach.TIMED_OUT, Reach.NO_ROUTE}
    assert took_s < 20
