"""Row 3: the API server is gone from the cut to the end; the undo doesn't ask for it, and neither does a cleanup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.trust.lab.lab import wait_until
from tests.trust.lab.listening import CALLS, calls
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.watching import SEEN_S, is_open
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from tests.trust.lab.trial import Trial

AWAY = ("refuse", "hang", "vanish")
"""How an API server can be gone (see lab/api_server.py)."""

TIMES = {Effort.FAST: 3, Effort.FULL: 20}
TTL_S = 30.0
AT_MOST_S = 2.0
"""The undo takes some 0.05 s here; whoever waited for an API server would take its time limit (2 s) at least."""

UNKNOWN = 30
"""What still stands of the baseline can't be asked for at the end, so the run proved nothing."""

Item = tuple[str, int]


def in_namespaces(effort: Effort) -> Measured:
    items = [(AWAY[number % len(AWAY)], number) for number in range(TIMES[effort])]
    return stage().play(without_api_server, items, unit="s from the heal's begin to open paths")


def without_api_server(trial: Trial, item: Item) -> Outcome:
    outcome, lab = Outcome(), trial.lab
    noted = trial.home / "calls"
    process = trial.run(experiment(ttl_s=TTL_S, hold_s=0.5, move=False), **{CALLS: str(noted)})
    wait_until(lambda: lab.eye.cut_s is not None, 30)
    gone_s = float(lab.api.tell(mode=item[0])["at_s"])
    code = process.wait(60)
    if outcome.expect("held" in trial.marks and is_open(lab.eye), f"not healed: {trial.out[-300:]!r}"):
        outcome.figure = (lab.eye.open_s or 0.0) - trial.marks["held"]
        outcome.expect(0 <= outcome.figure <= AT_MOST_S, f"healed after {outcome.figure:.2f} s")
    outcome.expect(code == UNKNOWN, f"exit {code}: {trial.out[-300:]!r}")
    made = calls(noted)
    outcome.failures += [f"the undo asked: {call.line}" for call in made if call.of_undo]
    outcome.expect(any(call.at_s < gone_s for call in made), "no request was noted at all: nothing is proven")
    cleanup_asks_nothing(trial, outcome)
    return outcome


def cleanup_asks_nothing(trial: Trial, outcome: Outcome) -> None:
    """Counted by the API server itself, where it can count: nobody else is left who could ask."""
    lab = trial.lab
    before = lab.api.tell(mode="hang").get("accepted", 0)
    noted = trial.home / "cleanup-calls"
    code = trial.clean_up(**{CALLS: str(noted)})
    wait_until(lambda: False, SEEN_S)
    after = lab.api.tell().get("accepted", 0)
    outcome.expect(code == 0, f"cleanup: exit {code}: {trial.out[-300:]!r}")
    outcome.expect(after == before and not calls(noted), f"cleanup connected {after - before} times")
    lab.api.tell(mode="serve", leases={})


ROW = Row(
    number=3,
    title="API server unreachable from the cut to the end x 20",
    bar="undo makes no API call",
    measures=((Ground.KERNEL, in_namespaces),),
)
