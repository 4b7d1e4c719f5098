"""The leaf: a container with FRR on kind's network that is the workers' BGP route reflector.

It is created before the cluster and removed after it. Its labels carry the testbed's record, by which a later
`up`, `status` or `down` recognizes the testbed; no other state is stored.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.nodes.frr import Peer, parse_summary
from chaosext.testbed.commands import CommandFailed
from chaosext.testbed.containers import (
    KIND_NETWORK,
    NodeContainer,
    docker,
    find_container,
    network_exists,
    node_script,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TESTBED_LABEL = "chaosext.testbed"
RECORD_LABEL = "chaosext.testbed.record"
NETWORK_MADE_LABEL = "chaosext.testbed.made-network"

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


def leaf_name(cluster: str) -> str:
    """Return the leaf container's name."""
    return f"{cluster}-leaf"


def frr_config(workers: Iterable[str], pod_subnet: str) -> str:
    """Return /etc/frr/frr.conf: iBGP with every worker, and reflection of their routes with the next hop unchanged.

    Workers then reach each other's Pods directly, and the leaf reaches all Pods on workers. Traffic to Pod
    addresses without a BGP route is dropped silently, so that clients time out.
    """
    neighbours = "\n".join(f" neighbor {ip} peer-group workers" for ip in sorted(workers))
    return f"""\
frr defaults datacenter
hostname leaf
log stdout informational
!
ip route {pod_subnet} blackhole
!
router bgp {AS_NUMBER}
 bgp log-neighbor-changes
 neighbor workers peer-group
 neighbor workers remote-as {AS_NUMBER}
 neighbor workers timers connect 2
{neighbours}
 !
 address-family ipv4 unicast
  neighbor workers activate
  neighbor workers route-reflector-client
 exit-address-family
!
"""


def make_leaf(cluster: str, image: str, record: Mapping[str, str]) -> None:
    """Create the leaf container with the testbed's record, but do not start it. Raises `CommandFailed`.

    It is first on Docker's default network, because kind creates its own only with the first node.
    """
    labels = {
        TESTBED_LABEL: cluster,
        RECORD_LABEL: json.dumps(dict(record)),
        NETWORK_MADE_LABEL: "no" if network_exists() else "yes",
    }
    flags = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    name = leaf_name(cluster)
    docker("create", "--name", name, "--hostname", name, *CREATE_FLAGS, *flags, image)


def recorded(leaf: NodeContainer) -> dict[str, str] | None:
    """Return the record on a leaf container, or None if it is not a leaf of chaosext."""
    if TESTBED_LABEL not in leaf.labels:
        return None
    return dict(json.loads(leaf.labels.get(RECORD_LABEL) or "{}"))


def made_network(leaf: NodeContainer) -> bool:
    """Return whether kind's network did not exist before this testbed."""
    return leaf.labels.get(NETWORK_MADE_LABEL) == "yes"


def start_leaf(cluster: str, workers: Iterable[str], pod_subnet: str) -> str:
    """Attach the leaf to kind's network and run it with a BGP session for each of the `workers`' addresses.

    Idempotent. Returns the leaf's address. Raises `CommandFailed`.
    """
    leaf, config = _on_kind_network(cluster), frr_config(workers, pod_subnet)
    if not leaf.running:
        _copy_config(leaf.name, config)
        docker("start", leaf.name)
    elif docker("exec", leaf.name, "cat", "/etc/frr/frr.conf") != config:
        _copy_config(leaf.name, config)
        docker("restart", "--time", "1", leaf.name)
    node_script(leaf.name, NO_REDIRECTS)
    return _found(cluster).ipv4


def sessions(cluster: str) -> dict[str, Peer]:
    """Return the leaf's BGP sessions by neighbor address; {} if FRR does not answer."""
    question = ("vtysh", "-c", "show bgp ipv4 unicast summary json")
    try:
        said = docker("exec", leaf_name(cluster), *question, timeout_s=10)
        return {each.ip: each for each in parse_summary(said)}
    except (CommandFailed, ValueError):
        return {}


def _on_kind_network(cluster: str) -> NodeContainer:
    leaf = _found(cluster)
    if not leaf.on_kind_network:
        docker("network", "connect", KIND_NETWORK, leaf.name)
        docker("network", "disconnect", "bridge", leaf.name)
    return leaf


def _found(cluster: str) -> NodeContainer:
    leaf = find_container(leaf_name(cluster))
    if leaf is None:
        raise CommandFailed(
            f"container {leaf_name(cluster)} does not exist", "run `chaosext testbed down`, then `up` again"
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
    return f"""\
cat > /etc/systemd/system/{UNIT} <<'UNIT'
[Unit]
Description=Route to the Pod network through the leaf
After=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip route replace {pod_subnet} via {leaf_ip} proto kernel

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --quiet {UNIT}
systemctl restart {UNIT}
"""
