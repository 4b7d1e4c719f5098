"""All networks of the testbed by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.testbed.networks import calico
from chaosext.testbed.options import PodNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.testbed.networks.network_setup import NetworkSetup

NETWORKS: Mapping[PodNetwork, NetworkSetup] = {
    PodNetwork.CALICO_BGP: calico.CALICO_BGP,
}


def network_of(record: Mapping[str, str]) -> NetworkSetup:
    """Return the network of a testbed by its record (`Blueprint.record`)."""
    return NETWORKS[PodNetwork(record.get("network", PodNetwork.CALICO_BGP))]
