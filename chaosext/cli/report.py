"""`chaosext report`: writes the report of a run for people and machines, or compares two runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import Form, OutputFile, say_data
from chaosext.cli.options import Names, quiet
from chaosext.model.printable import say, say_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaosext.report.data.run_data import RunData

FORMATS = ("html", "markdown", "junit", "json")
"""The names in `chaosext.report.render.formats`, repeated here so that `--help` does not import it."""

COMPARED = ("html", "markdown", "json")

STDOUT = "-"


def _runs() -> Iterable[str]:
    from chaosext.run.session.run_directory import kept_runs

    return kept_runs()


@click.command()
@click.argument("run", shell_complete=quiet(_runs))
@click.argument("other", required=False, shell_complete=quiet(_runs))
@click.option("--format", "formats", type=Names(FORMATS), multiple=True, help="Only these (repeatable).")
@click.option(
    "-o", "--output", type=OutputFile(), help="A directory; or a file, or - for stdout, for one --format."
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON what was written, and the verdict.")
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    envvar="CHAOSEXT_RUN_DIR",
    help="Where run/<id>/ is.  [default: ./run]",
)
def report(
    run: str,
    other: str | None,
    formats: tuple[str, ...],
    output: str | None,
    as_json: bool,
    run_dir: Path | None,
) -> int:
    """Write the report of RUN: its directory, its id, or `latest`. With OTHER, compare the two runs.

    \b
    Examples:
      chaosext report latest                                    report.html, summary.md, junit.xml, report.json
      chaosext report latest --format markdown -o -             for a pull request
      chaosext report 20261123t230300ab12 latest                what differs between two runs
      chaosext report run/20261123t230300ab12 -o public/        into another directory

    A run that was killed gets a report as well: its verdict is unknown, and the report lists what is missing. Exit
    code: 0 written, 20 if the run does not exist or nothing could be written.
    """
    form = Form.JSON if as_json else Form.TEXT
    return write_reports(run, other, formats, output, run_dir, form=form)


def write_reports(
    run: str,
    other: str | None,
    formats: tuple[str, ...] = (),
    output: str | None = None,
    run_dir: Path | None = None,
    *,
    form: Form,
) -> int:
    """Write the report of a run, or compare it with another one; print what was written."""
    from chaosext.report.data.run_data import read_run
    from chaosext.run.session.run_directory import found_run

    path = found_run(run, run_dir)
    if other is None:
        return _report(path, read_run(path), formats or FORMATS, output, form)
    second = found_run(other, run_dir)
    return _compare(read_run(path), second, read_run(second), formats or COMPARED, output, form)


def _report(path: Path, data: RunData, formats: tuple[str, ...], output: str | None, form: Form) -> int:
    from chaosext.report.render.formats import FILES
    from chaosext.report.render.formats import FORMATS as RENDER

    texts = {name: RENDER[name](data) for name in formats}
    places = _places({name: FILES[name] for name in formats}, output, path)
    written = _written(texts, places)
    _say(data, written, form)
    return 0


def _compare(
    first: RunData, path: Path, second: RunData, formats: tuple[str, ...], output: str | None, form: Form
) -> int:
    from chaosext.model.errors import Refused
    from chaosext.report.data.run_comparison import compare
    from chaosext.report.render.formats import COMPARISONS

    if "junit" in formats:
        raise Refused("--format junit: not available for a comparison", f"one of {', '.join(COMPARED)}")
    comparison = compare(first, second)
    texts = {name: COMPARISONS[name](comparison) for name in formats}
    suffixes = {"html": "html", "markdown": "md", "json": "json"}
    names = {name: f"compared-with-{first.result.run}.{suffixes[name]}" for name in formats}
    written = _written(texts, _places(names, output, path))
    _say(second, written, form)
    if not form.is_data and STDOUT not in written.values():
        for doubt in comparison.doubts:
            say(f"limited comparison: {doubt}")
    return 0


def _places(names: Mapping[str, str], output: str | None, directory: Path) -> dict[str, str]:
    """Return the file of each format, or `STDOUT`. Raises `Refused` for several formats in one stream."""
    from chaosext.model.errors import Refused

    if output == STDOUT and len(names) > 1:
        raise Refused(
            f"-o -: {len(names)} formats do not fit into one stream", "choose one --format, or a directory"
        )
    if output is None:
        return {name: str(directory / file) for name, file in names.items()}
    if len(names) > 1 or output.endswith(os.sep) or Path(output).is_dir():
        return {name: str(Path(output) / file) for name, file in names.items()}
    return dict.fromkeys(names, output)


def _written(texts: Mapping[str, str], places: Mapping[str, str]) -> dict[str, str]:
    from chaosext.model.errors import Refused
    from chaosext.report.render.formats import write_report

    for name, place in places.items():
        if place == STDOUT:
            say_document(texts[name])
            continue
        try:
            Path(place).parent.mkdir(parents=True, exist_ok=True)
            write_report(Path(place), texts[name])
        except OSError as error:
            raise Refused(f"{place}: {error.strerror}", "choose another place with -o") from None
    return dict(places)


def _say(data: RunData, written: Mapping[str, str], form: Form) -> None:
    from chaosext.report.data.coverage_gaps import unseen

    if STDOUT in written.values():
        return
    result, missing = data.result, tuple(unseen(data))
    if form.is_data:
        told = {
            "run": result.run,
            **result.verdict.to_json(),
            "exit_code": result.exit_code,
            "written": written,
            "not_known": missing,
        }
        say_data(told, form)
        return
    say(f"{result.run}: {result.ending}")
    for line in missing:
        say(f"unknown: {line}")
    for place in written.values():
        say(place)
