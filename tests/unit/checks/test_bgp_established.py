"""bgp_established and kube_dns_on_peered_nodes: who should have a session, who has, and who needs one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from check_worlds import NOW, ScriptedShell, bgp_peer, endpoint, node, pod

from chaosext.checks.bgp_established import BgpEvidence, gather, judge, parse_frr
from chaosext.checks.kube_dns_placement import PlacementEvidence
from chaosext.checks.kube_dns_placement import judge as judge_placement
from chaosext.cluster.bgp_peers import expected_peers, peered_nodes
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Status
from chaosext.nodes.shell import ShellResult
from chaosext.sentinel.bird_sessions import Session, parse_bird

NODES = (
    node("cp", "172.18.0.2", "fc00::2", control_plane=True),
    node("w1", "172.18.0.3", "fc00::3", labels={"rack": "a"}),
    node("w2", "172.18.0.4", "fc00::4", labels={"rack": "b"}),
)
LEAF = bgp_peer("172.18.0.9", node_selector="!has(node-role.kubernetes.io/control-plane)")

BIRD = """0001 BIRD v0.3.3+birdv1.6.8 ready.
2002-name     proto    table    state  since       info
1002-static1  Static   master   up     10:00:00
1006-  Preference:     200
  Input filter:   ACCEPT

1002-Node_172_18_0_9 BGP      master   {state}
1006-  Description:    Connection to BGP peer
  BGP state:          Established
    Neighbor address: 172.18.0.9
    Neighbor AS:      64512

