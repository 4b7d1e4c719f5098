"""Cilium: tunnels between nodes, direct routes, a cloud's addresses, or what its BGP announces to the fabric.

Its BGP control plane announces routes and installs none on nodes, so beside tunnels and direct routes it changes
nothing between nodes. Without them, the fabric knows the Pods of those nodes only that announce them.

Source: docs.cilium.io, "Routing", "IP Address Management", "BGP Control Plane", "CNI Chaining".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.rehearsal.snapshot.networks.cilium_bgp import CLUSTER_CONFIG, POLICY, Announcements
from chaosext.rehearsal.snapshot.networks.signs import (
    DECLARE,
    Shown,
    agents_missing,
    few,
    names_of,
    proven,
    templates,
)
from chaosext.rehearsal.snapshot.world import Doubt, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.rehearsal.snapshot.networks.signs import NetworkSigns

CONFIG = "cilium-config"
CHAINING = "cni-chaining-mode"
DIRECT, SKIPS, SPEAKS = (
    "auto-direct-node-routes",
    "direct-routing-skip-unreachable",
    "enable-bgp-control-plane",
)
KEYS = ("routing-mode", "tunnel", DIRECT, SKIPS, SPEAKS, "bgp-announce-pod-cidr", "ipam", CHAINING)
"""Cilium's ConfigMap, and its keys that control how Pod traffic is routed."""

TUNNELS = ("vxlan", "geneve")

CLUSTER_IPAMS = ("", "cluster-pool", "cluster-pool-v2beta", "kubernetes", "multi-pool")
"""IPAM modes that give Pods addresses of their own instead of a cloud network's."""

CLOUD_IPAMS = {"eni": "aws", "azure": "azure"}
"""IPAM modes that give Pods addresses of a cloud's network -> the scheme of its nodes' provider IDs."""


def cilium(seen: NetworkSigns) -> Shown:
    """Return how Cilium routes Pod traffic, if its settings prove it."""
    homes = {pod.namespace for pod in templates(seen.pods) if "cilium" in names_of(pod)} or {"kube-system"}
    found = {f"ConfigMap/{home}/{CONFIG}": seen.configs.get((home, CONFIG)) for home in sorted(homes)}
    doubts = (*agents_missing(seen, "cilium"), *_of_single_nodes(seen))
    native = [(subject, config) for subject, config in found.items() if config and _is_native(config)]
    if native and len(found) == 1:
        return _native(seen, *native[0], doubts)
    unproven = (doubt for subject, config in found.items() for doubt in _not_tunnelling(subject, config))
    return proven(Plugin.OVERLAY, "Cilium's tunnels, by its ConfigMap cilium-config", *doubts, *unproven)


def chained(seen: NetworkSigns, mode: str) -> bool:
    """Whether Cilium leaves Pod traffic to the plugin that it is chained to, as each of its ConfigMaps says."""
    modes = {data.get(CHAINING, "") for _, data in seen.config(CONFIG)}
    return modes == {mode}


def _of_single_nodes(seen: NetworkSigns) -> Iterator[Doubt]:
    for (_, kind), subject in seen.others.items():
        if kind == "CiliumNodeConfig":
            yield Doubt(subject=subject, why="it may route otherwise on some nodes")


# -- tunnels -----------------------------------------------------------------------------------------------------


def _not_tunnelling(subject: str, config: Mapping[str, str] | None) -> Iterator[Doubt]:
    if config is None:
        said = "is not in the snapshot, so it is not proven that Cilium tunnels Pod traffic"
        yield Doubt(subject=subject, key="routing-mode", why=said)
        return
    mode, tunnel = config.get("routing-mode", ""), config.get("tunnel", "")
    if mode != "tunnel" and (mode or tunnel not in TUNNELS):
        yield Doubt(subject=subject, key="routing-mode", why=f"says {mode!r}, neither 'tunnel' nor 'native'")
    if tunnel not in ("", *TUNNELS):
        yield Doubt(subject=subject, key="tunnel", why=f"says {tunnel!r}, neither vxlan nor geneve")
    if config.get("ipam", "") not in CLUSTER_IPAMS:
        said = f"says {config['ipam']!r}: Pods have a cloud's addresses"
        yield Doubt(subject=subject, key="ipam", why=said)
    yield from _chained_elsewhere(subject, config)


