"""Row 27: a run that is stopped between its decision and its rules cuts nothing by it, and nothing beyond its time."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from chaosext.model.crash import VARIABLE
from chaosext.partition.apply import TIMEOUT_S
from tests.trust.lab.clock import now_s
from tests.trust.lab.lab import CONTROLS, wait_until
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import Trial, experiment
from tests.trust.lab.watching import SEEN_S, is_open
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.trust.lab.trial import Process

PASSED, INCONCLUSIVE = 0, 30
"""The trial's method has left a mark before the cut is refused: so a refusal is no mere refusal, and ends with 30."""

MAIN = "tests.trust.lab.stopping:main"
LATE_S = TIMEOUT_S + 1.0
"""A decision that is older than the first of these is not acted on any more."""

SHORT_S = 3.0
SLACK_S = 1.0
"""By so much may the kernel let go late."""

Item = str


def in_namespaces(effort: Effort) -> Measured:
    some = ("the lock is another's", "late", "the time goes on")
    items = list(PLAYS) if effort is Effort.FULL else list(some)
    return stage().play(played, items, controls=3, unit="s beyond the time decided on")


def played(trial: Trial, item: Item) -> Outcome:
    outcome = Outcome()
    PLAYS[item](trial, outcome)
    wait_until(lambda: is_open(trial.lab.eye), SEEN_S + 1)
    outcome.expect(is_open(trial.lab.eye), "still cut when all had ended")
    trial.clean_up()
    trial.lab.api.tell(leases={})
    return outcome


def stopped_at(trial: Trial, outcome: Outcome, point: str, plan: dict[str, Any]) -> Process:
    """A run that stands still at the crash point."""
    process = trial.call(MAIN, "run", str(trial.write(plan)), **{VARIABLE: point})
    outcome.expect(trial.reaches("stopped", 60), f"never stopped at {point}: {trial.out[-300:]!r}")
    return process


def goes_on(trial: Trial, process: Process, outcome: Outcome, wanted: int, *, said: str = "") -> None:
    process.signal(signal.SIGCONT)
    code = process.wait(60)
    outcome.expect(
        code == wanted and said in trial.out, f"exit {code}, wanted {wanted}: {trial.out[-400:]!r}"
    )


def never_cut(trial: Trial, outcome: Outcome) -> None:
    outcome.expect(not trial.lab.eye.closed, f"it was cut: {trial.lab.eye.closures()}")


def another_has_the_lock(trial: Trial, outcome: Outcome) -> None:
    """An operator cleans up the run that stands still; another's cut is in force, and over, by the time it goes on."""
    process = stopped_at(trial, outcome, "arming", experiment(ttl_s=20, hold_s=0.1, move=False))
    trial.lab.api.tell(leases={})
    cleaned = trial.command("cleanup", "--all", *trial.lab.looking).wait(20)
    outcome.expect(cleaned == 0, f"cleanup: exit {cleaned}")
    other = Trial(trial.lab, trial.nursery)
    try:
        held = other.run(experiment(ttl_s=20, hold_s=4.0, move=False))
        outcome.expect(other.reaches("hold"), f"the other never held: {other.out[-300:]!r}")
        goes_on(trial, process, outcome, INCONCLUSIVE)
        outcome.expect("severed" not in trial.marks, "went on as if it were cut")
        code = held.wait(60)
        outcome.expect(code == PASSED, f"the other: exit {code}: {other.out[-300:]!r}")
    finally:
        other.forget()
    again = [path for path, times in trial.lab.eye.closures().items() if times > 1]
    outcome.expect(not again, f"cut twice: {again}")


def the_lock_is_gone(trial: Trial, outcome: Outcome) -> None:
    """Its own is gone, as after 60 s: another run may begin at any moment."""
    process = stopped_at(trial, outcome, "arming", experiment(ttl_s=20, hold_s=0.1, move=False))
    for role in CONTROLS:
        trial.lab.spaces.nft(role, "delete table inet chaosext.lock\n")  # type: ignore[attr-defined]
    goes_on(trial, process, outcome, INCONCLUSIVE, said="nothing was touched on any node")
    never_cut(trial, outcome)


def late(trial: Trial, outcome: Outcome) -> None:
    process = stopped_at(trial, outcome, "arming", experiment(ttl_s=60, hold_s=0.1, move=False))
    time.sleep(LATE_S)
    goes_on(trial, process, outcome, INCONCLUSIVE)
    never_cut(trial, outcome)


