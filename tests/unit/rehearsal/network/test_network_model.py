"""Which node reaches which Pods: with the network whole, and as sessions across the cut end and return."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest
from worlds import CALICO as CALICO_NETWORK
from worlds import LEAF as LEAF_PEER
from worlds import POOL as PLAIN_POOL
from worlds import ROUTED, cluster
from worlds import node as a_node

from chaosext.cluster.objects import BgpPeer
from chaosext.rehearsal.network.network_model import routes_of
from chaosext.rehearsal.network.routes import unannounced
from chaosext.rehearsal.snapshot.world import Network, Plugin, World

if TYPE_CHECKING:
    from chaosext.rehearsal.network.routes import Periods, Routes

CP, ONE, TWO = 0, 1, 2
WORKERS = frozenset({"worker-1", "worker-2"})

MESH = replace(CALICO_NETWORK, peers=(), full_mesh=True)
CUT: Periods = ((0.0, 480.0),)
LOST = 1
"""After one change: the sessions across the cut have ended."""


def routes(network: Network, periods: Periods = CUT, **changes: object) -> Routes:
    return routes_of(replace(cluster(network=network), **changes), WORKERS, periods=periods)  # type: ignore[arg-type]


def early(low: float, _: float) -> float:
    return low


def late(_: float, high: float) -> float:
    return high


def peer(**fields: str) -> BgpPeer:
    return replace(
        BgpPeer(name="p", peer_ip="", node="", node_selector="", peer_selector="", as_number=0), **fields
    )


# -- Calico's routes -------------------------------------------------------------------------------------------


def test_pods_on_a_node_without_a_session_are_not_reached() -> None:
    """The testbed: only workers peer with the leaf."""
    found = routes(CALICO_NETWORK)
    assert found.proof.holds
    assert found.reaches(ONE, TWO)
    assert found.reaches(CP, ONE)
    assert found.reaches(ONE, CP) is False
    assert found.reaches(CP, CP)
    assert unannounced(found, cluster().nodes) == ("cp-1",)


def test_a_mesh_that_the_cut_leaves_alone_reaches_everywhere() -> None:
    """No node of the cluster is in the control plane: no session crosses the cut."""
    workers = tuple(each for each in cluster(workers=3).nodes if not each.control_plane)
    found = routes(replace(CALICO_NETWORK, peers=(), full_mesh=True), nodes=workers)
    assert found.proof.holds
    assert all(found.reaches(one, other) for one in range(3) for other in range(3))


def test_vxlan_needs_no_bgp() -> None:
    pools = (replace(PLAIN_POOL, vxlan_mode="Always"),)
    assert routes(replace(CALICO_NETWORK, pools=pools)).reaches(ONE, CP)
    assert routes(replace(CALICO_NETWORK, pools=pools, bgp_enabled=False)).reaches(ONE, CP)
    assert routes(replace(CALICO_NETWORK, pools=pools), missing=frozenset({"BGPPeer"})).reaches(ONE, CP)


def reflected(control_plane: bool, reflects: bool = True) -> World:
    """A route reflector, in the control plane or not, and a worker that learns of a third node over it."""
    nodes = (
        a_node("cp-1", control_plane=True),
        replace(a_node("rr", control_plane=control_plane, role="rr"), reflector_cluster="1.0.0.1" * reflects),
        a_node("worker-1"),
        a_node("worker-2"),
    )
    over = peer(node_selector="all()", peer_selector="role == 'rr'")
    return World(nodes=nodes, pods=(), network=replace(CALICO_NETWORK, peers=(over,)))


def test_route_reflectors_pass_on_what_they_hear() -> None:
    workers = frozenset({"rr", "worker-1", "worker-2"})
    assert routes_of(reflected(control_plane=False), workers).reaches(2, 3)


def test_a_node_that_only_some_reach_makes_it_unknown() -> None:
    """A hub that reflects nothing, a selector that misses a node: a working cluster is not like that."""
    plain = routes_of(reflected(control_plane=False, reflects=False), frozenset({"worker-1", "worker-2"}))
    assert plain.reaches(2, 3) is None
    assert "even without a cut: one may be missing" in plain.proof.why_not


def test_routed_networks_reach_everywhere() -> None:
    assert routes(ROUTED).reaches(ONE, CP)
    assert routes(Network(plugin=Plugin.OVERLAY)).reaches(ONE, CP)


def test_a_peer_that_a_selector_does_not_find_is_not_a_session() -> None:
    """A reflector's label that was taken away (Reddit, 2023-03-14): the BGPPeer finds no node any more."""
    world = reflected(control_plane=True)
    taken = tuple(replace(each, labels={}) if each.name == "rr" else each for each in world.nodes)
    found = routes_of(replace(world, nodes=taken), frozenset({"worker-1", "worker-2"}))
    assert found.reaches(2, 3) is False
    assert unannounced(found, taken) == ("cp-1", "rr", "worker-1", "worker-2")


