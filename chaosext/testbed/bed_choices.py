"""The options of `chaosext testbed up`: what may be chosen, by name."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from chaosext.model.errors import Refused, did_you_mean

Choice = TypeVar("Choice", bound=StrEnum)


class PodNetwork(StrEnum):
    """How Pods reach each other."""

    CALICO_BGP = "calico-bgp"
    CALICO_MESH = "calico-mesh"
    CALICO_RACKS = "calico-racks"
    CALICO_REFLECTORS = "calico-reflectors"
    CALICO_VXLAN = "calico-vxlan"
    FLANNEL = "flannel"
    KUBE_ROUTER = "kube-router"
    MACVLAN = "macvlan"


class ControlPlaneTimings(StrEnum):
    """How fast the control plane gives up on a node."""

    ACCELERATED = "accelerated"
    PRODUCTION = "production"


class MeshChoice(StrEnum):
    """Whether the shop's Pods have a sidecar of Istio, and whether it answers their lookups of Services."""

    ISTIO = "istio"
    ISTIO_DNS_CAPTURE = "istio-dns-capture"
    NONE = "none"


class Sidecars(StrEnum):
    """Whether Envoy is a native sidecar (an init container, Istio's default since 1.27) or a container of its own."""

    NATIVE = "native"
    CLASSIC = "classic"


class DnsChoice(StrEnum):
    """Which servers answer the Pods' lookups, and where these run.

    - coredns: kubeadm's Deployment, on two workers.
    - nodelocal: the same, behind a cache on each node that the node's Pods ask.
    - nodelocal-serve-stale: the caches answer expired names for a day.
    - dns-daemonset: one server on each node whose Pods other nodes reach, none of which is ever evicted.
    - on-control-plane: kubeadm's Deployment, on the first control-plane node, as on a fresh kubeadm cluster.
    """

    COREDNS = "coredns"
    NODELOCAL = "nodelocal"
    NODELOCAL_SERVE_STALE = "nodelocal-serve-stale"
    DNS_DAEMONSET = "dns-daemonset"
    ON_CONTROL_PLANE = "on-control-plane"


class StoryMitigation(StrEnum):
    """A mitigation that may prevent the end of the incident, by the name that `chaosext rehearse` recommends it."""

    DNS_AFFINITY = "dns-affinity"
    BGP_ON_CONTROL_PLANE = "bgp-on-control-plane"
    LONGER_TOLERATIONS = "longer-tolerations"
    NODELOCAL_DNS = "nodelocal-dns"
    SERVE_STALE = "serve-stale"
    DNS_CAPTURE = "dns-capture"
    REFLECTORS_OFF_CONTROL_PLANE = "reflectors-off-control-plane"
    PAUSE_EVICTIONS = "pause-evictions"
    SPREAD = "spread"


def chosen(kind: type[Choice], value: str, field: str) -> Choice:
    """Return the member of `kind` with that value. Raises `Refused`, which names `field` and the nearest name."""
    try:
        return kind(value)
    except ValueError:
        raise Refused(f"{field} {value!r} is unknown", did_you_mean(value, kind)) from None
