"""Snapshot files, read: any `kubectl get … -o json`, gzip too, several Lists in a file, several files."""

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
from chaosext.rehearsal.snapshot.documents import Head

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

HOW_TO = "make one with `chaosext snapshot -o FILE`, or with `kubectl get nodes,pods,… -A -o json > FILE`"

CALICO = "projectcalico.org"
"""Part of the apiVersion of Calico's kinds, in both of its API groups."""

CALICO_KINDS = ("BGPPeer", "BGPConfiguration", "IPPool", "FelixConfiguration")
"""Kinds that other projects have as well, and that count in Calico's groups only."""

PIPE_S = 600.0
"""How long a pipe may take: `kubectl get` may need minutes to begin."""

LARGEST_ZIPPED = 2 << 30
"""Bytes of a gzip file, and of what comes out of a pipe, neither of which can be mapped."""

MOST_ITEMS = 1_000_000
"""Of a List. A cluster has 150,000 Pods at most (kubernetes.io, "Considerations for large clusters")."""

SMALLEST_ITEM = len('{"metadata":{"name":"a"}}')

_BLANKS = re.compile(rb"[ \t\r\n]*")
_BETWEEN = re.compile(rb"[ \t\r\n]*([,\]}])[ \t\r\n]*")
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")

UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""What msgspec raises for bytes that are no JSON of the wanted shape."""

Document = TypeVar("Document")


@dataclass(slots=True, kw_only=True)
class Listed:
    """The items of all files by kind, each as its own bytes; Calico's Node is `CalicoNode`.

    `declared`: kinds that a file says it looked for, though there may be none; `missed`: kind -> why it could not.
    `taken_at`: as a file says, "".
    `others`: (API group, kind) -> the first object of each, of those that aren't Kubernetes' own.
    """

    items: dict[str, list[tuple[str, bytes | memoryview]]] = field(default_factory=lambda: defaultdict(list))
    declared: set[str] = field(default_factory=set)
    missed: dict[str, str] = field(default_factory=dict)
    others: dict[tuple[str, str], str] = field(default_factory=dict)
    taken_at: str = ""
    version: str = ""

    def of(self, kind: str, document: type[Document]) -> Iterator[Document]:
        """Every item of a kind. Raises `Refused`, naming file and item, for one that has another shape."""
        decode = msgspec.json.Decoder(document).decode
        for index, (file, raw) in enumerate(self.items.get(kind, ())):
            try:
                yield decode(raw)
            except UNREADABLE as error:
                name = _name(raw) or f"number {index + 1}"
                raise Refused(f"{file}: {kind} {name}: {error}", HOW_TO) from None

    def has(self, kind: str) -> bool:
        """Whether the snapshot tells of this kind, be it that there is none."""
        return kind in self.declared or bool(self.items.get(kind))


def read_files(paths: Sequence[Path]) -> Listed:
    """Raises `Refused` for a file that can't be read, is cut off, or is no Kubernetes List."""
    listed = Listed()
    for path in paths:
        for found in _lists(contents(path), path):
            _take(listed, found, str(path))
    return listed


def contents(path: Path) -> bytes | mmap:
    """A file's text, unzipped: mapped rather than read, as half a gigabyte is usual for a large cluster.

    Raises `Refused` for what can't be read, is no file or pipe, or is a gzip file that is damaged or a bomb.
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
    except ValueError:  # nothing to map
        return b""
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}", HOW_TO) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _List:
    """A Kubernetes List: what it says of itself, and where in its file each of its items is."""

    kind: str
    api_version: str
    about: Mapping[str, Any]
    items: Sequence[memoryview]


def _lists(data: bytes | mmap, path: Path) -> Iterator[_List]:
    """The Lists that stand one after the other in a file, after the mark that some shells begin it with."""
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
    """The List that begins at `at`, and where it ends. Raises `UNREADABLE`."""
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
    """JSON in a buffer, walked value by value: no value is made, and no memory taken, that nobody asked for.

    `at` is the place that was reached. Every method raises `UNREADABLE` where the text goes wrong.
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
        """The value that begins at `at`, as it is written."""
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
            _head(self._view[at:])  # which says what is there instead

    def members(self, at: int) -> Iterator[tuple[str, int]]:
        """The keys of the object at `at`, each with the place of its value, which the caller walks."""
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
        """The objects in the array that begins at `at`; anything else in it ends it at once."""
        for number, begin in enumerate(self._within(at, b"]"), 1):
            if number > MOST_ITEMS:
                raise msgspec.ValidationError(f"more than {MOST_ITEMS:,} items")
            found = self.value(begin) if self.byte(begin) in (b"{", b"") else None
            if found is None or len(found) < SMALLEST_ITEM:
                raise msgspec.ValidationError(f"item {number} is not a Kubernetes object")
            yield found

    def _within(self, at: int, closing: bytes) -> Iterator[int]:
        """The places between a bracket, commas and the `closing` one, where the caller walks a value each time."""
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
_head = msgspec.json.Decoder(Head).decode


def _end_of_first(error: Exception) -> int:
    """Where the next of several values begins (msgspec counts one further); 0 where something else is wrong."""
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
    if kind:  # a list of one kind, as the API itself gives it: its items don't repeat the kind
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
    """What an object's kind is called here: one that another project has as well is told apart by its API group."""
    if kind == "Node" and CALICO in api_version:
        return "CalicoNode"
    group = api_version.partition("/")[0]
    is_foreign = kind in CALICO_KINDS and group and CALICO not in group
    return f"{kind}.{group}" if is_foreign else kind


def _name(raw: bytes | memoryview) -> str:
    try:
        meta = msgspec.json.decode(raw, type=Head).metadata
    except UNREADABLE:
        return ""
    return "/".join(part for part in (meta.namespace, meta.name) if part)


def plain(raw: bytes | memoryview) -> Mapping[str, Any]:
    """An item as plain JSON, for kinds that are few."""
    value: Mapping[str, Any] = msgspec.json.decode(raw)
    return value
