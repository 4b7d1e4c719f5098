"""Snapshots and live checks of a pinned cluster: read-only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.checks.check_names import KUBELETS, PROBES, XDS
from chaosext.checks.live_objects import Taking
from chaosext.checks.suite import Surroundings, run_checks
from chaosext.cluster.client import Cluster
from chaosext.model.errors import Refused
from chaosext.run.session.connection import observed_pin
from chaosext.safety.pins import read_pins, verify

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.model.findings import Finding

LIVE = (KUBELETS, PROBES, XDS)
"""Checks that no snapshot can answer: kubelets' current Leases, their events, and istiod's state."""


PAGE_S = 60.0
"""Bound of one page of 500 objects, and of the live checks together, seconds."""


@dataclass(slots=True, kw_only=True)
class Survey:
    """A pinned cluster: `uid` is kube-system's. `missed` as in `Taking`, once the snapshot is taken."""

    cluster: Cluster
    uid: str
    page_s: float
    missed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, context: str, page_s: float = PAGE_S) -> Survey:
        """Raises `Refused` if the context is not pinned, or leads to another cluster than the pinned one.

        Raises `Unreachable` if its API server doesn't answer.
        """
        pinned = read_pins().get(context)
        if pinned is None:
            raise Refused(
                f"context {context} is not pinned to a cluster",
                f"check that it leads to the right cluster, then run `chaosext pin --context {context}`",
            )
        cluster = Cluster.connect(context)
        uid = cluster.namespace_uid("kube-system")
        verify(pinned, observed_pin(cluster))
        return cls(cluster=cluster, uid=uid, page_s=page_s)

    def snapshot(self) -> Iterator[str]:
        """The snapshot's text. Raises `Refused` if nodes or Pods may not be read."""
        taking = Taking(cluster=self.cluster, page_s=self.page_s)
        yield from taking.text()
        self.missed = taking.missed

    def findings(self, namespaces: tuple[str, ...]) -> Mapping[str, Finding]:
        """The live checks' findings; one that is forbidden or gets no answer is unknown."""
        around = Surroundings(cluster=self.cluster, shells={}, namespaces=namespaces)
        return {each.check: each for each in run_checks(LIVE, around, timeout_s=self.page_s)}
