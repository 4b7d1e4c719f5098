"""Networks with a mitigation: what a rehearsal recommends, and the sessions that follow from it."""

from __future__ import annotations

import pytest
from bed_images import IMAGES
from recommended_changes import recommended

from chaosext.model.errors import Refused
from chaosext.rehearsal.mitigate import mitigations
from chaosext.testbed.bed_choices import StoryMitigation
from chaosext.testbed.bed_options import LEAF_NETWORKS, REFLECTOR_NETWORKS, make_options
from chaosext.testbed.containers import NodeContainer
from chaosext.testbed.networks import calico_bgp, calico_racks, calico_without_leaf
from chaosext.testbed.networks.catalogue import MITIGATED, NETWORKS, network_for
from chaosext.testbed.networks.network_setup import NetworkInputs


def machine(name):
    role = "control-plane" if "control" in name else "worker"
    return NodeContainer(
        name=name, role=role, running=True, image="", ipv4="", on_kind_network=True, labels={}
    )


CONTROL_PLANE, *WORKERS = map(machine, ("bed-control-plane", "bed-worker", "bed-worker2", "bed-worker3"))
INPUTS = NetworkInputs(
    pod_subnet="10.244.0.0/16",
    service_subnet="10.2.112.0/20",
    nodes=(CONTROL_PLANE, *WORKERS),
    leaf_ips=("172.18.0.5", "172.18.0.6"),
    api_host="",
    images=IMAGES,
)


@pytest.fixture
def bgp_of(monkeypatch):
    """Calico's BGP objects of a network, by name."""
    monkeypatch.setattr(calico_bgp, "calico_objects", lambda *_, **__: ([], []))
    monkeypatch.setattr(type(IMAGES.calico_manifests), "read_text", lambda _: "")

    def found(network, mitigation):
        setup = network_for(make_options(network=network, mitigations=[mitigation]))
        return {each["metadata"]["name"]: each for each in setup.batches(INPUTS)[-1]}

    return found


def test_the_control_planes_peer_is_the_one_that_a_rehearsal_recommends(bgp_of):
    found = bgp_of("calico-bgp", "bgp-on-control-plane")

    assert set(found) == {"default", "leaf", "leaf-for-all"}
    assert found["leaf-for-all"] == recommended("bgp-on-control-plane")


@pytest.mark.parametrize("network", sorted(LEAF_NETWORKS))
def test_control_plane_nodes_have_a_session_with_their_leaf_only_with_the_mitigation(network):
    mitigated = network_for(make_options(network=network, mitigations=["bgp-on-control-plane"]))

    assert mitigated.has_leaf_session(CONTROL_PLANE)
    assert not network_for(make_options(network=network)).has_leaf_session(CONTROL_PLANE)


def test_control_plane_nodes_are_members_of_the_first_rack():
    network = network_for(make_options(network="calico-racks", mitigations=["bgp-on-control-plane"]))
    marks = {each["metadata"]["name"]: each["metadata"]["labels"] for each in network.node_marks(INPUTS)}

    assert network.leaf_of(CONTROL_PLANE) == 0
    assert marks["bed-control-plane"] == marks["bed-worker"] == {calico_racks.RACK_LABEL: "rack1"}


def test_the_reflectors_beside_are_those_that_a_rehearsal_recommends(bgp_of):
    found = bgp_of("calico-reflectors", "reflectors-off-control-plane")
    network = network_for(
        make_options(network="calico-reflectors", mitigations=["reflectors-off-control-plane"])
    )
    marks = {each["metadata"]["name"]: each["metadata"] for each in network.node_marks(INPUTS)}
    peer, label = mitigations._reflector_peer(), mitigations.REFLECTOR_LABEL
    beside = [name for name, each in marks.items() if each["labels"] == {label: mitigations.REFLECTOR_VALUE}]

    assert found[peer.name]["spec"] == {
        "nodeSelector": peer.node_selector,
        "peerSelector": peer.peer_selector,
    }
    assert beside == ["bed-worker", "bed-worker2"]
    assert len(beside) == mitigations.REFLECTORS
    assert set(marks["bed-worker"]["annotations"].values()) == {mitigations.REFLECTOR_CLUSTER_ID}
    assert calico_without_leaf.BESIDE_CLUSTER_ID != calico_without_leaf.CLUSTER_ID


def test_every_node_peers_with_the_reflectors_beside():
    network = network_for(
        make_options(network="calico-reflectors", mitigations=["reflectors-off-control-plane"])
    )
    first, second, third = WORKERS

    assert network.has_node_session(third, first)
    assert network.has_node_session(first, second)
    assert not NETWORKS[make_options(network="calico-reflectors").network].has_node_session(first, second)


@pytest.mark.parametrize("mitigation", ["bgp-on-control-plane", "reflectors-off-control-plane"])
@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_a_mitigation_of_the_network_is_refused_where_it_changes_nothing(network, mitigation):
    if (network, StoryMitigation(mitigation)) in MITIGATED:
        assert network_for(make_options(network=network, mitigations=[mitigation])) != NETWORKS[network]
        return
    with pytest.raises(Refused, match=f"mitigation {mitigation}: network {network}"):
        make_options(network=network, mitigations=[mitigation])


def test_networks_with_a_leaf_or_reflectors_are_those_that_have_them():
    assert {name for name, each in NETWORKS.items() if each.has_leaf_session(WORKERS[0])} == LEAF_NETWORKS
    marked = {name for name, each in NETWORKS.items() if each.node_marks(INPUTS)}
    assert marked - LEAF_NETWORKS == REFLECTOR_NETWORKS
