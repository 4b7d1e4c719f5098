"""Read the Kubernetes objects of a snapshot from whatever holds them: kubectl's output, dumps, trees, archives.

JSON and YAML; Lists, single objects, arrays, and streams of them. An object that occurs several times counts
once: the one with the newest resourceVersion, else the last.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from chaosext.cluster.object_files import file_hint
from chaosext.model.errors import Refused
from chaosext.rehearsal.snapshot.documents import Head
from chaosext.rehearsal.snapshot.input_files import Source, sources
from chaosext.rehearsal.snapshot.json_text import MOST_ITEMS, UNREADABLE, JsonText
from chaosext.rehearsal.snapshot.yaml_text import json_of_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from mmap import mmap

    from chaosext.rehearsal.snapshot.documents import Identity

HOW_TO = "make one with `chaosext snapshot -o FILE`, or with the kubectl commands that `chaosext rehearse --help` shows"

CALICO = "projectcalico.org"
"""API group of Calico's kinds, and the end of their other one, crd.projectcalico.org."""

CALICO_KINDS = ("BGPPeer", "BGPConfiguration", "IPPool", "FelixConfiguration")
"""Kinds that other projects define too; only those in Calico's API groups count."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("Node", "Pod", "Service", "Namespace", "ConfigMap"), ("",)),
    **dict.fromkeys(("Deployment", "ReplicaSet", "DaemonSet"), ("apps", "extensions")),
    "StatefulSet": ("apps",),
    "Job": ("batch",),
    "PodDisruptionBudget": ("policy",),
    "Lease": ("coordination.k8s.io",),
    "MutatingWebhookConfiguration": ("admissionregistration.k8s.io",),
    "ValidatingWebhookConfiguration": ("admissionregistration.k8s.io",),
    "Installation": ("operator.tigera.io",),
}
"""Kind -> the API groups in which it is the kind that is meant. Longhorn has a Node and Knative a Service, too."""

UNUSED = frozenset({"Event", "Secret", "ControllerRevision", "CustomResourceDefinition"})
"""Kinds that are not kept: dumps have many of them, or large ones."""

GATHERED = "/cluster-scoped-resources/"
"""Directory in the trees of `oc adm must-gather` and `oc adm inspect`."""

PLURALS: Mapping[str, tuple[str, str]] = {
    "nodes": ("Node", "v1"),
    "namespaces": ("Namespace", "v1"),
    "pods": ("Pod", "v1"),
    "services": ("Service", "v1"),
    "configmaps": ("ConfigMap", "v1"),
    "deployments": ("Deployment", "apps/v1"),
    "replicasets": ("ReplicaSet", "apps/v1"),
    "statefulsets": ("StatefulSet", "apps/v1"),
    "daemonsets": ("DaemonSet", "apps/v1"),
    "jobs": ("Job", "batch/v1"),
    "poddisruptionbudgets": ("PodDisruptionBudget", "policy/v1"),
}
"""Name of a file or its directory -> the kind of its objects, for dumps that leave the kind out.

