"""An AS per rack: workers alternate, each peers with its rack's leaf in the rack's AS, and control planes with none."""

from bed_images import IMAGES

from chaosext.testbed.containers import NodeContainer
from chaosext.testbed.networks import calico_racks
from chaosext.testbed.networks.network_setup import NetworkInputs

WORKERS = ("bed-worker", "bed-worker2", "bed-worker3")


def node(name):
    role = "worker" if name in WORKERS else "control-plane"
    return NodeContainer(
        name=name, role=role, running=True, image="", ipv4="", on_kind_network=True, labels={}
    )


INPUTS = NetworkInputs(
    pod_subnet="10.9.0.0/16",
    service_subnet="10.2.112.0/20",
    nodes=tuple(map(node, ("bed-control-plane", *WORKERS))),
    leaf_ips=("172.18.0.8", "172.18.0.9"),
    api_host="",
    images=IMAGES,
)


def test_workers_alternate_between_the_racks():
    assert [calico_racks.rack_of(node(name)) for name in WORKERS] == [0, 1, 0]
    assert calico_racks.rack_of(node("bed-control-plane")) == 0


def test_a_name_that_contains_worker_does_not_change_the_rack():
    assert calico_racks.rack_of(node("my-worker2-worker")) == 0


def test_only_workers_get_a_rack_and_its_as_number():
    found = {each["metadata"]["name"]: each["metadata"] for each in calico_racks.rack_marks(INPUTS)}

    assert list(found) == list(WORKERS)
    assert found["bed-worker2"]["labels"] == {"rack": "rack2"}
    assert found["bed-worker2"]["annotations"] == {"projectcalico.org/ASNumber": "64602"}


def test_each_racks_nodes_peer_with_their_leaf():
    configuration, *peers = calico_racks.rack_objects(INPUTS.leaf_ips)

    assert configuration["spec"]["nodeToNodeMeshEnabled"] is False
    assert [each["spec"] for each in peers] == [
        {"peerIP": "172.18.0.8", "asNumber": 64601, "nodeSelector": "rack == 'rack1'"},
        {"peerIP": "172.18.0.9", "asNumber": 64602, "nodeSelector": "rack == 'rack2'"},
    ]


def test_unknown_pod_addresses_lead_to_the_nodes_own_leaf():
    script = calico_racks.CALICO_RACKS.node_script

    assert "via 172.18.0.8 " in script(INPUTS, node("bed-worker"))
    assert "via 172.18.0.9 " in script(INPUTS, node("bed-worker2"))
    assert "via 172.18.0.8 " in script(INPUTS, node("bed-control-plane"))
