"""The root cause in plain words: each sentence is derived from observed events, none is assumed.

A sentence says "because" only if the cause was observed as well; a gap in observation is named.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from chaosext.model.result import Lane
from chaosext.model.timeline import ON_NODES, Event, Kind
from chaosext.report.data.account import (
    DNS_TARGET,
    ON_NODE,
    POD_TARGET,
    ROUND_S,
    Account,
    first_each,
    goal,
    origin,
)
from chaosext.report.sentences.what_to_do import FALSE_GREEN
from chaosext.report.units import duration, listed, names, window
from chaosext.timeline.kube_dns_moves import is_kube_dns, node_of
from chaosext.timeline.node_events import SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from chaosext.model.result import RunResult, Window

FEW = 3
"""Maximum number of steps of one kind to list one by one; more are summarized."""

TOGETHER_S = 2.0
"""Events of several objects within this many seconds are one step.

Its span is given if it is longer than a sentinel's round, `ROUND_S`.
"""

LOOKUP = re.compile(r"\S+:53/udp (.+)")
"""The detail of a lookup that failed: `10.2.112.10:53/udp timed out`."""


@dataclass(frozen=True, slots=True)
class Step:
    """A link of the causal chain: its time (seconds from the cut) and the events that prove it.

    `until_s`: time of the last event, if more than `ROUND_S` after the first.
    """

    t_s: float
    text: str
    evidence: tuple[Event, ...] = ()
    until_s: float | None = None

    @property
    def when(self) -> str:
        """`32.8 s`, `0.7 s to 92.4 s`."""
        return duration(self.t_s) if self.until_s is None else window((self.t_s, self.until_s))

    def __str__(self) -> str:
        return f"{'At' if self.until_s is None else 'From'} {self.when} {self.text}"


def chain_of_causes(result: RunResult) -> tuple[str, ...]:
    """`causes` as lines."""
    return tuple(map(str, causes(result)))


def causes(result: RunResult) -> tuple[Step, ...]:
    """The steps from the cut to its effects, in order of time; empty if nothing was cut."""
    account = Account(result)
    steps = (step for chapter in _CHAPTERS for step in chapter(account))
    return tuple(sorted(steps, key=lambda step: step.t_s))


def _step(events: Sequence[Event], text: str) -> Step:
    first_s, last_s = events[0].t_s, events[-1].t_s
    return Step(first_s, text, tuple(events), last_s if last_s - first_s > ROUND_S else None)


def _steps(events: Iterable[Event], describe: Callable[[Sequence[Event]], str]) -> Iterator[Step]:
    """Yield a step for each moment, so that no object gets another's time; more than `FEW` become one span."""
    groups = _together(events)
    if len(groups) > FEW:
        groups = [[event for group in groups for event in group]]
    return (_step(group, describe(group)) for group in groups)


def _together(events: Iterable[Event]) -> list[list[Event]]:
    """The events in order of time, grouped if they are within `TOGETHER_S` of the group's first."""
    groups: list[list[Event]] = []
    for event in sorted(events, key=lambda each: each.t_s):
        if groups and event.t_s - groups[-1][0].t_s <= TOGETHER_S:
            groups[-1].append(event)
        else:
            groups.append([event])
    return groups


def _cut(account: Account) -> Iterator[Step]:
    def describe(cuts: Sequence[Event]) -> str:
        if cuts[0].detail.startswith(ON_NODES):
            return f"{_names(cuts)} lost the control plane: the cut was on these nodes."
        return f"the control plane ({_names(cuts)}) was cut off from the nodes."

    yield from _steps(account.of(Kind.CUT), describe)


def _targets(account: Account) -> Iterator[Step]:
    """Report targets that became unreachable, separately during and after the cut, as the causes differ.

    Lookups are left out: their effects are steps of their own. So are Pods that the control plane evicted: they
    fall silent because they end.
    """
    evicted = {event.object.rpartition("/")[2] for event in account.of(Kind.POD_EVICTED)}
    by_goal: dict[tuple[str, str, bool], list[Event]] = defaultdict(list)
    for event in account.first_of(Kind.TARGET_LOST):
        pod = POD_TARGET.search(event.object)
        if not DNS_TARGET.search(event.object) and not (pod and pod[1] in evicted):
            by_goal[goal(event), event.detail, event.t_s >= account.heal_s].append(event)
    for (target, detail, _), lost in by_goal.items():
        yield from _steps(lost, partial(_unconnected, target, _FAILED.get(detail, f"failed ({detail})")))


