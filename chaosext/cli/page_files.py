"""`--report FILE`: the pages that `gate` and `rehearse` write, each in the format that its suffix names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaosext.model.printable import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SUFFIXES = (".html", ".md", ".json")

report_option = click.option(
    "--report",
    "reports",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Write the answer as a page: FILE.html, FILE.md or FILE.json (repeatable).",
)


def check_places(places: Iterable[Path]) -> None:
    """Raise `Refused` for a page that could not be written, before anything takes its time."""
    from chaosext.model.errors import Refused

    for place in places:
        if place.suffix not in SUFFIXES:
            raise Refused(f"--report {place}: unknown format", f"end the name in {', '.join(SUFFIXES)}")
        if not place.parent.is_dir():
            raise Refused(
                f"--report {place}: there is no directory {place.parent}",
                f"create it: mkdir -p {place.parent}",
            )


def write_pages(places: Iterable[Path], renderers: Mapping[str, Callable[[], str]]) -> None:
    """Write each of the pages, and say on stderr where it is. `renderers`: suffix -> its text.

    Raises `Refused` if one cannot be written.
    """
    from chaosext.model.errors import Refused
    from chaosext.report.render.formats import write_report

    for place in places:
        try:
            write_report(place, renderers[place.suffix]())
        except OSError as error:
            raise Refused(f"--report {place}: {error.strerror}", "choose a file that you can write") from None
        say(f"report: {place}", err=True)
