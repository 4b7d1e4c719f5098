"""Calico's networks without the leaf: who peers with whom."""

from bed_images import IMAGES

from chaosext.testbed.containers import NodeContainer
from chaosext.testbed.networks import calico_without_leaf as networks
from chaosext.testbed.networks.network_setup import NetworkInputs


def node(name):
    role = "control-plane" if "control" in name else "worker"
    return NodeContainer(
        name=name, role=role, running=True, image="", ipv4="", on_kind_network=True, labels={}
    )


INPUTS = NetworkInputs(
    pod_subnet="10.9.0.0/16",
    service_subnet="10.2.112.0/20",
    nodes=tuple(map(node, ("bed-control-plane", "bed-control-plane2", "bed-worker"))),
    leaf_ips=("172.18.0.9",),
    api_host="",
    images=IMAGES,
)


def test_every_control_plane_node_is_a_reflector_and_no_worker_is():
    marks = networks.reflector_marks(INPUTS)

    assert [each["metadata"]["name"] for each in marks] == ["bed-control-plane", "bed-control-plane2"]
    for each in marks:
        assert each["metadata"]["labels"] == {"route-reflector": "true"}
        assert each["metadata"]["annotations"] == {"projectcalico.org/RouteReflectorClusterID": "244.0.0.1"}


def test_all_nodes_peer_with_the_reflectors_and_the_mesh_is_off():
    configuration, peer = networks.reflector_objects()

    assert configuration["spec"]["nodeToNodeMeshEnabled"] is False
    assert peer["spec"] == {"nodeSelector": "all()", "peerSelector": "route-reflector == 'true'"}
