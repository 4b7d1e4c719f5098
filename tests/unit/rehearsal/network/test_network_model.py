"""Who reaches Pods on whom: what a snapshot proves, what keeps it from being known, and what follows from either."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from listings import (
    AGENTS,
    CALICO,
    CALICO_API,
    CONTROL_PLANE,
    LEAF,
    NO_MESH,
    POOL,
    SMALL,
    Item,
    agent,
    item,
    listed,
    node,
    pod,
    written,
)
from worlds import CALICO as CALICO_NETWORK
from worlds import LEAF as LEAF_PEER
from worlds import POOL as PLAIN_POOL
from worlds import ROUTED, cluster
from worlds import node as a_node

from chaosext.cluster.objects import BgpPeer
from chaosext.rehearsal.network.network_model import routes_of
from chaosext.rehearsal.network.routes import unannounced
from chaosext.rehearsal.snapshot.reader import read_snapshot
from chaosext.rehearsal.snapshot.world import Network, Plugin, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaosext.rehearsal.network.routes import Routes

    Read = Callable[..., World]

CP, ONE, TWO = 0, 1, 2
WORKERS = frozenset({"worker-1", "worker-2"})

VXLAN = item("IPPool", "pods", api=CALICO_API, spec={"cidr": "10.244.0.0/16", "vxlanMode": "Always"})
BARE = tuple(each for each in SMALL if each not in (*CALICO, *AGENTS))
"""The cluster without any network."""


def routes(network: Network, **changes: object) -> Routes:
    return routes_of(replace(cluster(network=network), **changes), WORKERS)  # type: ignore[arg-type]


def peer(**fields: str) -> BgpPeer:
    return replace(
        BgpPeer(name="p", peer_ip="", node="", node_selector="", peer_selector="", as_number=0), **fields
    )


# -- Calico's routes -------------------------------------------------------------------------------------------


def test_pods_on_a_node_without_a_session_are_not_reached() -> None:
    """The testbed: only workers peer with the leaf."""
    found = routes(CALICO_NETWORK)
    assert found.proof.holds
    assert found.reaches(ONE, TWO, 0)
    assert found.reaches(CP, ONE, 0)
    assert found.reaches(ONE, CP, 0) is False
    assert found.reaches(CP, CP, 0)
    assert unannounced(found, cluster().nodes) == ("cp-1",)


def test_a_mesh_that_the_cut_leaves_alone_reaches_everywhere() -> None:
    """No node of the cluster is in the control plane: no session crosses the cut."""
    workers = tuple(each for each in cluster(workers=3).nodes if not each.control_plane)
    found = routes(replace(CALICO_NETWORK, peers=(), full_mesh=True), nodes=workers)
    assert found.proof.holds
    assert all(found.reaches(one, other, 0) for one in range(3) for other in range(3))


def test_vxlan_needs_no_bgp() -> None:
    pools = (replace(PLAIN_POOL, vxlan_mode="Always"),)
    assert routes(replace(CALICO_NETWORK, pools=pools)).reaches(ONE, CP, 0)
    assert routes(replace(CALICO_NETWORK, pools=pools, bgp_enabled=False)).reaches(ONE, CP, 0)
    assert routes(replace(CALICO_NETWORK, pools=pools), missing=frozenset({"BGPPeer"})).reaches(ONE, CP, 0)


def reflected(control_plane: bool, reflects: bool = True) -> World:
    """A route reflector, in the control plane or not, and a worker that learns of a third node over it."""
    nodes = (
        a_node("cp-1", control_plane=True),
        replace(a_node("rr", control_plane=control_plane, role="rr"), reflector_cluster="1.0.0.1" * reflects),
        a_node("worker-1"),
        a_node("worker-2"),
    )
    over = peer(node_selector="!has(node-role.kubernetes.io/control-plane)", peer_selector="role == 'rr'")
    return World(nodes=nodes, pods=(), network=replace(CALICO_NETWORK, peers=(over,)))


def test_route_reflectors_pass_on_what_they_hear() -> None:
    workers = frozenset({"rr", "worker-1", "worker-2"})
    assert routes_of(reflected(control_plane=False), workers).reaches(2, 3, 0)
    plain = routes_of(reflected(control_plane=False, reflects=False), workers)
    assert plain.reaches(2, 3, 0) is False
    assert plain.reaches(1, 3, 0)


def test_routed_networks_reach_everywhere() -> None:
    assert routes(ROUTED).reaches(ONE, CP, 0)
    assert routes(Network(plugin=Plugin.OVERLAY)).reaches(ONE, CP, 0)


def test_a_peer_that_a_selector_does_not_find_is_not_a_session() -> None:
    """A reflector's label that was taken away (Reddit, 2023-03-14): the BGPPeer finds no node any more."""
    world = reflected(control_plane=True)
    taken = tuple(replace(each, labels={}) if each.name == "rr" else each for each in world.nodes)
    found = routes_of(replace(world, nodes=taken), frozenset({"worker-1", "worker-2"}))
    assert found.reaches(2, 3, 0) is False


