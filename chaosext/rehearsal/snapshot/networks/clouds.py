"""Clouds whose own network routes Pod addresses: a node that loses the control plane keeps its routes.

Source: the clouds' documents (Amazon VPC CNI; Azure CNI, kubenet and "CNI Overlay"; GKE, "VPC-native clusters" and
"routes-based clusters"). Their node labels are set by the cloud's own node bootstrap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.rehearsal.snapshot.networks.signs import agents_missing, few, proven
from chaosext.rehearsal.snapshot.world import Doubt, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.rehearsal.snapshot.networks.signs import NetworkSigns, Shown
    from chaosext.rehearsal.snapshot.world import Node

GKE_POOL, GKE_VERSION = "cloud.google.com/gke-nodepool", "-gke."
AKS_CLUSTER = "kubernetes.azure.com/cluster"
EKS_COMPUTE, EKS_WITHOUT_AGENT = "eks.amazonaws.com/compute-type", ("fargate", "auto")
"""Label of EKS' nodes; Fargate's and Auto Mode's run no Pod of the VPC CNI, which is part of the node."""


def is_gke(node: Node) -> bool:
    return GKE_POOL in node.labels and GKE_VERSION in node.kubelet_version


def is_aks(node: Node) -> bool:
    return AKS_CLUSTER in node.labels


def is_eks_without_agent(node: Node) -> bool:
    return node.labels.get(EKS_COMPUTE) in EKS_WITHOUT_AGENT


def amazon(seen: NetworkSigns) -> Shown:
    """Return Amazon's VPC if its CNI runs on every node that needs it."""
    needing = [node for node in seen.nodes if not is_eks_without_agent(node)]
    said = "Amazon VPC CNI: Pods have addresses of the VPC, by aws-node on every node"
    return proven(Plugin.ROUTED, said, *agents_missing(seen, "aws-node", needing=needing))


def azure(seen: NetworkSigns) -> Shown:
    """Return Azure's network if its CNI runs on every node."""
    said = "Azure CNI: the virtual network routes Pod addresses, by azure-cns on every node"
    return proven(Plugin.ROUTED, said, *agents_missing(seen, "azure-cns"))


def kubenet(seen: NetworkSigns) -> Shown:
    """Return AKS without a network plugin of its own: Azure's route table leads to each node's Pods."""
    said = "AKS without a CNI Pod (kubenet): Azure's route table has each node's Pods"
    return proven(
        Plugin.ROUTED, said, *_others(seen.nodes, [each for each in seen.nodes if is_aks(each)], AKS_CLUSTER)
    )


def gke(seen: NetworkSigns) -> Shown:
    """Return GKE's network: the VPC routes Pod addresses, as aliases of the nodes' or by a route for each node."""
    said = "GKE: the VPC routes Pod addresses, by the label and version of every node"
    return proven(
        Plugin.ROUTED, said, *_others(seen.nodes, [each for each in seen.nodes if is_gke(each)], GKE_POOL)
    )


def _others(nodes: Iterable[Node], of_cloud: list[Node], label: str) -> tuple[Doubt, ...]:
    others = [node.name for node in nodes if node not in of_cloud]
    if not others:
        return ()
    return (
        Doubt(
            subject=f"Node/{few(others)}",
            key=f"label {label}",
            why="is missing: who routes its Pods is unknown",
        ),
    )
