"""Which network a snapshot shows: what proves it, and what keeps it from being known."""

from __future__ import annotations

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

from chaosext.rehearsal.network.network_model import routes_of
from chaosext.rehearsal.snapshot.reader import read_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaosext.rehearsal.snapshot.world import World

    Read = Callable[..., World]

CP, ONE, TWO = 0, 1, 2
WORKERS = frozenset({"worker-1", "worker-2"})

VXLAN = item("IPPool", "pods", api=CALICO_API, spec={"cidr": "10.244.0.0/16", "vxlanMode": "Always"})
BARE = tuple(each for each in SMALL if each not in (*CALICO, *AGENTS))
"""The cluster without any network."""


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


def on_cloud(version: str, **labels: str) -> tuple[Item, ...]:
    """The cluster's nodes with a cloud's labels and its kubelet's version; the control plane is the cloud's."""
    names = ("node-1", "node-2", "node-3")
    known = {key.replace("__", "/"): value for key, value in labels.items()}
    made = [node(name, ip=f"10.0.0.{at}", version=version, **known) for at, name in enumerate(names, start=1)]
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
NATIVE = cilium_config(routing_mode="native", ipam="kubernetes", enable_bgp_control_plane="true")


def bgp(kind: str, name: str, labels: Item | None = None, **spec: Any) -> Item:
    return item(kind, name, api="cilium.io/v2alpha1", metadata={"labels": labels or {}}, spec=spec)


def policy(leaf: str = "10.0.0.254/32", **more: Any) -> Item:
    router = {
        "localASN": 64512,
        "exportPodCIDR": True,
        "neighbors": [{"peerAddress": leaf, "peerASN": 64512}],
    }
    return bgp("CiliumBGPPeeringPolicy", "rack0", virtualRouters=[router], **more)


WORKERS_ONLY = {"matchExpressions": [{"key": CONTROL_PLANE, "operator": "DoesNotExist"}]}
PEERS = {"name": "leaf", "peerASN": 64512, "peerAddress": "10.0.0.254", "peerConfigRef": {"name": "leaf"}}
CILIUM_BGP = bgp(
    "CiliumBGPClusterConfig",
    "rack0",
    nodeSelector=WORKERS_ONLY,
    bgpInstances=[{"name": "tor", "localASN": 64512, "peers": [PEERS]}],
)
PEER_CONFIG = bgp(
    "CiliumBGPPeerConfig",
    "leaf",
    families=[{"afi": "ipv4", "safi": "unicast", "advertisements": {"matchLabels": {"advertise": "bgp"}}}],
)
ADVERTISED = bgp(
    "CiliumBGPAdvertisement",
    "pods",
    labels={"advertise": "bgp"},
    advertisements=[{"advertisementType": "PodCIDR"}],
)


def routers(*flags: str, **notes: str) -> tuple[Item, ...]:
    """The cluster with kube-router: its arguments, and annotations of each node."""
    made = agents("kube-router")
    for each in made:
        each["spec"]["containers"] = [{"name": "kube-router", "args": ["--run-router=true", *flags]}]
    found = {f"kube-router.io/{key.replace('__', '.')}": value for key, value in notes.items()}
    nodes = tuple({**each, "metadata": {**each["metadata"], "annotations": found}} for each in BARE[:3])
    return (*nodes, *BARE[3:], *made)


def ebpf(*typhas: str) -> tuple[Item, ...]:
    """The cluster with Calico's VXLAN and eBPF, and Typha on these nodes."""
    made = (
        pod(f"typha-{on}", on, "calico-system", "ReplicaSet/typha-1", {"k8s-app": "calico-typha"})
        for on in typhas
    )
    return (
        *BARE,
        *AGENTS,
        VXLAN,
        item("FelixConfiguration", "default", api=CALICO_API, spec={"bpfEnabled": True}),
        *made,
    )


ANTREA_ENCAP = item(
    "ConfigMap",
    "antrea-config",
    "kube-system",
    data={"antrea-agent.conf": "featureGates: {}\n#trafficEncapMode: noEncap\n"},
)

