"""`chaosext run` and `chaosext preflight`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from chaosext.cli.answer import Form, answers, say_answer, say_data
from chaosext.cli.options import InputFile, Names, cluster_options
from chaosext.model.printable import say

if TYPE_CHECKING:
    from chaosext.cli.listeners import Telling
    from chaosext.experiment.resolve import Resolved
    from chaosext.model.errors import Refused
    from chaosext.model.result import RunResult
    from chaosext.model.verdict import Outcome
    from chaosext.run.monitor.metrics import Exporter
    from chaosext.run.session.run_context import RunContext

EXPECTABLE = ("passed", "deviated", "inconclusive", "refused")

experiment_argument = click.argument("experiment", type=InputFile("experiment"))
context_option = cluster_options("Refuse unless the experiment pins this Kubernetes context.")


@click.command()
@experiment_argument
@context_option
@click.option("--expect", type=Names(EXPECTABLE), help="Exit 0 for exactly this verdict.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the exact rules per node and the plan; touch nothing, run no activity, skip the gate.",
)
@answers("chaosext.result/v1")
@click.option(
    "--plain",
    is_flag=True,
    help="Print line by line, without lanes; the default if the output is not a terminal.",
)
@click.option(
    "--verbose",
    "-v",
    is_flag=True,
    help="Also print bookkeeping events, which timeline.jsonl has in any case.",
)
@click.option(
    "--metrics",
    metavar="FILE|PORT",
    help="Prometheus metrics: into FILE (textfile collector), or to be scraped at PORT or HOST:PORT.",
)
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    envvar="CHAOSEXT_RUN_DIR",
    help="Where run/<id>/ is created.  [default: ./run]",
)
def run(
    experiment: Path,
    context: str | None,
    expect: str | None,
    dry_run: bool,
    form: Form,
    plain: bool,
    verbose: bool,
    metrics: str | None,
    run_dir: Path | None,
) -> int:
    """Run EXPERIMENT (YAML or JSON, or the name of a bundled one) and derive the verdict from what was observed.

    \b
    Examples:
      chaosext run control-plane-partition                      a bundled experiment (`chaosext examples`)
      chaosext run control-plane-partition --expect deviated    exit 0 if the incident is reproduced
      chaosext run control-plane-partition --dry-run            print the exact rules, touch nothing
      chaosext run control-plane-partition --metrics 9464       scraped at 127.0.0.1:9464/metrics
      chaosext run gameday.yaml --context prod-eu               refused unless that is its cluster

    Its context must be pinned (`chaosext pin`). Nothing of EXPERIMENT is run, looked up or checked before pin,
    approval, limits and lock hold.

    In a terminal the run shows growing lanes, unless CI or TERM=dumb is set or --plain is given. If
    OTEL_EXPORTER_OTLP_ENDPOINT is set, the run is exported as a trace at its end.

    Writes run/<id>/result.json, journal.json, timeline.jsonl, and the report: report.html, summary.md, junit.xml and
    report.json; run/latest points to the newest run. `chaosext report` writes the report again.
    """
    from chaosext.cli.listeners import Telling
    from chaosext.experiment.load import load_experiment
    from chaosext.experiment.resolve import resolve
    from chaosext.model.errors import Refused
    from chaosext.model.verdict import Outcome
    from chaosext.run.stdio import own_streams

    expected = Outcome(expect) if expect else None
    try:
        resolved = resolve(load_experiment(experiment), context=context, source=str(experiment))
        exporter = _exporter(metrics) if metrics is not None and not dry_run else None
    except Refused as error:
        return _refused_at_once(error, expected, form)
    if dry_run:
        return _dry_run(resolved, form)
    with own_streams() as (out, err):
        telling = Telling(
            out, err, form=form, plain=plain, verbose=verbose or form.is_wide, exporter=exporter
        )
        return _run(resolved, telling, expected, run_dir)


@click.command()
@experiment_argument
@context_option
@answers()
def preflight(experiment: Path, context: str | None, form: Form) -> int:
    """Show what the cut in EXPERIMENT would lead to on this cluster: the prediction that the run itself would start
    with.

    Read-only, and runs nothing of EXPERIMENT: it takes a snapshot, and simulates the cut on it. Exit code 20 if the
    run would be refused before its baseline; the baseline itself is not checked.
    """
    from chaosext.cli.output import briefing_lines
    from chaosext.experiment.load import load_experiment
    from chaosext.experiment.resolve import resolve
    from chaosext.run.dry_run import dry_run

    known = dry_run(resolve(load_experiment(experiment), context=context, source=str(experiment))).briefing
    say_answer(known.to_json(), briefing_lines(known), form)
    return 0


def _exporter(place: str) -> Exporter:
    from chaosext.run.monitor.metrics import open_metrics

    return open_metrics(place)


def _run(resolved: Resolved, telling: Telling, expected: Outcome | None, run_dir: Path | None) -> int:
    from chaosext.cli.main import leave_at_once
    from chaosext.model.errors import Refused, Unsafe
    from chaosext.report.render.formats import Ending
    from chaosext.run.finish import REPORT_S
    from chaosext.run.runner import run_strictly
    from chaosext.run.session.run_context import start

    context, ending = start(strict=True, root=run_dir, sink=telling.event), Ending()
    telling.begin(context, resolved.experiment["title"])

    def ended(result: RunResult) -> int:
        telling.end(result, ending)
        return result.exit_code

    def forsaken(result: RunResult) -> NoReturn:
        leave_at_once(ended(result))

    def abandoned(why: str) -> NoReturn:
        telling.abandon(f"{why}: see `chaosext status`, and {context.directory.path}")
        leave_at_once(Unsafe.exit_code)

    try:
        result = run_strictly(
            resolved,
            context,
            render=ending,
            tell=telling.briefing,
            foretell=telling.foretold,
            expected=expected,
            forsaken=forsaken,
            abandoned=abandoned,
        )
    except Refused as error:
        result = _refused(resolved, context, error, expected)
        ending(context.directory.path, REPORT_S)
    return ended(result)


def _refused_at_once(error: Refused, expected: Outcome | None, form: Form) -> int:
    """Report a refusal before the run exists. Raises it as the command's error unless it was expected."""
    from chaosext.run.runner import refusal

    verdict = refusal(error)
    if form.is_data:
        code = verdict.exit_code_for(expected)
        say_data({**verdict.to_json(), "exit_code": code, "expected": expected}, form)
    if verdict.exit_code_for(expected):
        raise error
    say(f"verdict: refused, as expected: {error}", err=form.is_data)
    return 0


def _refused(resolved: Resolved, context: RunContext, error: Refused, expected: Outcome | None) -> RunResult:
    """Write the reason into the directory of a run that was refused before it began."""
    from chaosext.run.finish import result_of, write_result
    from chaosext.run.runner import refusal

    journal = {"experiment": resolved.experiment, "start": datetime.now(UTC).isoformat()}
    context.recorder.close()
    context.trail.context = resolved.settings.context
    context.trail.end(refusal(error), expected)
    result = result_of(context, journal, refusal(error), expected=expected)
    return write_result(context, result, journal)


def _dry_run(resolved: Resolved, form: Form) -> int:
    from chaosext.cli.output import briefing_lines, plan_lines
    from chaosext.run.dry_run import dry_run

    plan = dry_run(resolved)
    say_answer(plan.to_json(), (*briefing_lines(plan.briefing), *plan_lines(plan)), form)
    return 0
