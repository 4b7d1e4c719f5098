"""What a rehearsal comes to: the value that `chaosext rehearse` prints and that runs are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from chaosext.rehearsal.network.routes import Proof

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.model.timeline import Kind

SCHEMA = "chaosext.rehearsal/v1"

DECIMALS = 3
"""Of times and probabilities in JSON, so that two machines write the same bytes."""


class Dns(StrEnum):
    """How kube-dns answers: `partial` where some lookups, or some nodes' lookups, hang."""

    RESOLVABLE = "resolvable"
    PARTIAL = "partial"
    DEAD = "dead"
    UNKNOWN = "unknown"


class Forecast(StrEnum):
    """The verdict that the same experiment is expected to end with."""

    PASSED = "passed"
    DEVIATED = "deviated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedEvent:
    """Something that happens with `probability`, and then between `t_min_s` and `t_max_s`, typically at `t_s`.

    Seconds from the cut. A Pod that doesn't exist yet is named after its owner, "Pod/shop/cart-6c9f7d5b8-*": the first
    such line is the first such Pod. `nodes` (for pod_bound, pod_ready): node -> its share of `probability`.
    """

    t_s: float
    t_min_s: float
    t_max_s: float
    probability: float
    kind: Kind
    object: str
    detail: str
    source: str
    nodes: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        said = {
            "t_s": round(self.t_s, DECIMALS),
            "t_min_s": round(self.t_min_s, DECIMALS),
            "t_max_s": round(self.t_max_s, DECIMALS),
            "probability": round(self.probability, DECIMALS),
            "kind": self.kind.value,
            "object": self.object,
            "detail": self.detail,
            "source": self.source,
        }
        shares = {node: round(share, DECIMALS) for node, share in sorted(self.nodes.items())}
        return said | ({"nodes": shares} if shares else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One way it may end, and why."""

    dns_after_heal: Dns
    probability: float
    why: str

    def to_json(self) -> dict[str, Any]:
        return {
            "dns_after_heal": self.dns_after_heal.value,
            "probability": round(self.probability, DECIMALS),
            "why": self.why,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsView:
    """DNS as one node sees it, or the worst of all nodes; each the likeliest state."""

    during_cut: Dns
    after_heal: Dns
    after_rollback: Dns | None = None

    def to_json(self) -> dict[str, Any]:
        said = {"during_cut": self.during_cut.value, "after_heal": self.after_heal.value}
        return said | ({"after_rollback": self.after_rollback.value} if self.after_rollback else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """How many simulations a prediction rests on, and how many were wanted: more, where the time budget was over."""

    made: int
    wanted: int

    @property
    def is_whole(self) -> bool:
        return self.made >= self.wanted


NO_EFFECT = "changes nothing about this cut"
NO_TIME = "not simulated: the time budget ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A change that would help: what it leads to, and how to make it (the patch or command to apply)."""

    mitigation: str
    effect: str
    how: str

    def to_json(self) -> dict[str, Any]:
        return {"mitigation": self.mitigation, "effect": self.effect, "how": self.how}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """All of it. `outcomes` are sorted, likeliest first, and sum to 1. `self_heals` None: it can't be known.

    `mesh` and `workloads` are as in JSON: name -> facts. `method` says how chance was treated, in words; `samples` is
    the number of random plays, 0 where every way was played. `chances`: how likely each verdict is; they sum to 1.
    `simulations` that are missing count as unknown in `outcomes`, `chances` and `dns`. `routes`: whether, and by what,
    it is proven who reaches whose Pods.
    """

    assumptions: tuple[str, ...]
    timings: Mapping[str, Any]
    timeline: tuple[PredictedEvent, ...]
    dns: DnsView
    dns_per_node: Mapping[str, DnsView]
    mesh: Mapping[str, Any]
    workloads: Mapping[str, Any]
    outcomes: tuple[Outcome, ...]
    self_heals: bool | None
    verdict: Forecast
    method: str
    advice: tuple[Advice, ...] = ()
    chances: Mapping[Forecast, float] = field(default_factory=dict)
    samples: int = 0
    simulations: Simulated = Simulated(made=1, wanted=1)
    routes: Proof = field(default_factory=Proof)

    def advised(self, advice: tuple[Advice, ...]) -> Self:
        """The same with advice, ranked by its maker."""
        return replace(self, advice=advice)

    def to_json(self) -> dict[str, Any]:
        """As `chaosext.rehearsal/v1`."""
        per_node = {node: view.to_json() for node, view in sorted(self.dns_per_node.items())}
        return {
            "schema": SCHEMA,
            "verdict": self.verdict.value,
            "self_heals": self.self_heals,
            "method": self.method,
            "simulations": {"made": self.simulations.made, "wanted": self.simulations.wanted},
            "routes": self.routes.to_json(),
            "assumptions": list(self.assumptions),
            "timings": dict(self.timings),
            "outcomes": [outcome.to_json() for outcome in self.outcomes],
            "dns": {**self.dns.to_json(), "per_node": per_node},
            "mesh": dict(self.mesh),
            "workloads": dict(self.workloads) if self.simulations.made else None,
            "timeline": [event.to_json() for event in self.timeline],
            "advice": [each.to_json() for each in self.advice],
        }
