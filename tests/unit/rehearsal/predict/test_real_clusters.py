"""Installations as they are found: each is answered right, or unknown with what would settle it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from listings import CONTROL_PLANE, Item, item, listed, pod, written
from real_clusters import EVERYTHING, HEADS, WORKERS, apps, daemons, dns, machines, static, untainted

from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.snapshot.cut_targets import cut_nodes
from chaosext.rehearsal.snapshot.reader import read_snapshot

if TYPE_CHECKING:
    from pathlib import Path

ALL = (*HEADS, *WORKERS)
SHOP = (*static(HEADS), *dns(WORKERS[:2]), *apps(WORKERS))
"""Control plane, DNS and a workload of a kubeadm cluster."""

VXLAN = {"flannel.alpha.coreos.com/backend-type": "vxlan"}
HOST_GW = {
    "flannel.alpha.coreos.com/backend-type": "host-gw",
    "k3s.io/node-args": '["server","--flannel-backend","host-gw"]',
}
ROUTER = (
    "--run-router=true",
    "--run-firewall=true",
    "--run-service-proxy=true",
    "--bgp-graceful-restart=true",
    "--kubeconfig=/var/lib/kube-router/kubeconfig",
)
MASTERS = ("m-0", "m-1", "m-2")


def calico(kind: str, name: str, **spec: Any) -> Item:
    return item(kind, name, api="crd.projectcalico.org/v1", spec=spec)


def cilium_config(**data: str) -> Item:
    known = {key.replace("_", "-"): value for key, value in data.items()}
    return item("ConfigMap", "cilium-config", "kube-system", data=known)


def operator(plane: str) -> tuple[Item, ...]:
    """Calico as Tigera's operator installs it."""
    pools = [{"cidr": "10.244.0.0/16", "encapsulation": "VXLANCrossSubnet"}]
    network = {"bgp": "Enabled", "hostPorts": "Enabled", "linuxDataplane": plane, "ipPools": pools}
    spec = {
        "variant": "Calico",
        "calicoNetwork": network,
        "cni": {"type": "Calico", "ipam": {"type": "Calico"}},
    }
    typha = {"k8s-app": "calico-typha"}
    return (
        *machines(ALL),
        *SHOP,
        *daemons("calico-node", ALL, "calico-system"),
        *daemons("csi-node-driver", ALL, "calico-system"),
        *(
            pod(
                f"calico-typha-{on}",
                on,
                "calico-system",
                "ReplicaSet/calico-typha-1",
                typha,
                tolerations=EVERYTHING,
            )
            for on in ("cp-1", "cp-2", "w-1")
        ),
        item("Installation", "default", api="operator.tigera.io/v1", spec=spec),
        calico(
            "IPPool", "default-ipv4-ippool", cidr="10.244.0.0/16", vxlanMode="CrossSubnet", ipipMode="Never"
        ),
        calico(
            "FelixConfiguration", "default", bpfConnectTimeLoadBalancing="TCP", healthPort=9099, vxlanVNI=4096
        ),
    )


def to_racks(on_heads: bool) -> tuple[Item, ...]:
    """Bare metal: Calico peers with each rack's leaf, on control-plane nodes or not; MetalLB has BGPPeers, too."""
    racks = tuple(
        machines((head, worker), rack=f"r{at}")
        for at, (head, worker) in enumerate(zip(HEADS, WORKERS, strict=True))
    )
    where = "" if on_heads else f" && !has({CONTROL_PLANE})"
    nodes = [each for rack in racks for each in rack]
    for at, each in enumerate(nodes):
        each["status"]["addresses"] = [{"type": "InternalIP", "address": f"10.0.1.{at + 1}"}]
    return (
        *nodes,
        *SHOP,
        *daemons("calico-node", ALL),
        *daemons("speaker", ALL, "metallb-system", app="metallb"),
        item("BGPPeer", "tor", "metallb-system", "metallb.io/v1beta2", spec={"peerAddress": "192.168.0.1"}),
        calico("BGPConfiguration", "default", nodeToNodeMeshEnabled=False, asNumber=64512),
        calico("IPPool", "default", cidr="10.244.0.0/16", ipipMode="Never", vxlanMode="Never"),
        *(
            calico(
                "BGPPeer",
                f"tor-{at}",
                peerIP=f"192.168.{at}.1",
                asNumber=64512,
                nodeSelector=f"rack == 'r{at}'{where}",
            )
            for at in range(3)
        ),
    )


