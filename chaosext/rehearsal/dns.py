"""How lookups at kube-dns' Service go, by what a node's kube-proxy knows and what the node reaches.

kube-proxy spreads new flows evenly over the endpoints that it knows (Kubernetes pkg/proxy/iptables, nftables), so that
one endpoint out of reach loses its share of lookups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.rehearsal.prediction import Dns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

SEVERITY = (Dns.RESOLVABLE, Dns.UNKNOWN, Dns.PARTIAL, Dns.DEAD)


def state(answers: Collection[bool | None], *, cached: bool = False) -> Dns:
    """Of one node: `answers` has an entry for each endpoint that its kube-proxy knows, None where nobody knows.

    With NodeLocal DNSCache (`cached`) names outside the cluster still resolve, and those of the cluster don't once
    their 30 s are over (its Corefile forwards cluster.local to kube-dns' own endpoints).
    """
    if None in answers:
        return Dns.UNKNOWN
    if answers and all(answers):
        return Dns.RESOLVABLE
    return Dns.PARTIAL if any(answers) or cached else Dns.DEAD


def worst(states: Iterable[Dns]) -> Dns:
    """The worst of one node's states over a time."""
    return max(states, key=SEVERITY.index, default=Dns.RESOLVABLE)


def overall(states: Iterable[Dns]) -> Dns:
    """Of all nodes that carry workloads: dead where it is dead for all, partial where some are hit."""
    kinds = set(states)
    if len(kinds) == 1:
        return kinds.pop()
    if Dns.UNKNOWN in kinds and Dns.DEAD not in kinds and Dns.PARTIAL not in kinds:
        return Dns.UNKNOWN
    return Dns.PARTIAL if kinds else Dns.UNKNOWN
