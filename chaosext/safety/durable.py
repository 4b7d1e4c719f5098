"""Files that outlive a crash of the machine: appended to as a whole, or an error; new names synced (fsync) as well."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def open_to_append(path: Path) -> int:
    """A handle on the file, made where there is none, for its owner alone (as the directory, where that is made)."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def write_whole(handle: int, data: bytes) -> None:
    """Raises OSError also where only a part was taken. Synced it is not yet."""
    if os.write(handle, data) < len(data):
        raise OSError("the disk took a part of the line only")


def sync_directory(directory: Path) -> None:
    """A file that is not yet in its directory is lost with the machine, its own fsync or not."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def append_durably(path: Path, line: str) -> None:
    """Append `line`, on disk (fsync) when this returns; what a crash tore before it stays a line of its own."""
    handle = open_to_append(path)
    try:
        write_whole(handle, (_line_break_if_torn(handle) + line).encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_directory(path.parent)


def _line_break_if_torn(handle: int) -> str:
    size = os.fstat(handle).st_size
    return "\n" if size and os.pread(handle, 1, size - 1) != b"\n" else ""
