"""Recordings of the testbed, on which these incidents were caused by hand (2026-11-30, classic sidecars)."""

from __future__ import annotations

import pytest
from checkout import ROOT

from chaosext.diagnose.cluster_sight import sight_of
from chaosext.diagnose.root_causes import ClusterCondition, diagnose
from chaosext.rehearsal.snapshot.snapshot_files import read_files

RECORDED = ROOT / "tests" / "golden" / "diagnose"

ROOTS = {
    "healthy": ([], ClusterCondition.HEALTHY),
    "story": (["kube_dns_unreachable"], ClusterCondition.EXPLAINED),
    "api-down": (["nodes_cut_off"], ClusterCondition.EXPLAINED),
    "coredns-scaled-to-zero": (["coredns_unhealthy"], ClusterCondition.EXPLAINED),
}


@pytest.mark.parametrize("name", ROOTS)
def test_recorded_incident_has_its_root_cause(name: str) -> None:
    found = diagnose(sight_of(read_files([RECORDED / f"{name}.json.gz"], with_events=True)))
    assert ([root.cause.rule for root in found.roots], found.condition) == ROOTS[name]
    assert found.unexplained == ()


def test_recorded_story_is_told_from_the_first_node_to_the_last_shop() -> None:
    (root,) = diagnose(sight_of(read_files([RECORDED / "story.json.gz"], with_events=True))).roots
    assert next(said for _, said in root.cause.history).startswith(
        "diag-worker and diag-worker2 did not report"
    )
    assert "delete pod -l k8s-app=kube-dns" in root.cause.fixes[0].command
    assert set(root.affected) >= {"Deployment/shop/catalog", "Deployment/shop/storefront"}
