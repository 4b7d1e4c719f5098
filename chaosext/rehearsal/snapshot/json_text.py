"""Walk JSON in a buffer value by value, without decoding or copying what the caller does not need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

MOST_ITEMS = 1_000_000
"""Maximum items of a List. A cluster has at most 150,000 Pods (kubernetes.io, "Considerations for large clusters")."""

SMALLEST_ITEM = len('{"metadata":{"name":"a"}}')

UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""Exceptions of msgspec for bytes that are not JSON of the expected shape."""

_BLANKS = re.compile(rb"[ \t\r\n]*")
_BETWEEN = re.compile(rb"[ \t\r\n]*([,\]}])[ \t\r\n]*")
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")

_skip = msgspec.json.Decoder(msgspec.Raw).decode


class _Anything(msgspec.Struct):
    """An object of any content."""


_require_object = msgspec.json.Decoder(_Anything).decode


class JsonText:
    """JSON in a buffer. `at` is the current offset. Every method raises `UNREADABLE` for invalid JSON."""

    def __init__(self, data: bytes | mmap) -> None:
        self._view, self.at = memoryview(data), 0

    def byte(self, at: int) -> bytes:
        return bytes(self._view[at : at + 1])

    def between(self, begin: int, end: int) -> memoryview:
        return self._view[begin:end]

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
            _require_object(self._view[at:])  # raises an error that says what is there instead

    def members(self, at: int) -> Iterator[tuple[str, int]]:
        """Yield each key of the object at `at` with the offset of its value, which the caller must walk."""
        seen: set[str] = set()
        for begin in self.elements(at, b"}"):
            key = msgspec.json.decode(self.value(begin), type=str)
            if key in seen:
                raise msgspec.ValidationError(f"key {key!r:.80} occurs twice")
            seen.add(key)
            if self.byte(self.after_blanks(self.at)) != b":":
                self._wrong("expected ':'")
            yield key, self.after_blanks(self.at + 1)

    def objects(self, at: int) -> Iterator[memoryview]:
        """Yield the objects of the array at `at`. Raises ValidationError for an item of another type."""
        for number, begin in enumerate(self.elements(at, b"]"), 1):
            found = self.value(begin) if self.byte(begin) in (b"{", b"") else None
            if found is None or len(found) < SMALLEST_ITEM:
                raise msgspec.ValidationError(f"item {number} is not a Kubernetes object")
            yield found

    def elements(self, at: int, closing: bytes) -> Iterator[int]:
        """Yield the offset of each element of the array or object at `at`, which the caller must walk each time."""
        begin, number = self.after_blanks(at + 1), 0
        if self.byte(begin) == closing:
            self.at = begin + 1
            return
        while True:
            number += 1
            if number > MOST_ITEMS:
                raise msgspec.ValidationError(f"more than {MOST_ITEMS:,} items")
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


def _end_of_first(error: Exception) -> int:
    """Return where the value after the first begins (msgspec counts from 1), or 0 for any other error."""
    match = _TRAILING.search(str(error))
    return int(match[1]) - 1 if match else 0
