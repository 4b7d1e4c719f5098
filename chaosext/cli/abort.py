"""`chaosext abort`: heal a run's cut now, from anywhere, and end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chaosext.model.printable import say

if TYPE_CHECKING:
    from collections.abc import Iterable


@click.command()
@click.option("--run", "run_id", default="", help="Only this run.  [default: whichever has the cluster]")
@click.option(
    "--context",
    help="The cluster's context.  [default: that of this machine's run, else the only pinned one]",
)
@click.option("--reason", default="asked for", help="Why; the run's report says it.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=1, max=600),
    default=60.0,
    show_default=True,
    help="Seconds.",
)
def abort(run_id: str, context: str | None, reason: str, wait_s: float) -> int:
    """Have a run heal its cut at once, play its rollbacks and end, and wait until its cut was seen gone.

    The request is an annotation on the Lease kube-system/chaosext, which the runner looks at every 2 s. So it can be
    made with kubectl alone, from a phone, by whoever may patch that Lease. A runner that does not answer, and is of
    this machine, is sent SIGTERM; one that is dead can't answer: then the kernel lets go at the cut's TTL, or
    dead_man_s after the runner has died, and this says how long that may take.

    \b
    Examples:
      chaosext abort
      chaosext abort --context prod-eu --reason 'checkout fails, INC-42'
      kubectl -n kube-system annotate lease chaosext chaosext/abort='checkout fails' --overwrite

    \b
    Exit code:
      0   its cut was seen gone
      20  there is nothing to abort
      30  the run ended before it answered; its report says how
      40  not seen over in time: what is left, and what heals it, is said
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
        named = ", ".join(found) or "none is known"
        raise Refused(f"--context: which cluster is meant is not known ({named})", "name its context")
    return found[0]


def _distinct(contexts: Iterable[str]) -> list[str]:
    return sorted({context for context in contexts if context})
