"""A few threads for many nodes that may hang: no node blocks another, or the process."""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING

from chaosext.model.poll import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Task = tuple[str, "Callable[[], None]"]


class Hands:
    """At most `count` daemon threads. Errors of tasks are ignored."""

    def __init__(self, count: int) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._busy: set[str] = set()
        self._count = count
        for number in range(count):
            threading.Thread(target=self._work, name=f"worker {number}", daemon=True).start()

    @property
    def idle(self) -> bool:
        return not self._busy

    def give(self, tasks: Iterable[Task]) -> None:
        """Queue each task, unless one of the same name is running or queued."""
        for name, task in tasks:
            if name not in self._busy:
                self._busy.add(name)
                self._tasks.put((name, task))

    def wait(self, within_s: float) -> bool:
        """Wait for all tasks; returns whether they were done in time."""
        return poll(lambda: self.idle, within_s=within_s, every_s=0.01)

    def dismiss(self) -> None:
        """Let each thread end once the queue is empty."""
        for _ in range(self._count):
            self._tasks.put(None)

    def _work(self) -> None:
        while (given := self._tasks.get()) is not None:
            name, task = given
            with suppress(Exception):
                task()
            self._busy.discard(name)
