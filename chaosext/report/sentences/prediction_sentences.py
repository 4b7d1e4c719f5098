"""A prediction in sentences, the same on the terminal, in the gate, before a run and on pages. Pure.

The verdict is judged as the gate judges a plan without an `accept` of its own: what users lose is not OK,
even if the cluster heals by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING

from chaosext.gate.cutover_plan import Acceptance
from chaosext.gate.losses import PENDING_PODS, QUORUM_LOST, SERVICES_AT_END
from chaosext.gate.rehearsed import DNS_AFTER_HEAL, DNS_OUTAGE, PODS_REACHABLE, SELF_HEALS, counting
from chaosext.model.duration_text import short_duration
from chaosext.model.findings import Status
from chaosext.model.result import Lane
from chaosext.rehearsal.predict.impact_lines import impact_lines
from chaosext.rehearsal.predict.recommendations import chance_of, passes
from chaosext.rehearsal.simulate.prediction import (
    CERTAIN,
    DNS_OUTAGE_S,
    NOT_CUT,
    RARE,
    Dns,
    Forecast,
    said_share,
)
from chaosext.report.data.lane_state import PLACEMENT, PODS, State
from chaosext.report.units import few_names, listed, names, natural

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from chaosext.model.findings import Finding
    from chaosext.rehearsal.simulate.impact import UnitImpact
    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.simulate.prediction import Advice, DnsOutage, Prediction
    from chaosext.report.data.predicted_lanes import LaneMoment, PredictedLane

LEAST = 0.05
"""What is less likely is left out of a sentence that names what usually happens."""


WHOLE_S = 10.0
"""Moments from here on are said in whole seconds."""


class Light(StrEnum):
    """The first word of an answer."""

    OK = "OK"
    NOT_OK = "NOT OK"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictSentence:
    """The answer in one sentence. `settles`: what would settle an unknown one."""

    light: Light
    text: str
    settles: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.light}: {self.text}"


def verdict_sentence(
    found: Prediction, cut: Collection[str] = (), accept: Acceptance | None = None
) -> VerdictSentence:
    """Return the answer; `cut` are the names of the nodes that are cut off, `accept` is what a plan accepts."""
    findings = list(counting(replace(found, samples=0), accept or Acceptance()))
    bad = [each for each in findings if each.status is Status.UNHEALTHY]
    if bad:
        return VerdictSentence(light=Light.NOT_OK, text=what_fails(found, bad, cut))
    if found.verdict is Forecast.UNKNOWN or any(each.status is Status.UNKNOWN for each in findings):
        return VerdictSentence(light=Light.UNKNOWN, text=found.why_unknown, settles=settles(found))
    return VerdictSentence(light=Light.OK, text=how_it_passes(found))


# -- what fails ----------------------------------------------------------------------------------------------------


def what_fails(found: Prediction, findings: Sequence[Finding], cut: Collection[str]) -> str:
    """Say what is worst among the findings on a prediction, and what comes next."""
    failures = list(_failures(found, [each.check for each in findings], cut))
    failures = failures or [(each.summary, 1.0) for each in findings]
    first, share = failures[0]
    said = f"in {said_share(share)} of simulations {first}" if share < CERTAIN else first
    more = [text for text, _ in failures[1:2]]
    heals = found.self_heals and share >= CERTAIN
    return "; ".join((said, *more)) + (", though it heals by itself" if heals else "")


def _failures(
    found: Prediction, checks: Collection[str], cut: Collection[str]
) -> Iterator[tuple[str, float]]:
    """Yield each failure with its probability, the worst first; none for checks that have no sentence of their own."""
    deviates = found.chances.get(Forecast.DEVIATED, 0.0)
    impact = found.impact
    if DNS_AFTER_HEAL in checks:
        yield dns_failure(found, cut), bad_dns(found)
        return  # what follows from it is among the impact
    if SELF_HEALS in checks and SERVICES_AT_END not in checks:
        yield _mesh_failure(found), found.healing.get(Forecast.DEVIATED, deviates)
    if PODS_REACHABLE in checks:
        yield routes_failure(found), found.routes_lost.probability
    if DNS_OUTAGE in checks:
        worst = max(found.outages, key=lambda each: (each.worst is Dns.DEAD, each.max_s), default=None)
        accepted = f" (by default {at(DNS_OUTAGE_S)} are accepted)"
        yield (
            (f"{outage_text(worst)}{accepted}", worst.probability)
            if worst
            else ("DNS fails too long", deviates)
        )
    if impact and QUORUM_LOST in checks:
        hit = _names(each for each in impact.workloads if each.quorum_lost.likely > RARE)
        yield f"{hit} lose{'s' * (' and ' not in hit)} the quorum", impact.quorum_lost.likely
    if impact and SERVICES_AT_END in checks:
        hit = _names(each for each in impact.services if each.none_at_end.likely > RARE)
        yield f"no endpoint is left for {hit}", impact.services_ended.likely
    if impact and PENDING_PODS in checks:
        yield f"Pods of {names(sorted(impact.pending), at_most=2)} fit on no node afterwards", 1.0


def bad_dns(found: Prediction) -> float:
    """Return the probability that lookups fail to the end."""
    return chance_of(found, Dns.DEAD, Dns.PARTIAL)


def _names(units: Iterable[UnitImpact]) -> str:
    found = [each.name for each in units]
    return f"{found[0]} and {len(found) - 1} more" if len(found) > 2 else listed(found)


def dns_failure(found: Prediction, cut: Collection[str] = ()) -> str:
    """Say which lookups fail to the end, and where."""
    dead, partial = (
        [name for name, view in found.dns_per_node.items() if view.after_heal is state]
        for state in (Dns.DEAD, Dns.PARTIAL)
    )
    chances = {each.dns_after_heal: each.probability for each in found.outcomes}
    all_, some = chances.get(Dns.DEAD, 0.0), chances.get(Dns.PARTIAL, 0.0)
    if dead or all_ > some:
        what = "DNS stays down"
    else:
        what = f"some{' or all' if all_ > RARE else ''} DNS lookups keep failing"
    return f"{what}{_where(dead or partial, found.dns_per_node, cut)} after the network is back"


def _where(nodes: Sequence[str], every: Collection[str], cut: Collection[str]) -> str:
    if not nodes:
        return ""
    if len(nodes) == 1:
        return f" on {nodes[0]}"
    if len(nodes) == len(every):
        return f" on all {len(every)} nodes"
    if set(nodes) == set(cut):
        return f" on {'both' if len(cut) == 2 else f'all {len(cut)}'} nodes that were cut off"
    return f" on {len(nodes)} of {len(every)} nodes"


def _mesh_failure(found: Prediction) -> str:
    stuck = found.mesh.get("stuck_pods")
    if stuck and round(stuck):
        number = round(stuck)
        return f"{number} Pod{'s' * (number != 1)} cannot start again: no configuration for their sidecars"
    return (
        "sidecars stay without istiod" if found.mesh.get("present") else "the cluster does not heal by itself"
    )


def outage_text(outage: DnsOutage) -> str:
    """Say for how long DNS fails on which nodes: `2 nodes that are not cut are without DNS for 5m (up to 5m4s)`."""
    one = outage.nodes == 1
    is_ = "is" if one else "are"
    nodes = "1 node" if one else f"{outage.nodes} nodes"
    if outage.where == NOT_CUT:
        nodes += f" that {is_} not cut"
    lost = (
        f"{is_} without DNS"
        if outage.worst is Dns.DEAD
        else f"ha{'s' if one else 've'} {outage.worst.value} DNS"
    )
    typical, longest = at(outage.typical_s), at(outage.max_s)
    most = f" (up to {longest})" if longest != typical else ""
    where = f" {outage.where}" if outage.where and outage.where != NOT_CUT else ""
    return f"{nodes} {lost} for {typical}{most}{where}"


def routes_failure(found: Prediction) -> str:
    """Say which nodes lose routes, and when."""
    lost = found.routes_lost
    since = f"{at(lost.earliest_s)} to {at(lost.latest_s)} after the cut"
    return f"{lost.nodes} nodes lose routes to Pods that they are not cut off from, {since}, until the network is back"


# -- what is unknown, what passes ----------------------------------------------------------------------------------


def settles(found: Prediction) -> tuple[str, ...]:
    """Return what would settle an unknown outcome, the most general first."""
    said = (
        *(["a larger --time-budget"] if not found.simulations.is_whole else []),
        *(each.alternative.settles for each in found.otherwise),
        *map(str, found.routes.doubts),
        *map(str, found.doubts),
        *(found.impact.unknown if found.impact else ()),
    )
    return tuple(dict.fromkeys(said))


def how_it_passes(found: Prediction) -> str:
    """Say that the cluster heals, and what happens on the way."""
    share, rare = (found.chances.get(each, 0.0) for each in (Forecast.PASSED, Forecast.DEVIATED))
    said = ["it heals by itself" + (f" in {said_share(share)} of simulations" if share < CERTAIN else "")]
    if rare > RARE:
        said.append(f"deviates in {said_share(rare)}")
    during = found.dns.during_cut
    if during in (Dns.DEAD, Dns.PARTIAL):
        said.append(f"{'no' if during is Dns.DEAD else 'partial'} DNS during the cut")
    if found.outages:
        first = found.outages[0]
        chance = f" ({said_share(first.probability)})" if first.probability < CERTAIN else ""
        said.append(f"{outage_text(first)}{chance}")
    elif during is Dns.RESOLVABLE:
        said.append("DNS works on every node")
    return "; ".join(said)


# -- cut, why, impact, recovery ------------------------------------------------------------------------------------


def cut_sentence(plan: Plan, node_count: int, width: float = inf) -> str:
    """Say which nodes are cut off, and for how long."""
    cut = sorted(plan.cut_nodes, key=natural)
    lasts = [end - begin for begin, end in plan.periods]
    how_long = f"for {short_duration(plan.cut_for_s)}"
    if len(lasts) > 1:
        each = f" of {short_duration(lasts[0])}" if max(lasts) - min(lasts) < 0.1 else ""
        how_long = f"in {len(lasts)} cuts{each}, {short_duration(plan.cut_for_s)} in all"
    of = f"{len(cut)} of {node_count} nodes" if node_count else f"{len(cut)} nodes"
    said = f"{of} lose{'s' * (len(cut) == 1)} the control plane {how_long}"
    which = few_names(cut, width - len(said) - 2)
    return f"{said}: {which}" if which else said


def causes(found: Prediction, lanes: Sequence[PredictedLane], width: float = inf) -> tuple[str, ...]:
    """Say what leads to the outcome: routes that end, where kube-dns goes, what that means for the mesh."""
    return tuple(_causes(found, lanes, width))


def _causes(found: Prediction, lanes: Sequence[PredictedLane], width: float) -> Iterator[str]:
    move, stuck = kube_dns_move(found, lanes), found.mesh.get("stuck_pods")
    if found.routes_lost.probability > RARE:
        yield _shared(f"routes: {found.routes.rests_on}", found.routes_lost.probability)
    if move:
        why = ", whose Pod addresses no other node learns" if move.is_astray else ""
        when_ = _shared(f" at {when(move.at)}{why}", move.share)
        yield f"kube-dns moves to {few_names(move.nodes, max(24, width - len(when_) - 18), of='node')}{when_}"
    bad = [
        each
        for each in found.outcomes
        if each.dns_after_heal is not Dns.RESOLVABLE and each.probability > RARE
    ]
    if not (move and move.is_astray):
        yield from (_shared(each.why, each.probability) for each in bad or found.outcomes[:1])
    if stuck and round(stuck):
        yield f"without DNS, new sidecars do not find istiod: {stuck:.0f} Pods do not start"


def _shared(text: str, share: float) -> str:
    return text if share >= CERTAIN else f"{text} ({said_share(share)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where new kube-dns Pods go: the nodes, when the first arrives, in how many simulations, and what is wrong."""

    nodes: tuple[str, ...]
    at: LaneMoment
    share: float
    is_astray: bool


