"""The cut: which nodes drop traffic of which peers on their uplinks, and for how long.

Rules, verification and undo are all derived from it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_network,
    summarize_address_range,
)
from typing import TYPE_CHECKING, Literal

from chaosext.model.errors import Refused
from chaosext.model.names import RunId, is_subdomain

if TYPE_CHECKING:
    from collections.abc import Iterable

Family = Literal["ipv4", "ipv6"]
Network = IPv4Network | IPv6Network

FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")


class Side(StrEnum):
    """Which nodes carry the rules: the control plane's, or those that lose it."""

    CONTROL_PLANE = "control-plane"
    NODES = "nodes"


SHORTEST_TTL_S = 1.0
"""nft's JSON has timeouts in whole seconds (nft 1.0.6), so a shorter one could not be read back."""

# A rule's comment holds run, owner and expiry: at most 128 bytes (libnftnl, NFTNL_UDATA_COMMENT_MAXLEN).
_OWNER = re.compile(r"[A-Za-z0-9@._-]{1,40}")
# The kernel's IFNAMSIZ limits an interface name to 15 characters.
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")

SHORTEST_DEAD_MAN_S = 3 * SHORTEST_TTL_S
"""A cut with a dead man's switch is renewed three times per `dead_man_s`; with less, one late renewal would end it."""

