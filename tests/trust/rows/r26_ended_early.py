"""Row 26: a cut that is ended or changed by others proves nothing, and that is named; one that is left alone is not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.trust.lab.lab import ADDRESSES, WORKER, wait_until
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.watching import is_open, lease_left
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.trust.lab.trial import Trial

PASSED, INCONCLUSIVE, ABORTED = 0, 30, 130
NAMED_S = 5.0
"""From what was done to the rules until the timeline names it."""

FOUND_S = 20.0
"""From what was done beside the rules: paths and addresses are looked at each 5 s, and a connect has 2 s, twice."""

LONG_S = 45.0
"""How long the cut is held unless the run is ended."""

NEW = ("10.79.0.77", "fd79::77")
LOST, WEAKENED = "cut_lost", "cut_weakened"

Item = str


def in_namespaces(effort: Effort) -> Measured:
    some = ("flush ruleset", "dormant", "one address", "a new address", "until its TTL")
    items = [*DONE, *LEFT_ALONE] if effort is Effort.FULL else list(some)
    return stage().play(played, items, controls=2, unit="s until the rules' loss was named")


def played(trial: Trial, item: Item) -> Outcome:
    outcome = Outcome()
    if item in LEFT_ALONE:
        LEFT_ALONE[item](trial, outcome)
    else:
        done_to(trial, item, outcome)
    outcome.residue += lease_left(trial.lab)
    return outcome


def done_to(trial: Trial, item: Item, outcome: Outcome) -> None:
    """Do it to cp1 (or the worker) while the cut is held, and see what becomes of the run."""
    lab: Any = trial.lab
    do, undo, kind, within_s = DONE[item]
    process = trial.run(experiment(ttl_s=120, hold_s=LONG_S, move=False))
    if not outcome.expect(trial.reaches("hold"), f"never held: {trial.out[-300:]!r}"):
        return
    time.sleep(2.5)  # it has been seen whole
    table = next(
        name
        for name in lab.spaces.inside_run("cp1", "nft", "list", "tables").split()
        if name[:9] == "chaosext_"
    )
    try:
        do(lab, table)
        done_s = time.monotonic()
        wait_until(lambda: named(trial) is not None, within_s + 2, every_s=0.05)
        found_s = time.monotonic() - done_s
        found = named(trial)
        outcome.expect(found is not None, f"not named within {within_s} s: {trial.out[-300:]!r}")
        outcome.expect(found is None or found["kind"] == kind, f"named as {found}")
        outcome.expect(found_s <= within_s, f"named {found_s:.1f} s later")
        outcome.figure = found_s if within_s == NAMED_S else None
        code = process.wait(60)
    finally:
        undo(lab, table)
    outcome.expect(code == INCONCLUSIVE, f"exit {code}: {trial.out[-300:]!r}")
    outcome.expect("held" not in trial.marks, "the method went on")
    outcome.expect("rolled" in trial.marks, "the rollbacks were not played")
    wait_until(lambda: is_open(lab.eye), 2)
    outcome.expect(is_open(lab.eye), "still cut when the run had ended")
    reason = " ".join(trial.result.get("reasons", ()))
    outcome.expect("did not match its plan" in reason, f"reasons: {reason!r}")
    outcome.expect(
        reason.count("\n") == 0 and " counter " not in reason, f"reasons in nft's words: {reason!r}"
    )


def named(trial: Trial) -> dict[str, Any] | None:
    return next((event for event in trial.events if event["kind"] in (LOST, WEAKENED)), None)


def quiet(trial: Trial, outcome: Outcome, code: int, wanted: int) -> None:
    outcome.expect(code == wanted, f"exit {code}: {trial.out[-300:]!r}")
    outcome.expect(named(trial) is None, f"named {named(trial)}")
    outcome.expect(is_open(trial.lab.eye), "still cut when the run had ended")


def until_its_ttl(trial: Trial, outcome: Outcome) -> None:
    process = trial.run(experiment(ttl_s=7, hold_s=11, move=False))
    quiet(trial, outcome, process.wait(60), PASSED)


def renewed(trial: Trial, outcome: Outcome) -> None:
    process = trial.run(experiment(ttl_s=60, hold_s=12, move=False, dead_man_s=4))
    quiet(trial, outcome, process.wait(60), PASSED)


def aborted(trial: Trial, outcome: Outcome) -> None:
    process = trial.run(experiment(ttl_s=60, hold_s=30, move=False))
    outcome.expect(trial.reaches("hold"), f"never held: {trial.out[-300:]!r}")
    time.sleep(2.5)
    trial.command("abort", "--context", trial.lab.where["context"], "--reason", "a trial").wait(30)
    quiet(trial, outcome, process.wait(60), ABORTED)


LEFT_ALONE: dict[str, Callable[[Trial, Outcome], None]] = {
    "until its TTL": until_its_ttl,
    "renewed": renewed,
    "aborted": aborted,
}

Deed = tuple["Callable[[Any, str], None]", "Callable[[Any, str], None]", str, float]


def nft(text: str) -> Callable[[Any, str], None]:
    """On cp1; TABLE is the cut's."""
    return lambda lab, table: lab.spaces.nft("cp1", text.replace("TABLE", f"inet {table}") + "\n")


