"""Row 18: what hangs ends the run at its deadline, healed, and is named: a probe, a node's shell, the API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.trust.lab.lab import CONTROLS, WORKER, wait_until
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment, mine, ours
from tests.trust.lab.trouble import Trouble
from tests.trust.lab.watching import SEEN_S, is_open, lease_left
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from tests.trust.lab.trial import Activity, Trial

DEADLINE_S = 6.0
"""Longer than eight runs need to prepare themselves side by side, shorter than a node's own limits."""
AT_MOST_S = 5.0
TTL_S = 60.0
"""Far beyond every deadline: what is open again was healed, not let go."""

TIMES = {Effort.FAST: 1, Effort.FULL: 3}

COMMAND: Activity = {
    "type": "probe",
    "name": "a command",
    "provider": {
        "type": "process",
        "path": "sh",
        "arguments": ["-c", "echo hung $(cut -d' ' -f1 /proc/uptime) >>$TRUST_MARKS; exec sleep 60"],
    },
}
LOOK: Activity = {
    "type": "probe",
    "name": "a look at the cut",
    "provider": {"type": "python", "module": "chaosext.probes", "func": "cut_effective", "secrets": ["k8s"]},
}
SEVER = ours("sever_control_plane", ttl_s=TTL_S, prove=False)
RESCHEDULE = ours("reschedule_kube_dns", timeout_s=0, only_if_needed=False)

HANGS: dict[str, Activity] = {
    "a probe that sleeps": {**mine("hang", how="sleep"), "type": "probe"},
    "a probe that swallows all": {**mine("hang", how="swallow"), "type": "probe"},
    "an action in C": mine("hang", how="c"),
    "a command": COMMAND,
    "a shell before the cut": SEVER,
    "a shell in the hold": LOOK,
    "an API call never answered": RESCHEDULE,
    "an API call that drips": RESCHEDULE,
}
"""What hangs -> the activity that does, in the middle of the hold (or instead of it)."""

Item = tuple[str, int]


def in_namespaces(effort: Effort) -> Measured:
    items = [(name, number) for number in range(TIMES[effort]) for name in HANGS]
    return stage().play(hung, items, unit="s after the deadline")


def plan(name: str) -> dict[str, Any]:
    """Sever, hold, the activity that hangs, heal, and the one that must not be played."""
    value = experiment(ttl_s=TTL_S, hold_s=0.6, prove=False)
    hangs, hold = HANGS[name], mine("hold", seconds=0.6)
    severing = [hold, hangs] if hangs is SEVER else [SEVER, hold, hangs]
    value["method"] = [*severing, ours("heal_control_plane"), mine("mark", word="next")]
    value["configuration"] |= {"chaosext_activity_timeout_s": DEADLINE_S, "chaosext_request_timeout_s": 60}
    return value


def make_trouble(trial: Trial, trouble: Trouble, name: str) -> None:
    if "shell" in name:
        trouble.from_now_on(WORKER if "hold" in name else CONTROLS[0], "hang")
    if "API" in name:
        trial.lab.api.tell(mode="drip" if "drips" in name else "hang")


def hung(trial: Trial, item: Item) -> Outcome:
    """The deadline counts from the mark that the activity leaves itself, or the one right before it."""
    name, _ = item
    outcome, lab, trouble = Outcome(), trial.lab, Trouble(trial)
    process = trial.run(plan(name))
    outcome.expect(trial.reaches("hold"), f"never held: {trial.out[-300:]!r}")
    make_trouble(trial, trouble, name)
    code = process.wait(60)
    began_s = trial.marks.get("hung") or trial.marks.get("held", 0.0)
    outcome.figure = process.ended_s - began_s - DEADLINE_S
    outcome.expect(outcome.figure <= AT_MOST_S, f"ended {outcome.figure:.1f} s after the deadline")
    said = f"{trial.result.get('reasons')} {trial.out[-200:]!r}"
    outcome.expect((trial.result.get("verdict"), code) == ("inconclusive", 30), f"exit {code}: {said}")
    if HANGS[name] is SEVER:  # no node is told to cut before all of them are ready
        outcome.expect("nothing had been cut" in said, f"a cut is claimed: {said}")
    named = f"{HANGS[name]['type']} '{HANGS[name]['name']}' did not end within {DEADLINE_S:g} s"
    outcome.expect(named in said, f"{named!r} is not said: {said}")
    outcome.expect(not {"next", "rolling"} & trial.marks.keys(), f"was still played: {list(trial.marks)}")
    wait_until(lambda: is_open(lab.eye), SEEN_S)
    outcome.expect(is_open(lab.eye), "still cut when the run had ended")
    lab.api.tell(mode="serve")
    trouble.over()
    left = lease_left(lab)
    if HANGS[name] is SEVER:  # a node that hangs can't be given its lock back, nor the Lease before it
        outcome.expect(trial.clean_up() == 0, f"cleanup: {trial.out[-300:]!r}")
    elif "API" not in name:
        outcome.residue += left
    return outcome


ROW = Row(
    number=18,
    title="hung probe, hung shell, hung API call",
    bar="abort <= deadline + 5 s",
    measures=((Ground.KERNEL, in_namespaces),),
)
