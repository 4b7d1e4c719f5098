"""Networks other than Calico: upstream's manifests with the testbed's images, and macvlan's own configuration."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network

import pytest
from bed_images import IMAGES
from hypothesis import given
from hypothesis import strategies as st

from chaosext.model.errors import Refused
from chaosext.testbed.bed_choices import PodNetwork
from chaosext.testbed.containers import NodeContainer
from chaosext.testbed.networks import flannel_vxlan, kube_router_mesh, macvlan
from chaosext.testbed.networks.catalogue import NETWORKS
from chaosext.testbed.networks.network_setup import NetworkInputs

FLANNEL = """
kind: ConfigMap
apiVersion: v1
metadata: {name: kube-flannel-cfg, namespace: kube-flannel}
data:
  cni-conf.json: '{"name": "cbr0"}'
  net-conf.json: '{"Network": "10.244.0.0/16", "EnableNFTables": false, "Backend": {"Type": "vxlan"}}'
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-flannel-ds, namespace: kube-flannel}
spec:
  template:
    spec:
      initContainers:
      - {name: install-cni-plugin, image: a}
      - {name: install-cni, image: b}
      containers:
      - {name: kube-flannel, image: b, args: [--ip-masq], resources: {requests: {cpu: 100m}}}
"""
KUBE_ROUTER = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-router, namespace: kube-system}
spec:
  template:
    spec:
      initContainers:
      - {name: install-cni, image: a, imagePullPolicy: Always}
      containers:
      - name: kube-router
        image: a
        imagePullPolicy: Always
        args: [--run-router=true, --run-firewall=true, --run-service-proxy=false, --bgp-graceful-restart=true]
"""


def node(ipv4: str = "172.18.0.4", *, prefix_length: int = 16, name: str = "bed-worker") -> NodeContainer:
    return NodeContainer(
        name=name,
        role="worker",
        running=True,
        image="node:1",
        ipv4=ipv4,
        prefix_length=prefix_length,
        on_kind_network=True,
        labels={},
    )


def inputs(*nodes: NodeContainer) -> NetworkInputs:
    return NetworkInputs(
        pod_subnet="10.9.0.0/16",
        service_subnet="10.2.112.0/20",
        nodes=nodes,
        leaf_ips=("172.18.0.5",),
        api_host="bed-control-plane",
        images=IMAGES,
    )


def containers_of(objects: tuple[dict, ...]) -> list[dict]:
    (pod,) = [each["spec"]["template"]["spec"] for each in objects if each["kind"] == "DaemonSet"]
    return [*pod["initContainers"], *pod["containers"]]


@pytest.mark.parametrize("network", PodNetwork)
def test_every_network_of_the_option_is_in_the_catalogue(network: PodNetwork) -> None:
    assert network in NETWORKS


class TestFlannel:
    objects = flannel_vxlan.flannel_objects(
        FLANNEL, pod_subnet="10.9.0.0/16", image="flannel:1", cni_image="cni:1"
    )

    def test_its_network_is_the_clusters_pod_subnet_and_the_backend_stays_upstreams(self) -> None:
        (config,) = [each for each in self.objects if each["kind"] == "ConfigMap"]
        found = json.loads(config["data"]["net-conf.json"])
        assert found["Network"] == "10.9.0.0/16"
        assert found["Backend"] == {"Type": "vxlan"}

    def test_no_image_is_pulled(self) -> None:
        found = containers_of(self.objects)
        assert [each["image"] for each in found] == ["cni:1", "flannel:1", "flannel:1"]
        assert {each["imagePullPolicy"] for each in found} == {"IfNotPresent"}


class TestKubeRouter:
    objects = kube_router_mesh.kube_router_objects(KUBE_ROUTER, image="router:1")

    def test_firewall_and_service_proxy_are_off_and_the_rest_stays_upstreams(self) -> None:
        assert containers_of(self.objects)[-1]["args"] == [
            "--run-router=true",
            "--run-firewall=false",
            "--run-service-proxy=false",
            "--bgp-graceful-restart=true",
        ]

    def test_no_image_is_pulled(self) -> None:
        found = containers_of(self.objects)
        assert {each["image"] for each in found} == {"router:1"}
        assert {each["imagePullPolicy"] for each in found} == {"IfNotPresent"}


class TestMacvlan:
    def test_pods_are_in_the_fabric_with_the_leaf_as_gateway(self) -> None:
        (plugin,) = macvlan.cni_configuration(inputs(), node())["plugins"]
        assert (plugin["type"], plugin["master"], plugin["mode"]) == ("macvlan", "eth0", "bridge")
        assert plugin["ipam"]["ranges"] == [
            [
                {
                    "subnet": "172.18.0.0/16",
                    "rangeStart": "172.18.132.2",
                    "rangeEnd": "172.18.132.254",
                    "gateway": "172.18.0.5",
                }
            ]
        ]

    def test_services_and_the_own_node_are_reached_through_the_nodes_device(self) -> None:
        (plugin,) = macvlan.cni_configuration(inputs(), node())["plugins"]
        assert plugin["ipam"]["routes"] == [
            {"dst": "0.0.0.0/0"},
            {"dst": "10.2.112.0/20", "gw": "172.18.132.1"},
            {"dst": "172.18.0.4/32", "gw": "172.18.132.1"},
            {"dst": "169.254.0.0/16", "gw": "172.18.132.1"},
        ]

    def test_script_holds_the_configuration_and_the_route_to_the_nodes_pods(self) -> None:
        script = macvlan.fabric_script(inputs(), node())
        assert "ip route replace 172.18.132.0/24 dev fabric0 src 172.18.132.1\n" in script
        written = script.split("<<'CONFLIST'\n")[1].removesuffix("CONFLIST\n")
        assert json.loads(written) == macvlan.cni_configuration(inputs(), node())

    @given(
        prefix_length=st.integers(8, 20),
        first=st.integers(2, 100),
        second=st.integers(2, 100),
    )
    def test_ranges_of_two_nodes_differ_and_hold_no_address_that_docker_gives_out_soon(
        self, prefix_length: int, first: int, second: int
    ) -> None:
        network = IPv4Network("172.16.0.0/12" if prefix_length >= 12 else "10.0.0.0/8")
        base = int(network.network_address)
        try:
            one, other = (
                macvlan.pod_range(str(IPv4Address(base + each)), prefix_length) for each in (first, second)
            )
        except Refused:
            assert prefix_length > 16
            return
        assert (one == other) == (first == second)
        assert int(one.network_address) - base >= 2 ** (32 - prefix_length) // 2
        assert one.subnet_of(IPv4Network((base, prefix_length)))

    def test_small_network_is_refused_with_the_fix(self) -> None:
        with pytest.raises(Refused, match=r"kind \(172.18.0.0/24\) has no /24") as refusal:
            macvlan.pod_range("172.18.0.4", 24)
        assert "docker network rm kind" in refusal.value.fix