def kube_dns_move(found: Prediction, lanes: Iterable[PredictedLane]) -> Move | None:
    """Return where kube-dns moves to, first of all nodes that are of no use to others; None if it stays."""
    came = [
        (row.name, span)
        for lane in lanes
        if lane.key == PLACEMENT
        for row in lane.rows
        for span in row.spans
        if span.begin.t_s > 0
    ]
    astray = [(name, span) for name, span in came if span.state is State.ASTRAY]
    if not came:
        return None
    first = min(span.begin for _, span in astray or came)
    together = astray or [(name, span) for name, span in came if span.begin.earliest_s <= first.latest_s]
    share = min(1.0, sum(span.share for _, span in together), (astray and bad_dns(found)) or 1.0)
    nodes = sorted({name for name, _ in together}, key=natural)
    return Move(nodes=tuple(nodes), at=first, share=share, is_astray=bool(astray)) if share >= LEAST else None


def when(moment: LaneMoment) -> str:
    """A moment with its range: `36s (30s-55s)`."""
    typical, *ends = map(at, moment)
    return typical if ends == [typical, typical] else f"{typical} ({'-'.join(ends)})"


def at(t_s: float) -> str:
    """A moment, from 10 s on in whole seconds."""
    return short_duration(t_s if t_s < WHOLE_S else round(t_s))


