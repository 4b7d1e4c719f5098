"""`chaosext pin`: pins a context to one cluster; every action compares them before it changes anything."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import Form, answers, say_answer, table
from chaosext.cli.options import cluster_options, quiet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from chaosext.safety.pins import Pin


def _pinned() -> Iterable[str]:
    from chaosext.safety.pins import read_pins

    return sorted(read_pins())


@click.command()
@cluster_options("The Kubernetes context to pin.")
@click.option("--replace", is_flag=True, help="Pin it although it was pinned to another cluster.")
@click.option(
    "--production/--no-production",
    default=None,
    help="Mark it as production, where only approved experiments may act; or remove the mark.",
)
@click.option(
    "--remove", metavar="CONTEXT", shell_complete=quiet(_pinned), help="Remove the pin of this context."
)
@click.option(
    "--list", "as_list", is_flag=True, help="List the pins.  [default: what happens without options]"
)
@answers()
def pin(
    context: str | None,
    replace: bool,
    production: bool | None,
    remove: str | None,
    as_list: bool,
    form: Form,
) -> int:
    """Pin a context to a cluster: its server, certificate authority, and kube-system's UID.

    Nothing is cut or deleted on a context that is not pinned, or that leads to another cluster than the pinned one.
    Pinning the same cluster again changes nothing; another cluster needs --replace. `chaosext testbed up` pins its
    own.

    \b
    Examples:
      chaosext pin --context production-eu --production     only what `chaosext approve` approved is run there
      chaosext pin --list --json
      chaosext pin --remove kind-old
    """
    from chaosext.model.errors import Refused

    asked = [
        name for name, given in (("--context", context), ("--remove", remove), ("--list", as_list)) if given
    ]
    if len(asked) > 1:
        raise Refused(f"{asked[0]} and {asked[1]} exclude each other", "choose one of them")
    for name, given in (("--replace", replace), ("--production", production is not None)):
        if given and not context:
            raise Refused(f"{name}: no context given", "add --context")
    if context:
        _pin(context, replace=replace, production=production, form=form)
    elif remove:
        _remove(remove, form)
    else:
        _list(form)
    return 0


def _pin(context: str, *, replace: bool, production: bool | None, form: Form) -> None:
    from chaosext.run.session.connection import pin_context

    pinned, is_new = pin_context(context, replace=replace, production=production)
    lines = ("pinned:" if is_new else "pinned already:", *_lines(pinned))
    say_answer({"changed": is_new, **asdict(pinned)}, lines, form)


def _remove(context: str, form: Form) -> None:
    from chaosext.safety.pins import remove_pin

    was_there = remove_pin(context)
    line = f"{context}: {'unpinned' if was_there else 'was not pinned'}"
    say_answer({"changed": was_there, "context": context}, [line], form)


def _list(form: Form) -> None:
    from chaosext.safety.pins import pins_path, read_pins

    pins = read_pins()
    listed = _table(pins.values()) if form.is_wide and pins else _listed(pins)
    lines = tuple(listed) or (f"no context is pinned in {pins_path()}",)
    say_answer({name: asdict(each) for name, each in sorted(pins.items())}, lines, form)


def _listed(pins: Mapping[str, Pin]) -> Iterator[str]:
    for _, each in sorted(pins.items()):
        yield from _lines(each)


def _table(pins: Iterable[Pin]) -> Iterator[str]:
    header = ("context", "server", "CA (SHA-256)", "kube-system UID", "production")
    rows = (
        (
            each.context,
            each.server,
            each.ca_sha256 or "-",
            each.kube_system_uid,
            "yes" if each.production else "no",
        )
        for each in sorted(pins, key=lambda pin: pin.context)
    )
    return table(header, rows)


def _lines(pin: Pin) -> Iterator[str]:
    yield pin.context
    yield f"  server           {pin.server}"
    yield f"  CA (SHA-256)     {pin.ca_sha256 or 'as the system trusts'}"
    yield f"  kube-system UID  {pin.kube_system_uid}"
    if pin.production:
        yield "  production       only approved experiments may act there"
