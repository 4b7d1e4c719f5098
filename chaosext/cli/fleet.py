"""`chaosext fleet`: rehearses or gates one cluster of a fleet, as an index of its Job, or summarizes all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import Form, answers, say_answer, table
from chaosext.cli.options import InputFile
from chaosext.cli.page_files import write_page
from chaosext.model.printable import say_json, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.gameday.cluster_fleet import Line

INDEX = "JOB_COMPLETION_INDEX"
"""Kubernetes sets this variable in the Pods of an Indexed Job."""


@click.command()
@click.option(
    "--settings",
    "path",
    required=True,
    type=InputFile("fleet"),
    help="The fleet; see `chaosext examples fleet`.",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("fleet-results"),
    show_default=True,
    help="Where each cluster has a directory: snapshot, answer, summary.",
)
@click.option("--index", type=int, help=f"Index of the cluster, from 0.  [default: ${INDEX}]")
@click.option(
    "--kubeconfigs", type=click.Path(path_type=Path), help="A directory of kubeconfigs, by cluster."
)
@click.option("--summary", "summed", is_flag=True, help="Only summarize --results: one line per cluster.")
@click.option(
    "--page",
    type=click.Path(path_type=Path),
    help="With --summary: write an HTML page, a row for each cluster and a column for each day.",
)
@answers("chaosext.fleet/v1")
def fleet(
    path: Path,
    results: Path,
    index: int | None,
    kubeconfigs: Path | None,
    summed: bool,
    page: Path | None,
    form: Form,
) -> int:
    """Rehearse (or gate) one cluster of a fleet from a snapshot of it, and list what became worse since the day before:
    read-only.

    \b
    Examples:
      chaosext schedule --fleet example:fleet | kubectl apply -f -      one Indexed Job for all of them
      chaosext fleet --settings fleet.yaml --index 0 --kubeconfigs ~/clusters
      chaosext fleet --settings fleet.yaml --results fleet-results --summary
      chaosext fleet --settings fleet.yaml --results fleet-results --summary --page fleet.html

    Exit code: as of `chaosext rehearse` or `chaosext gate`, else 10 with `fail_on: [worse]` if anything became worse
    since the day before; with --summary the highest of them.
    """
    from chaosext.gameday.cluster_fleet import (
        CLUSTERS_DIR,
        ask,
        histories,
        member_at,
        read_fleet,
        summary,
        worst,
    )
    from chaosext.model.errors import Refused
    from chaosext.report.render.html.fleet_page import render_fleet

    if page and not summed:
        raise Refused("--page is set without --summary", "add --summary")

    known = read_fleet(path)
    if summed:
        lines = list(summary(known, results))
        if page:
            write_page(page, shown(render_fleet(known.name, histories(known, results))), option="--page")
    else:
        member = member_at(known, _index() if index is None else index)
        lines = [ask(known, member, path.parent, results, kubeconfigs or Path(CLUSTERS_DIR))]
    if form is Form.JSON:  # a line each, so that the outputs of several Jobs can be joined
        for line in lines:
            say_json(line.to_json(), indent=None)
    else:
        said = _table(lines) if form.is_wide else map(str, lines)
        say_answer([line.to_json() for line in lines], said, form)
    return worst(lines)


def _table(lines: Iterable[Line]) -> Iterator[str]:
    """Yield a row for each cluster, with every reason."""
    header = ("cluster", "verdict", "exit", "since the day before", "why")
    rows = (
        (each.cluster, each.verdict, str(each.exit_code), each.since or "-", "; ".join(each.why) or "-")
        for each in lines
    )
    return table(header, rows)


def _index() -> int:
    from chaosext.model.errors import Refused

    said = os.environ.get(INDEX, "")
    if not said.isdigit():
        raise Refused(
            f"neither --index nor ${INDEX} is set",
            "set --index to the position of a cluster in the settings, from 0",
        )
    return int(said)
