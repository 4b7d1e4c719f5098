from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.model.errors import Refused
from chaosext.partition.cut import Cut, NodeCut, check_node, check_run, nodes_of, peers_of, without

if TYPE_CHECKING:
    from collections.abc import Callable

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


def test_a_cut_of_the_shortest_ttl_can_be() -> None:
    assert a_cut(ttl_s=1.0).ttl_s == 1.0


UPLINK = "name the interface towards the other nodes"
ADDRESSES = "name at least one address or prefix to cut off"
WORDS: dict[str, Callable[[], object]] = {
    "uplinks: none given for node cp-1: name its interface, such as eth0": lambda: NodeCut(
        node="cp-1", uplinks=()
    ),
    "uplinks: 'a/b' on cp-1 is not a valid interface name: see `ip -br link` there": lambda: NodeCut(
        node="cp-1", uplinks=("a/b",)
    ),
    f"uplinks: lo on cp-1 leads to no peer: {UPLINK}": lambda: NodeCut(node="cp-1", uplinks=("lo",)),
    "node: 'CP' is not a valid node name: use the name that `kubectl get nodes` prints": lambda: check_node(
        "CP"
    ),
    "run: 'R!' can not name a run: use 1 to 20 lower-case letters and digits": lambda: check_run("R!"),
    "owner: 'a b' does not fit into a comment: use 1 to 40 of A-Z a-z 0-9 @ . _ -": lambda: a_cut(
        owner="a b"
    ),
    "nodes: none to put the cut on: list at least one, such as the control plane's": lambda: a_cut(nodes=()),
    "nodes: named twice among cp-1, cp-1: list each once, with all its uplinks": lambda: a_cut(
        nodes=(NODE, NODE)
    ),
    "ttl_s: 0.5 s is not a valid duration of a cut: set 1 or more seconds": lambda: a_cut(ttl_s=0.5),
    "dead_man_s: a cut can't be renewed every 2 s: give 3 s or more, or leave it out": lambda: a_cut(
        dead_man_s=2
    ),
    "delay_s: a cut can't begin after 0.5 s: give 0, or 1 s or more": lambda: a_cut(delay_s=0.5),
    "dead_man_s: a cut with a delay can't be renewed: remove it": lambda: a_cut(delay_s=15.0, dead_man_s=30),
    "families: ('ipv5',) is not valid: use ipv4, ipv6 or both": lambda: a_cut(families=("ipv5",)),
    "peers: 0.0.0.0/0 contains every address: list the nodes' addresses or prefixes": lambda: a_cut(
        peers=peers_of([], ["0.0.0.0/0"])
    ),
    f"peers: none in ipv4 or ipv6: {ADDRESSES}": lambda: a_cut(peers=()),
    f"peers: none in ipv6: {ADDRESSES}": lambda: a_cut(peers=peers_of(["10.0.0.2"]), families=("ipv6",)),
    "peers: 127.0.0.1/32 holds loopback (127.0.0.0/8): list addresses of other nodes only": lambda: a_cut(
        peers=peers_of(["127.0.0.1"])
    ),
    "peers: '10.0.0.0/31' is a prefix where an address is wanted: give it among the prefixes": lambda: (
        peers_of(["10.0.0.0/31"])
    ),
    "peers: 'w' is not a valid address ('w' does not appear to be an IPv4 or IPv6 network): "
    "write 10.0.0.1 or 10.244.0.0/16": lambda: peers_of(["w"]),
    "peers: 'w' is not a valid prefix ('w' does not appear to be an IPv4 or IPv6 network): "
    "write 10.0.0.1 or 10.244.0.0/16": lambda: peers_of([], ["w"]),
}


@pytest.mark.parametrize("words", WORDS)
def test_a_refusal_says_exactly_this(words: str) -> None:
    with pytest.raises(Refused) as refused:
        WORDS[words]()
    assert str(refused.value) == words


