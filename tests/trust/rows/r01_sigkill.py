"""Row 1: whatever the moment at which a run is killed, the network is back at the TTL, and a sweep leaves nothing."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

from chaosext.model.crash import POINTS, VARIABLE
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.watching import healed_by_ttl
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from tests.trust.lab.trial import Process, Trial

AT_LEAST_POINTS = 12
TIMES = {Effort.FAST: 1, Effort.FULL: 25}
FAST_POINTS = ("nodes-locked", "first-node-sent", "armed", "first-node-healed")
SLACK_S = 1.0

Item = tuple[str, int]


def in_namespaces(effort: Effort) -> Measured:
    points = FAST_POINTS if effort is Effort.FAST else tuple(POINTS)
    items = [(point, number) for number in range(TIMES[effort]) for point in points]
    measured = stage().play(killed, items, controls=2, unit="s after the TTL")
    return measured + enough(points) if effort is Effort.FULL else measured


def enough(points: tuple[str, ...]) -> Measured:
    """Each of them was passed, or its trials are failures; here it is only counted."""
    few = () if len(points) >= AT_LEAST_POINTS else (f"only {len(points)} points",)
    return Measured(trials=0, worst=f"{len(points)} points", failures=few)


def killed(trial: Trial, item: Item) -> Outcome:
    """Killed at the point of `item`: healed at the TTL at the latest, and swept."""
    point, number = item
    outcome, chance = Outcome(), random.Random(f"{point} {number}")
    ttl_s = chance.uniform(4.0, 5.0)
    process = begun(trial, point, ttl_s, chance)
    code = process.wait(60)
    outcome.expect(code == -signal.SIGKILL, f"exit {code}, not killed at the point: {trial.out[-300:]!r}")
    renewed_s = process.ended_s if point == "renewed" else 0.0
    outcome.figure = healed_by_ttl(trial.lab.eye, ttl_s, SLACK_S, outcome, renewed_s)
    swept = trial.sweep()
    outcome.expect(swept == 0, f"sweep: exit {swept}: {trial.out[-300:]!r}")
    return outcome


def begun(trial: Trial, point: str, ttl_s: float, chance: random.Random) -> Process:
    """Only a cut with a dead man's switch is renewed; then its step is the TTL that counts."""
    if point != "renewed":
        plan = experiment(ttl_s=ttl_s, hold_s=chance.uniform(0.05, 0.5))
        return trial.run(plan, **{VARIABLE: point})
    plan = experiment(ttl_s=20, hold_s=5, dead_man_s=ttl_s)
    return trial.run(plan, **{VARIABLE: f"{point}:{chance.randint(1, 2)}"})


ROW = Row(
    number=1,
    title="SIGKILL at >= 12 named points x 25 (network namespaces), and x 2 on the kind cluster",
    bar="all healed <= TTL + 1 s",
    measures=((Ground.KERNEL, in_namespaces),),
)
