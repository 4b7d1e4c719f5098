"""Row 11: the undo may come too often, too early, and from two sides at once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.trust.lab.clock import now_s
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import Trial, experiment, ours
from tests.trust.lab.watching import is_open, lease_left
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TIMES = {Effort.FAST: 1, Effort.FULL: 10}
OFTEN = 10


def in_namespaces(effort: Effort) -> Measured:
    items = [(name, number) for number in range(TIMES[effort]) for name in PLAYS]
    return stage().play(lambda trial, item: PLAYS[item[0]](trial), items, controls=2, unit="s to undo")


def ten_times_in_a_run(trial: Trial) -> Outcome:
    """Before arming and after it, the action ten times each."""
    outcome, plan = Outcome(), experiment(ttl_s=20, hold_s=0.1, move=False)
    healing = [{**ours("heal_control_plane"), "name": f"heal {number}"} for number in range(OFTEN)]
    begin, *rest = plan["method"]
    plan["method"] = [begin, *healing, *rest, *healing]
    code = trial.run(plan).wait(60)
    outcome.expect(code == 0, f"exit {code}: {trial.out[-300:]!r}")
    outcome.expect(trial.lab.eye.cut_s is not None and is_open(trial.lab.eye), "not cut, or not healed")
    outcome.residue += lease_left(trial.lab)
    return outcome


def ten_cleanups(trial: Trial) -> Outcome:
    """Of a run that was killed while it held its cut: the first takes it away, the others find nothing."""
    outcome = Outcome()
    run = _killed(trial, outcome)
    for _ in range(OFTEN):
        _all_succeed(trial, ("cleanup", *_named(trial, run)), 1, outcome)
    outcome.expect(is_open(trial.lab.eye), "still cut")
    trial.lab.api.tell(leases={})
    return outcome


def before_arming(trial: Trial) -> Outcome:
    """A cleanup of a run that never was, then the run: nothing keeps it from cutting."""
    outcome = Outcome()
    _all_succeed(trial, ("cleanup", *_named(trial, "neverwas")), 1, outcome)
    code = trial.run(experiment(ttl_s=20, hold_s=0.1, move=False)).wait(60)
    outcome.expect(code == 0 and trial.lab.eye.cut_s is not None, f"exit {code}: {trial.out[-300:]!r}")
    outcome.residue += lease_left(trial.lab)
    return outcome


def two_at_once(trial: Trial) -> Outcome:
    """Two cleanups of a dead run's cut begin at the same moment."""
    outcome = Outcome()
    _all_succeed(trial, ("cleanup", *_named(trial, _killed(trial, outcome))), 2, outcome)
    outcome.expect(is_open(trial.lab.eye), "still cut")
    trial.lab.api.tell(leases={})
    return outcome


def with_the_run(trial: Trial) -> Outcome:
    """Two cleanups by name while the run lives and holds; its own heal comes on top."""
    outcome = Outcome()
    process = trial.run(experiment(ttl_s=20, hold_s=1.5, move=False))
    outcome.expect(trial.reaches("hold"), f"never held: {trial.out[-300:]!r}")
    _all_succeed(trial, ("cleanup", *_named(trial, _run_of(trial))), 2, outcome)
    code = process.wait(60)
    outcome.expect(code == 30, f"exit {code}, though its cut was gone before its heal: {trial.out[-300:]!r}")
    outcome.expect(is_open(trial.lab.eye), "still cut")
    trial.lab.api.tell(leases={})
    return outcome


def _all_succeed(trial: Trial, argv: Sequence[str], at_once: int, outcome: Outcome) -> None:
    """So many processes of this command, begun at the same moment, all end with 0."""
    began_s = now_s()
    processes = [trial.command(*argv) for _ in range(at_once)]
    codes = [process.wait(30) for process in processes]
    outcome.expect(set(codes) == {0}, f"exits {codes}: {trial.out[-300:]!r}")
    took_s = max(process.ended_s for process in processes) - began_s
    outcome.figure = max(outcome.figure or 0.0, took_s)


def _killed(trial: Trial, outcome: Outcome) -> str:
    process = trial.run(experiment(ttl_s=30, hold_s=5, move=False))
    outcome.expect(trial.reaches("hold"), f"never held: {trial.out[-300:]!r}")
    process.signal(signal.SIGKILL)
    process.wait(5)
    return _run_of(trial)


def _run_of(trial: Trial) -> str:
    return (trial.home / "run" / "latest").resolve().name


def _named(trial: Trial, run: str) -> list[str]:
    return ["--run", run, *trial.lab.looking]


PLAYS: dict[str, Callable[[Trial], Outcome]] = {
    each.__name__: each
    for each in (ten_times_in_a_run, ten_cleanups, before_arming, two_at_once, with_the_run)
}

ROW = Row(
    number=11,
    title="undo x 10, before arming, and at once from two processes",
    bar="always succeeds",
    measures=((Ground.KERNEL, in_namespaces),),
)
