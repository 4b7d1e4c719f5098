"""A rehearsal ends: one simulation is bounded by the size of the cluster, whatever that is, and all of them by time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from crowded import crowds
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.engine import simulate
from chaosext.rehearsal.simulate.inputs import SimulationInputs
from chaosext.rehearsal.simulate.prediction import Forecast
from chaosext.rehearsal.simulate.samples import Sampled
from chaosext.rehearsal.simulate.scheduler import Placement
from chaosext.rehearsal.simulate.simulation import Scene
from chaosext.rehearsal.simulate.time_budget import TimeBudget

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.snapshot.world import World

FACTOR = 5
"""Events, and looks for a node, for each Pod on each node, and for each Pod that nodes have room for."""


def bound(world: World) -> int:
    room = sum(node.max_pods for node in world.nodes)
    return FACTOR * (len(world.nodes) * len(world.pods) + room)


class TooMany(AssertionError):
    pass


def counted(method: Callable[..., Any], most: int) -> Callable[..., Any]:
    """The method, which fails as soon as it is called too often: what does not end would not tell."""
    calls = 0

    def counting(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > most:
            raise TooMany(f"{method.__qualname__} is called more than {most} times")
        return method(*arguments, **named)

    return counting


@given(crowds(), st.integers(0, 99))
@settings(max_examples=examples(150))
def test_events_are_bounded_by_nodes_times_pods(case: tuple[World, Plan], seed: int) -> None:
    world, plan = case
    stage, most = SimulationInputs(world, plan), bound(world)
    with (
        patch.object(Scene, "at", counted(Scene.at, most)),
        patch.object(Placement, "feasible", counted(Placement.feasible, most)),
        patch.object(Placement, "preemptions", counted(Placement.preemptions, most)),
    ):
        simulate(stage, Sampled(seed, 0, 1, None))


class Ticking:
    """A clock that goes on by a second each time that somebody looks at it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


@given(crowds(most_apps=3), st.integers(1, 60), st.integers(1, 9))
@settings(max_examples=examples(50))
def test_fewer_simulations_are_never_surer(case: tuple[World, Plan], seconds: int, samples: int) -> None:
    """A budget that is over before all is simulated may only turn an answer into unknown."""
    world, plan = case
    whole = rehearse(world, plan, samples=samples)
    found = rehearse(world, plan, samples=samples, budget=TimeBudget.of(float(seconds), Ticking()))
    assert found.simulations.wanted == whole.simulations.wanted == samples
    assert found.simulations.made <= samples
    if found.simulations.is_whole:
        assert found.chances == whole.chances
    assert found.verdict in (whole.verdict, Forecast.UNKNOWN)
    assert found.dns.after_heal in (whole.dns.after_heal, "unknown")
    for verdict in (Forecast.PASSED, Forecast.DEVIATED):
        assert found.chances.get(verdict, 0.0) <= whole.chances.get(verdict, 0.0) + 1e-9
    assert abs(sum(outcome.probability for outcome in found.outcomes) - 1.0) < 1e-9
