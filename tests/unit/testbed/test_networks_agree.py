"""What the testbed sets up, checks expect and the rehearsal understands: each of Calico's networks in three views."""

from dataclasses import replace

import pytest
from bed_images import IMAGES
from worlds import node as world_node

from chaosext.cluster.bgp_peers import expected_peers
from chaosext.cluster.objects import BgpPeer, IpPool
from chaosext.rehearsal.network.calico_routes import CalicoRoutes
from chaosext.rehearsal.snapshot.world import Network, Plugin, World
from chaosext.testbed.bed_choices import PodNetwork
from chaosext.testbed.bed_options import BedOptions
from chaosext.testbed.bed_sessions import node_peers
from chaosext.testbed.containers import NodeContainer
from chaosext.testbed.networks.catalogue import MITIGATED, NETWORKS, network_for
from chaosext.testbed.networks.network_setup import NetworkInputs

UPSTREAM = "{apiVersion: v1, kind: ConfigMap, metadata: {name: calico-config}, data: {}}"
OPTIONS = (
    *(BedOptions(network=each) for each in NETWORKS if each.startswith("calico-")),
    *(BedOptions(network=network, mitigations=(mitigation,)) for network, mitigation in MITIGATED),
)
LEAFS = ("172.18.0.8", "172.18.0.9")
NAMES = ("bed-control-plane", "bed-worker", "bed-worker2", "bed-worker3")


def container(number, name):
    role = "control-plane" if "control" in name else "worker"
    return NodeContainer(
        name=name,
        role=role,
        running=True,
        image="",
        ipv4=f"172.18.0.{number + 2}",
        on_kind_network=True,
        labels={},
    )


NODES = tuple(container(number, name) for number, name in enumerate(NAMES))


class Bed:
    """A testbed with these options, as the API server would show it."""

    def __init__(self, options, manifests):
        (manifests / "calico.yaml").write_text(UPSTREAM)
        self.setup = network_for(options)
        inputs = NetworkInputs(
            pod_subnet="10.244.0.0/16",
            service_subnet="10.2.112.0/20",
            nodes=NODES,
            leaf_ips=LEAFS[: len(self.setup.leaf_as_numbers)],
            api_host="",
            images=replace(IMAGES, calico_manifests=manifests),
        )
        objects = [each for batch in self.setup.batches(inputs) for each in batch]
        self.marks = {each["metadata"]["name"]: each["metadata"] for each in self.setup.node_marks(inputs)}
        self.peers = tuple(BgpPeer.from_json(each) for each in objects if each["kind"] == "BGPPeer")
        self.has_configuration = any(each["kind"] == "BGPConfiguration" for each in objects)
        self.nodes = tuple(self.node(each) for each in NODES)

    def node(self, machine):
        mark = self.marks.get(machine.name, {})
        cluster_id = mark.get("annotations", {}).get("projectcalico.org/RouteReflectorClusterID", "")
        plain = world_node(machine.name, control_plane=machine.role == "control-plane", ip=machine.ipv4)
        return replace(
            plain,
            labels={**plain.labels, **mark.get("labels", {})},
            reflector_cluster=cluster_id,
            internal_ips=(machine.ipv4,),
        )

    def routes(self, *, vxlan):
        pool = IpPool(
            name="pool",
            cidr="10.244.0.0/16",
            ipip_mode="Never",
            vxlan_mode="Always" if vxlan else "Never",
            disabled=False,
        )
        mesh = False if self.has_configuration else None
        network = Network(plugin=Plugin.CALICO, peers=self.peers, full_mesh=mesh, pools=(pool,))
        return CalicoRoutes(World(nodes=self.nodes, pods=(), network=network), frozenset(NAMES[1:]))


@pytest.mark.parametrize("options", OPTIONS, ids=lambda each: "+".join((each.network, *each.mitigations)))
def test_the_testbed_checks_and_the_rehearsal_agree(options, tmp_path):
    bed, vxlan = Bed(options, tmp_path), options.network is PodNetwork.CALICO_VXLAN
    for number, machine in enumerate(NODES):
        between = {each.ipv4 for each in node_peers(bed.setup, machine, NODES)}
        leaf = {LEAFS[bed.setup.leaf_of(machine)]} if bed.setup.has_leaf_session(machine) else set()
        mesh = not bed.has_configuration and not vxlan
        assert set(expected_peers(bed.nodes[number], bed.nodes, bed.peers, mesh)) == between | leaf

    routes = bed.routes(vxlan=vxlan)
    assert routes.proof.holds, routes.proof.why_not
    for host in range(len(NODES)):
        is_announced = host > 0 or options.control_plane_is_reached
        assert all(routes.reaches(client, host) is is_announced for client in range(1, 4) if client != host)
