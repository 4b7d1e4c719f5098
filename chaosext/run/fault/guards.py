"""The limits, held against what is about to be done on the living cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

from chaosext.cluster.kubeconfig import addresses_of
from chaosext.experiment.operator_limits import limits_in_force
from chaosext.model.errors import Refused, Unreachable
from chaosext.safety.limits import check_peers, footprint

if TYPE_CHECKING:
    from collections.abc import Collection

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Node, Pod
    from chaosext.experiment.settings import Settings
    from chaosext.partition.cut import Cut
    from chaosext.safety.limits import Limits


def require_within_limits(
    settings: Settings,
    cut: Cut,
    cluster: Cluster,
    nodes: Collection[Node],
    *,
    until: datetime | None = None,
) -> None:
    """Raise `Refused` when `cut`, put in force now, would go beyond a limit. `nodes`: with all their addresses.

    `until`: when it may be over only then, because it takes a while to put it in force.
    """
    limits = limits_in_force(settings)
    asked = footprint(cut, nodes, _protected_pods(limits, cluster), datetime.now(UTC), until)
    check_peers(cut)
    if settings.way.asks_the_api_server and not settings.is_sealed:  # then only the nodes lose that way
        check_way(cut, cluster.server)
    for each in limits:
        each.check(asked)


def check_way(cut: Cut, server: str) -> None:
    """Raise `Refused` when `cut` drops the address by which we reach the API server: nothing else leads to the nodes.

    A name that does not resolve, and a server on this very machine, say nothing of where they lead.
    """
    for address in map(ip_address, addresses_of(server)):
        if any(address in peer for peer in cut.dropped):
            raise Refused(
                f"peers: the cut drops {address}, by which the API server is reached, and with it the way to heal",
                "name the address of a control-plane node as the context's server, or run beside an API server",
            )


def require_deletable(settings: Settings, namespace: str) -> None:
    """Raise `Refused` when a limit forbids to delete Pods of `namespace`."""
    for each in limits_in_force(settings):
        each.check_deletion(namespace)


def _protected_pods(limits: Collection[Limits], cluster: Cluster) -> tuple[Pod, ...]:
    namespaces = sorted({name for each in limits for name in each.protected_namespaces})
    try:
        return tuple(pod for name in namespaces for pod in cluster.pods(name))
    except Unreachable as error:
        raise Refused(f"protected_namespaces: {error.message}", "nothing was touched; ask again") from None
