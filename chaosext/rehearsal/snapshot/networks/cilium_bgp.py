"""Cilium's BGP control plane: which nodes announce their Pods to the fabric, by its kinds.

A policy (before 1.16) or a cluster configuration selects nodes and their peers. Pod addresses are announced where the
policy says `exportPodCIDR`, or a CiliumBGPAdvertisement of type PodCIDR has the labels that a peer's configuration
selects.

Source: docs.cilium.io, "BGP Control Plane Resources" and "BGP Control Plane Resources (Legacy)".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from chaosext.rehearsal.snapshot import documents as doc
from chaosext.rehearsal.snapshot.node_patterns import selects
from chaosext.rehearsal.snapshot.pod_specs import selector
from chaosext.rehearsal.snapshot.world import Doubt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.rehearsal.snapshot.networks.signs import NetworkSigns, Values

POLICY, CLUSTER_CONFIG = "CiliumBGPPeeringPolicy", "CiliumBGPClusterConfig"
PEER_CONFIG, ADVERTISEMENT = "CiliumBGPPeerConfig", "CiliumBGPAdvertisement"
PLURALS = {
    POLICY: "ciliumbgppeeringpolicies",
    CLUSTER_CONFIG: "ciliumbgpclusterconfigs",
    PEER_CONFIG: "ciliumbgppeerconfigs",
    ADVERTISEMENT: "ciliumbgpadvertisements",
}
BGP_KINDS = tuple(PLURALS)

POD_CIDR = "PodCIDR"


class Announcements:
    """Which nodes announce their Pods to a peer that is not a node, by Cilium's BGP kinds, and the doubts about it."""

    def __init__(self, seen: NetworkSigns) -> None:
        self._seen = seen
        self._own = {ip for node in seen.nodes for ip in node.addresses}
        self._afi = "ipv4" if any("." in ip for node in seen.nodes for ip in node.internal_ips) else "ipv6"
        self.nodes: set[str] = set()
        self.doubts: list[Doubt] = []
        for kind in BGP_KINDS:
            if why := seen.missed.get(kind):
                self._doubt(kind, "", f"it could not be read ({why})", unless="the cluster doesn't know")
        for each in seen.documents.get(POLICY, ()):
            self._policy(f"{POLICY}/{_name(each)}", _spec(each))
        for each in seen.documents.get(CLUSTER_CONFIG, ()):
            self._cluster_config(f"{CLUSTER_CONFIG}/{_name(each)}", _spec(each))

    def _doubt(self, subject: str, key: str, why: str, unless: str = "\0") -> None:
        if unless not in why:
            self.doubts.append(Doubt(subject=subject, key=key, why=why))

    def _policy(self, subject: str, spec: Values) -> None:
        for router in _each(spec, "virtualRouters"):
            if router.get("podIPPoolSelector") is not None:
                self._doubt(
                    subject, "spec.virtualRouters.podIPPoolSelector", "announcing pools isn't modelled"
                )
            peers = [str(peer.get("peerAddress", "")) for peer in _each(router, "neighbors")]
            if router.get("exportPodCIDR") is True:
                self._announce(subject, "spec.virtualRouters.neighbors.peerAddress", spec, peers)

    def _cluster_config(self, subject: str, spec: Values) -> None:
        for instance in _each(spec, "bgpInstances"):
            for peer in _each(instance, "peers"):
                if "autoDiscovery" in peer and not peer.get("peerAddress"):
                    self._doubt(subject, "spec.bgpInstances.peers.autoDiscovery", "its peers aren't modelled")
                reference = peer.get("peerConfigRef")
                if isinstance(reference, dict) and self._exports(subject, str(reference.get("name", ""))):
                    address = str(peer.get("peerAddress") or "")
                    self._announce(subject, "spec.bgpInstances.peers.peerAddress", spec, [address])

    def _exports(self, subject: str, name: str) -> bool:
        """Whether a peer with this CiliumBGPPeerConfig learns Pod addresses."""
        configs = [each for each in self._seen.documents.get(PEER_CONFIG, ()) if _name(each) == name]
        if not configs:
            why = f"names {name!r}, which is not in the snapshot, so it is unknown what is announced"
            self._doubt(subject, "spec.bgpInstances.peers.peerConfigRef", why)
            return False
        families = [
            family
            for family in _each(_spec(configs[0]), "families")
            if family.get("advertisements") is not None and family.get("afi") in ("", None, self._afi)
        ]
        return any(self._advertises(family["advertisements"]) for family in families)

    def _advertises(self, chosen: Any) -> bool:
        labels = selector(msgspec.convert(chosen, doc.Selector))
        for each in self._seen.documents.get(ADVERTISEMENT, ()):
            own = each.get("metadata", {}).get("labels") or {}
            if labels is None or not selects(labels, own):
                continue
            kinds = [advert.get("advertisementType") for advert in _each(_spec(each), "advertisements")]
            if POD_CIDR in kinds:
                return True
            if "CiliumPodIPPool" in kinds:
                self._doubt(
                    f"{ADVERTISEMENT}/{_name(each)}", "spec.advertisements", "announcing pools isn't modelled"
                )
        return False

    def _announce(self, subject: str, key: str, spec: Values, peers: Sequence[str]) -> None:
        outside = [peer for peer in peers if peer and peer.partition("/")[0] not in self._own]
        if len(outside) < len([peer for peer in peers if peer]):
            self._doubt(subject, key, "is a node's: sessions between nodes of Cilium's BGP aren't modelled")
        chosen = spec.get("nodeSelector")
        labels = None if chosen is None else selector(msgspec.convert(chosen, doc.Selector))
        if outside:
            self.nodes.update(
                node.name for node in self._seen.nodes if labels is None or selects(labels, node.labels)
            )


