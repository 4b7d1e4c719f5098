"""The first event that breaks a plan's acceptance: picked from a prediction by the checks that it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.gate.losses import LOSSES, PENDING_PODS, QUORUM_LOST, SERVICES_AT_END
from chaosext.gate.rehearsed import (
    DNS_AFTER_HEAL,
    DNS_DURING_CUT,
    DNS_OUTAGE,
    EVICTED_PODS,
    PODS_REACHABLE,
    SELF_HEALS,
)
from chaosext.model.duration_text import short_duration
from chaosext.model.names import lasting
from chaosext.model.timeline import Kind
from chaosext.rehearsal.simulate.prediction import said_share
from chaosext.rehearsal.simulate.roster import named
from chaosext.rehearsal.snapshot.node_patterns import behind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from chaosext.gate.cutover_plan import Acceptance
    from chaosext.model.findings import Finding
    from chaosext.rehearsal.simulate.prediction import PredictedEvent, Prediction
    from chaosext.rehearsal.snapshot.world import Service, World

    Test = Callable[[PredictedEvent], bool]

RAREST = 0.005
"""An event that is less likely doesn't explain why a plan fails."""

AFTERWARDS = frozenset({QUORUM_LOST, SERVICES_AT_END})
"""Checks of what is lost for good, or all at once at the heal: by Pods that are evicted."""

DNS_CHECKS = frozenset({DNS_AFTER_HEAL, DNS_DURING_CUT, DNS_OUTAGE})


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakingEvent:
    """An event that leads to an outcome that is not acceptable; times in seconds from the cut."""

    said: str
    kind: Kind
    object: str
    t_s: float
    t_min_s: float
    t_max_s: float
    probability: float

    def __str__(self) -> str:
        low, high = short_duration(round(self.t_min_s)), short_duration(round(self.t_max_s))
        when = low if low == high else f"{low} to {high}"
        share = "" if self.probability >= 1 - RAREST else f" in {said_share(self.probability)} of simulations"
        return f"{self.said} ({when} after the cut{share})"

    def to_json(self) -> dict[str, Any]:
        return {
            "said": self.said,
            "kind": self.kind.value,
            "object": self.object,
            "t_s": round(self.t_s, 3),
            "t_min_s": round(self.t_min_s, 3),
            "t_max_s": round(self.t_max_s, 3),
            "probability": round(self.probability, 3),
        }


def breaking_event(
    world: World, found: Prediction, accept: Acceptance, against: Iterable[Finding]
) -> BreakingEvent | None:
    """Return the event of the prediction that explains the findings against it; None if none is known to."""
    findings = tuple(against)
    checks = {each.check for each in findings}
    hit = {row.subject for each in findings if each.check in LOSSES for row in each.evidence}
    likely = [each for each in found.timeline if each.probability >= RAREST]
    for matches, say in _explanations(world, accept, checks, hit):
        event = next((each for each in likely if matches(each)), None)
        if event:
            return _told(event, say(event))
    return None


def _told(event: PredictedEvent, said: str) -> BreakingEvent:
    return BreakingEvent(
        said=said,
        kind=event.kind,
        object=lasting(event.object),
        t_s=event.t_s,
        t_min_s=event.t_min_s,
        t_max_s=event.t_max_s,
        probability=event.probability,
    )


def chain(world: World, found: Prediction, names: set[str], *, dns: bool) -> tuple[BreakingEvent, ...]:
    """Return the first events of a prediction that lead to a loss, in their order.

    `names`: Services and workloads that are lost; `dns`: DNS, the mesh or routes are.
    """
    services = [each for each in world.services if each.subject in names]
    hit = names | {name for each in services for name in _pods_behind(world, each)}
    if dns:
        hit |= _pods_behind(world, world.dns) | _pods_behind(world, world.mesh.istiod if world.mesh else None)
    known = _workloads(world)
    is_hit = _of(known, hit)

    def pod(each: PredictedEvent) -> str:
        return known.get(each.object, lasting(each.object)).rpartition("/")[2]

    steps: list[tuple[Test, Callable[[PredictedEvent], str]]] = [
        (_is(Kind.NODE_NOT_READY), lambda each: f"{_bare(each)} NotReady"),
        (is_hit(Kind.POD_EVICTED), lambda each: f"{pod(each)} evicted"),
        (is_hit(Kind.POD_PENDING), lambda each: f"{pod(each)} Pending"),
        (is_hit(Kind.POD_BOUND), lambda each: f"{pod(each)} to {_where(each)}"),
    ]
    if dns:
        steps += [
            (_is(Kind.ROUTE_LOST), lambda each: f"{_bare(each)} loses Pod routes"),
            (_is(Kind.XDS_LOST), lambda each: "sidecars lose istiod"),
            (_on(_judged(world), Kind.DNS_DEAD), lambda each: f"DNS dead on {_bare(each)}"),
        ]
    likely = [each for each in found.timeline if each.probability >= RAREST]
    told = []
    for matches, say in steps:
        event = next((each for each in likely if matches(each)), None)
        if event:
            told.append(_told(event, say(event)))
    return tuple(sorted(told, key=lambda each: each.t_s))


