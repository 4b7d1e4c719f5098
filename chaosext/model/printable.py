"""Print text without secrets, and without characters that a terminal would obey or a reader would not see.

Names, findings and messages come from clusters, nodes and files of others. `say`, `say_document` and
`say_json` are the only ways to the terminal; a character that is not displayed as itself is written as its
escape, such as `\\x1b`.
"""

from __future__ import annotations

import json
import re
import sys
from typing import IO, TYPE_CHECKING, Any

from chaosext.model.redact import veiled, veiled_whole

if TYPE_CHECKING:
    from collections.abc import Iterable

_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Characters that are invisible or reorder the displayed text (Unicode's Default_Ignorable_Code_Point and
Bidi_Control, DerivedCoreProperties.txt and PropList.txt), and U+2800, which looks like a space."""

_CONTROLS = "\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
"""C0 and C1 controls, Unicode's line and paragraph separators, surrogates and noncharacters."""

_IN_LINE = re.compile(f"(?!\t)[{_CONTROLS}{_IGNORABLE}]")
_IN_DOCUMENT = re.compile(f"(?![\n\t])[{_CONTROLS}{_IGNORABLE}]")


def one_line(text: str) -> str:
    """Make `text` displayable on one line; tabs stay."""
    return text if text.isascii() and text.isprintable() else _IN_LINE.sub(_escape, text)


def printable(text: str) -> str:
    """Make `text` displayable, keeping its line breaks and tabs."""
    return _IN_DOCUMENT.sub(_escape, text)


def shown(text: str) -> str:
    """Make a document safe to print: secrets redacted, and `printable`."""
    return printable(veiled(text))


def json_text(value: Any, *, indent: int | None = 2, **options: Any) -> str:
    """Format `value` as JSON with every invisible character escaped; it parses to the same value."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, **options)
    return _IN_DOCUMENT.sub(_json_escape, text)


def say(*lines: str, err: bool = False, to: IO[str] | None = None) -> None:
    """Print `lines`, each on exactly one line whatever it contains."""
    _put("".join(f"{one_line(veiled(line))}\n" for line in lines), err=err, to=to)


def say_lines(lines: Iterable[str], *, err: bool = False, to: IO[str] | None = None) -> None:
    """Like `say`, for lines that are generated one by one."""
    for line in lines:
        say(line, err=err, to=to)


def say_document(text: str, *, err: bool = False, to: IO[str] | None = None) -> None:
    """Print a text with line breaks of its own and a final one, such as YAML or Markdown."""
    _put(shown(text), err=err, to=to)


def say_json(value: Any, *, indent: int | None = 2, to: IO[str] | None = None) -> None:
    """Print `value` as JSON."""
    _put(f"{json_text(veiled_whole(value), indent=indent)}\n", err=False, to=to)


def _put(text: str, *, err: bool, to: IO[str] | None) -> None:
    stream = to or (sys.stderr if err else sys.stdout)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _json_escape(found: re.Match[str]) -> str:
    """Escape as JSON does: four hexadecimal digits, and a surrogate pair above U+FFFF (RFC 8259, section 7)."""
    return json.dumps(found[0])[1:-1]
