"""All networks of the testbed by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.testbed.networks import calico, calico_racks, calico_without_leaf
from chaosext.testbed.options import PodNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.testbed.networks.network_setup import NetworkSetup

NETWORKS: Mapping[PodNetwork, NetworkSetup] = {
    PodNetwork.CALICO_BGP: calico.CALICO_BGP,
    PodNetwork.CALICO_MESH: calico_without_leaf.CALICO_MESH,
    PodNetwork.CALICO_RACKS: calico_racks.CALICO_RACKS,
    PodNetwork.CALICO_REFLECTORS: calico_without_leaf.CALICO_REFLECTORS,
    PodNetwork.CALICO_VXLAN: calico_without_leaf.CALICO_VXLAN,
}


def network_of(record: Mapping[str, str]) -> NetworkSetup:
    """Return the network of a testbed by its record (`Blueprint.record`)."""
    return NETWORKS[PodNetwork(record.get("network", PodNetwork.CALICO_BGP))]