def _unconnected(target: str, how: str, lost: Sequence[Event]) -> str:
    return f"connections from {_origins(lost)} to {target} {how}."


_FAILED = {
    "timed out": "timed out, not refused: nothing answered",
    "refused": "were refused: the host was there, and nothing listened",
    "reset": "were reset",
    "no route": "found no route",
}


def _not_ready(account: Account) -> Iterator[Step]:
    lost = account.first_of(Kind.NODE_NOT_READY)
    return _steps(lost, lambda group: f"the control plane marked {_names(group)} NotReady.")


def _kubelets(account: Account) -> Iterator[Step]:
    """Report kubelets lost after the heal; losing them during the cut is its purpose."""
    lost = [event for event in account.first_of(Kind.KUBELET_LOST) if event.t_s >= account.heal_s]
    return _steps(lost, lambda group: f"kubelet on {_names(group)} could not reach an API server.")


def _deleted(account: Account) -> Iterator[Step]:
    why = "kubelet registers it only at its start"
    return _steps(
        account.first_of(Kind.NODE_DELETED),
        lambda group: f"the Node object of {_names(group)} was deleted: {why}.",
    )


def _missing(account: Account) -> Iterator[Step]:
    """Report objects of the baseline that are missing or smaller; a deleted node has a step of its own."""
    deleted = {event.object for event in account.of(Kind.NODE_DELETED)}
    found = [each for each in account.of(Kind.OBJECT_MISSING) if each.object not in deleted]
    return _steps(
        found,
        lambda group: f"since the baseline {listed(f'{_named(each)} {each.detail}' for each in group)}.",
    )


def _named(event: Event) -> str:
    """`Deployment shop/cart`."""
    return event.object.replace("/", " ", 1)


def _rebooted(account: Account) -> Iterator[Step]:
    return _steps(account.first_of(Kind.NODE_REBOOTED), lambda group: f"{_names(group)} was rebooted.")


def _moved(account: Account) -> Iterator[Step]:
    evicted = [event for event in account.of(Kind.POD_EVICTED) if is_kube_dns(event)]
    bound = [event for event in account.bound() if event.t_s < account.heal_s]
    yield from _steps(evicted, lambda group: f"the control plane evicted kube-dns ({_names(group)}).")
    for node in sorted({node_of(event) for event in bound}):
        here = [event for event in bound if node_of(event) == node]
        yield from _steps(here, partial(_recreated, account, node))
    pending = [event for event in account.of(Kind.POD_PENDING) if is_kube_dns(event)]
    if evicted and pending and not bound:
        yield _step(
            pending, f"the kube-dns replacements were not scheduled and stayed Pending: {pending[0].detail}."
        )


def _recreated(account: Account, node: str, bound: Sequence[Event]) -> str:
    astray = node in account.unpeered
    why = ", which has no BGP session: nothing advertises a route to it" if astray else ""
    return f"kube-dns was re-created on {node}{why} ({_names(bound)})."


def _sessions(account: Account) -> Iterator[Step]:
    def describe(lost: Sequence[Event]) -> str:
        peers = listed(dict.fromkeys(map(goal, lost)))
        return f"BGP sessions on {_origins(lost)} went down (with {peers})."

    return _steps(account.first_of(Kind.BGP_LOST), describe)


def _routes(account: Account) -> Iterator[Step]:
    """Report nodes without a route to kube-dns, unless DNS kept working: then that is not part of the cause."""
    for home, lost in _without_route(account, account.of(Kind.DNS_DEAD)).items():
        yield from _steps(lost, partial(_routeless, account, home))


def _routeless(account: Account, home: str, lost: Sequence[Event]) -> str:
    why = ", which has no BGP session" if home in account.unpeered else ""
    return f"{_origins(lost)} had no route to kube-dns on {home}{why}."


