"""The record as the sentinel keeps it: in memory, from which it is read, and in a file, for its next start.

A byte keeps its offset for good. Where bytes are not here any more (the oldest samples, for want of memory; what a
process had in memory only, when it died while the disk was full) a line of blanks stands in their place. On a disk
that is full the record goes on in memory, and the file catches up once it can. Half a line gets into the file only
where the machine dies while writing, and is cut off at the next start.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from chaosext.model.errors import MALFORMED, finite
from chaosext.model.signal import Head, Sample, Signal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILE = "record.jsonl"
BOUND_BYTES = 8 << 20
"""Of memory: more than a day of samples; with a copy that is on its way to the reader still far below 64 MiB."""

_HEAD = b'{"sentinel":'


class Journal:
    """The record of `run` in `directory`: that of an earlier process of the same run goes on, any other is removed.

    For several threads, and for one reader. No trouble with the disk is raised; `trouble` says it.
    """

    def __init__(self, directory: Path, run: str, bound_bytes: int = BOUND_BYTES) -> None:
        self._path, self._bound = directory / FILE, bound_bytes
        self._lock = Lock()
        self._lines = bytearray(_earlier(self._path, run))
        self._base = 0  # the offset of the first byte that is here
        self._dropped_to = 0  # the offset up to which a head stands instead of what was dropped
        self._began_at = self._stored = len(self._lines)
        self._was_read = False
        self.trouble = ""

    def head(self, head: Head) -> None:
        self._append(head_line(head))

    def sample(self, sample: Sample) -> None:
        self._append(sample_line(sample))

    def read(self, offset: int) -> tuple[bytes, int]:
        """The record from `offset` on (bytes), and its size."""
        with self._lock:
            is_ahead = self._began_at < offset <= self._began_at + self._bound
            if is_ahead and not self._was_read and self._dropped_to <= self._began_at:
                self._make_room(offset)
            self._was_read = True
            return self._from(offset), self._size

    @property
    def _size(self) -> int:
        return self._base + len(self._lines)

    def _make_room(self, offset: int) -> None:
        """The reader has had more of the process before this one than the disk took."""
        at = self._began_at - self._base
        self._lines[at:at] = _blank(offset - self._began_at)
        self._stored = min(self._stored, self._began_at)

    def _from(self, offset: int) -> bytes:
        if self._base < offset < self._dropped_to:
            return _blank(self._dropped_to - offset) + self._lines[self._dropped_to - self._base :]
        return b" " * (self._base - offset) + self._lines[max(0, offset - self._base) :]

    def _append(self, line: str) -> None:
        with self._lock:
            self._lines += line.encode() + b"\n"
            if len(self._lines) > self._bound:
                self._drop_oldest()
            self._store()

    def _drop_oldest(self) -> None:
        """The older half goes; the head that holds for the rest stays, and says what is lost."""
        end = self._lines.index(b"\n", len(self._lines) // 2) + 1
        dropped = bytes(self._lines[:end])
        kept = _last_head(dropped, f"the oldest samples, {self._base + end >> 10} KiB, for want of memory")
        self._lines[:end] = kept
        self._dropped_to = self._base + end
        self._base = self._dropped_to - len(kept)

    def _store(self) -> None:
        try:
            self._write()
            self.trouble = ""
        except OSError as error:
            self.trouble = error.strerror or str(error)

    def _write(self) -> None:
        """What the file doesn't have yet; all of it, or nothing."""
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(file, self._stored)
            missing = self._from(self._stored)
            if os.pwrite(file, missing, self._stored) < len(missing):
                os.ftruncate(file, self._stored)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._stored = self._size
        finally:
            os.close(file)


def _blank(length: int) -> bytes:
    """A line of `length` bytes that says nothing; a reader of JSON lines passes it over."""
    return b" " * (length - 1) + b"\n"


def _last_head(lines: bytes, lost: str) -> bytes:
    """The last head among `lines`, saying what is lost. A record begins with one, so there is one."""
    at = lines.rindex(_HEAD)
    head = parse_line(lines[at : lines.index(b"\n", at)].decode())
    if not isinstance(head, Head):
        raise ValueError("a record begins with a head")
    return head_line(replace(head, lost=lost)).encode() + b"\n"


def _earlier(path: Path, run: str) -> bytes:
    """The whole lines that an earlier process of `run` left, or none. What can't be read is not taken up."""
    try:
        lines = path.read_bytes()
        lines = lines[: lines.rfind(b"\n") + 1]
        head = parse_line(lines[: lines.find(b"\n")].decode())
        if isinstance(head, Head) and head.run == run:
            return lines
    except (OSError, ValueError):
        pass
    with suppress(OSError):
        path.unlink()
    return b""


SCHEMA = "chaosext.sentinel/v1"


def head_line(head: Head) -> str:
    """A head as one line, without its newline."""
    value = {
        "sentinel": SCHEMA,
        "run": head.run,
        "node": head.node,
        "boot": head.boot,
        "mono_s": round(head.mono_s, 3),
        "wall_s": round(head.wall_s, 3),
        "interval_s": head.interval_s,
        "signals": [signal.to_json() for signal in head.signals],
        "lost": head.lost,
    }
    return json.dumps(value, separators=(",", ":"))


def sample_line(sample: Sample) -> str:
    """A sample as one line, without its newline."""
    return f'{{"n":{sample.n},"t":{sample.mono_s:.3f},"m":"{sample.marks}"}}'


def parse_line(line: str) -> Head | Sample:
    """Raises `ValueError` for a line that is neither, such as one torn by a full disk."""
    try:
        value = json.loads(line)
        if "m" in value:
            return Sample(int(value["n"]), finite(value["t"]), str(value["m"]))
        if value["sentinel"] != SCHEMA:
            raise ValueError(f"schema {value['sentinel']!r}, not {SCHEMA}")
        return Head(
            run=str(value["run"]),
            node=str(value["node"]),
            boot=str(value["boot"]),
            mono_s=finite(value["mono_s"]),
            wall_s=finite(value["wall_s"]),
            interval_s=finite(value["interval_s"]),
            signals=tuple(Signal.from_json(each) for each in value["signals"]),
            lost=str(value.get("lost", "")),
        )
    except MALFORMED as error:
        raise ValueError(f"no line of a sentinel's record: {line[:80]!r}") from error


def parse_record(lines: Iterable[str]) -> Iterator[Head | Sample]:
    """Every readable line; a torn one is passed over: the sample that is missing then shows as a gap."""
    for line in lines:
        try:
            yield parse_line(line)
        except ValueError:
            continue
