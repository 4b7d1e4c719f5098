"""Files in directories that somebody else may have prepared: the only place that opens, replaces or appends to one.

A write never follows a link and never changes a file that was there: it makes a new one under a random name and
renames it. A read of a directory's content never leaves the directory, never waits for a pipe or a device, and never
takes more memory than its caller allows.
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
"""How long a pipe that a person named, such as bash's `<(...)`, may take to give all that it holds."""

BLOCK_BYTES = 1 << 20

DOCUMENT_BYTES = 4 << 20
"""Of a document that people write: an experiment, a plan, limits. The largest one in use is a list of scenarios."""

EXPANSION = 200
"""How many times larger than its gzip file a content may be. `kubectl get -o json` compresses 10 to 40 times, the
benchmark's 150,000 equal Pods 123 times (gzip -9), and a bomb 1,000 times (1,032 is the most that RFC 1951 allows)."""

EXPANSION_FREE_BYTES = 64 << 20
"""A content that is smaller than this may expand as it likes."""

GZIP_MAGIC = b"\x1f\x8b"
_GZIP = zlib.MAX_WBITS | 16
"""zlib's own sign for a gzip header and trailer (zlib.h, inflateInit2)."""

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
    """What is there can be opened, but must not be read or replaced. `strerror` says why."""

    def __init__(self, why: str, name: str | os.PathLike[str]) -> None:
        super().__init__(errno.EINVAL, why, os.fspath(name))


class Folder:
    """A directory that is held open, so that no renaming or link leads a read or a write out of it.

    A name is that of a file right inside of it, and never a path. Every method raises OSError.
    """

    def __init__(self, path: Path, *, inside: int | None = None) -> None:
        """`path` may be a link unless it is a name `inside` the directory of another descriptor."""
        self.path = path
        follow = 0 if inside is None else os.O_NOFOLLOW
        name = path if inside is None else path.name
        self._descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow, dir_fd=inside)
        self.close = weakref.finalize(self, os.close, self._descriptor)
        self.close.atexit = False  # a thread may still be writing; the process' end closes it as well

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def inside(self) -> Path:
        """The directory by a path that leads to it whatever becomes of its name, in this process, while it is open."""
        return Path(f"/proc/self/fd/{self._descriptor}")

    @property
    def owner(self) -> int:
        """The user's id."""
        return os.fstat(self._descriptor).st_uid

    def folder(self, name: str) -> Folder:
        """The directory `name` in this one, which is not a link."""
        return Folder(self.path / _single(name), inside=self._descriptor)

    def make_folder(self, name: str) -> Folder:
        """A new directory `name` in this one, that nobody but its owner can write to."""
        os.mkdir(_single(name), 0o755, dir_fd=self._descriptor)
        return self.folder(name)

    def names(self, suffix: str = "", *, most: int) -> list[str]:
        """The names that end with `suffix`, sorted; at most the first `most` that the directory lists."""
        found: list[str] = []
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                if entry.name.endswith(suffix):
                    found.append(entry.name)
                if len(found) >= most:
                    break
        return sorted(found)

    def has(self, name: str) -> bool:
        """Whether `name` is a file, and not a link to one."""
        with suppress(OSError):
            return stat.S_ISREG(self._kind(name))
        return False

    def read(self, name: str, *, most: int) -> bytes:
        """All of a file. One of more than `most` bytes is an `UnfitFile`."""
        with self._opened(name) as file:
            return _whole(file, most, self.path / name)

    def lines(self, name: str, *, longest: int, most: int) -> Iterator[str]:
        """A file's lines without their ends, in the order of the file; one of more than `longest` bytes comes empty.

        Raises `UnfitFile` where more than `most` bytes would have to be read.
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
        """Put `content` into the file `name`, whole or not at all; `fsync`: it outlives a crash of the machine.

        A link to a file, or to nothing, is replaced and never followed. What else is there, or is led to, stays, and is
        an `UnfitFile`.
        """
        with self.replacement(name, fsync=fsync, mode=mode) as file:
            file.write(_bytes(content))

    @contextmanager
    def replacement(self, name: str, *, fsync: bool, mode: int = BY_UMASK) -> Iterator[io.BufferedWriter]:
        """As `write`, for a content that comes in pieces: the file appears when the block ends without an error."""
        self._require_replaceable(name, with_target=True)
        temporary = f".{name[:100]}.{secrets.token_hex(8)}.tmp"
        handle = os.open(temporary, _NEW, mode, dir_fd=self._descriptor)
        try:
            with open(handle, "wb") as file:  # noqa: PTH123  a descriptor
                yield file
                file.flush()
                if fsync:
                    os.fsync(handle)
            os.replace(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except BaseException:
            with suppress(OSError):  # on a full disk even half a file is in the way
                os.unlink(temporary, dir_fd=self._descriptor)
            raise
        if fsync:
            os.fsync(self._descriptor)

    def open_to_append(self, name: str, *, mode: int = BY_UMASK) -> int:
        """A descriptor of the file, made where there is none, whose writes go to its end."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        handle = os.open(_single(name), flags, mode, dir_fd=self._descriptor)
        return _checked(handle, self.path / name)

    def link(self, name: str, to: str) -> None:
        """Make `name` a symbolic link to `to`, in the place of whatever link it was."""
        self._require_replaceable(name)
        temporary = f".{name[:100]}.{secrets.token_hex(8)}.tmp"
        os.symlink(to, temporary, dir_fd=self._descriptor)
        try:
            os.replace(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self._descriptor)
            raise

    def require_room(self, size: int) -> None:
        """Raise OSError unless `size` bytes fit on the disk, which keeps none of them."""
        name = f".room.{secrets.token_hex(8)}"
        handle = os.open(name, _NEW, OWNER_ONLY, dir_fd=self._descriptor)
        try:
            write_all(handle, bytes(size))
            os.fsync(handle)
        finally:
            os.close(handle)
            os.unlink(name, dir_fd=self._descriptor)

    def sync(self) -> None:
        """A file that is not yet in its directory is lost with the machine, its own fsync or not."""
        os.fsync(self._descriptor)

    def _kind(self, name: str) -> int:
        return os.stat(_single(name), dir_fd=self._descriptor, follow_symlinks=False).st_mode

    def _require_replaceable(self, name: str, *, with_target: bool = False) -> None:
        """Raise `UnfitFile` for what is neither a file nor a link, and for a link to such a thing, as /dev/stdout."""
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
    """`Folder.write` by path; the directory must be there."""
    with Folder(path.parent) as folder:
        folder.write(path.name, content, fsync=fsync, mode=mode)


