"""Record the timeline: notes with monotonic times in, dated events out, one line on disk for each."""

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
    """Collects notes from many threads. Times are on the runner's monotonic clock, in seconds from the cut.

    Notes from before the cut wait, because their time from the cut is still unknown. They are written (with
    negative times) when the cut is made, or when the recorder is closed without one (then counted from the
    recorder's start).
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
        """The events written so far, sorted by time."""
        with self._lock:
            return tuple(sorted(self._events, key=lambda event: event.t_s))

    @property
    def zero_s(self) -> float | None:
        """The monotonic time that the timeline counts from; None before the cut."""
        return self._zero_s

    def note(self, note: Note, source: str, *, at_s: float | None = None) -> None:
        """Record a note. `at_s` is its monotonic time; None: now."""
        moment = time.monotonic() if at_s is None else at_s
        with self._lock:
            if self._zero_s is None:
                self._waiting.append((moment, note, source))
            else:
                self._write(moment, note, source)

    def say(self, kind: Kind, name: str, detail: str, source: str = "chaosext") -> None:
        """Record an event by chaosext itself, dated now."""
        self.note(Note(kind=kind, object=name, detail=detail), source)

    def set_zero(self, at_s: float) -> None:
        """Count from the monotonic time `at_s` of the cut. Later cuts of the same run do not change this."""
        with self._lock:
            if self._zero_s is None:
                self._zero_s = at_s
                self._flush()

    def close(self) -> None:
        """Write the waiting notes, and sort the file by time, because notes may arrive late."""
        with self._lock:
            if self._zero_s is None:
                self._zero_s = self._started_s
            self._flush()
            with suppress(OSError):  # the unsorted file is complete as well
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
"""Seconds that `close` may wait for events that were not delivered yet."""


class Teller:
    """Delivers events to `sink` in order, without ever waiting for it. An event on which the sink raises is skipped."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._events: SimpleQueue[Event | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._tell_all, name="teller", daemon=True)
        self._thread.start()

    def tell(self, event: Event) -> None:
        """Queue the event for delivery."""
        self._events.put(event)

    def close(self) -> None:
        """Wait at most `PARTING_S` for the remaining deliveries."""
        self._events.put(None)
        self._thread.join(PARTING_S)

    def _tell_all(self) -> None:
        while (event := self._events.get()) is not None:
            with suppress(Exception):  # most likely a closed terminal
                self._sink(event)
