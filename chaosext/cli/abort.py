"""`chaosext abort`: heals a run's cut now, from any machine, and ends the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chaosext.cli.options import cluster_options
from chaosext.model.printable import say

if TYPE_CHECKING:
    from collections.abc import Iterable


@click.command()
@click.option("--run", "run_id", default="", help="Only this run.  [default: whichever has the cluster]")
@cluster_options("The cluster's context.  [default: that of this machine's run, else the only pinned one]")
@click.option("--reason", default="requested", help="Reason, for the run's report.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=1, max=600),
    default=60.0,
    show_default=True,
    help="Seconds.",
)
def abort(run_id: str, context: str | None, reason: str, wait_s: float) -> int:
    """Make a run heal its cut at once, play its rollbacks and end; wait until the cut is confirmed as removed.

    The request is an annotation on the Lease kube-system/chaosext, which the runner reads every 2 s. So kubectl alone
    can make it, from a phone, with permission to patch that Lease. A runner that does not answer, and runs on this
    machine, gets SIGTERM. If the runner is dead, the kernel ends the cut at its TTL, or dead_man_s after the runner
    died, and this prints how long that may take.

    \b
    Examples:
      chaosext abort
      chaosext abort --context prod-eu --reason 'checkout fails, INC-42'
      kubectl -n kube-system annotate lease chaosext chaosext/abort='checkout fails' --overwrite

    \b
    Exit code:
      0   the cut is confirmed as removed
      20  there is nothing to abort
      30  the run ended before it answered; its report says how
      40  not confirmed in time; the message says what is left, and how to heal it
    """
    from chaosext.cluster.client import Cluster
    from chaosext.run.session.run_context import owner
    from chaosext.run.stop.abort_request import Asking

    said = f"{reason} ({owner()})"
    cluster = Cluster.connect(context or _only_context(run_id))
    return Asking(cluster=cluster, reason=said, run=run_id, wait_s=wait_s, tell=say).through()


def _only_context(run_id: str) -> str:
    from chaosext.model.errors import Refused
    from chaosext.safety.intent import intent_log
    from chaosext.safety.pins import read_pins

    live = [each for each in intent_log().outstanding() if each.is_running and run_id in ("", each.run)]
    found = _distinct(each.context for each in live) or _distinct(read_pins())
    if len(found) != 1:
        named = ", ".join(found) or "no context is pinned"
        raise Refused(
            f"--context: the cluster is ambiguous or unknown ({named})", "set --context to its context"
        )
    return found[0]


def _distinct(contexts: Iterable[str]) -> list[str]:
    return sorted({context for context in contexts if context})
