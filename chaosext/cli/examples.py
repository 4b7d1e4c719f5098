"""`chaosext examples`: the bundled files that stand for a name, so that everything can be tried without a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import Form, answers, say_answer, table
from chaosext.cli.bundled_examples import EXAMPLE, EXAMPLES
from chaosext.cli.options import quiet
from chaosext.model.errors import Refused, did_you_mean
from chaosext.model.printable import say_document

if TYPE_CHECKING:
    from pathlib import Path


@click.command(name="examples")
@click.argument("name", required=False, shell_complete=quiet(lambda: [each.name for each in EXAMPLES]))
@answers()
def list_examples(name: str | None, form: Form) -> None:
    """List the bundled examples, or print the one called NAME, to start your own from it.

    Wherever a command reads a snapshot, a plan, scenarios or settings, example:NAME stands for the bundled file.

    \b
    Examples:
      chaosext examples
      chaosext examples -o wide
      chaosext examples all-workers > cutover.yaml
      chaosext rehearse --snapshot example:story
    """
    if name is None:
        say_answer([each.to_json() for each in EXAMPLES], _listed(form), form)
        return
    name = name.removeprefix(EXAMPLE)
    found = next((each for each in EXAMPLES if each.name == name), None)
    if found is None:
        raise Refused(f"{name}: not a bundled example", did_you_mean(name, [each.name for each in EXAMPLES]))
    if form is Form.TEXT:
        say_document(_text(found.path))
    else:
        say_answer(found.to_json(), [found.use], form)


def _listed(form: Form) -> list[str]:
    rows = [(each.name, each.kind, each.about, each.use, str(each.path)) for each in EXAMPLES]
    header, shown = ("name", "kind", "about", "try", "file"), 5 if form.is_wide else 4
    return list(table(header[:shown], [row[:shown] for row in rows]))


def _text(path: Path) -> str:
    """Return the content of a file, unzipped. Raises `Refused` where chaosext was installed without it."""
    from chaosext.model.files import opened, read_file, unzipped

    try:
        if path.suffix != ".gz":
            return read_file(path).decode()
        with opened(path) as file:
            return b"".join(unzipped(file, path)).decode()
    except OSError as error:
        fix = "install chaosext from its wheel, which contains the examples"
        raise Refused(f"{path}: {error.strerror}", fix) from None