def _without_route(account: Account, dead: Sequence[Event]) -> Mapping[str, list[Event]]:
    """kube-dns' node -> the events of nodes that had no route to it when they lost DNS (`dead`)."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in account.first_of(Kind.ROUTE_LOST):
        home = ON_NODE.search(goal(event))
        own = [each for each in dead if each.object == f"Node/{origin(event.object)}"]
        died = any(_has_no_route(account, event.object, each.t_s) for each in own)
        if home and home[1] in account.homes(event.t_s) and (died or not event.object.startswith("Node/")):
            found[home[1]].append(event)
    return found


def _has_no_route(account: Account, route: str, at_s: float) -> bool:
    """Whether the route was last reported as lost: routes of BGP sessions across the cut return after it."""
    said = [each for each in account.of(Kind.ROUTE_LOST, Kind.ROUTE_RESTORED) if each.object == route]
    before = [each for each in said if each.t_s <= at_s]
    return bool(before) and before[-1].kind is Kind.ROUTE_LOST


def _healed(account: Account) -> Iterator[Step]:
    heals = account.of(Kind.HEAL)
    if heals and account.heal_s < inf:  # a later cut may never have been healed
        yield Step(account.heal_s, "the network came back.", tuple(heals))


def _dns(account: Account) -> Iterator[Step]:
    """Report lost DNS, separately during and after the cut, as the causes differ."""
    dead = account.since_cut(Kind.DNS_DEAD)
    during = first_each(event for event in dead if event.t_s < account.heal_s)
    after = first_each(event for event in dead if event.t_s >= account.heal_s)
    yield from _steps(during, partial(_died_in_the_cut, account))
    yield from _steps(after, partial(_died_after_it, account))


def _died_in_the_cut(account: Account, dead: Sequence[Event]) -> str:
    how = f"{_cut_off(account, dead)}.{_lookups(dead)}{_unseen(account, dead)}"
    return f"DNS stopped working on {_names(dead)}{how}"


def _died_after_it(account: Account, dead: Sequence[Event]) -> str:
    homes = _astray(account, dead)
    spared = _spared(account, dead) if homes else ""
    how = f"{_because(account, dead, homes)}.{_lookups(dead)}{spared}{_unseen(account, dead)}"
    return f"DNS stopped working on {_names(dead)}{how}"


def _cut_off(account: Account, dead: Sequence[Event]) -> str:
    """Return how the cut caused it: nodes in the cut were cut off; for others the cut is not a proven cause."""
    cut = {name for event in account.of(Kind.CUT) for name in event.nodes}
    return (
        ", cut off from kube-dns"
        if {origin(event.object) for event in dead} <= cut
        else " while the cut was active"
    )


def _astray(account: Account, dead: Sequence[Event]) -> list[str]:
    """Return the nodes without BGP that received lookups when DNS stopped working."""
    there = account.homes(max(event.t_s for event in dead))
    return [home for home in there if home in account.unpeered or home in _without_route(account, dead)]


def _because(account: Account, dead: Sequence[Event], homes: Sequence[str]) -> str:
    if not homes:
        return ""
    lost = _without_route(account, dead)
    routeless = {origin(event.object) for home in homes for event in lost.get(home, ())}
    seen = [event for event in dead if origin(event.object) in routeless]
    if len(seen) == len(dead):
        return f", because kube-dns was on {listed(homes)} and there was no route to it"
    but = f"; {_names(seen)} had no route to it" if seen else ""
    return f": by then kube-dns was on {listed(homes)}, without a BGP session{but}"


def _lookups(dead: Sequence[Event]) -> str:
    """Return how lookups failed, if all failed alike: refused and timed out have different causes."""
    how = {found[1] for event in dead if (found := LOOKUP.fullmatch(event.detail))}
    if how == {"timed out"}:
        return " Lookups timed out, not refused: nothing answered."
    return " Lookups were refused: the host was there, and nothing listened." if how == {"refused"} else ""


def _spared(account: Account, dead: Sequence[Event]) -> str:
    """Name nodes on which DNS worked meanwhile: then the path is broken, not kube-dns."""
    at_s = max(event.t_s for event in dead)
    died = {origin(event.object) for event in dead}
    well = [
        node
        for node in sorted(account.watched - died)
        if not account.blind(node, at_s) and not account.is_out(Lane.DNS, f"Node/{node}", at_s)
    ]
    return (
        f" On {names(well)} lookups were answered: kube-dns worked, the path to it did not." if well else ""
    )


def _unseen(account: Account, events: Sequence[Event]) -> str:
    """Name nodes that were not observed at that time: their state then is unknown."""
    at_s = events[0].t_s
    blind = {node: found for node in sorted(account.watched) if (found := account.blind(node, at_s))}
    when = "".join(f" ({window(found)})" for found in blind.values()) if len(blind) == 1 else ""
    return f" {names(blind)} {'was' if len(blind) == 1 else 'were'} not observed then{when}." if blind else ""


def _blind(account: Account) -> Iterator[Step]:
    """Report gaps in the observation of nodes; more than `FEW` become one step."""
    lost: dict[Event, Window] = {}
    for event in account.of(Kind.OBSERVATION_LOST):
        gaps = account.gaps().get(event.object.removeprefix("Node/"), ())
        found = next((each for each in gaps if each[0] == event.t_s), None)
        if found and (found[1] is None or found[1] > 0):
            lost[event] = found
    if len(lost) > FEW:
        length_s = sum(
            (account.end_s if end_s is None else end_s) - start_s for start_s, end_s in lost.values()
        )
        times = f"{len(lost)} times, for {duration(length_s)} in total"
        yield _step(list(lost), f"{_names(list(lost))} were not observed: {times}.")
        return
    for event, (_, end_s) in lost.items():
        until = "" if end_s is None else f" until {duration(end_s)}"
        yield _step([event], f"{_names([event])} was not observed{until}: {event.detail}.")


def _sockets(account: Account) -> Iterator[Step]:
    why = "the kernel keeps sending a socket's packets where its first one went."
    yield from _steps(
        account.first_of(Kind.DNS_SOCKET_STALE),
        lambda on: f"existing UDP sockets got no DNS answers on {_origins(on)}, while new ones did: {why}",
    )
    yield from _steps(
        account.first_of(Kind.DNS_ONLY_KEPT_SOCKET),
        lambda on: f"only existing UDP sockets still got DNS answers on {_origins(on)}: {why}",
    )


def _xds(account: Account) -> Iterator[Step]:
    lost = account.since_cut(Kind.XDS_LOST)
    for event in (each for each in lost if not each.object.startswith("Pod/")):
        yield _step([event], f"sidecars had no xDS: {event.detail.partition('; ')[0]}.")
    pods = first_each(each for each in lost if each.object.startswith("Pod/"))
    yield from _steps(pods, partial(_without_xds, account))


def _without_xds(account: Account, pods: Sequence[Event]) -> str:
    green = [event for event in pods if event.detail.endswith(FALSE_GREEN)]
    falsely = f" {len(green)} of them still reported ready on port 15021: a false green." if green else ""
    return f"{_sidecars(pods)} lost istiod{_without_istiod(account, pods)}.{falsely}"


def _without_istiod(account: Account, pods: Sequence[Event]) -> str:
    """Return what was out on all of their nodes when they lost istiod."""
    nodes = {(event.source.removeprefix(SOURCE), event.t_s) for event in pods}
    if all(_istiod_was_out(account, node, at_s) for node, at_s in nodes):
        return ", which was unreachable from their nodes"
    if all(account.is_out(Lane.DNS, f"Node/{node}", at_s) for node, at_s in nodes):
        return ", whose name did not resolve on their nodes"
    return ""


def _istiod_was_out(account: Account, node: str, at_s: float) -> bool:
    targets = account.result.outages.get(Lane.TARGETS, {})
    mine = [name for name in targets if name.startswith(f"Node/{node} → istiod ")]
    return any(account.is_out(Lane.TARGETS, name, at_s) for name in mine)


def _probes(account: Account) -> Iterator[Step]:
    refused = [event for event in account.of(Kind.PROBE_FAILING) if "refused" in event.detail]
    yield from _steps(first_each(refused), partial(_refused, account))
    looping = first_each(account.of(Kind.CRASH_LOOP))
    yield from _steps(
        looping, lambda group: f"containers began to crash-loop ({_pods(group)}, first {group[0].object})."
    )


def _refused(account: Account, refused: Sequence[Event]) -> str:
    first = f"first {refused[0].object}: {refused[0].detail}"
    pods = _pods({event.object for event in refused})
    return f"kubelet probes were refused by {pods}{_unsynced(account, refused)} ({first})."


def _unsynced(account: Account, refused: Sequence[Event]) -> str:
    """Say whether their sidecars, which answer kubelet's probes, had lost istiod."""
    without = account.result.outages.get(Lane.XDS, {})
    services = [name for name in without if not name.startswith("Pod/")]
    lost = all(
        any(account.is_out(Lane.XDS, name, event.t_s) for name in (event.object, *services))
        for event in refused
    )
    return ", whose sidecars had no xDS" if lost else ""


