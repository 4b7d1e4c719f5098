"""`python -m tests.trust.machine.worker STEPS SEED`: one process' share of the steps; prints a line of JSON.

A process of its own, so that forking is safe, and orphans are nobody else's.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from time import monotonic

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.trust.machine.killing import adopt_orphans
from tests.trust.machine.rules import COUNT, Nodes
from tests.trust.machine.world import World

STEPS_IN_A_ROW = 50


def play(steps: int, first_seed: int) -> str:
    """Steps from an empty ruleset, again and again, until there were as many as asked for. What went wrong, or ""."""
    number = first_seed
    while Nodes.steps < steps:
        left = max(
            1, (steps - Nodes.steps) // (2 * STEPS_IN_A_ROW)
        )  # what is thrown away as impossible counts as well
        try:
            run_state_machine_as_test(seed(number)(Nodes), settings=_settings(left))
        except Exception as error:
            return f"seed {number}: {Nodes.broken or f'{type(error).__name__}: {error}'}"
        number += 1
    return ""


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS_IN_A_ROW,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


def main() -> None:
    steps, first_seed = map(int, sys.argv[1:])
    adopt_orphans()
    started_s = monotonic()
    Nodes.world = World(tag="w")
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_STATE_HOME"] = home
        try:
            Nodes.world.up(COUNT)
            failure = play(steps, first_seed)
        finally:
            Nodes.world.down()
    print(json.dumps({"steps": Nodes.steps, "failure": failure, "seconds": monotonic() - started_s}))


if __name__ == "__main__":
    main()
