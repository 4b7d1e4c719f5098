"""The forms that a report comes in, and how each is written. What draws them is imported when it is asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from chaosext.model.veil import veiled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from chaosext.report.compare import Comparison
    from chaosext.report.run_data import RunData


def _html(data: RunData) -> str:
    from chaosext.report.html.page import page

    return page(data)


def _markdown(data: RunData) -> str:
    from chaosext.report.markdown import summary

    return summary(data)


def _junit(data: RunData) -> str:
    from chaosext.report.junit import junit

    return junit(data)


def _json(data: RunData) -> str:
    from chaosext.report.document import document

    return as_json(document(data))


FORMATS: Mapping[str, Callable[[RunData], str]] = {
    "html": _html,
    "markdown": _markdown,
    "junit": _junit,
    "json": _json,
}
"""Format -> what makes its text of a run."""

FILES = {"html": "report.html", "markdown": "summary.md", "junit": "junit.xml", "json": "report.json"}
"""Format -> the name of its file in a run's directory."""


def _compared_html(comparison: Comparison) -> str:
    from chaosext.report.html.beside import page

    return page(comparison)


def _compared_markdown(comparison: Comparison) -> str:
    from chaosext.report.comparison import markdown

    return markdown(comparison)


def _compared_json(comparison: Comparison) -> str:
    return as_json(comparison.to_json())


COMPARISONS: Mapping[str, Callable[[Comparison], str]] = {
    "html": _compared_html,
    "markdown": _compared_markdown,
    "json": _compared_json,
}
"""Format -> what makes its text of two runs."""


def write_whole(path: Path, text: str) -> None:
    """Write `text`, without what must not be said, whole or not at all. Raises OSError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(veiled(text), encoding="utf-8", errors="backslashreplace")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)  # on a full disk even half a file is in the way
        raise


def as_json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
