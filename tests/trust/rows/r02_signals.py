"""Row 2: a signal at any moment of a run heals it and ends it within 5 s, and nothing more is played."""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING

from chaosext.run.shutdown import SIGNALS
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.watching import is_open, lease_left
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from tests.trust.lab.trial import Trial

AT_MOST_S = 5.0
TIMES = {Effort.FAST: 1, Effort.FULL: 20}
DELIVERED_S = 0.1
"""A mark left this soon after the signal was sent is of an action that was in play when it arrived."""

STAGES: dict[str, tuple[str, float, float]] = {
    "arming": ("begin", 0.0, 0.2),
    "proving": ("begin", 0.4, 1.9),
    "holding": ("hold", 0.0, 0.9),
    "healing": ("held", 0.0, 0.08),
    "rolling back": ("rolling", 0.0, 1.2),
}
"""Stage -> the mark at which it begins, and between which seconds after it the signal is sent."""

Item = tuple[str, str, int]


def in_namespaces(effort: Effort) -> Measured:
    stages = list(STAGES)
    items = [
        (number.name, stages[(turn + index) % len(stages)], turn)
        for index, number in enumerate(SIGNALS)
        for turn in range(TIMES[effort])
    ]
    return stage().play(told_to_leave, items, unit="s to the end")


def told_to_leave(trial: Trial, item: Item) -> Outcome:
    name, when, _ = item
    number, outcome = signal.Signals[name], Outcome()
    mark, earliest_s, latest_s = STAGES[when]
    process = trial.run(experiment(ttl_s=30, hold_s=1.0))
    if not outcome.expect(trial.reaches(mark), f"never came to {mark}: {trial.out[-300:]!r}"):
        process.signal(signal.SIGKILL)
        return outcome
    time.sleep(random.Random(str(item)).uniform(earliest_s, latest_s))
    sent_s = process.signal(number)
    code = process.wait(30)
    outcome.figure = process.ended_s - sent_s
    outcome.expect(outcome.figure <= AT_MOST_S, f"ended {outcome.figure:.1f} s after the signal")
    outcome.expect(code == 128 + number, f"exit {code}, wanted {128 + number}: {trial.out[-300:]!r}")
    verdict = trial.result.get("verdict")
    outcome.expect(verdict == "interrupted", f"verdict {verdict}")
    later = [word for word, at_s in trial.marks.items() if at_s > sent_s + DELIVERED_S]
    outcome.expect(not later, f"was still played: {later}")
    outcome.expect(is_open(trial.lab.eye), "still cut when the run had ended")
    outcome.residue += lease_left(trial.lab)
    return outcome


ROW = Row(
    number=2,
    title="INT, TERM, HUP, QUIT, USR1, USR2 x 20",
    bar="<= 5 s, right verdict and exit code, next action never runs",
    measures=((Ground.KERNEL, in_namespaces),),
)
