"""Defaults of options, from a file of the user's: flag > environment > file > built in. `chaosext config`."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chaosext.cli.answer import Form, answers, say_answer, table
from chaosext.model.errors import Refused, did_you_mean
from chaosext.model.paths import config_home
from chaosext.model.printable import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIABLE = "CHAOSEXT_CONFIG"
EXAMPLE = "write e.g. rehearse: {cut-for: 8m}"

ALWAYS = ("abort", "cleanup", "status")
"""Commands that end a cut or look for one: a faulty file must not stop them, and is only reported."""

SAFETY = "it decides what may be touched"
BAR = "it decides what counts as good"
CLUSTER = "which cluster is meant is never a default"
MODE = "it selects what the command does"
FACT = "it states a fact about one cluster or plan, and would silently hold for all"

_NEVER: Mapping[str, str] = {
    SAFETY: "force replace production remove revoke everything unasked until by",
    BAR: "expect settle_s dwell_s probability",
    CLUSTER: "context contexts kubeconfig kubeconfigs name load_balancer",
    MODE: "as_list config_map dry_run check summed as_json run run_id index longest worst patch page",
    FACT: "snapshots plan path fleet scenarios experiment results folders log keep known at cut_at cut_nodes "
    "rollback_at flapping controller_manager_args apiserver_args fabric_hears hold_s mitigations changes namespaces "
    "targets leaf note reason",
}
"""Why -> the parameters that neither the file nor the environment can set."""

NEVER = {name: why for why, names in _NEVER.items() for name in names.split()}

NEVER_COMMANDS = ("approve", "pin")
"""Commands none of whose options has a default of the user's: they grant what others rely on."""


def settable(command: click.Command, path: str) -> dict[str, click.Option]:
    """Return the options that the file and the environment can set, by their names without dashes."""
    if path.split(" ", maxsplit=1)[0] in NEVER_COMMANDS:
        return {}
    return {key: option for key, option in _options(command).items() if why_never(option) is None}


def variable(path: str, key: str) -> str:
    """Return the environment variable of an option, such as CHAOSEXT_REHEARSE_CUT_FOR."""
    return f"CHAOSEXT {path} {key}".upper().replace(" ", "_").replace("-", "_")


def why_never(option: click.Option) -> str | None:
    """Return why an option has no default of the user's, or None."""
    if option.required:
        return MODE
    return NEVER.get(option.name or "")


def _options(command: click.Command) -> dict[str, click.Option]:
    """Return all options of a command by their long names."""
    return {
        long.removeprefix("--"): option
        for option in command.params
        if isinstance(option, click.Option) and option.expose_value
        for long in option.opts
        if long.startswith("--")
    }


# -- the file ----------------------------------------------------------------------------------------------------


def config_path() -> Path:
    """Return the file: `$CHAOSEXT_CONFIG`, else config.yaml in the user's directory of configuration."""
    return Path(os.environ.get(VARIABLE) or config_home() / "config.yaml")


def read_config() -> dict[str, Any]:
    """Return the content of the file; empty if there is none. Raises `Refused` if it can't be read as a mapping."""
    path = config_path()
    if not os.environ.get(VARIABLE) and not path.exists():
        return {}
    from chaosext.cluster.object_files import read_document

    value, _ = read_document(path, VARIABLE if os.environ.get(VARIABLE) else "config file")
    if not isinstance(value or {}, dict):
        raise Refused(f"{path}: a mapping of commands is expected", EXAMPLE)
    return {str(key): each for key, each in (value or {}).items()}


def defaults_for(
    group: click.Group, context: click.Context, name: str | None, *, goes_on: bool = False
) -> dict[str, Any]:
    """Return click's `default_map`, with the section of the command called `name` (None: of every command).

    Raises `Refused`, naming file, key and fix, for an unknown command, option or value; only says so if it `goes_on`.
    """
    try:
        return dict(_sections(group, context, name))
    except Refused as error:
        if not goes_on:
            raise
        say(f"chaosext: {error.message}; built-in defaults are used", err=True)
        return {}


def _sections(group: click.Group, context: click.Context, name: str | None) -> Iterator[tuple[str, Any]]:
    for key, section in read_config().items():
        if key not in group.list_commands(context):
            raise _refused(key, "no such command", did_you_mean(key, group.list_commands(context)))
        if name in (None, key):
            command = group.get_command(context, key)
            assert command is not None, key  # noqa: S101  it is listed
            yield key, _section(command, context, key, section)


def _section(command: click.Command, context: click.Context, path: str, section: Any) -> dict[str, Any]:
    """Return the defaults of a command, or of a group's commands, by the names of its parameters."""
    if not isinstance(section, dict):
        raise _refused(path, "a mapping is expected", EXAMPLE)
    here = click.Context(command, parent=context, info_name=path.rsplit(" ", maxsplit=1)[-1])
    found: dict[str, Any] = {}
    for key, value in section.items():
        place = f"{path} {key}"
        if isinstance(command, click.Group):
            inner = command.get_command(here, str(key))
            if inner is None:
                raise _refused(place, "no such command", did_you_mean(str(key), command.list_commands(here)))
            found[str(key)] = _section(inner, here, place, value)
        else:
            option = _named(command, path, str(key))
            found[str(option.name)] = _value(option, here, place, value)
    return found


