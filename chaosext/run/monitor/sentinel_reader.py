"""Reads one node's sentinel continuously: keeps its record, measures its clocks, notes its events."""

from __future__ import annotations

import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from chaosext.model.errors import Unreachable
from chaosext.model.files import append
from chaosext.model.signal import Sample, StreamHead
from chaosext.model.timeline import Kind
from chaosext.sentinel.sample_log import parse_record
from chaosext.timeline.clock_offsets import Clocks
from chaosext.timeline.node_events import NodeWatch
from chaosext.timeline.object_events import Note
from chaosext.timeline.sample_windows import samples_reached

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from chaosext.sentinel.watch_plan import WatchPlan
    from chaosext.timeline.node_events import Dated
    from chaosext.timeline.recorder import Recorder
    from chaosext.timeline.sentinel_client import Reader

LARGEST_RECORD_BYTES = 64 << 20
"""Limit of a record, bytes: days of samples. A larger one is invalid, and must not fill the run's disk."""

AWAY_S = 3.0
"""Pause for a node that is away, seconds: asking it blocks a thread for 2 s that others need."""

MEASURED_OFTEN = 3
CLOCK_EVERY_S = 5.0
"""Clocks are measured `MEASURED_OFTEN` times at first, then every `CLOCK_EVERY_S`: each costs one more call."""


