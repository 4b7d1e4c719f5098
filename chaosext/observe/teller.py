"""Telling people what happens, from a thread of its own: a stalled terminal or a stuck pager must delay no heal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

from chaosext.model.timeline import Event

Sink = Callable[[Event], None]

PARTING_S = 2.0
"""How long closing may wait for what is still to be told."""


class Teller:
    """Hands events to `sink` in their order, and never waits for it. A sink that raises is not told that again."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._events: SimpleQueue[Event | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._tell_all, name="teller", daemon=True)
        self._thread.start()

    def tell(self, event: Event) -> None:
        """Have the event told soon."""
        self._events.put(event)

    def close(self) -> None:
        """Wait for what is still to be told, `PARTING_S` at the most."""
        self._events.put(None)
        self._thread.join(PARTING_S)

    def _tell_all(self) -> None:
        while (event := self._events.get()) is not None:
            with suppress(Exception):  # a closed terminal, most likely
                self._sink(event)