def kept(kind: str, item: Values) -> dict[str, Any]:
    """Return the parts of an object that are read: no password, timer, port or AS number; labels of advertisements."""
    meta: dict[str, Any] = {"name": _name(item)}
    labels = item["metadata"].get("labels")
    if kind == ADVERTISEMENT and isinstance(labels, dict):
        meta["labels"] = {str(key): str(value) for key, value in labels.items()}
    return {"metadata": meta, "spec": _kept_spec(kind, _spec(item))}


def _kept_spec(kind: str, spec: Values) -> dict[str, Any]:
    if kind == PEER_CONFIG:
        return {"families": [_picked(each, "afi", "advertisements") for each in _each(spec, "families")]}
    if kind == ADVERTISEMENT:
        return {
            "advertisements": [_picked(each, "advertisementType") for each in _each(spec, "advertisements")]
        }
    chosen = _picked(spec, "nodeSelector")
    if kind == POLICY:
        return chosen | {"virtualRouters": [_kept_router(each) for each in _each(spec, "virtualRouters")]}
    instances = (_each(each, "peers") for each in _each(spec, "bgpInstances"))
    return chosen | {"bgpInstances": [{"peers": [_kept_peer(each) for each in peers]} for peers in instances]}


def _kept_router(router: Values) -> dict[str, Any]:
    pools: Values = {"podIPPoolSelector": {}} if router.get("podIPPoolSelector") is not None else {}
    neighbors = [_picked(each, "peerAddress") for each in _each(router, "neighbors")]
    return {**_picked(router, "exportPodCIDR"), **pools, "neighbors": neighbors}


def _kept_peer(peer: Values) -> dict[str, Any]:
    found: Values = {"autoDiscovery": {}} if "autoDiscovery" in peer else {}
    return {**_picked(peer, "peerAddress", "peerConfigRef"), **found}


def _picked(values: Values, *keys: str) -> dict[str, Any]:
    """Return the values of these keys, each reduced to the shape that the API gives it."""
    found: dict[str, Any] = {}
    for key in keys:
        value = values.get(key)
        if key in ("nodeSelector", "advertisements") and value is not None:
            found[key] = msgspec.to_builtins(msgspec.convert(value, doc.Selector))
        elif key == "peerConfigRef" and isinstance(value, dict):
            found[key] = {"name": str(value.get("name", ""))}
        elif isinstance(value, str | bool):
            found[key] = value
    return found


def _each(values: Values, key: str) -> list[Values]:
    found = values.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _name(item: Values) -> str:
    return str(item["metadata"]["name"])


def _spec(item: Values) -> Values:
    found = item.get("spec")
    return found if isinstance(found, dict) else {}
