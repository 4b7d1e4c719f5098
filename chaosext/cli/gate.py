"""`chaosext gate`: the go/no-go check for a cutover on a cluster."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import Form, answers, say_data
from chaosext.cli.bundled_examples import name_of
from chaosext.cli.options import InputFile, cluster_options, context_or_current
from chaosext.cli.page_files import check_places, report_option, write_pages
from chaosext.cli.rehearsal_view import WordsKept
from chaosext.cli.rehearse import (
    Instant,
    apiserver_option,
    controller_manager_option,
    time_budget_option,
)
from chaosext.model.printable import say, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from chaosext.gate.cutover_plan import Cutover
    from chaosext.gate.judge import Judgement
    from chaosext.gate.longest_cut import LongestCut
    from chaosext.gate.ticket import Sheet
    from chaosext.model.findings import Finding
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import World
    from chaosext.report.data.predicted_lanes import LaneFacts

WITHOUT_PATCHES = 0.7
"""Share of the time budget for the judgement; the rest is for the longest safe cut and for finding patches."""

FOR_LONGEST = 0.4
"""Share of what is left for the longest safe cut."""


@click.command(cls=WordsKept)
@click.option(
    "--cutover",
    "plan",
    type=InputFile("cutover"),
    required=True,
    help="The plan: which nodes, how long, when, what is acceptable (YAML or JSON).",
)
@cluster_options(
    "The live cluster's context; it must be pinned.  [default: the plan's, else the current one]"
)
@click.option(
    "--snapshot",
    "snapshots",
    type=InputFile("snapshot"),
    multiple=True,
    help="Ask a snapshot instead: files, directories, archives, or - for stdin (repeatable: together one snapshot).",
)
@report_option
@click.option(
    "--keep-snapshot",
    "keep",
    type=click.Path(path_type=Path),
    help="Keep what the live cluster showed, so that the verdict can be verified; gzip where it ends in .gz.",
)
@click.option("--at", "at", type=Instant(), help="Take this as the current time: a plan must begin later.")
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed.")
@controller_manager_option
@apiserver_option
@click.option(
    "--longest/--no-longest",
    default=True,
    help="Find the longest cut that is safe, too.  [default: longest]",
)
@time_budget_option
@click.option("--verbose", "-v", is_flag=True, help="Print everything, too: each reason, event and command.")
@answers("chaosext.gate/v1")
def gate(
    plan: Path,
    context: str | None,
    snapshots: tuple[Path, ...],
    reports: tuple[Path, ...],
    keep: Path | None,
    at: datetime | None,
    seed: int,
    controller_manager_args: tuple[str, ...],
    apiserver_args: tuple[str, ...],
    longest: bool,
    time_budget_s: float,
    verbose: bool,
    form: Form,
) -> int:
    """Go/no-go check for a planned cutover, with reasons, and patches that would turn no-go into go. Touches nothing.

    Reads the live cluster (or a snapshot of it), checks that it is healthy, rehearses the cut, and compares the
    expected effects with what the plan accepts. An unknown answer is a no-go, unless the plan waives the check by
    name. No plan can waive that the network's routes are proven, and that enough is simulated within the time budget.

    \b
    Needs what `chaosext snapshot` needs, get and list of events, and exec into istiod (else xds_synced must be waived).

    \b
    Examples:
      chaosext gate --cutover example:all-workers --snapshot example:story     bundled ones: no cluster needed
      chaosext examples all-workers > cutover.yaml                             a plan of your own begins with this
      chaosext gate --cutover cutover.yaml --context production-eu --report ticket.html
      chaosext gate --cutover cutover.yaml --context production-eu --keep-snapshot seen.json.gz --report ticket.md
      chaosext gate --cutover cutover.yaml --snapshot seen.json.gz --json      for a pipeline

    \b
    Exit code:
      0   go
      10  no-go
      20  refused: the plan, the snapshot or an option is not valid; the message names the field and its fix
      30  no-go because an answer is unknown; the reasons say which
    """
    from chaosext.experiment.cutover_plan_file import read_cutover

    _check_options(context, snapshots, reports, keep)
    moment = at or datetime.now(UTC).replace(microsecond=0)
    cutover, plan_bytes = read_cutover(plan, moment)
    where = "" if snapshots else _live_context(context or cutover.context)
    with _seen(cutover, where, snapshots, keep) as seen:
        sheet, lanes = _judged(
            cutover,
            seen,
            seed,
            time_budget_s,
            at=moment,
            plan=name_of(plan),
            plan_sha256=sha256(plan_bytes).hexdigest(),
            flags=(*controller_manager_args, *apiserver_args),
            longest=longest,
        )
    write_pages(reports, _renderers(sheet, lanes))
    _say(sheet, lanes, form, verbose=verbose)
    return sheet.decision.exit_code


def _check_options(
    context: str | None, snapshots: tuple[Path, ...], reports: tuple[Path, ...], keep: Path | None
) -> None:
    from chaosext.model.errors import Refused

    if context and snapshots:
        fix = "set --context to ask a live cluster, or --snapshot to ask a snapshot"
        raise Refused("--context and --snapshot: both given", fix)
    if keep and snapshots:
        raise Refused("--keep-snapshot: the source already is a snapshot", "leave it out")
    check_places(reports)


def _live_context(context: str) -> str:
    from chaosext.model.errors import Refused

    try:
        return context_or_current(context)
    except Refused as error:
        raise Refused(f"--context and --snapshot: neither given, and {error.message}", error.fix) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The input: a snapshot in `files`, of which `kept` are kept, and the findings on the live cluster."""

    files: tuple[Path, ...]
    kept: tuple[Path, ...]
    context: str = ""
    uid: str = ""
    live: Mapping[str, Finding] = field(default_factory=dict)
    missed: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def _seen(cutover: Cutover, context: str, snapshots: tuple[Path, ...], keep: Path | None) -> Iterator[_Seen]:
    """Provide the input; a live cluster's snapshot is in a temporary file, or in `keep`."""
    if snapshots:
        yield _Seen(files=snapshots, kept=snapshots)
        return
    with tempfile.TemporaryDirectory(prefix="chaosext-gate-") as directory:
        yield _asked_live(cutover, context, keep or Path(directory) / "snapshot.json", keep)