def write_pieces(path: Path, pieces: Iterable[str], *, fsync: bool, gzipped: bool = False) -> None:
    """As `write_whole`, for a content that is made on the way."""
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
    """Append `content`, all of it or an error; what a crash tore before it stays a line of its own.

    What is there beyond `after` bytes, of which a full disk took only a part, is dropped before.
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
    """A descriptor of the file for appending, made where there is none, as is its directory, for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with Folder(path.parent) as folder:
        return folder.open_to_append(path.name, mode=mode)


def write_all(handle: int, data: bytes) -> None:
    """Raises OSError also where only a part was taken. It is not synced yet."""
    if os.write(handle, data) < len(data):
        raise OSError(errno.ENOSPC, "the disk took a part only")


def read_file(path: Path, *, most: int = DOCUMENT_BYTES, within_s: float = PIPE_S) -> bytes:
    """A file that a person named: a link is followed, a pipe is read for `within_s` at most.

    Raises OSError; `UnfitFile` for a directory or a device, and for more than `most` bytes.
    """
    with opened(path) as file:
        return read_opened(file, path, most=most, within_s=within_s)


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """A file or a pipe that a person named, open; `UnfitFile` for anything else. Opening never waits."""
    handle = _checked(os.open(path, _READ), path, or_pipe=True)
    with open(handle, "rb") as file:  # noqa: PTH123  a descriptor
        yield file


def read_opened(file: io.BufferedReader, path: Path, *, most: int, within_s: float) -> bytes:
    """All that an `opened` file holds, as `read_file`."""
    if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
        return _from_pipe(file.fileno(), path, most, within_s)
    return _whole(file, most, path)


def unzipped(file: io.BufferedIOBase, name: Path) -> Iterator[bytes]:
    """The content of an open gzip file, block by block, also where several were put together or zeros follow.

    Raises `UnfitFile` for a file that is damaged or cut off, and where it expands beyond reason, before it did.
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
    """Raises `UnfitFile` for what is not the name of a file in a directory."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise UnfitFile("is not the name of a file", name.replace("\0", "?"))
    return name


def _checked(handle: int, name: Path, *, or_pipe: bool = False) -> int:
    """The descriptor `handle`, which is closed where it is none of a file (or pipe)."""
    kind = stat.S_IFMT(os.fstat(handle).st_mode)
    if kind != stat.S_IFREG and not (or_pipe and kind == stat.S_IFIFO):
        os.close(handle)
        raise UnfitFile(f"is {_KINDS.get(kind, 'something else')}, not a file", name)
    return handle


def _whole(file: io.BufferedIOBase, most: int, name: Path) -> bytes:
    if os.fstat(file.fileno()).st_size > most:  # a sparse file costs whoever made it nothing
        raise _too_large(most, name)
    data = file.read(most + 1) or b""  # None: one of the kernel's own files, which has nothing to say yet
    if len(data) > most:
        raise _too_large(most, name)
    return data


def _from_pipe(handle: int, name: Path, most: int, within_s: float) -> bytes:
    """What comes out of a pipe until everybody who writes has closed it; one that nobody opened yet may still be."""
    data, over_s = bytearray(), time.monotonic() + within_s
    while (left_s := over_s - time.monotonic()) > 0:
        try:
            block = os.read(handle, BLOCK_BYTES)
        except BlockingIOError:
            select.select([handle], [], [], left_s)
            continue
        if not block and data:
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
