"""What differs between two states of a cluster: which answers became worse or better, by more than chance explains.

What was known and is unknown now is worse.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chaosext.rehearsal.predict.cluster_state import (
    DNS_ON_THE_WAY,
    EXACT,
    NOTHING,
    NOW,
    PLANNED,
    ROUTES_END,
    VERDICT,
    Fact,
    route_classes,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chaosext.rehearsal.predict.cluster_state import ClusterState, CutEnding

ROUTES = "routes"

FINER = 8
"""So many times as many simulations of a domain follow if two states differ by no more than chance explains."""

MOST_NODES = 150
"""The loss of each single node is compared in clusters of up to so many; beyond, of one of each kind."""

MOST_CLASSES = 300
"""Nodes that differ in their routes: of more kinds than these, only the first are compared."""

PASSING = frozenset({ROUTES_END, DNS_ON_THE_WAY})
"""What is no better if it does not happen because something worse does: no routes at all, DNS that stays down."""


class Direction(StrEnum):
    """How a change of the cluster changed an answer."""

    WORSE = "worse"
    BETTER = "better"


def direction(before: Fact, after: Fact) -> Direction | None:
    """Return whether a fact became worse or better; None if the difference may be chance."""
    noise = max(before.noise, after.noise)
    grown = after.bad - before.bad, after.unknown - before.unknown
    if max(grown) > noise:
        return Direction.WORSE
    return Direction.BETTER if min(grown) < -noise else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An answer that became worse or better. `subject`: routes, no cut, the planned cut, or the domain that is lost.

    `nodes`: those that are cut off, or whose Pods are reached or not. `by`: the objects that cause it, each of them
    `alone`, or only together; empty if that was not found out.
    """

    subject: str
    what: str
    direction: Direction
    before: str
    after: str
    nodes: frozenset[str] = frozenset()
    by: tuple[str, ...] = ()
    alone: bool = True

    @property
    def key(self) -> tuple[str, str, Direction]:
        return self.subject, self.what, self.direction

    def to_json(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "what": self.what,
            "direction": self.direction.value,
            "before": self.before,
            "after": self.after,
            "nodes": sorted(self.nodes),
            "by": list(self.by),
            "alone": self.alone,
        }


def differences(
    before: ClusterState, after: ClusterState, subjects: Iterable[str] | None = None
) -> Iterator[Difference]:
    """Yield what became worse or better, by default in all subjects that both states have."""
    for subject in subjects_of(before, after) if subjects is None else subjects:
        if subject == ROUTES:
            yield from _of_routes(before, after)
            continue
        one, other = before.ending(subject), after.ending(subject)
        if one is not None and other is not None:
            if subject != PLANNED and _is_close(one, other):
                one, other = before.ending(subject, FINER) or one, after.ending(subject, FINER) or other
            yield from _of_endings(subject, one, other, _nodes(after, subject))


def subjects_of(before: ClusterState, after: ClusterState) -> tuple[str, ...]:
    """Return what can be compared: routes, what is wrong now, the planned cut, and domains of both, groups first.

    Of more than `MOST_NODES` single nodes, one of each kind stands for those that are alike.
    """
    both = [name for name in before.domains if name in after.domains]
    groups = [name for name in both if len(after.domains[name].nodes) > 1]
    single = [name for name in both if len(after.domains[name].nodes) == 1]
    if len(single) > MOST_NODES:
        kinds = {_kind_of_node(name, before, after): name for name in reversed(single)}
        single = [name for name in single if kinds[_kind_of_node(name, before, after)] == name]
    return (ROUTES, NOW, PLANNED, *groups, *single)


def _kind_of_node(subject: str, *states: ClusterState) -> tuple[object, ...]:
    """Return a key of a single node: those with the same one are alike in both states."""
    found: list[object] = []
    for state in states:
        (name,) = state.domains[subject].nodes
        number = state.names[name]
        node = state.world.nodes[number]
        vital = tuple(sorted(state.vital.get(name, ())))
        found.append((state.routes.kind(number), node.zone, node.taints, node.control_plane, vital))
    return tuple(found)


def _nodes(state: ClusterState, subject: str) -> frozenset[str]:
    if subject == NOW:
        return frozenset()
    return state.plan.cut_nodes if subject == PLANNED else state.domains[subject].nodes


