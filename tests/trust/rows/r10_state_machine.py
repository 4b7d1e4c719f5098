"""Row 10: whatever is done to two nodes in whatever order, and whoever dies meanwhile, their rulesets equal a model."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.trust.row import Effort, Ground, Measured, Row

ROOT = Path(__file__).parents[3]
SEEDS_APART = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How the steps are shared out. More processes than cores: a third of their time they wait for a TTL."""

    processes: int
    steps_each: int
    limit_s: float


SHARES = {
    Effort.FAST: Share(processes=3, steps_each=100, limit_s=120),
    Effort.FULL: Share(processes=5, steps_each=2000, limit_s=900),
}


def measure(effort: Effort) -> Measured:
    """FAST plays the same steps each time, FULL others: a seed that fails is named, and can be played again."""
    share = SHARES[effort]
    first = 1 if effort is Effort.FAST else random.randrange(SEEDS_APART)
    seeds = [first + SEEDS_APART * index for index in range(share.processes)]
    with ThreadPoolExecutor(share.processes) as pool:
        played = list(pool.map(lambda seed: _play(share, seed), seeds))
    steps = sum(each["steps"] for each in played)
    return Measured(
        trials=steps,
        worst=f"{steps} steps, the ruleset equal to the model after each",
        failures=tuple(each["failure"] for each in played if each["failure"]),
        residue=tuple(each["left"] for each in played if each["left"]),
    )


def _play(share: Share, seed: int) -> dict[str, str | int]:
    argv = [sys.executable, "-m", "tests.trust.machine.worker", str(share.steps_each), str(seed)]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said, problem = process.communicate(timeout=share.limit_s)
        played = json.loads(said)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        played = {"steps": 0, "failure": f"seed {seed}: not done within {share.limit_s:g} s"}
    except ValueError:
        played = {"steps": 0, "failure": f"seed {seed}: {problem.strip()[-2000:]}"}
    return {**played, "left": _namespaces_of(process.pid)}


def _namespaces_of(pid: int) -> str:
    """The network namespaces that a worker left behind."""
    found = sorted(path.name for path in Path("/run/netns").glob(f"cxm{pid}-*"))
    return f"network namespaces {', '.join(found)}" if found else ""


ROW = Row(
    number=10,
    title="Hypothesis state machine over arm, renew, crash, expire, undo, sweep on a real kernel",
    bar="10,000 steps: ruleset always equals model",
    measures=((Ground.KERNEL, measure),),
)
