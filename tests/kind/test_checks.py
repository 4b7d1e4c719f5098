"""Each check, alone, on the real steady state."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Outcome

STEADY = (
    "nodes_ready",
    "kubelets_connected",
    "nodes_reach_pods",
    "dns_resolvable",
    "xds_synced",
    "probes_healthy",
    "bgp_established",
    "kube_dns_on_peered_nodes",
)
ON_SOME_NETWORKS = ("xds_synced", "bgp_established", "kube_dns_on_peered_nodes")


@pytest.mark.parametrize("name", STEADY)
def test_the_steady_state_is_healthy_check_by_check(command: Callable[..., Outcome], name: str) -> None:
    outcome = command("chaosext", "check", name, "--json")
    (finding,) = json.loads(outcome.stdout)
    well = ("healthy", "not applicable") if name in ON_SOME_NETWORKS else ("healthy",)
    assert (outcome.exit_code, finding["check"]) == (0, name), finding
    assert finding["status"] in well, finding
    assert finding["evidence"]


def test_an_open_and_a_refused_port_are_told_apart(command: Callable[..., Outcome]) -> None:
    targets = ("--target", "10.2.112.10:53", "--target", "127.0.0.1:15021")
    outcome = command("chaosext", "check", "tcp_reachability", *targets, "--json")
    (finding,) = json.loads(outcome.stdout)
    said = {row["subject"].rpartition(" ")[2]: row["detail"] for row in finding["evidence"]}
    assert "open" in said["10.2.112.10:53"]
    assert "refused" in said["127.0.0.1:15021"]
    assert outcome.exit_code == 10


def test_an_unknown_check_is_refused_with_the_known_ones(command: Callable[..., Outcome]) -> None:
    outcome = command("chaosext", "check", "dns")
    assert outcome.exit_code == 20
    assert "dns_resolvable" in outcome.stderr
