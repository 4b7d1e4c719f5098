"""Whatever the cut: its rules name nothing but its own table."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_address

from hypothesis import given
from hypothesis import strategies as st

from chaosext.model.errors import Refused
from chaosext.partition.cut import FAMILIES, Cut, NodeCut, merged, without
from chaosext.partition.nft import (
    arm_ruleset,
    disarm_ruleset,
    renew_ruleset,
)

ARMED_AT = datetime(2026, 10, 2, 12, tzinfo=UTC)
V4 = st.builds(
    lambda bits, length: IPv4Network((bits >> (32 - length) << (32 - length), length)),
    st.integers(10 << 24, (11 << 24) - 1),
    st.integers(8, 32),
)
V6 = st.builds(
    lambda bits, length: IPv6Network((bits >> (128 - length) << (128 - length), length)),
    st.integers(0xFD00 << 112, (0xFD01 << 112) - 1),
    st.integers(16, 128),
)
PEERS = st.lists(V4 | V6, min_size=1, max_size=12).map(tuple)
HOSTILE = st.text(max_size=24) | st.sampled_from(
    ['x"; flush ruleset; #', "x}\nflush ruleset\n", "$(reboot)", "@peers4", "lo"]
)

TOKEN = re.compile(r'"[^"\n]*"|[^\s";{},]+|[;{},\n]')


def shape(text: str) -> list[str]:
    """The statements of a ruleset with every name, address, number and quoted text replaced: its skeleton."""
    return [
        re.sub(r"[a-z0-9_.:/]*\d[a-z0-9_.:/]*|chaosext_\w+|\"[^\"]*\"", "N", token)
        for token in TOKEN.findall(text)
    ]


@given(run=HOSTILE, owner=HOSTILE, node=HOSTILE, uplink=HOSTILE)
def test_no_name_breaks_out_of_its_place(run: str, owner: str, node: str, uplink: str) -> None:
    for changed in ({"run": run}, {"owner": owner}, {"node": node}, {"uplink": uplink}):
        fields = {"run": "plain", "owner": "plain", "node": "plain", "uplink": "plain"} | changed
        with suppress(Refused):
            assert shape(rules_of(**fields)) == shape(rules_of("plain", "plain", "plain", "plain"))


def rules_of(run: str, owner: str, node: str, uplink: str) -> str:
    node_cut = NodeCut(node=node, uplinks=(uplink,))
    peers = (IPv4Network("10.0.0.2/32"), IPv6Network("fc00::2/128"))
    cut = Cut(run=run, owner=owner, nodes=(node_cut,), peers=peers, ttl_s=60)
    return "".join(
        (arm_ruleset(cut, node_cut, ARMED_AT), renew_ruleset(cut, node_cut, ARMED_AT), disarm_ruleset(run))
    )


@given(peers=PEERS, probes=st.lists(st.integers(0, 2**32 - 1), max_size=8))
def test_merging_keeps_exactly_the_same_addresses_without_overlap(peers: tuple, probes: list[int]) -> None:
    result = merged(peers)
    edges = [edge for peer in peers for edge in (peer[0], peer[-1])]
    for address in (*edges, *(ip_address(0x0A000000 | probe & 0xFFFFFF) for probe in probes)):
        assert sum(address in peer for peer in result) == any(address in peer for peer in peers)
    assert merged(reversed(result)) == result


@given(peers=PEERS, ttl_s=st.floats(1, 900), delay_s=st.floats(1, 60))
def test_a_delayed_peer_passes_first_and_is_dropped_for_as_long_as_any(
    peers: tuple, ttl_s: float, delay_s: float
) -> None:
    node = NodeCut(node="w", uplinks=("eth0",))
    cut = Cut(run="r", owner="o", nodes=(node,), peers=peers, ttl_s=ttl_s, delay_s=delay_s)
    text = arm_ruleset(cut, node, ARMED_AT)
    timed = re.findall(r"(\S+) timeout (\d+)ms", text)
    wanted = [(round((delay_s + ttl_s) * 1000), round(delay_s * 1000))] * len(cut.peers)
    by_peer = {peer: tuple(int(ms) for each, ms in timed if each == peer) for peer, _ in timed}
    assert list(by_peer.values()) == wanted
    verdicts = re.findall(r"@(open|peers)([46]) counter (\w+)", text)
    assert [(each[0], each[2]) for each in verdicts] == [("open", "accept"), ("peers", "drop")] * (
        len(verdicts) // 2
    )


@given(peers=PEERS, ttl_s=st.floats(1, 900))
def test_every_peer_is_in_the_rules_once_with_the_ttl(peers: tuple, ttl_s: float) -> None:
    node = NodeCut(node="cp", uplinks=("eth0",))
    cut = Cut(run="r", owner="o", nodes=(node,), peers=peers, ttl_s=ttl_s)
    timed = re.findall(r"(\S+) timeout (\d+)ms", arm_ruleset(cut, node, ARMED_AT))
    wanted = [peer for family in FAMILIES for peer in cut.peers_in(family)]
    assert [(IPv4Network if "." in a else IPv6Network)(a) for a, _ in timed] == wanted
    assert {int(ms) for _, ms in timed} == {round(ttl_s * 1000)}


@given(peers=PEERS, spared=PEERS, probes=st.lists(st.integers(0, 2**32 - 1), max_size=8))
def test_what_is_spared_is_in_no_rule_and_all_else_is(peers: tuple, spared: tuple, probes: list[int]) -> None:
    result = without(peers, spared)
    edges = [edge for each in (*peers, *spared) for edge in (each[0], each[-1])]
    for address in (*edges, *(ip_address(0x0A000000 | probe & 0xFFFFFF) for probe in probes)):
        wanted = any(address in peer for peer in peers) and not any(address in each for each in spared)
        assert sum(address in peer for peer in result) == wanted
    assert merged(result) == result