def _asked_live(cutover: Cutover, context: str, file: Path, keep: Path | None) -> _Seen:
    from chaosext.cli.snapshot import write_snapshot
    from chaosext.model.errors import Refused
    from chaosext.run.session.live_snapshot import Survey

    if cutover.context not in ("", context):
        raise Refused(
            f"--context {context}: the plan is for context {cutover.context}", "set --context to the plan's"
        )
    survey = Survey.of(context)
    if cutover.cluster_uid not in ("", survey.uid):
        raise Refused(
            f"cluster.uid: context {context} is the cluster {survey.uid}, but the plan is for {cutover.cluster_uid}",
            "set --context to the plan's cluster",
        )
    say(f"querying {context}, read-only …", err=True)
    write_snapshot(str(file), survey.snapshot())
    live = survey.findings(cutover.namespaces)
    return _Seen(
        files=(file,),
        kept=(keep,) if keep else (),
        context=context,
        uid=survey.uid,
        live=live,
        missed=survey.missed,
    )


def _judged(
    cutover: Cutover,
    seen: _Seen,
    seed: int,
    time_budget_s: float,
    *,
    at: datetime,
    plan: str,
    plan_sha256: str,
    flags: tuple[str, ...],
    longest: bool,
) -> tuple[Sheet, tuple[LaneFacts, ...]]:
    """Judge what was seen; returns the record, and what the lanes of each rehearsal need."""
    from chaosext.cli.output import SimulationProgress
    from chaosext.gate.judge import judge
    from chaosext.gate.remedies import Search
    from chaosext.gate.ticket import Asked, Sheet
    from chaosext.rehearsal.network.declared_network import declared
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.reader import read_snapshot
    from chaosext.rehearsal.snapshot.snapshot_files import Reading
    from chaosext.report.data.predicted_lanes import LaneFacts
    from chaosext.run.session.run_context import owner

    reading = Reading(hashes=True)
    read = read_snapshot(seen.files, controller_manager_args=flags, reading=reading)
    world = declared(read, cutover.network, "network.fabric_hears")
    say(str(reading), err=True)
    say(f"rehearsing on {len(world.nodes)} nodes, {len(world.pods)} Pods …", err=True)
    budget = TimeBudget.of(time_budget_s)
    with SimulationProgress() as progress:
        first = replace(budget.share(WITHOUT_PATCHES), tell=progress.of("simulations"))
        found = judge(world, cutover, seen.live, seed=seed, budget=first)
        if longest:
            progress.note("looking for the longest safe cut …")
        part = budget.share(FOR_LONGEST)
        longest_cuts = _longest(world, cutover, found, seed, part) if longest else ()
        search = Search(
            world=world,
            cutover=cutover,
            before=found,
            live=seen.live,
            context=seen.context,
            seed=seed,
            tell=lambda what: progress.note(f"rehearsing with {what} …"),
            budget=budget,
        ).search()
    asked = Asked(
        at=at,
        by=cutover.by or owner(),
        plan=plan,
        plan_sha256=plan_sha256,
        snapshot_sha256=reading.sha256,
        files=tuple(map(name_of, seen.kept)),
        taken_at=world.taken_at,
        context=seen.context,
        uid=seen.uid,
        missed=tuple(seen.missed.items()),
    )
    sheet = Sheet(
        asked=asked,
        cutover=cutover,
        judgement=found,
        remedies=search.remedies,
        untried=search.untried,
        longest=longest_cuts,
        version=world.control_plane.version,
        node_count=len(world.nodes),
        meshed=world.mesh is not None,
    )
    plans = (cutover.plan(found.nodes, each.cut_for_s) for each in found.rehearsed)
    return sheet, tuple(LaneFacts.of(world, plan) for plan in plans)


