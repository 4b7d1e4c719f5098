"""A StatefulSet creates a Pod again once all of lower ordinals are Ready, unless it is Parallel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from worlds import PRODUCTION, ROUTED, app_spec, cluster, dns_spec, spread_over, workers_of

from chaosext.model.timeline import Kind
from chaosext.rehearsal.simulate.engine import simulate
from chaosext.rehearsal.simulate.inputs import SimulationInputs
from chaosext.rehearsal.simulate.ordered_sets import ordinal
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.samples import Sampled
from chaosext.rehearsal.snapshot.world import Workload, World

if TYPE_CHECKING:
    from chaosext.rehearsal.simulate.simulation import Trace

WORKERS = ("worker-1", "worker-2", "worker-3")
HEAL_S = 480.0


def world_of(management: str, *, ready: tuple[bool, ...] = (True, True, True)) -> World:
    """A member of etcd on each of three workers in zones of their own, which are all evicted in a cut of 480 s."""
    world = cluster(workers=3, zones="abc", network=ROUTED, control_plane=PRODUCTION, dns_replicas=0)
    dns = spread_over(["cp-1"], 2, "ReplicaSet/coredns-66bc5c9577", "kube-system", dns_spec(None))
    members = spread_over(WORKERS, 3, "StatefulSet/etcd", "db", app_spec("etcd", 300, "none"))
    members = tuple(replace(pod, ready=is_ready) for pod, is_ready in zip(members, ready, strict=True))
    etcd = Workload(kind="StatefulSet", namespace="db", name="etcd", replicas=3, pod_management=management)
    known = {**world.workloads, ("db", "StatefulSet/etcd"): etcd}
    return replace(world, pods=(*world.pods, *dns, *members), workloads=known)


def played(world: World) -> Trace:
    plan = Plan(cut_nodes=workers_of(world), cut_for_s=HEAL_S, horizon_s=HEAL_S + 400)
    return simulate(SimulationInputs(world, plan), Sampled(0, 0, 1, None))


def times(trace: Trace, kind: Kind) -> list[float]:
    """When this happened to the members after the heal, by ordinal."""
    found = {
        each.object: each.t_s for each in trace.marks if each.kind is kind and "/db/etcd-" in each.object
    }
    return [found[name] for name in sorted(found)]


def test_each_member_waits_until_those_before_it_are_ready() -> None:
    trace = played(world_of("OrderedReady"))
    created, ready = times(trace, Kind.POD_CREATED), times(trace, Kind.POD_READY)
    assert len(created) == len(ready) == 3
    assert created[0] < ready[0] < created[1] < ready[1] < created[2] < ready[2]
    assert trace.losses["StatefulSet/db/etcd"].left == 3


def test_a_parallel_one_creates_them_as_they_are_gone() -> None:
    trace = played(world_of("Parallel"))
    gone, created = times(trace, Kind.POD_GONE), times(trace, Kind.POD_CREATED)
    assert all(made - left < 1.0 for made, left in zip(created, gone, strict=True))


def test_a_member_that_was_not_ready_keeps_those_after_it_from_coming_back() -> None:
    """Its node was lost as well, so that it is created again; the Pod before it never becomes Ready."""
    world = world_of("OrderedReady", ready=(False, True, True))
    kept = replace(
        world,
        pods=tuple(
            replace(pod, spec=app_spec("etcd", None, "none")) if pod.name == "etcd-0" else pod
            for pod in world.pods
        ),
    )
    trace = played(kept)
    assert times(trace, Kind.POD_GONE)
    assert times(trace, Kind.POD_CREATED) == []
    assert trace.losses["StatefulSet/db/etcd"].left == 0


@pytest.mark.parametrize(
    ("name", "number"), [("Pod/db/etcd-0", 0), ("Pod/db/etcd-12", 12), ("Pod/db/etcd", -1)]
)
def test_an_ordinal_is_the_end_of_a_name(name: str, number: int) -> None:
    assert ordinal(name) == number
