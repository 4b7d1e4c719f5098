"""The timeline as it grows: notes with a monotonic time in, dated events out, a line on disk for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING

from chaosext.model.files import append, write_whole
from chaosext.model.printable import json_text
from chaosext.model.redact import veiled
from chaosext.model.timeline import Event, Kind
from chaosext.timeline.object_events import Note

if TYPE_CHECKING:
    from pathlib import Path


class Recorder:
    """Collects notes from many threads. Times are the runner's monotonic clock, in seconds from the cut.

    Until there is a cut nobody knows a note's time from it, so notes wait; they are written (with negative times)
    when the cut is made, or when the recorder is closed without one (then counted from the recorder's start).
    """

    def __init__(self, path: Path | None = None, *, sink: Sink | None = None) -> None:
        self._path = path
        self._teller = Teller(sink) if sink else None
        self._lock = threading.Lock()
        self._started_s = time.monotonic()
        self._zero_s: float | None = None
        self._waiting: list[tuple[float, Note, str]] = []
        self._events: list[Event] = []

    @property
    def events(self) -> tuple[Event, ...]:
        """What was written so far, in the order of t_s."""
        with self._lock:
            return tuple(sorted(self._events, key=lambda event: event.t_s))

    @property
    def zero_s(self) -> float | None:
        """The monotonic time that the timeline counts from; None while there was no cut yet."""
        return self._zero_s

    def note(self, note: Note, source: str, *, at_s: float | None = None) -> None:
        """Record what happened; `at_s` is its monotonic time where that is not now."""
        moment = time.monotonic() if at_s is None else at_s
        with self._lock:
            if self._zero_s is None:
                self._waiting.append((moment, note, source))
            else:
                self._write(moment, note, source)

    def say(self, kind: Kind, name: str, detail: str, source: str = "chaosext") -> None:
        """Record something that chaosext itself did or saw, now."""
        self.note(Note(kind=kind, object=name, detail=detail), source)

    def set_zero(self, at_s: float) -> None:
        """The cut was made at the monotonic time `at_s`; a second cut of the same run keeps the first zero."""
        with self._lock:
            if self._zero_s is None:
                self._zero_s = at_s
                self._flush()

    def close(self) -> None:
        """Write what still waits, and put the file in the order of time: notes come in as they are learned of."""
        with self._lock:
            if self._zero_s is None:
                self._zero_s = self._started_s
            self._flush()
            with suppress(OSError):  # as it is, it is whole as well
                self._put_in_order()
        if self._teller:
            self._teller.close()

    def _put_in_order(self) -> None:
        if self._path:
            ordered = sorted(self._events, key=lambda event: event.t_s)
            write_whole(self._path, "".join(map(_line, ordered)), fsync=False)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for moment, note, source in waiting:
            self._write(moment, note, source)

    def _write(self, moment: float, note: Note, source: str) -> None:
        zero_s = self._started_s if self._zero_s is None else self._zero_s
        event = Event(
            t_s=moment - zero_s,
            kind=note.kind,
            object=veiled(note.object),
            detail=veiled(note.detail),
            source=source,
        )
        self._events.append(event)
        with suppress(Exception):  # a full disk must not keep a cut from being healed
            self._append(event)
        if self._teller:
            self._teller.tell(event)

    def _append(self, event: Event) -> None:
        if self._path:
            append(self._path, _line(event), fsync=False)


def _line(event: Event) -> str:
    return json_text(event.to_json(), indent=None) + "\n"


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
