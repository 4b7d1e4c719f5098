"""Where kube-dns ran and when, according to bindings, evictions and deletions. Pure.

This does not say where its endpoints pointed: a Pod is bound some seconds before it is Ready.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaosext.model.result import Window
    from chaosext.model.timeline import Event

KUBE_DNS_POD_PREFIXES = ("Pod/kube-system/coredns-", "Pod/kube-system/kube-dns-")

NODE_IN_DETAIL = re.compile(r"(?:to|from|on) ([^\s,]+)")
"""`to worker`, `from worker, which is not ready`, `on worker`: see `object_events`."""

GOES = (Kind.POD_EVICTED, Kind.POD_DELETED, Kind.POD_GONE)


def is_kube_dns(event: Event) -> bool:
    """Whether the event is about a kube-dns Pod."""
    return event.object.startswith(KUBE_DNS_POD_PREFIXES)


def node_of(event: Event) -> str:
    """The node named in the detail of a Pod's event, "" for none."""
    found = NODE_IN_DETAIL.match(event.detail)
    return found[1] if found else ""


def stays(events: Iterable[Event], before: Iterable[str], since_s: float) -> Mapping[str, tuple[Window, ...]]:
    """Node -> a window for each kube-dns Pod that was on it; open if the Pod was not seen to leave.

    Of the Pods before the cut, only the nodes are known (`before`): they count from `since_s` on, until the
    last of them leaves the node.
    """
    found = _Stays({f"before, on {node}": (node, since_s) for node in before})
    for event in filter(is_kube_dns, events):
        found.take(event)
    return found.by_node()


@dataclass(slots=True)
class _Stays:
    """Pod -> its node, and when it arrived and left."""

    _began: dict[str, tuple[str, float]]
    _ended: dict[str, float] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        if event.kind is Kind.POD_BOUND:
            self._began[event.object] = (node_of(event), event.t_s)
        elif event.kind in GOES and event.object in self._began:
            self._ended.setdefault(event.object, event.t_s)
        elif event.kind in GOES and event.kind is not Kind.POD_GONE:
            self._ended[f"before, on {node_of(event)}"] = event.t_s

    def by_node(self) -> Mapping[str, tuple[Window, ...]]:
        found: dict[str, tuple[Window, ...]] = defaultdict(tuple)
        for pod, (node, start_s) in self._began.items():
            found[node] += ((start_s, self._ended.get(pod)),)
        return found