def late_for_the_others(trial: Trial, outcome: Outcome) -> None:
    """The first node has its rules; the others' come too late, and the first one's are taken back."""
    process = stopped_at(trial, outcome, "first-node-sent", experiment(ttl_s=60, hold_s=0.1, move=False))
    time.sleep(LATE_S)
    goes_on(trial, process, outcome, INCONCLUSIVE)
    outcome.expect("severed" not in trial.marks, "went on as if it were cut")


def before_the_last_word(trial: Trial, outcome: Outcome) -> None:
    """Stopped with its lock and without its nodes: what it decides then is fresh, so it may go on."""
    process = stopped_at(trial, outcome, "nodes-locked", experiment(ttl_s=20, hold_s=0.1, move=False))
    time.sleep(SHORT_S)
    goes_on(trial, process, outcome, PASSED)


def the_time_goes_on(trial: Trial, outcome: Outcome) -> None:
    """Shortly stopped: the cut is made, and is over when it was decided that it would be."""
    ttl_s = 8.0
    process = stopped_at(trial, outcome, "arming", experiment(ttl_s=ttl_s, hold_s=ttl_s, move=False))
    decided_s = now_s()
    time.sleep(SHORT_S)
    goes_on(trial, process, outcome, PASSED)
    eye = trial.lab.eye
    if outcome.expect(eye.cut_s is not None and eye.open_s is not None, "it was not cut, or is still"):
        assert eye.open_s
        outcome.figure = eye.open_s - decided_s - ttl_s
        outcome.expect(outcome.figure <= SLACK_S, f"open {outcome.figure:.2f} s after its time")


def hours_end(trial: Trial, outcome: Outcome) -> None:
    """The allowed hours end soon after the cut is to: stopped on the way, it still ends within them."""
    now = datetime.now(UTC)
    end = (now + timedelta(seconds=45)).replace(second=0, microsecond=0) + timedelta(minutes=1)
    begin = (now - timedelta(hours=1)).replace(second=0, microsecond=0)
    plan = experiment(ttl_s=60.0, hold_s=1.0, move=False)
    days = "Mon,Tue,Wed,Thu,Fri,Sat,Sun"
    plan["configuration"]["chaosext_allowed_hours"] = [f"{days} {begin:%H:%M}-{end:%H:%M} UTC"]
    left_s = (end - datetime.now(UTC)).total_seconds()
    plan["method"][1]["provider"]["arguments"]["ttl_s"] = max(3.0, left_s - TIMEOUT_S - 15.0)
    process = stopped_at(trial, outcome, "nodes-locked", plan)
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds() - TIMEOUT_S))
    goes_on(trial, process, outcome, INCONCLUSIVE, said="is not all within the allowed hours")
    never_cut(trial, outcome)


def renewal(trial: Trial, outcome: Outcome) -> None:
    """Stopped while it renews: the kernel lets go as after any runner's death, and nothing comes back."""
    dead_man_s = 4.0
    plan = experiment(ttl_s=60, hold_s=8.0, move=False, dead_man_s=dead_man_s)
    process = stopped_at(trial, outcome, "first-node-sent:4", plan)  # three arm, the fourth renews
    stopped_s = now_s()
    time.sleep(dead_man_s + 1.5)
    eye = trial.lab.eye
    if outcome.expect(eye.open_s is not None, "the kernel did not let go"):
        assert eye.open_s
        outcome.figure = eye.open_s - stopped_s - dead_man_s
        outcome.expect(outcome.figure <= SLACK_S, f"open {outcome.figure:.2f} s after the dead man's switch")
    goes_on(trial, process, outcome, INCONCLUSIVE)
    again = [path for path, times in eye.closures().items() if times > 1]
    outcome.expect(not again, f"cut twice: {again}")


PLAYS: dict[str, Callable[[Trial, Outcome], None]] = {
    "the lock is another's": another_has_the_lock,
    "the lock is gone": the_lock_is_gone,
    "late": late,
    "late for the others": late_for_the_others,
    "before the last word": before_the_last_word,
    "the time goes on": the_time_goes_on,
    "the hours end": hours_end,
    "a renewal": renewal,
}

ROW = Row(
    number=27,
    title=f"a run that is stopped between decision and rules, then continued x {len(PLAYS)}",
    bar="refused or taken back where lock, hours or age are over; else over <= 1 s after the time decided on",
    measures=((Ground.KERNEL, in_namespaces),),
)
