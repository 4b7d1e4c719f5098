"""Nodes that are alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worlds import app_spec, cluster, daemons, spread_over

from chaosext.rehearsal.snapshot.alike_nodes import alike_nodes
from chaosext.rehearsal.snapshot.world import Affinity, NodeTerm, Requirement

if TYPE_CHECKING:
    from chaosext.rehearsal.snapshot.world import World

BASE = cluster(workers=4, dns_replicas=1)


def classes(world: World) -> list[set[str]]:
    found: dict[int, set[str]] = {}
    for node, number in alike_nodes(world).items():
        found.setdefault(number, set()).add(node)
    return list(found.values())


def test_nodes_with_pods_of_the_same_workloads_are_alike() -> None:
    assert classes(BASE) == [{"cp-1"}, {"worker-1"}, {"worker-2", "worker-3", "worker-4"}]


def test_a_pod_of_another_workload_makes_a_node_unlike() -> None:
    pods = spread_over(["worker-3"], 1, "ReplicaSet/web-1", "web", app_spec("web"))
    assert {"worker-2", "worker-4"} in classes(replace(BASE, pods=(*BASE.pods, *pods)))


def test_a_daemonset_has_the_same_pod_on_each_node_though_its_template_names_the_node() -> None:
    pods = []
    for pod in daemons([node.name for node in BASE.nodes]):
        here = Affinity(required_nodes=(NodeTerm(names=(pod.node,)),))
        pods.append(replace(pod, spec=replace(pod.spec, affinity=here)))
    others = tuple(pod for pod in BASE.pods if not pod.owner.startswith("DaemonSet/"))
    assert {"worker-2", "worker-3", "worker-4"} in classes(replace(BASE, pods=(*others, *pods)))


def test_only_labels_that_select_nodes_matter() -> None:
    nodes = tuple(
        replace(node, labels={**node.labels, "disk": node.name, "mood": node.name}) for node in BASE.nodes
    )
    labelled = replace(BASE, nodes=nodes)
    assert {"worker-2", "worker-3", "worker-4"} in classes(labelled)
    on_disk = Affinity(required_nodes=(NodeTerm(requirements=(Requirement(key="disk", operator="Exists"),)),))
    web = replace(app_spec("web"), affinity=on_disk)
    pods = spread_over(["worker-1"], 1, "ReplicaSet/web-1", "web", web)
    assert {"worker-2"} in classes(replace(labelled, pods=(*labelled.pods, *pods)))


def test_zones_and_readiness_matter() -> None:
    world = cluster(workers=4, dns_replicas=1, zones=("a", "b"))
    assert {"worker-2", "worker-4"} in classes(world)
    nodes = tuple(replace(node, ready="False") if node.name == "worker-4" else node for node in world.nodes)
    assert {"worker-2"} in classes(replace(world, nodes=nodes))
