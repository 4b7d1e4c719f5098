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


class ControlPlaneTimings(StrEnum):
    """How fast the control plane gives up on a node."""

    ACCELERATED = "accelerated"
    PRODUCTION = "production"


class Sidecars(StrEnum):
    """Whether Envoy is a container beside the application, or a native sidecar (an init container)."""

    CLASSIC = "classic"
    NATIVE = "native"


class StoryMitigation(StrEnum):
    """A mitigation that prevents the end of the incident."""

    DNS_AFFINITY = "dns-affinity"


def chosen(kind: type[Choice], value: str, field: str) -> Choice:
    """Return the member of `kind` with that value. Raises `Refused`, which names `field` and the nearest name."""
    try:
        return kind(value)
    except ValueError:
        raise Refused(f"{field} {value!r} is unknown", did_you_mean(value, kind)) from None
