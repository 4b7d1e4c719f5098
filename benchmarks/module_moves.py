"""How far a value travels: which modules one run enters, and how often a call crosses from one module to another.

The run is a real one on network namespaces (root): sever, prove, hold, heal, roll back. Its main thread is counted.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

ENTERED, MOVES = 116, 1525
"""This script's figures for e913371 of 2026-11-24, before the packages were drawn anew: what the ratios are against."""

SHOWN = 10

COUNTS = "MODULE_MOVES"
"""The environment variable that names the file of the counts."""

OURS = "chaosext"


def main() -> None:
    """Print the modules that a run enters, the moves between them, both against `ENTERED` and `MOVES`."""
    moves = Counter({tuple(pair): number for *pair, number in _played()})
    entered, total = {callee for _, callee in moves}, sum(moves.values())
    print(f"modules entered        {len(entered):5d}   {len(entered) / ENTERED:5.2f} x ({ENTERED})")
    print(f"moves between modules  {total:5d}   {total / MOVES:5.2f} x ({MOVES})")
    for (caller, callee), number in moves.most_common(int(os.environ.get("TOP", "15"))):
        print(f"  {number:5d}  {caller} -> {callee}")


def _played() -> list[list[Any]]:
    from tests.trust.lab.stage import Stage
    from tests.trust.lab.trial import Trial, experiment

    stage = Stage(labs=1)
    trial = Trial(stage.labs[0], stage.nursery.door)
    try:
        trial.lab.begin(1)
        file = trial.home / "moves.json"
        plan = str(trial.write(experiment()))
        code = trial.call(
            f"{__name__}:counted",
            "run",
            plan,
            **{COUNTS: str(file), "MAIN_ONLY": os.environ.get("MAIN_ONLY", "")},
        ).wait(120)
        if code:
            raise SystemExit(f"the run ended with {code}: {trial.out[-2000:]}")
        counts: list[list[Any]] = json.loads(file.read_text())
        return counts
    finally:
        trial.forget()
        stage.close()


def counted(argv: Sequence[str]) -> None:
    """Run `chaosext` with `argv`, and write how often each module called each other one."""
    from chaosext.cli.main import main as chaosext

    moves: Counter[tuple[str, str]] = Counter()

    def see(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (callee := frame.f_globals.get("__name__", "")).startswith(OURS):
            caller = _caller(frame)
            if caller != callee and frame.f_code.co_name != "<module>":
                moves[caller, callee] += 1

    sys.setprofile(see)
    try:
        chaosext(argv)
    finally:
        sys.setprofile(None)
        counts = [[*pair, number] for pair, number in moves.items()]
        Path(os.environ[COUNTS]).write_text(json.dumps(counts), encoding="utf-8")


def _caller(frame: FrameType) -> str:
    """The module of the nearest function of chaosext's that is still running; "" for none."""
    above = frame.f_back
    while above is not None:
        name: str = above.f_globals.get("__name__", "")
        if name.startswith(OURS):
            return name
        above = above.f_back
    return ""
