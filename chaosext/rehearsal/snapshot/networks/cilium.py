"""Cilium: tunnels between nodes, as its ConfigMap says; its native routes and its BGP are not modelled.

Source: docs.cilium.io, "Routing", "IP Address Management", "BGP Control Plane", "CNI Chaining".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.rehearsal.snapshot.networks.signs import agents_missing, names_of, proven, templates
from chaosext.rehearsal.snapshot.world import Doubt, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.rehearsal.snapshot.networks.signs import NetworkSigns, Shown

CONFIG = "cilium-config"
CHAINING = "cni-chaining-mode"
KEYS = ("routing-mode", "tunnel", "enable-bgp-control-plane", "bgp-announce-pod-cidr", "ipam", CHAINING)
"""Cilium's ConfigMap, and its keys that control how Pod traffic is routed."""

TUNNELS = ("vxlan", "geneve")

CLUSTER_IPAMS = ("", "cluster-pool", "cluster-pool-v2beta", "kubernetes", "multi-pool")
"""IPAM modes that give Pods addresses of their own instead of a cloud network's."""

SPEAKS_BGP = "Cilium announces routes by BGP, which isn't modelled"


def cilium(seen: NetworkSigns) -> Shown:
    """Return Cilium's tunnels if its settings prove them."""
    return proven(Plugin.OVERLAY, "Cilium's tunnels, by its ConfigMap cilium-config", *_doubts(seen))


def chained(seen: NetworkSigns, mode: str) -> bool:
    """Whether Cilium leaves Pod traffic to the plugin that it is chained to, as each of its ConfigMaps says."""
    modes = {data.get(CHAINING, "") for _, data in seen.config(CONFIG)}
    return modes == {mode}


def _doubts(seen: NetworkSigns) -> Iterator[Doubt]:
    yield from agents_missing(seen, "cilium")
    homes = {pod.namespace for pod in templates(seen.pods) if "cilium" in names_of(pod)} or {"kube-system"}
    for home in sorted(homes):
        yield from _not_tunnelling(f"ConfigMap/{home}/{CONFIG}", seen.configs.get((home, CONFIG)))
    for (_, kind), subject in seen.others.items():
        if kind.startswith("CiliumBGP"):
            yield Doubt(subject=subject, why=SPEAKS_BGP)
        if kind == "CiliumNodeConfig":
            yield Doubt(subject=subject, why="it may disable tunnels on some nodes")


def _not_tunnelling(subject: str, config: Mapping[str, str] | None) -> Iterator[Doubt]:
    if config is None:
        said = "is not in the snapshot, so it is not proven that Cilium tunnels Pod traffic"
        yield Doubt(subject=subject, key="routing-mode", why=said)
        return
    mode, tunnel = config.get("routing-mode", ""), config.get("tunnel", "")
    if mode != "tunnel" and (mode or tunnel not in TUNNELS):
        said = f"says {mode!r}, not 'tunnel': routes of a native network aren't modelled"
        yield Doubt(subject=subject, key="routing-mode", why=said)
    if tunnel not in ("", *TUNNELS):
        yield Doubt(subject=subject, key="tunnel", why=f"says {tunnel!r}, neither vxlan nor geneve")
    for key in ("enable-bgp-control-plane", "bgp-announce-pod-cidr"):
        if config.get(key, "false") != "false":
            yield Doubt(subject=subject, key=key, why=SPEAKS_BGP)
    if config.get("ipam", "") not in CLUSTER_IPAMS:
        said = f"says {config['ipam']!r}: Pods have a cloud's addresses"
        yield Doubt(subject=subject, key="ipam", why=said)
    if config.get(CHAINING, "none") not in ("none", "portmap"):
        said = f"says {config[CHAINING]!r}: another plugin carries Pod traffic"
        yield Doubt(subject=subject, key=CHAINING, why=said)