def on_cilium(selector: Item) -> tuple[Item, ...]:
    """Cilium without tunnels, whose BGP announces the Pods of the selected nodes."""
    router = {"localASN": 64512, "exportPodCIDR": True, "neighbors": [{"peerAddress": "192.168.0.1/32"}]}
    return (
        *machines(ALL),
        *SHOP,
        *cilium_agents(),
        cilium_config(routing_mode="native", ipam="kubernetes", enable_bgp_control_plane="true"),
        item(
            "CiliumBGPPeeringPolicy",
            "workers",
            api="cilium.io/v2alpha1",
            spec={"nodeSelector": selector, "virtualRouters": [router]},
        ),
    )


def openshift() -> tuple[Item, ...]:
    """Three nodes with every role; DNS is a DaemonSet."""
    label = {"dns.operator.openshift.io/daemonset-dns": "default"}
    spec = {"selector": label, "clusterIP": "172.30.0.10", "ports": [{"port": 53}]}
    nodes = machines(MASTERS, "v1.29.10+67d3387")
    roles = (CONTROL_PLANE, "node-role.kubernetes.io/master", "node-role.kubernetes.io/worker")
    return (
        *untainted(nodes, "node.openshift.io/os_id", *roles),
        item("Service", "dns-default", "openshift-dns", spec=spec),
        *daemons(
            "dns-default",
            MASTERS,
            "openshift-dns",
            **{"dns.operator.openshift.io__daemonset-dns": "default"},
        ),
        *daemons("ovnkube-node", MASTERS, "openshift-ovn-kubernetes", app="ovnkube-node"),
        item("Namespace", "openshift-dns"),
        *apps(MASTERS),
    )


def cilium_agents(version: str = "v1.19.3") -> tuple[Item, ...]:
    """Cilium's agents on all nodes, of a version, or one that isn't shown."""
    agents = daemons("cilium", ALL)
    for each in agents:
        if version and each["kind"] == "Pod":
            image = f"quay.io/cilium/cilium:{version}@sha256:1"
            each["spec"]["containers"] = [{"name": "cilium-agent", "image": image}]
    return tuple(agents)


def on_talos(version: str) -> tuple[Item, ...]:
    """Cilium's tunnels, with agents of a version, or one that isn't shown."""
    return (
        *machines(ALL),
        *SHOP,
        *cilium_agents(version),
        *daemons("cilium-envoy", ALL),
        cilium_config(routing_mode="tunnel", tunnel_protocol="vxlan", ipam="kubernetes"),
        item("CiliumNode", "w-1", api="cilium.io/v2"),
    )


class Expected(NamedTuple):
    """`says`: part of what the routes rest on, or of the doubts. `cut`: the cut nodes, by default all workers."""

    items: tuple[Item, ...]
    verdict: str
    says: str
    cut: str = ""


AKS = {"kubernetes.azure.com__cluster": "MC_shop", "kubernetes.azure.com__podnetwork-type": "overlay"}
RKE2 = "rke2-coredns-rke2-coredns"
CANAL_ROLES = {"node-role.kubernetes.io__etcd": "true", "node-role.kubernetes.io__master": "true"}

