"""GitHub Flavored Markdown (https://github.github.com/gfm/): its parts, and texts that are shown as they are. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_MEANT = re.compile(r"[\\`*\[<|&]")
"""What Markdown would take for its own in a text."""


def section(title: str, lines: Iterable[str]) -> str:
    told = tuple(lines)
    return "\n".join((f"## {title}", "", *told, "")) if told else ""


def folded(title: str, lines: Iterable[str]) -> str:
    told = tuple(lines)
    return (
        "\n".join((f"<details><summary>{title}</summary>", "", *told, "", "</details>", "")) if told else ""
    )


def fenced(lines: Iterable[str]) -> tuple[str, ...]:
    return ("```text", *(line.rstrip() for line in lines), "```")


def points(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"- {plain(line)}" for line in lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield from map(row, (head, ["---"] * len(head), *rows))


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def plain(text: str) -> str:
    """`text` as Markdown that shows it as it is, on one line; what stands in backquotes stays code."""
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:  # no pairs of backquotes
        return _escaped("`".join(parts))
    told = (f"`{_in_code(part)}`" if n % 2 else _escaped(part) for n, part in enumerate(parts))
    return "".join(told)


def _escaped(text: str) -> str:
    return _MEANT.sub(r"\\\g<0>", text)


def _in_code(text: str) -> str:
    """GitHub takes a bar for the end of a table's cell even there."""
    return text.replace("|", r"\|")
