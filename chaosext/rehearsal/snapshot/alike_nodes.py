"""Nodes that are alike: to cut off one of them does to the cluster what it does to cut off another.

They have the same role, zone, taints, capacity, labels that matter, BGP peers, and Pods of the same workloads. Labels
matter if a Pod or a BGPPeer selects nodes by them. Names, addresses, and Pods' names do not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from chaosext.cluster.bgp_peers import peer_address, selects
from chaosext.rehearsal.snapshot.node_patterns import is_over
from chaosext.rehearsal.snapshot.world import HOSTNAME

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from chaosext.rehearsal.snapshot.world import Affinity, Node, Pod, PodSpec, World


def alike_nodes(world: World) -> Mapping[str, int]:
    """Return node -> the number of its class; nodes of one class are alike."""
    keys, pods = _keys(world), _pods(world)
    number_of: dict[Hashable, int] = {}
    return {
        node.name: number_of.setdefault(_kind(world, node, keys, pods[node.name]), len(number_of))
        for node in world.nodes
    }


def _kind(world: World, node: Node, keys: frozenset[str], pods: Hashable) -> Hashable:
    peers = world.network.peers
    addresses = {each.partition("/")[0] for each in node.addresses}
    return (
        (node.control_plane, node.zone, node.ready, node.unschedulable, node.simulated, node.provider),
        (node.allocatable, node.max_pods, node.kubelet_version, node.reflector_cluster),
        frozenset(node.taints),
        frozenset((key, node.labels[key]) for key in keys if key in node.labels),
        tuple(selects(peer, node) for peer in peers),
        frozenset(at for at, peer in enumerate(peers) if peer_address(peer.peer_ip) in addresses),
        node.name in world.network.reached,
        frozenset(at for at, each in enumerate(world.repairs) if node.name in each.nodes),
        pods,
    )


def _pods(world: World) -> Mapping[str, Hashable]:
    """Return node -> its Pods, as workload, template and state -> how many."""
    found: dict[str, Counter[Hashable]] = defaultdict(Counter)
    for pod in world.pods:
        if not is_over(pod):
            template = _of_its_node(pod.spec) if _is_bound(pod) else id(pod.spec)
            owner = "Node" if pod.owner.startswith("Node/") else pod.owner or pod.subject
            found[pod.node][pod.namespace, owner, template, pod.ready, pod.terminating] += 1
    return defaultdict(frozenset, {node: frozenset(pods.items()) for node, pods in found.items()})


def _is_bound(pod: Pod) -> bool:
    """Whether the Pod belongs to its node, and its template may name it: a static Pod, or one of a DaemonSet."""
    return pod.owner.partition("/")[0] in ("Node", "DaemonSet")


def _of_its_node(spec: PodSpec) -> Hashable:
    """Return what matters of the template of such a Pod."""
    return (frozenset(spec.labels.items()), spec.tolerations, spec.requests, spec.priority, spec.host_ports)


def _keys(world: World) -> frozenset[str]:
    """Return the labels of nodes by which a Pod or a BGPPeer selects nodes.

    A Pod that must or must not be where another is, is so by host; that distinguishes no hosts.
    """
    specs = {id(pod.spec): pod.spec for pod in world.pods if not _is_bound(pod)}.values()
    found = {key for spec in specs for key in _of_spec(spec)}
    return frozenset(found)


def _of_spec(spec: PodSpec) -> Iterator[str]:
    yield from spec.node_selector
    yield from (each.topology_key for each in spec.spreads if each.topology_key != HOSTNAME)
    if spec.affinity:
        yield from _of_affinity(spec.affinity)


def _of_affinity(affinity: Affinity) -> Iterator[str]:
    terms = (*(affinity.required_nodes or ()), *(term for _, term in affinity.preferred_nodes))
    yield from (each.key for term in terms for each in term.requirements)
    yield from (HOSTNAME for term in terms if term.names)
    others = (
        *affinity.required_pods,
        *affinity.forbidden_pods,
        *(term for _, term in affinity.preferred_pods),
        *(term for _, term in affinity.avoided_pods),
    )
    yield from (each.topology_key for each in others if each.topology_key != HOSTNAME)
