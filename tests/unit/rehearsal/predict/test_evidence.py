"""What a prediction rests on: a version of Kubernetes that was not compared counts as documents."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from checkout import ROOT
from worlds import ACCELERATED, cluster, workers_of

from chaosext.rehearsal.network.routes import EvidenceKind
from chaosext.rehearsal.predict.evidence import RECORDED_VERSIONS, SEEN_VERSIONS
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.snapshot.control_plane_flags import minor
from oracle.recording import Recording

if TYPE_CHECKING:
    from chaosext.rehearsal.simulate.prediction import Basis


def parts(version: str) -> dict[str, Basis]:
    world = cluster(control_plane=replace(ACCELERATED, version=version))
    plan = Plan(cut_nodes=workers_of(world), cut_for_s=60.0, horizon_s=100.0)
    return {each.part: each for each in rehearse(world, plan, samples=4).evidence}


@pytest.mark.parametrize("part", ["control plane", "DNS"])
def test_version_with_runs_on_the_testbed_is_seen(part: str) -> None:
    assert parts("v1.34.9")[part].evidence is EvidenceKind.SEEN


@pytest.mark.parametrize("part", ["control plane", "DNS"])
@pytest.mark.parametrize("version", ["v1.31.4", "v1.38.0", "v2.34.0"])
def test_version_that_was_not_compared_rests_on_documents_and_says_which_were(
    version: str, part: str
) -> None:
    found = parts(version)[part]
    assert found.evidence is EvidenceKind.DOCUMENTS
    assert f"none {'of' if part == 'control plane' else 'with'} Kubernetes {version[1:5]}" in found.rests_on
    assert "1.34" in found.rests_on


def test_unknown_version_rests_on_documents() -> None:
    assert parts("")["control plane"].evidence is EvidenceKind.DOCUMENTS
    assert "none of an unknown version" in parts("")["control plane"].rests_on


def test_recorded_versions_are_those_of_the_recordings() -> None:
    files = (ROOT / "tests/golden/oracle").glob("*.json.gz")
    found = {minor(Recording.load(file).kubernetes) for file in files}
    assert found == set(RECORDED_VERSIONS)
    assert set(SEEN_VERSIONS) <= set(RECORDED_VERSIONS)
