"""The limits, held against what is about to be done on the living cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused, Unreachable
from chaosext.run.reading.limits import limits_in_force
from chaosext.safety.limits import check_peers, footprint

if TYPE_CHECKING:
    from collections.abc import Collection

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Node, Pod
    from chaosext.partition.cut import Cut
    from chaosext.run.reading.settings import Settings
    from chaosext.safety.limits import Limits


def require_within_limits(settings: Settings, cut: Cut, cluster: Cluster, nodes: Collection[Node]) -> None:
    """Raise `Refused` when `cut`, put in force now, would go beyond a limit. `nodes`: with all their addresses."""
    limits = limits_in_force(settings)
    asked = footprint(cut, nodes, _protected_pods(limits, cluster), datetime.now(UTC))
    check_peers(cut)
    for each in limits:
        each.check(asked)


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
