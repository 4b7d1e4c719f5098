"""What the parts of a prediction rest on: runs that were seen, a real control plane, or documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.rehearsal.network.routes import EvidenceKind
from chaosext.rehearsal.simulate.prediction import Basis
from chaosext.rehearsal.snapshot.world import Nearness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.rehearsal.simulate.inputs import SimulationInputs

FEW_NODES = 10
"""Up to this many cut nodes, whole cuts were seen on real clusters; with more, only on a real control plane."""


def rests_on(stage: SimulationInputs) -> tuple[Basis, ...]:
    """Return what each part of a prediction rests on."""
    return tuple(_bases(stage))


def _bases(stage: SimulationInputs) -> Iterator[Basis]:
    world, proof = stage.world, stage.routes.proof
    yield Basis(part="routes", evidence=proof.evidence, rests_on=proof.rests_on if proof.holds else "")
    yield _of_control_plane(stage)
    yield _of_dns(stage)
    if world.mesh is not None and stage.meshed:
        yield Basis(
            part="mesh", evidence=EvidenceKind.SEEN, rests_on="runs with Istio's sidecars on the testbed"
        )


def _of_control_plane(stage: SimulationInputs) -> Basis:
    platform = stage.world.control_plane.platform
    if len(stage.plan.periods) > 1:
        said = "Kubernetes' source and runs with a single cut; none with several cuts was seen"
        return Basis(part="control plane", evidence=EvidenceKind.DOCUMENTS, rests_on=said)
    if platform:
        return Basis(
            part="control plane", evidence=EvidenceKind.DOCUMENTS, rests_on=f"the documentation of {platform}"
        )
    if len(stage.cut) <= FEW_NODES:
        return Basis(
            part="control plane", evidence=EvidenceKind.SEEN, rests_on="runs on the testbed (kubeadm)"
        )
    said = "recordings of a real control plane with simulated nodes"
    return Basis(part="control plane", evidence=EvidenceKind.ORACLE, rests_on=said)


def _of_dns(stage: SimulationInputs) -> Basis:
    world = stage.world
    special = (
        world.network.nodelocal_dns,
        world.mesh is not None and world.mesh.captures_dns,
        any(pod.owner.startswith("DaemonSet/") for pod in stage.dns_pods),
        world.dns is not None and (world.dns.local_only or world.dns.prefers is not Nearness.ANY),
    )
    if any(special):
        said = "the documentation of Kubernetes' Services and of the DNS in use"
        return Basis(part="DNS", evidence=EvidenceKind.DOCUMENTS, rests_on=said)
    return Basis(
        part="DNS", evidence=EvidenceKind.SEEN, rests_on="runs with CoreDNS behind kube-proxy on the testbed"
    )
