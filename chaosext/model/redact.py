"""Redact known secret values in every text that leaves this process.

This is the second of two layers. The first (experiment/journal_redaction.py) keeps only what is known to be
harmless; this one catches a secret in a harmless place: a title, a name, a finding that quotes an answer.
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
"""Characters of the shortest value that is redacted. Redacting shorter ones would make texts unreadable, and
they protect no secret."""

SHORTEST_LINE = 16
"""In a multi-line value such as a key, each line of at least this many characters is also redacted on its own."""


def pattern_of(values: Iterable[str]) -> re.Pattern[str] | None:
    """Match each of `values` plain, escaped, quoted and in Base64; None if there is nothing to match."""
    forms = {form for value in values if len(value) >= SHORTEST for form in _forms(value)}
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(re.escape, longest_first))) if forms else None


def without(pattern: re.Pattern[str] | None, text: str) -> str:
    """Return `text` with every match of `pattern` redacted."""
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
    """Redact `values` in all further output of this process."""
    global _values, _pattern
    with _changing:
        _values |= frozenset(values)
        _pattern = pattern_of(_values)


def veiled(text: str) -> str:
    """Return `text` with secrets redacted."""
    return without(_pattern, text)


def veiled_whole(value: Any) -> Any:
    """Return a JSON value with secrets redacted in all its texts, including keys."""
    if isinstance(value, str):
        return veiled(value)
    if isinstance(value, dict):
        return {veiled(str(key)): veiled_whole(member) for key, member in value.items()}
    return [veiled_whole(member) for member in value] if isinstance(value, list | tuple) else value
