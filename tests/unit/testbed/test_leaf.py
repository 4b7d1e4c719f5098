"""The leaf's configuration and what it tells of its sessions."""

import json

import pytest

from chaosext.nodes.frr import Peer
from chaosext.testbed import leaf
from chaosext.testbed.containers import parse_inspect
from chaosext.testbed.leaf import route_script


def inspected(labels, networks):
    return json.dumps(
        [
            {
                "Name": "/x-leaf",
                "Config": {"Labels": labels, "Image": "leaf:1"},
                "State": {"Running": True},
                "NetworkSettings": {"Networks": networks},
            }
        ]
    )


def plan(*nodes, **options):
    return leaf.LeafPlan(nodes=nodes, pod_subnet="10.244.0.0/16", **options)


def test_every_worker_is_a_reflected_ibgp_neighbour():
    config = leaf.frr_config(plan("172.18.0.3", "172.18.0.2"))

    assert " neighbor 172.18.0.2 peer-group workers\n neighbor 172.18.0.3 peer-group workers\n" in config
    assert "neighbor workers remote-as 64512" in config
    assert "neighbor workers route-reflector-client" in config
    assert "next-hop-self" not in config


def test_the_configuration_does_not_depend_on_the_workers_order():
    assert leaf.frr_config(plan("10.0.0.2", "10.0.0.1")) == leaf.frr_config(plan("10.0.0.1", "10.0.0.2"))


def test_leafs_of_racks_peer_by_ebgp_and_carry_the_traffic_between_racks():
    first = leaf.frr_config(plan("172.18.0.3", as_number=64601, is_only=False))
    second = leaf.frr_config(
        plan("172.18.0.4", index=1, as_number=64602, is_only=False, first_leaf="172.18.0.9")
    )

    assert "router bgp 64601" in first
    assert "bgp listen range 0.0.0.0/0 peer-group leafs" in first
    assert "neighbor workers remote-as 64602" in second
    assert "neighbor 172.18.0.9 peer-group leafs" in second
    for each in (first, second):
        assert "neighbor leafs remote-as external" in each
        assert each.count("next-hop-self") == 2


def test_leafs_are_named_as_kind_names_nodes():
    assert [leaf.leaf_name("x", index) for index in range(3)] == ["x-leaf", "x-leaf2", "x-leaf3"]


def test_what_no_bgp_route_leads_to_is_discarded_and_never_advertised():
    config = leaf.frr_config(plan("172.18.0.2"))

    assert "\nip route 10.244.0.0/16 blackhole\n" in config
    assert "redistribute" not in config


def test_sessions_are_the_leafs_by_address(monkeypatch):
    said = {"peers": {"172.18.0.2": {"state": "Established", "pfxRcd": 1}}}
    monkeypatch.setattr(leaf, "docker", lambda *_, **__: json.dumps(said))

    assert leaf.sessions("x") == {"172.18.0.2": Peer(ip="172.18.0.2", states=("Established",), prefixes=1)}


@pytest.mark.parametrize("said", ["", "% BGP instance not found", "{}"])
def test_no_neighbours_yet_is_no_session(monkeypatch, said):
    monkeypatch.setattr(leaf, "docker", lambda *_, **__: said)

    assert leaf.sessions("x") == {}


def test_the_record_survives_the_label():
    record = {"timings": "accelerated", "mitigations": "none"}
    labels = {"chaosext.testbed": "x", "chaosext.testbed.record": json.dumps(record)}

    (container,) = parse_inspect(inspected(labels, {"kind": {"IPAddress": "172.18.0.5"}}))

    assert leaf.recorded(container) == record
    assert container.ipv4 == "172.18.0.5"


def test_a_strangers_container_has_no_record():
    (container,) = parse_inspect(inspected(None, {}))

    assert leaf.recorded(container) is None
    assert container.ipv4 == ""


def test_the_control_planes_route_leads_through_the_leaf_and_outlives_a_restart():
    script = route_script(pod_subnet="10.244.0.0/16", leaf_ip="172.18.0.5")

    assert "ExecStart=ip route replace 10.244.0.0/16 via 172.18.0.5" in script
    assert "systemctl enable" in script
