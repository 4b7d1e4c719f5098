"""The checks against a testbed that is up and steady (`chaosext testbed up`); they change nothing on it."""

from __future__ import annotations

import os
import threading
import time

import pytest

from chaosext.checks import cut_effective
from chaosext.checks.suite import STEADY_STATE, Surroundings, run_checks
from chaosext.cluster.client import Cluster
from chaosext.cluster.object_watch import watch
from chaosext.model.errors import ChaosextError
from chaosext.model.findings import Status
from chaosext.nodes.process_shell import DockerShell

pytestmark = pytest.mark.kind

NAME = os.environ.get("CHAOSEXT_TESTBED", "chaosext")


@pytest.fixture(scope="module")
def around() -> Surroundings:
    try:
        cluster = Cluster.connect(f"kind-{NAME}")
        nodes = cluster.nodes()
    except ChaosextError as error:
        pytest.skip(f"no testbed: {error}")
    shells = {node.name: DockerShell(node.name) for node in nodes}
    return Surroundings(
        cluster=cluster, shells=shells, leaf=DockerShell(f"{NAME}-leaf"), namespaces=("shop", "clients")
    )


@pytest.mark.parametrize("name", STEADY_STATE)
def test_a_steady_testbed_is_healthy(around: Surroundings, name: str) -> None:
    (finding,) = run_checks([name], around)
    assert not finding.status.is_bad, finding.summary


def test_sixty_lookups_decide_on_two_workers(around: Surroundings) -> None:
    (finding,) = run_checks(["dns_resolvable"], around)
    assert finding.summary.startswith("60 of 60 lookups answered, from 2 nodes")


def test_every_path_between_control_plane_and_nodes_is_open_and_so_no_cut(around: Surroundings) -> None:
    paths = cut_effective.paths_between(around.cluster.nodes())
    before = cut_effective.gather(paths, around.shells)
    assert len(paths) >= 4
    assert cut_effective.judge_healed(before, before).status is Status.HEALTHY
    assert cut_effective.judge(before, before).status is Status.UNHEALTHY


def test_a_watch_tells_of_lease_renewals_and_stops(around: Surroundings) -> None:
    stop, seen = threading.Event(), []
    start = time.monotonic()
    for change in watch(around.cluster, "leases", stop, namespace="kube-node-lease"):
        seen.append(change["type"])
        if "MODIFIED" in seen or time.monotonic() - start > 20:
            stop.set()
    assert seen.count("ADDED") >= 3
    assert "MODIFIED" in seen
