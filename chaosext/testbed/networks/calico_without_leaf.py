"""Calico whose nodes exchange Pod routes among themselves, without the leaf: by a mesh, by reflectors, or by VXLAN.

The leaf drops traffic for Pod addresses to which a node has no route, as the fabric of a datacenter does.

Source: Calico's documentation (docs.tigera.io), "Configure BGP peering" and "Overlay networking"; upstream's
calico.yaml and calico-vxlan.yaml. Pure.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chaosext.testbed.networks.calico_bgp import (
    AGENT,
    CNI_IS_USABLE,
    bgp_peer,
    calico_batches,
    images_of,
    mesh_off,
    route_through_leaf,
)
from chaosext.testbed.networks.network_setup import NetworkInputs, NetworkSetup, is_control_plane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.testbed.containers import NodeContainer
    from chaosext.testbed.kubectl import Manifest

REFLECTOR_LABEL = "route-reflector"
CLUSTER_ID_ANNOTATION = "projectcalico.org/RouteReflectorClusterID"
CLUSTER_ID = "244.0.0.1"
"""The documentation's example; reflectors with the same ID stand in for each other."""


BESIDE, BESIDE_CLUSTER_ID = "beside-control-plane", "244.0.0.17"
"""Value of the label, and cluster ID, of the reflectors that `chaosext rehearse` recommends beside these."""

BESIDE_NAMES = ("-worker", "-worker2")
"""How the names of their nodes end: the first two workers."""


def reflector_objects() -> list[Manifest]:
    """Return Calico's BGP objects: no node-to-node mesh, and a peering of every node with the reflectors."""
    selector = f"{REFLECTOR_LABEL} == 'true'"
    return [mesh_off(), bgp_peer("route-reflectors", nodeSelector="all()", peerSelector=selector)]


def reflector_marks(inputs: NetworkInputs) -> list[Manifest]:
    """Return the control-plane nodes as route reflectors."""
    return [_reflector(node, "true", CLUSTER_ID) for node in inputs.nodes if is_control_plane(node)]


def _reflector(node: NodeContainer, label: str, cluster_id: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "labels": {REFLECTOR_LABEL: label},
            "annotations": {CLUSTER_ID_ANNOTATION: cluster_id},
        },
    }


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
    agent_images=images_of,
    has_node_session=_all_nodes,
    node_script=route_through_leaf,
    cni_is_usable=CNI_IS_USABLE,
)
"""Calico's default, without its overlay: a session between any two nodes, and no BGP object at all."""

CALICO_REFLECTORS = NetworkSetup(
    batches=_reflector_batches,
    agent=AGENT,
    agent_images=images_of,
    has_node_session=has_reflector,
    node_script=route_through_leaf,
    node_marks=reflector_marks,
    cni_is_usable=CNI_IS_USABLE,
)
"""Every node has a session with the control-plane nodes, which pass the workers' routes on."""


def _batches_beside(inputs: NetworkInputs) -> list[Sequence[Manifest]]:
    selector = f"{REFLECTOR_LABEL} == '{BESIDE}'"
    peer = bgp_peer(f"reflectors-{BESIDE}", nodeSelector="all()", peerSelector=selector)
    return calico_batches(inputs, [*reflector_objects(), peer])


def _marks_beside(inputs: NetworkInputs) -> list[Manifest]:
    beside = [_reflector(node, BESIDE, BESIDE_CLUSTER_ID) for node in inputs.nodes if is_beside(node)]
    return [*reflector_marks(inputs), *beside]


def is_beside(node: NodeContainer) -> bool:
    """Whether the node is a reflector by the mitigation."""
    return node.name.endswith(BESIDE_NAMES)


def _has_some_reflector(one: NodeContainer, other: NodeContainer) -> bool:
    return has_reflector(one, other) or is_beside(one) or is_beside(other)


CALICO_REFLECTORS_BESIDE = replace(
    CALICO_REFLECTORS,
    batches=_batches_beside,
    has_node_session=_has_some_reflector,
    node_marks=_marks_beside,
)
"""The same with the mitigation reflectors-off-control-plane: two workers reflect routes, too."""

CALICO_VXLAN = NetworkSetup(
    batches=_vxlan_batches,
    agent=AGENT,
    agent_images=images_of,
    node_script=route_through_leaf,
    cni_is_usable=CNI_IS_USABLE,
)
"""Felix makes a tunnel to every node from what the API server says; there is no BGP."""