def test_two_nodes_of_one_kind_hear_the_same() -> None:
    found = routes(CALICO_NETWORK)
    assert found.kind(ONE) == found.kind(TWO) != found.kind(CP)


def test_the_plan_says_which_pods_stay_reachable() -> None:
    found = routes(Network(plugin=Plugin.DECLARED, reached=frozenset({"worker-1"})))
    assert found.proof.holds
    assert found.reaches(CP, ONE)
    assert found.reaches(ONE, TWO) is False
    assert unannounced(found, cluster().nodes) == ("cp-1", "worker-2")


# -- sessions across the cut -----------------------------------------------------------------------------------


def test_the_mesh_loses_the_control_plane_when_the_hold_time_ends() -> None:
    found = routes(MESH)
    assert found.proof.holds
    assert found.reaches(ONE, CP)
    assert found.reaches(ONE, CP, LOST) is False
    assert found.reaches(CP, ONE, LOST) is False
    assert found.reaches(ONE, TWO, LOST)
    assert found.reaches(ONE, CP, LOST + 1)


def test_sessions_end_with_the_hold_time_less_a_keepalive_and_return_soon_after_the_heal() -> None:
    """BIRD takes up to a quarter off its hold timer. Seen with its default of 240 s: 159 s after the cut."""
    assert routes(MESH).changes_s(early) == (98.0, 480.0)
    assert routes(MESH).changes_s(late) == (242.0, 520.0)
    quick = replace(MESH, hold_s=9.0)
    assert routes(quick, periods=((0.0, 60.0),)).changes_s(early) == (1.75, 60.0)


def test_most_sessions_of_bird_return_soon_after_the_heal() -> None:
    rng = Random(1)
    returned = [routes(MESH).changes_s(rng.uniform)[1] - 480.0 for _ in range(500)]
    assert 0.85 < sum(each <= 5.0 for each in returned) / len(returned) < 0.95
    assert 5.0 < max(returned) <= 40.0


def test_sessions_outlast_a_cut_that_is_shorter_than_half_of_their_hold_time() -> None:
    assert routes(MESH, periods=((0.0, 48.0),)).changes_s(early) == ()
    assert routes(MESH, periods=((0.0, 48.0),)).changes_s(late) == ()
    assert routes(MESH, periods=((0.0, 100.0),)).changes_s(early) == (98.0, 100.0)
    assert routes(MESH, periods=((0.0, 100.0),)).changes_s(late) == ()


def test_sessions_may_end_after_the_heal_until_tcp_retransmits() -> None:
    """Seen in tests/netns/bgp: a hold time of 30 s, a cut of 14 s, a route that ended 21 s after the begin."""
    short = routes(replace(MESH, hold_s=30.0), periods=((0.0, 14.0),))
    ends_early_and_tcp_is_late = iter((10.5, 12.0, 0.95, 40.0))
    assert short.changes_s(lambda *_: next(ends_early_and_tcp_is_late)) == (10.5, 54.0)
    ends_after_the_heal = iter((20.8, 12.0, 0.95, 7.0))
    assert short.changes_s(lambda *_: next(ends_after_the_heal)) == (20.8, pytest.approx(27.8))
    tcp_is_early = iter((20.8, 6.0))
    assert short.changes_s(lambda *_: next(tcp_is_early)) == ()


def test_short_cuts_far_apart_end_no_session() -> None:
    assert routes(MESH, periods=((0.0, 16.0), (100.0, 116.0))).changes_s(late) == ()


def test_each_long_cut_ends_the_sessions_again() -> None:
    found = routes(MESH, periods=((0.0, 300.0), (700.0, 1000.0))).changes_s(early)
    assert found == (98.0, 300.0, 798.0, 1000.0)


def test_sessions_that_have_not_returned_before_the_next_cut_stay_lost() -> None:
    quick = replace(MESH, hold_s=9.0)
    assert routes(quick, periods=((0.0, 20.0), (50.0, 70.0))).changes_s(late) == (11.0, 110.0)
    assert routes(quick, periods=((0.0, 20.0), (50.0, 70.0))).changes_s(early) == (1.75, 20.0, 51.75, 70.0)


def test_whether_sessions_survive_short_gaps_between_cuts_is_unknown() -> None:
    found = routes(MESH, periods=tuple((at * 30.0, at * 30.0 + 25.0) for at in range(10)))
    assert "10 cuts within 4m55s" in found.proof.why_not


