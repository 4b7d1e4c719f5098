"""Checks the limits before an action on the live cluster."""

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
    """Raise `Refused` if `cut`, armed now, would exceed a limit. `nodes`: with all their addresses.

    `until`: when it ends at the latest, as arming takes a while.
    """
    limits = limits_in_force(settings)
    asked = footprint(cut, nodes, _protected_pods(limits, cluster), datetime.now(UTC), until)
    check_peers(cut)
    if settings.way.asks_the_api_server and not settings.is_sealed:  # then only the nodes lose that path
        check_way(cut, cluster.server)
    for each in limits:
        each.check(asked)


def check_way(cut: Cut, server: str) -> None:
    """Raise `Refused` if `cut` drops the address of chaosext's own API server, its only path to the nodes.

    A name that does not resolve, or a server on this very machine, does not show where it leads.
    """
    for address in map(ip_address, addresses_of(server)):
        if any(address in peer for peer in cut.dropped):
            raise Refused(
                f"peers: the cut drops {address}, the API server that chaosext uses, and with it the path to heal",
                "set the context's server to the address of a control-plane node, or run on an API server's machine",
            )


def require_deletable(settings: Settings, namespace: str) -> None:
    """Raise `Refused` if a limit forbids deleting Pods of `namespace`."""
    for each in limits_in_force(settings):
        each.check_deletion(namespace)


def _protected_pods(limits: Collection[Limits], cluster: Cluster) -> tuple[Pod, ...]:
    namespaces = sorted({name for each in limits for name in each.protected_namespaces})
    try:
        return tuple(pod for name in namespaces for pod in cluster.pods(name))
    except Unreachable as error:
        raise Refused(f"protected_namespaces: {error.message}", "nothing was touched; try again") from None
