"""Calico whose nodes exchange Pod routes among themselves, without the leaf: by a mesh, by reflectors, or by VXLAN.

Source: Calico's documentation (docs.tigera.io), "Configure BGP peering" and "Overlay networking"; upstream's
calico.yaml and calico-vxlan.yaml. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.testbed.networks.calico import AGENT, CNI_IS_USABLE, bgp_peer, calico_batches, mesh_off
from chaosext.testbed.networks.network_setup import NetworkInputs, NetworkSetup, is_control_plane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.testbed.containers import NodeContainer
    from chaosext.testbed.kubectl import Manifest

REFLECTOR_LABEL = "route-reflector"
CLUSTER_ID_ANNOTATION = "projectcalico.org/RouteReflectorClusterID"
CLUSTER_ID = "244.0.0.1"
"""The documentation's example; reflectors with the same ID stand in for each other."""


def reflector_objects() -> list[Manifest]:
    """Return Calico's BGP objects: no node-to-node mesh, and a peering of every node with the reflectors."""
    selector = f"{REFLECTOR_LABEL} == 'true'"
    return [mesh_off(), bgp_peer("route-reflectors", nodeSelector="all()", peerSelector=selector)]


def reflector_marks(inputs: NetworkInputs) -> list[Manifest]:
    """Return the control-plane nodes as route reflectors."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": node.name,
                "labels": {REFLECTOR_LABEL: "true"},
                "annotations": {CLUSTER_ID_ANNOTATION: CLUSTER_ID},
            },
        }
        for node in inputs.nodes
        if is_control_plane(node)
    ]


def has_reflector(one: NodeContainer, other: NodeContainer) -> bool:
    """Whether one of two nodes is a route reflector."""
    return is_control_plane(one) or is_control_plane(other)


def _reflector_batches(inputs: NetworkInputs) -> list[Sequence[Manifest]]:
    return calico_batches(inputs, reflector_objects())


def _vxlan_batches(inputs: NetworkInputs) -> list[Sequence[Manifest]]:
    return calico_batches(inputs, vxlan=True)


def _all_nodes(_one: NodeContainer, _other: NodeContainer) -> bool:
    return True


CALICO_MESH = NetworkSetup(
    batches=calico_batches,
    agent=AGENT,
    has_node_session=_all_nodes,
    cni_is_usable=CNI_IS_USABLE,
)
"""Calico's default, without its overlay: a session between any two nodes, and no BGP object at all."""

CALICO_REFLECTORS = NetworkSetup(
    batches=_reflector_batches,
    agent=AGENT,
    has_node_session=has_reflector,
    node_marks=reflector_marks,
    cni_is_usable=CNI_IS_USABLE,
)
"""Every node has a session with the control-plane nodes, which pass the workers' routes on."""

CALICO_VXLAN = NetworkSetup(batches=_vxlan_batches, agent=AGENT, cni_is_usable=CNI_IS_USABLE)
"""Felix makes a tunnel to every node from what the API server says; there is no BGP."""