def _chained_elsewhere(subject: str, config: Mapping[str, str]) -> Iterator[Doubt]:
    if config.get(CHAINING, "none") not in ("", "none", "portmap"):
        said = f"says {config[CHAINING]!r}: another plugin carries Pod traffic"
        yield Doubt(subject=subject, key=CHAINING, why=said)


# -- without tunnels -----------------------------------------------------------------------------------------------


def _is_native(config: Mapping[str, str]) -> bool:
    """Whether it routes without tunnels: `routing-mode`, or before 1.14 `tunnel: disabled`."""
    mode = config.get("routing-mode", "")
    return mode == "native" or (not mode and config.get("tunnel", "") == "disabled")


def _native(seen: NetworkSigns, subject: str, config: Mapping[str, str], doubts: tuple[Doubt, ...]) -> Shown:
    doubts = (*doubts, *_chained_elsewhere(subject, config))
    ipam, is_direct = config.get("ipam", ""), config.get(DIRECT, "false") == "true"
    if ipam in CLOUD_IPAMS:
        elsewhere = [node.name for node in seen.nodes if node.provider != CLOUD_IPAMS[ipam]]
        if elsewhere:
            why = f"is not {CLOUD_IPAMS[ipam]}'s, whose network routes Pod addresses with Cilium's IPAM {ipam!r}"
            doubts = (*doubts, Doubt(subject=f"Node/{few(elsewhere)}", key="spec.providerID", why=why))
        return proven(Plugin.ROUTED, f"Cilium with addresses of the cloud's network (IPAM {ipam})", *doubts)
    if ipam not in CLUSTER_IPAMS:
        said = f"says {ipam!r}: which network routes Pod addresses isn't modelled"
        return proven(Plugin.UNKNOWN, "", *doubts, Doubt(subject=subject, key="ipam", why=said))
    if is_direct and config.get(SKIPS, "false") != "true":
        return proven(
            Plugin.OVERLAY,
            "Cilium's direct routes between nodes, by its ConfigMap cilium-config (docs.cilium.io, Routing)",
            *doubts,
        )
    if config.get(SPEAKS, "false") == "true":
        return _announced(seen, subject, doubts)
    said = f"is not 'true', nor is {SPEAKS}, so it is unknown what routes Pod addresses; {DECLARE}"
    if is_direct:
        said = f"is 'true', so that routes to some nodes may be left out, and {SPEAKS} is not"
    return proven(
        Plugin.UNKNOWN, "", *doubts, Doubt(subject=subject, key=SKIPS if is_direct else DIRECT, why=said)
    )


def _announced(seen: NetworkSigns, subject: str, doubts: tuple[Doubt, ...]) -> Shown:
    """Return Cilium's BGP: the fabric reaches Pods on the nodes that announce them."""
    bgp = Announcements(seen)
    doubts = (*doubts, *bgp.doubts)
    if not bgp.nodes and not bgp.doubts:
        why = (
            f"is 'true', but no {POLICY} or {CLUSTER_CONFIG} in the snapshot announces Pod addresses, "
            "so it is unknown what routes them"
        )
        doubts = (*doubts, Doubt(subject=subject, key=SPEAKS, why=why))
    if doubts:
        return Shown(plugin=Plugin.UNKNOWN, doubts=doubts)
    said = (
        f"Cilium's BGP: {len(bgp.nodes)} of {len(seen.nodes)} nodes announce their Pods to the fabric "
        "(docs.cilium.io, BGP Control Plane)"
    )
    return Shown(plugin=Plugin.CILIUM_BGP, shown=said, announcing=frozenset(bgp.nodes))
