"""Where kube-dns was when, as the control plane saw it: from what was bound, evicted and deleted. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind
from chaosext.report.account import is_kube_dns, node_of
from chaosext.report.html.tracks import Bar, State, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaosext.model.result import RunResult
    from chaosext.model.timeline import Event
    from chaosext.report.html.axis import Axis

GOES = (Kind.POD_EVICTED, Kind.POD_DELETED, Kind.POD_GONE)


def placements(result: RunResult, axis: Axis) -> Mapping[str, tuple[Bar, ...]]:
    """`Node/<name>` -> when kube-dns' Pods were on it, and how many as the bars' letter.

    Of the Pods of before the cut only their nodes are known: a node's ends with the last of them that leaves it.
    """
    astray = result.briefing.unpeered_nodes if result.briefing else ()
    stays = _Stays(axis)
    for node in result.briefing.kube_dns_nodes if result.briefing else ():
        stays.began[f"before, on {node}"] = (node, axis.start_s)
    for event in filter(is_kube_dns, result.events):
        stays.take(event)
    return {
        f"Node/{node}": _bars(found, State.ASTRAY if node in astray else State.HERE)
        for node, found in stays.by_node().items()
    }


def _bars(stays: Iterable[tuple[float, float]], state: State) -> tuple[Bar, ...]:
    return counted([[Bar(start_s, end_s, state)] for start_s, end_s in stays])


class _Stays:
    """Pod -> its node, since when and until when."""

    def __init__(self, axis: Axis) -> None:
        self._axis = axis
        self.began: dict[str, tuple[str, float]] = {}
        self._ended: dict[str, float] = {}

    def take(self, event: Event) -> None:
        if event.kind is Kind.POD_BOUND:
            self.began[event.object] = (node_of(event), event.t_s)
        elif event.kind in GOES and event.object in self.began:
            self._ended.setdefault(event.object, event.t_s)
        elif event.kind in GOES and event.kind is not Kind.POD_GONE:
            self._ended[f"before, on {node_of(event)}"] = event.t_s

    def by_node(self) -> Mapping[str, Iterable[tuple[float, float]]]:
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for pod, (node, start_s) in self.began.items():
            found[node].append((start_s, self._ended.get(pod, self._axis.end_s)))
        return found
