"""`chaosext status`: lists active cuts and leftovers: node, run, owner, expiry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import Form, answers, say_answer
from chaosext.cli.options import Names, complete_contexts, kubeconfig_option
from chaosext.model.errors import Refused
from chaosext.nodes.shell import DEFAULT, NAMESPACE, POD, NodeAccess
from chaosext.nodes.transport import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.cleanup.inventory import Overview
    from chaosext.model.owner import LockFacts
    from chaosext.partition.nft import TableFacts
    from chaosext.partition.reports import NodeTables
    from chaosext.safety.intent import Outstanding

node_option = click.option(
    "--node", "nodes", multiple=True, help="A node that chaosext does not find by itself (repeatable)."
)
cluster_option = click.option("--cluster", help="Check only this kind cluster.  [default: all of them]")
transport_option = click.option(
    "--transport",
    type=Names(list(TRANSPORTS)),
    default=DEFAULT,
    show_default=True,
    help="How to enter the nodes: containers, network namespaces, or short-lived Pods, created through --context's "
    "API server.",
)
namespace_option = click.option(
    "--namespace",
    "-n",
    default=NAMESPACE,
    show_default=True,
    help="The namespace of chaosext's own Pods: sentinels, and those of transport `pod`.",
)
context_option = click.option(
    "--context",
    "contexts",
    multiple=True,
    shell_complete=complete_contexts,
    help="A context on whose cluster another machine may have left sentinels (repeatable).",
)


def way_by(transport: str, contexts: tuple[str, ...], namespace: str) -> NodeAccess:
    """Return the node access of a command line. Raises `Refused` if transport `pod` lacks its one context."""
    if transport != POD:
        return NodeAccess(transport=transport, namespace=namespace)
    if len(contexts) != 1:
        raise Refused("--transport pod uses one cluster's API server", "set --context exactly once")
    return NodeAccess(transport=POD, context=contexts[0], namespace=namespace)


@click.command()
@node_option
@cluster_option
@kubeconfig_option
@context_option
@transport_option
@namespace_option
@answers("chaosext.status/v1")
def status(
    nodes: tuple[str, ...],
    cluster: str | None,
    contexts: tuple[str, ...],
    transport: str,
    namespace: str,
    form: Form,
) -> int:
    """List active cuts and leftovers: node, run, owner and expiry. Touches nothing.

    Asks kind's nodes, those named with --node and those in the intent log, each for at most 10 s; for these it needs
    no API server, journal or experiment. It asks a cluster's API server only with --context, or if the intent log has
    sentinels that are not confirmed as removed. It names whatever it could not ask.

    With --transport pod it asks the control-plane nodes of --context through Pods in --namespace. The context must be
    pinned, because Pods are created.

    \b
    Examples:
      chaosext status
      chaosext status --node cp-1 --node cp-2 --json
      chaosext status --transport pod --context prod

    \b
    Exit code:
      0   no cut, and no leftover
      10  a cut or leftover is accounted for: its run is alive, or it has expired and drops nothing any more
      20  refused
      30  a node could not be asked, and nothing says that it may be cut; or no node was found
      40  act: a live cut without a known live run, or a node that may be cut, by the intent log, could not be asked;
          the kernel ends the cut at the time given, `chaosext cleanup` earlier
    """
    from chaosext.cleanup.agent_pods import with_sentinels
    from chaosext.cleanup.survey import look

    way = way_by(transport, contexts, namespace)
    overview = with_sentinels(look(nodes, cluster=cluster, way=way).overview, contexts)
    say_answer(overview.to_json(), status_lines(overview), form)
    return overview.exit_code


def status_lines(overview: Overview) -> Iterator[str]:
    """Yield the most important lines first, then the nodes, then what only the intent log has."""
    yield from headlines(overview)
    for node in overview.nodes:
        yield from _node_lines(overview, node)
    for run in overview.unfinished:
        yield _unfinished_line(overview, run)
    for found in overview.sentinels:
        runner = overview.runner_of(found)
        fix = "" if runner.attends else "; `chaosext cleanup` removes them"
        yield f"{found.context}: {found.sentinels}; {RUNNERS[runner.value]}{fix}"
    yield from (f"not checked: {problem}" for problem in overview.problems)


def headlines(overview: Overview) -> Iterator[str]:
    """Yield what needs action, with its fix; otherwise one line about the overall state."""
    for node, cut in overview.orphans:
        runner = RUNNERS[overview.runner(cut.run).value]
        yield f"UNATTENDED: run {cut.run} cuts {node} off, for at most {cut.remaining_s} s more; {runner}"
    for node, run in overview.in_doubt:
        yield f"IN DOUBT: run {run.run} may cut {node} off, {_until(run)}, and {node} could not be queried"
    for each in overview.left_drained:
        yield f"DRAINED: {each.said}"
    for named in dict.fromkeys([cut.run for _, cut in overview.orphans]):
        yield f"     fix: chaosext cleanup --run {named}"
    if not (overview.orphans or overview.in_doubt or overview.left_drained):
        yield _all_is_well(overview)


RUNNERS = {
    "alive": "its process is alive on this machine",
    "dead": "its process is dead",
    "elsewhere": "its process renews its lock from elsewhere",
    "unknown": "the state of its process is unknown",
}


def _all_is_well(overview: Overview) -> str:
    if not overview.nodes:
        return "no nodes found, so nothing was checked: name them with --node"
    live = sum(cut.is_live for _, cut in overview.cuts)
    unasked = len(overview.unasked)
    asked = f"nodes queried: {len(overview.nodes) - unasked}" + (
        f", could not be queried: {unasked}" if unasked else ""
    )
    if live:
        return f"active cuts: {live}, each with a process that will heal it ({asked})"
    if overview.has_something:
        return f"no active cut seen; leftovers of chaosext remain ({asked})"
    return f"nothing of chaosext found ({asked})"


def _node_lines(overview: Overview, node: NodeTables) -> Iterator[str]:
    from chaosext.cleanup.inventory import uplinks

    if node.problem:
        yield f"{node.node}: could not be queried: {node.problem.removeprefix(f'{node.node}: ')}"
    elif not node.tables and node.lock is None:
        yield f"{node.node}: nothing of chaosext"
    else:
        yield f"{node.node}:"
    for cut in node.tables:
        yield f"  cut   {_whose(overview, cut)}"
        yield f"        on {', '.join(uplinks(cut)) or 'no uplink'}; {_drops(cut)}"
    if node.lock:
        yield f"  lock  {_whose(overview, node.lock)}"


def _whose(overview: Overview, found: TableFacts | LockFacts) -> str:
    life = f"{found.remaining_s} s left" if found.is_live else "expired"
    runner = RUNNERS[overview.runner(found.run).value]
    return f"run {found.run or '(unreadable)'} of {found.owner or 'unknown'}: {life}; {runner}"


def _drops(cut: TableFacts) -> str:
    return f"peers: {len(cut.peers)}, packets dropped so far: {cut.dropped_packets}"


def _unfinished_line(overview: Overview, run: Outstanding) -> str:
    runner = RUNNERS[overview.runner(run.run).value]
    whose = f"run {run.run} of {run.intent.get('owner', 'unknown')}"
    return f"not confirmed as removed: {whose}, intended for {', '.join(run.nodes)} {_until(run)}; {runner}"


def _until(run: Outstanding) -> str:
    if run.let_go is None:
        return "until an unknown time"
    over = ", which has passed" if run.is_over else ""
    return f"until {run.let_go.as_wall_clock():%Y-%m-%d %H:%M:%S} UTC at the latest{over}"
