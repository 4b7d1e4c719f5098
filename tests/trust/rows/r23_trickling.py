"""Row 23: an API server that answers a byte at a time keeps nobody: no run in any phase, told to leave or not."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from tests.trust.lab.api_server import TRICKLING
from tests.trust.lab.lab import CONTEXT, wait_until
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.watching import is_open, lease_left
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from tests.trust.lab.trial import Trial

TOLD_S = 6.0
"""5 s, and what an interpreter of its own takes to end."""

ALONE_S = 30.0
COMMAND_S = 30.0
TTL_S = 60.0
"""Far beyond both: what is open again was healed, not let go."""

TELL_AFTER_S = 1.0
EXITS = {"passed": 0, "deviated": 11, "refused": 20, "inconclusive": 30, "unsafe": 40}
PHASES = ("", "begin", "hold", "held", "next", "rolling", "rolled")
"""The mark from which on it trickles; "": before the run begins."""

SIGNALS = ("", "SIGINT", "SIGTERM", "SIGHUP")
COMMANDS: dict[str, tuple[str, ...]] = {
    "pin": ("pin", "--context", CONTEXT),
    "abort": ("abort", "--context", CONTEXT, "--wait", "5"),
    "check": ("check", "all", "--context", CONTEXT),
    "status": ("status", "--transport", "netns", "--context", CONTEXT),
    "cleanup": ("cleanup", "--transport", "netns", "--context", CONTEXT),
    "snapshot": ("snapshot", "--context", CONTEXT, "--page-timeout", "5", "-o", "snapshot.json"),
    "preflight": ("preflight", "experiment.json"),
    "dry run": ("run", "experiment.json", "--dry-run"),
}
"""Who asks an API server besides a run."""

EACH = {Effort.FAST: 10, Effort.FULL: 1}
Item = tuple[str, str, str]


def of_runs(effort: Effort) -> Measured:
    ways = [(phase, name) for phase in PHASES for name in SIGNALS]
    items = [(*way, TRICKLING[number % len(TRICKLING)]) for number, way in enumerate(ways)]
    return stage().play(trickled, items[:: EACH[effort]], unit="s to the end")


def of_commands(effort: Effort) -> Measured:
    items = [(name, how) for how in TRICKLING for name in COMMANDS]
    return stage().play(asked, items[:: EACH[effort]], unit="s to the end")


def trickled(trial: Trial, item: Item) -> Outcome:
    """As a process of its own: whoever is joined when an interpreter ends is joined here as well."""
    phase, name, how = item
    outcome, lab = Outcome(), trial.lab
    path = trial.write(experiment(ttl_s=TTL_S, hold_s=0.5))
    if not phase:
        lab.api.tell(mode=how)
    process = trial.program("run", str(path))
    if phase:
        outcome.expect(trial.reaches(phase), f"never came to {phase}: {trial.out[-300:]!r}")
        lab.api.tell(mode=how)
    else:
        outcome.expect(wait_until(lambda: lab.api.tell().get("accepted", 0) > 0, 30), "never asked anything")
    since_s = process.signal(0)
    if name:
        time.sleep(TELL_AFTER_S)
        since_s = process.signal(signal.Signals[name])
    code = process.wait(2 * ALONE_S)
    outcome.figure = process.ended_s - since_s
    bound_s = TOLD_S if name else ALONE_S
    outcome.expect(outcome.figure <= bound_s, f"ended {outcome.figure:.1f} s later")
    verdict = trial.result.get("verdict")
    right = {**EXITS, "interrupted": 128 + signal.Signals[name]} if name else EXITS
    outcome.expect(right.get(str(verdict)) == code, f"verdict {verdict}, exit {code}: {trial.out[-300:]!r}")
    outcome.expect(is_open(lab.eye), "still cut when the run had ended")
    lab.api.tell(mode="serve")
    lease_left(lab)  # it can't be given back without an answer, and expires by itself
    return outcome


def asked(trial: Trial, item: tuple[str, str]) -> Outcome:
    name, how = item
    outcome = Outcome()
    trial.write(experiment())
    trial.lab.api.tell(mode=how)
    process = trial.program(*COMMANDS[name])
    since_s = process.signal(0)
    code = process.wait(2 * COMMAND_S)
    outcome.figure = process.ended_s - since_s
    outcome.expect(outcome.figure <= COMMAND_S, f"ended {outcome.figure:.1f} s later")
    outcome.expect(code in (10, 20, 30, 40), f"exit {code}: {trial.out[-300:]!r}")
    outcome.expect("did not answer" in trial.out, f"that it did not answer is not said: {trial.out[-300:]!r}")
    trial.lab.api.tell(mode="serve")
    return outcome


ROW = Row(
    number=23,
    title="API server that answers a byte at a time: 7 phases x 3 signals and none; 8 commands",
    bar="ends in time, healed, right verdict and exit code",
    measures=((Ground.KERNEL, of_runs), (Ground.KERNEL, of_commands)),
)
