"""What changed from one snapshot to another."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from small_snapshots import deployment, leafed, node, pod, reflected, written

from chaosext.rehearsal.snapshot.reader import world_of
from chaosext.rehearsal.snapshot.snapshot_changes import snapshot_changes
from chaosext.rehearsal.snapshot.snapshot_files import read_files

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from chaosext.rehearsal.snapshot.snapshot_files import Listed
    from chaosext.rehearsal.snapshot.world import World

Objects = list[dict[str, Any]]

NUMBERS = count()

WHOLE = reflected(2, *deployment("shop", "cart", ["worker-1", "worker-3"], app="cart"))


def read(objects: Objects, folder: Path) -> Listed:
    """Read the objects from a file of their own, as it stays mapped."""
    return read_files([written(objects, folder / f"{next(NUMBERS)}.json")])


def facts(world: World) -> tuple[object, ...]:
    """Return what two equal worlds have in common; Pods of one template are compared by identity."""
    pods = [
        (each.namespace, each.name, each.node, each.ready, each.owner, each.spec.labels)
        for each in world.pods
    ]
    return (
        world.nodes,
        pods,
        world.workloads,
        world.services,
        world.dns,
        world.network,
        world.doubts,
        world.missing,
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Objects:
    """Draw a part of a cluster, with some labels changed; a node is always in it."""
    left_out = draw(st.sets(st.integers(1, len(WHOLE) - 1), max_size=4))
    objects: Objects = [json.loads(json.dumps(each)) for at, each in enumerate(WHOLE) if at not in left_out]
    for at in draw(st.sets(st.integers(0, len(objects) - 1), max_size=3)):
        objects[at]["metadata"].setdefault("labels", {})["extra"] = draw(st.sampled_from(["x", "y"]))
    return objects


@settings(max_examples=examples(40))
@given(snapshots(), snapshots())
def test_all_changes_together_make_the_second_snapshot_of_the_first(
    tmp_path_factory: pytest.TempPathFactory, one: Objects, other: Objects
):
    folder = tmp_path_factory.mktemp("snapshots")
    before, after = read(one, folder), read(other, folder)
    made = before
    for change in snapshot_changes(before, after):
        made = change.apply(made)
    assert facts(world_of(made)) == facts(world_of(after))


@settings(max_examples=examples(20))
@given(snapshots(), snapshots())
def test_changes_are_the_same_both_ways(
    tmp_path_factory: pytest.TempPathFactory, one: Objects, other: Objects
):
    folder = tmp_path_factory.mktemp("snapshots")
    before, after = read(one, folder), read(other, folder)
    there, back = snapshot_changes(before, after), snapshot_changes(after, before)
    assert [each.subject for each in there] == [each.subject for each in back]


def test_a_node_that_came_is_one_change_with_its_pods(tmp_path: Path):
    before = read(leafed(), tmp_path)
    more = [node("worker-9", 29), pod("kube-system", "calico-node-x", "worker-9", "DaemonSet/calico-node")]
    (change,) = snapshot_changes(before, read(leafed(*more), tmp_path))
    assert str(change) == "Node/worker-9 (objects: 2 added)"


def test_a_kind_that_could_not_be_read_today_is_a_change(tmp_path: Path):
    before = read(leafed(), tmp_path)
    path = written([each for each in leafed() if each["kind"] != "BGPPeer"], tmp_path / "after.json")
    listed = json.loads(path.read_text())
    listed["chaosext"] = {"missed": {"BGPPeer": "forbidden"}}
    path.write_text(json.dumps(listed))
    changes = snapshot_changes(before, read_files([path]))
    assert [str(each) for each in changes] == [
        "BGPPeer/leaf (only in the first snapshot)",
        "the snapshot (not read in one of them: BGPPeer)",
    ]


def test_only_what_a_prediction_reads_of_an_object_counts(tmp_path: Path):
    objects = leafed()
    for each in objects:
        each["metadata"].setdefault("annotations", {})["team"] = "blue"
        for container in each.get("spec", {}).get("containers", ()):
            container["image"] = "registry.example.com/new"
        each.setdefault("status", {})["observedGeneration"] = 7
    assert snapshot_changes(read(leafed(), tmp_path), read(objects, tmp_path)) == ()


def test_network_policies_and_leases_are_not_compared(tmp_path: Path):
    more = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "x", "namespace": "y"},
        },
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "x", "namespace": "y"},
        },
    ]
    assert snapshot_changes(read(leafed(), tmp_path), read(leafed(*more), tmp_path)) == ()
