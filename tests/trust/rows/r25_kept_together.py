"""Row 25: whatever the peers are, control-plane nodes keep each other; where others part them, the cut is healed."""

from __future__ import annotations

import time
from itertools import permutations
from typing import TYPE_CHECKING, Any

from tests.trust.lab.lab import ADDRESSES, CONTROLS, WORKER
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.watching import is_open, lease_left
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.trust.lab.trial import Trial

PASSED, REFUSED, INCONCLUSIVE = 0, 20, 30
NAMED_S = 15.0
"""From when another closes a path between them until all is healed: each of these paths is tried every 5 s."""

SUBNET = ("10.79.0.0/24", "fd79::/64")
VIRTUAL, GATEWAY = "10.79.0.100", "10.79.0.254"
PEERS: dict[str, tuple[str, ...]] = {
    "their subnet": SUBNET,
    "far more than their subnet": ("10.0.0.0/8", "fd79::/16"),
    "parts of their subnet": ("10.79.0.0/30", "10.79.0.4/30", "fd79::/126", "fd79::4/126"),
    "IPv6 alone": ("10.79.0.4", "fd79::/64"),
}
"""What the cut is asked to drop, beside the worker."""

REFUSED_PEERS: dict[str, tuple[str, ...]] = {
    "another's address": (ADDRESSES["cp2"][0], *ADDRESSES[WORKER]),
    "its own IPv6 address": (ADDRESSES["cp1"][1], *ADDRESSES[WORKER]),
    "a prefix of two of them": ("10.79.0.2/31", *ADDRESSES[WORKER]),
    "a virtual address of one": (VIRTUAL, *ADDRESSES[WORKER]),
}

Item = tuple[str, str]


def in_namespaces(effort: Effort) -> Measured:
    every = [(kind, name) for kind, (_, names) in PLAYS.items() for name in names]
    some = [
        ("kept", "their subnet"),
        ("pool", "their subnet"),
        ("refused", "another's address"),
        ("parted", "by another"),
    ]
    items = every if effort is Effort.FULL else some
    return stage().play(played, items, controls=3, unit="s until healed, where another parted them")


def played(trial: Trial, item: Item) -> Outcome:
    kind, name = item
    outcome, lab = Outcome(), trial.lab
    own = list(permutations(CONTROLS, 2))
    lab.eye.watch([*own, *((role, WORKER) for role in CONTROLS), *((WORKER, role) for role in CONTROLS)])
    with_virtual_address(trial, "add")
    try:
        PLAYS[kind][0](trial, name, outcome)
    finally:
        with_virtual_address(trial, "del")
    lab.api.tell(pools=[])
    outcome.expect(is_open(lab.eye), "still cut when the run had ended")
    outcome.residue += lease_left(lab)
    return outcome


def with_virtual_address(trial: Trial, what: str) -> None:
    """cp3 holds it, on its loopback as behind a director, for nothing listens there; and has a gateway."""
    spaces: Any = trial.lab.spaces  # type: ignore[attr-defined]
    spaces.ip("cp3", f"addr {what} {VIRTUAL}/32 dev lo", f"route {what} 192.0.2.0/24 via {GATEWAY}")


def kept(trial: Trial, name: str, outcome: Outcome) -> None:
    process = trial.run(experiment(ttl_s=30, hold_s=1.0, move=False, peers=PEERS[name]))
    _ends_apart_from_the_worker(trial, process.wait(60), outcome)


def pool(trial: Trial, name: str, outcome: Outcome) -> None:
    """Calico's IPPool holds them: it is what the cut drops by default."""
    trial.lab.api.tell(pools=list(PEERS[name]))
    process = trial.run(experiment(ttl_s=30, hold_s=1.0, move=False))
    _ends_apart_from_the_worker(trial, process.wait(60), outcome)


def refused(trial: Trial, name: str, outcome: Outcome) -> None:
    code = trial.run(experiment(ttl_s=30, hold_s=1.0, move=False, peers=REFUSED_PEERS[name])).wait(60)
    outcome.expect(code == REFUSED, f"exit {code}: {trial.out[-300:]!r}")
    outcome.expect(not trial.lab.eye.closed, f"closed: {trial.lab.eye.closures()}")
    outcome.expect("never drop" in trial.out, f"said: {trial.out[-300:]!r}")


def parted(trial: Trial, _: str, outcome: Outcome) -> None:
    """Another's rule drops cp1 on cp2: what the cut shows from then on is not what a cutover does."""
    lab: Any = trial.lab
    process = trial.run(experiment(ttl_s=60, hold_s=40.0, move=False))
    if not outcome.expect(trial.reaches("hold"), f"never held: {trial.out[-300:]!r}"):
        return
    drop = f"ip saddr {ADDRESSES['cp1'][0]} drop"
    rules = f"table ip other {{\n chain in {{\n type filter hook input priority 0;\n {drop}\n }}\n}}\n"
    parted_s = time.monotonic()
    lab.spaces.nft("cp2", rules)
    code = process.wait(60)
    outcome.figure = time.monotonic() - parted_s
    lab.spaces.nft("cp2", "delete table ip other\n")
    time.sleep(0.3)
    outcome.expect(code == INCONCLUSIVE, f"exit {code}: {trial.out[-300:]!r}")
    outcome.expect(outcome.figure <= NAMED_S, f"healed {outcome.figure:.1f} s later")
    found = [event["detail"] for event in trial.events if event["kind"] == "cut_weakened"]
    outcome.expect(any("the control plane is cut apart" in each for each in found), f"said {found}")


def _ends_apart_from_the_worker(trial: Trial, code: int, outcome: Outcome) -> None:
    eye = trial.lab.eye
    outcome.expect(code == PASSED, f"exit {code}: {trial.out[-300:]!r}")
    closed = eye.closures()
    together = [path for path in closed if WORKER not in path]
    outcome.expect(not together, f"control-plane nodes were cut off from each other: {together}")
    apart = {path for path in closed if WORKER in path}
    outcome.expect(len(apart) == 4 * len(CONTROLS), f"cut off from the worker: {sorted(apart)}")
    finding = next(
        (
            run["output"]["finding"]
            for run in trial.journal.get("run", ())
            if isinstance(run.get("output"), dict) and run["output"].get("finding")
        ),
        {},
    )
    kept_open = [row for row in finding.get("evidence", ()) if row["detail"] == "kept open"]
    outcome.expect(len(kept_open) >= 4 * len(CONTROLS), f"seen to be kept open: {kept_open}")


PLAYS: dict[str, tuple[Callable[[Trial, str, Outcome], None], tuple[str, ...]]] = {
    "kept": (kept, tuple(PEERS)),
    "pool": (pool, ("their subnet", "far more than their subnet")),
    "refused": (refused, tuple(REFUSED_PEERS)),
    "parted": (parted, ("by another",)),
}

ROW = Row(
    number=25,
    title="peers and pools that hold the control plane's own addresses x 11",
    bar="no path between control-plane nodes closes, or refused; parted by another: healed <= 15 s, exit 30",
    measures=((Ground.KERNEL, in_namespaces),),
)
