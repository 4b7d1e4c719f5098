"""`chaosext cleanup`: removes what crashed runs may have left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import Form, answers, say_answer
from chaosext.cli.options import kubeconfig_option
from chaosext.cli.status import (
    RUNNERS,
    cluster_option,
    context_option,
    namespace_option,
    node_option,
    transport_option,
    way_by,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from chaosext.cleanup.inventory import CleanupResult, Found


@click.command()
@click.option("--run", "run", help="Only this run, alive or not.")
@click.option(
    "--all", "everything", is_flag=True, help="Every leftover of chaosext on every node found, alive or not."
)
@node_option
@cluster_option
@kubeconfig_option
@context_option
@transport_option
@namespace_option
@click.option("--dry-run", is_flag=True, help="List what would be removed; touch nothing.")
@answers("chaosext.cleanup/v1")
def cleanup(
    run: str | None,
    everything: bool,
    nodes: tuple[str, ...],
    cluster: str | None,
    contexts: tuple[str, ...],
    transport: str,
    namespace: str,
    dry_run: bool,
    form: Form,
) -> int:
    """Remove the leftovers of crashed runs, and expired cuts: rules, locks, sentinels. May be repeated.

    The kernel ends every cut at its TTL in any case; this removes it earlier, and the empty tables after it. Looks
    where `chaosext status` looks, and needs no API server, journal, experiment or intent log for the nodes. A live cut
    is left alone, and reported, unless its run is known to be dead. Sentinels come last, on pinned contexts only.

    \b
    Examples:
      chaosext cleanup
      chaosext cleanup --run 20261123t230300ab12 --node cp-1
      chaosext cleanup --all --dry-run
      chaosext cleanup --transport pod --context prod

    \b
    Exit code:
      0   cleaned, or there was nothing to clean up
      20  refused
      30  a node could not be asked, or something harmless could not be removed
      40  a cut may still be in force, also one that was left because its process is unknown; the message says
          which, where, and how to remove it
    """
    from chaosext.cleanup.agent_pods import clean_up_sentinels
    from chaosext.cleanup.inventory import CleanupScope
    from chaosext.cleanup.removal import clean_up
    from chaosext.cleanup.survey import look
    from chaosext.model.errors import Refused

    if run and everything:
        raise Refused("--run and --all exclude each other", "remove one of them")
    wanted = CleanupScope(run=run, nodes=nodes, everything=everything)
    surveyed = look(nodes, cluster=cluster, way=way_by(transport, contexts, namespace))
    cleaned = clean_up(surveyed, wanted, dry_run=dry_run)
    cleaned = clean_up_sentinels(cleaned, surveyed.overview, wanted, contexts=contexts)
    say_answer(cleaned.to_json(), cleanup_lines(cleaned), form)
    cleaned.require_gone()
    return cleaned.exit_code


def cleanup_lines(cleaned: CleanupResult) -> Iterator[str]:
    """Yield what was removed, what has ended, what is left, and what failed."""
    yield from (f"{_done(cleaned)} {what}" for what in _grouped(cleaned.removed, lambda each: str(each.why)))
    for run, nodes in cleaned.finished.items():
        yield f"ended: run {run} on {', '.join(nodes)}"
    yield from (f"left: {what}" for what in _grouped(cleaned.left, _why_left))
    for found, problem in cleaned.failed.items():
        yield f"failed: {found.kind} of run {found.run} on {found.node}: {problem}"
    for node, why in cleaned.unasked.items():
        yield f"could not be queried: {node} ({why.removeprefix(f'{node}: ')})"
    yield from (f"not checked: {problem}" for problem in cleaned.problems)
    yield from (f"not in the audit log: {problem}" for problem in cleaned.unaudited)
    if any(not found.foreign for found in cleaned.left):
        yield "     fix: wait for the run to end, or remove it now with `chaosext cleanup --run …`"
    if not (cleaned.removed or cleaned.finished or cleaned.failed or cleaned.left):
        yield "nothing to clean up"


def _why_left(found: Found) -> str:
    return f"not all of it is chaosext's: {found.foreign}" if found.foreign else RUNNERS[found.runner.value]


def _done(cleaned: CleanupResult) -> str:
    return "would remove:" if cleaned.dry_run else "removed:"


def _grouped(found: Iterable[Found], why: Callable[[Found], str]) -> Iterator[str]:
    """Yield one line for each cut or lock of a run, with all of its nodes."""
    nodes: dict[tuple[str, str, str], list[str]] = {}
    for each in found:
        nodes.setdefault((each.kind.value, each.run, why(each)), []).append(each.node)
    for (kind, run, reason), names in nodes.items():
        yield f"{kind} of run {run or '(unreadable)'} on {', '.join(names)} ({reason})"