@pytest.mark.parametrize("dead_man_s", [0.0, 2.99, float("nan"), float("inf")])
def test_a_cut_can_not_be_renewed_at_any_pace(dead_man_s: float) -> None:
    with pytest.raises(Refused, match=r"^dead_man_s: "):
        a_cut(dead_man_s=dead_man_s)


def test_a_cut_lasts_as_long_as_its_step() -> None:
    assert a_cut(ttl_s=60.0, dead_man_s=3.0).step_s == 3.0
    assert a_cut(ttl_s=60.0, dead_man_s=90.0).step_s == a_cut(ttl_s=60.0).step_s == 60.0


def test_the_nodes_of_several_cuts_are_named_once_and_in_order() -> None:
    other = NodeCut(node="cp-0", uplinks=("eth0",))
    assert nodes_of([a_cut(), a_cut(nodes=(NODE, other))]) == ("cp-0", "cp-1")
    assert nodes_of([]) == ()


@pytest.mark.parametrize("delay_s", [-1.0, 0.5, float("nan"), float("inf")])
def test_a_cut_begins_at_once_or_a_second_later_at_the_least(delay_s: float) -> None:
    with pytest.raises(Refused, match=r"^delay_s: "):
        a_cut(delay_s=delay_s)


@pytest.mark.parametrize("delay_s", [0.0, 1.0, 15.0])
def test_a_cut_with_a_delay_lasts_its_ttl(delay_s: float) -> None:
    assert a_cut(ttl_s=60.0, delay_s=delay_s).armed_for_s == 60.0 + delay_s


# What is spared


def texts(networks: Any) -> list[str]:
    return [str(each) for each in networks]


@pytest.mark.parametrize(
    ("peers", "spared", "dropped"),
    [
        (["10.0.0.0/30"], ["10.0.0.1"], ["10.0.0.0/32", "10.0.0.2/31"]),
        (["10.0.0.0/30"], ["10.0.0.0", "10.0.0.3"], ["10.0.0.1/32", "10.0.0.2/32"]),
        (["10.0.0.0/30"], ["10.0.0.0/31"], ["10.0.0.2/31"]),
        (["10.0.0.0/30"], ["192.0.2.1", "fd00::1"], ["10.0.0.0/30"]),
        (["10.0.0.0/30"], ["10.0.0.0/8"], []),
        (["10.0.0.0/31", "10.0.0.4/31"], ["10.0.0.1", "10.0.0.4"], ["10.0.0.0/32", "10.0.0.5/32"]),
        (["10.0.0.1"], ["10.0.0.1"], []),
        (["fd00::/126"], ["fd00::1"], ["fd00::/128", "fd00::2/127"]),
        (["255.255.255.254/31"], ["255.255.255.254"], ["255.255.255.255/32"]),
        ([], ["10.0.0.1"], []),
    ],
)
def test_without_leaves_what_is_not_spared(peers: list[str], spared: list[str], dropped: list[str]) -> None:
    assert texts(without(peers_of((), peers), peers_of((), spared))) == dropped


def test_a_cut_drops_its_peers_but_for_what_is_spared() -> None:
    cut = a_cut(peers=peers_of((), ["10.0.0.0/30", "fd00::/127"]), spared=peers_of(["10.0.0.1", "fd00::"]))
    assert texts(cut.dropped) == ["10.0.0.0/32", "10.0.0.2/31", "fd00::1/128"]
    assert texts(cut.peers_in("ipv4")) == ["10.0.0.0/32", "10.0.0.2/31"]
    assert texts(cut.peers_in("ipv6")) == ["fd00::1/128"]
    assert texts(cut.peers) == ["10.0.0.0/30", "fd00::/127"]


def test_a_cut_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        a_cut(spared=peers_of((), ["10.0.0.0/8", "fc00::/7"]))
    assert (refused.value.message, refused.value.fix) == (
        "peers: nothing of 10.0.0.2/32, fc00::2/128 is left to cut off: the nodes that carry the rules need all of it",
        "name addresses of the nodes that are to be cut off",
    )
    with pytest.raises(Refused, match="peers: none in ipv6"):
        a_cut(spared=peers_of(["fc00::2"]), families=("ipv6",))