class NodeReading:
    """Reads through `reader`, keeps the record in the file `kept`, notes in `recorder`; one thread at a time.

    Nothing is lost while the node does not answer: the next read continues where the last one ended. `heard_s`: the
    runner's monotonic time of the newest sample; None if none was read yet.
    """

    def __init__(self, reader: Reader, kept: Path, recorder: Recorder, plan: WatchPlan) -> None:
        self.node = reader.node
        self.clocks = Clocks()
        self.samples = 0
        self.heard_s: float | None = None
        self._reader, self._recorder = reader, recorder
        self._file = AppendOnlyFile(kept)
        self._watch = NodeWatch(reader.node)
        self._whole, self._mine = plan, plan.only(reader.node)
        self._plan: WatchPlan | None = self._mine
        """The plan that its sentinel follows; None: unknown."""

        self._offset = 0
        self._head: StreamHead | None = None
        self._undated: list[Dated] = []
        self._measured, self._clock_due_s = 0, 0.0
        self._failures, self._due_s = 0, 0.0
        self._turn = threading.Lock()
        self._taking = threading.Lock()
        self._closed = False

    @property
    def is_due(self) -> bool:
        """Whether to read it now: a node that repeatedly did not answer is skipped for a while."""
        return time.monotonic() >= self._due_s

    def visit(self, plan: WatchPlan) -> None:
        """Read new samples, and send the sentinel its part of `plan`. Raises `Unreachable`."""
        with self._turn:
            try:
                self._visit(plan)
            except Unreachable:
                self._failures += 1
                self._due_s = time.monotonic() + (AWAY_S if self._failures > 1 else 0.0)
                raise
            self._failures = 0

    def _visit(self, plan: WatchPlan) -> None:
        if time.monotonic() >= self._clock_due_s:
            self._measure()
        self._read_on()
        self._put(plan)

    def end(self) -> None:
        """Read the rest, stop the sentinel's sampling, and read what came meanwhile. Raises `Unreachable`."""
        with self._turn, closing(self._reader):
            self._measure()
            self._read_on()
            self._reader.end()
            self._read_on()

    def close(self, over_s: float) -> None:
        """End reading: note what is left.

        A record that ended before `over_s` (the runner's monotonic time) is a lost observation. A thread that
        still waits for the node notes nothing any more.
        """
        offset = self.clocks.offsets().get(self._head.boot) if self._head else None
        with self._taking:
            self._note(self._watch.close(over_s + (offset.offset_s if offset else 0.0)))
            self._closed = True
        if self._undated:
            words = f"{len(self._undated)} observations lost: the clock of their boot was never measured"
            lost = Note(kind=Kind.OBSERVATION_LOST, object=f"Node/{self.node}", detail=words)
            self._recorder.note(lost, self._watch.source)

    def samples_reached(self, since_s: float, until_s: float) -> int:
        """The number of samples between these moments (the runner's monotonic time) that reached an API server."""

        def is_within(boot: str, mono_s: float) -> bool:
            at_s = self.clocks.to_runner_s(boot, mono_s)
            return at_s is not None and since_s <= at_s <= until_s

        return samples_reached(parse_record(self._file.lines()), is_within)

    def _put(self, plan: WatchPlan) -> None:
        if plan is not self._whole:
            self._whole, self._mine = plan, plan.only(self.node)
        if self._plan != self._mine:
            self._reader.put_plan(self._mine)
            self._plan = self._mine

    def _read_on(self) -> None:
        """Read the record as far as it goes. Raises `Unreachable`, and `ValueError` for one without an end."""
        size = self._offset + 1
        while self._offset < size:
            if self._offset >= LARGEST_RECORD_BYTES:
                raise ValueError(
                    f"its record has more than {LARGEST_RECORD_BYTES >> 20} MiB; the rest is not read"
                )
            said, size = self._reader.read_from(self._offset)
            whole = said[: said.rfind(b"\n") + 1]  # an incomplete line is read again
            if not whole:
                break
            self._offset += len(whole)
            self._file.append(whole)
            self._take(whole)

    def _measure(self) -> None:
        self.clocks.take(self._reader.clock())
        self._measured += 1
        often = self._measured < MEASURED_OFTEN
        self._clock_due_s = time.monotonic() + (0.0 if often else CLOCK_EVERY_S)

    def _take(self, said: bytes) -> None:
        for entry in parse_record(said.decode(errors="replace").splitlines()):
            mine = self._begin(entry) if isinstance(entry, StreamHead) else self._hear(entry)
            with self._taking:
                self._note(self._watch.take(mine))

    def _begin(self, said: StreamHead) -> StreamHead:
        """Apply a new head, which counts as this node's whatever it says.

        A restarted sentinel follows the plan that it was placed with.
        """
        head = self._head = replace(said, node=self.node)
        if head.boot not in self.clocks.offsets():
            with suppress(Unreachable):
                self._measure()
        if self._plan and head.signals != self._plan.signals(self.node):
            self._plan = None
        return head

    def _hear(self, sample: Sample) -> Sample:
        """Update `heard_s`, at most to now, whatever the node's clock says."""
        self.samples += 1
        at_s = self.clocks.to_runner_s(self._head.boot, sample.mono_s) if self._head else None
        self.heard_s = None if at_s is None else min(at_s, time.monotonic())
        return sample

    def _note(self, dated: Iterable[Dated]) -> None:
        """Note events that can be dated; the rest waits for a measurement of its boot's clock."""
        if self._closed:
            return
        waiting, self._undated = [*self._undated, *dated], []
        for head, mono_s, note in waiting:
            at_s = self.clocks.to_runner_s(head.boot, mono_s)
            if at_s is None:
                self._undated.append((head, mono_s, note))
            else:
                self._recorder.note(note, self._watch.source, at_s=at_s)


class AppendOnlyFile:
    """An append-only file. What a full disk rejects is kept, and written with the next data."""

    def __init__(self, path: Path) -> None:
        self._path, self._written, self._waiting = path, 0, b""

    def lines(self) -> Iterator[str]:
        """The lines kept so far; none if they can't be read."""
        with suppress(OSError), self._path.open(errors="replace") as file:
            yield from file

    def append(self, said: bytes) -> None:
        self._waiting += said
        with suppress(OSError):
            append(self._path, self._waiting, fsync=False, after=self._written)
            self._written, self._waiting = self._written + len(self._waiting), b""
