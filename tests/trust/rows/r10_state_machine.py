"""Row 10: whatever is done to two nodes in whatever order, and whoever dies meanwhile, their rulesets equal a model."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.trust.row import Effort, Ground, Measured, Row

ROOT = Path(__file__).parents[3]
SEEDS_APART = 1_000_000


GRACE_S = 60.0
"""From its limit on, how long a worker may take to end the steps that it is in and to remove its namespaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How the steps are shared out; `least_steps` of all workers together are what the row promises.

    More processes than cores: a third of their time they wait for a TTL. A step takes about 50 ms of a core. The limit
    is generous, as other rows run at the same time; a worker that reaches it reports the steps that it made.
    """

    processes: int
    steps_each: int
    least_steps: int
    limit_s: float


SHARES = {
    Effort.FAST: Share(processes=3, steps_each=100, least_steps=30, limit_s=100),
    Effort.FULL: Share(processes=5, steps_each=2000, least_steps=10_000, limit_s=1500),
}


def measure(effort: Effort) -> Measured:
    """FAST plays the same steps each time, FULL others: a seed that fails is named, and can be played again."""
    share = SHARES[effort]
    first = 1 if effort is Effort.FAST else random.randrange(SEEDS_APART)
    seeds = [first + SEEDS_APART * index for index in range(share.processes)]
    with ThreadPoolExecutor(share.processes) as pool:
        played = list(pool.map(lambda seed: _play(share, seed), seeds))
    steps = sum(each["steps"] for each in played)
    failures = [each["failure"] for each in played if each["failure"]]
    if not failures and steps < share.least_steps:
        failures = [
            f"{steps} of {share.least_steps} steps within {share.limit_s:g} s: the machine is too busy"
        ]
    return Measured(
        trials=steps,
        worst=f"{steps} steps, the ruleset equal to the model after each",
        failures=tuple(failures),
        residue=tuple(each["left"] for each in played if each["left"]),
    )


def _play(share: Share, seed: int) -> dict[str, Any]:
    numbers = (share.steps_each, seed, share.limit_s)
    argv = [sys.executable, "-m", "tests.trust.machine.worker", *map(str, numbers)]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said, problem = _outcome(process, share.limit_s + GRACE_S)
        played = json.loads(said)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        played = {"steps": 0, "failure": f"seed {seed}: did not end {2 * GRACE_S:g} s after its limit"}
    except ValueError:
        played = {"steps": 0, "failure": f"seed {seed}: {problem.strip()[-2000:]}"}
    return {**played, "left": _namespaces_of(process.pid)}


def _outcome(process: subprocess.Popen[str], within_s: float) -> tuple[str, str]:
    """What it printed; one that is late is asked to end first, so that it removes its namespaces."""
    try:
        return process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        process.terminate()
        return process.communicate(timeout=GRACE_S)


def _namespaces_of(pid: int) -> str:
    """The network namespaces that a worker left behind."""
    found = sorted(path.name for path in Path("/run/netns").glob(f"cxm{pid}-*"))
    return f"network namespaces {', '.join(found)}" if found else ""


ROW = Row(
    number=10,
    title="Hypothesis state machine over arm, renew, crash, expire, undo, cleanup on a real kernel",
    bar="10,000 steps: ruleset always equals model",
    measures=((Ground.KERNEL, measure),),
)
