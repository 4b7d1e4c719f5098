"""`chaosext compare`: what became worse or better between two snapshots, or two runs; `rehearse --change` beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import Form, answers
from chaosext.cli.options import InputFile, Names
from chaosext.cli.rehearse import (
    Positive,
    apiserver_option,
    controller_manager_option,
    fabric_hears_option,
    hold_time_option,
    time_budget_option,
)

if TYPE_CHECKING:
    from pathlib import Path

WORSE = 10
"""Exit code of --fail-on worse."""

RUN_FILES = ("result.json", "journal.json", "timeline.jsonl")
"""Files of which each run's directory has one at least."""


@click.command()
@click.argument("before", type=InputFile("snapshot"))
@click.argument("after", type=InputFile("snapshot"))
@click.option(
    "--cut-nodes",
    metavar="NODES",
    default="",
    help="The planned cut: names, or a label selector.  [default: all without the control-plane role]",
)
@click.option(
    "--cut-for", type=Positive(), default="480s", show_default=True, help="How long each cut lasts."
)
@controller_manager_option
@apiserver_option
@fabric_hears_option
@hold_time_option
@click.option("--domains/--no-domains", default=True, help="Compare the loss of each failure domain, too.")
@click.option("--samples", type=click.IntRange(1, 100_000), help="Number of random simulations of each cut.")
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed.")
@time_budget_option
@answers("chaosext.changes/v1")
@click.option("--fail-on", "fail_on", type=Names(["worse"]), help="End with 10 if anything became worse.")
def compare(
    before: Path,
    after: Path,
    cut_nodes: str,
    cut_for: float,
    controller_manager_args: tuple[str, ...],
    apiserver_args: tuple[str, ...],
    fabric_hears: str,
    hold_s: float | None,
    domains: bool,
    samples: int | None,
    seed: int,
    time_budget_s: float,
    form: Form,
    fail_on: str | None,
) -> int:
    """Compare two snapshots of a cluster, and list what became worse or better from BEFORE to AFTER, and by which
    object: which node reaches which Pods, what the planned cut leads to, and what it leads to if a failure domain (a
    node, rack, zone, leaf, or the route reflectors) loses the control plane.

    What was known and is unknown now counts as worse. Whatever changes without an effect on these answers is not
    listed. A snapshot is anything that `chaosext rehearse --snapshot` reads. Two runs (ids or directories) are compared
    as by `chaosext report BEFORE AFTER`, which writes a page.

    \b
    Examples:
      chaosext compare example:story example:mitigated
      chaosext compare example:mitigated example:story --json --fail-on worse   for a pipeline
      chaosext compare yesterday.json.gz today.json.gz
      chaosext compare 20261123t230300ab12 latest                               two runs

    \b
    Exit code:
      0   compared
      10  --fail-on worse, and something became worse, or was not compared in time
      20  refused: a snapshot or an option is not valid; the message names it
    """
    if _is_run(before) and _is_run(after):
        return _runs(before, after, form)
    from chaosext.cli.change_answer import ClusterReader, prepare, say_consequences
    from chaosext.rehearsal.network.declared_network import SaidNetwork
    from chaosext.rehearsal.predict.cluster_state import Question
    from chaosext.rehearsal.predict.consequences import consequences
    from chaosext.rehearsal.predict.scenarios import Scenario
    from chaosext.rehearsal.simulate.planned_cut import RECOVERS_S
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.snapshot_changes import snapshot_changes
    from chaosext.rehearsal.snapshot.snapshot_files import read_files

    reader = ClusterReader(
        arguments=(*controller_manager_args, *apiserver_args),
        network=SaidNetwork(fabric_hears=fabric_hears, hold_s=hold_s),
    )
    wanted = Scenario(cut_nodes=cut_nodes, cut_for_s=cut_for, horizon_s=cut_for + RECOVERS_S, seed=seed)
    budget = TimeBudget.of(time_budget_s)
    one, other = read_files([before]), read_files([after])
    found = consequences(
        one,
        other,
        snapshot_changes(one, other),
        reader.read,
        Question(wanted=wanted, samples=samples, budget=budget, domains=domains),
        prepare=prepare,
    )
    say_consequences(found, form)
    return WORSE if fail_on and found.is_worse else 0


# -- runs --------------------------------------------------------------------------------------------------------


def _is_run(path: Path) -> bool:
    """Whether an argument means a run rather than a snapshot: an id, or a directory with a run's files."""
    from chaosext.model.names import RunId

    if path.exists():
        return any((path / file).exists() for file in RUN_FILES)
    try:
        return bool(RunId(str(path)))
    except ValueError:
        return False


def _runs(before: Path, after: Path, form: Form) -> int:
    from chaosext.cli.report import write_reports

    return write_reports(str(before), str(after), form=form)
