"""The formats of a report, and how each is written. Renderers are imported on demand."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaosext.model.duration_text import short_duration
from chaosext.model.files import write_whole
from chaosext.model.printable import json_text, shown
from chaosext.model.redact import veiled_whole
from chaosext.report.data.coverage_gaps import unseen
from chaosext.report.data.customers_lane import way_out
from chaosext.report.data.run_data import read_run
from chaosext.report.sentences.answers import answers, headline
from chaosext.report.sentences.root_cause import causes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from chaosext.model.timeline import Predicted
    from chaosext.report.data.activities import Activity
    from chaosext.report.data.run_comparison import Comparison
    from chaosext.report.data.run_data import RunData
    from chaosext.report.sentences.root_cause import Step


def _html(data: RunData) -> str:
    from chaosext.report.render.html.page import page

    return shown(page(data))


def _markdown(data: RunData) -> str:
    from chaosext.report.render.markdown import summary

    return shown(summary(data))


def _junit(data: RunData) -> str:
    from chaosext.report.render.junit import junit

    return shown(junit(data))


def _json(data: RunData) -> str:

    return as_json(document(data))


FORMATS: Mapping[str, Callable[[RunData], str]] = {
    "html": _html,
    "markdown": _markdown,
    "junit": _junit,
    "json": _json,
}
"""Format -> the renderer of a run."""

FILES = {"html": "report.html", "markdown": "summary.md", "junit": "junit.xml", "json": "report.json"}
"""Format -> its file in a run's directory."""


def _compared_html(comparison: Comparison) -> str:
    from chaosext.report.render.html.comparison_page import render_comparison

    return shown(render_comparison(comparison))


def _compared_markdown(comparison: Comparison) -> str:
    from chaosext.report.render.comparison_markdown import markdown

    return shown(markdown(comparison))


def _compared_json(comparison: Comparison) -> str:
    return as_json(comparison.to_json())


COMPARISONS: Mapping[str, Callable[[Comparison], str]] = {
    "html": _compared_html,
    "markdown": _compared_markdown,
    "json": _compared_json,
}
"""Format -> the renderer of two runs."""


def write_report(path: Path, text: str) -> None:
    """Write `text`, already `shown`, completely or not at all. Raises OSError.

    Follows no link in a directory that belongs to another user.
    """
    write_whole(path, text, fsync=False)


def as_json(value: object) -> str:
    """Return JSON without secrets. Redacting the text instead could not distinguish a secret number from any other."""
    return json_text(veiled_whole(value)) + "\n"


SCHEMA = "chaosext.report/v1"


def document(data: RunData) -> dict[str, Any]:
    """Return the report in the form of docs/schemas/report.schema.json."""
    return {
        "schema": SCHEMA,
        "headline": headline(data),
        "answers": [{"question": each.question, "lines": list(each.lines)} for each in answers(data)],
        "causes": [_step(step) for step in causes(data.result)],
        "result": data.result.to_json(),
        "activities": [_activity(each) for each in data.activities],
        "prediction": [_predicted(each) for each in data.prediction],
        "sentinels": data.sentinels,
        "customers": found.to_json() if (found := way_out(data)) else None,
        "not_known": list(unseen(data)),
    }


def _step(step: Step) -> dict[str, Any]:
    evidence = [event.to_json() for event in step.evidence]
    until_s = None if step.until_s is None else round(step.until_s, 3)
    return {"t_s": round(step.t_s, 3) + 0.0, "until_s": until_s, "text": step.text, "evidence": evidence}


def _activity(activity: Activity) -> dict[str, Any]:
    return {
        "phase": activity.phase.value,
        "name": activity.name,
        "status": activity.status.value,
        "said": activity.said,
        "ended": activity.ended,
        "duration_s": round(activity.duration_s, 3),
    }


def _predicted(predicted: Predicted) -> dict[str, Any]:
    return {
        **predicted.event.to_json(),
        "t_min_s": round(predicted.t_min_s, 3),
        "t_max_s": round(predicted.t_max_s, 3),
        "probability": predicted.probability,
    }


@dataclass(slots=True)
class Ending:
    """Writes all reports of a run into its directory.

    `written`: the files that exist; `problems`: why others don't.
    """

    written: dict[str, Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def __call__(self, path: Path, within_s: float) -> None:
        """Report the run in the directory `path`, within at most `within_s` seconds. Raises nothing."""
        writing = threading.Thread(target=self._report, args=(path,), name="report", daemon=True)
        writing.start()
        writing.join(within_s)
        if writing.is_alive():
            self.problems.append(
                f"no report within {short_duration(within_s)}; create it with: chaosext report {path}"
            )

    def best(self) -> Path | None:
        """The report to open first."""
        return next((self.written[name] for name in FILES if name in self.written), None)

    def _report(self, path: Path) -> None:
        try:
            data = read_run(path)
        except Exception as error:  # whatever the error, the run has its verdict
            self.problems.append(f"no report: {type(error).__name__}: {error}")
            return
        for name, render in FORMATS.items():
            try:
                write_report(path / FILES[name], render(data))
                self.written[name] = path / FILES[name]
            except Exception as error:  # as above, and the other formats may succeed
                self.problems.append(f"no {FILES[name]}: {type(error).__name__}: {error}")
