"""The testbed's macvlan fabric on a real kernel: two nodes and a leaf on a switch, and three Pods.

Pods, nodes and the leaf reach each other, Services answer through the node, and a node's address leads to its uplink
only: a cut there must not be bypassed by the macvlan device beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from bed_images import IMAGES
from children import die_with_parent
from probe_lab import needs_namespaces

from chaosext.testbed.containers import NodeContainer
from chaosext.testbed.networks import macvlan
from chaosext.testbed.networks.network_setup import NetworkInputs

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, needs_namespaces]

LEAF, ONE, TWO = "172.30.0.5", "172.30.0.3", "172.30.0.4"
NODES = {"one": ONE, "two": TWO}
PODS = {"a": ("one", "172.30.131.2"), "b": ("one", "172.30.131.3"), "c": ("two", "172.30.132.2")}
OWN = {"one": "172.30.131.1", "two": "172.30.132.1"}
PORT = 8053

SERVICES = {
    "10.2.112.10": PODS["c"][1],
    "10.2.112.11": PODS["b"][1],
    "10.2.112.12": PODS["a"][1],
    "10.2.112.1": TWO,
}
"""Services as kube-proxy makes them on node `one` -> their only endpoint; the last two of Pod `a` and of a node."""

SERVER = f"""
import socket
server = socket.create_server(("", {PORT}))
print("serving", flush=True)
while True:
    connection, peer = server.accept()
    connection.sendall(peer[0].encode())
    connection.close()
"""
CLIENT = """
import socket, sys
print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).recv(99).decode())
"""


def run(*argv: str, stdin: str = "") -> str:
    return subprocess.run(argv, input=stdin, text=True, check=True, timeout=20, stdout=subprocess.PIPE).stdout


@dataclass(frozen=True, slots=True)
class Fabric:
    """The namespaces' names begin with `tag`."""

    tag: str

    def ip(self, name: str, *words: str) -> str:
        return run("ip", "-n", f"{self.tag}{name}", *words)

    def inside(self, name: str, *argv: str, stdin: str = "") -> str:
        return run("ip", "netns", "exec", f"{self.tag}{name}", *argv, stdin=stdin)

    def seen_as(self, client: str, address: str) -> str:
        """The client's address as the server at `address` sees it."""
        return self.inside(client, sys.executable, "-c", CLIENT, address, str(PORT)).strip()


def configuration(node: str) -> dict:
    """The node's CNI plugin, as `testbed up` configures it."""
    container = NodeContainer(
        name=node,
        role="worker",
        running=True,
        image="",
        ipv4=NODES[node],
        prefix_length=16,
        on_kind_network=True,
        labels={},
    )
    inputs = NetworkInputs(
        pod_subnet="10.244.0.0/16",
        service_subnet="10.2.112.0/20",
        nodes=(container,),
        leaf_ips=(LEAF,),
        api_host="",
        images=IMAGES,
    )
    return macvlan.cni_configuration(inputs, container)["plugins"][0]["ipam"]


