"""A node's addresses and interfaces from its own kernel, and the API servers that its kubelet connects to.

Kubernetes often knows only one address family of a node.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chaosext.model.errors import MALFORMED, Refused, Unreachable, understood

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaosext.nodes.shell import NodeShell

KUBELET_CONF = "/etc/kubernetes/kubelet.conf"
"""The kubelet's kubeconfig as written by kubeadm (kubeadm's constants.go, KubeletKubeConfigFileName)."""

SCRIPT = rf"""
ip -json address show
printf '\n--routes\n'; ip -json route show; echo; ip -json -6 route show
printf '\n--etcd\n'; ss -Htn state established '( dport = :2379 or dport = :2380 )' 2>/dev/null |
  while read -r _ _ _ peer _; do printf '%s\n' "$peer"; done | sort -u
url=$(sed -n 's/^ *server: *//p' {KUBELET_CONF} 2>/dev/null | head -n 1 | tr -d "\"'")
printf '\n--\n%s\n' "$url"
host=${{url#*://}} host=${{host%%/*}}
if [[ $host == \[* ]]; then host=${{host#\[}} host=${{host%%\]*}}; else host=${{host%:*}}; fi
[[ -z $host ]] || timeout 5 getent ahosts "$host" | cut -d ' ' -f 1 | sort -u
read -r -a ports
if [[ -z $url && -n ${{ports[*]}} ]]; then
  printf 'sockets\n'
  led=$(printf ' or dport = :%s' "${{ports[@]}}")
  ss -Htn state established "( ${{led# or }} )" |
    while read -r _ _ _ peer _; do printf '%s\n' "$peer"; done | sort -u
fi
"""
"""Prints the interfaces; `--routes`; the routes of both families; `--etcd`; the peers of established TCP
connections to etcd's ports (defaults of etcd's --listen-client-urls and --listen-peer-urls); `--`; the URL of
the kubelet's API server, and its addresses as resolved on this node.

In a Pod the node's files are not visible. Then it prints `sockets` and the peers of established TCP
connections to the API servers' ports, which it reads from one line of stdin. These include connections of
other processes on the node.
"""

SOCKETS = "sockets"

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNetwork:
    """The interface(s) that carry a node's InternalIPs, and all global addresses on them, of both families.

    `api_servers`: addresses and ports that its kubelet connects to; empty if unknown. `own`: all addresses on
    all interfaces, including a virtual IP that it holds now. `gateways`: next hops of its routes. `etcd`:
    peers of its connections to etcd.
    """

    node: str
    uplinks: tuple[str, ...]
    addresses: tuple[str, ...]
    api_servers: tuple[tuple[str, int], ...] = ()
    own: frozenset[str] = frozenset()
    gateways: frozenset[str] = frozenset()
    etcd: frozenset[str] = frozenset()

    def address(self, version: int) -> str | None:
        """The first address of IP `version` (4 or 6); None if the node has none."""
        return next((text for text in self.addresses if ip_address(text).version == version), None)


def node_network(node: str, internal_ips: Iterable[str], links: Iterable[Mapping[str, Any]]) -> NodeNetwork:
    """Find the interfaces that carry `internal_ips` in `links`, the decoded output of `ip -json address show`.

    Raises `Refused` if no interface carries any of them: a cut on a guessed interface would prove nothing.
    """
    wanted = {str(ip_address(ip)) for ip in internal_ips}
    carriers = {
        str(link["ifname"]): found for link in links if wanted & set(found := _global_addresses(link))
    }
    if not carriers:
        raise Refused(
            f"uplinks: no interface of {node} carries {', '.join(sorted(wanted)) or 'an InternalIP'}",
            "name the interfaces in the action's argument `uplinks`",
        )
    addresses = tuple(dict.fromkeys(address for found in carriers.values() for address in found))
    own = frozenset(str(ip_address(info["local"])) for link in links for info in link.get("addr_info", ()))
    return NodeNetwork(node=node, uplinks=tuple(sorted(carriers)), addresses=addresses, own=own)


def is_up(name: str, links: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the interface `name` exists and can carry packets (ip-link(8): UP, and a carrier)."""
    flags = next((link.get("flags", ()) for link in links if link.get("ifname") == name), ())
    return {"UP", "LOWER_UP"} <= set(flags)


def read_network(shell: NodeShell, internal_ips: Iterable[str], api_ports: Iterable[int] = ()) -> NodeNetwork:
    """Read the network of a node. `api_ports`: ports of the API servers, for a node whose files are not visible.

    Raises `Unreachable` if the node cannot be entered or its answer is malformed.
    """
    result = shell.run(SCRIPT, stdin=" ".join(map(str, api_ports)) + "\n", timeout_s=TIMEOUT_S)
    of_node, _, kubelet = result.stdout.partition("\n--\n")
    of_node, _, etcd = of_node.partition("\n--etcd\n")
    listed, _, routes = of_node.partition("\n--routes\n")
    try:
        links, by_family = json.loads(listed), [json.loads(line) for line in routes.splitlines() if line]
    except (ValueError, RecursionError):
        raise Unreachable(
            f"{shell.node}: `ip -json` gave no JSON ({result.stderr.strip() or 'no output'})"
        ) from None
    with understood(f"{shell.node}: `ip -json address show` and `route show`"):
        found = node_network(shell.node, internal_ips, links)
        gateways = frozenset(hop for routes in by_family for route in routes for hop in _next_hops(route))
        peers = frozenset(host for host, _ in map(_peer, etcd.split()))
    return replace(found, api_servers=api_servers(kubelet), gateways=gateways, etcd=peers)


def _next_hops(route: Mapping[str, Any]) -> Iterable[str]:
    """Yield the gateway or next hops of a route from `ip -json route show`; `via` is used for the other family."""
    for each in (route, *route.get("nexthops", ())):
        hop = each.get("gateway") or (each.get("via") or {}).get("host")
        if hop:
            yield str(ip_address(hop))


def api_servers(said: str) -> tuple[tuple[str, int], ...]:
    """Parse the last part of `SCRIPT`'s output: a URL with one address per line, or sockets."""
    url, *addresses = said.split() or [""]
    try:
        if url == SOCKETS:
            return tuple(dict.fromkeys(map(_peer, addresses)))
        port = urlsplit(url).port or 443
        return tuple((str(ip_address(address)), port) for address in addresses)
    except ValueError:  # without a valid URL, nothing is known
        return ()


def _peer(socket: str) -> tuple[str, int]:
    """Parse `172.18.0.2:6443`, `[fc00::2]:6443` or `[::ffff:172.18.0.2]:6443` as printed by ss. Raises ValueError."""
    host, _, port = socket.rpartition(":")
    address = ip_address(host.strip("[]"))
    return str(getattr(address, "ipv4_mapped", None) or address), int(port)


def read_networks(
    shells: Mapping[str, NodeShell], internal_ips: Mapping[str, Iterable[str]], api_ports: Iterable[int] = ()
) -> dict[str, NodeNetwork]:
    """Read all nodes in `internal_ips` (name -> its InternalIPs) in parallel, each as `read_network` does."""
    ports = tuple(api_ports)
    with ThreadPoolExecutor(max_workers=max(1, min(16, len(internal_ips)))) as pool:
        asked = {
            name: pool.submit(read_network, shells[name], ips, ports) for name, ips in internal_ips.items()
        }
        return {name: future.result() for name, future in asked.items()}


def read_addresses(
    shells: Mapping[str, NodeShell], *, timeout_s: float = TIMEOUT_S
) -> dict[str, frozenset[str]]:
    """Current global addresses of each node, on all interfaces. Omits nodes that do not answer."""
    if not shells:
        return {}
    with ThreadPoolExecutor(max_workers=min(16, len(shells))) as pool:
        answers = pool.map(lambda shell: _addresses_now(shell, timeout_s), shells.values())
        return {name: found for name, found in zip(shells, answers, strict=True) if found is not None}


def _addresses_now(shell: NodeShell, timeout_s: float) -> frozenset[str] | None:
    try:
        links = json.loads(shell.run("exec ip -json address show", timeout_s=timeout_s).stdout)
        return frozenset(address for link in links for address in _global_addresses(link))
    except (Unreachable, Refused, *MALFORMED):
        return None


def _global_addresses(link: Mapping[str, Any]) -> tuple[str, ...]:
    infos = link.get("addr_info", ())
    return tuple(str(ip_address(info["local"])) for info in infos if info.get("scope") == "global")
