"""Row 7: a process that renews is stopped past the TTL and then continued; the cut that has ended stays ended."""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING

from tests.trust.lab.lab import ADDRESSES, CONTROLS, WORKER, wait_until
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.watching import healed_by_ttl
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from tests.trust.lab.trial import Process, Trial

TIMES = {Effort.FAST: 2, Effort.FULL: 10}
STEP_S = 3.0
SLACK_S = 1.0
AFTERWARDS_S = 1.5
"""That long after it was continued is watched for a cut that comes back."""

REFUSED, INCONCLUSIVE = 20, 30

Item = tuple[str, int]


def in_namespaces(effort: Effort) -> Measured:
    kinds = ("a loop of renew", "a run with a dead man's switch")
    items = [(kinds[number % 2], number) for number in range(TIMES[effort])]
    return stage().play(stopped, items, unit="s after the TTL")


def stopped(trial: Trial, item: Item) -> Outcome:
    outcome, chance, lab = Outcome(), random.Random(str(item)), trial.lab
    process, wanted = _looping(trial) if "loop" in item[0] else _running(trial)
    begun = wait_until(lambda: lab.eye.cut_s is not None, 30)
    outcome.expect(begun, f"nothing was cut: {trial.out[-300:]!r}")
    time.sleep(chance.uniform(0.3, 2.5))
    stopped_s = process.signal(signal.SIGSTOP)
    outcome.figure = healed_by_ttl(lab.eye, STEP_S, SLACK_S, outcome, stopped_s)
    time.sleep(chance.uniform(0.0, 1.0))
    process.signal(signal.SIGCONT)
    code = process.wait(60)
    time.sleep(AFTERWARDS_S)
    outcome.expect(code in wanted, f"exit {code}: {trial.out[-300:]!r}")
    again = [path for path, times in lab.eye.closures().items() if times > 1]
    outcome.expect(not again and lab.eye.open_s is not None, f"armed again: {again}")
    trial.clean_up()
    return outcome


def _looping(trial: Trial) -> tuple[Process, tuple[int, ...]]:
    nodes, peers = [trial.lab.node(CONTROLS[0])], ",".join(ADDRESSES[WORKER])
    argv = ("looping", f"{STEP_S:g}", "0.3", "netns", "eth0", peers, *nodes)
    return trial.call("tests.trust.lab.renewing:main", *argv), (REFUSED, INCONCLUSIVE)


def _running(trial: Trial) -> tuple[Process, tuple[int, ...]]:
    return trial.run(experiment(ttl_s=60, hold_s=8.0, dead_man_s=STEP_S, move=False)), (INCONCLUSIVE,)


ROW = Row(
    number=7,
    title="process that renews stopped past TTL, then continued x 10",
    bar="healed, not re-armed",
    measures=((Ground.KERNEL, in_namespaces),),
)