def _lost(account: Account) -> Iterator[Step]:
    """Report a cut that ended early or changed: later events do not show the effect of the planned cut."""
    for event in account.of(Kind.CUT_LOST, Kind.CUT_WEAKENED):
        how = "ended early" if event.kind is Kind.CUT_LOST else "no longer matched its plan"
        yield _step([event], f"the cut on {_names([event])} {how}: {event.detail}.")


def _stopped(account: Account) -> Iterator[Step]:
    for stop in account.of(Kind.STOP_CONDITION, Kind.ABORT):
        yield _step([stop], f"the run was stopped early: {stop.detail}.")


def _customers(account: Account) -> Iterator[Step]:
    """Report customers' failed requests, and when the load balancer drained a cluster and put it back."""
    for event in account.since_cut(Kind.ENTRY_DEGRADED):
        yield _step([event], f"customers' requests began to fail at {_names([event])}: {event.detail}.")
    for event in account.since_cut(Kind.ENTRY_DRAINED):
        if account.is_out(Lane.ENTRY, event.object, event.t_s - ROUND_S):
            continue  # it was out already and stays out
        yield _step(
            [event], f"cluster {_at_entry(event)} was taken out of the load balancer: {event.detail}."
        )
    for event in account.since_cut(Kind.ENTRY_RESTORED):
        yield _step([event], f"{_names([event])} served all customers again.")
    for event in account.since_cut(Kind.ENTRY_TAKEN_BACK):
        yield _step([event], f"cluster {_at_entry(event)} was put back into the load balancer.")


