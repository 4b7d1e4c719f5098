"""The command `chaosext`. Commands are imported when they are called, so that `--help` is fast."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import traceback
from contextlib import suppress
from io import StringIO
from typing import Any, NoReturn

import click

from chaosext import __version__
from chaosext.model.errors import ChaosextError, Refused
from chaosext.model.printable import say, say_document

COMMANDS = {
    "testbed": ("chaosext.cli.testbed:testbed", "Bring the kind/Calico/Istio testbed up and down."),
    "preflight": ("chaosext.cli.run:preflight", "Show what a cut would lead to here; touch nothing."),
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
    "run": ("chaosext.cli.run:run", "Run an experiment: verdict, exit code, timeline, report."),
    "report": ("chaosext.cli.report:report", "Write the report of a run, or compare two runs."),
    "check": ("chaosext.cli.check:check", "Run one check, or all of the steady state."),
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
    "schedule": ("chaosext.cli.schedule:schedule", "Write the manifests of scheduled game days."),
    "gameday": ("chaosext.cli.gameday:gameday", "Run a game day, as its Job in the cluster does."),
    "fleet": (
        "chaosext.cli.fleet:fleet",
        "Rehearse one cluster of a fleet, as its Job does, or summarize all.",
    ),
    "audit": ("chaosext.cli.audit:audit", "Show and verify the audit log."),
}
"""Command -> its module, and its line in `chaosext --help` (so that listing commands imports none of them)."""

EXIT_REFUSED = Refused.exit_code


class LazyGroup(click.Group):
    """A group whose commands are imported at first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="chaosext")
def cli() -> None:
    """Rehearse a network cutover that cuts your Kubernetes control plane off from its nodes, before you do it for
    real.

    \b
    Examples:
      chaosext testbed up                                        a kind cluster with Calico, BGP leaf and Istio
      chaosext check all --context kind-chaosext                 does the steady state hold?
      chaosext run experiments/control-plane-partition.yaml      cut, watch, heal, roll back, verify
      chaosext run experiments/control-plane-partition.yaml --dry-run    print the exact rules, touch nothing
      chaosext report latest                                     what broke, why, for how long, for whom

    \b
    Exit codes: 0 passed (or as expected), 1 passed, but another verdict was expected,
    10 deviated and rollback verified, 11 deviated and rollback not verified, 20 refused (nothing was touched),
    30 inconclusive, 40 unsafe (a cut may still be active), 130/143 interrupted and healed.
    """


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


def invoke(
    arguments: list[str] | None = None, command: click.Command | None = None, *, name: str = "chaosext"
) -> int:
    """Run `command`, by default chaosext itself, and return its exit code; errors are printed as in `main`."""
    try:
        outcome: Any = (command or cli).main(args=arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        said = StringIO()
        error.show(said)
        say_document(said.getvalue(), err=True)
        return EXIT_REFUSED
    except ChaosextError as error:
        say(f"chaosext: {error.message}", err=True)
        if error.fix:
            say(f"     fix: {error.fix}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("chaosext: interrupted", err=True)
        return 130
    except Exception as error:  # a bug: its exit code must have no other meaning
        say(f"chaosext: internal error, {type(error).__name__}: {error}", err=True)
        say(
            "     fix: please report it, with the output of the same command under CHAOSEXT_DEBUG=1", err=True
        )
        if os.environ.get("CHAOSEXT_DEBUG"):
            say_document(traceback.format_exc(), err=True)
        return ChaosextError.exit_code
    return outcome if isinstance(outcome, int) else 0
