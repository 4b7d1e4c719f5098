"""The testbed's networks other than Calico: each leads to Pods of other nodes in its own way.

chaosext testbed up --network macvlan --name macvlan
CHAOSEXT_TESTBED=macvlan pytest tests/kind/test_other_networks.py
"""

import ipaddress
import json
import os
import subprocess
import sys

import pytest

NAME = os.environ.get("CHAOSEXT_TESTBED", "chaosext")
NETWORKS = ("flannel", "kube-router", "macvlan")

pytestmark = pytest.mark.kind


def command(*words):
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def docker(container, *words):
    return command("docker", "exec", container, *words).stdout


def kubectl(*words):
    return docker(f"{NAME}-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *words)


@pytest.fixture(scope="module")
def status():
    shown = command(sys.executable, "-m", "chaosext", "testbed", "status", f"--name={NAME}", "--json")
    if shown.returncode not in (0, 10):
        pytest.skip(f"no testbed {NAME} (chaosext testbed up): {shown.stderr.strip()}")
    found = json.loads(shown.stdout)
    if found["record"].get("network") not in NETWORKS:
        pytest.skip(f"testbed {NAME} has none of {', '.join(NETWORKS)}")
    return found


@pytest.fixture(scope="module")
def network(status):
    return status["record"]["network"]


@pytest.fixture(scope="module")
def nodes(status):
    return {node["name"]: node["ipv4"] for node in status["nodes"]}


@pytest.fixture(scope="module")
def workers(status):
    return [node["name"] for node in status["nodes"] if node["role"] == "worker"]


def pod_on(node):
    """Return the address of a Pod on a node."""
    pods = json.loads(kubectl("get", "pods", "-A", f"--field-selector=spec.nodeName={node}", "-ojson"))
    return next(
        each["status"]["podIP"]
        for each in pods["items"]
        if not each["spec"].get("hostNetwork") and each["status"].get("podIP")
    )


def way(node, address):
    """Return the next hop (or None) and the device on the way from a node to an address."""
    (found,) = json.loads(docker(node, "ip", "-json", "route", "get", address))
    return found.get("gateway"), found["dev"]


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