def test_two_nodes_of_one_kind_hear_the_same() -> None:
    found = routes(CALICO_NETWORK)
    assert found.kind(ONE) == found.kind(TWO) != found.kind(CP)


# -- what a cut does to sessions isn't modelled ------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["BGPPeer", "BGPConfiguration", "IPPool"])
def test_a_missing_kind_makes_it_unknown(missing: str) -> None:
    found = routes(CALICO_NETWORK, missing=frozenset({missing}))
    assert found.reaches(ONE, CP, 0) is None
    assert missing in found.proof.why_not


CROSSING: dict[str, tuple[Network, str]] = {
    "mesh": (replace(CALICO_NETWORK, full_mesh=True), "BGPConfiguration/default spec.nodeToNodeMeshEnabled"),
    "mesh, and nothing said": (
        replace(CALICO_NETWORK, full_mesh=None),
        "BGPConfiguration/default spec.nodeToNodeMeshEnabled",
    ),
    "reflectors by label": (
        replace(CALICO_NETWORK, peers=(peer(peer_selector="has(node-role.kubernetes.io/control-plane)"),)),
        "BGPPeer/p spec.peerSelector",
    ),
    "reflectors by label, the other way round": (
        replace(
            CALICO_NETWORK, peers=(peer(node="cp-1", peer_selector="kubernetes.io/hostname == 'worker-1'"),)
        ),
        "BGPPeer/p spec.peerSelector",
    ),
    "a node's address": (
        replace(CALICO_NETWORK, peers=(peer(peer_ip="10.0.0.1"),)),
        "BGPPeer/p spec.peerIP",
    ),
    "a node's address and port, the other way round": (
        replace(CALICO_NETWORK, peers=(peer(node="cp-1", peer_ip="10.0.0.2:179"),)),
        "BGPPeer/p spec.peerIP",
    ),
    "a node's address that Calico knows": (
        replace(CALICO_NETWORK, peers=(peer(peer_ip="192.168.7.1"),)),
        "BGPPeer/p spec.peerIP",
    ),
    "a node's other address": (
        replace(CALICO_NETWORK, peers=(peer(peer_ip="203.0.113.1"),)),
        "BGPPeer/p spec.peerIP",
    ),
    "a node's address of IPv6, written otherwise": (
        replace(CALICO_NETWORK, peers=(peer(peer_ip="[fd00:0::1]:179"),)),
        "BGPPeer/p spec.peerIP",
    ),
    "one peer of several": (
        replace(CALICO_NETWORK, peers=(LEAF_PEER, peer(node="worker-2", peer_ip="10.0.0.1"))),
        "BGPPeer/p spec.peerIP",
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
    "IPIP": (
        replace(CALICO_NETWORK, pools=(replace(PLAIN_POOL, ipip_mode="Always"),)),
        "IPPool/pool spec.ipipMode",
    ),
    "IPIP between subnets": (
        replace(CALICO_NETWORK, pools=(replace(PLAIN_POOL, ipip_mode="CrossSubnet"),)),
        "IPPool/pool spec.ipipMode",
    ),
    "VXLAN between subnets": (
        replace(CALICO_NETWORK, pools=(replace(PLAIN_POOL, vxlan_mode="CrossSubnet"),)),
        "IPPool/pool spec.vxlanMode",
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


@pytest.mark.parametrize("name", CROSSING)
def test_routes_that_a_cut_may_break_are_not_known(name: str) -> None:
    network, subject = CROSSING[name]
    nodes = (
        replace(
            a_node("cp-1", control_plane=True, ip="10.0.0.1"),
            bgp_addresses=("192.168.7.1/24", "fd00::1/64"),
            other_ips=("203.0.113.1", "cp-1"),
        ),
        a_node("worker-1", ip="10.0.0.2"),
        a_node("worker-2", ip="10.0.0.3"),
    )
    found = routes(network, nodes=nodes)
    assert not found.proof.holds
    assert subject in [f"{doubt.subject} {doubt.key}".strip() for doubt in found.proof.doubts]
    assert found.reaches(ONE, CP, 0) is None
    assert found.reaches(ONE, ONE, 0)
    assert unannounced(found, nodes) == ()


def test_the_same_sessions_are_known_where_the_cut_does_not_cross_them() -> None:
    """Reflectors among the workers: what is cut off from the control plane is not cut off from them."""
    everybody = frozenset({"rr", "worker-1", "worker-2"})
    assert routes_of(reflected(control_plane=False), everybody).proof.holds
    assert not routes_of(reflected(control_plane=True), everybody - {"rr"}).proof.holds


# -- what a snapshot shows -------------------------------------------------------------------------------------


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def reading(*items: Item) -> World:
        return read_snapshot([written(tmp_path / "cluster.json", listed(*items))])

    return reading


def agents(name: str, /, **labels: str) -> tuple[Item, ...]:
    made = tuple(agent(on, name) for on in ("cp-1", "worker-1", "worker-2"))
    for each in made:
        each["metadata"]["labels"] = labels or {"k8s-app": name}
    return made


def with_backend(*backends: str, version: str = "v1.34.4") -> tuple[Item, ...]:
    """The cluster's nodes as flanneld marks them."""
    made = [
        node(name, ip=f"10.0.0.{at}", version=version)
        for at, name in enumerate(("cp-1", "worker-1", "worker-2"), start=1)
    ]
    for each, backend in zip(made, backends, strict=True):
        if backend:
            each["metadata"]["annotations"] = {"flannel.alpha.coreos.com/backend-type": backend}
    return (*made, *BARE[3:])


def cilium_config(namespace: str = "kube-system", **data: str) -> Item:
    return item(
        "ConfigMap",
        "cilium-config",
        namespace,
        data={key.replace("_", "-"): value for key, value in data.items()},
    )


FLANNEL = agents("kube-flannel-ds", app="flannel")
CILIUM = (*BARE, *agents("cilium"))
TUNNEL = cilium_config(routing_mode="tunnel", tunnel_protocol="vxlan", ipam="cluster-pool")
CILIUM_BGP = item("CiliumBGPClusterConfig", "rack0", api="cilium.io/v2alpha1", spec={})

PROVEN: dict[str, tuple[Item, ...]] = {
    "Calico with its leaf": SMALL,
    "Calico's VXLAN": (*BARE, *AGENTS, VXLAN),
    "Calico's VXLAN, whatever BGP says": (
        *BARE,
        *AGENTS,
        VXLAN,
        item("BGPPeer", "rr", api=CALICO_API, spec={"peerSelector": "all()", "filters": ["x"]}),
        item(
            "Installation",
            "default",
            api="operator.tigera.io/v1",
            spec={"calicoNetwork": {"bgp": "Disabled"}},
        ),
    ),
    "Cilium's tunnels": (*CILIUM, TUNNEL),
    "Cilium's tunnels, before 1.14": (*CILIUM, cilium_config(tunnel="geneve")),
    "flannel's VXLAN": (*with_backend("vxlan", "vxlan", "vxlan"), *FLANNEL),
    "flannel's VXLAN, in k3s": with_backend("vxlan", "vxlan", "vxlan", version="v1.34.4+k3s1"),
    "flannel's WireGuard": (*with_backend("wireguard", "wireguard", "wireguard"), *FLANNEL),
    "Amazon's VPC": (*BARE, *agents("aws-node")),
    "Azure's network": (*BARE, *agents("azure-cns")),
}


@pytest.mark.parametrize("name", PROVEN)
def test_routes_are_known_where_the_snapshot_proves_them(read: Read, name: str) -> None:
    found = routes_of(read(*PROVEN[name]), WORKERS)
    assert found.proof.doubts == ()
    assert found.proof.rests_on
    assert found.reaches(ONE, TWO, 0)


def extra(kind: str, api: str = CALICO_API, name: str = "x", **spec: Any) -> Item:
    return item(kind, name, api=api, spec=spec)


UNPROVEN: dict[str, tuple[tuple[Item, ...], str]] = {
    "nothing": (BARE, "no network plugin that chaosext knows"),
    "Calico's objects without Calico": (
        (*BARE, *CALICO),
        "none of its Pods runs on cp-1, worker-1, worker-2",
    ),
    "Calico on some nodes": (
        (*BARE, *AGENTS[:2], *CALICO),
        "DaemonSet calico-node: none of its Pods runs on worker-2",
    ),
    "a Pod that only calls itself Calico": (
        (
            *BARE,
            *AGENTS[:2],
            *CALICO,
            pod("x", "worker-2", "tenant", "ReplicaSet/x", {"k8s-app": "calico-node"}),
        ),
        "none of its Pods runs on worker-2",
    ),
    "Calico's default mesh": ((*BARE, *AGENTS, LEAF, POOL), "no BGPConfiguration in the snapshot"),
    "Calico's mesh": ((*BARE, *AGENTS, LEAF, POOL, extra("BGPConfiguration", name="default")), "mesh"),
    "Canal by its name": ((*BARE, *agents("canal"), *CALICO), "several networks"),
    "Canal by flannel's nodes": (
        (*with_backend("vxlan", "vxlan", "vxlan"), *AGENTS, *CALICO),
        "several networks",
    ),
    "Calico for policy only, on EKS": ((*BARE, *AGENTS, *agents("aws-node"), *CALICO), "several networks"),
    "Calico for policy only, as its operator says": (
        (*SMALL, extra("Installation", "operator.tigera.io/v1", cni={"type": "GKE"})),
        "Installation/x spec.cni.type: GKE carries Pod traffic",
    ),
    "VPP": (
        (
            *SMALL,
            extra("Installation", "operator.tigera.io/v1", calicoNetwork={"linuxDataplane": "VPP"}),
        ),
        "linuxDataplane",
    ),
    "Calico's eBPF": ((*SMALL, extra("FelixConfiguration", bpfEnabled=True)), "bpfEnabled"),
    "Calico's VXLAN, turned off": (
        (*BARE, *AGENTS, VXLAN, extra("FelixConfiguration", vxlanEnabled=False)),
        "vxlanEnabled",
    ),
    "a filter of routes": (
        (*BARE, *AGENTS, NO_MESH, POOL, extra("BGPPeer", peerIP="10.0.0.254", filters=["no-dns"])),
        "BGPPeer/x spec.filters",
    ),
    "a field of days to come": (
        (
            *BARE,
            *AGENTS,
            LEAF,
            POOL,
            extra("BGPConfiguration", name="default", nodeToNodeMeshEnabled=False, x=1),
        ),
        "BGPConfiguration/default spec.x",
    ),
    "a pool that is not announced": (
        (*BARE, *AGENTS, LEAF, NO_MESH, extra("IPPool", cidr="10.244.0.0/16", disableBGPExport=True)),
        "disableBGPExport",
    ),
    "a node without BGP": (
        (*SMALL, item("Node", "worker-1", api="projectcalico.org/v3", spec={"orchRefs": []})),
        "Calico's Node/worker-1 spec.bgp",
    ),
    "a BGPConfiguration of one node": (
        (*SMALL, extra("BGPConfiguration", name="node.worker-1", logSeverityScreen="Info")),
        "BGPConfiguration/node.worker-1",
    ),
    "Cilium without its settings": (CILIUM, "ConfigMap/kube-system/cilium-config routing-mode"),
    "Cilium without a mode": ((*CILIUM, cilium_config(ipam="cluster-pool")), "routing-mode"),
    "Cilium's native routing": ((*CILIUM, cilium_config(routing_mode="native")), "'native', not 'tunnel'"),
    "Cilium's native routing, before 1.14": ((*CILIUM, cilium_config(tunnel="disabled")), "tunnel"),
    "Cilium that says both": (
        (*CILIUM, cilium_config(routing_mode="tunnel", tunnel="disabled")),
        "'disabled', neither vxlan nor geneve",
    ),
    "Cilium's BGP": (
        (*CILIUM, cilium_config(routing_mode="tunnel", enable_bgp_control_plane="true"), CILIUM_BGP),
        "BGP",
    ),
    "Cilium's BGP by its kinds": ((*CILIUM, TUNNEL, CILIUM_BGP), "CiliumBGPClusterConfig/rack0"),
    "Cilium's settings of single nodes": (
        (*CILIUM, TUNNEL, extra("CiliumNodeConfig", "cilium.io/v2", name="rack0")),
        "CiliumNodeConfig/rack0",
    ),
    "Cilium's BGP by MetalLB": (
        (*CILIUM, cilium_config(routing_mode="tunnel", bgp_announce_pod_cidr="true")),
        "bgp-announce-pod-cidr",
    ),
    "Cilium on a cloud's addresses": (
        (*CILIUM, cilium_config(routing_mode="tunnel", ipam="eni")),
        "ipam",
    ),
    "Cilium's settings of somebody else": (
        (*CILIUM, cilium_config("tenant", routing_mode="tunnel")),
        "ConfigMap/kube-system/cilium-config",
    ),
    "Cilium on some nodes": ((*BARE, *agents("cilium")[:2], TUNNEL), "none of its Pods runs on worker-2"),
    "Cilium and kindnet": ((*CILIUM, *agents("kindnet"), TUNNEL), "several networks"),
    "flannel without its nodes' words": (
        (*BARE, *FLANNEL),
        "annotation flannel.alpha.coreos.com/backend-type",
    ),
    "what flannel left behind": (
        with_backend("vxlan", "vxlan", "vxlan"),
        "none of its Pods runs on cp-1, worker-1, worker-2",
    ),
    "flannel on some nodes": (
        (*with_backend("vxlan", "vxlan", "vxlan"), *FLANNEL[:2]),
        "none of its Pods runs on worker-2",
    ),
    "flannel's host-gw": ((*with_backend("host-gw", "host-gw", "host-gw"), *FLANNEL), "'host-gw'"),
    "flannel's host-gw on one node": (
        (*with_backend("vxlan", "host-gw", "vxlan"), *FLANNEL),
        "Node/worker-1",
    ),
    "a node that flannel doesn't know": ((*with_backend("vxlan", "vxlan", ""), *FLANNEL), "Node/worker-2"),
    "kindnet": ((*BARE, *agents("kindnet")), "kindnet carries Pod traffic"),
    "kube-router": ((*BARE, *agents("kube-router")), "kube-router carries Pod traffic"),
    "Antrea": ((*BARE, *agents("antrea-agent", app="antrea")), "Antrea carries Pod traffic"),
    "OVN-Kubernetes": ((*BARE, *agents("ovnkube-node", app="ovnkube-node")), "OVN-Kubernetes carries"),
    "Kube-OVN": ((*BARE, *agents("kube-ovn-cni", app="kube-ovn-cni")), "Kube-OVN carries"),
    "Weave Net": ((*BARE, *agents("weave-net", name="weave-net")), "Weave Net carries"),
    "a DaemonSet without Pods": (
        (*SMALL, item("DaemonSet", "kube-router", "kube-system", "apps/v1")),
        "several networks",
    ),
    "an object of another network": (
        (*SMALL, item("CiliumNode", "worker-1", api="cilium.io/v2")),
        "several networks",
    ),
}


@pytest.mark.parametrize("name", UNPROVEN)
def test_routes_are_unknown_where_the_snapshot_does_not_prove_them(read: Read, name: str) -> None:
    items, says = UNPROVEN[name]
    found = routes_of(read(*items), WORKERS)
    assert not found.proof.holds
    assert says in "; ".join(map(str, found.proof.doubts))
    assert found.reaches(ONE, TWO, 0) is None


def test_a_kind_that_another_project_has_as_well_counts_in_calicos_group_only(read: Read) -> None:
    """MetalLB has BGPPeers, too, and Antrea IPPools."""
    metallb = item(
        "BGPPeer", "tor", api="metallb.io/v1beta2", spec={"peerAddress": "10.0.0.9", "myASN": 64500}
    )
    whereabouts = item(
        "IPPool", "net1", api="whereabouts.cni.cncf.io/v1alpha1", spec={"range": "10.9.0.0/16"}
    )
    world = read(*SMALL, metallb, whereabouts)
    assert [each.name for each in world.network.peers] == ["leaf"]
    assert [each.name for each in world.network.pools] == ["pods"]
    assert routes_of(world, WORKERS).proof.holds
    assert "BGPPeer" in read(*(each for each in SMALL if each is not LEAF), metallb).missing


def test_what_could_not_be_read_is_not_taken_to_be_absent(tmp_path: Path) -> None:
    """Without the right to read it, a snapshot doesn't show that eBPF is off."""
    about = {"missed": {"FelixConfiguration": "forbidden"}}
    path = written(tmp_path / "cluster.json", listed(*SMALL, chaosext=about))
    assert (
        "FelixConfiguration: it could not be read" in routes_of(read_snapshot([path]), WORKERS).proof.why_not
    )
    felix = listed(extra("FelixConfiguration", bpfEnabled=False))
    both = written(tmp_path / "both.json", listed(*SMALL, chaosext=about), felix)
    assert routes_of(read_snapshot([both]), WORKERS).proof.holds


def test_a_pod_that_has_ended_is_not_an_agent(read: Read) -> None:
    ended = agent("worker-2")
    ended["status"] = {"phase": "Failed"}
    world = read(*BARE, *AGENTS[:2], ended, *CALICO)
    assert "worker-2" in routes_of(world, WORKERS).proof.why_not


def test_what_keeps_routes_from_being_known_names_the_object_and_its_key(read: Read) -> None:
    proof = routes_of(read(*CILIUM, cilium_config(routing_mode="native")), WORKERS).proof
    assert proof.to_json()["doubts"][0] == {
        "subject": "ConfigMap/kube-system/cilium-config",
        "key": "routing-mode",
        "why": "says 'native', not 'tunnel': routes of a native network aren't modelled",
    }
    assert CONTROL_PLANE not in proof.why_not
