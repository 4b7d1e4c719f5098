"""JSON that somebody else wrote, read within bounds: of size, depth, number of values and size of a number.

YAML is read within the same bounds (cluster/documents.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

MOST_DEPTH = 100
"""Of mappings and lists in each other. Kubernetes' own objects have less than 30, a journal has 12."""

MOST_VALUES = 100_000
"""Of one document that people write, aliases counted as often as they are used."""

LONGEST_NUMBER = 32
"""Digits and signs of a number; 64 bits have at most 20."""

JSON_BYTES = 32 << 20
"""Of one file of JSON that a run has written: the journal of a run on thousands of nodes has a few MiB."""

MOST_JSON_COST = 2_000_000
"""Of such a file's values: about 64 bytes of memory each, four times as much for a mapping (CPython, sys.getsizeof)."""


class BeyondBounds(ValueError):
    """The text could be read, and its value would be larger than anything that is meant."""


def parse_json(data: str | bytes | bytearray) -> Any:
    """The value in `data`; a key that stands twice in an object is an error: the last one would win in silence.

    Raises ValueError for what is not JSON, not UTF-8, or beyond the bounds.
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
    """Raise `BeyondBounds` where `value` has more than `most` mappings and lists in each other."""
    level: list[Any] = [value]
    for _ in range(most + 1):
        level = [each for outer in level for each in _members(outer) if isinstance(each, Mapping | list)]
        if not level:
            return
    raise BeyondBounds("nested too deeply")


def number_fits(text: str) -> str:
    """`text`, unless it is a number of more digits than any that is meant: those take time, and memory, to read."""
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