def ip(role: str, *commands: str) -> Callable[[Any, str], None]:
    return lambda lab, _: lab.spaces.ip(role, *commands)


def nothing(_: Any, __: str) -> None:
    pass


def joins(lab: Any, _: str) -> None:
    lab.api.tell(join={"name": "newcomer", "address": "10.79.0.9", "control_plane": False})


def rule_gone(lab: Any, table: str) -> None:
    listed = lab.spaces.inside_run(
        "cp1", "nft", "-a", "list", "chain", "inet", table, "outbound"
    ).splitlines()
    handle = next(line for line in listed if "peers6" in line).rpartition(" ")[2]
    lab.spaces.nft("cp1", f"delete rule inet {table} outbound handle {handle}\n")


FOUR, SIX = ADDRESSES["cp1"]
BACK = (f"addr replace {FOUR}/24 dev eth0", f"addr replace {SIX}/64 dev eth0 nodad")
DONE: dict[str, Deed] = {
    "flush ruleset": (nft("flush ruleset"), nothing, LOST, NAMED_S),
    "table deleted": (nft("delete table TABLE"), nothing, LOST, NAMED_S),
    "dormant": (nft("add table TABLE { flags dormant; }"), nothing, LOST, NAMED_S),
    "a chain emptied": (nft("flush chain TABLE inbound"), nothing, WEAKENED, NAMED_S),
    "all rules gone": (nft("flush table TABLE"), nothing, LOST, NAMED_S),
    "one rule gone": (rule_gone, nothing, WEAKENED, NAMED_S),
    "a rule before them": (nft("insert rule TABLE inbound accept"), nothing, WEAKENED, NAMED_S),
    "all is dropped": (
        nft("chain TABLE outbound { policy drop; }"),
        nothing,
        WEAKENED,
        NAMED_S,
    ),
    "one address": (
        nft(f"delete element TABLE peers6 {{ {ADDRESSES[WORKER][1]} }}"),
        nothing,
        WEAKENED,
        NAMED_S,
    ),
    "all addresses": (nft("flush set TABLE peers4\nflush set TABLE peers6"), nothing, LOST, NAMED_S),
    "an address for ever": (nft("add element TABLE peers4 { 192.0.2.1 }"), nothing, WEAKENED, NAMED_S),
    "uplink down": (ip("cp1", "link set eth0 down"), ip("cp1", "link set eth0 up", *BACK), WEAKENED, NAMED_S),
    "uplink renamed": (
        ip("cp1", "link set eth0 down", "link set eth0 name eth9", "link set eth9 up"),
        ip("cp1", "link set eth9 down", "link set eth9 name eth0", "link set eth0 up", *BACK),
        WEAKENED,
        NAMED_S,
    ),
    "a new address": (
        ip(WORKER, f"addr add {NEW[0]}/24 dev eth0", f"addr add {NEW[1]}/64 dev eth0 nodad"),
        ip(WORKER, f"addr del {NEW[0]}/24 dev eth0", f"addr del {NEW[1]}/64 dev eth0"),
        WEAKENED,
        FOUND_S,
    ),
    "a new uplink": (
        lambda lab, _: _wire_a_second_uplink(lab),
        ip(WORKER, "link del eth7"),
        WEAKENED,
        FOUND_S,
    ),
    "a node joined": (joins, nothing, WEAKENED, FOUND_S),
}
"""What is done, how it is undone, what it is named, and within how long."""


def _wire_a_second_uplink(lab: Any) -> None:
    """Another wire between cp1 and the worker, with addresses that the cut knows nothing of."""
    lab.spaces.ip(
        WORKER, f"link add eth7 type veth peer name eth7 netns {lab.node('cp1')}", "link set eth7 up"
    )
    lab.spaces.ip(WORKER, "addr add 10.80.0.2/24 dev eth7")
    lab.spaces.ip("cp1", "link set eth7 up", "addr add 10.80.0.1/24 dev eth7")


ROW = Row(
    number=26,
    title=f"a cut that others end or change in mid-run x {len(DONE)}, and one that is left alone x {len(LEFT_ALONE)}",
    bar="named in the timeline <= 5 s (nodes, addresses <= 20 s), ended, healed, exit 30; left alone: no word of it",
    measures=((Ground.KERNEL, in_namespaces),),
)