def _is_close(one: CutEnding, other: CutEnding) -> bool:
    """Whether two endings differ, in all by no more than chance explains, so that more simulations may tell more."""
    pairs = [(before, after) for _, before, after in _paired(one, other)]
    grown = [max(abs(after.bad - before.bad), abs(after.unknown - before.unknown)) for before, after in pairs]
    return max(grown) > EXACT and not any(direction(before, after) for before, after in pairs)


def _paired(one: CutEnding, other: CutEnding) -> Iterator[tuple[str, Fact, Fact]]:
    """Yield each fact of two endings; what an ending lacks does not happen there."""
    for name in dict.fromkeys((*one.facts, *other.facts)):
        yield name, one.facts.get(name, NOTHING), other.facts.get(name, NOTHING)


def _of_endings(
    subject: str, one: CutEnding, other: CutEnding, nodes: frozenset[str]
) -> Iterator[Difference]:
    """Yield the facts that became worse or better; what passes only where the verdict did so, or stayed."""
    overall = direction(one.facts[VERDICT], other.facts[VERDICT])
    for name, before, after in _paired(one, other):
        way = direction(before, after)
        if way and (name not in PASSING or overall in (way, None)):
            yield Difference(
                subject=subject, what=name, direction=way, before=before.said, after=after.said, nodes=nodes
            )


_REACHED = {True: "reached", False: "not reached", None: "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How many pairs of different nodes there are, and of how many one reaches the other's Pods, or it is unknown."""

    pairs: int = 0
    reached: int = 0
    unknown: int = 0

    def to_json(self) -> dict[str, int]:
        return {"pairs": self.pairs, "reached": self.reached, "unknown": self.unknown}


def reached(state: ClusterState) -> Reached:
    """Count the pairs of nodes of one state."""
    counts = {True: 0, False: 0, None: 0}
    for clients, hosts, answers in _pairs([state], list(state.names)):
        counts[answers[0]] += _size(clients, hosts)
    return Reached(pairs=sum(counts.values()), reached=counts[True], unknown=counts[None])


def _pairs(
    states: Sequence[ClusterState], names: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], tuple[bool | None, ...]]]:
    """Yield each pair of classes of nodes that are alike in all states, with whether one reaches the other's Pods."""
    some = route_classes(states, names)[:MOST_CLASSES]
    for clients in some:
        for hosts in some:
            if _size(clients, hosts):
                one, other = clients[0], hosts[-1]
                answers = tuple(
                    state.routes.reaches(state.names[one], state.names[other]) for state in states
                )
                yield clients, hosts, answers


def _size(clients: Sequence[str], hosts: Sequence[str]) -> int:
    """Return the number of pairs of different nodes; two classes are equal or have no node in common."""
    return len(clients) * (len(hosts) - (clients == hosts))


def _of_routes(before: ClusterState, after: ClusterState) -> Iterator[Difference]:
    """Yield the pairs of nodes of which one reaches the other's Pods in one state only, as few groups of them."""
    both = [name for name in before.names if name in after.names]
    clients_of: dict[tuple[bool | None, bool | None, tuple[str, ...]], set[str]] = defaultdict(set)
    for clients, hosts, (one, other) in _pairs([before, after], both):
        if one is not other:
            clients_of[one, other, hosts].update(clients)
    groups: dict[tuple[bool | None, bool | None, frozenset[str]], set[str]] = defaultdict(set)
    for (one, other, hosts), found in clients_of.items():
        groups[one, other, frozenset(found) | frozenset(hosts)].update(hosts)
    for (one, other, clients_and_hosts), found in groups.items():
        way = direction(_of_answer(one), _of_answer(other))
        if way:
            yield Difference(
                subject=ROUTES,
                what=_whom(clients_and_hosts, frozenset(found), frozenset(both)),
                direction=way,
                before=_REACHED[one],
                after=_REACHED[other],
                nodes=frozenset(found),
            )


def _of_answer(reaches: bool | None) -> Fact:
    return Fact(bad=float(reaches is False), unknown=float(reaches is None), said=_REACHED[reaches])


def _whom(clients: frozenset[str], hosts: frozenset[str], every: frozenset[str]) -> str:
    """Name the two ends."""
    if hosts == every:
        return "Pods on every other node, from every node"
    ends = "every other node" if clients == every else _few(clients)
    return f"Pods on {_few(hosts)}, from {ends}"


def _few(nodes: Iterable[str], most: int = 3) -> str:
    names = sorted(nodes)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
