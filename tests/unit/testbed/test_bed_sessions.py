"""Which BGP sessions each network expects, and what is missing of them; silence is never an established session."""

import pytest

from chaosext.nodes.frr import Peer
from chaosext.sentinel.bird_sessions import Session
from chaosext.testbed.bed_choices import PodNetwork
from chaosext.testbed.bed_sessions import BedSessions, bgp_state, leaf_states
from chaosext.testbed.containers import NodeContainer
from chaosext.testbed.networks.catalogue import NETWORKS


def node(name, ipv4):
    role = "control-plane" if "control" in name else "worker"
    return NodeContainer(
        name=name, role=role, running=True, image="", ipv4=ipv4, on_kind_network=True, labels={}
    )


CONTROL_PLANE = node("bed-control-plane", "172.18.0.2")
WORKER, OTHER_WORKER = node("bed-worker", "172.18.0.3"), node("bed-worker2", "172.18.0.4")
NODES = (CONTROL_PLANE, WORKER, OTHER_WORKER)


def up(*nodes):
    return tuple(Session(peer=each.ipv4, established=True, state="up Established") for each in nodes)


def state(network, each, **seen):
    return bgp_state(NETWORKS[network], each, NODES, BedSessions(**seen))[0]


@pytest.mark.parametrize(
    ("network", "each", "peers"),
    [
        (PodNetwork.CALICO_BGP, CONTROL_PLANE, ()),
        (PodNetwork.CALICO_BGP, WORKER, ("the leaf",)),
        (PodNetwork.CALICO_MESH, CONTROL_PLANE, ("bed-worker", "bed-worker2")),
        (PodNetwork.CALICO_MESH, WORKER, ("bed-control-plane", "bed-worker2")),
        (PodNetwork.CALICO_RACKS, CONTROL_PLANE, ()),
        (PodNetwork.CALICO_RACKS, WORKER, ("leaf 1",)),
        (PodNetwork.CALICO_RACKS, OTHER_WORKER, ("leaf 2",)),
        (PodNetwork.CALICO_REFLECTORS, CONTROL_PLANE, ("bed-worker", "bed-worker2")),
        (PodNetwork.CALICO_REFLECTORS, WORKER, ("bed-control-plane",)),
        (PodNetwork.CALICO_VXLAN, WORKER, ()),
    ],
)
def test_each_network_names_the_sessions_that_it_expects(network, each, peers):
    assert bgp_state(NETWORKS[network], each, NODES, BedSessions())[1] == peers


def test_sessions_are_established_only_if_all_are():
    mesh = PodNetwork.CALICO_MESH

    assert state(mesh, WORKER, by_node={"bed-worker": up(CONTROL_PLANE, OTHER_WORKER)}) == "Established"
    assert (
        state(mesh, WORKER, by_node={"bed-worker": up(OTHER_WORKER)}) == "no session with bed-control-plane"
    )


def test_a_session_that_is_down_is_named_with_birds_own_words():
    down = Session(peer=CONTROL_PLANE.ipv4, established=False, state="start Active")

    said = state(PodNetwork.CALICO_REFLECTORS, WORKER, by_node={"bed-worker": (down,)})

    assert said == "start Active with bed-control-plane"


def test_nothing_reported_is_no_session():
    assert state(PodNetwork.CALICO_BGP, WORKER) == "no session with the leaf"
    assert state(PodNetwork.CALICO_REFLECTORS, WORKER) == "no session with bed-control-plane"


def test_a_session_with_the_leaf_is_as_the_leaf_reports_it():
    established = Peer(ip=WORKER.ipv4, states=("Established",), prefixes=1)
    active = Peer(ip=WORKER.ipv4, states=("Active",), prefixes=0)

    assert state(PodNetwork.CALICO_BGP, WORKER, by_leaf={WORKER.ipv4: established}) == "Established"
    assert state(PodNetwork.CALICO_BGP, WORKER, by_leaf={WORKER.ipv4: active}) == "Active with the leaf"


def test_a_network_without_bgp_has_none_by_design():
    assert state(PodNetwork.CALICO_VXLAN, WORKER) == "none by design"
    assert state(PodNetwork.CALICO_BGP, CONTROL_PLANE) == "none by design"


def test_a_further_leaf_is_expected_to_peer_with_the_first_even_if_it_does_not_exist():
    racks, leaf2 = NETWORKS[PodNetwork.CALICO_RACKS], node("bed-leaf2", "172.18.0.9")
    up = BedSessions(by_leaf={leaf2.ipv4: Peer(ip=leaf2.ipv4, states=("Established",), prefixes=1)})

    assert leaf_states(racks, (leaf2,), up) == {"bed-leaf2": "Established"}
    assert leaf_states(racks, (leaf2,), BedSessions()) == {"bed-leaf2": "no session"}
    assert leaf_states(racks, (), up) == {"leaf 2": "no session"}
    assert leaf_states(NETWORKS[PodNetwork.CALICO_BGP], (), BedSessions()) == {}
