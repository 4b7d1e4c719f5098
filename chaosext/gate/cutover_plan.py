"""A planned cutover: which nodes are cut off, when, for how long, and what outcome is acceptable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from chaosext.rehearsal.network.declared_network import SaidNetwork
from chaosext.rehearsal.network.routes import EvidenceKind
from chaosext.rehearsal.simulate.planned_cut import Flap, Plan
from chaosext.rehearsal.simulate.prediction import DNS_OUTAGE_S, Dns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from chaosext.model.known_unhealthy import KnownUnhealthy

AFTERWARDS_S = 600.0
"""Seconds to predict after the heal, more than kubelet's longest back-off of 5 min."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The nodes to cut: by `names`, or those that match all of `selector`, `zones` and `racks`.

    `rack_label` "": use the nodes' only label with the name `rack`.
    """

    names: tuple[str, ...] = ()
    selector: str = ""
    zones: tuple[str, ...] = ()
    racks: tuple[str, ...] = ()
    rack_label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """A workload, a Service, or all workloads of a namespace, with the Pods that clients must always have.

    `name`: "Deployment/shop/cart", "Service/shop/web" or "namespace/payments".
    """

    name: str
    at_least: int = 1

    def covers(self, unit: str) -> bool:
        """Whether it names this workload or Service."""
        kind, _, rest = unit.partition("/")
        space = rest.partition("/")[0]
        return unit == self.name or (kind != "Service" and f"namespace/{space}" == self.name)


Tolerated: TypeAlias = "int | frozenset[str]"
"""A number of objects, or the names of those that may be hit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """Conditions that must hold with at least `probability`.

    `dns_after_heal`, `dns_during_cut`: the worst acceptable state of DNS, None for any. `self_heals`: DNS,
    sidecars and Pods must recover without help. `pods_reachable`: nodes that the cut leaves together must keep
    reaching each other's Pods. `dns_outage_s`: maximum time without DNS on a node that is not cut, or after a
    heal, None for any. `evicted_pods`: maximum on average, None for any number. `evidence`: the weakest that the
    prediction may rest on.

    - `quorum_lost`: whether a quorum may be lost.
    - `services_at_end`, `services_during_cut`: Services that may have no endpoints at the end, and in the cut
      for clients that follow the API; None for any.
    - `all_at_once`: whether all Pods of a workload may stop together at the heal; a remark then.
    - `pending_pods`: maximum of Pods that fit on no node at the end, None for any number.
    - `protect`: what must keep Pods throughout.
    """

    dns_after_heal: Dns = Dns.RESOLVABLE
    dns_during_cut: Dns | None = None
    self_heals: bool = True
    pods_reachable: bool = True
    dns_outage_s: float | None = DNS_OUTAGE_S
    evicted_pods: int | None = None
    quorum_lost: bool = False
    services_at_end: Tolerated = 0
    services_during_cut: Tolerated | None = None
    all_at_once: bool = True
    pending_pods: int | None = 0
    protect: tuple[Protected, ...] = ()
    probability: float = 0.99
    evidence: EvidenceKind = EvidenceKind.DOCUMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutover:
    """The plan; durations are in seconds. `cut_for_s`: planned duration; `at_most_s`: longest, before it is called off.

    - `flap`: cuts that come and go; both durations are from the first to the end of the last one then.
    - `rollback_s`: when kube-dns would be rescheduled, from the heal; None for never.
    - `start`: None if no time is planned yet.
    - `grace_s`, `toleration_s`: the timings that the plan was made for, None for any.
    - `namespaces`: those whose Pods must be healthy before, empty for all.
    - `waived`: check -> why its result is ignored.
    - `known`: objects known to be unhealthy, which are ignored while they are no worse.
    - `required`: remarks that count.
    - `network`: what the plan says about the network where the cluster cannot tell.
    - `quorums`: workloads that need most of their Pods at every moment, beside those that the world shows.
    """

    title: str
    selection: Selection
    cut_for_s: float
    at_most_s: float
    flap: Flap | None = None
    change: str = ""
    by: str = ""
    context: str = ""
    cluster_uid: str = ""
    start: datetime | None = None
    timezone: str = ""
    rollback_s: float | None = None
    grace_s: float | None = None
    toleration_s: float | None = None
    namespaces: tuple[str, ...] = ()
    accept: Acceptance = Acceptance()
    waived: Mapping[str, str] = field(default_factory=dict)
    known: tuple[KnownUnhealthy, ...] = ()
    required: tuple[str, ...] = ()
    network: SaidNetwork = field(default_factory=SaidNetwork)
    quorums: tuple[str, ...] = ()

    @property
    def durations_s(self) -> tuple[float, ...]:
        """The durations to rehearse: planned and longest."""
        return tuple(dict.fromkeys((self.cut_for_s, self.at_most_s)))

    def plan(self, nodes: frozenset[str], cut_for_s: float) -> Plan:
        """Return the plan to rehearse: a cut of these nodes for this duration, or the cuts that come and go."""
        periods = self.flap.periods if self.flap else ((0.0, cut_for_s),)
        rollback_s = None if self.rollback_s is None else cut_for_s + self.rollback_s
        horizon_s = (rollback_s or cut_for_s) + AFTERWARDS_S
        return Plan(
            cut_nodes=nodes,
            periods=periods,
            horizon_s=horizon_s,
            rollback_s=rollback_s,
            quorums=frozenset(self.quorums),
            protected=frozenset(each.name for each in self.accept.protect),
        )
