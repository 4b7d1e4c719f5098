"""Row 1: whatever the moment at which a run is killed, the network is back at the TTL, and a cleanup leaves nothing."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

from chaosext.model.crash import POINTS, VARIABLE
from tests.trust.lab.kind import testbed
from tests.trust.lab.stage import Outcome, stage, summed, try_once
from tests.trust.lab.trial import experiment
from tests.trust.lab.watching import healed_by_ttl
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from tests.trust.lab.trial import Process, Trial

AT_LEAST_POINTS = 12
TIMES = {Effort.FAST: 1, Effort.FULL: 25}
CLUSTER_TIMES = {Effort.FAST: 1, Effort.FULL: 2}
FAST_POINTS = ("nodes-locked", "first-node-sent", "armed", "first-node-healed")
SLACK_S = 1.0
TTL_S = {"netns": (4.0, 5.0), "docker": (7.5, 8.5)}
"""Long enough for the proof of the cut, and on the testbed shorter than what makes its nodes NotReady (9 s)."""

Item = tuple[str, int]


def in_namespaces(effort: Effort) -> Measured:
    points = FAST_POINTS if effort is Effort.FAST else tuple(POINTS)
    items = [(point, number) for number in range(TIMES[effort]) for point in points]
    measured = stage().play(killed, items, controls=2, unit="s after the TTL")
    return measured + enough(points) if effort is Effort.FULL else measured


def on_the_cluster(effort: Effort) -> Measured:
    """One after the other; at last a run that nobody kills takes over what the dead have left, and gives it back."""
    points = FAST_POINTS if effort is Effort.FAST else tuple(POINTS)
    items = [(point, number) for number in range(CLUSTER_TIMES[effort]) for point in points]
    with testbed() as (bed, nursery):
        outcomes = [try_once(bed, nursery, killed, item) for item in items]
        outcomes.append(try_once(bed, nursery, not_killed, "at last"))
    return summed([*items, "at last"], outcomes, "s after the TTL")


def not_killed(trial: Trial, _: str) -> Outcome:
    """Locks and Lease of the dead keep nobody out."""
    outcome = Outcome()
    code = trial.run(experiment(ttl_s=8, hold_s=0.1, move=False, **trial.lab.where)).wait(60)
    outcome.expect(code == 0, f"exit {code}: {trial.out[-300:]!r}")
    return outcome


def enough(points: tuple[str, ...]) -> Measured:
    """Each of them was passed, or its trials are failures; here it is only counted."""
    few = () if len(points) >= AT_LEAST_POINTS else (f"only {len(points)} points",)
    return Measured(trials=0, worst=f"{len(points)} points", failures=few)


def killed(trial: Trial, item: Item) -> Outcome:
    """Killed at the point of `item`: healed at the TTL at the latest, and cleaned."""
    point, number = item
    outcome, chance = Outcome(), random.Random(f"{point} {number}")
    ttl_s = chance.uniform(*TTL_S[trial.lab.where["transport"]])
    process = begun(trial, point, ttl_s, chance)
    code = process.wait(60)
    outcome.expect(code == -signal.SIGKILL, f"exit {code}, not killed at the point: {trial.out[-300:]!r}")
    renewed_s = process.ended_s if point == "renewed" else 0.0
    outcome.figure = healed_by_ttl(trial.lab.eye, ttl_s, SLACK_S, outcome, renewed_s)
    cleaned = trial.clean_up()
    outcome.expect(cleaned == 0, f"cleanup: exit {cleaned}: {trial.out[-300:]!r}")
    return outcome


def begun(trial: Trial, point: str, ttl_s: float, chance: random.Random) -> Process:
    """Only a cut with a dead man's switch is renewed; then its step is the TTL that counts."""
    if point != "renewed":
        plan = experiment(ttl_s=ttl_s, hold_s=chance.uniform(0.05, 0.5), **trial.lab.where)
        return trial.run(plan, **{VARIABLE: point})
    plan = experiment(ttl_s=20, hold_s=5, dead_man_s=ttl_s, **trial.lab.where)
    return trial.run(plan, **{VARIABLE: f"{point}:{chance.randint(1, 2)}"})


ROW = Row(
    number=1,
    title="SIGKILL at >= 12 named points x 25 (network namespaces), and x 2 on the kind cluster",
    bar="all healed <= TTL + 1 s",
    measures=((Ground.KERNEL, in_namespaces), (Ground.CLUSTER, on_the_cluster)),
)
