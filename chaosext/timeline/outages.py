"""Derive outages from a timeline: what was out, where, and for how long. Pure.

The input order of simultaneous events does not matter. What a source reported holds until it reports
otherwise or loses observation (`observation_lost`). From then on, a state is unknown, neither out nor
healthy, until the source reports it again.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.model.result import Lane, Timing
from chaosext.model.timeline import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaosext.model.result import Outages, Window
    from chaosext.model.timeline import Event

LOST: Mapping[Kind, Lane] = {
    Kind.DNS_DEAD: Lane.DNS,
    Kind.DNS_SOCKET_STALE: Lane.DNS_KEPT_SOCKET,
    Kind.XDS_LOST: Lane.XDS,
    Kind.SIDECAR_NOT_READY: Lane.SIDECAR_READY,
    Kind.TARGET_LOST: Lane.TARGETS,
    Kind.BGP_LOST: Lane.BGP,
    Kind.ROUTE_LOST: Lane.ROUTES,
    Kind.ENTRY_DEGRADED: Lane.CUSTOMERS,
    Kind.ENTRY_DRAINED: Lane.ENTRY,
    Kind.NODE_NOT_READY: Lane.NODE_READY,
    Kind.NODE_DELETED: Lane.NODE_READY,
    Kind.KUBELET_LOST: Lane.KUBELET,
    Kind.PROBE_FAILING: Lane.PROBES,
}
"""Kinds of events that open a window, and its lane. TCP targets that are DNS servers have a lane of their own."""

BACK: Mapping[Kind, tuple[Lane, ...]] = {
    Kind.DNS_RESTORED: (Lane.DNS,),
    Kind.DNS_DEGRADED: (Lane.DNS,),
    Kind.DNS_SOCKETS_AGREE: (Lane.DNS_KEPT_SOCKET,),
    Kind.DNS_ONLY_KEPT_SOCKET: (Lane.DNS_KEPT_SOCKET,),
    Kind.XDS_RESTORED: (Lane.XDS,),
    Kind.SIDECAR_READY: (Lane.SIDECAR_READY,),
    Kind.TARGET_RESTORED: (Lane.TARGETS, Lane.DNS_TCP, Lane.PODS),
    Kind.BGP_RESTORED: (Lane.BGP,),
    Kind.ROUTE_RESTORED: (Lane.ROUTES,),
    Kind.ENTRY_RESTORED: (Lane.CUSTOMERS,),
    Kind.ENTRY_TAKEN_BACK: (Lane.ENTRY,),
    Kind.NODE_READY: (Lane.NODE_READY,),
    Kind.KUBELET_RESTORED: (Lane.KUBELET,),
    Kind.POD_READY: (Lane.PROBES,),
    Kind.POD_EVICTED: (Lane.PROBES,),
    Kind.POD_DELETED: (Lane.PROBES,),
    Kind.POD_GONE: (Lane.PROBES, Lane.XDS, Lane.SIDECAR_READY),
}
"""Kinds of events that close a window; a Pod that is gone is no longer out. Probe windows also end with
`steady`, because kubelet never reports that a probe succeeds again."""

LASTING = frozenset({Lane.DNS, Lane.XDS, Lane.SIDECAR_READY, Lane.BGP})
"""Lanes whose objects are watched for as long as they exist. Not so kube-dns addresses, which come and go
with its Pods."""

DNS_OVER_TCP = ":53/tcp"
"""Suffix of the object of a lookup over TCP, whatever its name."""

POD_TARGET = " → Pod "
"""In the object of a connect to a Pod on another node (`sentinel_plan` names it so)."""

IN_LANE = re.compile(rf"(?P<object>.+) \((?P<lane>{'|'.join(Lane)})\)")
"""The object of an `observation_lost` that concerns one lane only, such as `Node/worker-1 → 172.18.0.5 (bgp)`."""


def outages(events: Iterable[Event]) -> Outages:
    """The outages of each lane by object. The windows are sorted and disjoint; only the last one may be open."""
    ledger = _Ledger()
    for event in sorted(events, key=_in_order):
        ledger.take(event)
    return ledger.outages()


def unobserved(events: Iterable[Event]) -> Mapping[str, tuple[Window, ...]]:
    """Node -> the windows in which its sentinel should have observed it, but did not."""
    found: dict[str, list[Window]] = {}
    for event in sorted(events, key=_in_order):
        node = event.object.removeprefix("Node/")
        if event.kind not in SIGHT or node == event.object or " " in node:
            continue
        _turn(found.setdefault(node, []), event)
    return {node: tuple(windows) for node, windows in found.items() if windows}


def unmeasured(events: Iterable[Event]) -> Outages:
    """Like `outages`: when objects of `LASTING` lanes were not measured, although their nodes were observed."""
    found: dict[Lane, dict[str, list[Window]]] = {lane: {} for lane in LASTING}
    for event in sorted(events, key=_in_order):
        one = IN_LANE.fullmatch(event.object) if event.kind in SIGHT else None
        if one and one["lane"] in LASTING:
            _turn(found[Lane(one["lane"])].setdefault(one["object"], []), event)
        elif event.kind is Kind.POD_GONE:
            for lane in BACK[event.kind]:
                _turn(found.get(lane, {}).get(event.object, []), event)
    return {lane: {name: tuple(each) for name, each in names.items()} for lane, names in found.items()}


def _turn(windows: list[Window], event: Event) -> None:
    """Open a window when observation is lost, or close the open one."""
    if event.kind is Kind.OBSERVATION_LOST and not lasts(windows):
        windows.append((event.t_s, None))
    elif event.kind is not Kind.OBSERVATION_LOST and lasts(windows):
        windows[-1] = (windows[-1][0], event.t_s)


def timing(events: Iterable[Event]) -> Timing:
    """Measure how long things took: from the first cut, its heal, what users felt, and the last rollback."""
    ordered = sorted(events, key=_in_order)
    cut_s = _first(ordered, Kind.CUT)
    if cut_s is None:
        return Timing()
    heal_s = healed_s(ordered)
    rollback_s = _last(ordered, Kind.ROLLBACK)
    steady_s = _first(ordered, Kind.STEADY, after_s=max(cut_s, heal_s or cut_s, rollback_s or cut_s))
    felt_s = _first(ordered, *FELT, after_s=cut_s)
    dead_s = _first(ordered, Kind.DNS_DEAD, after_s=heal_s) if heal_s is not None else None
    return Timing(
        detect_s=_between(cut_s, _first(ordered, Kind.NODE_NOT_READY, after_s=cut_s)),
        outage_s=_between(felt_s, steady_s),
        heal_to_outage_s=_between(heal_s, dead_s),
        recover_s=_between(heal_s, steady_s),
        rollback_s=_between(rollback_s, steady_s),
    )


ENDS = (Kind.HEAL, Kind.CUT_LOST)
"""Kinds of events after which a node has its network back."""


def healed_s(events: Iterable[Event]) -> float | None:
    """When the last cut node had its network back; None: some node has not."""
    cut: set[str] = set()
    heals: dict[str, float] = {}
    for event in events:
        if event.kind is Kind.CUT:
            cut.update(event.nodes)
        elif event.kind in ENDS:
            heals = dict.fromkeys(event.nodes, event.t_s) | heals
    return max(heals.values(), default=None) if cut <= heals.keys() else None


def cut_windows(events: Iterable[Event]) -> tuple[Window, ...]:
    """When the network was cut: from the first cut node until the last one is healed or lost its cut; else open."""
    found: list[Window] = []
    cut: set[str] = set()
    for event in sorted(events, key=lambda event: event.t_s):
        if event.kind is Kind.CUT:
            found += [] if cut else [(event.t_s, None)]
            cut.update(event.nodes)
        elif event.kind in ENDS and cut:
            cut.difference_update(event.nodes)
            found[-1] = (found[-1][0], None if cut else event.t_s)
    return tuple(found)


def lasts(windows: Sequence[Window]) -> bool:
    """Whether the last of `windows` is open."""
    return bool(windows) and windows[-1][1] is None


def united(windows: Iterable[Window]) -> tuple[Window, ...]:
    """Merge `windows` into sorted windows that do not touch."""
    found: list[Window] = []
    for start_s, end_s in sorted(windows, key=lambda window: window[0]):
        last_s = found[-1][1] if found else -math.inf
        if last_s is not None and start_s > last_s:
            found.append((start_s, end_s))
        elif last_s is not None:
            found[-1] = (found[-1][0], None if end_s is None else max(last_s, end_s))
    return tuple(found)


SIGHT = (Kind.OBSERVATION_RESTORED, Kind.OBSERVATION_LOST)
FELT = (Kind.DNS_DEAD, Kind.XDS_LOST, Kind.PROBE_FAILING)
"""What users of a cluster feel."""


AT_ONCE: Mapping[Kind, int] = {
    Kind.OBSERVATION_RESTORED: 0,
    **dict.fromkeys((*BACK, Kind.STEADY), 1),
    **dict.fromkeys(LOST, 2),
    Kind.OBSERVATION_LOST: 3,
}
"""The order of simultaneous events: observation resumes before states are reported, and a loss overrides a recovery."""


def _in_order(event: Event) -> tuple[float, int, str, str]:
    return event.t_s, AT_ONCE.get(event.kind, 0), event.object, event.source


@dataclass(slots=True)
class _Ledger:
    """What is out now, which source reported it, and the closed windows."""

    _out: dict[tuple[Lane, str], tuple[float, str]] = field(default_factory=dict)
    _blind: set[str] = field(default_factory=set)
    _windows: dict[tuple[Lane, str], list[Window]] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        match event.kind:
            case Kind.OBSERVATION_LOST:
                self._lose_sight(event)
            case Kind.OBSERVATION_RESTORED:
                self._blind.discard(event.source)
            case Kind.STEADY:
                self._close([key for key in self._out if key[0] is Lane.PROBES], event.t_s)
            case kind if kind in LOST:
                self._open(_lane(event), event)
            case kind:
                self._close([(lane, event.object) for lane in BACK.get(kind, ())], event.t_s)

    def outages(self) -> Outages:
        for key, (start_s, _) in self._out.items():
            self._windows.setdefault(key, []).append((start_s, None))
        found: dict[Lane, dict[str, tuple[Window, ...]]] = {}
        for lane, name in sorted(self._windows):
            found.setdefault(lane, {})[name] = tuple(self._windows[lane, name])
        return found

    def _open(self, lane: Lane, event: Event) -> None:
        if event.source not in self._blind:
            self._out.setdefault((lane, event.object), (event.t_s, event.source))

    def _close(self, keys: Iterable[tuple[Lane, str]], at_s: float) -> None:
        for key in keys:
            start_s, _ = self._out.pop(key, (at_s, ""))
            if start_s < at_s:
                self._windows.setdefault(key, []).append((start_s, at_s))

    def _lose_sight(self, event: Event) -> None:
        """End the windows of one question, or of all that the source observes."""
        one = IN_LANE.fullmatch(event.object)
        if one:
            self._close([(Lane(one["lane"]), one["object"])], event.t_s)
            return
        self._blind.add(event.source)
        self._close([key for key, (_, source) in self._out.items() if source == event.source], event.t_s)


def _lane(event: Event) -> Lane:
    if event.kind is Kind.TARGET_LOST and event.object.endswith(DNS_OVER_TCP):
        return Lane.DNS_TCP
    if event.kind is Kind.TARGET_LOST and POD_TARGET in event.object:
        return Lane.PODS
    return LOST[event.kind]


def _first(ordered: Iterable[Event], *kinds: Kind, after_s: float | None = None) -> float | None:
    times = (event.t_s for event in ordered if event.kind in kinds)
    return next((t_s for t_s in times if after_s is None or t_s >= after_s), None)


def _last(ordered: Iterable[Event], kind: Kind) -> float | None:
    return max((event.t_s for event in ordered if event.kind is kind), default=None)


def _between(start_s: float | None, end_s: float | None) -> float | None:
    return None if start_s is None or end_s is None else end_s - start_s
