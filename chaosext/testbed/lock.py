"""One process at a time: what an earlier one holds, a later one waits for, and a dead one lets go of."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chaosext.model.places import cache_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def locked(name: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock called `name`, among all processes that share the user's cache.

    `waiting` is called once if somebody else holds it.
    """
    locks = cache_home() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
