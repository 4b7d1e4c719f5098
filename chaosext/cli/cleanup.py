"""`chaosext sweep`: what a run that died may have left, taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chaosext.cli.status import (
    RUNNERS,
    cluster_option,
    context_option,
    namespace_option,
    node_option,
    transport_option,
    way_by,
)
from chaosext.model.printable import say_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from chaosext.cleanup.inventory import Found, Swept


@click.command()
@click.option("--run", "run", help="Only this run, alive or not.")
@click.option(
    "--all", "everything", is_flag=True, help="Everything of ours on every node found, alive or not."
)
@node_option
@cluster_option
@context_option
@transport_option
@namespace_option
@click.option("--dry-run", is_flag=True, help="Say what would be taken away; touch nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, schema chaosext.sweep/v1.")
def sweep(
    run: str | None,
    everything: bool,
    nodes: tuple[str, ...],
    cluster: str | None,
    contexts: tuple[str, ...],
    transport: str,
    namespace: str,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Take away what has expired and what runs that died have left: cuts, locks, sentinels. May be repeated.

    The kernel lets go of every cut at its TTL by itself; this removes it earlier, and the empty tables after it. Looks
    where `chaosext status` looks, and needs no API server, journal, experiment or intent log for the nodes. A live cut
    that is not known to be a dead run's is left, and said. Sentinels come last, on pinned contexts only.

    \b
    Examples:
      chaosext sweep
      chaosext sweep --run 20261123t230300ab12 --node cp-1
      chaosext sweep --all --dry-run
      chaosext sweep --transport pod --context prod

    \b
    Exit code:
      0   swept, or there was nothing to sweep
      20  refused
      30  a node could not be asked, or something harmless could not be removed
      40  a cut may still be in force, also one that was left because nothing is known of its process; the message
          says which, where, and how to remove it
    """
    from chaosext.cleanup.agent_pods import sweep_sentinels
    from chaosext.cleanup.inventory import Wanted
    from chaosext.cleanup.removal import sweep as take_away
    from chaosext.cleanup.survey import look
    from chaosext.model.errors import Refused

    if run and everything:
        raise Refused("--run and --all: one excludes the other", "leave one of them out")
    wanted = Wanted(run=run, nodes=nodes, everything=everything)
    surveyed = look(nodes, cluster=cluster, way=way_by(transport, contexts, namespace))
    swept = take_away(surveyed, wanted, dry_run=dry_run)
    swept = sweep_sentinels(swept, surveyed.overview, wanted, contexts=contexts)
    say_answer(swept.to_json(), sweep_lines(swept), as_json=as_json)
    swept.require_gone()
    return swept.exit_code


def sweep_lines(swept: Swept) -> Iterator[str]:
    """What was taken away, what is over, what is left, and what went wrong."""
    yield from (f"{_done(swept)} {what}" for what in _grouped(swept.removed, lambda each: str(each.why)))
    for run, nodes in swept.finished.items():
        yield f"over: run {run} on {', '.join(nodes)}"
    yield from (f"left: {what}" for what in _grouped(swept.left, _why_left))
    for found, problem in swept.failed.items():
        yield f"failed: {found.kind} of run {found.run} on {found.node}: {problem}"
    for node, why in swept.unasked.items():
        yield f"could not be asked: {node} ({why.removeprefix(f'{node}: ')})"
    yield from (f"not looked at: {problem}" for problem in swept.problems)
    yield from (f"not in the audit log: {problem}" for problem in swept.unaudited)
    if any(not found.foreign for found in swept.left):
        yield "     fix: wait for it to end, or `chaosext sweep --run …` whatever it does"
    if not (swept.removed or swept.finished or swept.failed or swept.left):
        yield "nothing to sweep"


def _why_left(found: Found) -> str:
    return f"not all of it is chaosext's: {found.foreign}" if found.foreign else RUNNERS[found.runner.value]


def _done(swept: Swept) -> str:
    return "would remove:" if swept.dry_run else "removed:"


def _grouped(found: Iterable[Found], why: Callable[[Found], str]) -> Iterator[str]:
    """A line for each cut and lock of a run, whichever nodes it is on."""
    nodes: dict[tuple[str, str, str], list[str]] = {}
    for each in found:
        nodes.setdefault((each.kind.value, each.run, why(each)), []).append(each.node)
    for (kind, run, reason), names in nodes.items():
        yield f"{kind} of run {run or '(unreadable)'} on {', '.join(names)} ({reason})"