def _bare(each: PredictedEvent) -> str:
    """Return the object's name without its kind."""
    return lasting(each.object).partition("/")[2]


def _explanations(
    world: World, accept: Acceptance, checks: set[str], hit: set[str]
) -> Iterator[tuple[Test, Callable[[PredictedEvent], str]]]:
    """Yield tests for an event that explains the checks, the closest cause first, and how to say it."""
    known = _workloads(world)
    if checks & DNS_CHECKS:
        yield from _of_dns(world, known, accept, checks)
    if PODS_REACHABLE in checks:
        yield _is(Kind.ROUTE_LOST), _said
    if hit:
        services = [each for each in world.services if each.subject in hit]
        is_hit = _of(known, hit | {name for each in services for name in _pods_behind(world, each)})
        if PENDING_PODS in checks:
            yield is_hit(Kind.POD_PENDING), lambda each: f"{_whose(each)} is Pending: {each.detail}"
        kinds = (Kind.POD_EVICTED,) if checks & AFTERWARDS else (Kind.POD_NOT_READY, Kind.POD_EVICTED)
        yield is_hit(*kinds), _lost
        yield is_hit(Kind.POD_NOT_READY), _lost
    if SELF_HEALS in checks:
        yield _is(Kind.XDS_LOST), lambda each: f"sidecars lose istiod: {each.detail}"
    if EVICTED_PODS in checks or SELF_HEALS in checks:
        yield _is(Kind.POD_EVICTED), _lost


def _of_dns(
    world: World, known: Mapping[str, str], accept: Acceptance, checks: set[str]
) -> Iterator[tuple[Test, Callable[[PredictedEvent], str]]]:
    is_dns, is_dead = _of(known, _pods_behind(world, world.dns)), _on(_judged(world), Kind.DNS_DEAD)
    if DNS_AFTER_HEAL in checks:
        yield is_dns(Kind.POD_BOUND), lambda each: f"the first kube-dns Pod moves to {_where(each)}"
    yield _is(Kind.ROUTE_LOST), _said
    if DNS_AFTER_HEAL not in checks and accept.dns_outage_s is not None:
        least = f" for more than {short_duration(accept.dns_outage_s)}" if DNS_OUTAGE in checks else ""
        yield is_dead, lambda each: f"{each.object} {each.detail}{least}"
    yield is_dns(Kind.POD_EVICTED), lambda each: f"the first kube-dns Pod is evicted {each.detail}"
    yield is_dns(Kind.POD_NOT_READY), lambda each: f"the first kube-dns Pod is not Ready: {each.detail}"
    yield is_dead, _said


def _lost(each: PredictedEvent) -> str:
    if each.kind is Kind.POD_EVICTED:
        return f"{_whose(each)} is evicted {each.detail}"
    return f"{_whose(each)} is not Ready: {each.detail}"


def _is(kind: Kind) -> Test:
    return lambda each: each.kind is kind


def _judged(world: World) -> frozenset[str]:
    """Return the nodes whose DNS counts: those without a control-plane role, if there are any."""
    workers = frozenset(each.subject for each in world.nodes if not each.control_plane)
    return workers or frozenset(each.subject for each in world.nodes)


def _on(nodes: frozenset[str], kind: Kind) -> Test:
    return lambda each: each.kind is kind and each.object in nodes


def _said(each: PredictedEvent) -> str:
    return f"{each.object} {each.detail}"


def _where(each: PredictedEvent) -> str:
    """Return the node that a Pod is most likely bound to."""
    likeliest = max(sorted(each.nodes), key=each.nodes.__getitem__)
    others = len(each.nodes) - 1
    return f"{likeliest} or {others} other{'s' * (others > 1)}" if others else likeliest


def _whose(each: PredictedEvent) -> str:
    return lasting(each.object)


def _of(known: Mapping[str, str], workloads: set[str]) -> Callable[..., Test]:
    """Return a function that makes a test for events of some kinds about Pods of these workloads.

    `known`: Pod -> its workload.
    """

    def of_kinds(*kinds: Kind) -> Test:
        return lambda each: each.kind in kinds and known.get(each.object, each.object) in workloads

    return of_kinds


def _workloads(world: World) -> dict[str, str]:
    """Return Pod, as events name it -> its workload, as users know it."""
    known = {pod.subject: named(world, pod.namespace, pod.owner) for pod in world.pods if pod.owner}
    for pod in world.pods:
        kind, _, name = pod.owner.partition("/")
        if kind:
            known[f"Pod/{pod.namespace}/{name}-*"] = known[pod.subject]
    return known


def _pods_behind(world: World, service: Service | None) -> set[str]:
    """Return the workloads of a Service's Pods, as users know them."""
    return {named(world, each.namespace, each.owner) for each in behind(service, world.pods) if each.owner}
