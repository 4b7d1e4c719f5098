"""Who reaches Pods on whom, by Calico's configuration."""

from __future__ import annotations

from dataclasses import replace

import pytest
from worlds import CALICO, LEAF, POOL, ROUTED, cluster, node

from chaosext.cluster.objects import BgpPeer
from chaosext.rehearsal.routing import Routes, unannounced
from chaosext.rehearsal.world import Network, Plugin, World

CP, ONE, TWO = 0, 1, 2


def routes(network: Network, **changes: object) -> Routes:
    return Routes(replace(cluster(network=network), **changes))  # type: ignore[arg-type]


def peer(**fields: str) -> BgpPeer:
    return replace(
        BgpPeer(name="p", peer_ip="", node="", node_selector="", peer_selector="", as_number=0), **fields
    )


def test_nobody_reaches_pods_on_a_node_without_a_session() -> None:
    """The testbed: only workers peer with the leaf."""
    found = routes(CALICO)
    assert found.reaches(ONE, TWO)
    assert found.reaches(CP, ONE)
    assert not found.reaches(ONE, CP)
    assert found.reaches(CP, CP)
    assert unannounced(found, cluster().nodes) == ("cp-1",)


def test_the_full_mesh_reaches_everywhere() -> None:
    found = routes(replace(CALICO, peers=(), full_mesh=True))
    assert all(found.reaches(one, other) for one in range(3) for other in range(3))


@pytest.mark.parametrize("mode", ["Always", "CrossSubnet"])
def test_vxlan_needs_no_bgp(mode: str) -> None:
    pools = (replace(POOL, vxlan_mode=mode),)
    assert routes(replace(CALICO, pools=pools)).reaches(ONE, CP)
    assert routes(replace(CALICO, pools=pools, bgp_enabled=False)).reaches(ONE, CP)


def test_ipip_needs_bgp() -> None:
    assert not routes(replace(CALICO, pools=(replace(POOL, ipip_mode="Always"),))).reaches(ONE, CP)


def test_route_reflectors_pass_on_what_they_hear() -> None:
    nodes = (
        node("cp-1", control_plane=True),
        replace(node("rr", role="rr"), reflector_cluster="1.0.0.1"),
        node("worker-1"),
    )
    world = World(
        nodes=nodes,
        pods=(),
        network=replace(CALICO, peers=(peer(node_selector="all()", peer_selector="role == 'rr'"),)),
    )
    assert Routes(world).reaches(2, 0)
    plain = replace(world, nodes=(nodes[0], replace(nodes[1], reflector_cluster=""), nodes[2]))
    assert not Routes(plain).reaches(2, 0)
    assert Routes(plain).reaches(1, 0)


def test_a_peer_address_that_is_a_node_is_a_session_between_nodes() -> None:
    nodes = (node("cp-1", control_plane=True, ip="10.0.0.1"), node("worker-1", ip="10.0.0.2"))
    world = World(
        nodes=nodes, pods=(), network=replace(CALICO, peers=(peer(node="worker-1", peer_ip="10.0.0.1:179"),))
    )
    assert Routes(world).reaches(0, 1)
    assert Routes(world).reaches(1, 0)


def test_routed_networks_reach_everywhere() -> None:
    assert routes(ROUTED).reaches(ONE, CP)
    assert routes(Network(plugin=Plugin.OVERLAY)).reaches(ONE, CP)


@pytest.mark.parametrize("missing", ["BGPPeer", "BGPConfiguration", "IPPool"])
def test_a_missing_kind_makes_it_unknown(missing: str) -> None:
    found = routes(CALICO, missing=frozenset({missing}))
    assert found.reaches(ONE, CP) is None
    assert missing in found.unknown_why


def test_an_unknown_plugin_makes_it_unknown() -> None:
    assert routes(Network()).reaches(ONE, CP) is None
    assert routes(replace(CALICO, bgp_enabled=False)).reaches(ONE, CP) is None


def test_leaf_is_external_only_while_no_node_has_its_address() -> None:
    world = cluster(network=CALICO)
    taken = (replace(world.nodes[0], internal_ips=(LEAF.peer_ip,)), *world.nodes[1:])
    found = Routes(replace(world, nodes=taken))
    assert found.reaches(ONE, CP)
    assert not found.reaches(ONE, TWO)


TO_REFLECTORS = (peer(peer_selector="role == 'rr'", node_selector="all()"),)
OF_ONE = (LEAF, peer(node="worker-1", peer_selector="rack == 'b'"))


@pytest.mark.parametrize("peers", [(LEAF,), TO_REFLECTORS, OF_ONE])
def test_nodes_of_one_kind_reach_the_same_others(peers: tuple[BgpPeer, ...]) -> None:
    """A look at DNS is made once for each kind."""
    nodes = (
        node("cp-1", control_plane=True),
        *(replace(node(f"rr-{at}", role="rr"), reflector_cluster="1.0.0.1") for at in (1, 2)),
        *(node(f"worker-{at}", rack="ab"[at % 2]) for at in range(1, 6)),
    )
    found = routes(replace(CALICO, peers=peers), nodes=nodes)
    everyone = range(len(nodes))
    alike = [(one, other) for one in everyone for other in range(one) if found.kind(one) == found.kind(other)]
    assert alike
    for one, other in alike:
        hosts = [host for host in everyone if host not in (one, other)]
        assert [found.reaches(one, host) for host in hosts] == [found.reaches(other, host) for host in hosts]
