"""Topology spread: how evenly Pods lie over the values of a node's label, as a demand and as a wish.

Source: Kubernetes v1.34 pkg/scheduler/framework/plugins/podtopologyspread (filtering.go, scoring.go, common.go).
"""

from __future__ import annotations

from collections import Counter
from math import log
from typing import TYPE_CHECKING, Protocol

from chaosext.rehearsal.selection import selects
from chaosext.rehearsal.world import HOSTNAME, ZONE, LabelSelector, Requirement, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chaosext.rehearsal.board import Board, Group

BEST = 100

DEFAULT_SPREADS = ((HOSTNAME, 3), (ZONE, 5))
"""plugin.go, `systemDefaultConstraints`: preferred, for Pods that name none."""


class Counts(Protocol):
    """Where Pods are now."""

    board: Board

    def counts(self, group: Group, *, staying: bool = False) -> Mapping[int, int]:
        """Node -> Pods of the group; with `staying` without Terminating ones."""


class Limit:
    """A constraint that must hold (filtering.go)."""

    __slots__ = ("_domains", "_itself", "_least", "_spread")

    def __init__(
        self, placed: Counts, group: Group, spread: Spread, is_closed: Callable[[int], bool]
    ) -> None:
        self._spread, self._domains = spread, _domains(placed, group, spread, is_closed)
        self._itself = selects(spread.selector, group.spec.labels)
        enough = len(self._domains) >= spread.min_domains
        self._least = min(self._domains.values(), default=0) if enough else 0

    def allows(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self._spread.topology_key)
        if value is None:
            return False
        return self._domains[value] + self._itself - self._least <= self._spread.max_skew


def scores(placed: Counts, group: Group, nodes: Sequence[int], is_closed: Callable[[int], bool]) -> list[int]:
    """scoring.go: fewer Pods of the kind in a node's domain are better."""
    spreads = preferred(group)
    if not spreads:
        return [0] * len(nodes)
    ignored = _ignored(placed.board, group, spreads, nodes)
    raw = [0.0] * len(nodes)
    for spread in spreads:
        _add(placed, group, spread, nodes, ignored, raw, is_closed)
    return _normalised([round(score) for score in raw], ignored)


def preferred(group: Group) -> Sequence[Spread]:
    """Its own, or the scheduler's default ones, which count Pods of the same template."""
    spec = group.spec
    if spec.spreads:
        return [spread for spread in spec.spreads if not spread.required]
    if not spec.labels:
        return ()
    labels = (Requirement(key=k, operator="In", values=(v,)) for k, v in sorted(spec.labels.items()))
    selector = LabelSelector(requirements=tuple(labels))
    return [
        Spread(max_skew=skew, topology_key=key, required=False, selector=selector)
        for key, skew in DEFAULT_SPREADS
    ]


def _counts(placed: Counts, group: Group, spread: Spread) -> Counter[int]:
    """Node -> Pods of the group's namespace that the constraint counts; an empty selector counts none."""
    found: Counter[int] = Counter()
    if spread.selector and spread.selector.requirements:
        for other in placed.board.kin(group.namespace, spread.selector):
            found.update(placed.counts(other, staying=True))
    return found


def _domains(placed: Counts, group: Group, spread: Spread, is_closed: Callable[[int], bool]) -> Counter[str]:
    """Value -> Pods, over the nodes that the constraint's inclusion policies count."""
    places = placed.board.standing(group.spec).places(spread)
    if spread.honours_taints:
        places = {number: value for number, value in places.items() if not is_closed(number)}
    domains = Counter(dict.fromkeys(places.values(), 0))
    for number, count in _counts(placed, group, spread).items():
        if number in places:
            domains[places[number]] += count
    return domains


def _ignored(board: Board, group: Group, spreads: Sequence[Spread], nodes: Sequence[int]) -> list[bool]:
    """Nodes without one of the labels that the Pod's own constraints name."""
    if not group.spec.spreads:
        return [False] * len(nodes)
    columns = [board.values(spread.topology_key) for spread in spreads]
    return [any(values[node] is None for values in columns) for node in nodes]


def _add(
    placed: Counts,
    group: Group,
    spread: Spread,
    nodes: Sequence[int],
    ignored: Sequence[bool],
    raw: list[float],
    is_closed: Callable[[int], bool],
) -> None:
    key, values = spread.topology_key, placed.board.values(spread.topology_key)
    kept = [(at, node) for at, node in enumerate(nodes) if not ignored[at]]
    if key == HOSTNAME:
        counts, size = _counts(placed, group, spread), len(kept)
        found = [(at, counts[node]) for at, node in kept if values[node] is not None]
    else:
        domains, size = _domains(placed, group, spread, is_closed), len({values[node] for _, node in kept})
        found = [(at, domains[value]) for at, node in kept if (value := values[node]) is not None]
    weight = log(size + 2)
    for at, count in found:
        raw[at] += count * weight + spread.max_skew - 1


def _normalised(scores: Sequence[int], ignored: Sequence[bool]) -> list[int]:
    kept = [score for score, out in zip(scores, ignored, strict=True) if not out]
    low, high = min(kept, default=0), max(kept, default=0)
    return [
        0 if out else BEST * (high + low - score) // high if high else BEST
        for score, out in zip(scores, ignored, strict=True)
    ]