def _at_entry(event: Event) -> str:
    """Return `way` for `Entry/way-entry → way`."""
    return event.object.rpartition(" → ")[2]


def _rolled_back(account: Account) -> Iterator[Step]:
    for rollback in account.of(Kind.ROLLBACK):
        yield _step([rollback], f"the rollback started: {rollback.detail}.")


def _dns_back(account: Account) -> Iterator[Step]:
    """Report DNS that stopped after the heal or stayed broken, by its last known state. Slow lookups don't count."""
    last: dict[str, Event] = {}
    for event in account.of(Kind.DNS_DEAD, Kind.DNS_RESTORED):
        was = last.get(event.object)
        if event.kind is Kind.DNS_DEAD or (was is not None and was.kind is Kind.DNS_DEAD):
            last[event.object] = event
    back = [
        event for event in last.values() if event.kind is Kind.DNS_RESTORED and event.t_s >= account.heal_s
    ]
    dead = [event for event in last.values() if event.kind is Kind.DNS_DEAD]
    yield from _steps(back, lambda group: f"DNS worked again on {_names(group)}.")
    if dead:
        yield Step(
            account.end_s,
            f"the run was over, and DNS was not seen to work again on {_names(dead)}.",
            tuple(dead),
        )


def _steady(account: Account) -> Iterator[Step]:
    steady = [event for event in account.of(Kind.STEADY) if event.t_s > 0]
    if steady:
        yield _step(steady[-1:], f"the steady state held: {steady[-1].detail}.")


_CHAPTERS = (
    _cut,
    _lost,
    _stopped,
    _targets,
    _not_ready,
    _deleted,
    _missing,
    _rebooted,
    _kubelets,
    _moved,
    _sessions,
    _routes,
    _healed,
    _blind,
    _dns,
    _sockets,
    _xds,
    _probes,
    _customers,
    _rolled_back,
    _dns_back,
    _steady,
)


def _names(events: Sequence[Event]) -> str:
    """Return the objects' bare names, each once."""
    return names(sorted(event.object.rpartition("/")[2] for event in events))


def _origins(events: Iterable[Event]) -> str:
    return names(sorted(origin(event.object) for event in events))


def _sidecars(pods: Collection[object]) -> str:
    return "1 sidecar" if len(pods) == 1 else f"{len(pods)} sidecars"


def _pods(found: Collection[object]) -> str:
    return "1 Pod" if len(found) == 1 else f"{len(found)} Pods"
