"""The labs and the nursery that all rows share, made at first use and taken away at the end."""

from __future__ import annotations

import atexit
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tests.trust import ROOT
from tests.trust.lab.lab import Lab, certificates, kubelets, wait_until
from tests.trust.lab.trial import Trial
from tests.trust.row import Measured, NotHere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.trust.lab.bed import Bed

LABS = 8
PARTING_S = 1.5
"""A script on a node may outlive by that long the run that it was started by."""

Item = TypeVar("Item")


@dataclass
class Outcome:
    """What a trial came to. `figure` is what the bar is about."""

    figure: float | None = None
    failures: list[str] = field(default_factory=list)
    residue: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> bool:
        """Note `otherwise` as a failure unless it holds."""
        if not holds:
            self.failures.append(otherwise)
        return holds


class Nursery:
    """The process of `nursery.py`; `etc` is laid over /etc for what it forks."""

    def __init__(self, folder: Path) -> None:
        self.door, etc = folder / "nursery", folder / "etc"
        etc.mkdir(exist_ok=True)
        argv = [sys.executable, "-m", "tests.trust.lab.nursery", str(self.door), str(etc)]
        pipe = subprocess.PIPE
        self._server = subprocess.Popen(
            argv, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, start_new_session=True
        )
        assert self._server.stdout
        assert self._server.stdout.readline() == "ready\n", "the nursery did not begin"

    def close(self) -> None:
        self._server.kill()
        self._server.wait()


def try_once(
    bed: Bed, nursery: Nursery, play: Callable[[Trial, Item], Outcome], item: Item, controls: int = 1
) -> Outcome:
    """Play in a clean bed, and look whether it is clean again."""
    trial = Trial(bed, nursery.door)
    try:
        bed.begin(controls)
        outcome = play(trial, item)
        outcome.residue += _left(bed)
    except NotHere:
        raise
    except Exception as error:
        outcome = Outcome(failures=[f"{type(error).__name__}: {error}"])
    if outcome.failures or outcome.residue:
        _keep(trial)
        bed.clean()
    trial.forget()
    return outcome


def _left(bed: Bed) -> tuple[str, ...]:
    """What the trial left, once the scripts that it started have had time to end."""
    left: tuple[str, ...] = ()

    def is_clean() -> bool:
        nonlocal left
        left = bed.residue()
        return not left

    wait_until(is_clean, PARTING_S, every_s=0.1)
    return left


class Stage:
    """Labs that are lent out one at a time."""

    def __init__(self, labs: int = LABS) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="trust-stage-"))
        certificates(self.folder)
        (self.folder / "etc" / "kubernetes").mkdir(parents=True)  # where each worker's own is mounted
        self.labs = [Lab(number, self.folder) for number in range(labs)]
        self._free: queue.LifoQueue[Lab] = queue.LifoQueue()
        self._owner = os.getpid()
        atexit.register(self.close)
        for lab in self.labs:
            lab.up()
            kubelets(self.folder, lab)
            self._free.put(lab)
        self.nursery = Nursery(self.folder)

    def close(self) -> None:
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.close)
        if hasattr(self, "nursery"):
            self.nursery.close()
        for lab in self.labs:
            with suppress(Exception):
                lab.down()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def lab(self) -> Iterator[Lab]:
        """A free lab; wait for one."""
        lab = self._free.get()
        try:
            yield lab
        finally:
            lab.eye.rest()
            self._free.put(lab)

    def trial(self, play: Callable[[Trial, Item], Outcome], item: Item, controls: int) -> Outcome:
        """Play once in a free lab with so many nodes of a control plane."""
        with self.lab() as lab:
            return try_once(lab, self.nursery, play, item, controls)

    def play(
        self,
        play: Callable[[Trial, Item], Outcome],
        items: Sequence[Item],
        *,
        unit: str = "s",
        controls: int = 1,
    ) -> Measured:
        """Play all items, as many at once as there are labs, and sum up."""
        with ThreadPoolExecutor(len(self.labs)) as pool:
            outcomes = list(pool.map(lambda item: self.trial(play, item, controls), items))
        return summed(items, outcomes, unit)


def summed(items: Sequence[object], outcomes: Sequence[Outcome], unit: str) -> Measured:
    """All trials of a row. The worst figure is the highest."""
    figures = [outcome.figure for outcome in outcomes if outcome.figure is not None]
    pairs = list(zip(items, outcomes, strict=True))
    return Measured(
        trials=len(outcomes),
        worst=f"{max(figures):.2f} {unit}" if figures else "",
        failures=tuple(f"{item}: {text}" for item, outcome in pairs for text in outcome.failures),
        residue=tuple(f"{item}: {text}" for item, outcome in pairs for text in outcome.residue),
    )


def _keep(trial: Trial) -> None:
    """What a failed trial has left, for whoever looks for the cause."""
    kept = os.environ.get("TRUST_KEEP")
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        shutil.copytree(trial.home, Path(kept) / f"{time.time():.0f}-{trial.home.name}", symlinks=True)


_making = threading.Lock()


@cache
def _stage() -> Stage:
    return Stage()


def stage() -> Stage:
    """The stage of this process."""
    with _making:
        return _stage()
