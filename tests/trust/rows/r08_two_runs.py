"""Row 8: of two runs that begin within 50 ms exactly one goes on; the nodes see to it where the Lease doesn't."""

from __future__ import annotations

import random

from tests.trust.lab.clock import now_s
from tests.trust.lab.nursery import BEGIN
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import Trial, experiment
from tests.trust.lab.watching import is_open, lease_left
from tests.trust.row import Effort, Ground, Measured, Row

APART_S = 0.05
READY_S = 0.5
"""By then both processes wait for their moment; doubled from turn to turn, for a busy machine."""

TURNS = 5
CONTROL_NODES = 3
PASSED, REFUSED, INCONCLUSIVE = 0, 20, 30
UNVERIFIED = "the cut can't be verified, so it was healed at once"
"""A machine that is too busy to probe all paths in time says nothing about who wins: then it is tried again."""

TIMES = {Effort.FAST: (2, 1), Effort.FULL: (100, 20)}
"""How often with a Lease that works, and with one that everybody gets: then the nodes' own locks decide."""

Item = tuple[str, int]


def in_namespaces(effort: Effort) -> Measured:
    strict, lenient = TIMES[effort]
    items = [("serve", number) for number in range(strict)]
    items += [("lenient", number) for number in range(lenient)]
    return stage().play(side_by_side, items, controls=CONTROL_NODES, unit="s between their beginnings")


def side_by_side(trial: Trial, item: Item) -> Outcome:
    """Again, where a busy machine let them begin too far apart: that would prove less."""
    for turn in range(TURNS):
        outcome = _together(trial, item[0], random.Random(f"{item} {turn}"), READY_S * 2**turn)
        if outcome.figure is not None or outcome.failures or outcome.residue:
            return outcome
        trial.lab.begin(CONTROL_NODES)
    outcome.expect(False, f"the machine was too busy {TURNS} times in a row")
    return outcome


def _together(trial: Trial, mode: str, chance: random.Random, ready_s: float) -> Outcome:
    """Two runs, each from a home of its own, as two people on two machines."""
    outcome, lab = Outcome(), trial.lab
    both = tuple(Trial(lab, trial.nursery) for _ in range(2))
    lab.api.tell(mode=mode)
    try:
        _begin_and_compare(both, chance, ready_s, outcome)
    finally:
        for each in both:
            each.forget()
    if mode == "serve":
        outcome.residue += lease_left(lab)
    lab.api.tell(mode="serve", leases={})
    return outcome


def _begin_and_compare(
    both: tuple[Trial, ...], chance: random.Random, ready_s: float, outcome: Outcome
) -> None:
    plan, soon_s = experiment(ttl_s=8, hold_s=0.1, move=False), now_s() + ready_s
    begin_s = (soon_s, soon_s + chance.uniform(0, APART_S / 2))
    runs = [trial.run(plan, **{BEGIN: f"{at_s:.6f}"}) for trial, at_s in zip(both, begin_s, strict=True)]
    codes = [process.wait(60) for process in runs]
    begun_s = [trial.marks["begun"] for trial in both]
    apart_s = max(begun_s) - min(begun_s)
    unverified = any(UNVERIFIED in str(trial.result.get("reasons")) for trial in both)
    if apart_s > APART_S or (unverified and sorted(codes) == [REFUSED, INCONCLUSIVE]):
        return
    outcome.figure = apart_s
    said = [f"{trial.result.get('reasons')} {trial.out[-200:]}" for trial in both]
    outcome.expect(sorted(codes) == [PASSED, REFUSED], f"exits {codes}: {said}")
    for trial, code in zip(both, codes, strict=True):
        if code == REFUSED:
            outcome.expect([*trial.marks] == ["begun"], f"the refused one has played: {trial.marks}")
    eye = both[0].lab.eye
    outcome.expect(set(eye.closures().values()) == {1}, f"the paths were cut {eye.closures()}")
    outcome.expect(is_open(eye), "still cut when both had ended")


ROW = Row(
    number=8,
    title="two runs within 50 ms x 100",
    bar="exactly one wins; the other refused, exit 20",
    measures=((Ground.KERNEL, in_namespaces),),
)
