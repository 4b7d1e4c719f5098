"""Snapshot files, read: any `kubectl get … -o json`, gzip too, several Lists in a file, several files."""

from __future__ import annotations

import gzip
import re
import zlib
from codecs import BOM_UTF8
from collections import defaultdict
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from os import fstat
from stat import S_ISREG
from typing import TYPE_CHECKING, TypeVar

import msgspec

from chaosext.model.errors import Refused
from chaosext.rehearsal.documents import Head, Listing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

GZIP_MAGIC = b"\x1f\x8b"

HOW_TO = "make one with `chaosext snapshot -o FILE`, or with `kubectl get nodes,pods,… -A -o json > FILE`"

CALICO = "projectcalico.org"
"""Part of the apiVersion of Calico's kinds, in both of its API groups."""

CALICO_KINDS = ("BGPPeer", "BGPConfiguration", "IPPool", "FelixConfiguration")
"""Kinds that other projects have as well, and that count in Calico's groups only."""

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
        _read_file(listed, path)
    return listed


def _read_file(listed: Listed, path: Path) -> None:
    data = _contents(path)
    for document in _documents(data, path):
        _take(listed, document, str(path))


def _contents(path: Path) -> bytes | mmap:
    """A file's bytes: mapped rather than read, as half a gigabyte is usual for a large cluster; a pipe's are read."""
    try:
        with path.open("rb") as file:
            is_file = S_ISREG(fstat(file.fileno()).st_mode)
            data = mmap(file.fileno(), 0, access=ACCESS_READ) if is_file else file.read()
            return gzip.decompress(data) if data[:2] == GZIP_MAGIC else data
    except ValueError:  # nothing to map
        return b""
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Refused(f"{path}: the gzip file is cut off or damaged ({error})", HOW_TO) from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}", HOW_TO) from None


def _documents(data: bytes | mmap, path: Path) -> Iterator[Listing]:
    """The JSON values that stand one after the other in a file, after the mark that some shells begin it with."""
    begins = len(BOM_UTF8) if data[:3] == BOM_UTF8 else 0
    rest, offset = memoryview(data)[begins:], begins
    decode = msgspec.json.Decoder(Listing).decode
    while bytes(rest[:64]).strip() or len(rest) > 64:
        try:
            yield decode(rest)
            return
        except UNREADABLE as error:
            end = _end_of_first(error)
            if not end:
                raise _refusal(path, data, offset, error) from None
        yield decode(rest[:end])
        rest, offset = rest[end:], offset + end
    if offset == begins:
        raise Refused(f"{path}: the file is empty", HOW_TO)


def _end_of_first(error: Exception) -> int:
    """Where the next of several values begins (msgspec counts one further); 0 where something else is wrong."""
    match = _TRAILING.search(str(error))
    return int(match[1]) - 1 if match else 0


def _refusal(path: Path, data: bytes | mmap, offset: int, error: Exception) -> Refused:
    said = str(error)
    if isinstance(error, RecursionError):
        return Refused(f"{path}: JSON that is nested too deeply is no Kubernetes List", HOW_TO)
    if "truncated" in said:
        return Refused(
            f"{path}: the JSON is cut off at its end, byte {len(data):,}; the file is not whole", HOW_TO
        )
    if isinstance(error, msgspec.ValidationError):
        return Refused(f"{path}: JSON, but no Kubernetes List ({said})", HOW_TO)
    found = re.search(r"byte (\d+)", said)
    where = f" at byte {offset + int(found[1]):,}" if found else ""
    return Refused(f"{path}: no JSON{where} ({said})", HOW_TO)


def _take(listed: Listed, document: Listing, file: str) -> None:
    about = document.chaosext or {}
    listed.declared.update(map(str, about.get("kinds") or ()))
    listed.missed.update(_missed(about.get("missed")))
    listed.taken_at = listed.taken_at or str(about.get("taken_at") or "")
    listed.version = listed.version or str(about.get("version") or "")
    if document.items is None:
        raise Refused(f"{file}: {document.kind or 'JSON'} is no List: it has no items", HOW_TO)
    kind = document.kind.removesuffix("List")
    if kind:  # a list of one kind, as the API itself gives it: its items don't repeat the kind
        listed.declared.add(_kind(kind, document.apiVersion))
    head = msgspec.json.Decoder(Head).decode
    for index, raw in enumerate(document.items):
        try:
            said = head(raw)
        except UNREADABLE as error:
            raise Refused(f"{file}: item {index + 1} is no Kubernetes object ({error})", HOW_TO) from None
        version = said.apiVersion or document.apiVersion
        name = _kind(said.kind or kind, version)
        if not name:
            raise Refused(f"{file}: item {index + 1} says no kind, so it is no Kubernetes object", HOW_TO)
        group = version.partition("/")[0]
        if "." in group and not group.endswith("k8s.io"):
            listed.others.setdefault((group, said.kind or kind), f"{said.kind or kind}/{said.metadata.name}")
        listed.items[name].append((file, memoryview(raw)))


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
