"""Plays a scenario on a control plane of its own, and records what comes of it."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import ChaosextError
from oracle.building import build
from oracle.controlplane import ControlPlane
from oracle.kubelets import Kubelets
from oracle.manifests import CONTROL_PLANE, ZONE
from oracle.recording import Recording
from oracle.watching import Watch
from oracle.zonelog import zone_states

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaosext.cluster.client import Cluster
    from chaosext.model.timeline import Event
    from oracle.controlplane import Programs
    from oracle.scenarios import Scenario

BREATHER_S = (10.5, 16.0)
"""Before the cut: every lease was renewed once, and the monitor's passes have any phase to the cut."""

LISTS = (
    "/api/v1/nodes",
    "/api/v1/pods",
    "/api/v1/services",
    "/api/v1/namespaces",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/replicasets",
    "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/daemonsets",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/policy/v1/poddisruptionbudgets",
    "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
)

CALICO: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {
            "apiVersion": "crd.projectcalico.org/v1",
            "kind": "BGPPeer",
            "metadata": {"name": "leaf"},
            "spec": {"peerIP": "172.18.0.5", "asNumber": 64512, "nodeSelector": f"!has({CONTROL_PLANE})"},
        },
        {
            "apiVersion": "crd.projectcalico.org/v1",
            "kind": "BGPConfiguration",
            "metadata": {"name": "default"},
            "spec": {"nodeToNodeMeshEnabled": False, "asNumber": 64512},
        },
        {
            "apiVersion": "crd.projectcalico.org/v1",
            "kind": "IPPool",
            "metadata": {"name": "pool"},
            "spec": {"cidr": "10.244.0.0/16", "ipipMode": "Never", "vxlanMode": "Never"},
        },
    ],
}
"""The story's network, which no control plane knows of: only nodes without a control-plane role announce Pods."""


def play(scenario: Scenario, seed: int, programs: Programs, directory: Path) -> Recording:
    """One play; `seed` decides when nodes join and when the cut comes. Takes a minute and the scenario's own time.

    Raises `ChaosextError` when the cluster doesn't come up.
    """
    chance = random.Random(f"{scenario.name} {seed}")  # noqa: S311
    with ControlPlane(
        programs,
        directory,
        controller_manager=scenario.controller_manager,
        apiserver=scenario.apiserver,
    ) as plane:
        kubelets, cluster = Kubelets(plane, programs), plane.cluster
        build(cluster, scenario, chance, programs.version)
        with Watch(cluster) as watch:
            time.sleep(chance.uniform(*BREATHER_S))
            snapshot = (*_snapshot(cluster), CALICO)
            events = _cut(scenario, kubelets, watch)
        zones = zone_states(plane.log("kube-controller-manager"), watch.zero_wall_s, _zones(scenario))
        return Recording(
            scenario=scenario.name,
            seed=seed,
            kubernetes=programs.version,
            cut_nodes=tuple(sorted(scenario.cut_nodes)),
            cut_for_s=round(watch.healed_s, 3),
            watched_s=scenario.cut_for_s + scenario.after_s,
            controller_manager_flags=scenario.controller_manager,
            apiserver_flags=scenario.apiserver,
            late_s=round(watch.late_s, 3),
            dns_hosts=watch.dns_hosts,
            snapshot=snapshot,
            events=tuple(sorted((*events, *zones), key=lambda event: event.t_s)),
        )


def _cut(scenario: Scenario, kubelets: Kubelets, watch: Watch) -> tuple[Event, ...]:
    watch.begin()
    kubelets.cut()
    watch.until(scenario.cut_for_s)
    kubelets.heal()
    watch.healed_s = watch.now_s
    watch.until(scenario.cut_for_s + scenario.after_s)
    if not kubelets.alive:
        raise ChaosextError("KWOK ended while it was needed; see its log")
    return watch.events


def _snapshot(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """The API's lists, without who wrote which field."""
    for path in LISTS:
        listed = cluster.request("GET", path)
        for item in listed["items"]:
            item["metadata"].pop("managedFields", None)
        yield listed


def _zones(scenario: Scenario) -> tuple[str, ...]:
    labels = (each["metadata"]["labels"] for each in (*scenario.nodes, *scenario.late))
    return tuple(sorted({each.get(ZONE, "") for each in labels}))
