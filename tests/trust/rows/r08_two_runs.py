"""Row 8: of two runs that begin within 50 ms exactly one goes on; the nodes see to it where the Lease doesn't."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import Trial, experiment
from tests.trust.lab.watching import is_open, lease_left
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from tests.trust.lab.trial import Process

APART_S = 0.05
PASSED, REFUSED = 0, 20
TIMES = {Effort.FAST: (2, 1), Effort.FULL: (100, 20)}
"""How often with a Lease that works, and with one that everybody gets: then the nodes' own locks decide."""

Item = tuple[str, int]


def in_namespaces(effort: Effort) -> Measured:
    strict, lenient = TIMES[effort]
    items = [("serve", number) for number in range(strict)]
    items += [("lenient", number) for number in range(lenient)]
    return stage().play(side_by_side, items, controls=3, unit="s between their beginnings")


def side_by_side(trial: Trial, item: Item) -> Outcome:
    """Two runs, each from a home of its own, as two people on two machines."""
    mode, _ = item
    outcome, other = Outcome(), Trial(trial.lab, trial.nursery)
    trial.lab.api.tell(mode=mode)
    try:
        _begin_and_compare(trial, other, random.Random(str(item)), outcome)
    finally:
        other.forget()
    if mode == "serve":
        outcome.residue += lease_left(trial.lab)
    trial.lab.api.tell(mode="serve", leases={})
    return outcome


def _begin_and_compare(first: Trial, second: Trial, chance: random.Random, outcome: Outcome) -> None:
    plan = experiment(ttl_s=8, hold_s=0.1, move=False)
    began_s, one = time.monotonic(), first.run(plan)
    time.sleep(max(0.0, chance.uniform(0, APART_S) - (time.monotonic() - began_s)))
    outcome.figure, two = time.monotonic() - began_s, second.run(plan)
    runs: list[tuple[Trial, Process]] = [(first, one), (second, two)]
    codes = [process.wait(60) for _, process in runs]
    outcome.expect(
        sorted(codes) == [PASSED, REFUSED], f"exits {codes}: {first.out[-200:]!r}, {second.out[-200:]!r}"
    )
    for (trial, _), code in zip(runs, codes, strict=True):
        if code == REFUSED:
            outcome.expect(not trial.marks, f"the refused one has played: {trial.marks}")
    eye = first.lab.eye
    outcome.expect(set(eye.closures().values()) == {1}, f"the paths were cut {eye.closures()}")
    outcome.expect(is_open(eye), "still cut when both had ended")


ROW = Row(
    number=8,
    title="two runs within 50 ms x 100",
    bar="exactly one wins; the other refused, exit 20",
    measures=((Ground.KERNEL, in_namespaces),),
)
