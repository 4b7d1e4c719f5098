"""The chain of causes in plain words: each sentence is derived from events that were observed, none is assumed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.timeline import Event, Kind
from chaosext.model.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from chaosext.model.result import RunResult

KUBE_DNS_POD_PREFIXES = ("Pod/kube-system/coredns-", "Pod/kube-system/kube-dns-")


def chain_of_causes(result: RunResult) -> tuple[str, ...]:
    """What led to what, one sentence a step, in the order of time; empty where nothing was cut."""
    events = result.events
    unpeered = result.briefing.unpeered_nodes if result.briefing else ()
    steps = (
        _cut(events),
        _not_ready(events),
        _moved(events, unpeered),
        _healed(events),
        _dns(events, unpeered),
        _xds(events),
        _probes(events),
        _rolled_back(events),
        _dns_back(result),
        _steady(events),
    )
    told = sorted((step for told in steps for step in told), key=lambda step: step.t_s)
    return tuple(f"At {step.t_s:.1f} s {step.text}" for step in told)


@dataclass(frozen=True, slots=True)
class Step:
    """One sentence of the chain, and when what it tells of began, in seconds from the cut."""

    t_s: float
    text: str


def _cut(events: Sequence[Event]) -> Iterator[Step]:
    cuts = [event for event in events if event.kind is Kind.CUT]
    if cuts:
        yield Step(cuts[0].t_s, f"the control plane ({_names(cuts)}) was cut off from the nodes.")


def _not_ready(events: Sequence[Event]) -> Iterator[Step]:
    lost = _first_each(event for event in events if event.kind is Kind.NODE_NOT_READY and event.t_s > 0)
    if lost:
        yield Step(lost[0].t_s, f"the control plane marked {_names(lost)} NotReady.")


def _moved(events: Sequence[Event], unpeered: Collection[str]) -> Iterator[Step]:
    heal_s = _heal_s(events)
    evicted = [event for event in events if event.kind is Kind.POD_EVICTED and _is_kube_dns(event)]
    bound = [event for event in _bound(events) if 0 < event.t_s < heal_s]
    if evicted:
        yield Step(evicted[0].t_s, f"the control plane evicted kube-dns ({_names(evicted)}).")
    for node in sorted({_node(event) for event in bound}):
        here = [event for event in bound if _node(event) == node]
        why = ", which has no BGP session, so nobody learns a route to it" if node in unpeered else ""
        yield Step(here[0].t_s, f"kube-dns was re-created on {node}{why}.")
    pending = [event for event in events if event.kind is Kind.POD_PENDING and _is_kube_dns(event)]
    if evicted and pending and not bound:
        yield Step(
            pending[0].t_s, f"kube-dns' replacements found no node and stayed Pending: {pending[0].detail}."
        )


def _healed(events: Sequence[Event]) -> Iterator[Step]:
    heals = [event for event in events if event.kind is Kind.HEAL]
    if heals:
        yield Step(heals[0].t_s, "the network was back.")


def _dns(events: Sequence[Event], unpeered: Collection[str]) -> Iterator[Step]:
    """What died during the cut and what died after the heal have different causes."""
    heal_s = _heal_s(events)
    dead = [event for event in events if event.kind is Kind.DNS_DEAD]
    during = _first_each(event for event in dead if event.t_s < heal_s)
    after = _first_each(event for event in dead if event.t_s >= heal_s)
    if during:
        yield Step(during[0].t_s, f"DNS died on {_names(during)}, cut off from kube-dns.")
    if after:
        astray = [event for event in _bound(events) if _node(event) in unpeered and event.t_s < after[0].t_s]
        because = f": kube-dns was on {_node(astray[-1])}, which they have no route to" if astray else ""
        yield Step(after[0].t_s, f"DNS died on {_names(after)}{because}.")


def _xds(events: Sequence[Event]) -> Iterator[Step]:
    for lost in (event for event in events if event.kind is Kind.XDS_LOST):
        yield Step(lost.t_s, f"sidecars were without xDS: {lost.detail.partition('; ')[0]}.")


def _probes(events: Sequence[Event]) -> Iterator[Step]:
    refused = [event for event in events if event.kind is Kind.PROBE_FAILING and "refused" in event.detail]
    if refused:
        pods = _pods({event.object for event in refused})
        first = f"first {refused[0].object}: {refused[0].detail}"
        yield Step(refused[0].t_s, f"kubelet's probes were refused by {pods} ({first}).")
    looping = _first_each(event for event in events if event.kind is Kind.CRASH_LOOP)
    if looping:
        yield Step(
            looping[0].t_s,
            f"containers began to crash-loop ({_pods(looping)}, first {looping[0].object}).",
        )


def _rolled_back(events: Sequence[Event]) -> Iterator[Step]:
    for rollback in (event for event in events if event.kind is Kind.ROLLBACK):
        yield Step(rollback.t_s, f"the rollback began: {rollback.detail}.")


def _dns_back(result: RunResult) -> Iterator[Step]:
    """When the last outage ended for good on the nodes where it outlasted the cut, or began after it."""
    last = {name: windows[-1] for name, windows in result.dns_outages.items()}
    ends = {name: end for name, (_, end) in last.items() if end is not None and end >= _heal_s(result.events)}
    if ends:
        yield Step(max(ends.values()), f"DNS was back on {_listed(ends)}.")


def _steady(events: Sequence[Event]) -> Iterator[Step]:
    steady = [event for event in events if event.kind is Kind.STEADY and event.t_s > 0]
    if steady:
        yield Step(steady[-1].t_s, f"the steady state held: {steady[-1].detail}.")


def what_to_do(result: RunResult) -> tuple[str, ...]:
    """The next steps for whoever reads the result."""
    match result.verdict.outcome:
        case Outcome.PASSED:
            return ("Nothing. Keep rehearsing: zones, sizes and versions change what a cutover does.",)
        case Outcome.DEVIATED:
            return (*_prevent(result), *_recover(result))
        case Outcome.REFUSED:
            return ("Mend what the reason names, then run again. Nothing was touched.",)
        case Outcome.INCONCLUSIVE:
            return (
                "The run proved nothing about your cluster. Mend the cut or the observation, then run again.",
            )
        case Outcome.UNSAFE:
            return ("Remove what is left, as the reason says, before anything else.",)
        case Outcome.INTERRUPTED:
            return ("The cut was healed, but rollbacks were not played: check with `chaosext check all`.",)
        case Outcome.NOT_KNOWN:
            return (
                "Look for what is left with `chaosext status`, take it away with `chaosext sweep`, then "
                "`chaosext check all`.",
            )


def _prevent(result: RunResult) -> tuple[str, ...]:
    if not (result.briefing and result.briefing.unpeered_nodes):
        return ()
    return (
        "Before the cutover: keep kube-dns off nodes without BGP "
        f"({', '.join(result.briefing.unpeered_nodes)}), by a required node affinity on the Deployment coredns "
        "(`node-role.kubernetes.io/control-plane` DoesNotExist), or give these nodes a BGP session.",
    )


def _recover(result: RunResult) -> tuple[str, ...]:
    if result.verdict.rollback_verified:
        return (
            "During a cutover: `kubectl -n kube-system delete pod -l k8s-app=kube-dns` brought everything back.",
        )
    return (
        "Now: `kubectl -n kube-system delete pod -l k8s-app=kube-dns`, check that the new Pods are on nodes with BGP, "
        "then `chaosext check all`.",
    )


def _bound(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if event.kind is Kind.POD_BOUND and _is_kube_dns(event)]


def _node(event: Event) -> str:
    return event.detail.removeprefix("to ")


def _heal_s(events: Iterable[Event]) -> float:
    """When the network was back; never, where it was not healed."""
    return next((event.t_s for event in events if event.kind is Kind.HEAL), math.inf)


def _is_kube_dns(event: Event) -> bool:
    return event.object.startswith(KUBE_DNS_POD_PREFIXES)


def _first_each(events: Iterable[Event]) -> list[Event]:
    seen: dict[str, Event] = {}
    for event in events:
        seen.setdefault(event.object, event)
    return list(seen.values())


def _names(events: Sequence[Event]) -> str:
    return _listed(event.object for event in events)


def _listed(objects: Iterable[str]) -> str:
    """The objects' bare names, each once."""
    names = list(dict.fromkeys(name.rpartition("/")[2] for name in objects))
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def _pods(found: Collection[object]) -> str:
    return "1 Pod" if len(found) == 1 else f"{len(found)} Pods"
