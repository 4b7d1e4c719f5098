"""Queries of Calico resources that have no type of their own in objects.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.cluster.client import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import JsonObject


def has_calico(cluster: Cluster) -> bool:
    """Whether Calico's resources exist in this cluster."""
    try:
        cluster.ippools()
    except NotFound:
        return False
    return True


def pod_blocks(cluster: Cluster, nodes: Iterable[str]) -> tuple[str, ...]:
    """The prefixes from which `nodes` assign Pod addresses, sorted; empty without blocks and podCIDRs.

    Calico's IPAM assigns prefixes block by block (BlockAffinity); without it, a node has its podCIDRs.
    """
    names = set(nodes)
    try:
        blocks = tuple(map(_block, cluster.items("blockaffinities")))
    except NotFound:
        blocks = ()
    if not blocks:
        return tuple(
            sorted(cidr for node in cluster.nodes() if node.name in names for cidr in node.pod_cidrs)
        )
    return tuple(sorted(cidr for node, cidr in blocks if node in names and cidr))


def _block(obj: JsonObject) -> tuple[str, str]:
    """The node of a block, and its prefix, "" for a released one (projectcalico.org, BlockAffinitySpec: `deleted`)."""
    spec = obj.get("spec") or {}
    given_up = str(spec.get("deleted", "")).lower() == "true"
    return str(spec.get("node", "")), "" if given_up else str(spec.get("cidr", ""))