Old releases of troubleshoot.sh (cluster-resources/pods/shop.json) and sonobuoy (core_v1_pods.json) do.
"""

MOST_OTHERS = 1000
"""After this many documents that are not objects, a file is taken for something else, such as a log."""

_START_OF_LOGS = re.compile(rb"==== START (logs for container [^\n]*?) ====\r?\n")
"""What `kubectl cluster-info dump` prints before the logs of a container (kubectl, pkg/cmd/clusterinfo)."""

_JSON_BEGINS = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\0]*[{\[]")
_SIGN_OF_OBJECTS = re.compile(rb"""["']?apiVersion["']?[ \t]*:""")

_Item: TypeAlias = "tuple[str, bytes | memoryview]"
"""File, and raw bytes of an object."""

Document = TypeVar("Document")


@dataclass(slots=True, kw_only=True)
class Listed:
    """The items of all files by kind, each as (file, raw bytes); Calico's Node has the kind `CalicoNode`.

    `declared`: kinds that a file says it looked for, even if none exist. `missed`: kind -> why it could not
    be read. `others`: (API group, kind) -> the first object of each, for groups that are not Kubernetes' own.
    `taken_at`: the time that a file states, or "". `doubles`: kind -> how many items were found again.
    `lists`: kind -> how many Lists of this kind alone there are, as a dump has one for each namespace.
    `is_gathered`: must-gather made it, which takes some namespaces only.
    """

    items: dict[str, list[_Item]] = field(default_factory=lambda: defaultdict(list))
    declared: set[str] = field(default_factory=set)
    missed: dict[str, str] = field(default_factory=dict)
    others: dict[tuple[str, str], str] = field(default_factory=dict)
    taken_at: str = ""
    version: str = ""
    doubles: Counter[str] = field(default_factory=Counter)
    lists: Counter[str] = field(default_factory=Counter)
    is_gathered: bool = False
    measured: Mapping[str, Any] = field(default_factory=dict)
    """What a diagnosis has measured beside the objects."""

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


class Reading:
    """What was read: how many files and objects, and, if asked for, the SHA-256 digest of the files together."""

    def __init__(self, *, hashes: bool = False) -> None:
        self.files = self.objects = self.passed_over = 0
        self._hashes, self._digest = hashes, sha256()

    def hashed(self, data: bytes | mmap) -> None:
        if self._hashes:
            self._digest.update(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def is_one_file(self) -> bool:
        return self.files + self.passed_over <= 1

    def __str__(self) -> str:
        more = f"; passed over {_files(self.passed_over)} without objects" if self.passed_over else ""
        return f"read {self.objects:,} objects from {_files(self.files)}{more}"


def _files(count: int) -> str:
    return f"{count:,} file{'s' * (count != 1)}"


def listed_of(text: str) -> Listed:
    """Read one snapshot that is in memory, Events included. Raises `Refused` if it has no Kubernetes objects."""
    listed = Listed()
    taking = _Taking(listed, with_events=True)
    try:
        for each in _lists(text.encode(), PurePosixPath("memory")):
            taking.take(each, "memory")
    except _Unreadable as error:
        raise Refused(f"the snapshot: {error}", HOW_TO) from None
    taking.finish()
    return listed


def read_files(paths: Sequence[Path], reading: Reading | None = None, *, with_events: bool = False) -> Listed:
    """Read all files, directories and archives; `-` is stdin. `with_events`: keep Events, too.

    Raises `Refused` for a named file that is unreadable, truncated, or has no Kubernetes objects. In
    directories and archives, files without objects are passed over, but not damaged ones with objects.
    """
    reading = reading or Reading()
    listed, found = Listed(), 0
    taking = _Taking(listed, with_events=with_events)
    try:
        for source in sources(paths, reading.hashed):
            if lists := _lists_of(source):
                found += len(lists)
                reading.files += 1
                listed.is_gathered |= GATHERED in source.name
                reading.objects += sum(taking.take(each, source.name) for each in lists)
            else:
                reading.passed_over += 1
    except OSError as error:
        name = error.filename or ", ".join(map(str, paths))
        raise Refused(f"{name}: {error.strerror or error}", file_hint(Path(name), HOW_TO)) from None
    taking.finish()
    if not found:
        raise Refused(f"{', '.join(map(str, paths))}: no file in it has Kubernetes objects", HOW_TO)
    return listed


# -- documents ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _List:
    """A Kubernetes List, or a single object as a List of one: the List's own fields, and the bytes of each item.

    `kind`: of the items that do not say, without the suffix List; "" for none.
    """

    items: Sequence[memoryview]
    kind: str = ""
    api_version: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)


class _Unreadable(ValueError):
    """There are no Kubernetes objects. `is_broken`: there is neither valid JSON nor valid YAML, so there may have been.

    In a directory, a file is passed over if it is merely something else.
    """

    def __init__(self, why: str, *, is_broken: bool) -> None:
        super().__init__(why)
        self.is_broken = is_broken


def _lists_of(source: Source) -> list[_List]:
    """Return the Lists and objects in a file; none for a file that is not named and has none. Raises `Refused`."""
    is_yaml = not _JSON_BEGINS.match(source.data)
    if is_yaml and not source.is_named and not _SIGN_OF_OBJECTS.search(source.data):
        return []  # of any size, and slow to parse
    try:
        return _lists(_utf8(source.data), PurePosixPath(source.name))
    except _Unreadable as error:
        if source.is_named or (error.is_broken and _SIGN_OF_OBJECTS.search(source.data)):
            raise Refused(f"{source.name}: {error}", HOW_TO) from None
        return []


def _utf8(data: bytes | mmap) -> bytes | mmap:
    """Return UTF-16, which PowerShell's `>` writes, as UTF-8, and everything else as it is."""
    if data[:2] not in (BOM_UTF16_LE, BOM_UTF16_BE):
        return data
    try:
        return data[:].decode("utf-16").encode()
    except UnicodeDecodeError as error:
        raise _Unreadable(f"invalid UTF-16 at byte {error.start:,}", is_broken=True) from None


def _lists(data: bytes | mmap, path: PurePosixPath) -> list[_List]:
    """Return what follows each other in a file, after a byte order mark, which some shells write."""
    text = JsonText(data)
    at = text.after_blanks(len(BOM_UTF8) if data[:3] == BOM_UTF8 else 0)
    if at == len(data):
        raise _Unreadable("the file is empty", is_broken=False)
    if text.byte(at) not in (b"{", b"["):
        data = _from_yaml(data)
        text = JsonText(data)
        at = text.after_blanks(0)
    found: list[_List] = []
    why_not, others, by_name = "it is an empty array", 0, _kind_by_name(path)
    while at < len(data):
        try:
            for begin in _elements(text, at):
                each = _list(text, begin, by_name)
                if isinstance(each, _List):
                    found.append(each)
                else:
                    why_not, others = why_not if others else each, others + 1
        except UNREADABLE as error:
            raise _unreadable(len(data), text.at, error) from None
        at = _after_logs(data, text)
        if len(found) > MOST_ITEMS:
            raise _Unreadable(f"it has more than {MOST_ITEMS:,} documents", is_broken=True)
        if others > MOST_OTHERS and not found:
            break
    if not found:
        raise _Unreadable(f"it has no Kubernetes objects: {why_not}", is_broken=False)
    return found


def _from_yaml(data: bytes | mmap) -> bytes:
    try:
        return json_of_yaml(data[:], UNUSED)
    except ValueError as error:
        raise _Unreadable(f"neither JSON nor YAML: {error!s:.300}", is_broken=True) from None


def _kind_by_name(path: PurePosixPath) -> tuple[str, str]:
    """Return kind and apiVersion of the objects in a file, by its name or its directory's; "" if unknown."""
    file = path.name.rpartition(": ")[2]  # after the name of an archive
    names = file.partition(".")[0].rpartition("_")[2], path.parent.name
    return next((PLURALS[name] for name in names if name in PLURALS), ("", ""))


def _elements(text: JsonText, at: int) -> Iterator[int]:
    """Yield the offset of the value at `at`, or of each element of an array."""
    if text.byte(at) == b"[":
        yield from text.elements(at, b"]")
    else:
        yield at


def _list(text: JsonText, at: int, by_name: tuple[str, str]) -> _List | str:
    """Return the List or object that begins at `at`, or why it is none. Raises `UNREADABLE`.

    `by_name`: kind and apiVersion of objects that do not say.
    """
    if text.byte(at) not in (b"{", b""):
        text.value(at)
        return "it is not an object"
    text.require_object(at)
    items: Sequence[memoryview] | None = None
    fields: dict[str, memoryview] = {}
    for key, begin in text.members(at):
        if key != "items":
            fields[key] = text.value(begin)
        elif text.byte(begin) == b"[":
            items = list(text.objects(begin))
        elif bytes(text.value(begin)[:8]).strip() == b"null":
            items = ()  # Go's empty List
        else:
            raise msgspec.ValidationError("Expected `array` - at `$.items`")
    own_kind, version = _text(fields, "kind"), _text(fields, "apiVersion") or by_name[1]
    kind = own_kind or by_name[0]
    if items is None:
        why, raw = _why_not_an_object(kind, fields), text.between(at, text.at)
        return why or _List(kind="" if own_kind else kind, api_version=version, items=(raw,))
    kind = kind.removesuffix("List")
    if items and not kind and not _head(items[0]).kind:
        return "item 1 has no kind"
    about = _field(fields, "chaosext", dict[str, Any])
    return _List(kind=kind, api_version=version, about=about or {}, items=items)


def _why_not_an_object(kind: str, fields: Mapping[str, memoryview]) -> str:
    if kind == "Status":
        return "a Status is an error of the API server"
    if kind.endswith("List"):
        return f"{kind} has no items"
    if not kind:
        return "it has no kind"
    return "" if fields.get("metadata", b"")[:1] == b"{" else f"{kind} has no metadata"


def _text(fields: Mapping[str, memoryview], name: str) -> str:
    return _field(fields, name, str) or ""


def _field(fields: Mapping[str, memoryview], name: str, type_: type[Document]) -> Document | None:
    return msgspec.json.decode(fields[name], type=type_ | None) if name in fields else None


_head = msgspec.json.Decoder(Head).decode


def _after_logs(data: bytes | mmap, text: JsonText) -> int:
    """Return the offset of the next document, after the logs that a dump has between documents."""
    at = text.after_blanks(text.at)
    while started := _START_OF_LOGS.match(data, at):
        marker = b"==== END " + started[1] + b" ===="
        end = data.find(marker, started.end())
        if end < 0:
            raise _Unreadable("the dump is truncated within a container's logs", is_broken=True)
        at = text.after_blanks(end + len(marker))
    return at


def _unreadable(size: int, at: int, error: Exception) -> _Unreadable:
    said = str(error)
    if isinstance(error, RecursionError):
        why = "the JSON is nested too deeply for a Kubernetes List"
    elif "truncated" in said:
        why = f"the JSON is truncated at byte {size:,}"
    elif isinstance(error, msgspec.ValidationError):
        why = f"JSON, but not a Kubernetes List ({said})"
    else:
        found = re.search(r"byte (\d+)", said)
        why = f"invalid JSON at byte {at + int(found[1] if found else 0):,} ({said})"
    return _Unreadable(why, is_broken=True)


# -- items -------------------------------------------------------------------------------------------------------


class _Taking:
    """Puts the items of Lists into `listed`, each object once."""

    def __init__(self, listed: Listed, *, with_events: bool = False) -> None:
        self._listed = listed
        self._unused = UNUSED - {"Event"} if with_events else UNUSED
        self._shelves: dict[tuple[str, str], _Shelf] = {}
        """(kind, apiVersion), and (chaosext's name, group) -> its objects; all versions of a kind share a shelf."""

    def take(self, found: _List, file: str) -> int:
        """Take all items and return their number. Raises `Refused` for one that is not an object."""
        listed, shelves = self._listed, self._shelves
        listed.declared.update(map(str, found.about.get("kinds") or ()))
        listed.missed.update(_missed(found.about.get("missed")))
        listed.taken_at = listed.taken_at or str(found.about.get("taken_at") or "")
        listed.version = listed.version or str(found.about.get("version") or "")
        listed.measured = listed.measured or found.about.get("measured") or {}
        if found.kind:  # the API's own list of one kind
            listed.declared.add(kind_of(found.kind, found.api_version))
            listed.lists[found.kind] += 1
        for number, raw in enumerate(found.items, 1):
            try:
                said = _head(raw)
            except UNREADABLE as error:
                raise Refused(f"{file}: item {number} is not a Kubernetes object ({error})", HOW_TO) from None
            kind, version = said.kind or found.kind, said.apiVersion or found.api_version
            if not kind:
                raise Refused(f"{file}: item {number} has no kind, so it is not a Kubernetes object", HOW_TO)
            if kind not in self._unused:
                shelf = shelves.get((kind, version)) or self._shelf(kind, version)
                shelf.put(said.metadata, (file, raw))
        return len(found.items)

    def _shelf(self, kind: str, api_version: str) -> _Shelf:
        name, group = kind_of(kind, api_version), group_of(api_version)
        is_ours = name in GROUPS or name in CALICO_KINDS
        key = name, "" if is_ours else group
        found = self._shelves.setdefault(key, _Shelf(kind=name, shown_as=kind))
        if "." in group and not group.endswith("k8s.io"):
            found.groups.add(group)
        self._shelves[kind, api_version] = found
        return found

    def finish(self) -> None:
        """Sort by kind, namespace and name, so that the order of files and Lists means nothing."""
        shelves = {id(shelf): (key, shelf) for key, shelf in sorted(self._shelves.items())}
        for _, shelf in shelves.values():
            self._listed.items[shelf.kind] += shelf.sorted()
            if shelf.doubles:
                self._listed.doubles[shelf.kind] += shelf.doubles
            for group in shelf.groups:
                self._listed.others[group, shelf.shown_as] = f"{shelf.shown_as}/{shelf.first}"
        self._listed.others = dict(sorted(self._listed.others.items()))


@dataclass(slots=True, kw_only=True)
class _Shelf:
    """The objects of one kind. `shown_as`: the API's name of it; `groups`: its API groups that are not Kubernetes'."""

    kind: str
    shown_as: str
    groups: set[str] = field(default_factory=set)
    doubles: int = 0
    _named: dict[tuple[str, str], tuple[_Item, str]] = field(default_factory=dict)
    _nameless: list[_Item] = field(default_factory=list)

    def put(self, meta: Identity, item: _Item) -> None:
        """Add an object, or keep the newer one of two versions."""
        if not meta.name:
            self._nameless.append(item)
            return
        key = meta.namespace, meta.name
        before = self._named.get(key)
        if before is not None:
            self.doubles += 1
            if 0 < _number(meta.resourceVersion) < _number(before[1]):
                return
        self._named[key] = item, meta.resourceVersion

    def sorted(self) -> list[_Item]:
        return [self._named[key][0] for key in sorted(self._named)] + self._nameless

    @property
    def first(self) -> str:
        return min((name for _, name in self._named), default="")


def _number(resource_version: str) -> int:
    """Return a resourceVersion as a number; 0 for none, which cannot be compared."""
    return int(resource_version) if len(resource_version) < 20 and resource_version.isdecimal() else 0


def _missed(said: Any) -> Mapping[str, str]:
    return {str(kind): str(why) for kind, why in said.items()} if isinstance(said, dict) else {}


def group_of(api_version: str) -> str:
    """Return the API group, "" for the core group."""
    group, slash, _ = api_version.partition("/")
    return group if slash else ""


def kind_of(kind: str, api_version: str) -> str:
    """Return chaosext's name of a kind: with its group if it only has the name of one of Kubernetes' or Calico's."""
    group = group_of(api_version)
    is_calicos = group == CALICO or group.endswith(f".{CALICO}")
    if kind == "Node" and is_calicos:
        return "CalicoNode"
    if kind in CALICO_KINDS:
        is_own = is_calicos or not group
    else:
        is_own = not group or kind not in GROUPS or group in GROUPS[kind]
    return kind if is_own else f"{kind}.{group}"


def _name(raw: bytes | memoryview) -> str:
    try:
        meta = _head(raw).metadata
    except UNREADABLE:
        return ""
    return "/".join(part for part in (meta.namespace, meta.name) if part)


def plain(raw: bytes | memoryview) -> Mapping[str, Any]:
    """Return an item as plain JSON, for kinds with few objects."""
    value: Mapping[str, Any] = msgspec.json.decode(raw)
    return value
