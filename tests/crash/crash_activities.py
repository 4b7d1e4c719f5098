"""What the experiments of these tests play: activities that leave a word in a file, sleep, raise, or won't leave."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LOG = "CRASH_LOG"


def mark(word: str) -> str:
    """Leave `word` where the test looks for it."""
    with Path(os.environ[LOG]).open("a", encoding="utf-8") as file:
        file.write(word + "\n")
    return word


def marks() -> list[str]:
    path = Path(os.environ[LOG])
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def answer(value: Any) -> Any:
    """A probe that answers `value`."""
    return value


def answer_in_turn(values: list[Any]) -> Any:
    """A probe that answers each of `values` once."""
    mark("asked")
    return values[marks().count("asked") - 1]


def blow(word: str = "blew") -> None:
    mark(word)
    raise RuntimeError("it blew up")


def leave(code: int) -> None:
    """An activity that wants to end the process."""
    raise SystemExit(code)


def snooze(word: str, seconds: float, value: Any = None) -> None:
    """As a tolerance it is given a `value` to judge."""
    mark(word)
    time.sleep(seconds)
    mark(f"{word}-woke")


def stay(word: str, seconds: float) -> None:
    """An activity that swallows whatever is raised in it, as much code in the world does."""
    mark(word)
    try:
        time.sleep(seconds)
    except BaseException:
        mark(f"{word}-swallowed")


def swallow_all(word: str) -> None:
    """An activity that never ends, whatever is raised in it."""
    mark(word)
    while True:
        try:
            while True:
                time.sleep(0.05)
        except BaseException:
            mark(f"{word}-swallowed")


def wait_in_c(word: str, seconds: float) -> None:
    """An activity that no signal gets out of: SQLite waits for a lock in C, however often it is interrupted."""
    with tempfile.TemporaryDirectory() as directory:
        database = str(Path(directory, "d"))
        holder, waiter = (sqlite3.connect(database, timeout=seconds, isolation_level=None) for _ in range(2))
        holder.execute("begin immediate")
        mark(word)
        waiter.execute("begin immediate")


def spill(said: str) -> dict[str, Any]:
    """An activity that says what it should not, everywhere that it can."""
    mark("spilt")
    print(said)
    print(said, file=sys.stderr)
    logging.getLogger("chaostoolkit").warning(said)
    logging.getLogger("elsewhere").error(said)
    return {"status": "healthy", "summary": said, said: [said]}


def burst(said: str) -> None:
    """An activity that says it in what it raises."""
    raise RuntimeError(said)


def hang_the_end(word: str, within_s: float) -> None:
    """An activity after which the run's end does not come: say that its disk hangs."""
    from chaosext.run import finish, shutdown
    from chaosext.run.session.run_directory import RunDirectory

    def write(self: RunDirectory, name: str, value: Any) -> None:
        if name == "result.json":
            mark("hangs")
            time.sleep(600)

    shutdown.GONE_S, finish.FINISHED_S = 1.0, within_s
    RunDirectory.write_json = write  # type: ignore[method-assign]
    mark(word)
