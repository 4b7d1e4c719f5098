"""Detect kubelets that stopped renewing their Leases. Pure: renewals with their arrival times in, dated notes out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind
from chaosext.timeline.object_events import Note

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from chaosext.cluster.objects import NodeLease

RENEWALS = 4
"""Renewals per Lease duration (pkg/kubelet/nodelease, nodeLeaseRenewIntervalFraction 0.25)."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """The last renewal, when it was received (monotonic seconds), and whether the kubelet was reported lost since."""

    renewed: datetime | None
    duration_s: int
    at_s: float
    lost: bool = False


@dataclass(slots=True)
class Renewals:
    """The last renewal of each kubelet, timed by when the runner received it, so that node clocks do not matter."""

    _heard: dict[str, _Heard] = field(default_factory=dict)

    def take(self, lease: NodeLease, at_s: float) -> Note | None:
        """Record a Lease. Returns a note if a lost kubelet renewed it again."""
        before = self._heard.get(lease.name)
        if before and before.renewed == lease.renewed:
            return None
        self._heard[lease.name] = _Heard(lease.renewed, lease.duration_s, at_s)
        if before and before.lost:
            return Note(kind=Kind.KUBELET_RESTORED, object=f"Node/{lease.name}", detail="renewed its Lease")
        return None

    def drop(self, name: str) -> None:
        """The Lease is gone together with its Node: expect no more renewals."""
        self._heard.pop(name, None)

    def deaf(self, at_s: float) -> None:
        """The API server is unreachable: its silence says nothing about kubelets, so restart every wait."""
        self._heard = {name: replace(each, at_s=at_s) for name, each in self._heard.items()}

    def silent(self, now_s: float) -> Iterator[tuple[Note, float]]:
        """Yield each kubelet whose Lease has run out, once, dated to the first missing renewal."""
        for name, each in self._heard.items():
            if not each.lost and now_s - each.at_s > each.duration_s:
                self._heard[name] = replace(each, lost=True)
                detail = f"has not renewed its Lease for {each.duration_s} s"
                note = Note(kind=Kind.KUBELET_LOST, object=f"Node/{name}", detail=detail)
                yield note, each.at_s + each.duration_s / RENEWALS
