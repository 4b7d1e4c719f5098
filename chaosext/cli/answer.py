"""A command's answer: text for people, JSON or YAML for machines, chosen by one pair of options."""

from __future__ import annotations

import json
from enum import StrEnum
from functools import wraps
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from chaosext.cli.options import Names
from chaosext.model.errors import Refused
from chaosext.model.printable import json_text, say_document, say_json, say_lines
from chaosext.model.redact import veiled_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Command = TypeVar("Command", bound=Callable[..., Any])


class Form(StrEnum):
    """How an answer is printed."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
    WIDE = "wide"

    @property
    def is_data(self) -> bool:
        """Whether a machine reads it."""
        return self in (Form.JSON, Form.YAML)

    @property
    def is_wide(self) -> bool:
        """Whether more columns, or all details, are wanted."""
        return self is Form.WIDE


class OutputFile(click.ParamType):  # type: ignore[type-arg]
    """A file or directory to write, or `-` for stdout. The name of a form of answers is a mistake here."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value in list(Form):
            self.fail(
                f"{value!r} is a format, but a file is expected here; write -o ./{value} for this name",
                param,
                ctx,
            )
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


def answers(schema: str = "") -> Callable[[Command], Command]:
    """Give a command the options `--output` and `--json`; it gets the chosen form as `form`.

    Args:
        schema: Name and version of the JSON's schema, for the help.
    """
    said = f", schema {schema}" if schema else ""
    output = click.option(
        "-o",
        "--output",
        type=Names([form.value for form in Form]),
        default=Form.TEXT.value,
        help=f"json, yaml: the same data{said}; wide: text with all details.  [default: text]",
    )
    short = click.option("--json", "as_json", is_flag=True, help="Short for --output json.")

    def decorate(command: Command) -> Command:
        @wraps(command)
        def formed(*arguments: Any, output: str, as_json: bool, **options: Any) -> Any:
            return command(*arguments, form=_chosen(output, as_json=as_json), **options)

        return output(short(formed))  # type: ignore[return-value]

    return decorate


def _chosen(output: str, *, as_json: bool) -> Form:
    """Return the form; --json outdoes a default of --output from the environment or the config file."""
    source = click.get_current_context().get_parameter_source("output")
    if as_json and source is ParameterSource.COMMANDLINE:
        raise Refused(
            "--json and --output are both set", "remove one of them; --json is short for --output json"
        )
    return Form.JSON if as_json else Form(output)


def say_answer(value: Any, lines: Iterable[str], form: Form, *, to: IO[str] | None = None) -> None:
    """Print a command's answer: `value` for machines, or `lines` for people."""
    if form.is_data:
        say_data(value, form, to=to)
    else:
        say_lines(lines, to=to)


def say_data(value: Any, form: Form, *, to: IO[str] | None = None) -> None:
    """Print `value` as YAML or JSON."""
    if form is Form.YAML:
        from chaosext.cluster.yaml_writer import as_yaml

        plain = json.loads(json_text(veiled_whole(value), indent=None))
        say_document(as_yaml(plain), to=to)
    else:
        say_json(value, to=to)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table: columns two blanks apart, as `kubectl get` prints them."""
    lines = [tuple(name.upper() for name in header), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
