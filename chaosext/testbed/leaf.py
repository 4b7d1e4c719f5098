"""The leafs: containers with FRR on kind's network that are the BGP route reflectors of their nodes.

The first one is created before the cluster and removed after it. Its labels carry the testbed's record, by which a
later `up`, `status` or `down` recognizes the testbed; no other state is stored. Networks without BGP have it, too.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.nodes.frr import Peer, parse_summary
from chaosext.testbed.commands import CommandFailed
from chaosext.testbed.containers import (
    KIND_NETWORK,
    NodeContainer,
    at_every_start,
    docker,
    find_container,
    labelled,
    network_exists,
    node_script,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

TESTBED_LABEL = "chaosext.testbed"
RECORD_LABEL = "chaosext.testbed.record"
NETWORK_MADE_LABEL = "chaosext.testbed.made-network"
FURTHER_LABEL = "chaosext.testbed.further-leaf"
"""Label of leafs after the first; its value is the leaf's index."""

AS_NUMBER = 64512
"""Calico's default AS (BGPConfiguration asNumber), which the leaf uses as well: the sessions are iBGP."""

DAEMONS = """\
bgpd=yes
vtysh_enable=yes
zebra_options="  -A 127.0.0.1"
bgpd_options="  -A 127.0.0.1"
"""
"""/etc/frr/daemons: runs bgpd (zebra always runs); both listen on loopback only."""

CREATE_FLAGS = (
    "--privileged",
    "--restart=unless-stopped",
    "--sysctl=net.ipv4.ip_forward=1",
    "--mount=type=tmpfs,destination=/run/frr,tmpfs-mode=1777",  # FRR's sockets and pid files
)

NO_REDIRECTS = """\
for interface in /proc/sys/net/ipv4/conf/*; do echo 0 > "$interface/send_redirects"; done
"""
"""ICMP redirects would make the nodes bypass the leaf."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafPlan:
    """One leaf: its AS, and the addresses of the nodes that it peers with (iBGP, as their route reflector).

    `first_leaf` is the address of the first leaf, with which a further one peers (eBGP); "" for the first one itself,
    which accepts such sessions unless it `is_only`.
    """

    index: int = 0
    as_number: int = AS_NUMBER
    nodes: tuple[str, ...]
    pod_subnet: str
    first_leaf: str = ""
    is_only: bool = True


BETWEEN_LEAFS = """\
 no bgp ebgp-requires-policy
 neighbor leafs peer-group
 neighbor leafs remote-as external
 neighbor leafs timers connect 2
"""
ROUTES_BETWEEN_LEAFS = """\
  neighbor workers next-hop-self
  neighbor leafs activate
  neighbor leafs next-hop-self
"""
"""All addresses are in one subnet, where FRR would name a route's origin as its next hop, and bypass the leafs."""


def leaf_name(cluster: str, index: int = 0) -> str:
    """Return a leaf container's name: NAME-leaf, NAME-leaf2 and so on, as kind names nodes."""
    return f"{cluster}-leaf{index + 1 if index else ''}"


def frr_config(plan: LeafPlan) -> str:
    """Return /etc/frr/frr.conf: iBGP with every node, and reflection of their routes with the next hop unchanged.

    Nodes of one leaf then reach each other's Pods directly, those of different leafs through both leafs. The leaf
    reaches all Pods on its nodes. Traffic to Pod addresses without a BGP route is dropped silently, so that clients
    time out.
    """
    neighbors = "".join(f" neighbor {ip} peer-group workers\n" for ip in sorted(plan.nodes))
    leafs, leaf_routes = ("", "") if plan.is_only else (BETWEEN_LEAFS, ROUTES_BETWEEN_LEAFS)
    if plan.first_leaf:
        leafs += f" neighbor {plan.first_leaf} peer-group leafs\n"
    elif leafs:
        leafs += " bgp listen range 0.0.0.0/0 peer-group leafs\n"
    return f"""\
frr defaults datacenter
hostname leaf
log stdout informational
!
ip route {plan.pod_subnet} blackhole
!
router bgp {plan.as_number}
 bgp log-neighbor-changes
 neighbor workers peer-group
 neighbor workers remote-as {plan.as_number}
 neighbor workers timers connect 2
{neighbors}{leafs} !
 address-family ipv4 unicast
  neighbor workers activate
  neighbor workers route-reflector-client
{leaf_routes} exit-address-family
!
"""