PROVEN: dict[str, tuple[Item, ...]] = {
    "Calico with its leaf": SMALL,
    "Calico's VXLAN": (*BARE, *AGENTS, VXLAN),
    "Calico's VXLAN, and a pool for load balancers": (
        *BARE,
        *AGENTS,
        VXLAN,
        item("IPPool", "lb", api=CALICO_API, spec={"cidr": "192.0.2.0/24", "allowedUses": ["LoadBalancer"]}),
    ),
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
    "Amazon's VPC, with Calico for policy": (*BARE, *agents("aws-node"), *AGENTS),
    "Amazon's VPC, with Calico for policy as its operator says": (
        *BARE,
        *agents("aws-node"),
        *AGENTS,
        POOL,
        item("Installation", "default", api="operator.tigera.io/v1", spec={"cni": {"type": "AmazonVPC"}}),
    ),
    "Amazon's VPC, with Cilium chained": (
        *CILIUM,
        *agents("aws-node"),
        cilium_config(cni_chaining_mode="aws-cni"),
    ),
    "Azure's network": (*BARE, *agents("azure-cns")),
    "flannel with whichever backend": (*BARE, *FLANNEL),
    "Canal with whichever backend": (*BARE, *agents("canal"), *CALICO),
    "flannel's host-gw": (*with_backend("host-gw", "host-gw", "host-gw"), *FLANNEL),
    "Canal": (*with_backend("vxlan", "vxlan", "vxlan"), *agents("canal"), *CALICO),
    "Calico's default mesh": (*BARE, *AGENTS, POOL),
    "Calico's mesh": (
        *BARE,
        *AGENTS,
        LEAF,
        POOL,
        item("BGPConfiguration", "default", api=CALICO_API, spec={}),
    ),
    "Calico's routes by Felix": (
        *BARE,
        *AGENTS,
        POOL,
        item("FelixConfiguration", "default", api=CALICO_API, spec={"programClusterRoutes": "Enabled"}),
    ),
    "Calico in its other API group": (
        *BARE,
        *AGENTS,
        *({**each, "apiVersion": "projectcalico.org/v3"} for each in CALICO),
    ),
    "OVN-Kubernetes": (*BARE, *agents("ovnkube-node", app="ovnkube-node")),
    "OpenShift SDN": (
        *BARE,
        *agents("sdn", app="sdn"),
        item("HostSubnet", "worker-1", api="network.openshift.io/v1"),
    ),
    "Kube-OVN": (*BARE, *agents("kube-ovn-cni", app="kube-ovn-cni")),
    "Weave Net": (*BARE, *agents("weave-net", name="weave-net")),
    "kindnet": (*BARE, *agents("kindnet", app="kindnet")),
    "Antrea": (*BARE, *agents("antrea-agent", component="antrea-agent"), ANTREA_ENCAP),
    "Cilium's tunnels, and its BGP for load balancers": (
        *CILIUM,
        cilium_config(routing_mode="tunnel", enable_bgp_control_plane="true"),
        CILIUM_BGP,
    ),
    "Cilium's direct routes": (*CILIUM, cilium_config(routing_mode="native", auto_direct_node_routes="true")),
    "Cilium's direct routes, before 1.14": (
        *CILIUM,
        cilium_config(tunnel="disabled", auto_direct_node_routes="true"),
    ),
    "Cilium with a cloud's addresses": (
        *({**each, "spec": {**each["spec"], "providerID": "aws:///a/i-1"}} for each in BARE[:3]),
        *CILIUM[3:],
        cilium_config(routing_mode="native", ipam="eni"),
    ),
    "Cilium's BGP by policy": (*CILIUM, NATIVE, policy()),
    "Cilium's BGP by cluster configuration": (*CILIUM, NATIVE, CILIUM_BGP, PEER_CONFIG, ADVERTISED),
    "kube-router": routers(),
    "kube-router with graceful restart": routers("--bgp-graceful-restart"),
    "kube-router with the fabric": routers("--peer-router-ips=10.0.0.254", "--enable-ibgp=false"),
    "kube-router with a leaf for each node": routers("--enable-ibgp=false", peer__ips="10.0.0.254"),
    "kube-router beside flannel": (
        *BARE,
        *FLANNEL,
        *(
            {
                **each,
                "spec": {
                    **each["spec"],
                    "containers": [{"name": "r", "command": ["kube-router", "--run-router=false"]}],
                },
            }
            for each in agents("kube-router")
        ),
    ),
    "Calico's eBPF": ebpf(),
}

