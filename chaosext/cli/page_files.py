"""`--report FILE`: the pages that commands write, each in the format that its suffix names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaosext.model.printable import say, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.snapshot.world import World

SUFFIXES = (".html", ".md", ".json")

report_option = click.option(
    "--report",
    "reports",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Write the answer as a page: FILE.html, FILE.md or FILE.json (repeatable).",
)


def check_places(places: Sequence[Path], *, without: Mapping[str, object] | None = None) -> None:
    """Raise `Refused` for a page that could not be written, before anything takes its time.

    `without`: options that ask for something else than one answer -> their values.
    """
    from chaosext.model.errors import Refused

    other = next((name for name, value in (without or {}).items() if value), "")
    if places and other:
        raise Refused(f"--report is about one cut, and {other} is set", f"remove --report or {other}")
    for place in places:
        if place.suffix not in SUFFIXES:
            raise Refused(f"--report {place}: unknown format", f"end the name in {', '.join(SUFFIXES)}")
        if not place.parent.is_dir():
            raise Refused(
                f"--report {place}: there is no directory {place.parent}",
                f"create it: mkdir -p {place.parent}",
            )


def write_pages(places: Iterable[Path], renderers: Mapping[str, Callable[[], str]]) -> None:
    """Write each of the pages. `renderers`: suffix -> its text. Raises `Refused` if one cannot be written."""
    for place in places:
        write_page(place, renderers[place.suffix]())


def write_page(place: Path, text: str, *, option: str = "--report") -> None:
    """Write a page, and say on stderr where it is. Raises `Refused`, naming `option`, if it cannot be written."""
    from chaosext.model.errors import Refused
    from chaosext.report.render.formats import write_report

    try:
        write_report(place, text)
    except OSError as error:
        raise Refused(f"{option} {place}: {error.strerror}", "choose a file that you can write") from None
    say(f"report: {place}", err=True)


def write_rehearsal(
    places: Sequence[Path],
    found: Prediction,
    world: World,
    plan: Plan,
    *,
    files: Sequence[Path],
    mitigations: Sequence[str],
) -> None:
    """Write the pages of a rehearsal. `files`: those of the snapshot."""
    if not places:
        return
    from chaosext.cli.bundled_examples import name_of
    from chaosext.report.data.rehearsal_record import recorded
    from chaosext.report.render.formats import as_json
    from chaosext.report.render.html.rehearsal_page import render_rehearsal
    from chaosext.report.render.rehearsal_markdown import rehearsal_markdown

    record = recorded(found, world, plan, files=[*map(name_of, files)], mitigations=mitigations)
    write_pages(
        places,
        {
            ".html": lambda: shown(render_rehearsal(record)),
            ".md": lambda: shown(rehearsal_markdown(record)),
            ".json": lambda: as_json(found.to_json()),
        },
    )
