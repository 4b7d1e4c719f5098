"""How many disruptions a PodDisruptionBudget allows.

Source: Kubernetes v1.34 pkg/controller/disruption/disruption.go (`getExpectedPodCount`), which rounds % up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.rehearsal.snapshot.node_patterns import is_over, selects

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.rehearsal.snapshot.world import DisruptionBudget, Pod


def covered(budget: DisruptionBudget, pods: Iterable[Pod]) -> list[Pod]:
    """Return the Pods that the budget is about."""
    return [
        pod
        for pod in pods
        if pod.namespace == budget.namespace
        and selects(budget.selector, pod.spec.labels)
        and not is_over(pod)
    ]


def allowed(budget: DisruptionBudget, pods: Iterable[Pod]) -> int:
    """Return the disruptions that are allowed now, with these covered `pods`; negative if some are missing already.

    Raises ValueError for a value that is neither a number nor a percentage.
    """
    states = [pod.ready and not pod.terminating for pod in pods]
    healthy = sum(states)
    if not states:
        return 1
    if budget.max_unavailable:
        return healthy - (len(states) - _share(budget.max_unavailable, len(states)))
    return healthy - _share(budget.min_available or "1", len(states))


def _share(said: str, total: int) -> int:
    """Return a number, or a percentage of `total`, rounded up."""
    return -(-int(said[:-1]) * total // 100) if said.endswith("%") else int(said)
