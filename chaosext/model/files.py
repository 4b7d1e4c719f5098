"""File access in directories that others may have prepared: the only place that opens, replaces or appends.

A write never follows a link and never changes an existing file: it creates a new one under a random name and
renames it. A read inside a directory never leaves that directory, never blocks on a pipe or a device, and
never takes more memory than its caller allows.
"""

from __future__ import annotations

import errno
import gzip
import os
import secrets
import select
import stat
import time
import weakref
import zlib
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import io
    from collections.abc import Iterable, Iterator

PIPE_S = 5.0
"""Seconds within which a pipe that the user named, such as bash's `<(...)`, must deliver all its content."""

STDIN = Path("-")
"""Stands for stdin wherever the user names a file to read."""

STDIN_S = 600.0
"""Seconds within which stdin must deliver all its content; `kubectl get` may take minutes to start its output."""

BLOCK_BYTES = 1 << 20

DOCUMENT_BYTES = 4 << 20
"""Bytes of a hand-written document: an experiment, a plan, limits. The largest in use is a list of scenarios."""

EXPANSION = 200
"""Highest allowed ratio of a content to its gzip file. `kubectl get -o json` compresses 10 to 40 times, the
benchmark's 150,000 equal Pods 123 times (gzip -9), a zip bomb 1,000 times (RFC 1951 allows at most 1,032)."""

EXPANSION_FREE_BYTES = 64 << 20
"""Contents below this many bytes may have any compression ratio."""

GZIP_MAGIC = b"\x1f\x8b"
_GZIP = zlib.MAX_WBITS | 16
"""zlib's flag for a gzip header and trailer (zlib.h, inflateInit2)."""

OWNER_ONLY = 0o600
BY_UMASK = 0o666

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}


class UnfitFile(OSError):
    """The path can be opened, but must not be read or replaced. `strerror` says why."""

    def __init__(self, why: str, name: str | os.PathLike[str]) -> None:
        super().__init__(errno.EINVAL, why, os.fspath(name))


