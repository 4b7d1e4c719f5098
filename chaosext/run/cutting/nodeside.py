"""A cut on the nodes' side: which nodes carry it, and at which addresses they find the control plane. Pure.

It is for clusters whose control plane is not reachable as nodes (managed ones), and works on others as well. The rules
are those of any cut: on the node's uplinks, so they meet what its Pods send to an API server, too.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from chaosext.cluster.objects import Node
    from chaosext.run.cutting.plan import Ground, Wish

HTTPS = 443
"""Where managed API servers listen, as anybody else does: a connection there says nothing of who is at its end."""

NODES, ADDRESSES = "configuration.chaosext_cut_nodes", "configuration.chaosext_control_plane_addresses"

Server = tuple[str, int]
"""Address and port."""


def believed(servers: Collection[Server], known: Iterable[str]) -> tuple[Server, ...]:
    """Of whom a node is connected to, those that are API servers: at a port of theirs alone, or at a known address."""
    nets = [ip_network(each, strict=False) for each in known]
    return tuple(
        (host, port)
        for host, port in servers
        if port != HTTPS or any(ip_address(host) in net for net in nets)
    )


def chosen(nodes: Iterable[Node], names: Collection[str]) -> tuple[str, ...]:
    """The nodes to be cut: those named, else every one without a control-plane role. Raises `Refused`."""
    roles = {node.name: node.is_control_plane for node in nodes}
    if unknown := sorted(set(names) - roles.keys()):
        raise Refused(f"{NODES}: {', '.join(unknown)}: no such node", "see `kubectl get nodes`")
    if masters := sorted(name for name in names if roles[name]):
        raise Refused(
            f"{NODES}: {', '.join(masters)} has a control-plane role", "name those that are to lose it"
        )
    return tuple(name for name in roles if name in names or not (names or roles[name]))


def peers(ground: Ground) -> tuple[str, ...]:
    """The control plane's addresses and prefixes: as far as the cluster tells, those named, and those in use."""
    networks = [ground.networks[node.name] for node in ground.nodes if not node.is_control_plane]
    theirs = {address for network in networks for address in (*network.addresses, *network.own)}
    return tuple(sorted({*ground.known, *(ground.used - theirs)}))


def require_plannable(wish: Wish, ground: Ground) -> None:
    """Raise `Refused` for what can't be cut on this side, naming field and fix."""
    if not ground.workers:
        raise Refused("nodes: there is none without a control-plane role", "see `kubectl get nodes`")
    if ground.is_sealed and wish.dead_man_s:
        raise Refused(
            "dead_man_s: a cut on the nodes' side can't be renewed, as no API server reaches them meanwhile",
            "leave it out, or give 0 (CHAOSEXT_DEAD_MAN_S=0): such a cut lasts its TTL",
        )
    if not wish.peers and (strange := _strangers(ground)):
        told = "; ".join(f"{name} ({said})" for name, said in strange.items())
        raise Refused(
            f"{ADDRESSES}: it is not known where the kubelet finds an API server on {told}",
            f"set {ADDRESSES} to the API servers' addresses as the nodes use them (docs/safety.md)",
        )


def _strangers(ground: Ground) -> Mapping[str, str]:
    """The nodes of which nobody knows their API server, and whom they are connected to."""
    if ground.named:
        return {}
    return {
        name: f"connected to {', '.join(host for host, _ in ground.networks[name].api_servers) or 'none'}"
        for name in ground.blind
    }