def test_sessions_with_the_fabric_do_not_end() -> None:
    assert routes(CALICO_NETWORK).changes_s(early) == ()
    assert routes(ROUTED).changes_s(early) == ()


def test_reflectors_on_the_other_side_take_all_routes_between_nodes_with_them() -> None:
    workers = frozenset({"worker-1", "worker-2"})
    found = routes_of(reflected(control_plane=True), workers, periods=CUT)
    assert found.proof.holds
    assert found.reaches(2, 3)
    assert found.reaches(2, 3, LOST) is False
    assert found.changes_s(early) == (98.0, 480.0)


def test_reflectors_on_the_same_side_keep_them() -> None:
    workers = frozenset({"rr", "worker-1", "worker-2"})
    found = routes_of(reflected(control_plane=False), workers, periods=CUT)
    assert found.reaches(2, 3, LOST)
    assert found.reaches(0, 3, LOST) is False


def chain(*clusters: str) -> World:
    """Route reflectors, each with a session with the next, and a plain node at each end."""
    nodes = tuple(
        replace(a_node(f"n{number}", at=str(number)), reflector_cluster=cluster)
        for number, cluster in enumerate(("", *clusters, ""))
    )
    peers = tuple(
        peer(node_selector=f"at == '{number}'", peer_selector=f"at == '{number + 1}'")
        for number in range(len(nodes) - 1)
    )
    return World(nodes=nodes, pods=(), network=replace(CALICO_NETWORK, peers=peers))


def test_reflectors_of_one_cluster_do_not_pass_on_each_others_routes_to_clients() -> None:
    """Seen with BIRD 1.6.8: the second one keeps them to itself."""
    assert routes_of(chain("A", "B"), frozenset()).reaches(0, 3)
    found = routes_of(chain("A", "A"), frozenset())
    assert found.reaches(0, 3) is None
    assert "even without a cut" in found.proof.why_not


@pytest.mark.parametrize(("middle", "passes"), [("A", False), ("B", True)])
def test_a_reflector_between_two_of_its_cluster_passes_nothing_on(middle: str, passes: bool) -> None:
    """Seen in tests/netns/bgp ("a reflector in the middle"): neither of the others is its client."""
    nodes = (
        replace(a_node("cp-1", control_plane=True, role="rr"), reflector_cluster="A"),
        replace(a_node("middle", role="rr"), reflector_cluster=middle),
        replace(a_node("worker-1", role="rr"), reflector_cluster="A"),
    )
    network = replace(CALICO_NETWORK, peers=(peer(peer_selector="role == 'rr'"),))
    found = routes_of(World(nodes=nodes, pods=(), network=network), frozenset({"worker-1"}), periods=CUT)
    assert found.reaches(2, 0)
    assert found.reaches(2, 0, LOST) is passes
    assert found.reaches(2, 1, LOST)


def test_reflectors_of_different_clusters_are_of_different_kinds() -> None:
    """What a reflector passes on depends on its cluster ID, so that answers about one hold for its like only."""
    world = reflected(control_plane=True)
    other = replace(world.nodes[1], name="rr-2", reflector_cluster="1.0.0.2")
    found = routes_of(replace(world, nodes=(*world.nodes, other)), WORKERS)
    assert found.kind(1) != found.kind(4)


def test_reflectors_take_no_part_in_the_mesh() -> None:
    """bird.cfg.template: "ignore node-to-node mesh setting"."""
    world = reflected(control_plane=True)
    leafs = replace(LEAF_PEER, node_selector="")
    meshed = replace(world, nodes=world.nodes[1:], network=replace(MESH, peers=(leafs,)))
    found = routes_of(meshed, frozenset({"worker-1", "worker-2"}), periods=CUT)
    assert found.proof.holds
    assert found.changes_s(early) == ()


def test_felix_routes_need_no_session() -> None:
    for pools in (
        (replace(PLAIN_POOL, vxlan_mode="CrossSubnet"),),
        (replace(PLAIN_POOL, vxlan_mode="Always"),),
    ):
        found = routes(replace(MESH, pools=pools))
        assert found.changes_s(early) == ()
        assert found.reaches(ONE, CP, LOST)
    assert routes(replace(MESH, felix_routes=True)).reaches(ONE, CP, LOST)


def test_tunnelled_routes_come_by_bgp() -> None:
    found = routes(replace(MESH, pools=(replace(PLAIN_POOL, ipip_mode="Always"),)))
    assert found.proof.holds
    assert found.reaches(ONE, CP, LOST) is False


def test_the_mesh_is_calicos_default() -> None:
    found = routes(replace(MESH, full_mesh=None), missing=frozenset({"BGPConfiguration", "BGPPeer"}))
    assert found.proof.holds
    assert "Calico's default without a BGPConfiguration" in found.proof.rests_on
    assert found.reaches(ONE, CP, LOST) is False


