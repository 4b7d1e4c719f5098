"""`python -m tests.trust.machine.worker STEPS SEED LIMIT_S`: one process' share of the steps; prints a line of JSON.

A process of its own, so that forking is safe and it adopts no other process' orphans. It stops at its limit, says how
far it came, and removes its network namespaces; SIGTERM ends it in the same way.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from time import monotonic
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.trust.machine.killing import adopt_orphans
from tests.trust.machine.rules import COUNT, Nodes
from tests.trust.machine.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS_IN_A_ROW = 50
MOST_IN_A_ROW = 4
"""Examples between two looks at the clock."""


def play(steps: int, first_seed: int, until_s: float) -> str:
    """Play from an empty ruleset, again and again, until all steps were made or the time is up.

    Returns what went wrong, or "".
    """
    number = first_seed
    while Nodes.steps < steps and monotonic() < until_s:
        # Hypothesis counts examples that it discards as impossible too. A few at a time, so that the limit is kept.
        left = min(MOST_IN_A_ROW, max(1, (steps - Nodes.steps) // (2 * STEPS_IN_A_ROW)))
        try:
            run_state_machine_as_test(seed(number)(Nodes), settings=_settings(left))
        except Exception as error:
            return f"seed {number}: {Nodes.broken or '; '.join(_causes(error))}"
        number += 1
    return ""


def _causes(error: BaseException) -> Iterator[str]:
    """Yield what went wrong; an exception group is Hypothesis' wrapper of what did not come again when replayed."""
    yield f"{type(error).__name__}: {error}"
    for each in getattr(error, "exceptions", ()):
        yield from _causes(each)


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
    steps, first_seed, limit_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that `finally` runs
    adopt_orphans()
    started_s = monotonic()
    Nodes.world = World(tag="w")
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_STATE_HOME"] = home
        try:
            Nodes.world.up(COUNT)
            failure = play(steps, first_seed, started_s + limit_s)
        finally:
            Nodes.world.down()
    print(json.dumps({"steps": Nodes.steps, "failure": failure, "seconds": monotonic() - started_s}))


if __name__ == "__main__":
    main()
