"""Turn the load balancer's report of its clusters, and its customers' requests, into events. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind
from chaosext.timeline.object_events import Note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.model.load_balancer_state import Member, Second

ENTRY, CUSTOMERS = "entry", "customers"
"""Sources of these events."""

CALM_S = 3
"""Consecutive seconds without a failure that end an outage, which is dated to the first of them."""

Dated = tuple[float, Note]
"""The time of a note, on the same clock as the seconds, and the note."""


@dataclass(slots=True)
class EntryView:
    """Which clusters the load balancer `entry` sends customers to. On first sight, only problems are reported."""

    entry: str
    _out: dict[str, str] = field(default_factory=dict)

    def take(self, members: Iterable[Member]) -> Iterator[Note]:
        """Yield the changes since the last report. Draining a cluster that was already out is not reported."""
        for each in members:
            name = f"Entry/{self.entry} → {each.cluster}"
            if each.serves and each.cluster in self._out:
                del self._out[each.cluster]
                yield Note(kind=Kind.ENTRY_TAKEN_BACK, object=name, detail=each.state)
            elif not each.serves and each.cluster not in self._out:
                self._out[each.cluster] = each.state
                yield Note(kind=Kind.ENTRY_DRAINED, object=name, detail=each.state)


@dataclass(slots=True)
class CustomersView:
    """Whether requests through the load balancer `entry` fail."""

    entry: str
    _failing: bool = False
    _calm: list[float] = field(default_factory=list)
    """Start times of the seconds without a failure since the last failure."""

    def take(self, second: Second) -> Iterator[Dated]:
        """Yield events, dated to the second in which they began. A second without requests says nothing."""
        name, began_s = f"Entry/{self.entry}", second.t_s - 1.0
        if second.failed:
            self._calm.clear()
            if not self._failing:
                self._failing = True
                detail = f"{second.failed} of {second.ok + second.failed} requests failed in a second"
                said = f"{detail}: {second.error}" if second.error else detail
                yield began_s, Note(kind=Kind.ENTRY_DEGRADED, object=name, detail=said)
        elif second.ok and self._failing:
            self._calm.append(began_s)
            if len(self._calm) >= CALM_S:
                self._failing = False
                said = f"every request succeeds, for {CALM_S} s on end"
                yield self._calm[0], Note(kind=Kind.ENTRY_RESTORED, object=name, detail=said)
