"""Networks whose routes are in each node's kernel or switch, and stay there without the API server.

Source: the projects' documents: OVN-Kubernetes ("Architecture": flows stay in each node's Open vSwitch), OpenShift SDN
(VXLAN by Open vSwitch), Kube-OVN ("Overlay" and "Underlay" networking), Weave Net ("How Weave Net works": peers learn
from each other), kindnet (a static route to each node), Antrea ("trafficEncapMode").
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chaosext.rehearsal.snapshot.networks.signs import agents_missing, proven
from chaosext.rehearsal.snapshot.world import Doubt, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.rehearsal.snapshot.networks.signs import NetworkSigns, Shown

ANTREA_CONFIG, ENCAP_MODE = "antrea-config", re.compile(r"^\s*trafficEncapMode:\s*\"?(\w+)", re.MULTILINE)

UNDERLAY_KINDS = ("ProviderNetwork", "Vlan")
"""Kube-OVN's kinds that attach Pods to a network of the datacenter."""

ANNOUNCES = "it announces routes by BGP, which isn't modelled"


def ovn_kubernetes(seen: NetworkSigns) -> Shown:
    """Return OVN-Kubernetes' tunnels between nodes."""
    announced = [subject for kind, subject in seen.kinds_in("k8s.ovn.org") if kind == "RouteAdvertisements"]
    doubts = (
        *agents_missing(seen, "ovnkube-node"),
        *(Doubt(subject=each, why=ANNOUNCES) for each in announced),
    )
    return proven(Plugin.OVERLAY, "OVN-Kubernetes' tunnels, by ovnkube-node on every node", *doubts)


def openshift_sdn(seen: NetworkSigns) -> Shown:
    """Return OpenShift SDN's VXLAN between nodes."""
    return proven(Plugin.OVERLAY, "OpenShift SDN's VXLAN, by sdn on every node", *agents_missing(seen, "sdn"))


def kube_ovn(seen: NetworkSigns) -> Shown:
    """Return Kube-OVN's tunnels, unless Pods may be on a network of the datacenter."""
    return proven(
        Plugin.OVERLAY, "Kube-OVN's tunnels, by kube-ovn-cni on every node", *_kube_ovn_doubts(seen)
    )


def _kube_ovn_doubts(seen: NetworkSigns) -> Iterator[Doubt]:
    yield from agents_missing(seen, "kube-ovn-cni")
    for kind, subject in seen.kinds_in("kubeovn.io"):
        if kind in UNDERLAY_KINDS:
            yield Doubt(subject=subject, why="Pods may be on a network of the datacenter (underlay)")
    for name in _speakers(seen.daemon_sets):
        yield Doubt(subject=f"DaemonSet/{name}", why=ANNOUNCES)


def _speakers(daemon_sets: Iterable[str]) -> Iterator[str]:
    return (name for name in daemon_sets if "kube-ovn-speaker" in name)


def weave(seen: NetworkSigns) -> Shown:
    """Return Weave Net's overlay."""
    return proven(
        Plugin.OVERLAY, "Weave Net's overlay, by weave-net on every node", *agents_missing(seen, "weave-net")
    )


def kindnet(seen: NetworkSigns) -> Shown:
    """Return kindnet's static routes between nodes of one subnet."""
    return proven(
        Plugin.OVERLAY, "kindnet's static routes, by kindnet on every node", *agents_missing(seen, "kindnet")
    )


def antrea(seen: NetworkSigns) -> Shown:
    """Return Antrea's tunnels if its ConfigMap says that it encapsulates."""
    doubts = (*agents_missing(seen, "antrea-agent", "antrea"), *_not_encapsulating(seen))
    return proven(Plugin.OVERLAY, "Antrea's tunnels, by its ConfigMap antrea-config", *doubts)


def _not_encapsulating(seen: NetworkSigns) -> Iterator[Doubt]:
    found = dict(seen.config(ANTREA_CONFIG))
    if not found:
        said = "is not in the snapshot, so it is not proven that Antrea encapsulates Pod traffic"
        yield Doubt(subject=f"ConfigMap/kube-system/{ANTREA_CONFIG}", key="trafficEncapMode", why=said)
    for subject, data in found.items():
        mode = next((match[1] for each in data.values() if (match := ENCAP_MODE.search(each))), "encap")
        if mode.lower() != "encap":
            said = f"says {mode!r}, not 'encap': routes without a tunnel aren't modelled"
            yield Doubt(subject=subject, key="trafficEncapMode", why=said)
