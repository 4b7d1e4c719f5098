"""The node lifecycle controller's arithmetic, as Kubernetes' own code has it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.cluster.objects import ZONE_LABEL, Node
from chaosext.rehearsal.simulate.node_lifecycle import ZoneState, zone_state, zone_states

NORMAL, PARTIAL, FULL = ZoneState.NORMAL, ZoneState.PARTIAL_DISRUPTION, ZoneState.FULL_DISRUPTION


@pytest.mark.parametrize(
    ("ready", "not_ready", "state"),
    [
        # pkg/controller/nodelifecycle/node_lifecycle_controller.go, ComputeZoneState, branch by branch
        (0, 0, NORMAL),
        (1, 0, NORMAL),
        (0, 1, FULL),
        (0, 3, FULL),
        (1, 1, NORMAL),
        (1, 2, NORMAL),  # 67 %, but not more than two: the testbed
        (1, 3, PARTIAL),  # seen on a real control plane: 1 + 3 nodes
        (3, 3, NORMAL),  # seen: exactly half
        (9, 10, NORMAL),  # 52.6 %
        (9, 11, PARTIAL),  # exactly 55 %
        (45, 55, PARTIAL),
        (46, 54, NORMAL),
        (3, 60, PARTIAL),  # seen: 3 + 60 nodes
        (3, 300, PARTIAL),
    ],
)
def test_zone_state(ready: int, not_ready: int, state: ZoneState) -> None:
    assert zone_state(ready, not_ready) is state


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_losing_more_nodes_never_makes_a_zone_better(ready: int, not_ready: int) -> None:
    order = [NORMAL, PARTIAL, FULL]
    if ready:
        assert order.index(zone_state(ready - 1, not_ready + 1)) >= order.index(zone_state(ready, not_ready))


def node(name: str, zone: str = "") -> Node:
    metadata: dict[str, Any] = {"name": name, "labels": {ZONE_LABEL: zone} if zone else {}}
    return Node.from_json({"metadata": metadata})


def cluster(workers: int, *, zone: str = "") -> list[Node]:
    return [node("cp"), *(node(f"w{index}", zone) for index in range(workers))]


def test_zones_are_counted_apart() -> None:
    nodes = [*cluster(2, zone="b"), node("w9", "c")]
    assert zone_states(nodes, {"w0", "w1"}) == {"": NORMAL, "b": FULL, "c": NORMAL}
