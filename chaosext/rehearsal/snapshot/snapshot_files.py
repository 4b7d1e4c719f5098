"""Read snapshot files: any `kubectl get … -o json` output, gzip too, several Lists in a file, several files."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections import defaultdict
from dataclasses import dataclass, field
from io import BytesIO
from mmap import ACCESS_READ, mmap
from os import fstat
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import msgspec

from chaosext.model.errors import Refused
from chaosext.model.files import GZIP_MAGIC, UnfitFile, opened, read_opened, unzipped
from chaosext.rehearsal.snapshot.documents import ObjectMeta

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

HOW_TO = "make one with `chaosext snapshot -o FILE`, or with `kubectl get nodes,pods,… -A -o json > FILE`"

CALICO = "projectcalico.org"
"""Substring of the apiVersion of Calico's kinds, in both of its API groups."""

CALICO_KINDS = ("BGPPeer", "BGPConfiguration", "IPPool", "FelixConfiguration")
"""Kinds that other projects define too; only those in Calico's API groups count."""

PIPE_S = 600.0
"""Maximum time to read a pipe; `kubectl get` may take minutes to start its output."""

LARGEST_ZIPPED = 2 << 30
"""Maximum bytes of a gzip file or of a pipe's output, neither of which can be memory-mapped."""

MOST_ITEMS = 1_000_000
"""Maximum items of a List. A cluster has at most 150,000 Pods (kubernetes.io, "Considerations for large clusters")."""

SMALLEST_ITEM = len('{"metadata":{"name":"a"}}')

_BLANKS = re.compile(rb"[ \t\r\n]*")
_BETWEEN = re.compile(rb"[ \t\r\n]*([,\]}])[ \t\r\n]*")
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")

UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""Exceptions of msgspec for bytes that are not JSON of the expected shape."""

Document = TypeVar("Document")


@dataclass(slots=True, kw_only=True)
class Listed:
    """The items of all files by kind, each as (file, raw bytes); Calico's Node has the kind `CalicoNode`.

    `declared`: kinds that a file says it looked for, even if none exist. `missed`: kind -> why it could not
    be read. `others`: (API group, kind) -> the first object of each, for groups that are not Kubernetes' own.
    `taken_at`: the time that a file states, or "".
    """

    items: dict[str, list[tuple[str, bytes | memoryview]]] = field(default_factory=lambda: defaultdict(list))
    declared: set[str] = field(default_factory=set)
    missed: dict[str, str] = field(default_factory=dict)
    others: dict[tuple[str, str], str] = field(default_factory=dict)
    taken_at: str = ""
    version: str = ""

    def of(self, kind: str, document: type[Document]) -> Iterator[Document]:
        """Yield every item of a kind. Raises `Refused`, naming file and item, for an item of another shape."""
        decode = msgspec.json.Decoder(document).decode
        for index, (file, raw) in enumerate(self.items.get(kind, ())):
            try:
                yield decode(raw)
            except UNREADABLE as error:
                name = _name(raw) or f"number {index + 1}"
                raise Refused(f"{file}: {kind} {name}: {error}", HOW_TO) from None

    def has(self, kind: str) -> bool:
        """Whether the snapshot covers this kind, even with zero objects."""
        return kind in self.declared or bool(self.items.get(kind))


def read_files(paths: Sequence[Path]) -> Listed:
    """Read all files. Raises `Refused` for a file that is unreadable, truncated, or not a Kubernetes List."""
    listed = Listed()
    for path in paths:
        for found in _lists(contents(path), path):
            _take(listed, found, str(path))
    return listed


def contents(path: Path) -> bytes | mmap:
    """Return a file's content, unzipped. Plain files are memory-mapped: half a gigabyte is usual for a large cluster.

    Raises `Refused` if the path is unreadable, is neither a file nor a pipe, or is a damaged or malicious
    gzip file.
    """
    try:
        with opened(path) as file:
            about = fstat(file.fileno())
            if not S_ISREG(about.st_mode):
                data = read_opened(file, path, most=LARGEST_ZIPPED, within_s=PIPE_S)
                return b"".join(unzipped(BytesIO(data), path)) if data[:2] == GZIP_MAGIC else data
            if file.peek(2)[:2] != GZIP_MAGIC:
                return mmap(file.fileno(), 0, access=ACCESS_READ)
            if about.st_size > LARGEST_ZIPPED:
                raise UnfitFile(f"is larger than {LARGEST_ZIPPED >> 30} GiB", path)
            return b"".join(unzipped(file, path))
    except ValueError:  # mmap refuses an empty file
        return b""
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}", HOW_TO) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _List:
    """A Kubernetes List: its own fields, and the bytes of each item."""

    kind: str
    api_version: str
    about: Mapping[str, Any]
    items: Sequence[memoryview]


def _lists(data: bytes | mmap, path: Path) -> Iterator[_List]:
    """Yield the Lists that follow each other in a file, after a byte order mark, which some shells write."""
    text = _Text(data)
    at = begins = text.after_blanks(len(BOM_UTF8) if data[:3] == BOM_UTF8 else 0)
    while at < len(data):
        try:
            found, at = _list(text, at)
        except UNREADABLE as error:
            raise _refusal(path, len(data), text.at, error) from None
        yield found
        at = text.after_blanks(at)
    if at == begins:
        raise Refused(f"{path}: the file is empty", HOW_TO)


def _list(text: _Text, at: int) -> tuple[_List, int]:
    """Return the List that begins at `at`, and the offset of its end. Raises `UNREADABLE`."""
    text.require_object(at)
    items: list[memoryview] | None = None
    fields: dict[str, memoryview] = {}
    for key, begin in text.members(at):
        if key == "items" and text.byte(begin) == b"[":
            items = list(text.objects(begin))
        else:
            fields[key] = text.value(begin)
    kind, version = (_field(fields, name, str) for name in ("kind", "apiVersion"))
    about = _field(fields, "chaosext", dict[str, Any])
    if items is None:
        raise msgspec.ValidationError(
            "Expected `array` - at `$.items`"
            if "items" in fields
            else f"{kind or 'JSON'} is not a List: it has no items"
        )
    return _List(kind=kind or "", api_version=version or "", about=about or {}, items=items), text.at


def _field(fields: Mapping[str, memoryview], name: str, type_: type[Document]) -> Document | None:
    return msgspec.json.decode(fields[name], type=type_ | None) if name in fields else None


class _Text:
    """JSON in a buffer, walked value by value, without decoding or copying values that the caller does not need.

    `at` is the current offset. Every method raises `UNREADABLE` for invalid JSON.
    """

    def __init__(self, data: bytes | mmap) -> None:
        self._view, self.at = memoryview(data), 0

    def byte(self, at: int) -> bytes:
        return bytes(self._view[at : at + 1])

    def after_blanks(self, at: int) -> int:
        found = _BLANKS.match(self._view, at)
        self.at = found.end() if found else at
        return self.at

    def value(self, at: int) -> memoryview:
        """Return the bytes of the value that begins at `at`."""
        self.at = at
        rest = self._view[at:]
        try:
            _skip(rest)
        except UNREADABLE as error:
            end = _end_of_first(error)
            if not end:
                raise
            rest = rest[:end]
        self.at = at + len(rest)
        return rest

    def require_object(self, at: int) -> None:
        self.at = at
        if self.byte(at) != b"{":
            _head(self._view[at:])  # raises an error that says what is there instead

    def members(self, at: int) -> Iterator[tuple[str, int]]:
        """Yield each key of the object at `at` with the offset of its value, which the caller must walk."""
        seen: set[str] = set()
        for begin in self._within(at, b"}"):
            key = msgspec.json.decode(self.value(begin), type=str)
            if key in seen:
                raise msgspec.ValidationError(f"key {key!r:.80} occurs twice")
            seen.add(key)
            if self.byte(self.after_blanks(self.at)) != b":":
                self._wrong("expected ':'")
            yield key, self.after_blanks(self.at + 1)

    def objects(self, at: int) -> Iterator[memoryview]:
        """Yield the objects of the array at `at`. Raises ValidationError for an item of another type."""
        for number, begin in enumerate(self._within(at, b"]"), 1):
            if number > MOST_ITEMS:
                raise msgspec.ValidationError(f"more than {MOST_ITEMS:,} items")
            found = self.value(begin) if self.byte(begin) in (b"{", b"") else None
            if found is None or len(found) < SMALLEST_ITEM:
                raise msgspec.ValidationError(f"item {number} is not a Kubernetes object")
            yield found

    def _within(self, at: int, closing: bytes) -> Iterator[int]:
        """Yield the offset of each element up to the `closing` bracket; the caller must walk the value each time."""
        begin = self.after_blanks(at + 1)
        if self.byte(begin) == closing:
            self.at = begin + 1
            return
        while True:
            yield begin
            found = _BETWEEN.match(self._view, self.at)
            if found is None or found[1] not in (b",", closing):
                self._wrong("expected ',' or the end")
            if found[1] == closing:
                self.at = found.end(1)
                return
            begin = self.at = found.end()

    def _wrong(self, what: str) -> NoReturn:
        is_over = self.after_blanks(self.at) >= len(self._view)
        raise msgspec.DecodeError("Input data was truncated" if is_over else what)


_skip = msgspec.json.Decoder(msgspec.Raw).decode
_head = msgspec.json.Decoder(ObjectMeta).decode


def _end_of_first(error: Exception) -> int:
    """Return where the value after the first begins (msgspec counts from 1), or 0 for any other error."""
    match = _TRAILING.search(str(error))
    return int(match[1]) - 1 if match else 0


def _refusal(path: Path, size: int, at: int, error: Exception) -> Refused:
    said = str(error)
    if isinstance(error, RecursionError):
        return Refused(f"{path}: the JSON is nested too deeply for a Kubernetes List", HOW_TO)
    if "truncated" in said:
        return Refused(f"{path}: the JSON is truncated at byte {size:,}", HOW_TO)
    if isinstance(error, msgspec.ValidationError):
        return Refused(f"{path}: JSON, but not a Kubernetes List ({said})", HOW_TO)
    found = re.search(r"byte (\d+)", said)
    return Refused(f"{path}: invalid JSON at byte {at + int(found[1] if found else 0):,} ({said})", HOW_TO)


def _take(listed: Listed, found: _List, file: str) -> None:
    listed.declared.update(map(str, found.about.get("kinds") or ()))
    listed.missed.update(_missed(found.about.get("missed")))
    listed.taken_at = listed.taken_at or str(found.about.get("taken_at") or "")
    listed.version = listed.version or str(found.about.get("version") or "")
    kind = found.kind.removesuffix("List")
    if kind:  # the API's own list of one kind: its items do not repeat the kind
        listed.declared.add(_kind(kind, found.api_version))
    for number, raw in enumerate(found.items, 1):
        try:
            said = _head(raw)
        except UNREADABLE as error:
            raise Refused(f"{file}: item {number} is not a Kubernetes object ({error})", HOW_TO) from None
        version = said.apiVersion or found.api_version
        name = _kind(said.kind or kind, version)
        if not name:
            raise Refused(f"{file}: item {number} has no kind, so it is not a Kubernetes object", HOW_TO)
        group = version.partition("/")[0]
        if "." in group and not group.endswith("k8s.io"):
            listed.others.setdefault((group, said.kind or kind), f"{said.kind or kind}/{said.metadata.name}")
        listed.items[name].append((file, raw))


def _missed(said: Any) -> Mapping[str, str]:
    return {str(kind): str(why) for kind, why in said.items()} if isinstance(said, dict) else {}


def _kind(kind: str, api_version: str) -> str:
    """Return chaosext's name of a kind; kinds that several projects define are distinguished by API group."""
    if kind == "Node" and CALICO in api_version:
        return "CalicoNode"
    group = api_version.partition("/")[0]
    is_foreign = kind in CALICO_KINDS and group and CALICO not in group
    return f"{kind}.{group}" if is_foreign else kind


def _name(raw: bytes | memoryview) -> str:
    try:
        meta = msgspec.json.decode(raw, type=ObjectMeta).metadata
    except UNREADABLE:
        return ""
    return "/".join(part for part in (meta.namespace, meta.name) if part)


def plain(raw: bytes | memoryview) -> Mapping[str, Any]:
    """Return an item as plain JSON, for kinds with few objects."""
    value: Mapping[str, Any] = msgspec.json.decode(raw)
    return value