def wire(fabric: Fabric) -> None:
    fabric.ip("switch", "link", "add", "br0", "type", "bridge")
    fabric.ip("switch", "link", "set", "br0", "up")
    for name, address in {**NODES, "leaf": LEAF}.items():
        peer = f"{fabric.tag}{name}"
        fabric.ip("switch", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", peer)
        fabric.ip("switch", "link", "set", name, "master", "br0", "up")
        fabric.ip(name, "address", "add", f"{address}/16", "dev", "eth0")
        fabric.ip(name, "link", "set", "eth0", "up")
    for name, address in NODES.items():
        fabric.inside(name, "bash", "-s", stdin=macvlan.device_script(macvlan.pod_range(address, 16)))
        fabric.inside(name, "bash", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    for name, (node, address) in PODS.items():
        pod(fabric, name, node, address)
    fabric.inside("one", "nft", "-f", "-", stdin=kube_proxy())


def pod(fabric: Fabric, name: str, node: str, address: str) -> None:
    """Do what the CNI plugins macvlan and host-local do with the configuration."""
    ipam = configuration(node)
    link = ["link", "add", f"pod-{name}", "link", "eth0", "type", "macvlan", "mode", "bridge"]
    fabric.ip(node, *link)
    fabric.ip(node, "link", "set", f"pod-{name}", "netns", f"{fabric.tag}{name}", "name", "eth0")
    fabric.ip(name, "address", "add", f"{address}/16", "dev", "eth0")
    fabric.ip(name, "link", "set", "eth0", "up")
    for route in ipam["routes"]:
        gateway = route.get("gw", ipam["ranges"][0][0]["gateway"])
        fabric.ip(name, "route", "add", route["dst"], "via", gateway)


def kube_proxy() -> str:
    """Translate Services, and masquerade their clients, which are outside of the cluster's Pod subnet."""
    rules = "\n".join(
        f"ip daddr {service} tcp dport {PORT} dnat to {end}" for service, end in SERVICES.items()
    )
    return f"""\
table ip proxy {{
  chain pre {{
    type nat hook prerouting priority -100
    {rules}
  }}
  chain post {{
    type nat hook postrouting priority 100
    ct status dnat masquerade
  }}
}}
"""


@contextmanager
def serving(fabric: Fabric, names: tuple[str, ...]) -> Iterator[None]:
    argv = [["ip", "netns", "exec", f"{fabric.tag}{name}", sys.executable, "-c", SERVER] for name in names]
    servers = [
        subprocess.Popen(each, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent) for each in argv
    ]
    try:
        for server in servers:
            assert server.stdout is not None
            assert server.stdout.readline() == "serving\n"
        yield
    finally:
        for server in servers:
            server.kill()
            server.communicate()


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    made = Fabric(tag=f"cxmac{os.getpid() % 100000}-")
    names = ("switch", "leaf", *NODES, *PODS)
    try:
        for name in names:
            run("ip", "netns", "add", f"{made.tag}{name}")
            made.ip(name, "link", "set", "lo", "up")
        wire(made)
        with serving(made, (*NODES, *PODS, "leaf")):
            yield made
    finally:
        for name in names:
            argv = ["ip", "netns", "del", f"{made.tag}{name}"]
            subprocess.run(argv, check=False, timeout=10, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize(("client", "own"), [("a", "172.30.131.2"), ("c", "172.30.132.2"), ("leaf", LEAF)])
@pytest.mark.parametrize("server", PODS)
def test_pods_are_reached_directly(fabric: Fabric, client: str, own: str, server: str) -> None:
    assert fabric.seen_as(client, PODS[server][1]) == own


@pytest.mark.parametrize("server", PODS)
def test_a_node_reaches_its_pods_from_its_own_device_and_others_from_its_uplink(
    fabric: Fabric, server: str
) -> None:
    node, address = PODS[server]
    assert fabric.seen_as("one", address) == (OWN["one"] if node == "one" else ONE)


@pytest.mark.parametrize("node", NODES)
def test_pods_reach_every_node(fabric: Fabric, node: str) -> None:
    assert fabric.seen_as("a", NODES[node]) == "172.30.131.2"


@pytest.mark.parametrize("service", SERVICES)
def test_services_answer_through_the_node(fabric: Fabric, service: str) -> None:
    is_here = SERVICES[service].startswith("172.30.131.")
    assert fabric.seen_as("a", service) == (OWN["one"] if is_here else ONE)


def test_a_nodes_address_leads_to_its_uplink_only(fabric: Fabric) -> None:
    """Even after its device beside the uplink has talked to everybody."""
    (link,) = json.loads(fabric.ip("one", "-json", "link", "show", "eth0"))
    fabric.seen_as("one", PODS["a"][1])
    for other in ("two", "c", "leaf"):
        fabric.seen_as(other, ONE)
        known = json.loads(fabric.ip(other, "-json", "neighbour", "show", ONE))
        assert {each["lladdr"] for each in known} == {link["address"]}
