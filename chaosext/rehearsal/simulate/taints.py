"""Taints and tolerations: which Pods may stay on a node, for how long, and which may be scheduled there.

Source: Kubernetes v1.34 pkg/controller/tainteviction/taint_eviction.go (`processPodOnNode`,
`getMinTolerationTime`) and k8s.io/component-helpers/scheduling/corev1/helpers.go (`GetMatchingTolerations`,
`FindMatchingUntoleratedTaint`).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from chaosext.cluster.objects import Taint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chaosext.rehearsal.snapshot.world import Toleration

UNREACHABLE = "node.kubernetes.io/unreachable"

NO_EXECUTE = Taint(key=UNREACHABLE, value="", effect="NoExecute")
NO_SCHEDULE = Taint(key=UNREACHABLE, value="", effect="NoSchedule")
UNSCHEDULABLE = Taint(key="node.kubernetes.io/unschedulable", value="", effect="NoSchedule")

EVICTION_LAG_S = (0.05, 0.2)
"""Delay from the end of a toleration to the Pod's deletion; seconds, as measured."""

EVICTION_CALLS = 4
"""Get, Patch, Delete and an event (`addConditionAndDeletePod`), through the eviction controller's own client."""


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Apply k8s.io/api/core/v1/toleration.go, `ToleratesTaint`."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    return toleration.operator == "Exists" or toleration.value == taint.value


def stays_s(tolerations: Sequence[Toleration], taints: Iterable[Taint]) -> float:
    """Return how many seconds a Pod may stay on a node with these NoExecute taints: 0: none, inf: forever.

    For each taint the first matching toleration counts; of those with a limit, the shortest decides.
    """
    limits = []
    for taint in taints:
        match = next((each for each in tolerations if tolerates(each, taint)), None)
        if match is None:
            return 0.0
        limits.append(inf if match.seconds is None else max(0.0, float(match.seconds)))
    return min(limits, default=inf)


def admits(tolerations: Sequence[Toleration], taints: Iterable[Taint]) -> bool:
    """Whether the scheduler may place a Pod on a node with these taints (NoSchedule and NoExecute count)."""
    return all(
        taint.effect == "PreferNoSchedule" or any(tolerates(each, taint) for each in tolerations)
        for taint in taints
    )
