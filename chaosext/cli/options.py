"""What options mean in every command: files, stdin, bundled examples, names, contexts and kubeconfigs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from chaosext.cli.bundled_examples import EXAMPLE, EXAMPLES, path_of
from chaosext.model.errors import did_you_mean
from chaosext.model.files import STDIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Command = TypeVar("Command", bound=Callable[..., Any])
    Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

READ_STDIN = "chaosext.stdin"
"""Key in the context's `meta`: the parameter that reads stdin."""


class InputFile(click.ParamType):  # type: ignore[type-arg]
    """A file to read: its path, `-` for stdin (once in a command line), or `example:NAME` for a bundled one.

    Whether it can be read is found out when it is read.
    """

    name = "file"

    def __init__(self, kind: str = "") -> None:
        """`kind`: which bundled examples may stand here, such as `snapshot`."""
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        given = os.fspath(value)
        if given == str(STDIN) and ctx is not None:
            _read_once(param, ctx)
        if not given.startswith(EXAMPLE):
            self._require_no_bare_name(given, param, ctx)
            return Path(given)
        try:
            return path_of(given.removeprefix(EXAMPLE), self._kind)
        except LookupError as error:
            self.fail(str(error.args[0]), param, ctx)

    def _require_no_bare_name(
        self, given: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> None:
        """Refuse an example's name without its prefix, unless it is a file; a bundled experiment needs none."""
        names = {each.name for each in EXAMPLES if each.kind == self._kind != "experiment"}
        if given in names and not Path(given).exists():
            self.fail(f"there is no file {given}; did you mean {EXAMPLE}{given}?", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        names = (
            CompletionItem(f"{EXAMPLE}{each.name}", help=each.about)
            for each in EXAMPLES
            if each.kind == self._kind
        )
        found = [item for item in names if incomplete and item.value.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


class FileOrText(InputFile):
    """A file to read, as above, or the text that it would contain; the command tells them apart."""

    name = "file or text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        is_named = value == str(STDIN) or value.startswith(EXAMPLE)
        return str(super().convert(value, param, ctx)) if is_named else value


def _read_once(param: click.Parameter | None, ctx: click.Context) -> None:
    """Raise `click.UsageError` if another parameter, or another value of this one, reads stdin already."""
    here = param.opts[0] if param else "a file"
    if before := ctx.meta.get(READ_STDIN):
        both = f"{before} and {here}" if before != here else f"{here} twice"
        raise click.UsageError(f"- is given for {both}, but stdin can be read only once; use a file", ctx)
    ctx.meta[READ_STDIN] = here


class Names(click.Choice[str]):
    """One of several names; a mistyped one is refused with the nearest."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        return f"unknown name {value!r}; {did_you_mean(str(value), self.choices)}"


# -- clusters ----------------------------------------------------------------------------------------------------


def _use_kubeconfig(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Let everything that this command does read this kubeconfig, as if $KUBECONFIG named it."""
    if not value or (ctx.resilient_parsing and not Path(value).is_file()):
        return
    if not Path(value).expanduser().is_file():
        raise click.BadParameter(f"there is no file {value}; set it to a kubeconfig", ctx, param)
    before = os.environ.get("KUBECONFIG")
    os.environ["KUBECONFIG"] = str(Path(value).expanduser())

    @ctx.find_root().call_on_close
    def restore() -> None:
        if before is None:
            os.environ.pop("KUBECONFIG", None)
        else:
            os.environ["KUBECONFIG"] = before


def quiet(names: Callable[[], Iterable[str]]) -> Completer:
    """Return a completer of the names; none of them if they can't be found out: completion never fails."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        with suppress(Exception):
            return [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        return []

    return complete


def _contexts() -> Iterable[str]:
    from chaosext.cluster.kubeconfig import known_contexts

    return known_contexts()


complete_contexts = quiet(_contexts)

kubeconfig_option = click.option(
    "--kubeconfig",
    metavar="FILE",
    expose_value=False,
    is_eager=True,
    callback=_use_kubeconfig,
    help="Use this kubeconfig.  [default: $KUBECONFIG, else ~/.kube/config]",
)


CURRENT = "Kubernetes context.  [default: the kubeconfig's current context]"
"""Help of --context where a command only reads; see `context_or_current`."""


def cluster_options(about: str = CURRENT) -> Callable[[Command], Command]:
    """Give a command `--kubeconfig` and `--context`, which it gets as `context`, None without one."""

    def decorate(command: Command) -> Command:
        option = click.option("--context", shell_complete=complete_contexts, help=about)
        return option(kubeconfig_option(command))

    return decorate


def context_or_current(context: str | None) -> str:
    """Return the context, or the kubeconfig's current one. Raises `Refused` if there is none."""
    if context:
        return context
    from chaosext.cluster.kubeconfig import current_context

    return current_context()
