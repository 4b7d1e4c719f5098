"""Row 19: a hundred runs in one process hold no more in the end than ten did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.trust.lab.repeating import HELD
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.watching import is_open, lease_left
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from tests.trust.lab.trial import Trial

TIMES = {Effort.FAST: 4, Effort.FULL: 100}
COUNTED = ("descriptors", "threads", "children")
ONE_RUN_S = 30.0
EACH_PROVEN = 5
"""To prove a cut takes 2 s and to heal it at once does not, so only each fifth run proves it; the others can't pass."""

HOLD_S = 0.25
"""The eye misses a closure that is shorter than 0.1 s."""

PASSED, INCONCLUSIVE = "0", "30"

Held = list[dict[str, int]]


def in_namespaces(effort: Effort) -> Measured:
    times = TIMES[effort]
    seen: list[Held] = []

    def repeated(trial: Trial, _: str) -> Outcome:
        outcome = Outcome()
        seen.append(_repeat(trial, times, outcome))
        return outcome

    outcome = stage().trial(repeated, f"{times} runs", 1)
    return Measured(
        trials=len(seen[0]) if seen else 0,
        worst=", ".join(f"{what} {more:+d}" for what, more in grown(seen[0]).items())
        if seen and seen[0]
        else "",
        failures=tuple(outcome.failures),
        residue=tuple(outcome.residue),
    )


def _repeat(trial: Trial, times: int, outcome: Outcome) -> Held:
    proven = trial.write(experiment(ttl_s=10, hold_s=HOLD_S, move=False), "proven.json")
    plain = trial.write(experiment(ttl_s=10, hold_s=HOLD_S, prove=False, move=False), "plain.json")
    plans = [str(proven), PASSED, *[str(plain), INCONCLUSIVE] * (EACH_PROVEN - 1)]
    code = trial.call("tests.trust.lab.repeating:main", str(times), *plans).wait(times * ONE_RUN_S)
    path = trial.home / HELD
    held: Held = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    outcome.expect(
        code == 0 and len(held) == times, f"exit {code} after {len(held)} runs: {trial.out[-300:]!r}"
    )
    if held:
        more = grown(held)
        outcome.failures += [f"{more[what]} more {what}" for what in COUNTED if more[what] > 0]
    outcome.expect(is_open(trial.lab.eye), "still cut")
    closed = trial.lab.eye.closures()
    outcome.expect(set(closed.values()) == {times}, f"each path was to be cut {times} times: {closed}")
    outcome.residue += lease_left(trial.lab)
    return held


def grown(held: Held) -> dict[str, int]:
    """By how much the last tenth of the runs holds more than the first, at the most. Memory is only told."""
    tenth = max(1, len(held) // 10)
    return {
        what: max(each[what] for each in held[-tenth:]) - max(each[what] for each in held[:tenth])
        for what in (*COUNTED, "memory_kb")
    }


ROW = Row(
    number=19,
    title="100 runs in a row in namespaces",
    bar="no growth in descriptors, threads, tables, locks",
    measures=((Ground.KERNEL, in_namespaces),),
)
