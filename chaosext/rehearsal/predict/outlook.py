"""Summary of a prediction for kube-dns: the few lines that a user reads before a cut."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from chaosext.model.duration_text import short_duration
from chaosext.model.timeline import Kind
from chaosext.rehearsal.predict.impact_lines import impact_lines
from chaosext.rehearsal.snapshot.node_patterns import behind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chaosext.rehearsal.simulate.prediction import PredictedEvent, Prediction
    from chaosext.rehearsal.snapshot.world import Pod, World

USUAL, CERTAIN = 0.5, 0.995


def outlook(found: Prediction, world: World, cut: frozenset[str]) -> tuple[str, ...]:
    """Summarise what happens to zones, kube-dns and lookups when the nodes named in `cut` are cut off."""
    if not found.simulations.made:
        return (f"rehearsal: no result, {found.method}",)
    return (
        f"rehearsal: {found.headline} ({found.method})",
        *_zones(found),
        *impact_lines(found.impact),
        *_kube_dns(found, world, cut),
        f"DNS during the cut: {found.dns.during_cut.value}",
        *(
            f"DNS after the heal, in {each.probability:.0%}: {each.dns_after_heal.value}, {each.why}"
            for each in found.outcomes
        ),
        *(f"DNS on the way, in {each.probability:.0%}: {each}" for each in found.outages),
    )


def _zones(found: Prediction) -> Iterator[str]:
    for event in found.timeline:
        if event.kind is Kind.ZONE_STATE and event.probability >= USUAL:
            where = event.object.removeprefix("Zone/")
            yield f"zone {where} {event.detail} {_after(event.t_s)} ({event.probability:.0%})"


def _after(t_s: float) -> str:
    return f"{short_duration(round(t_s))} after the cut"


def _kube_dns(found: Prediction, world: World, cut: frozenset[str]) -> Iterator[str]:
    """Say whether kube-dns' Pods are evicted from the cut nodes, and where their replacements go."""
    if world.dns is None:
        yield "kube-dns: not in the snapshot"
        return
    lost = [pod for pod in behind(world.dns, world.pods) if pod.node in cut]
    if not lost:
        yield "kube-dns does not run on a cut node, and is not evicted"
        return
    evicted = {event.object: event for event in found.timeline if event.kind is Kind.POD_EVICTED}
    fates: dict[str, list[Pod]] = defaultdict(list)
    for pod in lost:
        fates[_fate(evicted.get(pod.subject))].append(pod)
    for fate, pods in fates.items():
        events = [evicted[pod.subject] for pod in pods if pod.subject in evicted]
        yield f"kube-dns on {_few(sorted({pod.node for pod in pods}))}: {fate}{_when(events)}"
    yield from _heirs(found, lost)


def _fate(evicted: PredictedEvent | None) -> str:
    if evicted is None or evicted.probability < 1 - CERTAIN:
        return "not evicted, it stays there"
    if evicted.probability >= CERTAIN:
        return "evicted"
    return f"evicted in {evicted.probability:.0%} of the simulations"


def _when(evicted: Sequence[PredictedEvent]) -> str:
    if not evicted:
        return ""
    first, last = min(each.t_min_s for each in evicted), max(each.t_max_s for each in evicted)
    return f" {short_duration(round(first))} to {_after(last)}"


def _heirs(found: Prediction, lost: Iterable[Pod]) -> Iterator[str]:
    """Say where the replacements of evicted Pods are bound first, or that they are Pending."""
    names = {f"Pod/{pod.namespace}/{pod.owner.partition('/')[2]}-*" for pod in lost if pod.owner}
    theirs = [event for event in found.timeline if event.object in names and event.probability >= USUAL]
    waiting = next((event for event in theirs if event.kind is Kind.POD_PENDING), None)
    if waiting:
        yield f"its replacements are Pending from {_after(waiting.t_s)} on: {waiting.detail}"
    bound = next((event for event in theirs if event.kind is Kind.POD_BOUND), None)
    if bound:
        yield f"its replacements are bound from {_after(bound.t_s)} on, the first {bound.detail}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"{', '.join(names[:4])}{more}"
