"""A node's addresses and interfaces, as its own kernel tells them: Kubernetes often knows one family only."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaosext.nodes.shell import NodeShell

SCRIPT = "ip -json address show"
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNetwork:
    """The interface(s) that carry a node's InternalIPs, and every global address on them, of both families."""

    node: str
    uplinks: tuple[str, ...]
    addresses: tuple[str, ...]

    def address(self, version: int) -> str | None:
        """The first address of IP `version` (4 or 6); None where the node has none."""
        return next((text for text in self.addresses if ip_address(text).version == version), None)


def node_network(node: str, internal_ips: Iterable[str], links: Iterable[Mapping[str, Any]]) -> NodeNetwork:
    """What `ip -json address show` (decoded as `links`) says about the interfaces of `internal_ips`.

    Raises `Refused` when no interface carries one of them: a cut on a guessed interface would prove nothing.
    """
    wanted = {str(ip_address(ip)) for ip in internal_ips}
    carriers = {link["ifname"]: found for link in links if wanted & set(found := _global_addresses(link))}
    if not carriers:
        raise Refused(
            f"uplinks: no interface of {node} carries {', '.join(sorted(wanted)) or 'an InternalIP'}",
            "name the interfaces in the action's argument `uplinks`",
        )
    addresses = tuple(dict.fromkeys(address for found in carriers.values() for address in found))
    return NodeNetwork(node=node, uplinks=tuple(sorted(carriers)), addresses=addresses)


def read_network(shell: NodeShell, internal_ips: Iterable[str]) -> NodeNetwork:
    """Ask the node itself. Raises `Unreachable` when it can't be entered or answers nonsense."""
    result = shell.run(SCRIPT, timeout_s=TIMEOUT_S)
    try:
        links = json.loads(result.stdout)
    except ValueError:
        raise Unreachable(
            f"{shell.node}: `{SCRIPT}` gave no JSON ({result.stderr.strip() or 'no output'})"
        ) from None
    return node_network(shell.node, internal_ips, links)


def read_networks(
    shells: Mapping[str, NodeShell], internal_ips: Mapping[str, Iterable[str]]
) -> dict[str, NodeNetwork]:
    """Ask every node in `internal_ips` (name -> its InternalIPs) at once."""
    with ThreadPoolExecutor(max_workers=max(1, min(16, len(internal_ips)))) as pool:
        asked = {name: pool.submit(read_network, shells[name], ips) for name, ips in internal_ips.items()}
        return {name: future.result() for name, future in asked.items()}


def _global_addresses(link: Mapping[str, Any]) -> tuple[str, ...]:
    infos = link.get("addr_info", ())
    return tuple(str(ip_address(info["local"])) for info in infos if info.get("scope") == "global")