class Folder:
    """A directory that is kept open, so that no rename or link can redirect a read or write out of it.

    Names are those of direct children, never paths. Every method raises OSError.
    """

    def __init__(self, path: Path, *, inside: int | None = None) -> None:
        """Open `path`. It may be a link, unless it is a name `inside` the directory of another descriptor."""
        self.path = path
        follow = 0 if inside is None else os.O_NOFOLLOW
        name = path if inside is None else path.name
        self._descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow, dir_fd=inside)
        self.close = weakref.finalize(self, os.close, self._descriptor)
        self.close.atexit = False  # a thread may still be writing; the end of the process closes it anyway

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def inside(self) -> Path:
        """A path to the directory that stays valid after a rename, in this process, while the directory is open."""
        return Path(f"/proc/self/fd/{self._descriptor}")

    @property
    def owner(self) -> int:
        """The owner's user ID."""
        return os.fstat(self._descriptor).st_uid

    def folder(self, name: str) -> Folder:
        """Open the subdirectory `name`, which must not be a link."""
        return Folder(self.path / _single(name), inside=self._descriptor)

    def make_folder(self, name: str) -> Folder:
        """Create the subdirectory `name`, writable only by its owner."""
        os.mkdir(_single(name), 0o755, dir_fd=self._descriptor)
        return self.folder(name)

    def names(self, suffix: str = "", *, most: int) -> list[str]:
        """List the names that end with `suffix`, sorted; stops after `most` of them, in directory order."""
        found: list[str] = []
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                if entry.name.endswith(suffix):
                    found.append(entry.name)
                if len(found) >= most:
                    break
        return sorted(found)

    def has(self, name: str) -> bool:
        """Whether `name` is a regular file and not a link to one."""
        with suppress(OSError):
            return stat.S_ISREG(self._kind(name))
        return False

    def read(self, name: str, *, most: int) -> bytes:
        """Read a whole file. Raises `UnfitFile` if it has more than `most` bytes."""
        with self._opened(name) as file:
            return _whole(file, most, self.path / name)

    def lines(self, name: str, *, longest: int, most: int) -> Iterator[str]:
        """Yield a file's lines without their line breaks; a line of more than `longest` bytes is yielded empty.

        Raises `UnfitFile` once more than `most` bytes have been read.
        """
        read, skips = 0, False
        with self._opened(name) as file:
            while part := file.readline(longest + 1):
                read += len(part)
                if read > most:
                    raise _too_large(most, self.path / name)
                goes_on = len(part) > longest and not part.endswith(b"\n")
                if not skips:
                    yield "" if goes_on else part.decode(errors="replace").rstrip("\r\n")
                skips = goes_on

    def write(self, name: str, content: str | bytes, *, fsync: bool, mode: int = BY_UMASK) -> None:
        """Write `content` to the file `name` atomically; with `fsync`, it survives a crash of the machine.

        A link to a file, or to nothing, is replaced and never followed. Anything else at `name`, or at the
        end of a link, is left alone and raises `UnfitFile`.
        """
        with self.replacement(name, fsync=fsync, mode=mode) as file:
            file.write(_bytes(content))

    @contextmanager
    def replacement(self, name: str, *, fsync: bool, mode: int = BY_UMASK) -> Iterator[io.BufferedWriter]:
        """Like `write`, for content that comes in pieces: the file appears when the block ends without an error."""
        self._require_replaceable(name, with_target=True)
        with self._renamed_to(name) as temporary:
            handle = os.open(temporary, _NEW, mode, dir_fd=self._descriptor)
            with open(handle, "wb") as file:  # noqa: PTH123  a descriptor
                yield file
                file.flush()
                if fsync:
                    os.fsync(handle)
        if fsync:
            os.fsync(self._descriptor)

    def open_to_append(self, name: str, *, mode: int = BY_UMASK) -> int:
        """Open the file for appending and return its descriptor; create the file if it does not exist."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        handle = os.open(_single(name), flags, mode, dir_fd=self._descriptor)
        return _checked(handle, self.path / name)

    def link(self, name: str, to: str) -> None:
        """Make `name` a symbolic link to `to`, replacing an existing link."""
        self._require_replaceable(name)
        with self._renamed_to(name) as temporary:
            os.symlink(to, temporary, dir_fd=self._descriptor)

    def require_room(self, size: int) -> None:
        """Raise OSError unless the disk has room for `size` bytes. Leaves nothing on the disk."""
        name = f".room.{secrets.token_hex(8)}"
        handle = os.open(name, _NEW, OWNER_ONLY, dir_fd=self._descriptor)
        try:
            write_all(handle, bytes(size))
            os.fsync(handle)
        finally:
            os.close(handle)
            os.unlink(name, dir_fd=self._descriptor)

    def sync(self) -> None:
        """Flush the directory to disk: without it, a crash of the machine loses new files even if they were synced."""
        os.fsync(self._descriptor)

    @contextmanager
    def _renamed_to(self, name: str) -> Iterator[str]:
        """Yield a new name; what the block creates there replaces `name`, or is removed after an error."""
        temporary = f".{name[:100]}.{secrets.token_hex(8)}.tmp"
        try:
            yield temporary
            os.replace(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except BaseException:
            with suppress(OSError):  # on a full disk, even an incomplete file is in the way
                os.unlink(temporary, dir_fd=self._descriptor)
            raise

    def _kind(self, name: str) -> int:
        return os.stat(_single(name), dir_fd=self._descriptor, follow_symlinks=False).st_mode

    def _require_replaceable(self, name: str, *, with_target: bool = False) -> None:
        """Raise `UnfitFile` for anything but a file or a link, and for a link to such a thing, as /dev/stdout."""
        with suppress(FileNotFoundError):
            kind = stat.S_IFMT(self._kind(name))
            if kind == stat.S_IFLNK and with_target:
                kind = stat.S_IFMT(os.stat(name, dir_fd=self._descriptor).st_mode)
            if kind not in (stat.S_IFREG, stat.S_IFLNK):
                what = f"is {_KINDS.get(kind, 'not a file')}, and would be replaced"
                raise UnfitFile(what, self.path / name)

    @contextmanager
    def _opened(self, name: str) -> Iterator[io.BufferedReader]:
        try:
            handle = os.open(_single(name), _READ | os.O_NOFOLLOW, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise UnfitFile("is a symbolic link", self.path / name) from None
            raise
        with open(_checked(handle, self.path / name), "rb") as file:
            yield file


def write_whole(path: Path, content: str | bytes, *, fsync: bool, mode: int = BY_UMASK) -> None:
    """Call `Folder.write` for a path. Its directory must exist."""
    with Folder(path.parent) as folder:
        folder.write(path.name, content, fsync=fsync, mode=mode)


def move(path: Path, to: Path) -> None:
    """Rename a file. What is at `to` is replaced, not followed if it is a link."""
    path.replace(to)


def write_pieces(path: Path, pieces: Iterable[str], *, fsync: bool, gzipped: bool = False) -> None:
    """Like `write_whole`, for content that is generated piece by piece."""
    with (
        Folder(path.parent) as folder,
        folder.replacement(path.name, fsync=fsync) as file,
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6) if gzipped else nullcontext(file) as into,
    ):
        for piece in pieces:
            into.write(piece.encode())


def append(
    path: Path, content: str | bytes, *, fsync: bool, mode: int = BY_UMASK, after: int | None = None
) -> None:
    """Append all of `content` or raise. If a crash truncated the last line, `content` begins on a new line.

    `after`: first truncate the file to this many bytes, to drop an append that a full disk cut short.
    """
    with Folder(path.parent) as folder:
        handle = folder.open_to_append(path.name, mode=mode)
        try:
            if after is not None:
                os.ftruncate(handle, after)
            write_all(handle, (_line_break_if_torn(handle) if after is None else b"") + _bytes(content))
            if fsync:
                os.fsync(handle)
        finally:
            os.close(handle)
        if fsync:
            folder.sync()


def open_to_append(path: Path, *, mode: int) -> int:
    """Open the file for appending and return its descriptor; create it, and an owner-only directory, if missing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with Folder(path.parent) as folder:
        return folder.open_to_append(path.name, mode=mode)


