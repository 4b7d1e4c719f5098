"""File locks between processes. The kernel releases the lock of a process that dies."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.model.paths import cache_home
from chaosext.model.poll import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


WAITED_S = 3600.0
"""Longest wait for a lock, seconds.

`testbed up` takes minutes, and the longest build of `hack/images` half an hour.
"""

LOOK_S = 0.2


@contextmanager
def locked(name: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock called `name` among all processes that share the user's cache.

    Calls `waiting` once if another process holds the lock. Raises `Refused` if it still does after `WAITED_S`
    seconds.
    """
    locks = cache_home() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / name).open("w") as lock:
        if not _taken(lock):
            waiting()
            _await(lock, name)
        yield


def _await(lock: IO[str], name: str) -> None:
    if not poll(lambda: _taken(lock), within_s=WAITED_S, every_s=LOOK_S):
        raise Refused(
            f"another process has held the lock {name!r} for {WAITED_S / 60:.0f} minutes",
            f"see which: `fuser {cache_home() / 'locks' / name}`; end it, then run this again",
        )


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
