"""GitHub Flavored Markdown (https://github.github.com/gfm/): its parts, and texts that are shown as they are. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_MEANT = re.compile(r"[\\`*\[<|&~$]|(?<!\w)_|_(?!\w)|^(?:>|(?:#+|[+-]|\d+[.)])(?=\s|$)|[=-](?=[=-]*$))")
"""What Markdown would take for its own in a text, or at its beginning: of a heading, quotation, list or rule."""

_ACTIVE = re.compile(
    r"(?<![^\s`])[^\s`]*(?:@\w|://|www\.|mailto:|xmpp:|#\d|GH-\d|:[a-z][a-z0-9_+-]*:)[^\s`]*",
    re.IGNORECASE,
)
"""What GitHub would notify, link or draw: mentions, addresses, numbers of issues, emoji (docs.github.com, "Basic
writing and formatting syntax")."""


def section(title: str, lines: Iterable[str]) -> str:
    told = tuple(lines)
    return "\n".join((f"## {title}", "", *told, "")) if told else ""


def folded(title: str, lines: Iterable[str]) -> str:
    told = tuple(lines)
    return (
        "\n".join((f"<details><summary>{title}</summary>", "", *told, "", "</details>", "")) if told else ""
    )


def fenced(lines: Iterable[str], language: str = "text") -> tuple[str, ...]:
    """A block of code, whose fence is longer than any row of backquotes in it."""
    told = [line.rstrip() for text in lines for line in text.splitlines() or [""]]
    longest = max((len(found) for line in told for found in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return (f"{fence}{language}", *told, fence)


def points(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"- {plain(line)}" for line in lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield from map(row, (head, ["---"] * len(head), *rows))


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def plain(text: str) -> str:
    """`text` as Markdown that shows it as it is, on one line; what stands in backquotes stays code.

    It links to nothing and notifies nobody: a word that would is shown as code.
    """
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:  # no pairs of backquotes
        return _prose("`".join(parts))
    return "".join(_code(part) if n % 2 else _prose(part) for n, part in enumerate(parts))


def _prose(text: str) -> str:
    told, end = [], 0
    for found in _ACTIVE.finditer(text):
        word = found[0].rstrip(".,;:)")
        told += [_escaped(text[end : found.start()]), _code(word)]
        end = found.start() + len(word)
    return "".join((*told, _escaped(text[end:])))


def _escaped(text: str) -> str:
    return _MEANT.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", text)


def _code(text: str) -> str:
    """GitHub takes a bar for the end of a table's cell even there; two backquotes without a text begin another code."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else r"\`\`"