def write_all(handle: int, data: bytes) -> None:
    """Write all of `data`, without syncing it. Raises OSError if only a part was written."""
    if os.write(handle, data) < len(data):
        raise OSError(errno.ENOSPC, "the disk took a part only")


def read_file(path: Path, *, most: int = DOCUMENT_BYTES, within_s: float = PIPE_S) -> bytes:
    """Read a file that the user named: follows links, and reads a pipe for at most `within_s` seconds.

    `STDIN` is stdin. Raises OSError; `UnfitFile` for a directory or a device, and for more than `most` bytes.
    """
    with opened(path) as file:
        return read_opened(file, path, most=most, within_s=STDIN_S if path == STDIN else within_s)


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file or a pipe that the user named, without blocking. Raises `UnfitFile` for anything else."""
    if path == STDIN and os.isatty(0):
        raise UnfitFile("stdin is a terminal; pipe a file into it", path)
    handle = _checked(os.open("/dev/stdin" if path == STDIN else path, _READ), path, or_pipe=True)
    with open(handle, "rb") as file:  # noqa: PTH123  a descriptor
        yield file


def read_opened(file: io.BufferedReader, path: Path, *, most: int, within_s: float) -> bytes:
    """Read everything from an `opened` file; bounds as in `read_file`."""
    if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
        return _from_pipe(file.fileno(), path, most, within_s)
    return _whole(file, most, path)


def unzipped(file: io.BufferedIOBase, name: Path) -> Iterator[bytes]:
    """Yield the content of an open gzip file in blocks; accepts concatenated members and trailing zeros.

    Raises `UnfitFile` for a damaged or truncated file, and, before expanding it, for one beyond the allowed
    ratio.
    """
    taken = made = 0
    member = zlib.decompressobj(_GZIP)
    try:
        while rest := file.read(BLOCK_BYTES):
            taken += len(rest)
            while rest:
                content = member.decompress(rest, BLOCK_BYTES)
                made += len(content)
                rest = member.unconsumed_tail
                if made > max(EXPANSION_FREE_BYTES, EXPANSION * (taken - len(rest))):
                    raise UnfitFile(f"expands to more than {EXPANSION} times its size", name)
                if content:
                    yield content
                if member.eof and (rest := member.unused_data.lstrip(b"\0")):
                    member = zlib.decompressobj(_GZIP)
    except zlib.error as error:
        raise UnfitFile(f"the gzip file is damaged ({error})", name) from None
    if not member.eof:
        raise UnfitFile("the gzip file is cut off", name)


def _single(name: str) -> str:
    """Return `name`. Raises `UnfitFile` unless it is a plain file name."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise UnfitFile("is not the name of a file", name.replace("\0", "?"))
    return name


def _checked(handle: int, name: Path, *, or_pipe: bool = False) -> int:
    """Return the descriptor `handle`; close it and raise `UnfitFile` unless it is a file (or a pipe, if allowed)."""
    kind = stat.S_IFMT(os.fstat(handle).st_mode)
    if kind != stat.S_IFREG and not (or_pipe and kind == stat.S_IFIFO):
        os.close(handle)
        raise UnfitFile(f"is {_KINDS.get(kind, 'something else')}, not a file", name)
    return handle


def _whole(file: io.BufferedIOBase, most: int, name: Path) -> bytes:
    if os.fstat(file.fileno()).st_size > most:  # a sparse file of any size costs its creator nothing
        raise _too_large(most, name)
    data = file.read(most + 1) or b""  # None: a kernel file that has no data yet
    if len(data) > most:
        raise _too_large(most, name)
    return data


def _from_pipe(handle: int, name: Path, most: int, within_s: float) -> bytes:
    """Read a pipe until all writers have closed it; also waits for the first writer to open it."""
    data, over_s = bytearray(), time.monotonic() + within_s
    while (left_s := over_s - time.monotonic()) > 0:
        try:
            block = os.read(handle, BLOCK_BYTES)
        except BlockingIOError:
            select.select([handle], [], [], left_s)
            continue
        if not block and (data or name == STDIN):  # another pipe may still wait for its first writer
            return bytes(data)
        if not block:
            time.sleep(0.02)
        data += block
        if len(data) > most:
            raise _too_large(most, name)
    raise UnfitFile(f"gave {'no end' if data else 'nothing'} within {within_s:g} s", name)


def _too_large(most: int, name: Path) -> UnfitFile:
    return UnfitFile(f"has more than {most >> 20} MiB" if most >> 20 else f"has more than {most} bytes", name)


def _line_break_if_torn(handle: int) -> bytes:
    size = os.fstat(handle).st_size
    return b"\n" if size and os.pread(handle, 1, size - 1) != b"\n" else b""


def _bytes(content: str | bytes) -> bytes:
    return content.encode(errors="backslashreplace") if isinstance(content, str) else content