def make_leaf(cluster: str, image: str, record: Mapping[str, str]) -> None:
    """Create the first leaf's container with the testbed's record, but do not start it. Raises `CommandFailed`."""
    labels = {RECORD_LABEL: json.dumps(dict(record)), NETWORK_MADE_LABEL: "no" if network_exists() else "yes"}
    _create(cluster, 0, image, labels)


def _create(cluster: str, index: int, image: str, labels: Mapping[str, str]) -> None:
    """Create a leaf's container.

    It is first on Docker's default network, because kind creates its own only with the first node.
    """
    every = {TESTBED_LABEL: cluster, **labels}
    flags = [word for name, value in every.items() for word in ("--label", f"{name}={value}")]
    name = leaf_name(cluster, index)
    docker("create", "--name", name, "--hostname", name, *CREATE_FLAGS, *flags, image)


def further_leafs(cluster: str) -> tuple[NodeContainer, ...]:
    """Return the containers of leafs after the first, running or not. Raises `CommandFailed`."""
    return labelled(f"{TESTBED_LABEL}={cluster}", FURTHER_LABEL)


def recorded(leaf: NodeContainer) -> dict[str, str] | None:
    """Return the record on a leaf container, or None if it is not a leaf of chaosext."""
    if TESTBED_LABEL not in leaf.labels:
        return None
    return dict(json.loads(leaf.labels.get(RECORD_LABEL) or "{}"))


def made_network(leaf: NodeContainer) -> bool:
    """Return whether kind's network did not exist before this testbed."""
    return leaf.labels.get(NETWORK_MADE_LABEL) == "yes"


def start_leaf(cluster: str, plan: LeafPlan, image: str) -> str:
    """Attach a leaf to kind's network and run it as planned; one after the first is created from `image` if need be.

    Idempotent. Returns the leaf's address. Raises `CommandFailed`.
    """
    name, config = leaf_name(cluster, plan.index), frr_config(plan)
    if plan.index and find_container(name) is None:
        _create(cluster, plan.index, image, {FURTHER_LABEL: str(plan.index)})
    leaf = _on_kind_network(name)
    if not leaf.running:
        _copy_config(name, config)
        docker("start", name)
    elif docker("exec", name, "cat", "/etc/frr/frr.conf") != config:
        _copy_config(name, config)
        docker("restart", "--time", "1", name)
    node_script(name, NO_REDIRECTS)
    return _found(name).ipv4


def sessions(cluster: str, index: int = 0) -> dict[str, Peer]:
    """Return a leaf's BGP sessions by neighbor address; {} if FRR does not answer."""
    question = ("vtysh", "-c", "show bgp ipv4 unicast summary json")
    try:
        said = docker("exec", leaf_name(cluster, index), *question, timeout_s=10)
        return {each.ip: each for each in parse_summary(said)}
    except (CommandFailed, ValueError):
        return {}


def _on_kind_network(name: str) -> NodeContainer:
    leaf = _found(name)
    if not leaf.on_kind_network:
        docker("network", "connect", KIND_NETWORK, name)
        docker("network", "disconnect", "bridge", name)
    return leaf


def _found(name: str) -> NodeContainer:
    leaf = find_container(name)
    if leaf is None:
        raise CommandFailed(
            f"container {name} does not exist", "run `chaosext testbed down`, then `up` again"
        )
    return leaf


def _copy_config(name: str, config: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for file, text in {"frr.conf": config, "daemons": DAEMONS}.items():
            path = Path(directory, file)
            path.write_text(text)
            path.chmod(0o644)
        docker("cp", f"{directory}/.", f"{name}:/etc/frr/")


UNIT = "chaosext-pod-route.service"


def route_script(*, pod_subnet: str, leaf_ip: str) -> str:
    """Return a bash script that sets a node's route to the Pods now and, by a systemd unit, at every start.

    The route has `proto kernel`, because BIRD learns any other foreign route and would advertise it (BIRD
    1.6, "kernel: learn").
    """
    return at_every_start(
        UNIT,
        description="Route to the Pod network through the leaf",
        command=f"ip route replace {pod_subnet} via {leaf_ip} proto kernel",
    )
