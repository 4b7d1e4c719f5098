"""The sentinel's record: read from memory, and copied to a file for the sentinel's next start.

A byte keeps its offset forever. Bytes that are gone (the oldest samples when memory is short, or samples that
were only in memory when the process died with a full disk) are replaced by a line of spaces. While the disk
is full, the record continues in memory, and the file catches up later. The file has an incomplete line only
if the machine died during a write; the next start truncates it.
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
from chaosext.model.signal import Sample, Signal, StreamHead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILE = "record.jsonl"
BOUND_BYTES = 8 << 20
"""Memory limit: more than a day of samples. Even with a copy being sent to the reader, far below 64 MiB."""

_HEAD = b'{"sentinel":'


class Journal:
    """The record of `run` in `directory`: continues that of an earlier process of the same run, deletes any other.

    Thread-safe, for a single reader. Disk errors are not raised, but shown in `trouble`.
    """

    def __init__(self, directory: Path, run: str, bound_bytes: int = BOUND_BYTES) -> None:
        self._path, self._bound = directory / FILE, bound_bytes
        self._lock = Lock()
        self._lines = bytearray(_earlier(self._path, run))
        self._base = 0  # the offset of the first byte in memory
        self._dropped_to = 0  # offset up to which dropped bytes were replaced by a head
        self._began_at = self._stored = len(self._lines)
        self._was_read = False
        self.trouble = ""

    def head(self, head: StreamHead) -> None:
        self._append(head_line(head))

    def sample(self, sample: Sample) -> None:
        self._append(sample_line(sample))

    def read(self, offset: int) -> tuple[bytes, int]:
        """Return the record from byte `offset` on, and its size."""
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
        """Insert spaces for what the reader got from the previous process but the disk did not."""
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
        """Drop the older half, but keep the head that applies to the rest, with a note of what was lost."""
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
        """Write what the file lacks: all of it or nothing."""
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
    """A line of `length` bytes of spaces, which a reader of JSON lines skips."""
    return b" " * (length - 1) + b"\n"


def _last_head(lines: bytes, lost: str) -> bytes:
    """Return the last head in `lines`, with `lost` added. A record begins with a head, so one always exists."""
    at = lines.rindex(_HEAD)
    head = parse_line(lines[at : lines.index(b"\n", at)].decode())
    if not isinstance(head, StreamHead):
        raise ValueError("a record begins with a head")
    return head_line(replace(head, lost=lost)).encode() + b"\n"


def _earlier(path: Path, run: str) -> bytes:
    """Return the complete lines left by an earlier process of `run`; empty if there are none or they are unreadable."""
    try:
        lines = path.read_bytes()
        lines = lines[: lines.rfind(b"\n") + 1]
        head = parse_line(lines[: lines.find(b"\n")].decode())
        if isinstance(head, StreamHead) and head.run == run:
            return lines
    except (OSError, ValueError):
        pass
    with suppress(OSError):
        path.unlink()
    return b""


SCHEMA = "chaosext.sentinel/v1"


def head_line(head: StreamHead) -> str:
    """Format a head as one line, without a line break."""
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
    """Format a sample as one line, without a line break."""
    return f'{{"n":{sample.n},"t":{sample.mono_s:.3f},"m":"{sample.marks}"}}'


def parse_line(line: str) -> StreamHead | Sample:
    """Parse a head or sample. Raises `ValueError` for any other line, such as one truncated by a full disk."""
    try:
        value = json.loads(line)
        if "m" in value:
            return Sample(int(value["n"]), finite(value["t"]), str(value["m"]))
        if value["sentinel"] != SCHEMA:
            raise ValueError(f"schema {value['sentinel']!r}, not {SCHEMA}")
        return StreamHead(
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


def parse_record(lines: Iterable[str]) -> Iterator[StreamHead | Sample]:
    """Yield every readable line. A damaged one is skipped: the missing sample then shows as a gap."""
    for line in lines:
        try:
            yield parse_line(line)
        except ValueError:
            continue
