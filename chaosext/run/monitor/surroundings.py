"""The surroundings of a run's checks: the cluster, a shell on each node, the leaf, known-unhealthy objects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chaosext.checks.suite import Surroundings
from chaosext.experiment.known_unhealthy_entries import require_in_force
from chaosext.model.known_unhealthy import Known
from chaosext.model.names import is_container
from chaosext.nodes.process_shell import DockerShell
from chaosext.nodes.transport import shells
from chaosext.run.fault.node_entry import way_into
from chaosext.run.fault.state import shut
from chaosext.run.session.connection import connect, entry_of
from chaosext.run.session.run_context import Key, begun

if TYPE_CHECKING:
    from chaosext.experiment.settings import Settings
    from chaosext.nodes.shell import NodeShell

KNOWN: Key[Known | None] = Key(lambda: None)
"""What is known to be unhealthy by the run's baseline; None without one."""


def _leaf(settings: Settings) -> NodeShell | None:
    """A shell on the leaf; with transport `pod` only if one is named: the leaf is not a node and has no Pod.

    A context that is not kind's may have a name that is not valid for a container: it has no leaf either.
    """
    if not settings.way.asks_the_api_server:
        name = settings.leaf_container
        return shells([name], settings.way)[name] if is_container(name) else None
    return DockerShell(settings.leaf) if settings.leaf else None


def surroundings(settings: Settings) -> Surroundings:
    """The surroundings of the checks."""
    cluster = connect(settings)
    names = [node.name for node in cluster.nodes()]
    return Surroundings(
        cluster=cluster,
        shells=shells(names, way_into(settings, strictly=False)),
        shut=shut(names),
        leaf=_leaf(settings),
        entry=entry_of(settings),
        namespaces=settings.namespaces,
        dns_lookups=settings.lookups,
        known=_known(settings),
    )


def _known(settings: Settings) -> Known | None:
    """What is known to be unhealthy, by the run's baseline or the settings. Raises `Refused` for expired entries."""
    run = begun()
    if run is not None and (known := run.stash[KNOWN]) is not None:
        return known
    require_in_force(settings.known, datetime.now(UTC))
    return Known(entries=settings.known) if settings.known else None
