"""What the parts of a prediction rest on: runs that were seen, a real control plane, or documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.rehearsal.network.routes import EvidenceKind
from chaosext.rehearsal.simulate.prediction import Basis
from chaosext.rehearsal.snapshot.control_plane_flags import minor
from chaosext.rehearsal.snapshot.world import Nearness

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.rehearsal.simulate.inputs import SimulationInputs

FEW_NODES = 10
"""Up to this many cut nodes, whole cuts were seen on real clusters; with more, only on a real control plane."""

SEEN_VERSIONS = ((1, 34),)
"""Minor versions of Kubernetes with which whole cuts were seen on the testbed."""
RECORDED_VERSIONS = ((1, 34),)
"""Minor versions of Kubernetes of which tests/golden/oracle has recordings."""
UNKNOWN_VERSION = minor("")


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
    version = minor(stage.world.control_plane.version)
    if len(stage.cut) <= FEW_NODES and version in SEEN_VERSIONS:
        return Basis(
            part="control plane", evidence=EvidenceKind.SEEN, rests_on="runs on the testbed (kubeadm)"
        )
    if version in RECORDED_VERSIONS:
        said = "recordings of a real control plane with simulated nodes"
        return Basis(part="control plane", evidence=EvidenceKind.ORACLE, rests_on=said)
    said = f"Kubernetes' source; there are recordings of {_named(RECORDED_VERSIONS)}, but none of {_named((version,))}"
    return Basis(part="control plane", evidence=EvidenceKind.DOCUMENTS, rests_on=said)


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
    said, version = "runs with CoreDNS behind kube-proxy on the testbed", minor(world.control_plane.version)
    if version in SEEN_VERSIONS:
        return Basis(part="DNS", evidence=EvidenceKind.SEEN, rests_on=said)
    said = f"{said} with {_named(SEEN_VERSIONS)}, but none with {_named((version,))}"
    return Basis(part="DNS", evidence=EvidenceKind.DOCUMENTS, rests_on=said)


def _named(versions: Sequence[tuple[int, int]]) -> str:
    """Return "Kubernetes 1.32, 1.34 and 1.37", or that the version is unknown."""
    if versions == (UNKNOWN_VERSION,):
        return "an unknown version"
    *others, last = (f"{major}.{number}" for major, number in versions)
    return f"Kubernetes {', '.join(others)}{' and ' if others else ''}{last}"
