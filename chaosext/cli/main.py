"""The command `chaosext`. Commands are imported when they are called, so that `--help` is fast."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import re
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any, NoReturn

import click

from chaosext import __version__
from chaosext.model.errors import EXIT_INTERNAL, ChaosextError, Refused, did_you_mean
from chaosext.model.printable import say, say_document

COMMANDS = {
    "rehearse": (
        "chaosext.cli.rehearse:rehearse",
        "Predict the effects of a cut from a snapshot; touch nothing.",
    ),
    "compare": (
        "chaosext.cli.compare:compare",
        "List what became worse or better between two snapshots, or compare two runs.",
    ),
    "snapshot": (
        "chaosext.cli.snapshot:snapshot",
        "Save the objects of a cluster that a rehearsal needs; touch nothing.",
    ),
    "gate": ("chaosext.cli.gate:gate", "Go/no-go check for a planned cutover, with reasons and fixes."),
    "preflight": ("chaosext.cli.run:preflight", "Show what a cut would lead to here; touch nothing."),
    "run": ("chaosext.cli.run:run", "Run an experiment: verdict, exit code, timeline, report."),
    "report": ("chaosext.cli.report:report", "Write the report of a run, or compare two runs."),
    "check": ("chaosext.cli.check:check", "Run one check, or all of the steady state."),
    "diagnose": (
        "chaosext.cli.diagnose:diagnose",
        "Say what is broken in a cluster, why, and what fixes it; touch nothing.",
    ),
    "baseline": (
        "chaosext.cli.baseline:baseline",
        "Save known unhealthy objects, to judge as before or better.",
    ),
    "status": ("chaosext.cli.status:status", "List active cuts and leftovers: node, run, owner, expiry."),
    "cleanup": (
        "chaosext.cli.cleanup:cleanup",
        "Remove what crashed runs left behind: expired cuts, locks, Pods.",
    ),
    "failover": (
        "chaosext.cli.failover:failover",
        "Drain a cluster from the load balancer in front of several, and restore it.",
    ),
    "abort": ("chaosext.cli.abort:abort", "Heal a run's cut now, from any machine, and end the run."),
    "pin": ("chaosext.cli.pin:pin", "Pin a context to a cluster; every change requires it."),
    "approve": ("chaosext.cli.approve:approve", "Approve an experiment for a cluster marked production."),
    "testbed": ("chaosext.cli.testbed:testbed", "Bring the kind/Calico/Istio testbed up and down."),
    "matrix": (
        "chaosext.cli.matrix:matrix",
        "Play architectures on the testbed, predicted and seen; write the page.",
    ),
    "schedule": ("chaosext.cli.schedule:schedule", "Write the manifests of scheduled game days."),
    "gameday": ("chaosext.cli.gameday:gameday", "Run a game day, as its Job in the cluster does."),
    "fleet": (
        "chaosext.cli.fleet:fleet",
        "Rehearse one cluster of a fleet, as its Job does, or summarize all.",
    ),
    "audit": ("chaosext.cli.audit:audit", "Show and verify the audit log."),
    "examples": ("chaosext.cli.examples:list_examples", "List the bundled examples, or print one."),
    "config": ("chaosext.cli.defaults:config", "Show the defaults of options, and where they come from."),
    "completion": ("chaosext.cli.completion:completion", "Print the completion script of a shell."),
}
"""Command -> its module, and its line in `chaosext --help` (so that listing commands imports none of them)."""

EXIT_REFUSED = Refused.exit_code

EXIT_PIPE = 141
"""The reader of the output has left: as if SIGPIPE had ended the process (128 + 13)."""

ASKS_HELP = "chaosext.help"
"""Key in the context's `meta`: whether the command line asks for help."""


class LazyGroup(click.Group):
    """A group whose commands are imported at first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return _with_habits(command, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[ASKS_HELP] = bool({"-h", "--help"}.intersection(args))
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return EXIT_PIPE


def _with_habits(command: click.Command, path: str) -> click.Command:
    """Give a command what all have: `--verbose`, and environment variables for what may have defaults."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            inner.short_help = _first_sentence(_with_habits(inner, f"{path} {name}").help or "")
        return command
    if not any("--verbose" in each.opts for each in command.params):
        shown = "With an internal error, print its traceback."
        command.params.append(click.Option(["-v", "--verbose"], is_flag=True, expose_value=False, help=shown))
    from chaosext.cli.defaults import settable, variable

    for key, option in settable(command, path).items():
        option.envvar = option.envvar or variable(path, key)
    return command


