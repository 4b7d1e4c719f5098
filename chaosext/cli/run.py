"""`chaosext run` and `chaosext preflight`."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

import click

from chaosext.model.veil import veiled

if TYPE_CHECKING:
    from chaosext.cli.output import Plain
    from chaosext.model.errors import Refused
    from chaosext.model.result import Briefing, RunResult
    from chaosext.run.context import RunContext
    from chaosext.run.reading.resolve import Resolved

EXPECTABLE = ("passed", "deviated", "inconclusive", "refused")

experiment_argument = click.argument("experiment", type=click.Path(path_type=Path))
context_option = click.option("--context", help="Refuse unless the experiment pins this Kubernetes context.")


@click.command()
@experiment_argument
@context_option
@click.option("--expect", type=click.Choice(EXPECTABLE), help="Exit 0 for exactly this verdict.")
@click.option(
    "--dry-run", is_flag=True, help="Print the exact rules per node and the plan; touch nothing, ask no gate."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; progress goes to stderr.")
@click.option(
    "--plain", is_flag=True, help="Print line by line, as where output is no terminal; no lanes that grow."
)
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where run/<id>/ is made.  [default: ./run]")
def run(
    experiment: Path,
    context: str | None,
    expect: str | None,
    dry_run: bool,
    as_json: bool,
    plain: bool,
    run_dir: Path | None,
) -> int:
    """Run EXPERIMENT (YAML or JSON, or the name of one that comes along) and derive the verdict from what was seen.

    \b
    Examples:
      chaosext run experiments/control-plane-partition.yaml
      chaosext run experiments/control-plane-partition.yaml --expect deviated    exit 0 when the story is reproduced
      chaosext run experiments/control-plane-partition.yaml --dry-run
      chaosext run control-plane-partition                                       the one that comes along

    Writes run/<id>/result.json, journal.json, timeline.jsonl, and its report: report.html, summary.md, junit.xml and
    report.json; run/latest points to the newest. `chaosext report` makes the report again.
    """
    from chaosext.model.errors import Refused
    from chaosext.run.reading.experiment import load_experiment
    from chaosext.run.reading.resolve import resolve

    try:
        resolved = resolve(load_experiment(experiment), context=context)
    except Refused as error:
        return _refused_at_once(error, expect, as_json)
    if dry_run:
        return _dry_run(resolved, as_json)
    return _run(resolved, expect, as_json, plain, run_dir)


@click.command()
@experiment_argument
@context_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def preflight(experiment: Path, context: str | None, as_json: bool) -> int:
    """Say what the cut in EXPERIMENT would lead to on this cluster: timings, zones, evictions, kube-dns.

    Read-only. Exit 20 when the run would be refused before its gate; the gate itself is not asked.
    """
    from chaosext.cli.output import briefing_lines
    from chaosext.run.dry import dry_run
    from chaosext.run.reading.experiment import load_experiment
    from chaosext.run.reading.resolve import resolve

    known = dry_run(resolve(load_experiment(experiment), context=context)).briefing
    click.echo(json.dumps(known.to_json(), indent=2) if as_json else "\n".join(briefing_lines(known)))
    return 0


def _run(resolved: Resolved, expect: str | None, as_json: bool, plain: bool, run_dir: Path | None) -> int:
    from chaosext.cli.main import leave_at_once
    from chaosext.cli.output import result_lines
    from chaosext.model.errors import Refused
    from chaosext.model.verdict import Outcome
    from chaosext.report.ending import Ending
    from chaosext.run.context import start
    from chaosext.run.judging.finish import REPORT_S
    from chaosext.run.streams import own_streams
    from chaosext.run.strict import run_strictly
    from chaosext.run.telling.picture import Scene

    expected = Outcome(expect) if expect else None
    with own_streams() as (out, err):
        shown = _display(err if as_json else out, plain=plain or as_json)
        context = start(strict=True, root=run_dir, sink=shown.event)
        scene = Scene(run=context, experiment=resolved.experiment["title"])
        shown.begin(scene)

        def told(briefing: Briefing) -> None:
            scene.briefing = briefing
            shown.briefing(briefing)

        ending = Ending()

        def ended(result: RunResult) -> int:
            scene.result = result
            if as_json:
                printed = {**result.to_json(), "report": str(ending.best() or "") or None}
                click.echo(veiled(json.dumps(printed, indent=2, ensure_ascii=False)), file=out)
            shown.lines(result_lines(result, ending.best() or context.directory.path))
            shown.lines(ending.problems)
            return result.verdict.exit_code_for(expected)

        def forsaken(result: RunResult) -> NoReturn:
            leave_at_once(ended(result))

        try:
            result = run_strictly(
                resolved, context, render=ending, tell=told, expected=expected, forsaken=forsaken
            )
        except Refused as error:
            result = _refused(resolved, context, error, expect)
            ending(context.directory.path, REPORT_S)
        return ended(result)


def _display(stream: IO[str], *, plain: bool) -> Plain:
    from chaosext.cli.live import Lanes, suits
    from chaosext.cli.output import Plain

    return Plain(stream) if plain or not suits(stream, os.environ) else Lanes(stream)


def _refused_at_once(error: Refused, expect: str | None, as_json: bool) -> int:
    """There is no run yet, so its reason is all there is to say; unless it was expected, it is the command's error."""
    from chaosext.model.verdict import Outcome
    from chaosext.run.strict import refusal

    if as_json:
        click.echo(json.dumps({**refusal(error).to_json(), "expected": expect}, indent=2, ensure_ascii=False))
    if expect != Outcome.REFUSED:
        raise error
    click.echo(f"verdict: refused, as expected: {error}", err=as_json)
    return 0


def _refused(resolved: Resolved, context: RunContext, error: Refused, expect: str | None) -> RunResult:
    """A run that was refused before it began leaves its reason in its directory as well."""
    from chaosext.run.judging.finish import result_of, write_result
    from chaosext.run.strict import refusal

    journal = {"experiment": resolved.experiment, "start": datetime.now(UTC).isoformat()}
    context.recorder.close()
    context.trail.context = resolved.settings.context
    context.trail.end(refusal(error))
    result = result_of(context, journal, refusal(error), expected=expect)
    return write_result(context, result, journal)


def _dry_run(resolved: Resolved, as_json: bool) -> int:
    from chaosext.cli.output import briefing_lines, plan_lines
    from chaosext.run.dry import dry_run

    plan = dry_run(resolved)
    click.echo(json.dumps(plan.to_json(), indent=2) if as_json else "\n".join(briefing_lines(plan.briefing)))
    if not as_json:
        click.echo("\n".join(plan_lines(plan)))
    return 0
