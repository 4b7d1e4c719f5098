"""The forms that a report comes in, and how each is written. What draws them is imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.files import write_whole
from chaosext.model.printable import json_text, shown
from chaosext.model.veil import veiled_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from chaosext.report.compare import Comparison
    from chaosext.report.run_data import RunData


def _html(data: RunData) -> str:
    from chaosext.report.html.page import page

    return shown(page(data))


def _markdown(data: RunData) -> str:
    from chaosext.report.markdown import summary

    return shown(summary(data))


def _junit(data: RunData) -> str:
    from chaosext.report.junit import junit

    return shown(junit(data))


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

    return shown(page(comparison))


def _compared_markdown(comparison: Comparison) -> str:
    from chaosext.report.comparison import markdown

    return shown(markdown(comparison))


def _compared_json(comparison: Comparison) -> str:
    return as_json(comparison.to_json())


COMPARISONS: Mapping[str, Callable[[Comparison], str]] = {
    "html": _compared_html,
    "markdown": _compared_markdown,
    "json": _compared_json,
}
"""Format -> what makes its text of two runs."""


def write_report(path: Path, text: str) -> None:
    """Write `text`, as its maker has `shown` it, whole or not at all. Raises OSError.

    The directory is made where there is none; in one that is somebody else's nothing that lies there is followed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text, fsync=False)


def as_json(value: object) -> str:
    """As JSON without what must not be said. In its text a number that is secret could not be told from any other."""
    return json_text(veiled_whole(value)) + "\n"
