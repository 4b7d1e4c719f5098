"""The result of a rehearsal: the value that `chaosext rehearse` prints and that runs are compared with."""

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
"""Decimals of times and probabilities in JSON, so that all machines write the same bytes."""


class Dns(StrEnum):
    """State of kube-dns lookups; `partial`: some lookups, or the lookups of some nodes, hang."""

    RESOLVABLE = "resolvable"
    PARTIAL = "partial"
    DEAD = "dead"
    UNKNOWN = "unknown"


class Forecast(StrEnum):
    """The expected verdict of an experiment with the same cut."""

    PASSED = "passed"
    DEVIATED = "deviated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedEvent:
    """An event that happens with `probability`, between `t_min_s` and `t_max_s`, typically at `t_s`.

    Times are seconds from the cut. A Pod that does not exist yet is named after its owner,
    "Pod/shop/cart-6c9f7d5b8-*": the n-th line of a kind is about the n-th such Pod. `nodes` (for pod_bound,
    pod_ready): node -> its share of `probability`.
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
class PredictedOutcome:
    """One possible outcome, and its reason."""

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
    """The likeliest states of DNS, on one node or on all nodes together."""

    during_cut: Dns
    after_heal: Dns
    after_rollback: Dns | None = None

    def to_json(self) -> dict[str, Any]:
        said = {"during_cut": self.during_cut.value, "after_heal": self.after_heal.value}
        return said | ({"after_rollback": self.after_rollback.value} if self.after_rollback else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Number of simulations that ran and that were wanted; it ran fewer if the time budget ended."""

    made: int
    wanted: int

    @property
    def is_whole(self) -> bool:
        return self.made >= self.wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesLost:
    """Pod routes that end during the cut between nodes that it leaves together.

    `nodes`: how many nodes stop reaching Pods on others; `earliest_s`, `latest_s`: when, in seconds from the
    cut (0 if it never happens).
    """

    probability: float = 0.0
    nodes: int = 0
    earliest_s: float = 0.0
    latest_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "probability": round(self.probability, DECIMALS),
            "nodes": self.nodes,
            "earliest_s": round(self.earliest_s, DECIMALS),
            "latest_s": round(self.latest_s, DECIMALS),
        }



DOWN_BEFORE = (
    "nothing can be said about this cut's effect on DNS; it was down before: "
    "no kube-dns Pod is Ready in the snapshot"
)
"""The reason of an unknown outcome that must not be blamed on the cut."""

NO_EFFECT = "changes nothing about this cut"
NO_TIME = "not simulated: the time budget ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A mitigation that may help: its effect, and how to apply it (patches or commands)."""

    mitigation: str
    effect: str
    how: str

    def to_json(self) -> dict[str, Any]:
        return {"mitigation": self.mitigation, "effect": self.effect, "how": self.how}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A prediction. `outcomes` are sorted, likeliest first, and sum to 1. `self_heals` is None if unknown.

    `mesh` and `workloads` are as in JSON: name -> facts. `method` describes how the simulations were chosen;
    `samples` is the number of random ones, 0 if all combinations were enumerated. `chances`: probability of
    each verdict; they sum to 1. Missing `simulations` count as unknown in `outcomes`, `chances` and `dns`.
    `routes`: whether it is proven which node reaches which Pods, and by what; `routes_lost`: those that end
    during the cut.
    """

    assumptions: tuple[str, ...]
    timings: Mapping[str, Any]
    timeline: tuple[PredictedEvent, ...]
    dns: DnsView
    dns_per_node: Mapping[str, DnsView]
    mesh: Mapping[str, Any]
    workloads: Mapping[str, Any]
    outcomes: tuple[PredictedOutcome, ...]
    self_heals: bool | None
    verdict: Forecast
    method: str
    advice: tuple[Advice, ...] = ()
    chances: Mapping[Forecast, float] = field(default_factory=dict)
    samples: int = 0
    simulations: Simulated = Simulated(made=1, wanted=1)
    routes: Proof = field(default_factory=Proof)
    routes_lost: RoutesLost = RoutesLost()

    def advised(self, advice: tuple[Advice, ...]) -> Self:
        """Return the prediction with this advice, already ranked."""
        return replace(self, advice=advice)

    def to_json(self) -> dict[str, Any]:
        """Return the form of `chaosext.rehearsal/v1`."""
        per_node = {node: view.to_json() for node, view in sorted(self.dns_per_node.items())}
        return {
            "schema": SCHEMA,
            "verdict": self.verdict.value,
            "self_heals": self.self_heals,
            "method": self.method,
            "simulations": {"made": self.simulations.made, "wanted": self.simulations.wanted},
            "routes": self.routes.to_json(),
            "routes_lost": self.routes_lost.to_json(),
            "assumptions": list(self.assumptions),
            "timings": dict(self.timings),
            "outcomes": [outcome.to_json() for outcome in self.outcomes],
            "dns": {**self.dns.to_json(), "per_node": per_node},
            "mesh": dict(self.mesh),
            "workloads": dict(self.workloads) if self.simulations.made else None,
            "timeline": [event.to_json() for event in self.timeline],
            "advice": [each.to_json() for each in self.advice],
        }
