"""Affinity and anti-affinity between Pods, as a demand and as a wish, both ways.

Source: Kubernetes v1.34 pkg/scheduler/framework/plugins/interpodaffinity (filtering.go, scoring.go).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from chaosext.rehearsal.selection import selects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.board import Board, Group
    from chaosext.rehearsal.spreading import Counts
    from chaosext.rehearsal.world import PodSpec, PodTerm

BEST = 100


class PodAffinity:
    """What Pods that are there mean to a new one of `group`. Holds as long as no Pod comes or goes."""

    def __init__(self, placed: Counts, group: Group) -> None:
        self._placed, self._board, self._group = placed, placed.board, group
        affinity = group.spec.affinity
        self._required = [self._domains(term) for term in affinity.required_pods] if affinity else []
        self._forbidden = [self._domains(term)[:2] for term in affinity.forbidden_pods] if affinity else []
        self._forbidden += self._guarded()

    @property
    def minds(self) -> bool:
        """Any node may be out of the question."""
        return bool(self._required or self._forbidden)

    def allows(self, labels: Mapping[str, str]) -> bool:
        """Whether the demands let the Pod onto a node with these labels."""
        if any(counts[labels[key]] for key, counts in self._forbidden if key in labels):
            return False
        if any(key not in labels for key, _, _ in self._required):
            return False
        if all(counts[labels[key]] for key, counts, _ in self._required):
            return True
        # the first Pod of a group that wants its own company may go anywhere (`satisfyPodAffinity`)
        return all(not counts and itself for _, counts, itself in self._required)

    def scores(self, nodes: Sequence[int]) -> list[int]:
        """By node: how well the wishes are met."""
        columns = [(self._board.values(key), counts) for key, counts in self._weights().items() if counts]
        if not columns:
            return [0] * len(nodes)
        raw = [sum(counts[value] for values, counts in columns if (value := values[node])) for node in nodes]
        low, high = min(raw), max(raw)
        return [BEST * (score - low) // (high - low) if high > low else 0 for score in raw]

    def _weights(self) -> Mapping[str, Counter[str]]:
        """Topology key -> value -> the sum of what speaks for it, or against."""
        weights: dict[str, Counter[str]] = defaultdict(Counter)
        for weight, term in _wishes(self._group.spec):
            for group in self._matching(term):
                self._by_value(term.topology_key, group, weight, weights[term.topology_key])
        for group in self._board.with_affinity:
            for weight, term in _others_wishes(group.spec):
                if self._is_meant(term, group.namespace):
                    self._by_value(term.topology_key, group, weight, weights[term.topology_key])
        return weights

    def _matching(self, term: PodTerm) -> Iterator[Group]:
        spaces = _namespaces(term, self._group.namespace)
        if spaces is None:
            spaces = dict.fromkeys(group.namespace for group in self._board.groups.values())
        for namespace in spaces:
            yield from self._board.kin(namespace, term.selector)

    def _domains(self, term: PodTerm) -> tuple[str, Counter[str], bool]:
        """(topology key, value -> matching Pods, whether the Pod matches its own term)."""
        counts: Counter[str] = Counter()
        for group in self._matching(term):
            self._by_value(term.topology_key, group, 1, counts)
        return term.topology_key, counts, self._is_meant(term, self._group.namespace)

    def _by_value(self, key: str, group: Group, weight: int, into: Counter[str]) -> None:
        values = self._board.values(key)
        for node, count in self._placed.counts(group).items():
            value = values[node]
            if value is not None and count > 0:
                into[value] += weight * count

    def _guarded(self) -> Iterator[tuple[str, Counter[str]]]:
        """Where other Pods' required anti-affinity keeps this one away."""
        for group, term in guards(self._board, self._group):
            counts: Counter[str] = Counter()
            self._by_value(term.topology_key, group, 1, counts)
            yield term.topology_key, counts

    def _is_meant(self, term: PodTerm, own: str) -> bool:
        return _is_meant(term, own, self._group)


def guards(board: Board, group: Group) -> Iterator[tuple[Group, PodTerm]]:
    """Whose required anti-affinity, and which term of it, speaks of Pods of `group`."""
    for other in board.with_affinity:
        for term in other.spec.affinity.forbidden_pods if other.spec.affinity else ():
            if _is_meant(term, other.namespace, group):
                yield other, term


def _is_meant(term: PodTerm, own: str, group: Group) -> bool:
    """A Pod of `group` is one that a term of a Pod in the namespace `own` speaks of."""
    spaces = _namespaces(term, own)
    meant = spaces is None or group.namespace in spaces
    return meant and selects(term.selector, group.spec.labels)


def _wishes(spec: PodSpec) -> Iterator[tuple[int, PodTerm]]:
    if spec.affinity:
        yield from spec.affinity.preferred_pods
        yield from ((-weight, term) for weight, term in spec.affinity.avoided_pods)


def _others_wishes(spec: PodSpec) -> Iterator[tuple[int, PodTerm]]:
    """What a Pod that is already there wishes for others; a required affinity counts 1 (`HardPodAffinityWeight`)."""
    if spec.affinity:
        yield from ((1, term) for term in spec.affinity.required_pods)
    yield from _wishes(spec)


def _namespaces(term: PodTerm, own: str) -> Iterable[str] | None:
    """Those whose Pods a term is about; None for all."""
    if not term.namespaces:
        return (own,)
    return None if term.namespaces == ("*",) else term.namespaces
