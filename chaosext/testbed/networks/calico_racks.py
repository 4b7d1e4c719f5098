"""Calico with an AS per rack: two racks with a leaf each, which peer with each other. Control-plane nodes have no BGP.

Source: Calico's documentation (docs.tigera.io), "Calico over IP fabrics", the AS per rack model. Pure.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from chaosext.testbed.leaf import route_script
from chaosext.testbed.networks.calico_bgp import (
    AGENT,
    CNI_IS_USABLE,
    bgp_peer,
    calico_batches,
    images_of,
    mesh_off,
)
from chaosext.testbed.networks.network_setup import NetworkInputs, NetworkSetup, every_node, is_worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chaosext.testbed.containers import NodeContainer
    from chaosext.testbed.kubectl import Manifest

RACK_AS_NUMBERS = (64601, 64602)
RACK_LABEL = "rack"
AS_NUMBER_ANNOTATION = "projectcalico.org/ASNumber"


def rack_of(node: NodeContainer) -> int:
    """Return the number of a node's rack, from 0: workers alternate, control-plane nodes are in the first.

    kind calls workers NAME-worker, NAME-worker2 and so on (kind 0.33, pkg/cluster/internal/providers/common/namer.go).
    """
    found = re.search(r"-worker(\d*)$", node.name)
    return (int(found[1] or 1) - 1) % len(RACK_AS_NUMBERS) if found else 0


def rack_marks(inputs: NetworkInputs) -> list[Manifest]:
    """Return the workers with the label of their rack and its AS number."""
    return _marks(each for each in inputs.nodes if is_worker(each))


def _marks_of_all(inputs: NetworkInputs) -> list[Manifest]:
    return _marks(inputs.nodes)


def _marks(nodes: Iterable[NodeContainer]) -> list[Manifest]:
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": node.name,
                "labels": {RACK_LABEL: _rack_name(rack_of(node))},
                "annotations": {AS_NUMBER_ANNOTATION: str(RACK_AS_NUMBERS[rack_of(node)])},
            },
        }
        for node in nodes
    ]


def rack_objects(leaf_ips: Sequence[str]) -> list[Manifest]:
    """Return Calico's BGP objects: no node-to-node mesh, and a peering of each rack's workers with its leaf."""
    return [
        mesh_off(),
        *(
            bgp_peer(
                f"leaf-{_rack_name(rack)}",
                peerIP=leaf_ip,
                asNumber=RACK_AS_NUMBERS[rack],
                nodeSelector=f"{RACK_LABEL} == '{_rack_name(rack)}'",
            )
            for rack, leaf_ip in enumerate(leaf_ips)
        ),
    ]


def _rack_name(rack: int) -> str:
    return f"rack{rack + 1}"


def _batches(inputs: NetworkInputs) -> list[Sequence[Manifest]]:
    return calico_batches(inputs, rack_objects(inputs.leaf_ips))


def _route_through_leaf(inputs: NetworkInputs, node: NodeContainer) -> str:
    return route_script(pod_subnet=inputs.pod_subnet, leaf_ip=inputs.leaf_ips[rack_of(node)])


CALICO_RACKS = NetworkSetup(
    batches=_batches,
    agent=AGENT,
    agent_images=images_of,
    has_leaf_session=is_worker,
    leaf_as_numbers=RACK_AS_NUMBERS,
    leaf_of=rack_of,
    node_marks=rack_marks,
    node_script=_route_through_leaf,
    cni_is_usable=CNI_IS_USABLE,
)
"""An AS per rack: workers peer with their rack's leaf, and leafs with each other."""

CALICO_RACKS_FOR_ALL = replace(CALICO_RACKS, has_leaf_session=every_node, node_marks=_marks_of_all)
"""The same with the mitigation bgp-on-control-plane: control-plane nodes are members of the first rack."""