def impact_sentences(found: Prediction, width: float = inf) -> tuple[str, ...]:
    """Say what users lose, the worst first, and how many Pods are hit on average."""
    if found.impact is None:
        return ("unknown: nothing was simulated",)
    counts: dict[str, float] = {
        what: sum(float(each.get(what) or 0.0) for each in found.workloads.values())
        for what in ("evicted", "stuck", "pending")
    }
    pods = ", ".join(f"{number:.0f} {what}" for what, number in counts.items() if round(number))
    lost = tuple(impact_lines(found.impact, width))
    return (*lost, *([f"Pods, on average: {pods}"] if pods else [])) or (
        "no workload and no Service is affected",
    )


def recovery_sentence(found: Prediction, lanes: Sequence[PredictedLane], rollback_s: float | None) -> str:
    """Say whether and when everything is back, in how many simulations."""
    spans = [
        (lane.key, span)
        for lane in lanes
        if lane.key != PLACEMENT
        for row in lane.rows
        if row.counts
        for span in row.spans
        if span.share >= LEAST
    ]
    if not lanes or found.self_heals is None or any(span.state is State.UNSEEN for _, span in spans):
        return "unknown"
    how = "by itself" if rollback_s is None else f"with the rollback at {at(rollback_s)}"
    lasting = listed(dict.fromkeys(PARTS.get(key, key) for key, span in spans if span.end is None))
    share = found.healing.get(Forecast.PASSED if found.self_heals else Forecast.DEVIATED, 1.0)
    chance = f"in {said_share(share)} of simulations " if share < CERTAIN and rollback_s is None else ""
    if lasting and (rollback_s is not None or not found.self_heals):
        return f"{chance}not {how}: {lasting} not back when the prediction ends"
    last = max((span.end for _, span in spans if span.end), default=None)
    complete = f", complete {when(last)} after the cut" if last else ""
    return f"{chance}{how}{complete}{f', except {lasting}' if lasting else ''}"


