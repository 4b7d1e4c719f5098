"""Makes a scenario's cluster: nodes join at moments of their own, and everything runs before the cut."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from chaosext.cluster.client import resource_path
from chaosext.model.errors import ChaosextError, Unreachable
from oracle.kubelets import CUT, KEPT, SIDE

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from chaosext.cluster.client import Cluster
    from oracle.manifests import Manifest
    from oracle.scenarios import Scenario

SETTLED_WITHIN_S = 120.0

STAGGER_S = 10.0
"""Nodes join at random over a lease's renewal, so that leases have any age at the cut."""

PLURALS = {f"{kind}Set": f"{kind.lower()}sets" for kind in ("Replica", "Stateful", "Daemon")} | {
    kind: f"{kind.lower()}s"
    for kind in ("Node", "Pod", "Service", "Namespace", "Deployment", "PodDisruptionBudget")
}


def build(cluster: Cluster, scenario: Scenario, chance: random.Random, version: str) -> None:
    """Makes the scenario's cluster; `version` is what the nodes' kubelets report."""
    _create(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    _join(cluster, scenario, _of_version(scenario.nodes, version), chance)
    until(lambda: _has_accounts(cluster), "service accounts")
    for manifest in scenario.workloads:
        _create(cluster, manifest)
    until(lambda: _is_settled(cluster, scenario.nodes), "every Pod")
    _join(cluster, scenario, _of_version(scenario.late, version), chance)
    until(lambda: _is_settled(cluster, (*scenario.nodes, *scenario.late)), "every Pod")


def _of_version(nodes: Iterable[Manifest], version: str) -> list[Manifest]:
    info = {"nodeInfo": {"kubeletVersion": version}}
    return [{**each, "status": {**each["status"], **info}} for each in nodes]


def _join(cluster: Cluster, scenario: Scenario, nodes: Sequence[Manifest], chance: random.Random) -> None:
    """Every node at a moment of its own."""
    start_s = time.monotonic()
    offsets = sorted(chance.uniform(0, STAGGER_S) for _ in nodes)
    for offset_s, manifest in zip(offsets, chance.sample(nodes, len(nodes)), strict=True):
        time.sleep(max(0.0, start_s + offset_s - time.monotonic()))
        metadata = manifest["metadata"]
        side = CUT if metadata["name"] in scenario.cut_nodes else KEPT
        labels = {**metadata["labels"], SIDE: side}
        _create(cluster, {**manifest, "metadata": {**metadata, "labels": labels}})


def _create(cluster: Cluster, manifest: Manifest) -> None:
    namespace = manifest["metadata"].get("namespace")
    cluster.request("POST", resource_path(PLURALS[manifest["kind"]], namespace=namespace), body=manifest)


def _has_accounts(cluster: Cluster) -> bool:
    """Pods are refused until their namespace has its default account."""
    wanted = [f"/api/v1/namespaces/{name}/serviceaccounts/default" for name in ("shop", "kube-system")]
    return all(cluster.ask("GET", path).status == 200 for path in wanted)


def _is_settled(cluster: Cluster, nodes: Sequence[Manifest]) -> bool:
    pods = list(cluster.items("pods"))
    wanted = sum(map(_replicas, _workloads(cluster)))
    wanted += len(nodes) * len(list(cluster.items("daemonsets")))
    bare = sum(not each["metadata"].get("ownerReferences") for each in pods)
    ready = all(
        each.ready == "True" and len(each.taints) == _own_taints(nodes, each.name) for each in cluster.nodes()
    )
    return ready and len(pods) == wanted + bare and all(each.ready for each in cluster.pods())


def _workloads(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Those that nobody else made."""
    for kind in ("deployments", "replicasets", "statefulsets"):
        yield from (each for each in cluster.items(kind) if not each["metadata"].get("ownerReferences"))


def _replicas(obj: dict[str, Any]) -> int:
    return int(obj["spec"].get("replicas", 1))


def _own_taints(nodes: Iterable[Manifest], name: str) -> int:
    found = (len(each["spec"].get("taints", ())) for each in nodes if each["metadata"]["name"] == name)
    return next(found, -1)


def until(done: Callable[[], bool], what: str) -> None:
    """Asks `done` twice a second. Raises `ChaosextError` when it takes too long."""
    end_s = time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < end_s:
        with suppress(Unreachable):
            if done():
                return
        time.sleep(0.5)
    raise ChaosextError(f"waited {SETTLED_WITHIN_S:g} s for {what} of the oracle's cluster")
