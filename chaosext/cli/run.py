"""`chaosext run` and `chaosext preflight`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from chaosext.model.veil import veiled

if TYPE_CHECKING:
    from chaosext.model.errors import Refused
    from chaosext.model.result import RunResult
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
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where run/<id>/ is made.  [default: ./run]")
def run(
    experiment: Path,
    context: str | None,
    expect: str | None,
    dry_run: bool,
    as_json: bool,
    run_dir: Path | None,
) -> int:
    """Run EXPERIMENT (YAML or JSON, or the name of one that comes along) and derive the verdict from what was seen.

    \b
    Examples:
      chaosext run experiments/control-plane-partition.yaml
      chaosext run experiments/control-plane-partition.yaml --expect deviated    exit 0 when the story is reproduced
      chaosext run experiments/control-plane-partition.yaml --dry-run
      chaosext run control-plane-partition                                       the one that comes along

    Writes run/<id>/result.json, journal.json, timeline.jsonl and summary.md; run/latest points to the newest.
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
    return _run(resolved, expect, as_json, run_dir)


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


def _run(resolved: Resolved, expect: str | None, as_json: bool, run_dir: Path | None) -> int:
    from chaosext.cli.main import leave_at_once
    from chaosext.cli.output import Live, result_lines
    from chaosext.model.errors import Refused
    from chaosext.model.verdict import Outcome
    from chaosext.report.markdown import summary
    from chaosext.run.context import start
    from chaosext.run.streams import own_streams
    from chaosext.run.strict import run_strictly

    expected = Outcome(expect) if expect else None
    with own_streams() as (out, err):
        live = Live(err if as_json else out)
        context = start(strict=True, root=run_dir, sink=live.event)
        live.begin(context.id, context.directory.path)

        def ended(result: RunResult) -> int:
            if as_json:
                click.echo(veiled(json.dumps(result.to_json(), indent=2, ensure_ascii=False)), file=out)
            live.lines(result_lines(result, context.directory.path))
            return result.verdict.exit_code_for(expected)

        def forsaken(result: RunResult) -> NoReturn:
            leave_at_once(ended(result))

        try:
            result = run_strictly(
                resolved, context, render=summary, tell=live.briefing, expected=expected, forsaken=forsaken
            )
        except Refused as error:
            result = _refused(resolved, context, error, expect)
        return ended(result)


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
    from chaosext.report.markdown import summary
    from chaosext.run.judging.finish import result_of, write_result
    from chaosext.run.strict import refusal

    journal = {"experiment": resolved.experiment, "start": datetime.now(UTC).isoformat()}
    context.recorder.close()
    context.trail.context = resolved.settings.context
    context.trail.end(refusal(error))
    result = result_of(context, journal, refusal(error), expected=expect)
    return write_result(context, result, journal, summary)


def _dry_run(resolved: Resolved, as_json: bool) -> int:
    from chaosext.cli.output import briefing_lines, plan_lines
    from chaosext.run.dry import dry_run

    plan = dry_run(resolved)
    click.echo(json.dumps(plan.to_json(), indent=2) if as_json else "\n".join(briefing_lines(plan.briefing)))
    if not as_json:
        click.echo("\n".join(plan_lines(plan)))
    return 0
