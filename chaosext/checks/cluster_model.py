"""What a live cluster is made of: its network, its mesh and its DNS, as a rehearsal recognises them.

Checks and predictions have one recogniser, so that a check never asks for something that the cluster does not have,
and never calls something not applicable that a prediction counts on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING

from chaosext.checks.cni_files import ON_THE_FABRIC, plugin_on_all
from chaosext.checks.live_objects import Taking
from chaosext.cluster.bgp_peers import peered_nodes
from chaosext.cluster.objects import PROXY_CONTAINER
from chaosext.model.errors import understood
from chaosext.rehearsal.network.network_model import routes_of
from chaosext.rehearsal.snapshot.prune import WANTED
from chaosext.rehearsal.snapshot.reader import world_of
from chaosext.rehearsal.snapshot.snapshot_files import listed_of
from chaosext.rehearsal.snapshot.world import Plugin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.cluster.client import Cluster
    from chaosext.nodes.shell import NodeShell
    from chaosext.rehearsal.snapshot.world import World

UNUSED = frozenset(
    {
        "ReplicaSet",
        "StatefulSet",
        "Job",
        "PodDisruptionBudget",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
        "Lease",
    }
)
"""Kinds of a snapshot that say nothing about the network, the mesh or DNS."""

READ = tuple(each for each in WANTED if each.kind not in UNUSED)

PAGE_S = 10.0
"""Seconds for one page of objects."""

ISTIOD = "istiod"
"""The name of istiod's Service and Deployment, or its beginning: a revision's is appended."""


class BgpSpeaker(StrEnum):
    """The program that exchanges Pod routes over BGP."""

    CALICO = "Calico"
    KUBE_ROUTER = "kube-router"
    CILIUM = "Cilium"
    NOBODY = "nobody"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpUse:
    """Which program carries Pod routes by BGP, and what that rests on, or why it is unknown.

    `meshed`: whether kube-router's nodes have sessions with each other.
    """

    speaker: BgpSpeaker
    why: str
    meshed: bool = True


class ClusterModel:
    """The model of a live cluster, read once. Thread-safe.

    `shells`: node name -> a shell on it, which shows the network of a cluster that has no agent of one.

    Each property raises `Unreachable` if the API server gives no answer, and `Refused` if nodes or Pods may not be
    read.
    """

    def __init__(self, cluster: Cluster, shells: Mapping[str, NodeShell] | None = None) -> None:
        self._cluster, self._shells, self._lock = cluster, shells or {}, RLock()

    @property
    def world(self) -> World:
        """The cluster's objects, of the kinds in `READ`."""
        with self._lock:
            return self._world

    @cached_property
    def _world(self) -> World:
        text = "".join(Taking(cluster=self._cluster, page_s=PAGE_S, wanted=READ).text())
        return world_of(listed_of(text), where=self._where)

    @property
    def _where(self) -> str:
        return f"the API server of context {self._cluster.context}"

    @property
    def bgp(self) -> BgpUse:
        """Whether BGP carries Pod routes."""
        with self._lock:
            return self._bgp

    @cached_property
    def _bgp(self) -> BgpUse:
        with understood(self._where):
            used = bgp_use(self.world)
        network = self.world.network
        if network.plugin is Plugin.UNKNOWN and not network.doubts:
            plugin = plugin_on_all(self._shells, [node.name for node in self.world.nodes])
            if plugin in ON_THE_FABRIC:
                why = f"no BGP session carries Pod routes: {plugin} on every node makes Pods hosts of its network"
                return BgpUse(speaker=BgpSpeaker.NOBODY, why=why)
        return used

    @property
    def peered(self) -> frozenset[str]:
        """The nodes whose Pods other nodes learn to reach: those with a BGP peer, or all where BGP carries no routes.

        Where it is unknown what carries them, those with a peer by Calico's configuration, if there is any.
        """
        with understood(self._where):
            return self._peered()

    def _peered(self) -> frozenset[str]:
        speaker, world = self.bgp.speaker, self.world
        if speaker is BgpSpeaker.CALICO or (speaker is BgpSpeaker.UNKNOWN and world.network.peers):
            peers, mesh = world.network.peers, world.network.full_mesh is not False
            return frozenset(peered_nodes(world.nodes, peers, mesh))
        if speaker in (BgpSpeaker.KUBE_ROUTER, BgpSpeaker.CILIUM):
            routes = routes_of(world, frozenset())
            return frozenset(node.name for n, node in enumerate(world.nodes) if routes.announces(n))
        return frozenset(node.name for node in world.nodes)


def bgp_use(world: World) -> BgpUse:
    """Return which program carries Pod routes by BGP, as the world's objects prove it."""
    routes, network = routes_of(world, frozenset()), world.network
    if network.plugin is Plugin.CALICO and routes.uses_bgp:
        return BgpUse(speaker=BgpSpeaker.CALICO, why="Calico's BGP sessions carry Pod routes")
    if network.plugin is Plugin.KUBE_ROUTER:
        meshed = network.full_mesh is not False
        return BgpUse(speaker=BgpSpeaker.KUBE_ROUTER, why=network.shown, meshed=meshed)
    if network.plugin is Plugin.CILIUM_BGP:
        return BgpUse(speaker=BgpSpeaker.CILIUM, why=network.shown)
    if routes.proof.holds:
        return BgpUse(
            speaker=BgpSpeaker.NOBODY, why=f"no BGP session carries Pod routes: {routes.proof.rests_on}"
        )
    return BgpUse(
        speaker=BgpSpeaker.UNKNOWN, why=f"whether BGP carries Pod routes is unknown: {routes.proof.doubts[0]}"
    )


def no_mesh(world: World) -> str:
    """Return why nothing in the cluster can have a sidecar of Istio; "" if something can, or that is unknown."""
    if {"Service", "Deployment", "Pod"} & world.missing:
        return ""
    named = (*(each.name for each in world.services), *(each.name for each in world.workloads.values()))
    has_istiod = any(name == ISTIOD or name.startswith(f"{ISTIOD}-") for name in named)
    has_sidecar = any(each.name == PROXY_CONTAINER for pod in world.pods for each in pod.spec.containers)
    if has_istiod or has_sidecar or world.other_meshes or world.mesh:
        return ""
    return "the cluster has no istiod and no sidecar, nor any other mesh"
