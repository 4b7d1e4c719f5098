"""The testbed's Calico networks other than the incident's: each routes Pods in its own way, and says so.

chaosext testbed up --network calico-racks --name racks
CHAOSEXT_TESTBED=racks pytest tests/kind/test_calico_networks.py
"""

import ipaddress
import json

import pytest

from .bed_network import NAME, command, docker, kubectl, pod_on, status_of, way, workers_of

NETWORKS = ("calico-mesh", "calico-racks", "calico-reflectors", "calico-vxlan")

TIMED_OUT = 124
"""Exit code of coreutils' `timeout`."""

pytestmark = pytest.mark.kind


@pytest.fixture(scope="module")
def status():
    return status_of(NETWORKS)


@pytest.fixture(scope="module")
def network(status):
    return status["record"]["network"]


@pytest.fixture(scope="module")
def workers(status):
    return workers_of(status)


def test_it_is_steady_and_names_the_sessions_that_it_expects(status, network):
    states = {node["role"]: node["bgp"] for node in status["nodes"]}

    assert status["missing"] == []
    assert states["worker"] == ("none by design" if network == "calico-vxlan" else "Established")
    by_design = network in ("calico-racks", "calico-vxlan")
    assert states["control-plane"] == ("none by design" if by_design else "Established")


def test_pods_of_other_workers_are_reached_in_the_networks_own_way(status, network, workers):
    addresses = {node["name"]: node["ipv4"] for node in status["nodes"]}
    one, other = workers[:2]
    gateway, device = way(one, pod_on(other))

    if network == "calico-vxlan":
        assert device == "vxlan.calico"
    elif network == "calico-racks":
        assert (gateway, device) == (status["leaf_ip"], "eth0")
    else:
        assert (gateway, device) == (addresses[other], "eth0")
    connect = f"echo > /dev/tcp/{pod_on(other)}/1"  # a refused connection proves the way as well
    assert command("docker", "exec", one, "timeout", "3", "bash", "-c", connect).returncode != TIMED_OUT


def test_only_networks_with_sessions_of_control_plane_nodes_announce_their_pods(network, workers):
    listed = json.loads(kubectl("get", "blockaffinities.crd.projectcalico.org", "-ojson"))["items"]
    own = [
        ipaddress.ip_network(each["spec"]["cidr"])
        for each in listed
        if each["spec"]["node"] == f"{NAME}-control-plane"
    ]
    if not own:
        pytest.skip("no Pod of the control-plane node has had an address yet")
    routes = {
        docker(worker, "ip", "route", "list", "exact", str(block)) for worker in workers for block in own
    }

    assert all(routes) is (network != "calico-racks")


def test_vxlan_runs_no_bird(network, workers):
    running = docker(workers[0], "pgrep", "--list-name", "bird")

    assert bool(running.strip()) is (network != "calico-vxlan")
