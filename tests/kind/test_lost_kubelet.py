"""On the testbed: a kubelet that loses the API server is found by its Lease, long before its node is NotReady."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import CONTEXT, NAME, PATIENCE_S, docker, node_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Outcome

TABLE = "inet lost_kubelet_test"
LEASE_S = 40
"""How long a kubelet's Lease holds (nodeLeaseDurationSeconds, default)."""

SLACK_S = 20


@pytest.fixture
def worker(command: Callable[..., Outcome]) -> Iterator[str]:
    """A worker whose own packets to API servers are dropped, IPv4 and IPv6, by a rule of this test.

    Afterwards the testbed is brought to its steady state: Pods of the node may have been evicted.
    """
    name = next(each for each in node_names() if "control-plane" not in each)
    chain = f"add chain {TABLE} out {{ type filter hook output priority -400; }}"
    drop = f"add rule {TABLE} out tcp dport 6443 drop"
    docker("exec", name, "nft", f"add table {TABLE}; {chain}; {drop}")
    yield name
    docker("exec", name, "nft", f"delete table {TABLE}")
    assert command("chaosext", "testbed", "up", "--name", NAME, timeout_s=PATIENCE_S).exit_code == 0


def findings(command: Callable[..., Outcome]) -> dict[str, dict[str, Any]]:
    found = json.loads(command("chaosext", "check", "all", "--context", CONTEXT, "--json").stdout)
    return {each["check"]: each for each in found}


def test_a_kubelet_that_loses_the_api_server_is_named(command: Callable[..., Outcome], worker: str) -> None:
    since = time.monotonic()
    while (found := findings(command)["kubelets_connected"])["status"] != "unhealthy":
        assert time.monotonic() - since < LEASE_S + SLACK_S, found
        time.sleep(1)
    row = next(each for each in found["evidence"] if each["status"] == "unhealthy")
    assert row["subject"] == f"Node/{worker}"
    assert "has not renewed its Lease" in row["detail"]
