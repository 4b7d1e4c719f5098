"""Queries on a run's events for the sentences about them. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from chaosext.model.names import lasting
from chaosext.model.timeline import Kind
from chaosext.timeline.kube_dns_moves import is_kube_dns, node_of
from chaosext.timeline.node_events import SOURCE
from chaosext.timeline.outages import healed_s
from chaosext.timeline.sample_windows import hiding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaosext.model.result import Lane, RunResult, Window
    from chaosext.model.timeline import Event

ON_NODE = re.compile(r" on ([^\s,]+)")
"""`10.244.0.7 on cp-1, 10.244.0.8 on cp-1`; `coredns-x on cp-1 10.244.0.7`."""

ROUND_S = 1.0
"""A sample has the time when its round began: effects of the cut may be dated up to this long before it."""

DNS_TARGET = re.compile(r":53/(?:udp|tcp)$")
POD_TARGET = re.compile(r" → Pod (\S+) on ")


@dataclass(frozen=True)
class Account:
    """A run's `result`, with queries on its events. Lookups are cached."""

    result: RunResult

    @cached_property
    def heal_s(self) -> float:
        """When the network came back; infinite if it was not healed."""
        found = healed_s(self.result.events)
        return math.inf if found is None else found

    @cached_property
    def end_s(self) -> float:
        """The time of the last event."""
        return self.result.end_s

    @cached_property
    def nodes(self) -> frozenset[str]:
        """Every known node."""
        told = {node for event in self.result.events for node in event.nodes}
        before = self.result.briefing.kube_dns_nodes if self.result.briefing else ()
        return frozenset(told.union(self.watched, self.unpeered, before))

    @property
    def unpeered(self) -> Sequence[str]:
        """The nodes that had no BGP session before the cut."""
        return self.result.briefing.unpeered_nodes if self.result.briefing else ()

    @cached_property
    def watched(self) -> frozenset[str]:
        """The nodes that had a sentinel."""
        spoke = {
            event.source.removeprefix(SOURCE)
            for event in self.result.events
            if event.source.startswith(SOURCE)
        }
        return frozenset(spoke | self.result.clocks.keys() | self.result.unobserved.keys())

    def of(self, *kinds: Kind) -> list[Event]:
        """Events in order of time."""
        return sorted(
            (event for event in self.result.events if event.kind in kinds), key=lambda each: each.t_s
        )

    def first_of(self, *kinds: Kind) -> list[Event]:
        """The first event of each object that the cut may have caused."""
        return first_each(self.since_cut(*kinds))

    def since_cut(self, *kinds: Kind) -> list[Event]:
        """Events that the cut may have caused, in order of time."""
        return [event for event in self.of(*kinds) if event.t_s > -ROUND_S]

    def is_out(self, lane: Lane, name: str, at_s: float) -> bool:
        return any(covers(each, at_s) for each in self.result.outages.get(lane, {}).get(name, ()))

    def blind(self, node: str, at_s: float) -> Window | None:
        """The gap in the observation of `node` that contains `at_s`."""
        return next((each for each in self.result.unobserved.get(node, ()) if covers(each, at_s)), None)

    @cached_property
    def _seen_by(self) -> Mapping[str, str]:
        """Object that sentinels reported -> the node of the last that did."""
        told = (event for event in self.result.events if event.source.startswith(SOURCE))
        return {event.object: event.source.removeprefix(SOURCE) for event in told}

    def unseen(self, name: str) -> Sequence[Window]:
        """Gaps in the observation of an object such as `Node/worker → istiod 10.2.0.15:15012` or `Pod/shop/cart-x`."""
        node = origin(name).partition(" ")[0] if name.startswith("Node/") else self._seen_by.get(name, "")
        return self.result.unobserved.get(node, ())

    def gaps(self) -> Mapping[str, tuple[Window, ...]]:
        """Node -> gaps in its observation that are long enough to hide an outage."""
        found = {node: hiding(windows) for node, windows in self.result.unobserved.items()}
        return {node: windows for node, windows in found.items() if windows}

    def bound(self) -> list[Event]:
        """Where kube-dns Pods were bound since the cut."""
        return [event for event in self.of(Kind.POD_BOUND) if is_kube_dns(event) and event.t_s > 0]

    def homes(self, at_s: float) -> Sequence[str]:
        """Return the nodes that kube-dns addresses led to at `at_s`.

        They come from its endpoints, else from its Pods' bindings, else from the state before the cut.
        """
        endpoints = [event for event in self.of(Kind.ENDPOINTS_CHANGED) if event.t_s <= at_s]
        if endpoints:
            return sorted(set(ON_NODE.findall(endpoints[-1].detail)))
        bound = sorted({node_of(event) for event in self.bound() if event.t_s <= at_s})
        return bound or (self.result.briefing.kube_dns_nodes if self.result.briefing else ())


def covers(window: Window, at_s: float) -> bool:
    start_s, end_s = window
    return start_s <= at_s and (end_s is None or at_s < end_s)


def origin(name: str) -> str:
    """Return the viewpoint of an object such as `Node/worker → istiod 10.2.0.15:15012`, without its kind: `worker`."""
    return name.partition(" → ")[0].partition("/")[2]


def goal(event: Event) -> str:
    """The target of an object such as `Node/worker → istiod 10.2.0.15:15012`; "" for none."""
    return event.object.partition(" → ")[2]


def first_each(events: Iterable[Event]) -> list[Event]:
    """The first event of each object."""
    seen: dict[str, Event] = {}
    for event in events:
        seen.setdefault(event.object, event)
    return list(seen.values())


def by_owner(names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Group the names by what they have in common; other names stay as they are."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(lasting(name), []).append(name)
    return {owner if len(own) > 1 else own[0]: tuple(own) for owner, own in found.items()}
