"""Find out which cuts and locks are on which node, their owners and expiry, from the nodes and the intent log only.

agent_pods.py looks for sentinels on clusters afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.cleanup.inventory import Overview
from chaosext.model.errors import ChaosextError, Refused
from chaosext.nodes.shell import BY_DOCKER
from chaosext.nodes.transport import discover, shells
from chaosext.partition.apply import inspect
from chaosext.partition.cut import check_node
from chaosext.partition.reports import NodeTables
from chaosext.run.agents.node_pods import way_back
from chaosext.safety.intent import CHANGING, INTENT, Outstanding, changed, intent_log, outstanding, placed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from chaosext.model.owner import Holder
    from chaosext.nodes.shell import NodeAccess, NodeShell
    from chaosext.safety.intent import Entry


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What was found, and a shell on every node that was asked, by name."""

    overview: Overview
    shells: Mapping[str, NodeShell]


def look(named: Collection[str] = (), *, cluster: str | None = None, way: NodeAccess = BY_DOCKER) -> Surveyed:
    """Ask all nodes that can be found, those in `named`, and those in the intent log.

    Found are the nodes of kind clusters (of `cluster`, or of all) or, with transport `pod`, the control-plane
    nodes (all nodes if cuts are on the nodes' side). A node that cannot be asked is included in the answer.
    Raises `Refused` for an unknown transport, or an invalid node name.
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
        except ChaosextError as error:  # an unusable entry must not prevent the examination of the others
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
    """Tables with the name prefix of runs whose content is not a run's."""
    for node in nodes:
        for table in node.foreign:
            yield f"table inet {table} on {node.node} is not chaosext's by what is in it, and is left alone"


def _entries() -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """Read the intent log, or return why that failed: the state of the nodes is known without it."""
    try:
        return intent_log().entries(), ()
    except ChaosextError as error:
        return (), (str(error),)


def _discovered(
    way: NodeAccess, cluster: str | None, named: Collection[str]
) -> tuple[NodeAccess, tuple[str, ...], tuple[str, ...]]:
    """Open the node access, and list the nodes from docker or the API server, or return why that failed.

    Named nodes do not require docker.
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
    """Start Pods on the nodes for the lifetime of this process: nodes can only be examined from there."""
    try:
        opened, nodes = way_back(way, named)
    except ChaosextError as error:
        return replace(way, closed=str(error)), (), (str(error),)
    return opened, nodes, ()


def _shells_of(run: Outstanding) -> Mapping[str, NodeShell]:
    """Open shells on the nodes of a run. Raises `Refused` for invalid node names and unknown transports."""
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
    """The runs on kind's `cluster`, by their context or one of their nodes; without a `cluster`, all runs."""
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
