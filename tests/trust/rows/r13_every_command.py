"""Row 13: each single command of a run on a node fails, dies or stalls; on each of three nodes in turn."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from tests.trust.lab.lab import CONTROLS
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.trouble import Trouble
from tests.trust.lab.watching import healed_by_ttl, is_open
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from tests.trust.lab.trial import Trial
    from tests.trust.lab.trouble import How

TTL_S = 8.0
SLACK_S = 1.0
EXITS = {"passed": 0, "deviated": 11, "refused": 20, "inconclusive": 30, "unsafe": 40}
FAST_ITEMS = 6

Item = tuple["How", str, int]


def in_namespaces(effort: Effort) -> Measured:
    hows: tuple[How, ...] = ("fail", "die", "stall")
    commands = range(1, commands_of_a_run() + 1)
    items = [(how, role, number) for how in hows for role in CONTROLS for number in commands]
    if effort is Effort.FAST:
        items = items[:: len(items) // FAST_ITEMS]
    return stage().play(with_one_failure, items, controls=3, unit="s after the TTL")


@cache
def commands_of_a_run() -> int:
    """How often a run enters a node when all goes well."""
    entries: list[int] = []

    def count(trial: Trial, _: int) -> Outcome:
        outcome, trouble = Outcome(), Trouble(trial)
        code = trial.run(_plan()).wait(60)
        outcome.expect(code == 0, f"exit {code}: {trial.out[-300:]!r}")
        entries.append(max(trouble.entries(role) for role in CONTROLS))
        return outcome

    outcome = stage().trial(count, 0, 3)
    assert not outcome.failures, outcome.failures
    return entries[0]


def with_one_failure(trial: Trial, item: Item) -> Outcome:
    how, role, number = item
    outcome, trouble = Outcome(), Trouble(trial)
    trouble.entering(role, how, number)
    code = trial.run(_plan()).wait(90)
    verdict = trial.result.get("verdict")
    outcome.expect(EXITS.get(str(verdict)) == code, f"verdict {verdict}, exit {code}: {trial.out[-300:]!r}")
    if code != EXITS["unsafe"]:
        outcome.expect(is_open(trial.lab.eye), f"verdict {verdict}, but still cut when it had ended")
    if code == EXITS["refused"]:
        outcome.expect(trial.lab.eye.cut_s is None, "refused, but something was cut")
    outcome.figure = healed_by_ttl(trial.lab.eye, TTL_S, SLACK_S, outcome)
    trouble.over()
    cleaned = trial.clean_up()
    outcome.expect(cleaned == 0, f"cleanup: exit {cleaned}: {trial.out[-300:]!r}")
    return outcome


def _plan() -> dict[str, object]:
    return experiment(ttl_s=TTL_S, hold_s=0.1, move=False)


ROW = Row(
    number=13,
    title="a failure at every single command, on node k of 3",
    bar="all healed",
    measures=((Ground.KERNEL, in_namespaces),),
)
