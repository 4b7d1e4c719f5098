"""Reports a run while it lasts: to a terminal or line by line, to Prometheus and OpenTelemetry.

A cut never waits for any of them.
"""

from __future__ import annotations

import os
import threading
import time
from typing import IO, TYPE_CHECKING

from chaosext.cli.answer import say_data
from chaosext.cli.output import Plain, hindsight_lines, result_lines
from chaosext.model.bounded_json import JSON_BYTES, parse_json
from chaosext.model.files import read_file
from chaosext.model.verdict import Outcome
from chaosext.report.render import traces

if TYPE_CHECKING:
    from chaosext.cli.answer import Form
    from chaosext.model.result import Briefing, RunResult
    from chaosext.model.timeline import Event
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.report.render.formats import Ending
    from chaosext.report.render.traces import TraceSpan
    from chaosext.run.monitor.metrics import Exporter
    from chaosext.run.session.run_context import RunContext

TRACES_S = 2.0
PARTING_TRACES_S = 0.5
"""How long the export of a trace may delay the end of a run, and of an interrupted run; seconds."""


ABANDON_S = 1.0


class Telling:
    """Sends a run's progress to all outputs: `begin`, each event, `end`."""

    def __init__(
        self,
        out: IO[str],
        err: IO[str],
        *,
        form: Form,
        plain: bool,
        verbose: bool = False,
        exporter: Exporter | None,
    ) -> None:
        self._out = out if form.is_data else None
        self._shown = _display(err if form.is_data else out, plain=plain or form.is_data, verbose=verbose)
        self._form, self._exporter = form, exporter
        self._traces = False

    def event(self, event: Event) -> None:
        self._shown.event(event)

    def begin(self, run: RunContext, experiment: str) -> None:
        from chaosext.run.monitor.progress import LiveScene

        self._scene = LiveScene(run=run, experiment=experiment)
        self._shown.begin(self._scene)
        if self._exporter:
            self._exporter.follow(self._scene)
            self._shown.lines([f"metrics: {self._exporter.where}"])
        if traces.is_wanted(os.environ):
            hindrance = traces.hindrance(os.environ)
            self._traces = not hindrance
            self._shown.lines([hindrance] if hindrance else [])

    def briefing(self, briefing: Briefing) -> None:
        self._scene.briefing = briefing
        self._shown.briefing(briefing)

    def foretold(self, prediction: Prediction | None, problem: str) -> None:
        """Print the predicted effects of the cut, or why there is no prediction."""
        from chaosext.cli.prediction_text import brief_lines

        self._shown.lines(brief_lines(prediction) if prediction else filter(None, [problem]))

    def end(self, result: RunResult, ending: Ending) -> None:
        """Print the result and the path of its reports, then problems of the reporting itself."""
        self._scene.result = result
        best = ending.best()
        if self._out:
            printed = {**result.to_json(), "report": str(best or "") or None}
            say_data(printed, self._form, to=self._out)
        self._shown.lines(result_lines(result, best or self._scene.run.directory.path))
        if result.verdict.outcome is not Outcome.INTERRUPTED:
            self._shown.lines(hindsight_lines(self._scene.run.directory.path))
        self._shown.lines(ending.problems)
        metrics = self._exporter.close() if self._exporter else ""
        self._shown.lines(filter(None, [metrics, self._traced(result)]))

    def abandon(self, why: str) -> None:
        """Print why there is no result. Limited in time, as the output itself may be what hangs."""
        words = [f"unsafe: {why}"]
        saying = threading.Thread(target=self._shown.lines, args=(words,), daemon=True)
        saying.start()
        saying.join(ABANDON_S)

    def _traced(self, result: RunResult) -> str:
        """Export the trace, if requested; returns why that failed, or ""."""
        if not self._traces:
            return ""
        told_to_leave = result.verdict.outcome is Outcome.INTERRUPTED
        return traces.export(lambda: self._trace(result), PARTING_TRACES_S if told_to_leave else TRACES_S)

    def _trace(self, result: RunResult) -> TraceSpan:
        from chaosext.report.data.activities import activities
        from chaosext.report.render.traces import trace

        run = self._scene.run
        journal = parse_json(read_file(run.directory.inside / "journal.json", most=JSON_BYTES))
        zero_s = run.recorder.zero_s
        ago_s = 0.0 if zero_s is None else time.monotonic() - zero_s
        return trace(result, activities(journal), cut_at_s=time.time() - ago_s)


def _display(stream: IO[str], *, plain: bool, verbose: bool) -> Plain:
    from chaosext.cli.terminal import Lanes, suits

    if plain or not suits(stream, os.environ):
        return Plain(stream, verbose=verbose)
    return Lanes(stream)
