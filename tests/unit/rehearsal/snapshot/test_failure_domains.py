"""The failure domains of a cluster."""

from __future__ import annotations

from chaosext.cluster.objects import BgpPeer
from chaosext.rehearsal.snapshot.failure_domains import Domain, DomainKind, failure_domains, rack_labels
from chaosext.rehearsal.snapshot.world import Network, Node, Plugin, World


def worker(number: int, *, reflector: str = "", zone: str = "", **labels: str) -> Node:
    return Node(
        name=f"worker-{number}",
        labels=labels,
        internal_ips=(f"10.0.0.{number}",),
        reflector_cluster=reflector,
        zone=zone,
    )


def leaf(name: str, ip: str, selector: str = "") -> BgpPeer:
    return BgpPeer(name=name, peer_ip=ip, node="", node_selector=selector, peer_selector="", as_number=64512)


def world(*nodes: Node, peers: tuple[BgpPeer, ...] = ()) -> World:
    return World(nodes=nodes, pods=(), network=Network(plugin=Plugin.CALICO, peers=peers))


def groups(found: tuple[Domain, ...], kind: DomainKind) -> dict[str, list[str]]:
    return {each.name: sorted(each.nodes) for each in found if each.kind is kind}


CP = Node(name="cp-1", control_plane=True)


def test_each_node_is_a_domain_and_control_plane_nodes_are_named_so():
    found = failure_domains(world(CP, worker(1)))
    assert [str(each) for each in found] == ["control-plane node cp-1", "node worker-1"]


def test_racks_and_zones_are_domains_by_their_labels():
    nodes = (worker(1, rack="a", zone="eu:\x00:b"), worker(2, rack="a"), worker(3, rack="b"))
    found = failure_domains(world(CP, *nodes))
    assert groups(found, DomainKind.RACK) == {"a": ["worker-1", "worker-2"], "b": ["worker-3"]}
    assert groups(found, DomainKind.ZONE) == {"eu/b": ["worker-1"]}


def test_racks_of_two_labels_are_told_apart():
    one, other = Node(name="a", labels={"rack": "1"}), Node(name="b", labels={"example.com/rack": "1"})
    assert rack_labels((one, other)) == ("example.com/rack", "rack")
    assert groups(failure_domains(world(one, other)), DomainKind.RACK) == {
        "example.com/rack=1": ["b"],
        "rack=1": ["a"],
    }


def test_a_leaf_is_a_bgp_peer_outside_the_cluster():
    peers = (leaf("leaf-a", "192.0.2.1:179", "rack == 'a'"), leaf("node", "10.0.0.2"))
    found = failure_domains(world(CP, worker(1, rack="a"), worker(2, rack="b"), peers=peers))
    assert groups(found, DomainKind.LEAF) == {"leaf-a": ["worker-1"]}


def test_route_reflectors_of_one_cluster_id_are_a_domain():
    found = failure_domains(world(CP, worker(1, reflector="1.0.0.1"), worker(2, reflector="1.0.0.1")))
    assert groups(found, DomainKind.REFLECTORS) == {"1.0.0.1": ["worker-1", "worker-2"]}


def test_no_domain_has_all_nodes_of_the_cluster():
    nodes = (worker(1, rack="a", zone="z"), worker(2, rack="a", zone="z"))
    found = failure_domains(world(*nodes, peers=(leaf("leaf", "192.0.2.1"),)))
    assert {each.kind for each in found} == {DomainKind.NODE}
