"""The testbed's networks other than Calico: each leads to Pods of other nodes in its own way.

chaosext testbed up --network macvlan --name macvlan
CHAOSEXT_TESTBED=macvlan pytest tests/kind/test_other_networks.py
"""

import ipaddress
import json

import pytest

from .bed_network import docker, kubectl, pod_on, status_of, way, workers_of

NETWORKS = ("flannel", "kube-router", "macvlan")

pytestmark = pytest.mark.kind


@pytest.fixture(scope="module")
def status():
    return status_of(NETWORKS)


@pytest.fixture(scope="module")
def network(status):
    return status["record"]["network"]


@pytest.fixture(scope="module")
def nodes(status):
    return {node["name"]: node["ipv4"] for node in status["nodes"]}


@pytest.fixture(scope="module")
def workers(status):
    return workers_of(status)


def test_it_is_steady_and_expects_no_session_of_the_leaf(status):
    assert status["missing"] == []
    assert {node["bgp"] for node in status["nodes"]} == {"none by design"}


def test_pods_of_other_workers_are_reached_in_the_networks_own_way(network, nodes, workers):
    one, other = workers[:2]
    gateway, device = way(one, pod_on(other))

    if network == "flannel":
        assert device == "flannel.1"
    else:
        assert (gateway, device) == (nodes[other] if network == "kube-router" else None, "eth0")


def test_kube_router_has_a_session_between_all_nodes(network, nodes):
    if network != "kube-router":
        pytest.skip("no BGP")
    found = json.loads(kubectl("get", "pods", "-nkube-system", "-lk8s-app=kube-router", "-ojson"))["items"]
    for pod in found:
        said = kubectl("-nkube-system", "exec", pod["metadata"]["name"], "--", "gobgp", "neighbor", "-j")
        peers = {
            each["state"]["neighbor_address"]: each["state"]["session_state"] for each in json.loads(said)
        }
        own = nodes[pod["spec"]["nodeName"]]
        assert peers == {ip: 6 for ip in nodes.values() if ip != own}  # 6: ESTABLISHED (GoBGP's API)


def test_macvlan_pods_are_hosts_of_the_fabric(network, nodes, workers):
    if network != "macvlan":
        pytest.skip("Pods have no addresses of the fabric")
    one = workers[0]
    (address,) = json.loads(docker(one, "ip", "-json", "-4", "address", "show", "dev", "eth0"))
    (own,) = [each for each in address["addr_info"] if each["local"] == nodes[one]]
    fabric = ipaddress.ip_network(f"{own['local']}/{own['prefixlen']}", strict=False)

    assert all(ipaddress.ip_address(pod_on(worker)) in fabric for worker in workers)
    assert way(one, pod_on(one)) == (None, "fabric0")
