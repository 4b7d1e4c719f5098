"""Events of many cut nodes that are alike have one range and one probability."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import ACCELERATED, cluster, workers_of

from chaosext.model.timeline import Kind
from chaosext.rehearsal.predict.alike_events import FEW_NODES, classes_of, pooled
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.inputs import SimulationInputs
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.prediction import PredictedEvent

if TYPE_CHECKING:
    from chaosext.rehearsal.snapshot.world import World

TIMES = st.tuples(st.sampled_from("abcd"), st.floats(1, 99), st.floats(0.01, 1))
ALIKE = {"Node/a": 1, "Node/b": 1, "Node/c": 1, "Node/d": 2}


def event(
    node: str, t_s: float, probability: float = 1.0, kind: Kind = Kind.NODE_NOT_READY
) -> PredictedEvent:
    return PredictedEvent(
        t_s=t_s,
        t_min_s=t_s - 1,
        t_max_s=t_s + 1,
        probability=probability,
        kind=kind,
        object=f"Node/{node}",
        detail="Ready is Unknown",
        source="controller",
    )


def test_alike_nodes_have_the_range_of_all_of_them() -> None:
    found = pooled((event("a", 10.0), event("b", 14.0), event("c", 12.0), event("d", 30.0)), ALIKE)
    assert {each.object: (each.t_min_s, each.t_s, each.t_max_s) for each in found} == {
        "Node/a": (9.0, 10.0, 15.0),
        "Node/b": (9.0, 14.0, 15.0),
        "Node/c": (9.0, 12.0, 15.0),
        "Node/d": (29.0, 30.0, 31.0),
    }


def test_what_came_to_one_of_alike_nodes_may_come_to_each() -> None:
    found = pooled((event("a", 10.0, 0.3),), ALIKE)
    assert {each.object for each in found} == {"Node/a", "Node/b", "Node/c"}
    assert [each.probability for each in found] == pytest.approx([0.1] * 3)


def test_second_time_is_pooled_with_the_second_time() -> None:
    found = pooled((event("a", 10.0), event("a", 80.0, 0.5), event("b", 12.0)), {"Node/a": 1, "Node/b": 1})
    second = [each for each in found if each.t_s == 80.0]
    assert [(each.object, each.probability) for each in second] == [("Node/a", 0.25), ("Node/b", 0.25)]


def test_other_events_stay_as_they_are() -> None:
    others = (event("a", 3.0, kind=Kind.NODE_DELETED), event("stranger", 4.0))
    assert pooled(others, ALIKE) == others


@given(st.lists(TIMES, max_size=12, unique_by=lambda each: each[0]))
def test_pooling_never_narrows_a_range_and_keeps_the_expected_number(
    made: list[tuple[str, float, float]],
) -> None:
    before = tuple(event(*each) for each in made)
    after = {each.object: each for each in pooled(before, ALIKE)}
    for each in before:
        assert after[each.object].t_min_s <= each.t_min_s
        assert after[each.object].t_max_s >= each.t_max_s
    expected = sum(each.probability for each in before)
    assert sum(each.probability for each in after.values()) == pytest.approx(expected)


def classes(world: World) -> dict[str, object]:
    plan = Plan(cut_nodes=workers_of(world), cut_for_s=60.0, horizon_s=100.0)
    return dict(classes_of(SimulationInputs(world, plan)))


def test_nodes_are_alike_by_zone_and_only_where_many_are_cut() -> None:
    assert classes(cluster(workers=FEW_NODES)) == {}
    found = classes(cluster(workers=FEW_NODES + 2, zones=("a", "b")))
    assert len(found) == FEW_NODES + 2
    assert len(set(found.values())) == 2


def test_each_of_many_nodes_has_the_same_prediction() -> None:
    world = cluster(workers=40, control_plane=replace(ACCELERATED, version="v1.34.4"))
    plan = Plan(cut_nodes=workers_of(world), cut_for_s=60.0, horizon_s=100.0)
    lines = [each for each in rehearse(world, plan, samples=6).timeline if each.kind is Kind.NODE_NOT_READY]
    assert len(lines) == 40
    assert len({(each.t_min_s, each.t_max_s, each.probability) for each in lines}) == 1
