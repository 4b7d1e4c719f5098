"""Row 4: the way into a node is dead when it is time to heal it; the kernel heals it, and the run says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.trust.lab.lab import CONTROLS
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.trouble import Trouble
from tests.trust.lab.watching import healed_by_ttl
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from tests.trust.lab.trial import Trial
    from tests.trust.lab.trouble import How

TIMES = {Effort.FAST: 2, Effort.FULL: 20}
TTL_S: dict[How, float] = {"fail": 6.0, "hang": 9.0}
SLACK_S = 1.0
ENDS_S = 60.0
ACCEPTED = {"unsafe": 40, "inconclusive": 30}

Item = tuple["How", int]


def in_namespaces(effort: Effort) -> Measured:
    hows: list[How] = ["fail", "hang"]
    items = [(hows[number % 2], number) for number in range(TIMES[effort])]
    return stage().play(with_dead_shell, items, controls=2, unit="s after the TTL")


def with_dead_shell(trial: Trial, item: Item) -> Outcome:
    """From the hold on the first node can't be entered any more: it fails, or never answers."""
    how, number = item
    outcome, trouble = Outcome(), Trouble(trial)
    dead = CONTROLS[number // 2 % 2]
    process = trial.run(experiment(ttl_s=TTL_S[how], hold_s=0.5, move=False))
    outcome.expect(trial.reaches("hold"), f"never held: {trial.out[-300:]!r}")
    trouble.from_now_on(dead, how)
    code = process.wait(ENDS_S)
    said, result = trial.out, trial.result
    outcome.figure = healed_by_ttl(trial.lab.eye, TTL_S[how], SLACK_S, outcome)
    verdict = result.get("verdict")
    outcome.expect(ACCEPTED.get(str(verdict)) == code, f"verdict {verdict}, exit {code}: {said[-300:]!r}")
    reasons = " ".join(result.get("reasons", ()))
    outcome.expect(trial.lab.node(dead) in reasons, f"the node is not named: {reasons!r}")
    trouble.over()
    cleaned = trial.clean_up()
    outcome.expect(cleaned == 0, f"cleanup: exit {cleaned}: {trial.out[-300:]!r}")
    return outcome


ROW = Row(
    number=4,
    title="node shell dead at rollback x 20",
    bar="TTL heals; unsafe or inconclusive, exit != 0, names the node",
    measures=((Ground.KERNEL, in_namespaces),),
)
