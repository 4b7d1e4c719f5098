"""Find the files that may hold Kubernetes objects: named files, stdin, and those in directories and archives.

All within bounds. Nothing is written or extracted, and no link inside a directory or an archive is followed.
"""

from __future__ import annotations

import io
import stat
import sys
import tarfile
import time
import zipfile
import zlib
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from os import fstat
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from chaosext.model.files import (
    BLOCK_BYTES,
    EXPANSION,
    EXPANSION_FREE_BYTES,
    GZIP_MAGIC,
    STDIN,
    STDIN_S,
    Folder,
    UnfitFile,
    opened,
    read_opened,
    unzipped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

TREE_S = 600.0
"""Maximum time to read a directory or an archive."""

MOST_FILES = 200_000
"""Maximum files and directories in a directory or an archive. A must-gather of a large cluster has some 50,000."""

MOST_DEPTH = 32
"""Maximum depth of directories. A must-gather has ten levels."""

LARGEST_ZIPPED = 2 << 30
"""Maximum bytes of a compressed file or of a pipe's output, neither of which can be memory-mapped."""

MOST_BYTES = 4 << 30
"""Maximum bytes of all files that are read into memory."""

ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
LARGEST_ZIP_DIRECTORY = 32 << 20
"""Maximum bytes of a zip file's directory, which zipfile reads into memory; an entry has about 150."""

OTHER_MAGICS = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

SUFFIXES = (".json", ".yaml", ".yml", ".txt")
"""Ends of the names of files that may hold objects, also before `.gz`; `.txt` is a dump's output."""

LOG_FOLDERS, LOGS = frozenset({"logs", "podlogs", "pod_logs"}), ("logs.txt", "logs.txt.gz")
"""Where dumps keep the output of containers; what a container prints states nothing about the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The content of a file. `is_named`: the user named the file itself, not a directory or archive around it."""

    name: str
    data: bytes | mmap
    is_named: bool


def sources(paths: Sequence[Path], hashed: Callable[[bytes | mmap], object]) -> Iterator[Source]:
    """Yield every file that may hold objects. Pass named files to `hashed` uncompressed, all others as they are.

    Raises OSError; `UnfitFile` for a file that is damaged, malicious or beyond the bounds.
    """
    left = _Left()
    for path in paths:
        if path.is_dir():
            left.begin_tree()
            with Folder(path) as folder:
                yield from _of_folder(folder, left, hashed)
        else:
            data = _stdin() if path == STDIN else _content(path)
            yield from _unpacked(data, "stdin" if path == STDIN else str(path), left, hashed)


def may_hold_objects(name: str) -> bool:
    """Whether a file of this name, in a directory or an archive, is worth reading."""
    path = PurePosixPath(name.lower())
    plain = path.name.removesuffix(".gz")
    if path.name.startswith(".") or path.name in LOGS:
        return False
    if plain.endswith(".txt") and LOG_FOLDERS.intersection(path.parts[:-1]):
        return False
    return plain.endswith(SUFFIXES)


class _Left:
    """What may still be read: bytes in all, and files and time in a directory or an archive."""

    def __init__(self) -> None:
        self.bytes = MOST_BYTES
        self.begin_tree()

    def begin_tree(self) -> None:
        self.files, self._until_s = MOST_FILES, time.monotonic() + TREE_S

    def count_file(self, name: str) -> None:
        self.files -= 1
        if self.files < 0:
            raise UnfitFile(f"has more than {MOST_FILES:,} files", name)
        self.require_time(name)

    def require_time(self, name: str) -> None:
        if time.monotonic() > self._until_s:
            raise UnfitFile(f"took more than {TREE_S:g} s to read", name)

    def joined(self, blocks: Iterable[bytes], name: str) -> bytes:
        """Return the blocks together, and count them. Raises `UnfitFile` if they are more than may be read."""
        data = bytearray()
        for block in blocks:
            data += block
            if len(data) > self.bytes:
                raise UnfitFile(f"more than {MOST_BYTES >> 30} GiB in all", name)
        self.bytes -= len(data)
        return bytes(data)


# -- named files -------------------------------------------------------------------------------------------------


def _stdin() -> bytes:
    if sys.stdin.isatty():
        raise UnfitFile("is a terminal; pipe a snapshot into it", "stdin")
    data = sys.stdin.buffer.read(LARGEST_ZIPPED + 1)
    if len(data) > LARGEST_ZIPPED:
        raise UnfitFile(f"has more than {LARGEST_ZIPPED >> 30} GiB", "stdin")
    return data


def _content(path: Path) -> bytes | mmap:
    """Return a file's content. A plain file is memory-mapped: half a gigabyte is usual for a large cluster."""
    with opened(path) as file:
        if not stat.S_ISREG(fstat(file.fileno()).st_mode):
            return read_opened(file, path, most=LARGEST_ZIPPED, within_s=STDIN_S)
        try:
            return mmap(file.fileno(), 0, access=ACCESS_READ)
        except ValueError:  # mmap refuses an empty file
            return b""


def _unpacked(
    data: bytes | mmap, name: str, left: _Left, hashed: Callable[[bytes | mmap], object]
) -> Iterator[Source]:
    """Yield the file itself, or those that it contains if it is an archive."""
    left.begin_tree()
    for magic, what in OTHER_MAGICS.items():
        if data[: len(magic)] == magic:
            raise UnfitFile(f"is compressed with {what}; use gzip", name)
    if data[:4] in ZIP_MAGICS:
        hashed(data)
        yield from _of_zip(data, name, left)
        return
    file = _reader(data)
    if data[:2] == GZIP_MAGIC:
        if len(data) > LARGEST_ZIPPED:
            raise UnfitFile(f"is larger than {LARGEST_ZIPPED >> 30} GiB", name)
        file = io.BufferedReader(_Blocks(unzipped(file, Path(name))), BLOCK_BYTES)
    if _is_tar(file.peek(_BLOCK) if isinstance(file, io.BufferedReader) else data[:_BLOCK], name):
        hashed(data)
        yield from _of_tar(file, name, left)
        return
    if isinstance(file, io.BufferedReader):
        data = left.joined(_blocks_of(file), name)
    hashed(data)
    yield Source(name=name, data=data, is_named=True)


def _reader(data: bytes | mmap) -> Any:
    """Return a file to read `data` from."""
    return data if isinstance(data, mmap) else io.BytesIO(data)


def _blocks_of(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block


class _Blocks(io.RawIOBase):
    """A sequence of blocks as a file."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._rest = blocks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
        count = min(len(into), len(self._rest))
        into[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


# -- directories and archives ------------------------------------------------------------------------------------


def _of_folder(
    folder: Folder, left: _Left, hashed: Callable[[bytes | mmap], object], inside: str = "", depth: int = 0
) -> Iterator[Source]:
    if depth > MOST_DEPTH:
        raise UnfitFile(f"has more than {MOST_DEPTH} levels of directories", folder.path)
    for name in folder.names(most=left.files + 1):
        path, here = str(folder.path / name), f"{inside}{name}"
        left.count_file(path)
        if folder.has(name):
            if may_hold_objects(here):
                data = left.joined([folder.read(name, most=left.bytes)], path)
                hashed(data)
                yield _contained(data, path, left)
        elif inner := _subfolder(folder, name):
            with inner:
                yield from _of_folder(inner, left, hashed, f"{here}/", depth + 1)


def _subfolder(folder: Folder, name: str) -> Folder | None:
    """Open a directory; None for a hidden one, a link, a socket or a device."""
    if name.startswith("."):
        return None
    try:
        return folder.folder(name)
    except PermissionError:
        raise
    except OSError:
        return None


def _contained(data: bytes, name: str, left: _Left) -> Source:
    """Return a file of a directory or an archive, unzipped."""
    if data[:2] == GZIP_MAGIC:
        data = left.joined(unzipped(io.BytesIO(data), Path(name)), name)
    return Source(name=name, data=data, is_named=False)


_BLOCK = tarfile.BLOCKSIZE


def _is_tar(head: bytes, name: str) -> bool:
    """Whether a file begins with a tar header, by its magic, or by the file's name: old tar writes no magic."""
    is_named_so = name.lower().endswith((".tar", ".tgz", ".tar.gz"))
    return head[257:262] == b"ustar" or (is_named_so and len(head) >= _BLOCK)


class _Tape:
    """A file that is read once, from its beginning, and remembers its last bytes."""

    def __init__(self, file: IO[bytes], name: str, left: _Left) -> None:
        self._file, self._name, self._left = file, name, left
        self._at, self._tail = 0, b""

    def read(self, size: int) -> bytes:
        self._left.require_time(self._name)
        data = self._file.read(size)
        self._at += len(data)
        self._tail = (self._tail + data)[-2 * tarfile.RECORDSIZE :]
        return data

    def has_zeros(self, at: int) -> bool:
        """Whether the block at this offset, one of the last, has only zeros."""
        begin = at - (self._at - len(self._tail))
        return begin >= 0 and self._tail[begin : begin + _BLOCK] == bytes(_BLOCK)


def _of_tar(file: IO[bytes], name: str, left: _Left) -> Iterator[Source]:
    tape = _Tape(file, name, left)
    try:
        with tarfile.open(fileobj=tape, mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                left.count_file(name)
                if _is_plain(member) and (held := archive.extractfile(member)):
                    path = f"{name}: {member.name}"
                    yield _contained(left.joined(_blocks_of(held), path), path, left)
            is_whole = tape.has_zeros(archive.offset)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise UnfitFile(f"the archive is damaged ({error})", name) from None
    if not is_whole:  # for tarfile, an invalid header or the end of the file ends the archive
        raise UnfitFile("the archive is damaged or cut off", name)


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Whether a member is worth reading, and neither a link nor a device nor sparse."""
    kinds = (tarfile.REGTYPE, tarfile.AREGTYPE)
    return member.type in kinds and not member.issparse() and may_hold_objects(member.name)


def _of_zip(data: bytes | mmap, name: str, left: _Left) -> Iterator[Source]:
    if len(data) > LARGEST_ZIPPED:
        raise UnfitFile(f"is larger than {LARGEST_ZIPPED >> 30} GiB", name)
    _require_small_directory(data, name)
    most = max(EXPANSION_FREE_BYTES, EXPANSION * len(data))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                left.count_file(name)
                if _is_plain_entry(entry):
                    path = f"{name}: {entry.filename}"
                    with archive.open(entry) as held:
                        found = left.joined(_at_most(most, _blocks_of(held), name), path)
                    most -= len(found)
                    yield _contained(found, path, left)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error) as error:
        raise UnfitFile(f"the archive is damaged or encrypted ({error})", name) from None


def _at_most(most: int, blocks: Iterable[bytes], name: str) -> Iterator[bytes]:
    for block in blocks:
        most -= len(block)
        if most < 0:
            raise UnfitFile(f"expands to more than {EXPANSION} times its size", name)
        yield block


def _is_plain_entry(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is worth reading, and not a link. Raises NotImplementedError for unusual compression."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or not may_hold_objects(entry.filename):
        return False
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NotImplementedError(f"{entry.filename} is not compressed by deflate")
    return True


def _require_small_directory(data: bytes | mmap, name: str) -> None:
    """Raise `UnfitFile` for a directory that would take much memory, as zipfile reads all of it.

    Its size is in the end record (APPNOTE.TXT, 4.3.16), which zip64 overrides by another one.
    """
    at = data.rfind(b"PK\x05\x06", max(0, len(data) - (1 << 16) - 22))
    end = data[at : at + 22] if at >= 0 else b""
    if len(end) < 22 or data[max(0, at - 20) : at][:4] == b"PK\x06\x07":
        raise UnfitFile("the archive is cut off, or has more than 4 GiB or 65,535 files", name)
    if int.from_bytes(end[12:16], "little") > LARGEST_ZIP_DIRECTORY:
        raise UnfitFile(f"has more than {MOST_FILES:,} files", name)
