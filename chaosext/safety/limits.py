"""How far a cut may go at the most, whoever asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.partition.cut import family_of

if TYPE_CHECKING:
    from chaosext.partition.cut import Cut

WIDEST_PREFIX = {"ipv4": 8, "ipv6": 16}
"""Shortest prefix length of a peer, by family. A /8 is the largest private network (RFC 1918): what is wider
holds addresses that are no nodes'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of every cut. A test of the control plane's loss needs minutes, and rules on a few nodes.

    `max_ttl_s` is set by an experiment as `chaosext_max_ttl_s`; 900 s by default, as production timings move
    kube-dns about 350 s after the cut. `max_node_share` is the share of the nodes that may carry rules.
    """

    max_ttl_s: float = 900.0
    max_node_share: float = 0.75

    def check(self, cut: Cut, total_nodes: int) -> None:
        """Raise `Refused`, naming the limit, its value and where it is set, when `cut` goes beyond one."""
        self._check_ttl(cut)
        self._check_nodes(cut, total_nodes)
        _check_prefixes(cut)

    def _check_ttl(self, cut: Cut) -> None:
        if cut.ttl_s > self.max_ttl_s:
            raise Refused(
                f"ttl_s: {cut.ttl_s:g} s is beyond the limit of {self.max_ttl_s:g} s (max_ttl_s)",
                "ask for less, or raise configuration.chaosext_max_ttl_s",
            )

    def _check_nodes(self, cut: Cut, total_nodes: int) -> None:
        if len(cut.nodes) > self.max_node_share * total_nodes:
            raise Refused(
                f"nodes: rules on {len(cut.nodes)} of {total_nodes} nodes are beyond the limit of "
                f"{self.max_node_share:.0%} (max_node_share, built in)",
                "cut on the side with fewer nodes, such as the control plane's",
            )


def _check_prefixes(cut: Cut) -> None:
    for peer in cut.peers:
        widest = WIDEST_PREFIX[family_of(peer)]
        if peer.prefixlen < widest:
            raise Refused(
                f"peers: {peer} is wider than the limit of /{widest} (built in)",
                "name the nodes' own prefixes or addresses",
            )