# -- what is unknown -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["BGPPeer", "IPPool"])
def test_a_missing_kind_makes_it_unknown(missing: str) -> None:
    found = routes(CALICO_NETWORK, missing=frozenset({missing}))
    assert found.reaches(ONE, CP) is None
    assert missing in found.proof.why_not


UNKNOWN: dict[str, tuple[Network, str]] = {
    "leafs, and no word about the mesh": (
        replace(CALICO_NETWORK, full_mesh=None),
        "BGPConfiguration/default spec.nodeToNodeMeshEnabled",
    ),
    "a Pod's address": (
        replace(CALICO_NETWORK, peers=(peer(peer_ip="10.244.7.7"),)),
        "BGPPeer/p spec.peerIP",
    ),
    "no network": (
        replace(CALICO_NETWORK, pools=(replace(PLAIN_POOL, cidr="</details>"),)),
        "IPPool/pool spec.cidr",
    ),
    "no address": (
        replace(CALICO_NETWORK, peers=(peer(peer_ip="leaf.example"),)),
        "BGPPeer/p spec.peerIP",
    ),
    "tunnels through a leaf": (
        replace(CALICO_NETWORK, pools=(replace(PLAIN_POOL, ipip_mode="Always"),)),
        "IPPool/pool spec.ipipMode",
    ),
    "VXLAN in one pool of two": (
        replace(CALICO_NETWORK, pools=(PLAIN_POOL, replace(PLAIN_POOL, name="two", vxlan_mode="Always"))),
        "IPPool/two spec.vxlanMode",
    ),
    "VXLAN in all pools but a retired one": (
        replace(
            CALICO_NETWORK,
            pools=(
                replace(PLAIN_POOL, vxlan_mode="Always"),
                replace(PLAIN_POOL, name="old", ipip_mode="Always", disabled=True),
            ),
        ),
        "IPPool/pool spec.vxlanMode",
    ),
    "no pool": (replace(CALICO_NETWORK, pools=()), "IPPool"),
    "no BGP and no VXLAN": (replace(CALICO_NETWORK, bgp_enabled=False), "Calico"),
}

NODES = (
    replace(
        a_node("cp-1", control_plane=True, ip="10.0.0.1"),
        bgp_addresses=("192.168.7.1/24", "fd00::1/64"),
        other_ips=("203.0.113.1", "cp-1"),
    ),
    a_node("worker-1", ip="10.0.0.2"),
    a_node("worker-2", ip="10.0.0.3"),
)


@pytest.mark.parametrize("name", UNKNOWN)
def test_routes_that_nothing_proves_are_unknown(name: str) -> None:
    network, subject = UNKNOWN[name]
    found = routes(network, nodes=NODES)
    assert not found.proof.holds
    assert subject in [f"{doubt.subject} {doubt.key}".strip() for doubt in found.proof.doubts]
    assert found.reaches(ONE, CP) is None
    assert found.reaches(ONE, ONE)
    assert unannounced(found, NODES) == ()


SESSIONS: dict[str, BgpPeer] = {
    "reflectors by label": peer(peer_selector="has(node-role.kubernetes.io/control-plane)"),
    "reflectors by label, the other way round": peer(
        node="cp-1", peer_selector="kubernetes.io/hostname == 'worker-1'"
    ),
    "a node's address": peer(peer_ip="10.0.0.1"),
    "a node's address and port, the other way round": peer(node="cp-1", peer_ip="10.0.0.2:179"),
    "a node's address that Calico knows": peer(peer_ip="192.168.7.1"),
    "a node's other address": peer(peer_ip="203.0.113.1"),
    "a node's address of IPv6, written otherwise": peer(peer_ip="[fd00:0::1]:179"),
}


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_with_a_control_plane_node_is_recognised_however_it_is_written(name: str) -> None:
    leafs = (LEAF_PEER, replace(LEAF_PEER, node_selector="", node="cp-1"))
    found = routes(replace(CALICO_NETWORK, peers=(*leafs, SESSIONS[name])), nodes=NODES)
    assert found.proof.holds
    assert found.changes_s(early) == (98.0, 480.0)


def test_a_leaf_keeps_what_a_session_across_the_cut_loses() -> None:
    over = peer(peer_selector="has(node-role.kubernetes.io/control-plane)")
    found = routes(replace(CALICO_NETWORK, peers=(LEAF_PEER, over)), nodes=NODES)
    assert found.reaches(CP, TWO, LOST)
    assert found.reaches(TWO, CP)
    assert found.reaches(TWO, CP, LOST) is False