_NEVER_A_PEER: dict[Network, str] = {
    ip_network("0.0.0.0/8"): "the unspecified address",
    ip_network("127.0.0.0/8"): "loopback",
    ip_network("224.0.0.0/4"): "multicast",
    ip_network("255.255.255.255/32"): "broadcast",
    ip_network("::/128"): "the unspecified address",
    ip_network("::1/128"): "loopback",
    ip_network("fe80::/10"): "link-local",
    ip_network("ff00::/8"): "multicast",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCut:
    """A node that carries the rules, and its interfaces towards the peers.

    Only these uplinks are cut, so that the node's own Pods keep talking to its API server. Raises `Refused`
    for an invalid node or interface name.
    """

    node: str
    uplinks: tuple[str, ...]

    def __post_init__(self) -> None:
        check_node(self.node)
        if not self.uplinks:
            raise Refused(f"uplinks: none given for node {self.node}", "name its interface, such as eth0")
        for uplink in self.uplinks:
            _check_uplink(self.node, uplink)
        object.__setattr__(self, "uplinks", tuple(sorted(set(self.uplinks))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The fault as a value: on `nodes`, drop traffic from and to `dropped` for `ttl_s` seconds.

    `run` names the run and its table; `owner` is the user who runs it (such as `alice@laptop`). `peers` are
    addresses (as /32 and /128) and prefixes; duplicates and overlaps are merged, because an nftables interval
    set rejects them. `families`: the IP versions that are cut; the other one stays open. `spared` is never
    dropped, even if `peers` contains it: what control-plane nodes need of each other. `dropped` is `peers`
    without `spared`; rules, verification and undo use only this. `dead_man_s`: the kernel removes the cut
    this long after the last renewal, if that is before the TTL. `delay_s`: the rules start to drop packets
    only this long after arming, and expire `ttl_s` later. It is for nodes that cannot be reached while they
    are cut: all of them are armed and read back before any is cut. `side`: the side that `nodes` belong to;
    the rules are the same on both.

    Raises `Refused` naming the field and the fix.
    """

    run: str
    owner: str
    nodes: tuple[NodeCut, ...]
    peers: tuple[Network, ...]
    ttl_s: float
    families: tuple[Family, ...] = FAMILIES
    dead_man_s: float | None = None
    delay_s: float = 0.0
    side: Side = Side.CONTROL_PLANE
    spared: tuple[Network, ...] = ()
    dropped: tuple[Network, ...] = field(init=False)

    def __post_init__(self) -> None:
        check_run(self.run)
        _check_owner(self.owner)
        _check_nodes(self.nodes)
        _check_ttl(self.ttl_s)
        _check_dead_man(self.dead_man_s)
        _check_delay(self)
        _check_families(self.families)
        object.__setattr__(self, "peers", merged(self.peers))
        object.__setattr__(self, "spared", merged(self.spared))
        object.__setattr__(self, "dropped", without(self.peers, self.spared))
        _check_peers(self)

    @property
    def step_s(self) -> float:
        """How long the cut lasts without renewal, in seconds."""
        return self.ttl_s if self.dead_man_s is None else min(self.ttl_s, self.dead_man_s)

    @property
    def armed_for_s(self) -> float:
        """Seconds from arming until the rules expire without renewal."""
        return self.delay_s + self.step_s

    def expires_at(self, armed_at: datetime) -> datetime:
        """When the rules of a cut armed at `armed_at` expire without renewal."""
        return armed_at + timedelta(seconds=self.armed_for_s)

    def peers_in(self, family: Family) -> tuple[Network, ...]:
        """The dropped networks of this family; none if the family stays open."""
        if family not in self.families:
            return ()
        return tuple(peer for peer in self.dropped if family_of(peer) == family)


def peers_of(addresses: Iterable[str], prefixes: Iterable[str] = ()) -> tuple[Network, ...]:
    """Parse node addresses (`10.0.0.1`, `fc00::2`) and prefixes (`10.244.0.0/16`); merged and sorted.

    Raises `Refused` naming a text that is neither.
    """
    hosts = [_network(text, "address") for text in addresses]
    return merged([*hosts, *(_network(text, "prefix") for text in prefixes)])


def merged(peers: Iterable[Network]) -> tuple[Network, ...]:
    """Merge `peers` into the fewest prefixes that do not overlap, IPv4 first."""
    peers = tuple(peers)
    v4 = collapse_addresses(peer for peer in peers if isinstance(peer, IPv4Network))
    v6 = collapse_addresses(peer for peer in peers if isinstance(peer, IPv6Network))
    return (*v4, *v6)


def without(peers: Iterable[Network], spared: Iterable[Network]) -> tuple[Network, ...]:
    """Return the addresses of `peers` that are not in `spared`, as the fewest prefixes."""
    taken = merged(spared)
    return merged(part for peer in merged(peers) for part in _cut_out(peer, taken))


def _cut_out(peer: Network, taken: Iterable[Network]) -> Iterable[Network]:
    """Yield the parts of `peer` that are not `taken` (sorted, without overlaps)."""
    kind = IPv4Address if peer.version == 4 else IPv6Address
    begin, end = int(peer.network_address), int(peer.broadcast_address)
    for each in taken:
        if each.version != peer.version or not each.overlaps(peer):
            continue
        if begin < int(each.network_address):
            yield from summarize_address_range(kind(begin), kind(int(each.network_address) - 1))
        begin = int(each.broadcast_address) + 1
    if begin <= end:
        yield from summarize_address_range(kind(begin), kind(end))


def nodes_of(cuts: Iterable[Cut]) -> tuple[str, ...]:
    """The nodes of all `cuts`, without duplicates, sorted."""
    return tuple(sorted({node.node for cut in cuts for node in cut.nodes}))


def family_of(network: Network) -> Family:
    return "ipv4" if network.version == 4 else "ipv6"


def check_run(run: str) -> str:
    """Return `run` if it is a valid run ID. Raises `Refused` otherwise."""
    try:
        return RunId(run)
    except ValueError:
        raise Refused(
            f"run: {run!r} can not name a run", "use 1 to 20 lower-case letters and digits"
        ) from None


def check_node(node: str) -> str:
    """Return `node` if it is a valid Kubernetes node name. Raises `Refused` otherwise."""
    if not is_subdomain(node):
        raise Refused(
            f"node: {node!r} is not a valid node name", "use the name that `kubectl get nodes` prints"
        )
    return node


def _check_uplink(node: str, uplink: str) -> None:
    if not _INTERFACE.fullmatch(uplink):
        raise Refused(
            f"uplinks: {uplink!r} on {node} is not a valid interface name", "see `ip -br link` there"
        )
    if uplink == "lo":
        raise Refused(f"uplinks: lo on {node} leads to no peer", "name the interface towards the other nodes")


def _check_owner(owner: str) -> None:
    if not _OWNER.fullmatch(owner):
        raise Refused(f"owner: {owner!r} does not fit into a comment", "use 1 to 40 of A-Z a-z 0-9 @ . _ -")


def _check_nodes(nodes: tuple[NodeCut, ...]) -> None:
    names = [each.node for each in nodes]
    if not names:
        raise Refused("nodes: none to put the cut on", "list at least one, such as the control plane's")
    if len(set(names)) < len(names):
        raise Refused(f"nodes: named twice among {', '.join(names)}", "list each once, with all its uplinks")


def _check_ttl(ttl_s: float) -> None:
    if not (math.isfinite(ttl_s) and ttl_s >= SHORTEST_TTL_S):
        raise Refused(
            f"ttl_s: {ttl_s} s is not a valid duration of a cut", f"set {SHORTEST_TTL_S:g} or more seconds"
        )


def _check_dead_man(dead_man_s: float | None) -> None:
    if dead_man_s is not None and not (math.isfinite(dead_man_s) and dead_man_s >= SHORTEST_DEAD_MAN_S):
        raise Refused(
            f"dead_man_s: a cut can't be renewed every {dead_man_s} s",
            f"give {SHORTEST_DEAD_MAN_S:g} s or more, or leave it out",
        )


def _check_delay(cut: Cut) -> None:
    if not math.isfinite(cut.delay_s) or (cut.delay_s and cut.delay_s < SHORTEST_TTL_S):
        raise Refused(
            f"delay_s: a cut can't begin after {cut.delay_s} s", f"give 0, or {SHORTEST_TTL_S:g} s or more"
        )
    if cut.delay_s and cut.dead_man_s is not None:
        raise Refused("dead_man_s: a cut with a delay can't be renewed", "remove it")


def _check_families(families: tuple[Family, ...]) -> None:
    if not families or not set(families) <= set(FAMILIES):
        raise Refused(f"families: {families!r} is not valid", "use ipv4, ipv6 or both")


def _check_peers(cut: Cut) -> None:
    for peer in cut.peers:
        if peer.prefixlen == 0:
            raise Refused(f"peers: {peer} contains every address", "list the nodes' addresses or prefixes")
        _check_peer(peer)
    if cut.peers and not cut.dropped:
        raise Refused(
            f"peers: nothing of {', '.join(map(str, cut.peers))} is left to cut off: the nodes that carry the rules "
            "need all of it",
            "name addresses of the nodes that are to be cut off",
        )
    if not any(cut.peers_in(family) for family in cut.families):
        raise Refused(
            f"peers: none in {' or '.join(cut.families)}", "name at least one address or prefix to cut off"
        )


def _check_peer(peer: Network) -> None:
    for special, what in _NEVER_A_PEER.items():
        if peer.version == special.version and peer.overlaps(special):
            raise Refused(f"peers: {peer} holds {what} ({special})", "list addresses of other nodes only")


def _network(text: str, kind: str) -> Network:
    try:
        network = ip_network(text.strip())
    except ValueError as error:
        raise Refused(
            f"peers: {text!r} is not a valid {kind} ({error})", "write 10.0.0.1 or 10.244.0.0/16"
        ) from None
    if kind == "address" and network.num_addresses > 1:
        raise Refused(f"peers: {text!r} is a prefix where an address is wanted", "give it among the prefixes")
    return network
