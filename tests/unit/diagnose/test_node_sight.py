"""What a node's answer means; one that broke off means nothing."""

from __future__ import annotations

import pytest

from chaosext.diagnose.node_sight import NodeSight, parse_sight
from chaosext.model.errors import Unreachable

ANSWER = """
--dns
10.96.0.10

--url
https://172.18.0.2:6443

--api
124 

--ready
[-]etcd failed: reason withheld
readyz check failed

asked

--conntrack
udp      17 27 src=10.244.1.8 dst=10.96.0.10 sport=40000 dport=53 [UNREPLIED] src=10.244.0.5 dst=10.244.1.8 sport=53 dport=40000
udp      17 20 src=10.244.1.9 dst=10.96.0.10 sport=41000 dport=53 [UNREPLIED] src=10.244.0.5 dst=10.244.1.9 sport=53 dport=41000

--conntrack-again
udp      17 29 src=10.244.1.8 dst=10.96.0.10 sport=40000 dport=53 [UNREPLIED] src=10.244.0.5 dst=10.244.1.8 sport=53 dport=40000
udp      17 16 src=10.244.1.9 dst=10.96.0.10 sport=41000 dport=53 [UNREPLIED] src=10.244.0.5 dst=10.244.1.9 sport=53 dport=41000

--nat
kube-system/kube-dns:dns 10.244.0.5:53
kube-system/kube-dns:dns 10.244.0.6:53

--tables
4 inet by_hand
2 inet firewalld

--end
"""  # noqa: E501, W291  as conntrack and bash print it


def test_answer_shows_what_the_node_sees() -> None:
    found = parse_sight("w1", ANSWER)
    assert found.cluster_dns == ("10.96.0.10",)
    assert (found.api_server, found.api, found.reaches_api) == ("https://172.18.0.2:6443", "timed out", False)
    assert (found.serves, found.failing) == (True, ("etcd",))
    assert found.nat == {"kube-system/kube-dns:dns": ("10.244.0.5:53", "10.244.0.6:53")}
    assert found.others[0] == "table inet by_hand (4 rules that drop)"


def test_only_flows_that_are_still_in_use_are_stuck() -> None:
    (flow,) = parse_sight("w1", ANSWER).stuck
    assert (flow.client, flow.service, flow.endpoint) == ("10.244.1.8", "10.96.0.10", "10.244.0.5")


def test_node_without_an_api_server_neither_serves_nor_fails() -> None:
    found = parse_sight(
        "w1", ANSWER.replace("[-]etcd failed: reason withheld\nreadyz check failed\n\nasked\n", "")
    )
    assert (found.serves, found.failing) == (None, ())


def test_api_server_that_does_not_answer_does_not_serve() -> None:
    found = parse_sight("w1", ANSWER.replace("[-]etcd failed: reason withheld\nreadyz check failed\n", ""))
    assert found.serves is False


@pytest.mark.parametrize("answer", ["", ANSWER.partition("--end")[0], "bash: not found"])
def test_answer_that_broke_off_is_none(answer: str) -> None:
    with pytest.raises(Unreachable):
        parse_sight("w1", answer)


def test_sight_survives_a_recording() -> None:
    found = parse_sight("w1", ANSWER)
    assert NodeSight.from_json(found.to_json()) == found
    assert NodeSight.from_json({**found.to_json(), "later": 1}) == found
