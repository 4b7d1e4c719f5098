"""The audit log as text: entries that contain the hash of their predecessor, and the verification of a chain. Pure.

A line is `{"seq":7,"prev":"<hash of entry 6>","at":…,"event":…,…,"hash":"<64 hex digits>"}`; `hash` is the
SHA-256 of the line without that last member, byte for byte. A chain alone does not show that its end was cut
off. The `Head` shows it and, if that was reset as well, receipts kept elsewhere (each run's result.json has
the number and hash of its last entry).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import TYPE_CHECKING, Any

from chaosext.model.bounded_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOTHING = "0" * 64
"""The previous hash of the first entry."""

TORN = "torn"
"""Event: the bytes before this entry are an incomplete line of a process that died while writing."""

_HASH = b',"hash":"'
_HASH_END = b'"}'


class Wrong(StrEnum):
    """What can be wrong with a chain."""

    ALTERED = "altered"
    MISSING = "missing"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    TORN = "torn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The first fault: its line (1 is the first), its kind, and how it shows."""

    line: int
    what: Wrong
    detail: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}: {self.detail}"

    def to_json(self) -> dict[str, Any]:
        return {"line": self.line, "what": self.what.value, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """The end of a chain: number and hash of its last entry, and the log's size in bytes up to there."""

    seq: int = 0
    hash: str = NOTHING
    size: int = 0

    def to_json(self) -> dict[str, Any]:
        return {"seq": self.seq, "hash": self.hash, "size": self.size}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ChainHead:
        """Parse the output of `to_json`. Raises ValueError for anything else."""
        seq, digest, size = (value.get(key) for key in ("seq", "hash", "size"))
        if not isinstance(digest, str) or type(seq) is not int or type(size) is not int or min(seq, size) < 0:
            raise ValueError("no head of a chain")
        return cls(seq=seq, hash=digest, size=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainEntry:
    """A complete line: its number in the file, its content, and the chain's head after it."""

    line: int
    says: Mapping[str, Any]
    end: ChainHead

    @property
    def seq(self) -> int:
        return self.end.seq


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The content of a log. `torn`: incomplete bytes after the last entry; `fault`: None for an intact chain.

    `unended`: the last entry is complete except for its line break.
    """

    entries: tuple[ChainEntry, ...]
    torn: bytes = b""
    unended: bool = False
    fault: Fault | None = None


def link(says: Mapping[str, Any], after: ChainHead) -> tuple[bytes, ChainHead]:
    """Return the line with the content `says` that follows `after`, and the chain's head after it."""
    body = _text({"seq": after.seq + 1, "prev": after.hash, **says})
    digest = hashlib.sha256(body).hexdigest()
    line = body[:-1] + _HASH + digest.encode() + _HASH_END + b"\n"
    return line, ChainHead(seq=after.seq + 1, hash=digest, size=after.size + len(line))


def account_for(torn: bytes) -> dict[str, Any]:
    """The content of an entry that accounts for incomplete bytes before it: a crash, not tampering."""
    return {"event": TORN, "torn_bytes": len(torn), "torn_sha256": hashlib.sha256(torn).hexdigest()}


def read(data: bytes, *, after: ChainHead | None = None) -> Chain:
    """Parse the chain in `data`, which begins right after `after` (default: the beginning of the log)."""
    return _Reading(data, after or ChainHead()).chain()


def verify(data: bytes, head: ChainHead | None) -> Chain:
    """Check a whole log against its head; `head` is None without a head file.

    A head is written before the first entry, and after each one: after a crash it may be one entry behind.
    """
    chain = read(data)
    fault = chain.fault or (_beheaded(chain) if head is None else _against(chain, head, len(data)))
    return Chain(entries=chain.entries, torn=chain.torn, unended=chain.unended, fault=fault)


def _beheaded(chain: Chain) -> Fault | None:
    if not chain.entries and not chain.torn:
        return None
    return _fault(len(chain.entries) + 1, Wrong.TRUNCATED, "the head file is missing: the end may be cut off")


def _against(chain: Chain, head: ChainHead, size: int) -> Fault | None:
    ends = {0: ChainHead()} | {entry.seq: entry.end for entry in chain.entries}
    last = max(ends)
    line = chain.entries[-1].line if chain.entries else 0
    if head.seq in ends and head.hash != ends[head.seq].hash:
        return _fault(line, Wrong.ALTERED, f"entry {head.seq} is not the one in the head file")
    if head.seq > last or head.size > size:
        return _fault(line + 1, Wrong.TRUNCATED, f"{last} of {head.seq} entries are whole, by the head file")
    if head.size != ends[head.seq].size:
        return _fault(line, Wrong.ALTERED, f"entry {head.seq} does not end where the head file says")
    if head.seq < last - 1:
        return _fault(line, Wrong.ALTERED, f"the head file stayed behind, at entry {head.seq} of {last}")
    return None


class _Reading:
    """One pass over a log. Bytes that are not an entry are kept in `torn` for the entry that accounts for them."""

    def __init__(self, data: bytes, after: ChainHead) -> None:
        self.data, self.head = data, after
        self.entries: list[ChainEntry] = []
        self.torn = bytearray()
        self.torn_line = 0

    def chain(self) -> Chain:
        fault = None
        for number, raw in enumerate(BytesIO(self.data), 1):
            if fault := self._take(number, raw):
                break
        fault = fault or self._torn_end()
        unended = bool(self.entries) and not self.torn and not self.data.endswith(b"\n")
        return Chain(entries=tuple(self.entries), torn=bytes(self.torn), unended=unended, fault=fault)

    def _take(self, number: int, raw: bytes) -> Fault | None:
        found = _entry(raw.removesuffix(b"\n"))
        if found is None:
            self.torn_line = self.torn_line or number
            self.torn += raw
            return None
        says, digest = found
        if fault := self._unaccounted(number, says) or self._out_of_place(number, says):
            return fault
        size = self.head.size + len(self.torn) + len(raw.removesuffix(b"\n")) + 1
        self.head = ChainHead(seq=self.head.seq + 1, hash=digest, size=size)
        self.entries.append(ChainEntry(line=number, says=says, end=self.head))
        self.torn, self.torn_line = bytearray(), 0
        return None

    def _unaccounted(self, number: int, says: Mapping[str, Any]) -> Fault | None:
        accounted = says.get("event") == TORN
        if self.torn and not accounted:
            what = Wrong.TORN if self._may_be_torn() else Wrong.ALTERED
            return _fault(self.torn_line, what, "no whole entry, and the next one does not account for it")
        expected = account_for(bytes(self.torn))
        if accounted and any(says.get(key) != value for key, value in expected.items()):
            return _fault(self.torn_line or number, Wrong.ALTERED, "not the torn line that was accounted for")
        return None

    def _out_of_place(self, number: int, says: Mapping[str, Any]) -> Fault | None:
        expected, seq = self.head.seq + 1, says["seq"]
        if seq != expected:
            elsewhere = seq < expected or expected in set(self._numbers())
            what = Wrong.REORDERED if elsewhere else Wrong.MISSING
            return _fault(number, what, f"entry {seq} stands where entry {expected} belongs")
        if says["prev"] != self.head.hash:
            before = self.entries[-1].line if self.entries else number
            return _fault(
                before, Wrong.ALTERED, f"its hash is not the one that line {number} was written after"
            )
        return None

    def _torn_end(self) -> Fault | None:
        if not self.torn or self._may_be_torn():
            return None
        return _fault(self.torn_line, Wrong.ALTERED, "no whole entry, and not the beginning of the next one")

    def _may_be_torn(self) -> bool:
        """Whether each line is the beginning of an entry at exactly this position, as left by a crash.

        Blocks lost by a machine before they reached the disk may read as zeros.
        """
        start = _text({"seq": self.head.seq + 1, "prev": self.head.hash})[:-1] + b","
        lines = bytes(self.torn).removesuffix(b"\n").split(b"\n")
        return all(line and _begins_alike(line.rstrip(b"\0"), start) for line in lines)

    def _numbers(self) -> Iterator[int]:
        lines = (_entry(line) for line in self.data.split(b"\n"))
        return (found[0]["seq"] for found in lines if found)


def _entry(line: bytes) -> tuple[dict[str, Any], str] | None:
    """Return a line's content and hash; None if it is incomplete or does not match its hash."""
    body, _, rest = line.rpartition(_HASH)
    digest = rest.removesuffix(_HASH_END)
    if rest != digest + _HASH_END or hashlib.sha256(body + b"}").hexdigest().encode() != digest:
        return None
    try:
        says = parse_json(body + b"}")
    except ValueError:
        return None
    whole = isinstance(says, dict) and isinstance(says.get("seq"), int) and isinstance(says.get("prev"), str)
    return (says, digest.decode()) if whole else None


def _begins_alike(one: bytes, other: bytes) -> bool:
    return one.startswith(other) or other.startswith(one)


def _text(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _fault(line: int, what: Wrong, detail: str) -> Fault:
    return Fault(line=line, what=what, detail=detail)
