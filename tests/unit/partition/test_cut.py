from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from typing import Any

import pytest

from chaosext.model.errors import Refused
from chaosext.partition.cut import Cut, NodeCut, peers_of

NODE = NodeCut(node="cp-1", uplinks=("eth0",))
PEERS = peers_of(["10.0.0.2", "fc00::2"])


def a_cut(**changes: Any) -> Cut:
    fields = {"run": "r1", "owner": "alice@laptop", "nodes": (NODE,), "peers": PEERS, "ttl_s": 60.0}
    return Cut(**(fields | changes))


def test_a_cut_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        a_cut().ttl_s = 3600  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"run": ""}, "run"),
        ({"run": "Run-1"}, "run"),
        ({"run": "x" * 21}, "run"),
        ({"run": "x; flush ruleset"}, "run"),
        ({"run": "x\n"}, "run"),
        ({"owner": 'alice" }'}, "owner"),
        ({"owner": ""}, "owner"),
        ({"owner": "a" * 41}, "owner"),
        ({"nodes": ()}, "nodes"),
        ({"nodes": (NODE, NODE)}, "nodes"),
        ({"peers": ()}, "peers"),
        ({"ttl_s": 0}, "ttl_s"),
        ({"ttl_s": -1}, "ttl_s"),
        ({"ttl_s": 0.5}, "ttl_s"),
        ({"ttl_s": float("nan")}, "ttl_s"),
        ({"ttl_s": float("inf")}, "ttl_s"),
        ({"families": ()}, "families"),
        ({"families": ("ipv5",)}, "families"),
        ({"families": ("ipv6",), "peers": peers_of(["10.0.0.2"])}, "peers"),
    ],
)
def test_a_bad_field_is_refused_by_name_and_with_a_fix(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as caught:
        a_cut(**changes)
    assert caught.value.message.startswith(f"{field}: ")
    assert caught.value.fix


@pytest.mark.parametrize(
    "peer",
    [
        "0.0.0.0/0",
        "::/0",
        "127.0.0.1",
        "127.0.0.0/8",
        "224.0.0.5",
        "239.0.0.0/8",
        "255.255.255.255",
        "0.0.0.0",
        "::1",
        "::",
        "fe80::1",
        "ff02::1",
        "64.0.0.0/2",  # holds loopback
    ],
)
def test_a_peer_that_can_be_no_node_is_refused(peer: str) -> None:
    with pytest.raises(Refused, match=r"^peers: "):
        a_cut(peers=peers_of([], [peer]))


def test_halves_of_everything_are_everything() -> None:
    with pytest.raises(Refused, match="every address"):
        a_cut(peers=peers_of([], ["0.0.0.0/1", "128.0.0.0/1"]))


@pytest.mark.parametrize(
    "uplink", ["", "lo", "eth*", "eth0 ", "a/b", 'e"', "e" * 16, "-eth0", "eth0,eth1", "eth0\n"]
)
def test_an_impossible_uplink_is_refused(uplink: str) -> None:
    with pytest.raises(Refused, match=r"^uplinks: "):
        NodeCut(node="cp-1", uplinks=(uplink,))


@pytest.mark.parametrize("node", ["", "-rf", "a b", "CP1", "a;b", "--privileged", "a\n"])
def test_an_impossible_node_is_refused(node: str) -> None:
    with pytest.raises(Refused, match=r"^node: "):
        NodeCut(node=node, uplinks=("eth0",))


def test_a_node_without_uplinks_is_refused() -> None:
    with pytest.raises(Refused, match=r"^uplinks: none"):
        NodeCut(node="cp-1", uplinks=())


@pytest.mark.parametrize("uplink", ["eth0", "eno1np0", "bond0.100", "enp0s31f6", "br-lan", "vlan_7"])
def test_real_uplinks_are_accepted(uplink: str) -> None:
    assert NodeCut(node="cp-1", uplinks=(uplink,)).uplinks == (uplink,)


def test_peers_are_merged_into_prefixes_that_do_not_overlap() -> None:
    peers = peers_of(["10.0.0.1", "10.0.0.1", "fc00::1", "10.244.3.4"], ["10.244.0.0/16", "10.244.1.0/24"])
    assert list(map(str, peers)) == ["10.0.0.1/32", "10.244.0.0/16", "fc00::1/128"]
    assert a_cut(peers=peers + peers).peers == peers


@pytest.mark.parametrize(
    ("addresses", "prefixes"),
    [(["worker-1"], []), (["10.0.0.0/24"], []), ([], ["10.0.0.1/24"]), ([""], []), ([], ["10.0.0.0/33"])],
)
def test_what_is_no_peer_is_refused_and_named(addresses: list[str], prefixes: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        peers_of(addresses, prefixes)
    assert repr((addresses + prefixes)[0]) in caught.value.message


def test_a_family_left_open_has_no_peers() -> None:
    cut = a_cut(families=("ipv4",))
    assert cut.peers_in("ipv6") == ()
    assert cut.peers_in("ipv4") == peers_of(["10.0.0.2"])


def test_the_expiry_follows_from_the_moment_of_arming() -> None:
    assert a_cut(ttl_s=90).expires_at(datetime(2026, 10, 2, 12, tzinfo=UTC)) == datetime(
        2026, 10, 2, 12, 1, 30, tzinfo=UTC
    )
