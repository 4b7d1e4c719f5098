"""Parse untrusted JSON within bounds on size, depth, number of values and length of numbers.

YAML is parsed within the same bounds (cluster/object_files.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from chaosext.model.errors import BEYOND

MOST_DEPTH = 100
"""Nesting depth of mappings and lists. Kubernetes' own objects stay below 30; a journal reaches 12."""

MOST_VALUES = 100_000
"""Values in one hand-written document. A YAML alias counts each time it is used."""

LONGEST_NUMBER = 32
"""Characters of a number, sign included. A 64-bit number has at most 20."""

JSON_BYTES = 32 << 20
"""Bytes of one JSON file written by a run. The journal of a run on thousands of nodes has a few MiB."""

MOST_JSON_COST = 2_000_000
"""Values in such a file. Each costs about 64 bytes of memory, a mapping four times that (CPython, sys.getsizeof)."""


Finite = Annotated[float, Meta(ge=-BEYOND, le=BEYOND)]
"""A number that `model.errors.finite` accepts, as a type for msgspec; neither NaN nor infinite."""

Count = Annotated[int, Meta(ge=0)]


class BeyondBounds(ValueError):
    """The text is readable, but its value is larger than any legitimate one."""


def parse_json(data: str | bytes | bytearray) -> Any:
    """Parse `data`. A duplicate key in an object is an error, because the last one would silently win.

    Raises ValueError for anything that is not JSON, not UTF-8, or beyond the bounds.
    """
    text = data if isinstance(data, str) else data.decode("utf-8-sig")
    nested = text.count("[") + text.count("{")
    if text.count(",") + nested + 3 * text.count("{") > MOST_JSON_COST:
        raise BeyondBounds(f"more than {MOST_JSON_COST:,} values")
    try:
        value = _decode(text)
    except RecursionError:
        raise BeyondBounds("nested too deeply") from None
    if nested > MOST_DEPTH:
        require_depth(value)
    return value


def require_depth(value: Any, most: int = MOST_DEPTH) -> None:
    """Raise `BeyondBounds` if mappings and lists in `value` are nested more than `most` levels deep."""
    level: list[Any] = [value]
    for _ in range(most + 1):
        level = [each for outer in level for each in _members(outer) if isinstance(each, Mapping | list)]
        if not level:
            return
    raise BeyondBounds("nested too deeply")


def number_fits(text: str) -> str:
    """Return `text` unless it is too long for a number: very long numbers take much time and memory to parse."""
    if len(text) > LONGEST_NUMBER:
        raise BeyondBounds(f"a number of {len(text):,} characters")
    return text


def _members(value: Any) -> Any:
    return value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"key {twice!r:.80} occurs twice")
    return found


_decode = json.JSONDecoder(object_pairs_hook=_once, parse_int=lambda text: int(number_fits(text))).decode
