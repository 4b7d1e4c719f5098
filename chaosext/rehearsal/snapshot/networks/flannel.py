"""flannel, alone or below Calico's policy (Canal): its backend is an annotation of each node.

Source: flannel's Documentation/backends.md. Tunnels and routes stay in each node's kernel without flanneld or the
API server, and those of the cloud backends in the cloud's table; a restarted flanneld needs the API server
(flannel #1785), and removes nothing when it ends. So it need not be known which backend it is, only that no node's
differs: flannel makes no routes between backends.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from chaosext.rehearsal.snapshot.networks.signs import agents_missing, few, proven
from chaosext.rehearsal.snapshot.world import Doubt, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.rehearsal.snapshot.networks.signs import NetworkSigns, Shown
    from chaosext.rehearsal.snapshot.world import Node

BACKEND = "flannel.alpha.coreos.com/backend-type"
"""Annotation in which flanneld records the backend type of its node (flannel, pkg/subnet/kube)."""

BACKENDS = ("vxlan", "wireguard", "udp", "host-gw")
"""Backends whose routes are in each node's kernel."""

AGENTS, CANAL_AGENTS = ("kube-flannel-ds", "kube-flannel", "flannel"), ("canal", "rke2-canal")

K3S = "+k3s"
"""In a kubelet's version where flannel runs without a Pod, unless k3s' `--flannel-backend` is none."""


def is_k3s(node: Node) -> bool:
    return K3S in node.kubelet_version


def flannel(seen: NetworkSigns) -> Shown:
    """Return flannel's network if every node has its annotation and its agent."""
    needing = [node for node in seen.nodes if not is_k3s(node)]
    doubts = (*_unknown_backends(seen), *agents_missing(seen, *AGENTS, needing=needing))
    return proven(Plugin.OVERLAY, f"flannel's routes ({_named(seen)}), by its agent on every node", *doubts)


def canal(seen: NetworkSigns) -> Shown:
    """Return Canal's network: flannel's routes, with Calico for policy only."""
    doubts = (*_unknown_backends(seen), *agents_missing(seen, *CANAL_AGENTS))
    said = (
        f"Canal: flannel's routes ({_named(seen)}), by the annotation of every node; Calico's BGP is unused"
    )
    return proven(Plugin.OVERLAY, said, *doubts)


def _named(seen: NetworkSigns) -> str:
    return ", ".join(sorted(set(seen.backends.values()))) or "whichever backend"


def _unknown_backends(seen: NetworkSigns) -> Iterator[Doubt]:
    of: dict[str, list[str]] = defaultdict(list)
    if not seen.backends:
        return
    for node in seen.nodes:
        of[seen.backends.get(node.name, "")].append(node.name)
    known = sorted(backend for backend in of if backend in BACKENDS)
    if len(known) > 1:
        odd = of[min(known, key=lambda each: len(of[each]))]
        why = f"nodes have several ({', '.join(known)}), between which flannel makes no routes"
        yield Doubt(subject=f"Node/{few(odd)}", key=f"annotation {BACKEND}", why=why)
    for backend, names in sorted(of.items()):
        if backend not in BACKENDS:
            said = (
                f"says {backend!r}, not {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}"
                if backend
                else "is missing"
            )
            why = f"{said}, so it is not proven that flannel routes all Pod traffic"
            yield Doubt(subject=f"Node/{few(names)}", key=f"annotation {BACKEND}", why=why)
