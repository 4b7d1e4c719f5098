"""What holds for every rehearsal, whatever the cluster and the cut."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import ACCELERATED, CALICO, PRODUCTION, ROUTED, cluster, off_control_plane, workers_of

from chaosext.model.timeline import Kind
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.planned_cut import Plan

if TYPE_CHECKING:
    from chaosext.rehearsal.snapshot.world import World

worlds = st.builds(
    cluster,
    workers=st.integers(1, 7),
    control_planes=st.integers(1, 3),
    zones=st.sampled_from(["", "a", "ab", "abc"]),
    network=st.sampled_from([CALICO, ROUTED]),
    control_plane=st.sampled_from([ACCELERATED, PRODUCTION]),
    affinity=st.sampled_from([None, off_control_plane()]),
    sidecar=st.sampled_from(["none", "holding", "native"]),
    dns_replicas=st.integers(1, 3),
)
cuts_s = st.floats(1.0, 500.0)
SAMPLES = 6


@st.composite
def plans(draw: st.DrawFn) -> tuple[World, Plan]:
    world = draw(worlds)
    cut = draw(st.sets(st.sampled_from(sorted(node.name for node in world.nodes)), min_size=1))
    cut_for_s = draw(cuts_s)
    return world, Plan(cut_nodes=frozenset(cut), cut_for_s=cut_for_s, horizon_s=cut_for_s + 200)


@given(plans())
@settings(max_examples=examples(60))
def test_a_prediction_is_sound(case: tuple[World, Plan]) -> None:
    world, plan = case
    found = rehearse(world, plan, samples=SAMPLES)
    assert sum(outcome.probability for outcome in found.outcomes) == pytest.approx(1.0)
    for event in found.timeline:
        assert event.t_min_s <= event.t_s <= event.t_max_s
        assert 0 < event.probability <= 1
        assert 0 <= event.t_s <= plan.horizon_s
        assert sum(event.nodes.values()) <= event.probability + 1e-9
    assert [event.t_s for event in found.timeline] == sorted(event.t_s for event in found.timeline)
    assert set(found.dns_per_node) == {node.name for node in world.nodes}


@given(plans())
@settings(max_examples=examples(40))
def test_only_cut_nodes_are_lost_and_emptied(case: tuple[World, Plan]) -> None:
    world, plan = case
    home = {pod.subject: pod.node for pod in world.pods}
    for event in rehearse(world, plan, samples=SAMPLES).timeline:
        if event.kind in (Kind.NODE_NOT_READY, Kind.NODE_TAINTED, Kind.NODE_READY):
            assert event.object.removeprefix("Node/") in plan.cut_nodes
        if event.kind is Kind.POD_EVICTED and event.object in home:
            assert home[event.object] in plan.cut_nodes


@given(plans(), st.integers(0, 9))
@settings(max_examples=examples(20))
def test_twice_is_the_same_to_the_byte(case: tuple[World, Plan], seed: int) -> None:
    first, second = (json.dumps(rehearse(*case, samples=SAMPLES, seed=seed).to_json()) for _ in range(2))
    assert first == second


@given(worlds, st.floats(5.0, 400.0), st.floats(1.0, 300.0))
@settings(max_examples=examples(40))
def test_a_longer_cut_never_evicts_less(world: World, cut_for_s: float, longer_by_s: float) -> None:
    """Before the shorter cut ends, both are the same."""

    def evicted(length_s: float) -> float:
        plan = Plan(cut_nodes=workers_of(world), cut_for_s=length_s, horizon_s=length_s + 400)
        timeline = rehearse(world, plan, samples=SAMPLES).timeline
        return sum(
            event.probability for event in timeline if event.kind is Kind.POD_EVICTED and event.t_s < length_s
        )

    assert evicted(cut_for_s) <= evicted(cut_for_s + longer_by_s) + 1.0


@given(worlds, st.floats(5.0, 400.0))
@settings(max_examples=examples(30))
def test_nothing_is_lost_where_routes_do_not_matter(world: World, cut_for_s: float) -> None:
    """With Pod addresses that the fabric knows itself, DNS is well in the end, given room."""
    plan = Plan(cut_nodes=workers_of(world), cut_for_s=cut_for_s, horizon_s=cut_for_s + 600)
    if world.network is ROUTED:
        outcomes = rehearse(world, plan, samples=SAMPLES).outcomes
        assert outcomes[0].dns_after_heal == "resolvable"
