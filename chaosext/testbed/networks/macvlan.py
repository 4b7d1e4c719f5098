"""macvlan: Pods are hosts of the fabric, with addresses of kind's network and the leaf as their gateway.

Each node assigns the addresses of one /24 in the upper half of kind's network, which Docker fills from below; the
node's own address selects it, so that several testbeds share the network. A macvlan device can't talk to the
interface below it, so each node has a macvlan device of its own, `fabric0`, with the first address of its /24: Pods
reach Services and their node through it, and kubelet's probes reach Pods. kube-proxy masquerades Service traffic
of Pods, as their addresses are outside the cluster's Pod subnet, so that replies return through the node.

Traffic between Pods passes no node: it is switched by the fabric. Pure.
"""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.testbed.containers import KIND_NETWORK, at_every_start
from chaosext.testbed.networks.network_setup import NetworkInputs, NetworkSetup

if TYPE_CHECKING:
    from chaosext.testbed.containers import NodeContainer
    from chaosext.testbed.kubectl import Manifest

UPLINK = "eth0"
"""A node's interface in kind's network."""
DEVICE = "fabric0"
UNIT = "chaosext-fabric.service"
CONFLIST = "/etc/cni/net.d/10-fabric.conflist"
RANGE_LENGTH = 24
LINK_LOCAL = "169.254.0.0/16"
"""Addresses that a node-local DNS cache listens on: only the own node has them."""


def pod_range(node_ip: str, prefix_length: int) -> ipaddress.IPv4Network:
    """Return the /24 of a node's Pods: number N of the upper half for the Nth address of the network.

    Raises `Refused` if the network is too small.
    """
    address = ipaddress.IPv4Address(node_ip)
    network = ipaddress.IPv4Network(f"{node_ip}/{prefix_length}", strict=False)
    number = int(address) - int(network.network_address)
    first = int(network.network_address) + network.num_addresses // 2
    begin = first + number * 2 ** (32 - RANGE_LENGTH)
    if begin > int(network.broadcast_address):
        raise Refused(
            f"Docker's network {KIND_NETWORK} ({network}) has no /{RANGE_LENGTH} for the Pods of {node_ip}",
            f"remove it (`docker network rm {KIND_NETWORK}`): kind creates one with a /16",
        )
    return ipaddress.IPv4Network((begin, RANGE_LENGTH))


def cni_configuration(inputs: NetworkInputs, node: NodeContainer) -> Manifest:
    """Return the node's CNI configuration."""
    network = ipaddress.IPv4Network(f"{node.ipv4}/{node.prefix_length}", strict=False)
    own = pod_range(node.ipv4, node.prefix_length)
    by_node = [inputs.service_subnet, f"{node.ipv4}/32", LINK_LOCAL]
    addresses = {
        "subnet": str(network),
        "rangeStart": str(own[2]),
        "rangeEnd": str(own[-2]),
        "gateway": inputs.leaf_ip,
    }
    routes = [{"dst": "0.0.0.0/0"}, *({"dst": each, "gw": str(own[1])} for each in by_node)]
    ipam = {"type": "host-local", "ranges": [[addresses]], "routes": routes}
    plugin = {"type": "macvlan", "master": UPLINK, "mode": "bridge", "ipam": ipam}
    return {"cniVersion": "1.0.0", "name": "fabric", "plugins": [plugin]}


def device_script(own: ipaddress.IPv4Network) -> str:
    """Return a bash script that makes a node's macvlan device, with the first address of the Pods' range `own`.

    Only the interface that has an address answers ARP requests for it (`arp_ignore`), and names it in its own
    (`arp_announce`): others would lead traffic of the node's uplink to the macvlan device, past a cut. Without
    redirects, Pods keep using the node for Services.
    """
    return f"""\
#!/bin/bash
set -eu
ip link show {DEVICE} >/dev/null 2>&1 || ip link add {DEVICE} link {UPLINK} type macvlan mode bridge
for name in {UPLINK} {DEVICE}; do
  echo 1 > /proc/sys/net/ipv4/conf/$name/arp_ignore
  echo 2 > /proc/sys/net/ipv4/conf/$name/arp_announce
done
for name in all {UPLINK} {DEVICE}; do echo 0 > /proc/sys/net/ipv4/conf/$name/send_redirects; done
echo 1 > /proc/sys/net/ipv6/conf/{DEVICE}/disable_ipv6
ip address replace {own[1]}/32 dev {DEVICE}
ip link set {DEVICE} up
ip route replace {own} dev {DEVICE} src {own[1]}
"""


def fabric_script(inputs: NetworkInputs, node: NodeContainer) -> str:
    """Return a bash script that writes the node's CNI configuration and makes its own macvlan device.

    A systemd unit makes the device again at every start.
    """
    device = device_script(pod_range(node.ipv4, node.prefix_length))
    conflist = json.dumps(cni_configuration(inputs, node), indent=2)
    unit = at_every_start(
        UNIT,
        description="The node's own device in the Pods' fabric",
        command="/usr/local/bin/chaosext-fabric",
    )
    return f"""\
cat > /usr/local/bin/chaosext-fabric <<'SCRIPT'
{device}SCRIPT
chmod 0755 /usr/local/bin/chaosext-fabric
{unit}cat > {CONFLIST} <<'CONFLIST'
{conflist}
CONFLIST
"""


def _nothing(_inputs: NetworkInputs) -> tuple[tuple[Manifest, ...], ...]:
    return ()


MACVLAN = NetworkSetup(
    batches=_nothing,
    agent=None,
    node_script=fabric_script,
    plugins=("macvlan",),
    cni_is_usable=f"test -s {CONFLIST}",
)
"""Fabric addresses: no node needs a route to reach a Pod, so a lost control plane only stops scheduling."""