CLUSTERS: dict[str, Expected] = {
    # Felix makes the routes from the datastore, so that BGP across the cut does not matter.
    "kubeadm with Calico's operator, VXLANCrossSubnet": Expected(
        operator("Iptables"), "passed", "Felix makes all routes"
    ),
    # Typha is on both sides, and what eBPF drops while Felix restarts is not known.
    "kubeadm with Calico's operator and eBPF": Expected(
        operator("BPF"), "unknown", "Deployment/calico-typha"
    ),
    # calico.yaml: no BGPPeer, no BGPConfiguration; the mesh loses the control plane until the heal.
    "kubeadm with Calico's manifest, IPIP": Expected(
        (
            *machines(ALL),
            *SHOP,
            *daemons("calico-node", ALL),
            calico(
                "IPPool", "default-ipv4-ippool", cidr="192.168.0.0/16", ipipMode="Always", vxlanMode="Never"
            ),
            calico("FelixConfiguration", "default", bpfLogLevel="", reportingInterval="0s"),
        ),
        "passed",
        "those across the cut end 1m38s to 4m2s",
    ),
    "Kubespray: Calico's VXLAN, its mesh, NodeLocal DNSCache": Expected(
        (
            *machines(ALL),
            *static(HEADS, "--node-monitor-grace-period=40s"),
            *dns(("cp-1", "w-1")),
            *apps(WORKERS),
            *daemons("calico-node", ALL),
            *daemons("nodelocaldns", ALL, **{"k8s-app": "node-local-dns"}),
            calico("IPPool", "default-pool", cidr="10.233.64.0/18", vxlanMode="Always", ipipMode="Never"),
            calico("BGPConfiguration", "default", nodeToNodeMeshEnabled=True, asNumber=64512),
        ),
        "passed",
        "Felix makes all routes",
    ),
    "RKE2 with Canal": Expected(
        (
            *machines(HEADS, "v1.31.5+rke2r1", VXLAN, **CANAL_ROLES),
            *machines(WORKERS, "v1.31.5+rke2r1", VXLAN),
            *static(HEADS),
            *dns(WORKERS[:2], name=RKE2, service=RKE2, **{"k8s-app": "kube-dns"}),
            *apps(WORKERS),
            *daemons("rke2-canal", ALL, **{"k8s-app": "canal"}),
            calico("IPPool", "default-ipv4-ippool", cidr="10.42.0.0/16", ipipMode="Never", vxlanMode="Never"),
        ),
        "passed",
        "Calico's BGP is unused",
    ),
    # No static Pod, no taint: the role is a label of its own. The only kube-dns is cut off and moves.
    "MicroK8s, three nodes": Expected(
        (
            *untainted(machines(WORKERS, "v1.32.3"), "node.kubernetes.io/microk8s-controlplane"),
            *dns(WORKERS[:1]),
            *apps(WORKERS),
            *daemons("calico-node", WORKERS),
            calico("IPPool", "default-ipv4-ippool", cidr="10.1.0.0/16", vxlanMode="Always", ipipMode="Never"),
        ),
        "passed",
        "Felix makes all routes",
        cut="w-1",
    ),
    # kube-dns is on control-plane nodes, as after a fresh installation.
    "Talos with flannel": Expected(
        (
            *machines(ALL, "v1.33.1", VXLAN),
            *static(HEADS),
            *dns(HEADS[:2]),
            *apps(WORKERS),
            *daemons("kube-flannel", ALL, **{"k8s-app": "flannel", "tier": "node"}),
        ),
        "passed",
        "flannel's routes (vxlan)",
    ),
    # Agents of a version that is not shown may keep endpoints that were removed (cilium #48050).
    "Talos with Cilium": Expected(on_talos(""), "unknown", "Cilium's tunnels"),
    "Talos with Cilium that removes old endpoints": Expected(
        on_talos("v1.19.3"), "passed", "Cilium's tunnels"
    ),
    # kube-dns moves, and nodes may keep its old endpoints.
    "Talos with Cilium that keeps old endpoints": Expected(
        on_talos("v1.19.2"), "unknown", "Cilium's tunnels"
    ),
    "k3s with flannel's host-gw": Expected(
        (
            *untainted(machines(HEADS, "v1.32.5+k3s1", HOST_GW), "node-role.kubernetes.io/master"),
            *machines(WORKERS, "v1.32.5+k3s1", HOST_GW),
            *dns(("cp-1",)),
            *apps(WORKERS),
            *daemons("svclb-traefik", ALL),
        ),
        "passed",
        "flannel's routes (host-gw)",
    ),
    # The termination handler's name has the VPC CNI's in it.
    "kOps with Cilium's ENI": Expected(
        (
            *machines(ALL, "v1.31.2", provider="aws"),
            *SHOP,
            *cilium_agents(),
            cilium_config(routing_mode="native", ipam="eni", enable_ipv4="true"),
            *daemons("aws-node-termination-handler", ALL),
        ),
        "passed",
        "addresses of the cloud's network (IPAM eni)",
    ),
    "AKS, overlay": Expected(
        (
            *machines(WORKERS, "v1.31.7", provider="azure", **AKS),
            *dns(WORKERS[:2]),
            *apps(WORKERS),
            *daemons("azure-cns", WORKERS),
            *daemons("cloud-node-manager", WORKERS),
        ),
        "passed",
        "Azure CNI",
    ),
    "AKS, overlay by Cilium": Expected(
        (
            *machines(WORKERS, "v1.31.7", provider="azure", **AKS),
            *dns(WORKERS[:2]),
            *apps(WORKERS),
            *daemons("azure-cns", WORKERS),
            *daemons("cilium", WORKERS),
            cilium_config(routing_mode="native", ipam="delegated-plugin"),
        ),
        "passed",
        "Azure CNI",
    ),
    "OpenShift, compact": Expected(openshift(), "passed", "OVN-Kubernetes' tunnels", cut="m-0"),
    "bare metal, Calico with the leafs everywhere": Expected(
        to_racks(True), "passed", "none of which crosses the cut"
    ),
    # The incident: kube-dns moves to control-plane nodes, whose Pods no leaf knows.
    "bare metal, Calico with the leafs except on control-plane nodes": Expected(
        to_racks(False), "deviated", "none of which crosses the cut"
    ),
    # kube-dns moves to control-plane nodes; their routes are back minutes after the heal.
    "kubeadm with kube-router": Expected(
        (*machines(ALL), *SHOP, *daemons("kube-router", ALL, "kube-system", *ROUTER)),
        "passed",
        "routes across the cut end 58s to 3m2s",
    ),
    # Its control plane is no node, so that no session crosses the cut.
    "k0s": Expected(
        (
            *machines(WORKERS, "v1.33.2+k0s"),
            *dns(WORKERS[:2]),
            *apps(WORKERS),
            *daemons("kube-router", WORKERS, "kube-system", *ROUTER),
            *daemons("konnectivity-agent", WORKERS),
        ),
        "passed",
        "none of its sessions crosses the cut",
    ),
    "Cilium's BGP, with a policy for workers only": Expected(
        on_cilium({"matchExpressions": [{"key": CONTROL_PLANE, "operator": "DoesNotExist"}]}),
        "deviated",
        "3 of 6 nodes announce their Pods",
    ),
    "Cilium's BGP, with a policy for all nodes": Expected(
        on_cilium({}), "passed", "6 of 6 nodes announce their Pods"
    ),
    "ACK with Terway": Expected(
        (
            *machines(WORKERS, "v1.31.1-aliyun.1"),
            *dns(WORKERS[:2]),
            *apps(WORKERS),
            *daemons("terway-eniip", WORKERS),
        ),
        "unknown",
        "Terway carries Pod traffic",
    ),
}


def test_what_cilium_may_keep_matters_only_if_kube_dns_moves(tmp_path: Path) -> None:
    world = read_snapshot([written(tmp_path / "cluster.json", listed(*on_talos("v1.18.0")))])
    long = rehearse(world, Plan(cut_nodes=cut_nodes(world, ""), cut_for_s=480.0), samples=6)
    assert "upgrade to 1.19.3" in str(long.otherwise[0])
    short = rehearse(world, Plan(cut_nodes=cut_nodes(world, ""), cut_for_s=200.0), samples=6)
    assert (short.verdict.value, short.otherwise) == ("passed", ())


@pytest.mark.parametrize("name", CLUSTERS)
def test_an_installation_is_answered_right_or_unknown(tmp_path: Path, name: str) -> None:
    expected = CLUSTERS[name]
    world = read_snapshot([written(tmp_path / "cluster.json", listed(*expected.items))])
    plan = Plan(cut_nodes=cut_nodes(world, expected.cut), cut_for_s=480.0)
    found = rehearse(world, plan, samples=6).to_json()
    assert found["verdict"] == expected.verdict
    routes = found["routes"]
    assert expected.says in routes["rests_on"] + "; ".join(
        f"{each['subject']}: {each['why']}" for each in routes["doubts"]
    )
