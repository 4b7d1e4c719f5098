"""Scenarios played side by side, on every core, in the order in which they were asked for."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

from chaosext.rehearsal.scenarios import Sweep

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.rehearsal.scenarios import Scenario
    from chaosext.rehearsal.time_budget import TimeBudget
    from chaosext.rehearsal.world import World

ALONE = 8
"""Up to so many scenarios are played by this process alone."""

CHUNKS = 8
"""How many portions a worker takes, so that no core is left idle at the end."""

_sweep: Sweep


def play_all(
    world: World, scenarios: Sequence[Scenario], samples: int | None, budget: TimeBudget
) -> Iterator[dict[str, Any]]:
    """A result a scenario, in their order. Raises `Refused` for the first that can't be played."""
    workers = min(len(os.sched_getaffinity(0)), len(scenarios))
    if workers < 2 or len(scenarios) <= ALONE:
        yield from map(Sweep(world, samples, budget).play, scenarios)
        return
    how = multiprocessing.get_context("fork")  # the world is there already, however large
    with ProcessPoolExecutor(workers, how, _prepare, (world, samples, budget)) as pool:
        yield from pool.map(_play, scenarios, chunksize=max(1, len(scenarios) // (workers * CHUNKS)))


def _prepare(world: World, samples: int | None, budget: TimeBudget) -> None:
    global _sweep
    _sweep = Sweep(world, samples, budget)


def _play(scenario: Scenario) -> dict[str, Any]:
    return _sweep.play(scenario)