def _named(command: click.Command, path: str, key: str) -> click.Option:
    option, allowed = _options(command).get(key), settable(command, path)
    if key in allowed:
        return allowed[key]
    if option is None:
        hint = did_you_mean(key, allowed) if allowed else "remove it"
        raise _refused(f"{path} {key}", "no such option", hint)
    why = why_never(option) or SAFETY
    raise _refused(
        f"{path} {key}", f"can't be set here: {why}", f"remove it, and write --{key} on the command line"
    )


def _value(option: click.Option, context: click.Context, place: str, value: Any) -> Any:
    """Return a value that click accepts. Raises `Refused` for one that the command line would refuse, too."""
    given = value if isinstance(value, list) and option.multiple else [value]
    for each in given:
        if isinstance(each, bool) != option.is_flag or not isinstance(each, (bool, str, int, float)):
            expected = "true or false" if option.is_flag else "a text or a number; put it in quotes"
            raise _refused(place, f"{each!r} is not a valid value", f"set it to {expected}")
        try:
            option.type.convert(str(each) if not option.is_flag else each, option, context)
        except click.UsageError as error:
            said, _, fix = error.message.partition("; ")
            raise _refused(place, said, fix or "change it") from None
    return given if option.multiple else value


def _refused(place: str, what: str, fix: str) -> Refused:
    return Refused(f"{config_path()}: {place.replace(' ', '.')}: {what}", fix)


# -- chaosext config ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Default:
    """What holds where the command line is silent, and where it comes from: environment, file or built-in."""

    command: str
    option: str
    value: Any
    source: str
    variable: str


@click.group()
def config() -> None:
    """Show the defaults of options, which a file and the environment can set.

    \b
    The file is ~/.config/chaosext/config.yaml, or $CHAOSEXT_CONFIG:
      rehearse: {cut-for: 8m, time-budget: 2m}
      gate: {output: wide}
      testbed: {up: {workers: 3}}

    The command line wins over the environment (CHAOSEXT_REHEARSE_CUT_FOR=8m), that over the file, and the file over
    what is built in. Pins, approvals, and whatever names a cluster or loosens a check can only be given on the command
    line.
    """


@config.command("show")
@click.argument("command", required=False)
@answers()
@click.pass_context
def show_config(context: click.Context, command: str | None, form: Form) -> None:
    """Show each default in force, of all commands or of COMMAND, and where it comes from; checks the whole file.

    \b
    Examples:
      chaosext config show
      chaosext config show rehearse -o json
    """
    root = context.find_root()
    group = root.command
    assert isinstance(group, click.Group)  # noqa: S101  chaosext itself
    root.default_map = defaults_for(group, root, None)
    found = [
        each
        for each in _in_force(group, root, "")
        if command is None or f"{each.command} ".startswith(f"{command} ")
    ]
    if command is not None and not found:
        raise Refused(
            f"{command}: no command with defaults", did_you_mean(command, group.list_commands(root))
        )
    said = {
        "file": str(config_path()),
        "exists": config_path().exists(),
        "defaults": [asdict(each) for each in found],
    }
    say_answer(said, _listed(found, form), form)


def _in_force(group: click.Group, context: click.Context, path: str) -> Iterator[Default]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        here = click.Context(command, parent=context, info_name=name)
        named = f"{path} {name}".lstrip()
        if isinstance(command, click.Group):
            yield from _in_force(command, here, named)
        for key, option in settable(command, named).items():
            yield _default(option, here, named, key)


def _default(option: click.Option, context: click.Context, command: str, key: str) -> Default:
    named = str(option.envvar)
    by_environment = option.resolve_envvar_value(context)
    by_file = (context.default_map or {}).get(option.name or "")
    if by_environment is not None:
        value, source = by_environment, f"${named}"
    elif by_file is not None:
        value, source = by_file, str(config_path())
    else:
        value, source = _built_in(option, context), "built in"
    return Default(command, key, value, source, named)


def _built_in(option: click.Option, context: click.Context) -> Any:
    """Return the default of the code; what the help says of it, if the code decides later."""
    value = option.get_default(context)
    if isinstance(value, (bool, str, int, float)) and value != "":
        return value
    said = re.search(r"\[default: (.*?)\]", option.help or "")
    return said[1] if said else None


def _listed(found: list[Default], form: Form) -> Iterator[str]:
    exists = "" if config_path().exists() else ", which does not exist"
    yield f"file: {config_path()}{exists}"
    rows = [
        (f"{each.command} --{each.option}", _said(each.value), each.source, each.variable) for each in found
    ]
    header, shown = ("option", "default", "from", "variable"), 4 if form.is_wide else 3
    yield from table(header[:shown], [row[:shown] for row in rows])


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "-" if value is None else str(value)
