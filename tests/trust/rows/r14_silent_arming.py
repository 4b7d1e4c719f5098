"""Row 14: nft says yes and does nothing, or not all: a cut that is not there is never taken for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.trust.lab.lab import CONTROLS
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.trouble import Trouble
from tests.trust.lab.watching import is_open, lease_left
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from tests.trust.lab.trial import Trial

TIMES = {Effort.FAST: 1, Effort.FULL: 2}
WAYS = ("nothing", "no-elements", "no-ipv6", "no-drops", "no-timeout")
"""What of a transaction an nft swallows (see lab/trouble.py)."""

INCONCLUSIVE = 30

Item = tuple[str, tuple[str, ...], int]


def in_namespaces(effort: Effort) -> Measured:
    where = ((CONTROLS[1],), CONTROLS) if effort is Effort.FULL else ((CONTROLS[1],),)
    items = [(way, roles, number) for number in range(TIMES[effort]) for way in WAYS for roles in where]
    return stage().play(with_silent_nft, items, controls=3, unit="s until all was open")


def with_silent_nft(trial: Trial, item: Item) -> Outcome:
    way, roles, _ = item
    outcome, trouble, eye = Outcome(), Trouble(trial), trial.lab.eye
    for role in roles:
        trouble.nft(role, way)
    code = trial.run(experiment(ttl_s=30, hold_s=0.1, move=False)).wait(60)
    verdict = trial.result.get("verdict")
    outcome.expect(
        (code, verdict) == (INCONCLUSIVE, "inconclusive"), f"{verdict}, exit {code}: {trial.out[-300:]!r}"
    )
    outcome.expect("severed" not in trial.marks, "went on as if it were cut")
    outcome.expect(is_open(eye), "the other nodes are still cut")
    if eye.cut_s is not None and eye.open_s is not None:
        outcome.figure = eye.open_s - eye.cut_s
    outcome.residue += lease_left(trial.lab)
    return outcome


ROW = Row(
    number=14,
    title="arming that silently does nothing",
    bar="inconclusive, exit 30",
    measures=((Ground.KERNEL, in_namespaces),),
)
