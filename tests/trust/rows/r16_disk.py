"""Row 16: a full or read-only disk is found before anything is touched; one that fills up later stops no heal."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.trust.lab.activities import MARKS, fill
from tests.trust.lab.lab import wait_until
from tests.trust.lab.nursery import CLONE_NEWNS, MS_REC, MS_SLAVE
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment, mine
from tests.trust.lab.watching import SEEN_S, is_open, lease_left
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from tests.trust.lab.trial import Process, Trial

TIMES = {Effort.FAST: 1, Effort.FULL: 5}
WHERE = {"run": "run", "state": "state/chaosext"}
"""What is on the disk -> its directory in the trial's home."""

AT_THE_START = ("full", "nearly full", "read-only", "no inodes")
LOGS = ("intent log", "audit log")
"""A directory stands where the file should be."""

SIZES = {"nearly full": "size=16k", "no inodes": "nr_inodes=1"}
LATER = "fills up in the hold"

Item = tuple[str, str, int]


def in_namespaces(effort: Effort) -> Measured:
    turns = range(TIMES[effort])
    early = [(how, where, turn) for turn in turns for how in AT_THE_START for where in WHERE]
    logs = [(how, "state", turn) for turn in turns for how in LOGS]
    late = [(LATER, where, turn) for turn in turns for where in WHERE]
    refused = stage().play(refused_untouched, [*early, *logs], unit="mutating calls or closed paths")
    return refused + stage().play(healed_all_the_same, late, unit="s from the hold's end to open paths")


def refused_untouched(trial: Trial, item: Item) -> Outcome:
    how, where, _ = item
    outcome, lab = Outcome(), trial.lab
    code = begin(trial, how, where, experiment(move=False)).wait(60)
    outcome.expect(code == 20, f"exit {code}: {trial.out[-300:]!r}")
    named = WHERE[where] in trial.out and "Traceback" not in trial.out
    outcome.expect(named, f"the directory is not named: {trial.out[-300:]!r}")
    wait_until(lambda: False, SEEN_S)
    mutations = lab.api.tell()["mutations"]
    outcome.figure = len(mutations) + (lab.eye.cut_s is not None)
    outcome.expect(not outcome.figure, f"touched: {mutations}, cut at {lab.eye.cut_s}")
    outcome.expect(not trial.marks, f"played: {list(trial.marks)}")
    return outcome


def healed_all_the_same(trial: Trial, item: Item) -> Outcome:
    how, where, _ = item
    outcome, lab = Outcome(), trial.lab
    value = experiment(ttl_s=60, move=False)
    value["method"].insert(3, mine("fill", folder=str(trial.home / WHERE[where])))
    code = begin(trial, how, where, value).wait(60)
    said = trial.out
    outcome.expect("full" in trial.marks and lab.eye.cut_s is not None, f"never came to it: {said[-300:]!r}")
    wait_until(lambda: is_open(lab.eye), SEEN_S)
    if outcome.expect(is_open(lab.eye), "still cut when the run had ended"):
        outcome.figure = (lab.eye.open_s or 0.0) - trial.marks.get("held", 0.0)
    outcome.expect("verdict: passed (exit 0)" in said and code == 0, f"exit {code}: {said[-400:]!r}")
    reasons = said.rpartition("verdict:")[2].rpartition("details:")[0]
    outcome.expect(WHERE[where] in reasons, f"the disk is not named: {said[-400:]!r}")
    outcome.residue += lease_left(lab)
    return outcome


def begin(trial: Trial, how: str, where: str, value: dict[str, Any]) -> Process:
    """`chaosext run` with that directory on a disk in that state."""
    argv = (str(trial.home / WHERE[where]), how, "run", str(trial.write(value)))
    return trial.call("tests.trust.rows.r16_disk:on_a_disk", *argv)


def on_a_disk(argv: list[str]) -> None:
    """In a process of its own: the disk is this process' alone, and gone with it."""
    from chaosext.cli.main import main

    folder, how, *command = argv
    Path(folder).mkdir(parents=True, exist_ok=True)
    if "log" in how:
        Path(folder, f"{how.partition(' ')[0]}.jsonl").mkdir()
    else:
        _mount_small(folder, how)
    main(command)


def _mount_small(folder: str, how: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None):
        raise OSError(ctypes.get_errno(), "unshare")
    _run("mount", "-t", "tmpfs", "-o", SIZES.get(how, "size=2m"), "trust", folder)
    if how == "full":
        fill(folder)
        Path(os.environ[MARKS]).unlink()
    if how == "read-only":
        _run("mount", "-o", "remount,ro", folder)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


ROW = Row(
    number=16,
    title="disk full or read-only",
    bar="refused before anything is touched",
    measures=((Ground.KERNEL, in_namespaces),),
)
