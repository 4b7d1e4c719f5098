"""`chaosext compare`: what became worse or better between two snapshots, or two runs; `rehearse --change` beside it."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chaosext.cli.rehearse import (
    Positive,
    apiserver_option,
    controller_manager_option,
    time_budget_option,
)
from chaosext.model.printable import say_answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.rehearsal.network.declared_network import SaidNetwork
    from chaosext.rehearsal.predict.consequences import Consequences, Ending, Question, State
    from chaosext.rehearsal.snapshot.object_changes import Drain, Patch
    from chaosext.rehearsal.snapshot.snapshot_files import Listed
    from chaosext.rehearsal.snapshot.world import World

WORSE = 10
"""Exit code of --fail-on worse."""

AFTER_CUT_S = 420.0
"""The prediction goes on for so long after the heal, seconds."""

STDIN = "-"

RUN_FILES = ("result.json", "journal.json", "timeline.jsonl")
"""Files of which each run's directory has one at least."""

MOST_VALUES = 1_000_000
"""Bound of all documents of a --change."""


@click.command()
@click.argument("before")
@click.argument("after")
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
@click.option(
    "--fabric-hears",
    metavar="NODES",
    default="",
    help="Nodes whose Pods every node reaches, as for `chaosext rehearse`.",
)
@click.option(
    "--hold-time", "hold_s", type=Positive(), help="Hold time of BGP sessions between nodes.  [default: 240s]"
)
@click.option("--domains/--no-domains", default=True, help="Compare the loss of each failure domain, too.")
@click.option("--samples", type=click.IntRange(1, 100_000), help="Number of random simulations of each cut.")
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed.")
@time_budget_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, schema chaosext.changes/v1.")
@click.option(
    "--fail-on", "fail_on", type=click.Choice(["worse"]), help="End with 10 if anything became worse."
)
def compare(
    before: str,
    after: str,
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
    as_json: bool,
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
      chaosext compare yesterday.json.gz today.json.gz
      chaosext compare before.json after.json --cut-nodes rack=a --cut-for 5m
      chaosext compare yesterday.json.gz today.json.gz --json --fail-on worse   for a pipeline
      chaosext compare 20261123t230300ab12 latest                               two runs

    \b
    Exit code:
      0   compared
      10  --fail-on worse, and something became worse, or was not compared in time
      20  refused: a snapshot or an option is not valid; the message names it
    """
    if _is_run(before) and _is_run(after):
        return _runs(before, after, as_json)
    from chaosext.rehearsal.network.declared_network import SaidNetwork
    from chaosext.rehearsal.predict.consequences import Question, consequences
    from chaosext.rehearsal.predict.scenarios import Scenario
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.snapshot_changes import snapshot_changes
    from chaosext.rehearsal.snapshot.snapshot_files import read_files

    reader = Reader(
        arguments=(*controller_manager_args, *apiserver_args),
        network=SaidNetwork(fabric_hears=fabric_hears, hold_s=hold_s),
    )
    wanted = Scenario(cut_nodes=cut_nodes, cut_for_s=cut_for, horizon_s=cut_for + AFTER_CUT_S, seed=seed)
    budget = TimeBudget.of(time_budget_s)
    one, other = read_files([Path(before)]), read_files([Path(after)])
    found = consequences(
        one,
        other,
        snapshot_changes(one, other),
        reader.read,
        Question(wanted=wanted, samples=samples, budget=budget, domains=domains),
        prepare=prepare,
    )
    return _answer(found, as_json=as_json, fails=fail_on is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What `rehearse --change` was given: the snapshot, the changes, and options that do not go with them."""

    snapshots: tuple[Path, ...]
    changes: tuple[str, ...]
    scenarios: Path | None = None


def rehearse_changes(given: Input, reader: Reader, question: Question, *, as_json: bool) -> Sequence[str]:
    """Predict what changes make worse or better, and print it; return the verdicts for --fail-on.

    Raises `Refused` for an invalid change.
    """
    from chaosext.model.errors import Refused
    from chaosext.rehearsal.predict.cluster_changes import applied, changes_of
    from chaosext.rehearsal.predict.consequences import consequences
    from chaosext.rehearsal.snapshot.snapshot_files import read_files

    if not given.changes:
        raise Refused("--fail-on worse is set without --change", "add a --change, or use `chaosext compare`")
    if given.scenarios:
        raise Refused("--scenarios and --change are both set", "remove one of them")
    wanted = [each for text in given.changes for each in _changes(text)]
    listed = read_files(given.snapshots)
    changes = changes_of(listed, wanted, reader.read)
    other = applied(listed, changes)
    found = consequences(listed, other, changes, reader.read, question, is_derived=True, prepare=prepare)
    _answer(found, as_json=as_json, fails=False)
    after = found.planned[1]
    return [*(["worse"] if found.is_worse else []), after.verdict.value if after else "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads the objects of a snapshot as a cluster: with these flags, and what is said about its network."""

    arguments: tuple[str, ...]
    network: SaidNetwork

    def read(self, listed: Listed) -> World:
        from chaosext.rehearsal.network.declared_network import declared
        from chaosext.rehearsal.snapshot.reader import world_of

        return declared(world_of(listed, self.arguments), self.network, "--fabric-hears")


MANY = 16
"""Fewer cuts are simulated in this process."""

_states: Sequence[State]


def prepare(states: Sequence[State], subjects: Sequence[str]) -> None:
    """Find out what cuts lead to in each state, in as many processes as there are cores."""
    asked = [(number, subject) for subject in subjects for number in range(len(states))]
    workers = len(os.sched_getaffinity(0))
    if workers < 2 or len(asked) < MANY:
        return
    how = multiprocessing.get_context("fork")  # shares the states, however large they are
    with ProcessPoolExecutor(workers, how, _prepare, (states,)) as pool:
        for (number, subject), ending in zip(asked, pool.map(_ending, asked, chunksize=2), strict=True):
            states[number].learn(subject, ending)


def _prepare(states: Sequence[State]) -> None:
    global _states
    _states = states


def _ending(asked: tuple[int, str]) -> Ending | None:
    number, subject = asked
    return _states[number].ending(subject)


def _answer(found: Consequences, *, as_json: bool, fails: bool) -> int:
    from chaosext.cli.change_text import change_lines

    say_answer(found.to_json(), change_lines(found), as_json=as_json)
    return WORSE if fails and found.is_worse else 0


def _changes(text: str) -> Iterator[Patch | Drain]:
    """Yield the changes in a file, in stdin (`-`), or in the text itself. Raises `Refused` if there are none."""
    from chaosext.model.errors import Refused
    from chaosext.rehearsal.snapshot.object_changes import FIX, SOURCE, changes_in

    where = f"{SOURCE} {text:.60}"
    try:
        found = list(changes_in(_documents(text), where))
    except OSError as error:
        raise Refused(f"{where}: {error.strerror or error}", FIX) from None
    except ValueError as error:
        raise Refused(f"{where}: neither YAML nor JSON: {error!s:.300}", FIX) from None
    if not found:
        raise Refused(f"{where}: there is no change in it", FIX)
    yield from found


def _documents(text: str) -> list[Any]:
    from chaosext.cluster.object_files import parse_yaml_stream
    from chaosext.model.bounded_json import parse_json
    from chaosext.model.files import read_file

    content = text
    if text == STDIN:
        content = click.get_text_stream("stdin").read()
    elif ":" not in text or Path(text).exists():
        content = read_file(Path(text)).decode("utf-8-sig")
    if content.lstrip()[:1] in ("{", "["):
        try:
            found = parse_json(content)
        except ValueError:
            pass  # YAML's flow style
        else:
            return found if isinstance(found, list) else [found]
    return list(parse_yaml_stream(content, most_values=MOST_VALUES))


# -- runs --------------------------------------------------------------------------------------------------------


def _is_run(name: str) -> bool:
    """Whether an argument means a run rather than a snapshot: an id, or a directory with a run's files."""
    from chaosext.model.names import RunId

    path = Path(name)
    if path.exists():
        return any((path / file).exists() for file in RUN_FILES)
    try:
        return bool(RunId(name))
    except ValueError:
        return False


def _runs(before: str, after: str, as_json: bool) -> int:
    from chaosext.cli.report import report

    code = click.get_current_context().invoke(report, run=before, other=after, as_json=as_json)
    return int(code)
