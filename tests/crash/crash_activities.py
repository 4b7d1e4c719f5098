"""What the experiments of these tests play: activities that leave a word in a file, sleep, raise, or won't leave."""

from __future__ import annotations

import os
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


def snooze(word: str, seconds: float) -> None:
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