def _first_sentence(text: str) -> str:
    """Return the first sentence of a help text whole; click would cut it off after 45 characters."""
    return " ".join(re.split(r"(?<=\.)\s|\n\n", text.strip(), maxsplit=1)[0].split())


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="chaosext")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Rehearse a network cutover that cuts your Kubernetes control plane off from its nodes, before you do it for
    real.

    \b
    Without a cluster:
      chaosext rehearse example:story                            what would a cut of 8 minutes do?
      chaosext gate --cutover example:all-workers --snapshot example:story         go or no-go, and why
      chaosext examples                                          what else can be tried
    \b
    On a testbed:
      chaosext testbed up                                        a kind cluster with Calico, BGP leaf and Istio
      chaosext check all --context kind-chaosext                 does the steady state hold?
      chaosext run control-plane-partition                       cut, watch, heal, roll back, verify
      chaosext run control-plane-partition --dry-run             print the exact rules, touch nothing
      chaosext report latest                                     what broke, why, for how long, for whom

    \b
    Exit codes: 0 passed (or as expected), 1 passed, but another verdict was expected,
    10 deviated and rollback verified, 11 deviated and rollback not verified, 20 refused (nothing was touched),
    30 inconclusive, 40 unsafe (a cut may still be active), 70 an internal error, 130/143 interrupted and healed.
    """
    from chaosext.cli.defaults import ALWAYS, defaults_for

    group = ctx.command
    assert isinstance(group, click.Group)  # noqa: S101  it is this one
    goes_on = bool(ctx.meta[ASKS_HELP]) or ctx.invoked_subcommand in ALWAYS
    ctx.default_map = defaults_for(group, ctx, ctx.invoked_subcommand, goes_on=goes_on)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; each `ChaosextError` becomes a line with its fix, and its exit code."""
    _show_as_we_do()
    exit_code = invoke(arguments)
    _leave_nodes()
    _leave(exit_code)


class _Shown(logging.Handler):
    """Prints log messages of libraries, such as a credential plugin's answer, escaped like all other output."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):  # no traceback for a line that can't be formatted
            say(f"chaosext: {record.name}: {record.getMessage()}", err=True)


def _show_as_we_do() -> None:
    """Escape what libraries log and what threads raise: it may contain terminal control characters."""
    logging.getLogger().addHandler(_Shown(logging.WARNING))
    threading.excepthook = lambda ended: say_document(
        "".join(traceback.format_exception(ended.exc_type, ended.exc_value, ended.exc_traceback)), err=True
    )


def _leave_nodes() -> None:
    """Remove the Pods through which the command entered nodes (transport `pod`), however it ended."""
    entering = sys.modules.get("chaosext.run.agents.node_pods")
    for unseen in entering.leave() if entering else ():
        say(f"chaosext: {unseen}", err=True)


def _leave(exit_code: int) -> NoReturn:
    """End the process now: Python would wait for threads that wait for a node or a background activity."""
    if all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()):
        sys.exit(exit_code)
    leave_at_once(exit_code)


def leave_at_once(exit_code: int) -> NoReturn:
    """End the process from any thread, without waiting for others."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(exit_code)


COLLECTED_AFTER = (50_000, 20, 100)
"""When Python looks for cycles of garbage: seldom, as snapshots and simulations have many objects and few cycles."""


def invoke(
    arguments: list[str] | None = None, command: click.Command | None = None, *, name: str = "chaosext"
) -> int:
    """Run `command`, by default chaosext itself, and return its exit code; errors are printed as in `main`."""
    gc.set_threshold(*COLLECTED_AFTER)
    try:
        outcome: Any = (command or cli).main(args=arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        _say_problem(*_said(error))
        return EXIT_REFUSED
    except ChaosextError as error:
        _say_problem(error.message, error.fix)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("chaosext: interrupted", err=True)
        return 130
    except Exception as error:  # a bug: its exit code must have no other meaning
        from chaosext.cli.internal_error import reported

        _say_problem(*reported(error, sys.argv[1:] if arguments is None else arguments))
        return EXIT_INTERNAL
    return outcome if isinstance(outcome, int) else 0


def _say_problem(message: str, fix: str) -> None:
    say(f"chaosext: {message}", err=True)
    if fix:
        say(f"     fix: {fix}", err=True)


def _said(error: click.ClickException) -> tuple[str, str]:
    """Return what is wrong with a command line, and the fix: the nearest name, or what stands behind a semicolon."""
    usage = error.ctx if isinstance(error, click.UsageError) else None
    look = f"see `{usage.command_path} --help`" if usage else ""
    if usage and isinstance(error, click.NoSuchOption):
        options = [option for each in usage.command.params for option in (*each.opts, *each.secondary_opts)]
        near = did_you_mean(error.option_name, [name for name in options if name.startswith("--")])
        return f"no such option {error.option_name}", near if near.startswith("did") else look
    message = error.format_message().strip()
    if usage and isinstance(usage.command, click.Group) and (found := _NO_COMMAND.match(message)):
        return f"no such command {found[1]}", did_you_mean(found[1], usage.command.list_commands(usage))
    said, _, fix = message.rstrip(".").partition("; ")
    return said[:1].lower() + said[1:], fix or look


_NO_COMMAND = re.compile(r"No such command '(.+?)'")
"""click's message."""
