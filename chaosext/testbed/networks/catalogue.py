"""All networks of the testbed by name, and the mitigations that change one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.testbed.bed_choices import PodNetwork, StoryMitigation
from chaosext.testbed.bed_options import recorded_options
from chaosext.testbed.networks import (
    calico_bgp,
    calico_racks,
    calico_without_leaf,
    flannel_vxlan,
    kube_router_mesh,
    macvlan,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.testbed.bed_options import BedOptions
    from chaosext.testbed.networks.network_setup import NetworkSetup

NETWORKS: Mapping[PodNetwork, NetworkSetup] = {
    PodNetwork.CALICO_BGP: calico_bgp.CALICO_BGP,
    PodNetwork.CALICO_MESH: calico_without_leaf.CALICO_MESH,
    PodNetwork.CALICO_RACKS: calico_racks.CALICO_RACKS,
    PodNetwork.CALICO_REFLECTORS: calico_without_leaf.CALICO_REFLECTORS,
    PodNetwork.CALICO_VXLAN: calico_without_leaf.CALICO_VXLAN,
    PodNetwork.FLANNEL: flannel_vxlan.FLANNEL,
    PodNetwork.KUBE_ROUTER: kube_router_mesh.KUBE_ROUTER,
    PodNetwork.MACVLAN: macvlan.MACVLAN,
}

MITIGATED: Mapping[tuple[PodNetwork, StoryMitigation], NetworkSetup] = {
    (PodNetwork.CALICO_BGP, StoryMitigation.BGP_ON_CONTROL_PLANE): calico_bgp.CALICO_BGP_FOR_ALL,
    (PodNetwork.CALICO_RACKS, StoryMitigation.BGP_ON_CONTROL_PLANE): calico_racks.CALICO_RACKS_FOR_ALL,
    (
        PodNetwork.CALICO_REFLECTORS,
        StoryMitigation.REFLECTORS_OFF_CONTROL_PLANE,
    ): calico_without_leaf.CALICO_REFLECTORS_BESIDE,
}
"""A network and a mitigation of it -> what they come to; at most one mitigation changes each network."""


def network_for(options: BedOptions) -> NetworkSetup:
    """Return the network that the options come to."""
    changed = (MITIGATED.get((options.network, each)) for each in options.mitigations)
    return next(filter(None, changed), NETWORKS[options.network])


def network_of(record: Mapping[str, str]) -> NetworkSetup:
    """Return the network of a testbed by its record (`Blueprint.record`)."""
    return network_for(recorded_options(record))
