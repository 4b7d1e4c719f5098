"""`chaosext schedule`: the manifests of scheduled game days, from one settings file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from chaosext.gameday.composing import Composed

FORMATS = ("plain", "kustomize", "helm-values")
SHOWN = 3


@click.command()
@click.option(
    "--settings",
    "path",
    required=True,
    type=click.Path(path_type=Path),
    help="The settings, as deploy/gameday.yaml.",
)
@click.option(
    "--output",
    "-o",
    "directory",
    type=click.Path(path_type=Path),
    help="Write the files into this directory.",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="plain", show_default=True, help="What to write."
)
@click.option("--check", is_flag=True, help="Only check the settings, and say when game days would begin.")
@click.option(
    "--context", help="Also ask this context's API server whether it would take the objects (dryRun)."
)
def schedule(path: Path, directory: Path | None, form: str, check: bool, context: str | None) -> int:
    """Write what runs game days in a cluster: ServiceAccount, least-privilege RBAC, CronJob, settings.

    Everything is checked before anything is written: the schedule and its time zone, the experiment with its values,
    whether the Job's deadline leaves it enough time, whether it ever comes due within the allowed hours.

    \b
    Examples:
      chaosext schedule --settings deploy/gameday.yaml --check
      chaosext schedule --settings deploy/gameday.yaml | kubectl apply -f -
      chaosext schedule --settings deploy/gameday.yaml --format kustomize -o gameday && kubectl apply -k gameday
      chaosext schedule --settings deploy/gameday.yaml --format helm-values > values.yaml

    With --output the experiment is written as well, as experiment.yaml: it is what runs, and what
    `chaosext approve` approves for a production cluster.

    Exit code: 0 written, 20 refused (the message names field and fix), 30 the API server did not answer.
    """
    from chaosext.gameday.composing import FORMATS as MAKERS
    from chaosext.gameday.composing import compose
    from chaosext.gameday.manifests import EXPERIMENT_FILE
    from chaosext.gameday.settings import read_settings

    composed = compose(read_settings(path), path.parent)
    files = MAKERS[form](composed)
    if context:
        _ask_server(composed, context)
    _tell(composed)
    if check:
        return 0
    if directory is None:
        _print(files, form)
        return 0
    _write(directory, {**files, EXPERIMENT_FILE: composed.files[EXPERIMENT_FILE]})
    return 0


def _ask_server(composed: Composed, context: str) -> None:
    from chaosext.cluster.client import Cluster
    from chaosext.gameday.dry import untaken
    from chaosext.model.errors import Refused

    problems = list(untaken(Cluster.connect(context), composed.objects))
    refused = [problem for problem in problems if ": not checked" not in problem]
    for problem in problems:
        click.echo(problem, err=True)
    if refused:
        raise Refused(f"the API server of {context} would not take {len(refused)} of the objects", refused[0])


def _tell(composed: Composed) -> None:
    """When the next game days would begin, on stderr: stdout may go to kubectl."""
    settings = composed.settings
    times = ", ".join(f"{time:%a %Y-%m-%d %H:%M}" for time in settings.next_times(SHOWN))
    suspended = " (suspended)" if settings.suspend else ""
    click.echo(
        f"{settings.namespace}/{settings.name}: next {times} {settings.time_zone}{suspended}", err=True
    )


def _print(files: dict[str, str], form: str) -> None:
    from chaosext.model.errors import Refused

    if len(files) > 1:
        raise Refused(f"--format {form} makes {len(files)} files", "name a directory with --output")
    click.echo("".join(files.values()), nl=False)


def _write(directory: Path, files: dict[str, str]) -> None:
    from chaosext.model.errors import Refused

    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refused(
            f"--output {directory}: {error.strerror}", "name a directory that you may write to"
        ) from None
    click.echo(f"written to {directory}: {', '.join(files)}", err=True)
