"""Which nodes --cut-nodes means: names, or a label selector as kubectl has them."""

from __future__ import annotations

import pytest
from worlds import cluster

from chaosext.model.errors import Refused
from chaosext.rehearsal.snapshot.cut_targets import cut_nodes, majority_lost

WORLD = cluster(workers=4, zones=("a", "b"))
WORKERS = {"worker-1", "worker-2", "worker-3", "worker-4"}


@pytest.mark.parametrize(
    ("wanted", "means"),
    [
        ("", WORKERS),
        ("worker-1", {"worker-1"}),
        (" cp-1, worker-2 ", {"cp-1", "worker-2"}),
        ("topology.kubernetes.io/zone=b", {"worker-2", "worker-4"}),
        ("topology.kubernetes.io/zone == b", {"worker-2", "worker-4"}),
        ("topology.kubernetes.io/zone!=b", {"cp-1", "worker-1", "worker-3"}),
        ("topology.kubernetes.io/zone in (a, b)", WORKERS),
        ("topology.kubernetes.io/zone notin (a),topology.kubernetes.io/zone", {"worker-2", "worker-4"}),
        ("node-role.kubernetes.io/control-plane", {"cp-1"}),
        ("!node-role.kubernetes.io/control-plane", WORKERS),
        (
            "kubernetes.io/hostname in (worker-1,worker-3),topology.kubernetes.io/zone=a",
            {"worker-1", "worker-3"},
        ),
    ],
)
def test_nodes_are_named_or_selected(wanted: str, means: set[str]) -> None:
    assert cut_nodes(WORLD, wanted) == means


@pytest.mark.parametrize("wanted", ["worker-9", "worker-1,worker-9", "zone=b", "a in b", "(", "x=(y)"])
def test_what_means_no_node_is_refused(wanted: str) -> None:
    with pytest.raises(Refused, match="--cut-nodes") as refused:
        cut_nodes(WORLD, wanted)
    assert "cp-1" in refused.value.fix


@pytest.mark.parametrize("masters", [1, 3])
def test_where_every_node_has_a_control_plane_role_the_cut_must_be_named(masters: int) -> None:
    compact = cluster(workers=0, control_planes=masters)
    with pytest.raises(Refused, match=r"every node has a control-plane role \(cp-1") as refused:
        cut_nodes(compact)
    assert refused.value.fix == "name the nodes to cut off, e.g. --cut-nodes cp-1"
    assert cut_nodes(compact, "cp-1") == {"cp-1"}


@pytest.mark.parametrize(
    ("masters", "cut", "is_lost"), [(1, 0, False), (1, 1, True), (2, 1, True), (3, 1, False), (3, 2, True)]
)
def test_a_cut_that_leaves_etcd_no_majority_is_doubted(masters: int, cut: int, is_lost: bool) -> None:
    world = cluster(control_planes=masters)
    lost = frozenset(f"cp-{number + 1}" for number in range(cut)) | {"worker-1"}
    assert bool(majority_lost(world, lost)) is is_lost
