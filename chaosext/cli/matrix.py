"""`chaosext matrix`: what a lost control plane costs, architecture by architecture, predicted and seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chaosext.cli.answer import Form, OutputFile, answers, say_answer, table
from chaosext.model.printable import say, say_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.matrix.cell_review import CellReview
    from chaosext.matrix.cells import MatrixCell
    from chaosext.matrix.kept_runs import MatrixStore
    from chaosext.matrix.play_cell import CellPlayer

NOT_AS_PREDICTED, NOT_PLAYED = 10, 30

KEPT = click.option(
    "--kept",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("matrix"),
    show_default=True,
    help="The directory of kept runs.",
)
CELLS = click.option(
    "--cells",
    "globs",
    multiple=True,
    metavar="GLOB",
    help="Cells whose names match, such as 'calico-*' (repeatable).",
)


@click.group()
def matrix() -> None:
    """Play architectures on the testbed, each predicted before it is run, and write the page that compares them.

    A cell is NETWORK/MESH/DNS, then +MITIGATION and @VARIANT: calico-bgp/istio/coredns+dns-affinity@production.

    \b
    Examples:
      chaosext matrix list
      chaosext matrix run macvlan/none
      chaosext matrix run --cells 'flannel/*'
      chaosext matrix show macvlan/none
      chaosext matrix page --output docs/architectures.md
    """


@matrix.command("list")
@CELLS
@KEPT
@answers()
def list_cells(globs: tuple[str, ...], kept: Path, form: Form) -> None:
    """List the cells of the matrix in their order of play, and what is known of each."""
    from chaosext.matrix.cells import wanted_cells
    from chaosext.matrix.kept_runs import MatrixStore

    store = MatrixStore(kept)
    failed = {each.cell: each.reason for each in store.failures()}
    rows = [_known_of(cell, store, failed.get(cell.name, "")) for cell in wanted_cells((), globs)]
    header = ("cell", "seen", "heals", "dns after the heal", "last run")
    lines = table(
        header, [tuple(str(row[key]) for key in ("cell", "seen", "heals", "dns", "last")) for row in rows]
    )
    say_answer(rows, lines, form)


def _known_of(cell: MatrixCell, store: MatrixStore, failed: str) -> dict[str, Any]:
    from chaosext.matrix.cell_review import CellReview

    reviews = [CellReview(each) for each in store.of(cell)]
    heals = {True: "yes", False: "no", None: "not known"}
    return {
        "cell": cell.name,
        "seen": f"{len(reviews)} runs"
        if len(reviews) > 1
        else "yes"
        if reviews
        else "failed"
        if failed
        else "no",
        "heals": "/".join(dict.fromkeys(heals[each.heals] for each in reviews)) or "–",
        "dns": "/".join(dict.fromkeys(each.dns_after.value for each in reviews)) or "–",
        "last": reviews[-1].kept.date if reviews else "–",
        "reason": failed,
    }


@matrix.command("run")
@click.argument("names", metavar="[CELL]...", nargs=-1)
@CELLS
@KEPT
@click.option("--again", is_flag=True, help="Also play cells that are kept.")
@click.option(
    "--repeats",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Play each cell until so many runs of it are kept, one after the other on one testbed.",
)
@click.option(
    "--keep-going/--fail-fast",
    default=True,
    show_default=True,
    help="Whether to go on with the next cell if one can't be played.",
)
@click.option("--dry-run", is_flag=True, help="Print the cells and their commands; play nothing.")
@click.option("--name", "bed", default="matrix", show_default=True, help="The testbed's name.")
@click.option("--images", default="auto", show_default=True, help="As `chaosext testbed up --images`.")
@click.option(
    "--run-dir",
    "runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("run/matrix"),
    show_default=True,
    help="Where logs and the runs' own directories go.",
)
@click.option(
    "--leave-up", is_flag=True, help="Use the testbed of that name if it is up, and don't remove it."
)
@answers()
def run_cells(
    names: tuple[str, ...],
    globs: tuple[str, ...],
    kept: Path,
    again: bool,
    repeats: int,
    keep_going: bool,
    dry_run: bool,
    bed: str,
    images: str,
    runs: Path,
    leave_up: bool,
    form: Form,
) -> int:
    """Play cells, each predicted beforehand. Without CELL and --cells, play the whole matrix: it takes hours.

    For each cell: bring the testbed up, predict from a snapshot, run the incident's experiment, compare, keep the run,
    and remove the testbed. A prediction is on disk, with its digest, before its run begins. A cell that is kept is not
    played again, so that an interrupted matrix continues where it stopped. A testbed of that name is removed before and
    after each cell.

    \b
    Exit code: 0 all as predicted, 10 an outcome that was not predicted, 30 a cell that could not be played; the first
    of 30 and 10 that applies. 20 refused, 40 a run may have left a cut.
    """
    from chaosext.matrix.cells import wanted_cells
    from chaosext.matrix.kept_runs import MatrixStore
    from chaosext.matrix.play_cell import CellPlayer
    from chaosext.testbed.config import checked_name
    from chaosext.testbed.stage_progress import Progress

    store = MatrixStore(kept)
    cells = wanted_cells(names, globs)
    left = [
        (cell, count) for cell in cells if (count := repeats if again else repeats - len(store.of(cell))) > 0
    ]
    if dry_run:
        rows = [{"cell": cell.name, "runs": count, "options": list(cell.up_options)} for cell, count in left]
        say_answer(rows, (f"{cell}: testbed up {' '.join(cell.up_options)}" for cell, _ in left), form)
        return 0
    player = CellPlayer(
        store=store,
        progress=Progress(),
        bed=checked_name(bed),
        runs=runs,
        images=images,
        leaves_up=leave_up,
    )
    played, failed = _play(player, left, keep_going=keep_going)
    say_answer(
        {
            "played": [each.to_json() for each in played],
            "failed": failed,
            "kept_before": len(cells) - len(left),
        },
        (
            *(line for each in played for line in _lines(each)),
            *(f"{name}: {why}" for name, why in failed.items()),
        ),
        form,
    )
    if failed:
        return NOT_PLAYED
    return 0 if all(each.is_foreseen for each in played) else NOT_AS_PREDICTED


def _play(
    player: CellPlayer, cells: Sequence[tuple[MatrixCell, int]], *, keep_going: bool
) -> tuple[list[CellReview], dict[str, str]]:
    """Play the cells; return what they showed, and why others could not be played."""
    from chaosext.matrix.play_cell import CellNotPlayed

    played: list[CellReview] = []
    failed: dict[str, str] = {}
    for number, (cell, count) in enumerate(cells, start=1):
        player.progress.line(f"Cell {number} of {len(cells)}: {cell}")
        try:
            for review in player.play(cell, count):
                played.append(review)
                player.progress.line(_headline(review))
        except CellNotPlayed as error:
            failed[cell.name] = f"{error.step}: {error.message}"
            player.progress.line(f"{cell}: not played: {error.step}: {error.message}; {error.fix}")
            if not keep_going:
                break
    return played, failed


@matrix.command("keep")
@click.argument("name", metavar="CELL")
@click.argument("run", metavar="RUN")
@KEPT
@answers()
def keep(name: str, run: str, kept: Path, form: Form) -> int:
    """Keep RUN (its directory, or its id) as one of CELL: a run of the incident's experiment on such a testbed.

    The rehearsal that the run wrote before its cut is the prediction, dated by that file.

    Exit code: 0 the outcome was predicted, 10 it was not, 30 the run shows nothing.
    """
    from chaosext.matrix.cells import MatrixCell
    from chaosext.matrix.kept_runs import MatrixStore
    from chaosext.matrix.play_cell import keep_run
    from chaosext.run.session.run_directory import found_run

    review = keep_run(MatrixStore(kept), MatrixCell.named(name), found_run(run))
    say_answer(review.to_json(), _lines(review), form)
    return 0 if review.is_foreseen else NOT_AS_PREDICTED


@matrix.command()
@click.argument("name", metavar="CELL")
@KEPT
@answers()
def show(name: str, kept: Path, form: Form) -> int:
    """Compare each kept run of CELL with the prediction made before it.

    Exit code: 0 the outcomes were predicted, 10 one was not, 20 there is no kept run.
    """
    from chaosext.matrix.cell_review import CellReview
    from chaosext.matrix.cells import MatrixCell
    from chaosext.matrix.kept_runs import MatrixStore
    from chaosext.model.errors import Refused

    cell = MatrixCell.named(name)
    reviews = [CellReview(each) for each in MatrixStore(kept).of(cell)]
    if not reviews:
        raise Refused(f"there is no kept run of {cell} in {kept}", f"play it: chaosext matrix run {cell}")
    say_answer(
        [each.to_json() for each in reviews], (line for each in reviews for line in _lines(each)), form
    )
    return 0 if all(each.is_foreseen for each in reviews) else NOT_AS_PREDICTED


def _headline(review: CellReview) -> str:
    found = review.hindsight
    return (
        f"{review.kept.cell}: {review.data.result.verdict.headline} (predicted {review.data.forecast}), "
        f"DNS {review.dns_after} after the heal, {found.right} of {found.expectations} expected events in time"
    )


def _lines(review: CellReview) -> Iterator[str]:
    from chaosext.matrix.architecture_page import after_heal, during_cut
    from chaosext.rehearsal.simulate.prediction import said_share

    yield _headline(review)
    yield f"  run {review.kept.run}, {review.kept.date}; prediction {review.kept.before.sha256[:12]}"
    predicted = ", ".join(f"{state} {said_share(chance)}" for state, chance in review.predicted)
    yield f"  predicted after the heal: DNS {predicted}"
    yield f"  during the cut: {during_cut(review)}"
    yield f"  after the heal: {after_heal([review])}"
    yield from (f"  {miss}" for miss in review.misses)


@matrix.command()
@KEPT
@click.option(
    "--output",
    "-o",
    type=OutputFile(),
    default="-",
    show_default=True,
    help="The file, such as docs/architectures.md; - for stdout.",
)
def page(kept: Path, output: str) -> int:
    """Write the page that compares architectures. The same kept runs make the same bytes."""
    from chaosext.matrix.architecture_page import architecture_page
    from chaosext.matrix.kept_runs import MatrixStore
    from chaosext.model.errors import Refused
    from chaosext.model.files import write_whole

    store = MatrixStore(kept)
    text = architecture_page(store.runs(), store.failures(), store.explanations())
    if output == "-":
        say_document(text)
        return 0
    try:
        write_whole(Path(output), text, fsync=False)
    except OSError as error:
        raise Refused(f"--output {output}: {error.strerror}", "choose a file that you can write") from None
    say(f"{output}: {len(store.runs())} kept runs", err=True)
    return 0
