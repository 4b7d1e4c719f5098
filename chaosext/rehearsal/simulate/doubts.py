"""What is known to act on a cut and isn't modelled, so that its outcome is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.duration_text import short_duration
from chaosext.rehearsal.simulate.taints import admits
from chaosext.rehearsal.snapshot.dns_detection import runs_daemons
from chaosext.rehearsal.snapshot.node_patterns import behind, has_all
from chaosext.rehearsal.snapshot.world import Doubt

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from chaosext.rehearsal.snapshot.world import World

BACK_WITHIN_S = 15.0
"""Seconds from the heal until a node is Ready again, at the latest."""

ABOUT = 0.9
"""Documents give the patience of a node repair as "about" so many minutes: this share of it is certain."""


def doubts_of(world: World, cut: Collection[str], cut_for_s: float) -> tuple[Doubt, ...]:
    """Return why the outcome of a cut of these nodes can't be known."""
    return (
        *world.doubts,
        *_headless(world, cut),
        *_repaired(world, cut, cut_for_s),
        *_dns_daemons_missing(world),
        *_meshes_that_break(world, cut),
        *_refused_writes(world, cut, cut_for_s),
    )


def _headless(world: World, cut: Collection[str]) -> Iterator[Doubt]:
    """Yield a doubt if every node with the control plane's role is cut."""
    names = [node.name for node in world.nodes if node.control_plane]
    if names and all(name in cut for name in names):
        why = f"it takes in every control-plane node ({names[0]}, …), so that it is unknown what remains in control"
        yield Doubt(subject="the cut", why=why)


def _repaired(world: World, cut: Collection[str], cut_for_s: float) -> Iterator[Doubt]:
    """Yield everything that may replace a cut node before it is Ready again."""
    missing_s = cut_for_s - world.control_plane.timings.grace_s + BACK_WITHIN_S
    for each in world.repairs:
        if each.nodes.intersection(cut) and missing_s >= ABOUT * each.after_s:
            why = (
                f"may replace nodes that are not Ready for about {short_duration(each.after_s)}, and this cut takes"
                f" {short_duration(cut_for_s)}; turn it off for the window, or cut for less"
            )
            yield Doubt(subject=each.by, why=why)


def _dns_daemons_missing(world: World) -> Iterator[Doubt]:
    """Yield a doubt if cluster DNS is a DaemonSet and not ready on every node that it may run on.

    There is none if it is ready on as many nodes as its controller wants: a Pod's template doesn't show which nodes
    the affinity of its DaemonSet excludes (daemon_controller_utils.go, ReplaceDaemonSetPodNodeNameNodeAffinity).
    """
    pods = [pod for pod in behind(world.dns, world.pods) if pod.owner.startswith("DaemonSet/")]
    if not pods:
        return
    spec, there = pods[0].spec, {pod.node for pod in pods if pod.ready}
    workload = world.workloads.get((pods[0].namespace, pods[0].owner))
    if workload is not None and 1 < workload.replicas == len(
        there
    ):  # 1 may be a status that is not in the snapshot
        return
    may_run = (
        node for node in world.nodes if runs_daemons(node) and has_all(spec.node_selector, node.labels)
    )
    lacking = sorted(
        node.name for node in may_run if node.name not in there and admits(spec.tolerations, node.taints)
    )
    if lacking:
        why = f"no Pod of it is ready on {lacking[0]}{f' and {len(lacking) - 1} more' if lacking[1:] else ''}"
        yield Doubt(
            subject=pods[0].owner, why=f"{why}, so that the snapshot does not show the whole cluster DNS"
        )


def _meshes_that_break(world: World, cut: Collection[str]) -> Iterator[Doubt]:
    """Yield each mesh whose running Pods on cut nodes depend on what isn't in the snapshot."""
    for mesh in world.other_meshes:
        if not mesh.breaks_at_once:
            continue
        if any(pod.node in cut and (pod.namespace, pod.owner) in mesh.members for pod in world.pods):
            why = (
                f"{mesh.name}: its sidecars on cut nodes may lose it for good; {mesh.settles} would settle it"
            )
            yield Doubt(subject=mesh.subject, why=why)


def _refused_writes(world: World, cut: Collection[str], cut_for_s: float) -> Iterator[Doubt]:
    """Yield each webhook without which nodes are not tainted, or kubelets cannot renew their Leases."""
    settings = world.control_plane
    if cut_for_s < settings.timings.grace_s - settings.lease_renewal_s:
        return
    for each in world.webhooks:
        servers = [pod for pod in behind(each.service, world.pods) if pod.ready]
        if each.guarded and all(pod.node in cut for pod in servers):
            why = (
                f"fails closed, watches {' and '.join(sorted(each.guarded))}, and all of its Pods are cut off: what the"
                " control plane and kubelets cannot write meanwhile isn't modelled; a Pod of it on a node that is not"
                " cut, or failurePolicy Ignore, would settle it"
            )
            yield Doubt(subject=each.subject, why=why)
