"""What the trials' experiments are made of, beside chaosext's own activities.

They leave marks: lines `WORD SECONDS` (boot clock) in the file that `TRUST_MARKS` names.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.trust.lab.clock import now_s

MARKS = "TRUST_MARKS"


def mark(word: str) -> str:
    """Say that this was reached."""
    with Path(os.environ[MARKS]).open("a") as file:
        file.write(f"{word} {now_s():.6f}\n")
    return word


def hold(seconds: float) -> str:
    """Let the cut be in force for a while."""
    mark("hold")
    time.sleep(seconds)
    return mark("held")


def hang(how: str) -> None:
    """Never end: in a `sleep`, `swallow`ing whatever is raised, or waiting in `c`, where no signal is heard of."""
    mark("hung")
    while how == "sleep":
        time.sleep(600)
    while how == "swallow":
        with suppress(BaseException):
            time.sleep(600)
    with tempfile.TemporaryDirectory() as folder:
        holder, waiter = (sqlite3.connect(f"{folder}/d", timeout=600, isolation_level=None) for _ in "hw")
        holder.execute("begin immediate")
        waiter.execute("begin immediate")


def fill(folder: str) -> str:
    """Leave no byte free on the disk of `folder`, which must be a small one (16 MiB at the most)."""
    try:
        with Path(folder, "ballast").open("wb", buffering=0) as file:
            for _ in range(4096):
                file.write(bytes(4096))
    except OSError:
        return mark("full")
    raise AssertionError(f"{folder} is on no small disk")


def well() -> str:
    """A steady state that always holds."""
    return "well"
