"""The result of a rehearsal: the value that `chaosext rehearse` prints and that runs are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from chaosext.model.duration_text import short_duration
from chaosext.rehearsal.network.routes import STRENGTH, EvidenceKind, Proof

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.model.timeline import Kind
    from chaosext.rehearsal.simulate.impact import Impact
    from chaosext.rehearsal.snapshot.world import Alternative, Doubt

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


NOTICED_S = 1.0
"""A shorter outage of DNS is not reported, seconds: lookups are repeated, and no time is predicted more exactly."""

DNS_OUTAGE_S = 30.0
"""Acceptable time without DNS by default, seconds.

Most clients repeat a lookup for 10 to 20 s; kubelets need up to 10 s to reconnect, and kube-proxy some more.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsOutage:
    """Time with bad DNS that no cut explains: after a heal, or on nodes that are not cut.

    `worst`: the worst state that occurs; the times are those in this state. `times_s`: (seconds, probability)
    of every duration on the node that it lasts longest on; at the end of the prediction it may last on.
    `at_least_s`: the same where the state is unknown for a while, too. `missing`: probability that nothing is
    known; all sum to 1. `nodes`: how many nodes it occurs on. `otherwise`: the
    same with an assumption turned. `where`: `NOT_CUT`, or when, such as "after the
    heal".
    """

    worst: Dns
    times_s: tuple[tuple[float, float], ...]
    at_least_s: tuple[tuple[float, float], ...] = ()
    missing: float = 0.0
    nodes: int = 1
    where: str = ""
    otherwise: tuple[DnsOutage, ...] = ()

    @property
    def unknown(self) -> float:
        """The probability that its duration is unknown."""
        return min(1.0, sum(share for _, share in self.at_least_s) + self.missing)

    @property
    def probability(self) -> float:
        """The probability that it occurs."""
        return min(1.0, sum(share for _, share in self._noticed))

    @property
    def typical_s(self) -> float:
        """The median of its durations where it occurs, 0 if it does not."""
        half, shares = self.probability / 2, 0.0
        for seconds, share in self._noticed:
            shares += share
            if shares >= half:
                return seconds
        return self.max_s

    @property
    def max_s(self) -> float:
        """Its longest duration."""
        return max((seconds for seconds, _ in self._noticed), default=0.0)

    @property
    def _noticed(self) -> list[tuple[float, float]]:
        times = sorted((*self.times_s, *self.at_least_s))
        return [(seconds, share) for seconds, share in times if seconds >= NOTICED_S and share > 0]

    def dead_within(self, limit_s: float) -> tuple[float, float]:
        """Return the probabilities that DNS is dead for at most `limit_s`, and that this is unknown."""
        every = [self._dead_within(limit_s), *(each.dead_within(limit_s) for each in self.otherwise)]
        within = min(known for known, _ in every)
        longer = min(1.0 - known - unknown for known, unknown in every)
        return within, max(0.0, 1.0 - within - longer)

    def _dead_within(self, limit_s: float) -> tuple[float, float]:
        if self.worst is not Dns.DEAD:
            return 1.0 - self.unknown, self.unknown
        return self.worst_within(limit_s)

    def worst_within(self, limit_s: float) -> tuple[float, float]:
        """Return the probabilities that the worst state lasts for at most `limit_s`, and that this is unknown."""
        known, unknown = (
            sum(share for seconds, share in times if seconds <= limit_s)
            for times in (self.times_s, self.at_least_s)
        )
        return known, unknown + self.missing

    def __str__(self) -> str:
        longest = (
            f", at most {short_duration(round(self.max_s))},"
            if round(self.max_s) > round(self.typical_s)
            else ""
        )
        lost = "without DNS" if self.worst is Dns.DEAD else f"of {self.worst.value} DNS"
        nodes = "1 node" if self.nodes == 1 else f"{self.nodes} nodes"
        where = f" {self.where}" if self.where else ""
        if self.where == NOT_CUT:
            where = f" that {'is' if self.nodes == 1 else 'are'} not cut"
        return f"{short_duration(round(self.typical_s))}{longest} {lost} on {nodes}{where}"

    def to_json(self) -> dict[str, Any]:
        said = {
            "worst": self.worst.value,
            "probability": round(self.probability, DECIMALS),
            "unknown": round(self.unknown, DECIMALS),
            "typical_s": round(self.typical_s, DECIMALS),
            "max_s": round(self.max_s, DECIMALS),
            "nodes": self.nodes,
        }
        return said | ({"where": self.where} if self.where else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsView:
    """The likeliest states of DNS, on one node or on all nodes together.

    `outage`: on a cut node after each heal, on another one at any time; None: it is unknown, or not predicted.
    """

    during_cut: Dns
    after_heal: Dns
    after_rollback: Dns | None = None
    outage: DnsOutage | None = None

    @property
    def states(self) -> tuple[Dns | None, ...]:
        return self.during_cut, self.after_heal, self.after_rollback

    def dead_within(self, limit_s: float) -> tuple[float, float]:
        """Return the probabilities that DNS is dead for at most `limit_s` where no cut explains it, and of unknown."""
        return self.outage.dead_within(limit_s) if self.outage else (0.0, 1.0)

    def to_json(self) -> dict[str, Any]:
        said: dict[str, Any] = {"during_cut": self.during_cut.value, "after_heal": self.after_heal.value}
        if self.after_rollback:
            said["after_rollback"] = self.after_rollback.value
        return said | ({"outage": self.outage.to_json()} if self.outage else {})


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

CERTAIN, RARE = 0.9995, 0.0005
"""Rounding of probabilities in words: beyond, they are certain or do not occur."""

_ENDS = {
    Forecast.DEVIATED: ", it does not heal by itself",
    Forecast.UNKNOWN: ", whether it heals is unknown",
}
_DOES = {Forecast.PASSED: "passes", Forecast.DEVIATED: "deviates", Forecast.UNKNOWN: "unknown"}


def said_share(share: float) -> str:
    """Format a share; 100% and 0% only for a certain one, else `>99%` or `<1%`."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


NOT_CUT = "not cut"
"""`DnsOutage.where` of nodes that are not cut."""

NO_EFFECT = "changes nothing about this cut"
NO_TIME = "not simulated: the time budget ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A mitigation that may help: its effect, and how to apply it (patches or commands).

    `passes`: the probability that the cut passes with it, None if that was not simulated.
    """

    mitigation: str
    effect: str
    how: str
    passes: float | None = None

    def to_json(self) -> dict[str, Any]:
        passes = None if self.passes is None else round(self.passes, DECIMALS)
        return {"mitigation": self.mitigation, "effect": self.effect, "passes": passes, "how": self.how}


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What one part of a prediction rests on."""

    part: str
    evidence: EvidenceKind
    rests_on: str

    def to_json(self) -> dict[str, Any]:
        return {"part": self.part, "evidence": self.evidence.value, "rests_on": self.rests_on}


@dataclass(frozen=True, slots=True, kw_only=True)
class Otherwise:
    """The prediction if an assumption does not hold."""

    alternative: Alternative
    prediction: Prediction

    def __str__(self) -> str:
        is_known = self.prediction.simulations.is_whole
        then = self.prediction.verdict.value if is_known else NO_TIME
        return f"{self.alternative.assumed}; otherwise: {then}. To settle it: {self.alternative.settles}"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.alternative.name,
            "assumed": self.alternative.assumed,
            "otherwise": self.prediction.verdict.value,
            "settles": self.alternative.settles,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A prediction. `outcomes` are sorted, likeliest first, and sum to 1. `self_heals` is None if unknown.

    `mesh` and `workloads` are as in JSON: name -> facts. `method` describes how the simulations were chosen;
    `samples` is the number of random ones, 0 if all combinations were enumerated. `chances`: probability of
    each verdict; they sum to 1; `healing`: the same of healing without help, whatever is lost meanwhile. Missing
    `simulations` count as unknown in `outcomes`, `chances`, `healing` and `dns`. `impact`: what users lose, None if
    nothing was simulated.
    `routes`: whether it is proven which node reaches which Pods, and by what; `routes_lost`: those that end
    during the cut. `outages`: those of DNS on nodes that are not cut, and on the others after the heal if it
    recovers; the longest first.
    `doubts`: other reasons why the outcome is unknown. `otherwise`: the predictions with assumptions turned, as far as
    they differ. `evidence`: what the parts of the prediction rest on.
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
    healing: Mapping[Forecast, float] = field(default_factory=dict)
    samples: int = 0
    simulations: Simulated = Simulated(made=1, wanted=1)
    routes: Proof = field(default_factory=Proof)
    routes_lost: RoutesLost = RoutesLost()
    outages: tuple[DnsOutage, ...] = ()
    impact: Impact | None = None
    doubts: tuple[Doubt, ...] = ()
    otherwise: tuple[Otherwise, ...] = ()
    evidence: tuple[Basis, ...] = ()

    @property
    def headline(self) -> str:
        """The verdict in one line, with its share of the simulations, and the outage of DNS on the way."""
        share = self.chances.get(self.verdict, 1.0)
        said = f"{self.verdict.value}{self._ends()}"
        if share < CERTAIN:
            said += f" in {said_share(share)} of simulations"
        first = next((each for each in self.outages if self._is_told(each)), None)
        if first:
            is_rarer = first.probability < share - RARE
            chance = f" (in {said_share(first.probability)} of simulations)" if is_rarer else ""
            said += f"{' after' if self.verdict is Forecast.PASSED else ';'} {first}{chance}"
        others = (
            f"{_DOES[verdict]} in {said_share(chance)}"
            for verdict, chance in sorted(self.chances.items())
            if verdict is not self.verdict and chance > RARE
        )
        return "; ".join((said, *others, *self._lost_routes()))

    def _lost_routes(self) -> Iterator[str]:
        if self.routes_lost.probability > RARE:
            share = said_share(self.routes_lost.probability)
            yield f"in {share} {self.routes_lost.nodes} nodes lose routes to Pods that they are not cut off from"

    def _ends(self) -> str:
        if self.verdict is Forecast.PASSED:
            return "" if self.outages or self.routes_lost.probability > RARE else ", it heals by itself"
        if any(each.why == DOWN_BEFORE for each in self.outcomes):
            return f", {DOWN_BEFORE}"
        if self.verdict is Forecast.DEVIATED and self.self_heals:
            return ", it heals by itself, but a quorum is lost"
        return _ENDS[self.verdict]

    def _is_told(self, outage: DnsOutage) -> bool:
        """Whether the headline has the outage: if DNS does not recover, only one on nodes that are not cut."""
        return self.verdict is not Forecast.DEVIATED or outage.where == NOT_CUT

    @property
    def why_unknown(self) -> str:
        """Why the outcome is unknown, if it is."""
        if not self.simulations.is_whole:
            made, wanted = self.simulations.made, self.simulations.wanted
            return f"only {made} of {wanted} simulations were made before the time budget ended"
        if self.otherwise:
            first = self.otherwise[0]
            then = first.prediction.verdict.value
            return f"it depends on an assumption: {first.alternative.assumed} (otherwise {then})"
        if not self.routes.holds:
            return "the snapshot does not prove which nodes reach which Pods"
        if self.doubts:
            return str(self.doubts[0])
        unknown = [each.why for each in self.outcomes if each.dns_after_heal is Dns.UNKNOWN]
        reasons = [*unknown, *(self.impact.unknown if self.impact else ())]
        return reasons[0] if reasons else "whether the cluster heals by itself"

    @property
    def weakest(self) -> EvidenceKind:
        """The weakest evidence of all parts."""
        return min(
            (each.evidence for each in self.evidence), key=STRENGTH.index, default=EvidenceKind.DOCUMENTS
        )

    def evidence_json(self) -> dict[str, Any]:
        """Return the weakest evidence, and that of each part."""
        return {"weakest": self.weakest.value, "parts": [each.to_json() for each in self.evidence]}

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
            "headline": self.headline,
            "method": self.method,
            "simulations": {"made": self.simulations.made, "wanted": self.simulations.wanted},
            "routes": self.routes.to_json(),
            "routes_lost": self.routes_lost.to_json(),
            "doubts": [each.to_json() for each in self.doubts],
            "unsettled": [each.to_json() for each in self.otherwise],
            "evidence": self.evidence_json(),
            "assumptions": list(self.assumptions),
            "timings": dict(self.timings),
            "outcomes": [outcome.to_json() for outcome in self.outcomes],
            "dns": {
                **self.dns.to_json(),
                "outages": [each.to_json() for each in self.outages],
                "per_node": per_node,
            },
            "mesh": dict(self.mesh),
            "workloads": dict(self.workloads) if self.simulations.made else None,
            "impact": self.impact.to_json() if self.impact else None,
            "timeline": [event.to_json() for event in self.timeline],
            "advice": [each.to_json() for each in self.advice],
        }