CLOUDS: dict[str, tuple[Item, ...]] = {
    "GKE": on_cloud("v1.30.5-gke.1014001", **{"cloud.google.com__gke-nodepool": "pool"}),
    "EKS Auto Mode": on_cloud("v1.33.1-eks-a737599", **{"eks.amazonaws.com__compute-type": "auto"}),
    "k3s' own flannel": on_cloud("v1.34.4+k3s1"),
    "AKS without a CNI of its own": on_cloud("v1.30.5", **{"kubernetes.azure.com__cluster": "shop"}),
}


@pytest.mark.parametrize("name", CLOUDS)
def test_a_cloud_routes_pods_whatever_its_nodes_hear(read: Read, name: str) -> None:
    found = routes_of(read(*CLOUDS[name]), frozenset({"node-1"}))
    assert found.proof.doubts == ()
    assert found.reaches(ONE, TWO)


@pytest.mark.parametrize("name", PROVEN)
def test_routes_are_known_where_the_snapshot_proves_them(read: Read, name: str) -> None:
    found = routes_of(read(*PROVEN[name]), WORKERS)
    assert found.proof.doubts == ()
    assert found.proof.rests_on
    assert found.reaches(ONE, TWO)


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
    "Calico with leafs, and no word about the mesh": (
        (*BARE, *AGENTS, LEAF, POOL),
        "BGPConfiguration/default",
    ),
    "Canal on some nodes": ((*BARE, *agents("canal")[:2], *CALICO), "none of its Pods runs on worker-2"),
    "Antrea without its settings": (
        (*BARE, *agents("antrea-agent", app="antrea")),
        "trafficEncapMode: is not in",
    ),
    "Antrea without encapsulation": (
        (
            *BARE,
            *agents("antrea-agent", app="antrea"),
            item(
                "ConfigMap",
                "antrea-config-x",
                "kube-system",
                data={"antrea-agent.conf": "trafficEncapMode: noEncap"},
            ),
        ),
        "'noEncap', not 'encap'",
    ),
    "OVN-Kubernetes that announces": (
        (
            *BARE,
            *agents("ovnkube-node", app="ovnkube-node"),
            item("RouteAdvertisements", "all", api="k8s.ovn.org/v1"),
        ),
        "RouteAdvertisements/all",
    ),
    "Kube-OVN on a network of the datacenter": (
        (*BARE, *agents("kube-ovn-cni", app="kube-ovn-cni"), item("Vlan", "v7", api="kubeovn.io/v1")),
        "Vlan/v7",
    ),
    "Kube-OVN that announces": (
        (
            *BARE,
            *agents("kube-ovn-cni", app="kube-ovn-cni"),
            item("DaemonSet", "kube-ovn-speaker", "kube-system", "apps/v1"),
        ),
        "DaemonSet/kube-ovn-speaker",
    ),
    "OVN-Kubernetes on some nodes": (
        (*BARE, *agents("ovnkube-node", app="ovnkube-node")[:2]),
        "none of its Pods runs on worker-2",
    ),
    "Cilium chained to a plugin that isn't there": (
        (*CILIUM, cilium_config(routing_mode="tunnel", cni_chaining_mode="aws-cni")),
        "cni-chaining-mode",
    ),
    "Amazon's VPC and Cilium without a word": ((*CILIUM, *agents("aws-node"), TUNNEL), "several networks"),
    "Amazon's VPC with a node of the datacenter": (
        (*BARE, *agents("aws-node")[:2]),
        "DaemonSet aws-node: none of its Pods runs on worker-2",
    ),
    "k3s on some nodes": (
        (*BARE[1:], node("k-1", version="v1.34.4+k3s1")),
        "no network plugin that chaosext knows",
    ),
    "GKE's pool on one node": (
        (*BARE[1:], node("gke-1", version="v1.30.5-gke.1", **{"cloud.google.com/gke-nodepool": "pool"})),
        "label cloud.google.com/gke-nodepool",
    ),
    "Canal by flannel's nodes": (
        (*with_backend("vxlan", "vxlan", "vxlan"), *AGENTS, *CALICO),
        "several networks",
    ),
    "Amazon's VPC, and Calico as CNI": (
        (
            *SMALL,
            *agents("aws-node"),
            item("Installation", "default", api="operator.tigera.io/v1", spec={"cni": {"type": "Calico"}}),
        ),
        "several networks",
    ),
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
    "Calico's eBPF with Typha across the cut": (ebpf("worker-1"), "Deployment/calico-typha"),
    "Calico's eBPF with Typha across the cut, the other way": (ebpf("cp-1"), "Deployment/calico-typha"),
    "Calico's eBPF with a Typha that isn't shown": (
        (*ebpf(), extra("Installation", "operator.tigera.io/v1", calicoNetwork={"linuxDataplane": "BPF"})),
        "Deployment/calico-typha: none of its Pods",
    ),
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
    "Cilium's native routing": ((*CILIUM, cilium_config(routing_mode="native")), "auto-direct-node-routes"),
    "Cilium's native routing, before 1.14": (
        (*CILIUM, cilium_config(tunnel="disabled")),
        "auto-direct-node-routes",
    ),
    "Cilium's direct routes to some nodes": (
        (
            *CILIUM,
            cilium_config(
                routing_mode="native", auto_direct_node_routes="true", direct_routing_skip_unreachable="true"
            ),
        ),
        "direct-routing-skip-unreachable",
    ),
    "Cilium with a cloud's addresses, elsewhere": (
        (*CILIUM, cilium_config(routing_mode="native", ipam="eni")),
        "spec.providerID: is not aws's",
    ),
    "Cilium's BGP without a policy": ((*CILIUM, NATIVE), "announces Pod addresses"),
    "Cilium's BGP that announces Services only": (
        (
            *CILIUM,
            NATIVE,
            CILIUM_BGP,
            PEER_CONFIG,
            {**ADVERTISED, "spec": {"advertisements": [{"advertisementType": "Service"}]}},
        ),
        "announces Pod addresses",
    ),
    "Cilium's BGP without its peers' settings": (
        (*CILIUM, NATIVE, CILIUM_BGP, ADVERTISED),
        "CiliumBGPClusterConfig/rack0 spec.bgpInstances.peers.peerConfigRef",
    ),
    "Cilium's BGP with a node": ((*CILIUM, NATIVE, policy("10.0.0.1/32")), "sessions between nodes"),
    "Cilium that says both": (
        (*CILIUM, cilium_config(routing_mode="tunnel", tunnel="disabled")),
        "'disabled', neither vxlan nor geneve",
    ),
    "Cilium's settings of single nodes": (
        (*CILIUM, TUNNEL, extra("CiliumNodeConfig", "cilium.io/v2", name="rack0")),
        "CiliumNodeConfig/rack0",
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
    "what flannel left behind": (
        with_backend("vxlan", "vxlan", "vxlan"),
        "none of its Pods runs on cp-1, worker-1, worker-2",
    ),
    "flannel on some nodes": (
        (*with_backend("vxlan", "vxlan", "vxlan"), *FLANNEL[:2]),
        "none of its Pods runs on worker-2",
    ),
    "flannel's host-gw on one node": (
        (*with_backend("vxlan", "host-gw", "vxlan"), *FLANNEL),
        "Node/worker-1",
    ),
    "a node that flannel doesn't know": ((*with_backend("vxlan", "vxlan", ""), *FLANNEL), "Node/worker-2"),
    "kube-router without its arguments": ((*BARE, *agents("kube-router")), "its arguments: are not in"),
    "kube-router with a mesh for each AS": (
        routers("--nodes-full-mesh=false"),
        "--nodes-full-mesh: is false",
    ),
    "kube-router with reflectors": (routers(rr__server="42"), "annotation kube-router.io/rr.server"),
    "kube-router with peers that aren't read": (routers(peers=""), "annotation kube-router.io/peers"),
    "kube-router with a node as peer": (
        routers(peer__ips="10.0.0.1"),
        "names 10.0.0.1, a node of the cluster",
    ),
    "kube-router that announces no Pods": (routers("--advertise-pod-cidr=false"), "--advertise-pod-cidr"),
    "kube-router without any session": (routers("--enable-ibgp=false"), "--enable-ibgp: is false"),
    "kube-router on some nodes": (routers()[:-1], "none of its Pods runs on worker-2"),
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
    assert found.reaches(ONE, TWO) is None


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


@pytest.mark.parametrize(
    "items",
    [
        (*CILIUM, NATIVE, policy(nodeSelector=WORKERS_ONLY)),
        (*CILIUM, NATIVE, CILIUM_BGP, PEER_CONFIG, ADVERTISED),
    ],
)
def test_pods_on_nodes_that_announce_nothing_are_not_reached(read: Read, items: tuple[Item, ...]) -> None:
    """The incident, on Cilium's BGP: only workers have a policy."""
    found = routes_of(read(*items), WORKERS)
    assert found.proof.holds
    assert found.reaches(CP, TWO)
    assert found.reaches(ONE, CP) is False


def test_kube_routers_flag_for_peers_outside_leaves_the_hold_time_between_nodes_alone(read: Read) -> None:
    """`--bgp-holdtime` reaches external peers only: a longer one does not keep routes across the cut for longer."""
    assert read(*routers("--bgp-holdtime=300s")).network.hold_s == 90.0


@pytest.mark.parametrize(
    ("said", "alternatives"), [("false", []), ("true", ["Cilium's agents"]), ("", ["Cilium's agents"])]
)
def test_ciliums_agents_outlast_the_cut_where_their_probe_says_so(
    read: Read, said: str, alternatives: list[str]
) -> None:
    made = agents("cilium")
    for each in made:
        headers = [{"name": "require-k8s-connectivity", "value": said}] if said else []
        each["spec"]["containers"][0] |= {"name": "cilium-agent", "image": "quay.io/cilium/cilium:v1.19.3"}
        each["spec"]["containers"][0]["livenessProbe"] = {"httpGet": {"port": 9879, "httpHeaders": headers}}
    found = [each.name for each in read(*BARE, *made, NATIVE, policy()).alternatives]
    assert [name for name in found if "Cilium" in name] == alternatives


def test_the_rights_that_ciliums_kinds_need_are_named(tmp_path: Path) -> None:
    about = {
        "missed": {
            "CiliumBGPPeerConfig": "forbidden",
            "CiliumBGPPeeringPolicy": "the cluster doesn't know this kind",
        }
    }
    path = written(tmp_path / "cluster.json", listed(*CILIUM, NATIVE, policy(), chaosext=about))
    assert routes_of(read_snapshot([path]), WORKERS).proof.why_not.endswith(
        "CiliumBGPPeerConfig: it could not be read (forbidden)"
    )


def test_a_pod_that_has_ended_is_not_an_agent(read: Read) -> None:
    ended = agent("worker-2")
    ended["status"] = {"phase": "Failed"}
    world = read(*BARE, *AGENTS[:2], ended, *CALICO)
    assert "worker-2" in routes_of(world, WORKERS).proof.why_not


def test_what_keeps_routes_from_being_known_names_the_object_and_its_key(read: Read) -> None:
    proof = routes_of(read(*CILIUM, cilium_config(routing_mode="native")), WORKERS).proof
    assert proof.to_json()["doubts"][0] == {
        "subject": "ConfigMap/kube-system/cilium-config",
        "key": "auto-direct-node-routes",
        "why": "is not 'true', nor is enable-bgp-control-plane, so it is unknown what routes Pod addresses; the plan's"
        " `network` can say which nodes' Pods stay reachable",
    }
    assert CONTROL_PLANE not in proof.why_not
