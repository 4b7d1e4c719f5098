"""FRR's word on its BGP sessions, as recorded."""

import json

import pytest

from chaosext.nodes.frr import Peer, leads_there, parse_summary

# FRR 8.4.4 (Debian bookworm), `show bgp ipv4 unicast summary json`, shortened.
SUMMARY = json.dumps(
    {
        "routerId": "172.18.0.5",
        "as": 64512,
        "totalPeers": 2,
        "peers": {
            "172.18.0.2": {"remoteAs": 64512, "state": "Established", "pfxRcd": 1},
            "172.18.0.3": {"remoteAs": 64512, "state": "Active", "pfxRcd": 0},
        },
    }
)


def test_neighbours_are_read_with_their_state():
    up, down = parse_summary(SUMMARY)

    assert up == Peer(ip="172.18.0.2", states=("Established",), prefixes=1)
    assert up.established
    assert (down.state, down.established) == ("Active", False)


def test_a_neighbour_is_up_when_one_of_its_address_families_is():
    v4 = {"peers": {"172.18.0.2": {"state": "Established", "pfxRcd": 3}}}
    v6 = {"peers": {"172.18.0.2": {"state": "NoNeg", "pfxRcd": 0}}}

    (peer,) = parse_summary(json.dumps({"ipv4Unicast": v4, "ipv6Unicast": v6}))

    assert peer.established
    assert (peer.state, peer.prefixes) == ("Established, NoNeg", 3)


def test_what_is_not_json_is_an_error_and_no_neighbours_are_none():
    assert parse_summary("{}") == ()
    with pytest.raises(ValueError):
        parse_summary("% BGP instance not found")


def route(prefix: str, **hop: bool) -> str:
    """FRR 8.4.4, `show ip route 10.244.6.1 json`, shortened."""
    length = int(prefix.partition("/")[2])
    found = {"prefix": prefix, "prefixLen": length, "selected": True, "nexthops": [{"active": True, **hop}]}
    return json.dumps({prefix: [found]})


@pytest.mark.parametrize(
    ("said", "leads"),
    [
        (route("10.244.6.0/26"), True),
        (route("0.0.0.0/0"), False),
        (route("10.244.0.0/16", blackhole=True), False),
        (route("10.244.6.0/26", active=False), False),
        ("{}", False),
    ],
)
def test_a_route_of_its_own_leads_there(said: str, leads: bool) -> None:
    assert leads_there(said) is leads


@pytest.mark.parametrize("said", ["", "% Unknown command", "[]", '{"10.244.6.0/26": [{"selected": true}]}'])
def test_what_is_no_route_of_frr_s_is_said(said: str) -> None:
    with pytest.raises(ValueError):
        leads_there(said)
