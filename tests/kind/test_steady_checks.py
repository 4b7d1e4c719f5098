"""The checks against a testbed that is up and steady (`chaosext testbed up`); they change nothing on it."""

from __future__ import annotations

import os
import threading
import time

import pytest

from chaosext.cluster.client import Cluster
from chaosext.cluster.watch import watch
from chaosext.model.errors import ChaosextError
from chaosext.model.finding import Status
from chaosext.nodes.docker import DockerShell
from chaosext.steady import cut
from chaosext.steady.dns import parse_sample, sampler_script
from chaosext.steady.suite import STEADY_STATE, Surroundings, run_checks

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
    assert finding.status is Status.HEALTHY, finding.summary


def test_sixty_lookups_decide_on_two_workers(around: Surroundings) -> None:
    (finding,) = run_checks(["dns_resolvable"], around)
    assert finding.summary.startswith("60 of 60 lookups answered, from 2 nodes")


def test_every_path_between_control_plane_and_nodes_is_open_and_so_no_cut(around: Surroundings) -> None:
    paths = cut.paths_between(around.cluster.nodes())
    before = cut.gather(paths, around.shells)
    assert len(paths) >= 4
    assert cut.judge_healed(before, before).status is Status.HEALTHY
    assert cut.judge(before, before).status is Status.UNHEALTHY


def test_the_sampler_answers_once_a_second_and_leaves_nothing_behind(around: Surroundings) -> None:
    cluster_ip = around.cluster.service("kube-system", "kube-dns").cluster_ips[0]
    shell = next(iter(around.shells.values()))
    mark = f"chaosext-test-{os.getpid()}"
    with shell.stream(f": {mark}\n{sampler_script([cluster_ip])}") as lines:
        samples = [parse_sample(line) for line, _ in zip(lines, range(3), strict=False)]
    assert all(sample.answered for sample in samples)
    assert 1.5 < samples[2].at_s - samples[0].at_s < 2.5
    time.sleep(1.5)
    left = shell.run(f"grep -la '[{mark[0]}]{mark[1:]}' /proc/[0-9]*/cmdline", timeout_s=5)
    assert left.stdout == ""


def test_a_watch_tells_of_lease_renewals_and_stops(around: Surroundings) -> None:
    stop, seen = threading.Event(), []
    start = time.monotonic()
    for change in watch(around.cluster, "leases", stop, namespace="kube-node-lease"):
        seen.append(change["type"])
        if "MODIFIED" in seen or time.monotonic() - start > 20:
            stop.set()
    assert seen.count("ADDED") >= 3
    assert "MODIFIED" in seen
