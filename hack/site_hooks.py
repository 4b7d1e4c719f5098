"""Hook of the documentation site: the command line reference is what `chaosext COMMAND --help` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chaosext.cli.main import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = "<!-- commands -->"
WIDTH = 100


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the help of every command in the place of `PLACE` (called by MkDocs for each page)."""
    return markdown.replace(PLACE, "\n\n".join(sections())) if PLACE in markdown else markdown


def sections() -> Iterator[str]:
    """A heading and the help text of every command, depth first."""
    for context in _contexts(click.Context(cli, info_name="chaosext", **_settings(cli))):
        level = "##" if context.command_path.count(" ") < 2 else "###"
        yield f"{level} {context.command_path}\n\n```text\n{context.get_help()}\n```"


def _contexts(context: click.Context) -> Iterator[click.Context]:
    yield context
    group = context.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if found is not None and not found.hidden:
            yield from _contexts(click.Context(found, parent=context, info_name=name, **_settings(found)))


def _settings(command: click.Command) -> dict[str, Any]:
    return {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
