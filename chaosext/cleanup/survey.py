"""What of ours is on which node, whose, and until when. Asks the nodes and the intent log, and no API server.

What of ours is on a cluster (sentinels) is looked for in leftovers.py, after the nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.cleanup.inventory import Overview
from chaosext.model.errors import ChaosextError, Refused
from chaosext.nodes.access import BY_DOCKER
from chaosext.nodes.transport import discover, shells
from chaosext.partition.apply import inspect
from chaosext.partition.cut import check_node
from chaosext.partition.reports import NodeTables
from chaosext.run.agents.node_pods import way_back
from chaosext.safety.intent import CHANGING, INTENT, Outstanding, changed, intent_log, outstanding, placed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from chaosext.model.owner import Holder
    from chaosext.nodes.access import NodeAccess
    from chaosext.nodes.shell import NodeShell
    from chaosext.safety.intent import Entry


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What was found, and a shell on every node that was asked, by name."""

    overview: Overview
    shells: Mapping[str, NodeShell]


def look(named: Collection[str] = (), *, cluster: str | None = None, way: NodeAccess = BY_DOCKER) -> Surveyed:
    """Ask every node that can be found: kind's (of `cluster`, or of all), by the transport `pod` the control plane's;
    those `named`, and the intent log's.

    What can't be asked is in the answer. Raises `Refused` for a transport that there is not, or what names no node.
    """
    named = [check_node(name) for name in named]
    log, problems = _entries()
    way, found, unfound = _discovered(way, cluster, named)
    unfinished = _of(cluster, outstanding(log), (*found, *named))
    on = dict(shells((*found, *named), way))
    nowhere: dict[str, str] = {}
    for run in unfinished:
        try:
            on |= {name: shell for name, shell in _shells_of(run).items() if name not in on}
        except ChaosextError as error:  # an entry that leads nowhere keeps no other from being looked at
            nowhere |= dict.fromkeys(run.nodes, f"run {run.run} in the intent log: {error}")
    missed = (NodeTables(node=name, problem=why) for name, why in nowhere.items() if name not in on)
    asked = tuple(sorted((*inspect(on), *missed), key=lambda node: node.node))
    overview = Overview(
        nodes=asked,
        unfinished=unfinished,
        holders=dict(_holders(log)),
        drained=changed(log),
        way=way,
        placed=tuple(run for run in placed(log) if cluster is None or run.context == f"kind-{cluster}"),
        problems=(*problems, *unfound, *_foreign(asked)),
    )
    return Surveyed(overview, on)


def _foreign(nodes: Iterable[NodeTables]) -> Iterator[str]:
    """Tables that have the prefix of a run's, and are not one by what is in them."""
    for node in nodes:
        for table in node.foreign:
            yield f"table inet {table} on {node.node} is not chaosext's by what is in it, and is left alone"


def _entries() -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The intent log, or why it can't be read: the nodes tell the truth without it."""
    try:
        return intent_log().entries(), ()
    except ChaosextError as error:
        return (), (str(error),)


def _discovered(
    way: NodeAccess, cluster: str | None, named: Collection[str]
) -> tuple[NodeAccess, tuple[str, ...], tuple[str, ...]]:
    """The way, opened, and the nodes that docker or the API server shows, or why they can't.

    Who names nodes has no need of docker.
    """
    if way.asks_the_api_server:
        return _by_api_server(way, named)
    try:
        return way, discover(way, cluster), ()
    except Refused as error:
        return way, (), () if named else (str(error),)


def _by_api_server(
    way: NodeAccess, named: Collection[str]
) -> tuple[NodeAccess, tuple[str, ...], tuple[str, ...]]:
    """Pods of ours are put on the nodes for as long as this process lives: there is no other way to look at them."""
    try:
        opened, nodes = way_back(way, named)
    except ChaosextError as error:
        return replace(way, closed=str(error)), (), (str(error),)
    return opened, nodes, ()


def _shells_of(run: Outstanding) -> Mapping[str, NodeShell]:
    """Raises `Refused` for what names no node, and for a transport that there is not."""
    return shells(map(check_node, run.nodes), _way_of(run))


def _way_of(run: Outstanding) -> NodeAccess:
    if not run.way.asks_the_api_server:
        return run.way
    if run.is_sealed and run.let_go:
        until = f"until {run.let_go.as_wall_clock():%H:%M:%S} UTC at the latest"
        return replace(
            run.way, closed=f"cut off {until}: no API server reaches it, so it can't be healed earlier"
        )
    return _by_api_server(run.way, run.nodes)[0]


def _of(cluster: str | None, runs: Iterable[Outstanding], nodes: Collection[str]) -> tuple[Outstanding, ...]:
    """The runs on kind's `cluster`: by their context, or by a node of theirs. All of them where none is named."""
    return tuple(
        run
        for run in runs
        if cluster is None or run.context == f"kind-{cluster}" or set(run.nodes) & set(nodes)
    )


def _holders(log: Iterable[Entry]) -> Iterator[tuple[str, Holder]]:
    for entry in log:
        if entry["event"] in (INTENT, CHANGING):
            holder = Outstanding(run=entry["run"], nodes=(), intent=entry).holder
            if holder:
                yield entry["run"], holder
