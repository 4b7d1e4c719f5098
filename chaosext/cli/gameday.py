"""`chaosext gameday`: the command of a scheduled game day's Job; it can be run by hand as well."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import Form, answers, say_answer
from chaosext.cli.options import InputFile
from chaosext.model.printable import say

if TYPE_CHECKING:
    from chaosext.gameday.announcements import Subject
    from chaosext.gameday.game_day import GameDay, Told
    from chaosext.gameday.gameday_settings import GameDaySettings


@click.command()
@click.option(
    "--settings",
    "path",
    required=True,
    type=InputFile("settings"),
    help="The settings; see `chaosext examples gameday`.",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("gameday-results"),
    show_default=True,
    help="Where run directories, audit log and intent log are kept.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Only check what needs no run: cluster, permissions, experiment.",
)
@answers("chaosext.gameday/v1")
def gameday(path: Path, results: Path, check: bool, form: Form) -> int:
    """Run the game day of a settings file: check, clean up after earlier runs, run, keep and send the outcome.

    In a Pod it uses its ServiceAccount, and pins the cluster by the settings' UID; elsewhere it uses your kubeconfig,
    whose context must be pinned. It enters nodes through short-lived Pods. The outcome is an Event on the Job, a line
    in gamedays.jsonl, and the body of the settings' webhook.

    \b
    Examples:
      kubectl -n chaosext create job --from=cronjob/night-cutover now       in the cluster, now
      chaosext gameday --settings gameday.yaml --check                      would it be refused?
      chaosext gameday --settings gameday.yaml

    Exit code: the verdict's, as of `chaosext run`.
    """
    from chaosext.gameday.game_day import Told
    from chaosext.gameday.gameday_settings import read_settings
    from chaosext.gameday.in_cluster import is_in_cluster, seated
    from chaosext.gameday.notify import tell

    settings, told = read_settings(path), Told()
    in_pod = is_in_cluster(os.environ)
    seat = seated(settings, results.absolute()) if in_pod else nullcontext()
    with told.heeded(), seat:
        day = _day(settings, path.parent, results.absolute(), told, in_pod=in_pod)
        if check:
            day.check()
            ready = f"{settings.namespace}/{settings.name}"
            say_answer({"gameday": ready, "ready": True}, [f"{ready}: ready to run"], form)
            return 0
        record = tell(day, day.play())
    say_answer(record.to_json(), [record.headline], form)
    for problem in record.problems:
        say(f"problem: {problem}", err=True)
    return record.exit_code


def _day(settings: GameDaySettings, beside: Path, results: Path, told: Told, *, in_pod: bool) -> GameDay:
    from chaosext.gameday.game_day import GameDay
    from chaosext.gameday.senders import Addresses

    return GameDay(
        settings=settings,
        beside=beside,
        results=results,
        subject=_subject(settings),
        addresses=Addresses(settings=settings),
        told=told,
        in_pod=in_pod,
        say=lambda line: say(line, err=True),
    )


def _subject(settings: GameDaySettings) -> Subject:
    """Return the Job, as named by the Pod's environment; outside of a Pod the CronJob."""
    from chaosext.gameday.announcements import Subject

    job = os.environ.get("CHAOSEXT_JOB", "")
    return Subject(
        kind="Job" if job else "CronJob",
        name=job or settings.name,
        namespace=settings.namespace,
        uid=os.environ.get("CHAOSEXT_JOB_UID", ""),
    )
