"""Row 24: whoever says something without an end, a node or an API server, takes no memory, and no time either."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.trust.lab.api_server import ENDLESS
from tests.trust.lab.lab import CONTROLS
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.trouble import Trouble
from tests.trust.lab.watching import healed_by_ttl, is_open, lease_left
from tests.trust.row import Effort, Ground, Measured, Row
from tests.trust.rows.r23_trickling import COMMANDS, EXITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.trust.lab.trial import Process, Trial
    from tests.trust.lab.trouble import How

MOST_MIB = 300.0
ENDS_S = 60.0
TTL_S = 8.0
SLACK_S = 1.0
HOWS: tuple[How, ...] = ("lines", "line", "errors")
PHASES = ("", "begin", "hold", "next")
"""The mark from which on it is said; "": before the run begins."""

EACH = {Effort.FAST: 6, Effort.FULL: 1}
Node = tuple["How", str]
Api = tuple[str, str]


def of_nodes(effort: Effort) -> Measured:
    items = [(how, what) for how in HOWS for what in (*PHASES, "status", "cleanup")]
    return stage().play(by_a_node, items[:: EACH[effort]], unit="MiB at the most")


def of_api_servers(effort: Effort) -> Measured:
    items = [(how, what) for how in ENDLESS for what in (*PHASES, *COMMANDS)]
    return stage().play(by_an_api_server, items[:: EACH[effort]], unit="MiB at the most")


def by_a_node(trial: Trial, item: Node) -> Outcome:
    how, what = item
    outcome, trouble = Outcome(), Trouble(trial)
    if what in PHASES:
        process = _begun(trial, what, lambda: trouble.from_now_on(CONTROLS[0], how), outcome)
    else:
        trouble.from_now_on(CONTROLS[0], how)
        process = trial.command(what, *trial.lab.looking)
    code = _ended(process, outcome)
    if what in PHASES:
        _require_verdict(trial, code, outcome)
    else:
        outcome.expect(code in (30, 40), f"exit {code}: {trial.out[-300:]!r}")
    node = trial.lab.node(CONTROLS[0])
    outcome.expect(node in trial.out, f"the node is not named: {trial.out[-300:]!r}")
    healed_by_ttl(trial.lab.eye, TTL_S, SLACK_S, outcome)
    trouble.over()
    cleaned = trial.clean_up()
    outcome.expect(cleaned == 0, f"cleanup: exit {cleaned}: {trial.out[-300:]!r}")
    return outcome


def by_an_api_server(trial: Trial, item: Api) -> Outcome:
    how, what = item
    outcome, lab = Outcome(), trial.lab
    if what in PHASES:
        process = _begun(trial, what, lambda: lab.api.tell(mode=how), outcome)
    else:
        trial.write(experiment())
        lab.api.tell(mode=how)
        process = trial.command(*COMMANDS[what])
    code = _ended(process, outcome)
    if what in PHASES:
        _require_verdict(trial, code, outcome)
        outcome.expect(is_open(lab.eye), "still cut when the run had ended")
    else:
        outcome.expect(code in (20, 30, 40), f"exit {code}: {trial.out[-300:]!r}")
        said = "larger than" in trial.out or "did not answer" in trial.out  # whichever limit comes first
        outcome.expect(said, f"that it has no end is not said: {trial.out[-300:]!r}")
    lab.api.tell(mode="serve")
    lease_left(lab)
    return outcome


def _begun(trial: Trial, phase: str, trouble: Callable[[], object], outcome: Outcome) -> Process:
    """A run that meets this trouble from a phase on."""
    if not phase:
        trouble()
    process = trial.run(experiment(ttl_s=TTL_S, hold_s=0.5))
    if phase:
        outcome.expect(trial.reaches(phase), f"never came to {phase}: {trial.out[-300:]!r}")
        trouble()
    return process


def _ended(process: Process, outcome: Outcome) -> int:
    code = process.wait(ENDS_S)
    outcome.figure = process.peak_mib
    outcome.expect(process.peak_mib < MOST_MIB, f"{process.peak_mib:.0f} MiB")
    return code


def _require_verdict(trial: Trial, code: int, outcome: Outcome) -> None:
    verdict = trial.result.get("verdict")
    outcome.expect(EXITS.get(str(verdict)) == code, f"verdict {verdict}, exit {code}: {trial.out[-300:]!r}")


ROW = Row(
    number=24,
    title="endless output of a node, endless answer of an API server: 4 phases, 2 and 8 commands",
    bar="< 300 MiB, ends in time, right verdict and exit code",
    measures=((Ground.KERNEL, of_nodes), (Ground.KERNEL, of_api_servers)),
)