PARTS: dict[str, str] = {Lane.NODE_READY: "nodes", Lane.DNS: "DNS", Lane.XDS: "the mesh", PODS: "Pods"}
"""Lane -> its word in a sentence."""


def basis_sentence(found: Prediction) -> str:
    """Say what the answer rests on: simulations, the weakest evidence, and how much is assumed."""
    made = found.simulations.made
    how = "random simulations" if found.samples else "simulations, all combinations"
    weak = [each.part for each in found.evidence if each.evidence is found.weakest]
    parts = f" ({listed(weak)})" if 0 < len(weak) < len(found.evidence) else ""
    assumed = len(found.assumptions)
    return f"{made} {how}; evidence: {found.weakest.value}{parts}; {assumed} assumption{'s' * (assumed != 1)}"


# -- fixes ---------------------------------------------------------------------------------------------------------

PRICES = {
    "dns-affinity": "kube-dns rolls out once, then never runs on those nodes",
    "bgp-on-control-plane": "the leaf needs a neighbour for each of those nodes",
    "reflectors-off-control-plane": "two nodes become route reflectors: sessions restart",
    "nodelocal-dns": "a new DaemonSet on every node",
    "serve-stale": "the DNS cache restarts; answers may be a day old",
    "pause-evictions": "no Pod leaves a failed node until it is undone",
    "longer-tolerations": "kube-dns rolls out once, then stays on lost nodes",
    "zones": "zone labels change; storage and spreading follow them",
    "workload-tolerations": "quorums restart once, then stay on failed nodes for that long",
    "workload-spread": "quorums restart once; a member may find no place",
    "dns-capture": "every workload with a sidecar restarts",
    "spread": "kube-dns rolls out once; one Pod per node at most",
}
"""Mitigation -> what it costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A mitigation that makes the cut pass in `share` of simulations, and its price."""

    name: str
    share: float
    price: str

    def __str__(self) -> str:
        passes = "passes" if self.share >= CERTAIN else f"passes in {said_share(self.share)}"
        return f"{passes}; {self.price}" if self.price else passes


def fixes(found: Prediction) -> tuple[Fix, ...]:
    """Return the mitigations with which the cut passes more often, the most helpful first."""
    now = passes(found)
    helpful = (each for each in found.advice if each.passes is not None and each.passes > now + LEAST)
    return tuple(map(_fix, helpful))


def _fix(advice: Advice) -> Fix:
    return Fix(name=advice.mitigation, share=advice.passes or 0.0, price=PRICES.get(advice.mitigation, ""))
