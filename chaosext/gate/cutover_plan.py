"""A planned cutover: which nodes lose the control plane, for how long, when, and what of it would be acceptable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.prediction import Dns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from chaosext.model.known_unhealthy import KnownUnhealthy

AFTERWARDS_S = 600.0
"""How long is looked at after the heal: beyond kubelet's longest CrashLoopBackOff, 5 min."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which nodes are cut: by `names`, or all nodes that the rest selects together (racks, zones and label selector).

    `rack_label` "": the nodes' only label that is called `rack`.
    """

    names: tuple[str, ...] = ()
    selector: str = ""
    zones: tuple[str, ...] = ()
    racks: tuple[str, ...] = ()
    rack_label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What must come true with `probability` at least.

    `dns_after_heal`, `dns_during_cut`: how DNS may be at the worst, None for however it likes. `self_heals`: all is
    well again without help, DNS, sidecars and Pods. `evicted_pods`: so many at the most, on average; None for any.
    """

    dns_after_heal: Dns = Dns.RESOLVABLE
    dns_during_cut: Dns | None = None
    self_heals: bool = True
    evicted_pods: int | None = None
    probability: float = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutover:
    """The plan, in seconds. `cut_for_s`: as planned; `at_most_s`: at the longest, before it is called off.

    `rollback_s`: when kube-dns would be rescheduled, from the heal; None for never. `start`: None where nothing is
    planned yet. `grace_s`, `toleration_s`: the timings that the plan was made for, None for whatever is in force.
    `namespaces`: whose Pods must be well before, empty for all. `waived`: check -> why its answer doesn't count.
    `known`: objects that are known to be unhealthy, and don't count while they are no worse. `required`: remarks that
    count.
    """

    title: str
    selection: Selection
    cut_for_s: float
    at_most_s: float
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

    @property
    def durations_s(self) -> tuple[float, ...]:
        """How long the cut may take: as planned, and at the longest."""
        return tuple(dict.fromkeys((self.cut_for_s, self.at_most_s)))

    def plan(self, nodes: frozenset[str], cut_for_s: float) -> Plan:
        """The cut of these nodes for so long, to be rehearsed."""
        rollback_s = None if self.rollback_s is None else cut_for_s + self.rollback_s
        horizon_s = (rollback_s or cut_for_s) + AFTERWARDS_S
        return Plan(cut_nodes=nodes, cut_for_s=cut_for_s, horizon_s=horizon_s, rollback_s=rollback_s)
