"""What must not be said: values known to be secret are taken out of every text that leaves this process.

This is the second of two layers. The first (run/judging/redaction.py) keeps only what is known to be harmless; this one
catches a secret that came into a harmless place: a title, a name, a finding that quotes an answer.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

REDACTED = "(redacted)"

SHORTEST = 4
"""Values of fewer characters are let through: without them no text could be read, and they keep no secret."""

SHORTEST_LINE = 16
"""Of a value of several lines (a key) each line of as many characters is hidden by itself, too."""


def pattern_of(values: Iterable[str]) -> re.Pattern[str] | None:
    """Matches each of `values` as it is and as texts carry it: escaped, quoted, in Base64; None where there is none."""
    forms = {form for value in values if len(value) >= SHORTEST for form in _forms(value)}
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(re.escape, longest_first))) if forms else None


def without(pattern: re.Pattern[str] | None, text: str) -> str:
    """`text` with every match of `pattern` taken out."""
    return pattern.sub(REDACTED, text) if pattern else text


def _forms(value: str) -> Iterator[str]:
    for part in (value, *(line for line in value.splitlines() if len(line) >= SHORTEST_LINE)):
        raw = part.encode(errors="surrogatepass")
        yield from (
            part,
            json.dumps(part)[1:-1],
            json.dumps(part, ensure_ascii=False)[1:-1],
            repr(part)[1:-1],
        )
        yield from (quote(raw, safe=""), quote(raw), quote_plus(raw))
        yield base64.b64encode(raw).decode().rstrip("=")


_values: frozenset[str] = frozenset()
_pattern: re.Pattern[str] | None = None
_changing = threading.Lock()


def hide(values: Iterable[str]) -> None:
    """From here on none of `values` is said by this process."""
    global _values, _pattern
    with _changing:
        _values |= frozenset(values)
        _pattern = pattern_of(_values)


def veiled(text: str) -> str:
    """`text` as it may be said."""
    return without(_pattern, text)


def veiled_whole(value: Any) -> Any:
    """A JSON value with every text in it, keys too, as it may be said."""
    if isinstance(value, str):
        return veiled(value)
    if isinstance(value, dict):
        return {veiled(str(key)): veiled_whole(member) for key, member in value.items()}
    return [veiled_whole(member) for member in value] if isinstance(value, list | tuple) else value
