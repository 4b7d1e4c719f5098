"""Row 6: the runner's clock is moved by a day, both ways, while a cut is in force; nothing goes by it."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.watching import SEEN_S, healed_by_ttl, is_open, lease_left
from tests.trust.row import Effort, Ground, Measured, NotHere, Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.trust.lab.trial import Process, Trial

DAYS = ("+1d", "-1d")
TIMES = {Effort.FAST: 1, Effort.FULL: 3}
AT_MOST_S = 1.0
TTL_S = 4.0
LIBRARIES = "*/faketime/libfaketimeMT.so.1"

PASSED, ACCOUNTED_FOR, UNATTENDED = 0, 10, 40
"""Exit codes: of a run and a status, of a status, of a status."""

Item = tuple[str, str, int]


def in_namespaces(effort: Effort) -> Measured:
    library()
    plays = ("healed_late",) if effort is Effort.FAST else tuple(PLAYS)
    items = [(name, days, turn) for turn in range(TIMES[effort]) for name in plays for days in DAYS]
    return stage().play(moved, items, unit="s beside the TTL")


def library() -> Path:
    """libfaketime, where Debian's package faketime has it."""
    found = next(iter(Path("/usr/lib").glob(LIBRARIES)), None)
    if not found:
        raise NotHere("needs libfaketime (Debian: faketime)")
    return found


@dataclass
class Clock:
    """The wall clock of a trial's runner."""

    trial: Trial
    days: str

    def __post_init__(self) -> None:
        self.file = self.trial.home / "clock"
        self.file.write_text("+0d\n")

    def move(self) -> None:
        self.file.write_text(f"{self.days}\n")

    def command(self, *argv: str) -> Process:
        """A command of chaosext's that goes by this clock."""
        return self.trial.script(
            "moved_clock.py",
            *argv,
            LD_PRELOAD=str(library()),
            FAKETIME_TIMESTAMP_FILE=str(self.file),
            FAKETIME_NO_CACHE="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
        )

    def run(self, **plan: Any) -> Process:
        return self.command("run", str(self.trial.write(experiment(move=False, **plan))))

    def ask(self, command: str) -> int:
        """The exit code of `status` or `cleanup` on the lab's nodes."""
        return self.command(command, *self.trial.lab.looking).wait(30)


def moved(trial: Trial, item: Item) -> Outcome:
    name, days, _ = item
    outcome = Outcome()
    PLAYS[name](Clock(trial, days), outcome, random.Random(str(item)))
    if name != "killed":
        outcome.residue += lease_left(trial.lab)
    trial.lab.api.tell(leases={})
    return outcome


def healed_in_time(clock: Clock, outcome: Outcome, chance: random.Random) -> None:
    """Moved at any moment between the run's begin and its heal."""
    process = clock.run(ttl_s=20, hold_s=1)
    clock.trial.reaches("begin")
    time.sleep(chance.uniform(0, 3))
    clock.move()
    _ends_well(clock, process, outcome)


def healed_late(clock: Clock, outcome: Outcome, chance: random.Random) -> None:
    """The kernel's TTL comes first: it is what it would have been."""
    process = clock.run(ttl_s=TTL_S, hold_s=TTL_S)
    clock.trial.reaches("begin")
    time.sleep(chance.uniform(0, 3))
    clock.move()
    _ends_well(clock, process, outcome)
    over_s = healed_by_ttl(clock.trial.lab.eye, TTL_S, AT_MOST_S, outcome)
    outcome.figure = abs(over_s) if over_s is not None else None
    outcome.expect((outcome.figure or 0) <= AT_MOST_S, f"healed {over_s} s after the TTL")


def renewed(clock: Clock, outcome: Outcome, chance: random.Random) -> None:
    """A dead man's switch is renewed through the whole hold."""
    process = clock.run(ttl_s=40, hold_s=12, dead_man_s=8)
    clock.trial.reaches("begin")
    time.sleep(chance.uniform(0, 5))
    clock.move()
    _ends_well(clock, process, outcome)
    eye, marks = clock.trial.lab.eye, clock.trial.marks
    outcome.expect((eye.open_s or 0) >= marks.get("held", 0), "the cut ended while it was to be held")


def alive(clock: Clock, outcome: Outcome, _: random.Random) -> None:
    """Status and cleanup by another clock leave a living run alone."""
    process = clock.trial.run(experiment(ttl_s=30, hold_s=12, move=False))
    clock.trial.reaches("hold")
    clock.move()
    status, cleaned = clock.ask("status"), clock.ask("cleanup")
    outcome.expect(status == ACCOUNTED_FOR, f"status: exit {status}: {clock.trial.out[-300:]!r}")
    outcome.expect(cleaned == 0, f"cleanup: exit {cleaned}: {clock.trial.out[-300:]!r}")
    outcome.expect(not is_open(clock.trial.lab.eye), "the cut of a living run was cleaned up")
    _ends_well(clock, process, outcome)


def killed(clock: Clock, outcome: Outcome, _: random.Random) -> None:
    """Status and cleanup know a dead run's cut whatever the clock says."""
    process = clock.run(ttl_s=30, hold_s=12)
    clock.trial.reaches("hold")
    clock.move()
    process.signal(signal.SIGKILL)
    process.wait(5)
    status, cleaned, after = clock.ask("status"), clock.ask("cleanup"), clock.ask("status")
    said = f"{clock.trial.out[-300:]!r}"
    outcome.expect(
        (status, cleaned, after) == (UNATTENDED, 0, 0), f"exits {status}, {cleaned}, {after}: {said}"
    )
    time.sleep(SEEN_S)
    outcome.expect(is_open(clock.trial.lab.eye), "still cut after the cleanup")


def _ends_well(clock: Clock, process: Process, outcome: Outcome) -> None:
    code = process.wait(60)
    outcome.expect(code == PASSED, f"exit {code}: {clock.trial.out[-300:]!r}")
    outcome.expect(clock.trial.lab.eye.cut_s is not None, "nothing was cut")
    outcome.expect(is_open(clock.trial.lab.eye), "still cut when the run had ended")


PLAYS: dict[str, Callable[[Clock, Outcome, random.Random], None]] = {
    each.__name__: each for each in (healed_in_time, healed_late, renewed, alive, killed)
}

ROW = Row(
    number=6,
    title="runner's clock moved by a day, both ways",
    bar="TTL error <= 1 s",
    measures=((Ground.KERNEL, in_namespaces),),
)
