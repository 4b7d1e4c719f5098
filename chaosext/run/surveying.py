"""What the gate asks of a live cluster, read-only and without a shell on a node: a snapshot, and what none can show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.cluster.client import Cluster
from chaosext.model.errors import Refused
from chaosext.run.reach import observed_pin
from chaosext.run.taking import Taking
from chaosext.safety.pin import read_pins, verify
from chaosext.steady.names import KUBELETS, PROBES, XDS
from chaosext.steady.suite import Surroundings, run_checks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.model.finding import Finding

LIVE = (KUBELETS, PROBES, XDS)
"""Checks whose answers no snapshot holds: kubelets' Leases as of now, their events, and what istiod says."""


PAGE_S = 60.0
"""Bound of one page of 500 objects, and of the live checks together, seconds."""


@dataclass(slots=True, kw_only=True)
class Survey:
    """A cluster, pinned: `uid` is kube-system's. `missed` as in `Taking`, once the snapshot is taken."""

    cluster: Cluster
    uid: str
    page_s: float
    missed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, context: str, page_s: float = PAGE_S) -> Survey:
        """Raises `Refused` where the context is not pinned, or leads to another cluster than the pinned one.

        Raises `Unreachable` where its API server doesn't answer.
        """
        pinned = read_pins().get(context)
        if pinned is None:
            raise Refused(
                f"context {context} is not pinned, so nothing says which cluster is meant",
                f"look at it, then `chaosext pin --context {context}`",
            )
        cluster = Cluster.connect(context)
        uid = cluster.namespace_uid("kube-system")
        verify(pinned, observed_pin(cluster))
        return cls(cluster=cluster, uid=uid, page_s=page_s)

    def snapshot(self) -> Iterator[str]:
        """Its text. Raises `Refused` where nodes or Pods may not be read."""
        taking = Taking(cluster=self.cluster, page_s=self.page_s)
        yield from taking.text()
        self.missed = taking.missed

    def findings(self, namespaces: tuple[str, ...]) -> Mapping[str, Finding]:
        """The live checks' findings; what may not be asked, or gives no answer, is unknown."""
        around = Surroundings(cluster=self.cluster, shells={}, namespaces=namespaces)
        return {each.check: each for each in run_checks(LIVE, around, timeout_s=self.page_s)}
