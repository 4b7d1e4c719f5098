"""Progress of the testbed's commands: a line when a stage starts, and one with its duration when it ends."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from chaosext.model.printable import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEARTBEAT_S = 60.0


class Progress:
    """Prints stages as plain lines that start with the elapsed seconds; stages may run in parallel.

    `stream` is stderr by default. `clock` returns seconds; tests replace it.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._started_s = clock()
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        """Announce `title`, repeat it every minute, and report its duration or failure."""
        stage = Stage(self, title, self._clock())
        ended = threading.Event()
        self.line(title)
        threading.Thread(target=self._remind, args=(stage, ended), daemon=True).start()
        try:
            yield stage
        except BaseException:
            self.line(f"{title}: failed after {format_elapsed(stage.elapsed_s)}")
            raise
        else:
            self.line(f"{title}: done in {format_elapsed(stage.elapsed_s)}")
        finally:
            ended.set()

    def line(self, text: str) -> None:
        """Print one line. A closed or broken stream is not an error."""
        stream = sys.stderr if self._stream is None else self._stream
        with self._lock:
            try:
                say(f"[{self._clock() - self._started_s:7.1f} s] {text}", to=stream)
            except (OSError, ValueError):
                return

    def seconds(self) -> float:
        """Return the clock's reading, in seconds."""
        return self._clock()

    def _remind(self, stage: Stage, ended: threading.Event) -> None:
        while not ended.wait(self._heartbeat_s):
            stage.note(f"still running after {format_elapsed(stage.elapsed_s)}")


class Stage:
    """A running stage of a `Progress`."""

    def __init__(self, progress: Progress, title: str, started_s: float) -> None:
        self._progress = progress
        self._title = title
        self._started_s = started_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the stage began."""
        return self._progress.seconds() - self._started_s

    def note(self, text: str) -> None:
        """Print a remark about the running stage."""
        self._progress.line(f"  {self._title}: {text}")


def format_elapsed(elapsed_s: float) -> str:
    """Format `12.3 s` below a minute, `7 min 05 s` from there on."""
    if elapsed_s < 60:
        return f"{elapsed_s:.1f} s"
    minutes, seconds = divmod(round(elapsed_s), 60)
    return f"{minutes} min {seconds:02d} s"