def _longest(
    world: World, cutover: Cutover, found: Judgement, seed: int, budget: TimeBudget
) -> tuple[LongestCut, ...]:
    """Return the longest safe cut of the plan's nodes, and of each rack and zone of them; none if they come and go."""
    from chaosext.cli.forked import on_all_cores
    from chaosext.gate.domain_cuts import GROUPS, domain_cuts
    from chaosext.gate.longest_cut import longest_cuts, range_for

    if cutover.flap:
        return ()
    return longest_cuts(
        world,
        cutover,
        found.nodes,
        domain_cuts(world, GROUPS, found.nodes),
        range_for(cutover),
        seed=seed,
        budget=budget,
        on_all=on_all_cores,
    )


def _renderers(sheet: Sheet, lanes: tuple[LaneFacts, ...]) -> Mapping[str, Callable[[], str]]:
    from chaosext.report.render.formats import as_json
    from chaosext.report.render.gate_text import markdown
    from chaosext.report.render.html.gate_page import render_gate_page

    return {
        ".html": lambda: shown(render_gate_page(sheet, lanes)),
        ".md": lambda: shown(markdown(sheet)),
        ".json": lambda: as_json(sheet.to_json()),
    }


def _say(sheet: Sheet, lanes: tuple[LaneFacts, ...], form: Form, *, verbose: bool) -> None:
    """Print the data, or the details if they are wanted, and then the screen."""
    if form.is_data:
        say_data(sheet.to_json(), form)
        return
    from chaosext.cli.output import say_screen, screen_columns
    from chaosext.cli.rehearsal_view import said_again
    from chaosext.report.render.gate_screen import gate_screen
    from chaosext.report.render.gate_text import text_lines

    if verbose or form.is_wide:
        say(*text_lines(sheet), "")
    more = (["-v"], "every reason, event and command"), (["--report", "ticket.html"], "a page for the ticket")
    columns = screen_columns()
    steps = tuple(said_again(["chaosext", "gate"], more, columns))
    say_screen(gate_screen(sheet, lanes, steps, columns))