0000 {end}"""
UP = BIRD.format(state="up     10:00:20    Established   ", end="\n")
DOWN = BIRD.format(state="start  10:00:20    Active        Socket: Connection refused", end="\n")


def frr(**states: str) -> str:
    peers = {ip: {"state": state, "remoteAs": 64512} for ip, state in states.items()}
    return json.dumps({"ipv4Unicast": {"routerId": "172.18.0.9", "peers": peers}})


LEAF_UP = frr(**{"172.18.0.3": "Established", "172.18.0.4": "Established"})


class CalicoCluster:
    def nodes(self) -> Any:
        return NODES

    def bgppeers(self) -> Any:
        return (LEAF,)

    def node_to_node_mesh(self) -> bool:
        return False


REFLECTORS = bgp_peer("", node_selector="all()", peer_selector="rr == 'true'")


class CalicoWith(CalicoCluster):
    """A cluster with these BGPPeers, whose control-plane node is the route reflector."""

    def __init__(self, *peers: Any) -> None:
        self.peers = peers

    def nodes(self) -> Any:
        hub = node("cp", "172.18.0.2", "fc00::2", control_plane=True, labels={"rr": "true"})
        return (hub, *NODES[1:])

    def bgppeers(self) -> Any:
        return self.peers


def shell(name: str, text: str, exit_code: int = 0) -> ScriptedShell:
    return ScriptedShell(name, ShellResult(exit_code, text, ""))


def look(w1: str = UP, w2: str = UP, leaf: str | None = LEAF_UP) -> BgpEvidence:
    shells = {"w1": shell("w1", w1), "w2": shell("w2", w2)}
    switch = None if leaf is None else shell("leaf", leaf)
    return gather(CalicoCluster(), shells, switch)  # type: ignore[arg-type]


def test_sessions_between_nodes_are_not_expected_of_the_leaf() -> None:
    evidence = gather(CalicoWith(REFLECTORS), {}, shell("leaf", "{}"))  # type: ignore[arg-type]

    assert evidence.expected["w1"] == ("172.18.0.2",)
    assert evidence.leaf_nodes == ()


def test_a_leaf_is_expected_to_peer_with_the_nodes_of_its_own_as() -> None:
    racks = (
        bgp_peer("172.18.0.8", node_selector="rack == 'a'", as_number=64601),
        bgp_peer("172.18.0.9", node_selector="rack == 'b'", as_number=64602),
    )
    said = json.dumps({"ipv4Unicast": {"as": 64602, "peers": {"172.18.0.4": {"state": "Established"}}}})

    assert gather(CalicoWith(*racks), {}, shell("leaf", said)).leaf_nodes == ("w2",)  # type: ignore[arg-type]
    assert gather(CalicoWith(*racks), {}, shell("leaf", "{}")).leaf_nodes == ("w1", "w2")  # type: ignore[arg-type]


def test_a_session_that_the_leaf_lists_counts_whatever_as_it_states() -> None:
    said = json.dumps({"ipv4Unicast": {"as": 2, "peers": {"172.18.0.4": {"state": "Active"}}}})

    evidence = gather(CalicoCluster(), {"w1": shell("w1", UP), "w2": shell("w2", UP)}, shell("leaf", said))  # type: ignore[arg-type]

    assert evidence.leaf_nodes == ("w2",)
    assert judge(evidence).status is Status.UNHEALTHY


def test_the_selector_decides_who_peers() -> None:
    assert peered_nodes(NODES, [LEAF], mesh=False) == ("w1", "w2")
    assert peered_nodes(NODES, [], mesh=False) == ()
    assert peered_nodes(NODES, [], mesh=True) == ("cp", "w1", "w2")
    assert peered_nodes(NODES, [bgp_peer()], mesh=False) == ("cp", "w1", "w2")
    assert peered_nodes(NODES, [bgp_peer(node="w2")], mesh=False) == ("w2",)


def test_a_mesh_of_one_node_has_no_peer() -> None:
    assert peered_nodes(NODES[:1], [], mesh=True) == ()


def test_a_peer_selector_makes_a_session_for_both_ends() -> None:
    reflector = bgp_peer("", node_selector="rack == 'a'", peer_selector="has(rack)")
    assert expected_peers(NODES[1], NODES, [reflector], mesh=False) == ("172.18.0.4",)
    assert expected_peers(NODES[2], NODES, [reflector], mesh=False) == ("172.18.0.3",)
    assert expected_peers(NODES[0], NODES, [reflector], mesh=False) == ()


@pytest.mark.parametrize(
    ("written", "address"),
    [("172.18.0.9:1790", "172.18.0.9"), ("[fc00::9]:179", "fc00::9"), ("fc00::9", "fc00::9")],
)
def test_a_peers_port_is_no_part_of_its_address(written: str, address: str) -> None:
    assert expected_peers(NODES[1], NODES, [bgp_peer(written)], mesh=False) == (address,)


def test_birds_answer_is_read() -> None:
    assert parse_bird(UP) == (Session(peer="172.18.0.9", established=True, state="up Established"),)
    assert [each.established for each in parse_bird(DOWN)] == [False]
    assert parse_bird("0001 BIRD ready.\n0000 \n") == ()


def test_frrs_answer_is_read_in_both_shapes() -> None:
    nested, bare = json.loads(LEAF_UP), json.loads(LEAF_UP)["ipv4Unicast"]
    assert parse_frr(json.dumps(nested)) == parse_frr(json.dumps(bare))
    assert {each.peer for each in parse_frr(LEAF_UP)} == {"172.18.0.3", "172.18.0.4"}
    assert parse_frr("{}") == ()
    with pytest.raises(Unreachable):
        parse_frr("% BGP instance not found")


def test_all_sessions_up_is_healthy_and_the_control_plane_is_named_as_by_design() -> None:
    finding = judge(look())
    assert finding.status is Status.HEALTHY
    assert finding.summary == "4 of 4 sessions established; no BGP peer by configuration: Node/cp"


def test_a_session_that_is_down_is_named_with_its_state() -> None:
    finding = judge(look(w2=DOWN, leaf=frr(**{"172.18.0.3": "Established", "172.18.0.4": "Active"})))
    assert finding.status is Status.UNHEALTHY
    assert "Node/w2 → 172.18.0.9:179: start Active" in finding.summary
    assert any(row.subject == "Leaf → Node/w2" and row.status is Status.UNHEALTHY for row in finding.evidence)


def test_a_node_that_the_leaf_does_not_know_is_unhealthy() -> None:
    finding = judge(look(leaf=frr(**{"172.18.0.3": "Established"})))
    assert finding.status is Status.UNHEALTHY
    assert "Leaf → Node/w2: the leaf has no such session" in finding.summary


def test_without_a_leaf_the_nodes_word_is_enough() -> None:
    assert judge(look(leaf=None)).status is Status.HEALTHY


def test_a_leaf_that_answers_nonsense_is_unknown() -> None:
    assert judge(look(leaf="vtysh: failed to connect")).status is Status.UNKNOWN


def test_a_node_whose_bird_is_silent_is_unknown() -> None:
    silent = {"w1": shell("w1", "", exit_code=1), "w2": shell("w2", UP)}
    found = gather(CalicoCluster(), silent, None)  # type: ignore[arg-type]
    assert judge(found).status is Status.UNKNOWN


def test_a_node_without_a_shell_is_unknown() -> None:
    found = gather(CalicoCluster(), {"w1": shell("w1", UP)}, None)  # type: ignore[arg-type]
    assert judge(found).status is Status.UNKNOWN


def test_a_cluster_without_any_bgp_peer_is_unhealthy() -> None:
    nothing = BgpEvidence(expected={"w1": (), "w2": ()}, leaf_nodes=(), node_ips={}, by_node={}, by_leaf=None)
    assert judge(nothing).status is Status.UNHEALTHY


def dns_pod(name: str, on: str, **changes: Any) -> Any:
    return pod(name, namespace="kube-system", node=on, **changes)


def placement(*pods: Any, backing: tuple[str, ...]) -> PlacementEvidence:
    ends = tuple(endpoint("10.244.1.2", f"Pod/kube-system/{name}") for name in backing)
    return PlacementEvidence(pods=pods, endpoints=ends, peered=("w1", "w2"))


def test_kube_dns_on_peered_nodes_is_healthy() -> None:
    finding = judge_placement(placement(dns_pod("a", "w1"), dns_pod("b", "w2"), backing=("a", "b")))
    assert finding.status is Status.HEALTHY
    assert finding.summary == "2 of 2 kube-dns Pods on nodes with a BGP peer"


def test_one_pod_on_the_control_plane_is_unhealthy_and_named() -> None:
    finding = judge_placement(placement(dns_pod("a", "w1"), dns_pod("b", "cp"), backing=("a", "b")))
    assert finding.status is Status.UNHEALTHY
    assert "Pod/kube-system/b: on Node/cp, which has no BGP peer" in finding.summary


def test_a_misplaced_pod_counts_before_it_is_ready() -> None:
    found = placement(dns_pod("a", "w1"), dns_pod("b", "cp", ready=False), backing=("a",))
    assert judge_placement(found).status is Status.UNHEALTHY


def test_a_terminating_pod_does_not_count() -> None:
    found = placement(dns_pod("a", "w1"), dns_pod("b", "cp", deletion=NOW), backing=("a",))
    assert judge_placement(found).status is Status.HEALTHY


def test_no_pod_behind_the_service_is_unhealthy() -> None:
    assert judge_placement(placement(backing=())).status is Status.UNHEALTHY
    unready = placement(dns_pod("a", "w1", ready=False), backing=())
    assert "no ready Pod backs it" in judge_placement(unready).summary


def test_a_pending_pod_is_unhealthy_and_says_why() -> None:
    waiting = dns_pod("b", "", ready=False, ready_detail="0/3 nodes are available")
    finding = judge_placement(placement(dns_pod("a", "w1"), waiting, backing=("a",)))
    assert finding.status is Status.UNHEALTHY
    assert "0/3 nodes are available" in finding.summary
