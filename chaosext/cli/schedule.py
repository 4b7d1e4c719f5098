"""`chaosext schedule`: writes the manifests of scheduled game days, or of a fleet's rehearsal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import OutputFile
from chaosext.cli.options import InputFile, Names, cluster_options
from chaosext.model.printable import say, say_document

if TYPE_CHECKING:
    from chaosext.gameday.bundle_of_manifests import Composed

FORMATS = ("plain", "kustomize", "helm-values")


@click.command()
@click.option(
    "--settings",
    "path",
    type=InputFile("settings"),
    help="A game day's settings; see `chaosext examples gameday`.",
)
@click.option(
    "--fleet",
    "fleet",
    type=InputFile("fleet"),
    help="Instead, the settings of many clusters that are rehearsed by one Indexed Job; see `chaosext examples fleet`.",
)
@click.option(
    "--output",
    "-o",
    "directory",
    type=OutputFile(),
    help="Write the files into this directory.",
)
@click.option(
    "--format", "form", type=Names(FORMATS), default="plain", show_default=True, help="What to write."
)
@click.option("--check", is_flag=True, help="Only check the settings, and print when game days would begin.")
@cluster_options("Also validate the objects with this context's API server (dryRun).")
def schedule(
    path: Path | None, fleet: Path | None, directory: str | None, form: str, check: bool, context: str | None
) -> int:
    """Write the manifests that run game days in a cluster: ServiceAccount, least-privilege RBAC, CronJob, settings.

    Everything is checked before anything is written: the schedule and its time zone, the experiment with its values,
    whether the Job's deadline leaves it enough time, whether any game day begins within the allowed hours.

    \b
    Examples:
      chaosext schedule --settings example:gameday --check
      chaosext schedule --settings example:gameday | kubectl apply -f -
      chaosext schedule --settings example:gameday --format kustomize -o gameday && kubectl apply -k gameday
      chaosext schedule --settings example:gameday --format helm-values > values.yaml
      chaosext schedule --fleet example:fleet | kubectl apply -f -

    With --output the experiment is written as well, as experiment.yaml: this file runs, and this file needs the
    approval (`chaosext approve`) for a production cluster.

    Exit code: 0 written, 20 refused (the message names field and fix), 30 the API server did not answer.
    """
    from chaosext.gameday.bundle_of_manifests import FORMATS as MAKERS
    from chaosext.gameday.manifests import EXPERIMENT_FILE

    composed = _composed(path, fleet)
    files = MAKERS[form](composed)
    if context:
        _ask_server(composed, context)
    say(composed.said, err=True)  # stdout may be piped into kubectl
    if check:
        return 0
    if directory is None:
        _print(files, form)
    else:
        _write(
            Path(directory), {**files, **({EXPERIMENT_FILE: composed.approved} if composed.approved else {})}
        )
    return 0


def _composed(path: Path | None, fleet: Path | None) -> Composed:
    from chaosext.gameday.bundle_of_manifests import compose, compose_fleet
    from chaosext.gameday.cluster_fleet import read_fleet
    from chaosext.gameday.gameday_settings import read_settings
    from chaosext.model.errors import Refused

    if path and not fleet:
        return compose(read_settings(path), path.parent)
    if fleet and not path:
        return compose_fleet(read_fleet(fleet), fleet.parent)
    raise Refused("--settings and --fleet: exactly one is required", "use example:gameday or example:fleet")


def _ask_server(composed: Composed, context: str) -> None:
    from chaosext.cluster.client import Cluster
    from chaosext.gameday.server_dry_run import untaken
    from chaosext.model.errors import Refused

    problems = list(untaken(Cluster.connect(context), composed.objects))
    refused = [problem for problem in problems if ": not checked" not in problem]
    for problem in problems:
        say(problem, err=True)
    if refused:
        raise Refused(f"the API server of {context} rejects {len(refused)} of the objects", refused[0])


def _print(files: dict[str, str], form: str) -> None:
    from chaosext.model.errors import Refused

    if len(files) > 1:
        raise Refused(f"--format {form} makes {len(files)} files", "set --output to a directory")
    say_document("".join(files.values()))


def _write(directory: Path, files: dict[str, str]) -> None:
    from chaosext.model.errors import Refused
    from chaosext.model.files import write_whole

    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_whole(directory / name, text, fsync=False)
    except OSError as error:
        raise Refused(
            f"--output {directory}: {error.strerror}", "choose a directory that you can write to"
        ) from None
    say(f"written to {directory}: {', '.join(files)}", err=True)
