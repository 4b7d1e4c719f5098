"""A cut on the side of nodes that nobody reaches meanwhile: armed and read back at once, in force a while later.

`node` is a worker with a Pod behind it, `peer` the API server that it is cut off from.
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from chaosext.model.errors import Inconclusive, Refused
from chaosext.partition.apply import arm, heal, inspect, renew
from chaosext.partition.cut import FAMILIES, Cut, Family, NodeCut, peers_of

from .lab import ADDRESS, NODE, OUTSIDER, PEER, POD, Lab, Namespaces, arrives, wait_until
from .test_arm_and_heal import REJECTS_RULES, TroubledShell

pytestmark = pytest.mark.netns

DELAY_S, TTL_S = 2.0, 3.0
LATE_S = 1.0
WAYS = [(NODE, PEER), (PEER, NODE), (POD, PEER), (PEER, POD)]


def worker_side(lab: Lab, *, delay_s: float = DELAY_S, ttl_s: float = TTL_S) -> Cut:
    peers = peers_of(ADDRESS[family][PEER] for family in FAMILIES)
    return replace(lab.cut(), peers=peers, delay_s=delay_s, ttl_s=ttl_s)


def opens(lab: Lab, source: str, target: str, family: Family) -> bool:
    return lab.opens(source, target, family, timeout_s=0.1)


def test_nothing_is_dropped_before_the_delay_is_over_all_is_then_and_nothing_after_the_ttl(lab: Lab) -> None:
    with lab.flow(POD, PEER, "ipv4") as (client, server), lab.flow(PEER, NODE, "ipv6") as (c6, s6):
        report = arm(worker_side(lab), lab.shells)
        began, ends = report.cut_at, report.let_go
        assert TTL_S <= ends.uptime_s - began.uptime_s < TTL_S + LATE_S
        for family in FAMILIES:
            assert all(opens(lab, source, target, family) for source, target in WAYS)
        assert arrives(client, server)
        assert arrives(s6, c6)
        assert not began.has_passed
        time.sleep(max(0.0, -(began.age_s() or 0.0)) + 0.05)
        assert not arrives(client, server)
        assert not arrives(s6, c6)
        for family in FAMILIES:
            assert not any(opens(lab, source, target, family) for source, target in WAYS)
            assert opens(lab, POD, OUTSIDER, family)
        assert not ends.has_passed
        wait_until(lambda: all(opens(lab, *way, family) for way in WAYS for family in FAMILIES), TTL_S + 2)
        assert (ends.age_s() or 0.0) <= LATE_S
        assert arrives(client, server, timeout_s=3)
    (look,) = inspect(lab.shells)
    assert [table.is_live for table in look.tables] == [False]
    heal("lab1", lab.shells).require_gone()
    assert "chaosext" not in lab.rules(NODE)


def test_the_whole_cut_is_read_back_before_it_is_in_force(lab: Lab) -> None:
    report = arm(worker_side(lab, delay_s=15, ttl_s=40), lab.shells)
    (facts,) = (node.facts for node in report.nodes)
    assert {peer.timeout_s for peer in facts.peers} <= {53, 54}  # of 55 s, and what it took to come there
    assert {peer.timeout_s for peer in facts.still_open} <= {13, 14}
    assert len(facts.drops) == len(facts.passes) == 4
    assert facts.is_live
    assert facts.dropped_packets == 0


def test_before_it_is_in_force_it_is_healed_like_any_other(lab: Lab) -> None:
    arm(worker_side(lab), lab.shells)
    heal("lab1", lab.shells).require_gone()
    time.sleep(DELAY_S + 0.1)
    assert opens(lab, POD, PEER, "ipv4")
    assert lab.rules(NODE) == ""


def test_one_node_that_takes_no_rules_spares_all_before_any_is_cut(nodes: Namespaces) -> None:
    roles = ("n0", "n1", "n2")
    cut = Cut(
        run="op1",
        owner="test@lab",
        nodes=tuple(NodeCut(node=nodes.name(role), uplinks=("eth0",)) for role in roles),
        peers=peers_of(["10.0.0.1", "fc00::1"]),
        ttl_s=30,
        delay_s=15,
    )
    troubled = {nodes.name("n1"): TroubledShell(nodes.shell("n1"), REJECTS_RULES)}
    shells = {nodes.name(role): nodes.shell(role) for role in roles}
    began_s = time.monotonic()
    with pytest.raises(Inconclusive, match="no room"):
        arm(cut, {**shells, **troubled})
    assert time.monotonic() - began_s < cut.delay_s
    assert all(nodes.rules(role) == "" for role in roles)


def test_it_is_not_renewed(lab: Lab) -> None:
    cut = worker_side(lab)
    arm(cut, lab.shells)
    with pytest.raises(Refused, match="with a delay, which is not renewed"):
        renew(cut, lab.shells)
