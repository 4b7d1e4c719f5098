"""Converts a run to its lanes: the objects of each lane, and their states over time. Pure."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from chaosext.model.result import Lane
from chaosext.model.signal import Mark, StreamHead
from chaosext.model.timeline import Kind
from chaosext.report.data.account import Account
from chaosext.report.data.lane_state import PLACEMENT, State
from chaosext.report.render.html.tracks import (
    Bar,
    Dot,
    Guess,
    Swim,
    Track,
    coarse,
    counted,
    joined,
    layered,
)
from chaosext.report.units import natural, words
from chaosext.timeline.kube_dns_moves import is_kube_dns, node_of, stays
from chaosext.timeline.signal_kinds import questions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.model.load_balancer_state import Second
    from chaosext.model.result import RunResult, Window
    from chaosext.model.timeline import Event, Predicted
    from chaosext.report.data.run_data import RunData
    from chaosext.report.data.sentinel_spans import Stretch, Stretches
    from chaosext.report.render.html.time_axis import Axis

ENDPOINTS = "endpoints"

LOOKUPS = (Lane.TARGETS, Lane.DNS_KEPT_SOCKET, Lane.DNS_TCP)
ON_A_NODE = re.compile(r"( → )\S+ on (\S+ \S+)")
"""`worker → coredns-66bc5c9577-xbx9p on cp-1 10.244.35.0:53/udp`: the address is enough to identify the Pod."""

MILD = {Lane.NODE_READY: State.AWAY, Lane.KUBELET: State.AWAY, Lane.ENTRY: State.DRAINED}
"""States for outages that the cut, or the load balancer, causes on purpose."""

HOLE_S = 1.5
"""Seconds between customers' reports beyond which they were not observed; busy customers report more often."""

FINEST = 1200
"""Maximum number of bars of one object: a screen has no more columns."""

TITLES = {
    Lane.CUSTOMERS: (
        "Customers",
        "their requests at the global load balancer: the higher the bar, the more of them fail",
    ),
    Lane.ENTRY: ("Load balancer", "clusters that it sends customers to, or not"),
    Lane.NODE_READY: ("Nodes", "as the control plane sees them: Ready or not"),
    Lane.KUBELET: ("Kubelets", "whether they reach an API server, by their renewed Leases"),
    PLACEMENT: ("kube-dns", "the nodes that run it"),
    Lane.DNS: (
        "DNS",
        "lookups at the kube-dns Service address from each node, with a new UDP socket each time",
    ),
    Lane.DNS_KEPT_SOCKET: (
        "DNS, kept socket",
        "the same from one UDP socket that stays open; counted are seconds in which a new one worked",
    ),
    Lane.DNS_TCP: ("DNS over TCP", "the same over TCP"),
    Lane.ROUTES: ("Routes", "whether the node has a route of its own to each kube-dns Pod"),
    Lane.PODS: ("Pod network", "TCP connects from each node to a Pod on other nodes"),
    Lane.BGP: ("BGP", "sessions of the nodes, with a leaf, reflectors or each other"),
    Lane.XDS: ("Mesh configuration", "sidecars connected to istiod (xDS)"),
    Lane.SIDECAR_READY: ("Sidecars", "what their own port 15021 reports, which may be falsely ready"),
    Lane.PROBES: ("Probes", "kubelet's probes of Pods, and containers that crash-loop"),
    Lane.TARGETS: ("Reachability", "TCP connects from each node"),
    ENDPOINTS: ("kube-dns, Pod by Pod", "lookups at each Pod's own address, which goes away with the Pod"),
}
"""Lane -> its title and caption, in drawing order."""

GUESSED = {
    Kind.NODE_NOT_READY: Lane.NODE_READY,
    Kind.NODE_READY: Lane.NODE_READY,
    Kind.POD_EVICTED: PLACEMENT,
    Kind.POD_BOUND: PLACEMENT,
    Kind.POD_PENDING: PLACEMENT,
    Kind.DNS_DEAD: Lane.DNS,
    Kind.DNS_RESTORED: Lane.DNS,
    Kind.DNS_SOCKET_STALE: Lane.DNS_KEPT_SOCKET,
    Kind.XDS_LOST: Lane.XDS,
    Kind.XDS_RESTORED: Lane.XDS,
    Kind.PROBE_FAILING: Lane.PROBES,
    Kind.CRASH_LOOP: Lane.PROBES,
    Kind.BGP_LOST: Lane.BGP,
    Kind.BGP_RESTORED: Lane.BGP,
    Kind.ROUTE_LOST: Lane.ROUTES,
    Kind.ROUTE_RESTORED: Lane.ROUTES,
}
"""The lane that shows a predicted event beside what was observed."""

DOTS = {
    Kind.PROBE_FAILING: (Lane.PROBES, "probe"),
    Kind.CRASH_LOOP: (Lane.PROBES, "crash"),
    Kind.POD_EVICTED: (PLACEMENT, "evicted"),
    Kind.POD_PENDING: (PLACEMENT, "pending"),
}
"""Kinds that are moments, not windows -> their lane and symbol."""


def swims(run: RunData, axis: Axis) -> tuple[Swim, ...]:
    """The lanes that are not empty, in the order of TITLES, each with its tracks by name."""
    lanes = _Lanes(run, axis)
    found = ((lane, lanes.tracks(lane)) for lane in TITLES)
    return tuple(
        Swim(key=str(lane), title=TITLES[lane][0], caption=TITLES[lane][1], tracks=tracks)
        for lane, tracks in found
        if tracks
    )


class _Lanes:
    """Collects the data of each object of each lane."""

    def __init__(self, run: RunData, axis: Axis) -> None:
        self._result, self._axis, self._account = run.result, axis, Account(run.result)
        self._unpeered = run.result.briefing.unpeered_nodes if run.result.briefing else ()
        self._bars: dict[str, dict[str, tuple[Bar, ...]]] = defaultdict(dict)
        self._windows: dict[str, dict[str, tuple[Window, ...]]] = defaultdict(dict)
        self._dots: dict[str, dict[str, list[Dot]]] = defaultdict(lambda: defaultdict(list))
        self._guesses: dict[str, dict[str, list[Guess]]] = defaultdict(lambda: defaultdict(list))
        self._take_windows(self._account.nodes | run.stretches.keys())
        self._take_stretches(run.stretches)
        self._take_customers(run.seconds)
        self._take_placement(run.result)
        self._take_dots(run.result.events)
        self._take_guesses(run.prediction)

    def tracks(self, lane: str) -> tuple[Track, ...]:
        """The lane's tracks, by name."""
        objects = {*self._bars[lane], *self._dots[lane], *self._guesses[lane]}
        return tuple(self._track(lane, each) for each in sorted(objects, key=natural))

    def _track(self, lane: str, name: str) -> Track:
        bare = ON_A_NODE.sub(r"\1\2", name.partition("/")[2] or name)
        return Track(
            name=bare,
            tag=self._tag(lane, name, bare),
            bars=self._bars[lane].get(name, ()),
            dots=tuple(self._dots[lane][name]),
            guesses=tuple(self._guesses[lane][name]),
            windows=self._windows[lane].get(name, ()),
        )

    def _tag(self, lane: str, name: str, bare: str) -> str:
        if lane == PLACEMENT and bare in self._unpeered:
            return "no BGP"
        return "" if name in self._bars[lane] or name in self._dots[lane] else "predicted only"

    def _take_windows(self, nodes: Iterable[str]) -> None:
        """Add the state from events."""
        for node in nodes if self._result.events else ():
            self._bars[Lane.NODE_READY][f"Node/{node}"] = self._told((), ())
        for lane, found in self._result.outages.items():
            for name, windows in found.items():
                blind = self._account.unseen(name)
                place = _line_of(lane, name)
                self._windows[place[0]][place[1]] = windows
                mild = MILD.get(lane)
                told = self._told(windows, (), mild) if mild else self._told(windows, blind)
                self._bars[place[0]][place[1]] = told

    def _told(
        self, windows: Iterable[Window], blind: Iterable[Window], state: State = State.OUT
    ) -> tuple[Bar, ...]:
        out = [Bar(start_s, self._end_s(end_s), state) for start_s, end_s in windows]
        loud = [*out, *self._blind(blind)]
        quiet = Bar(self._axis.start_s, self._axis.end_s, State.QUIET)
        return layered([[quiet], *([bar] for bar in loud)])

    def _take_stretches(self, stretches: Stretches) -> None:
        """Replace the state from events by the sentinels' observations."""
        for node, signals in stretches.items():
            head = StreamHead(run="", node=node, boot="", mono_s=0.0, wall_s=0.0, signals=tuple(signals))
            for question in questions(head):
                seen = [_bar(stretch) for stretch in signals[question.signal]]
                blind = self._blind(self._result.unobserved.get(node, ()))
                late = [bar for bar in blind if bar.end_s > seen[-1].end_s]
                after = [replace(bar, start_s=max(bar.start_s, seen[-1].end_s)) for bar in late]
                fine = coarse(joined([*seen, *after]), self._axis.length_s, FINEST)
                lane, name = _line_of(question.manner.lane, question.object)
                self._bars[lane][name] = fine

    def _take_customers(self, seconds: Iterable[Second]) -> None:
        """Replace the state from events by the results of customers' requests, second by second."""
        shown = [each for each in seconds if each.t_s > self._axis.start_s]
        bars = coarse(joined(_with_holes(shown)), self._axis.length_s, FINEST)
        if bars:
            name = next(iter(self._bars[Lane.CUSTOMERS]), "Entry/customers")
            self._bars[Lane.CUSTOMERS][name] = bars

    def _take_placement(self, result: RunResult) -> None:
        """Add when kube-dns Pods were on a node, with their count as the bars' letter."""
        before = result.briefing.kube_dns_nodes if result.briefing else ()
        for node, windows in stays(result.events, before, self._axis.start_s).items():
            state = State.ASTRAY if node in self._unpeered else State.HERE
            pods = [[Bar(start_s, self._end_s(end_s), state)] for start_s, end_s in windows]
            self._bars[PLACEMENT][f"Node/{node}"] = counted(pods)

    def _take_dots(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.kind in DOTS and event.t_s >= self._axis.start_s:
                lane, glyph = DOTS[event.kind]
                place = _place(event, lane)
                if place:
                    dot = Dot(event.t_s, glyph, f"{event.object}: {event.detail}")
                    self._dots[lane][place].append(dot)

    def _take_guesses(self, prediction: Iterable[Predicted]) -> None:
        for each in prediction:
            lane = GUESSED.get(each.event.kind)
            place = _place(each.event, lane) if lane else ""
            if lane and place:
                text = f"{words(each.event.kind)}: {each.event.detail}"
                self._guesses[lane][place].append(Guess(each.event.t_s, each.t_min_s, each.t_max_s, text))

    def _blind(self, windows: Iterable[Window]) -> list[Bar]:
        return [Bar(start_s, self._end_s(end_s), State.UNSEEN) for start_s, end_s in windows]

    def _end_s(self, end_s: float | None) -> float:
        return self._axis.end_s if end_s is None else end_s


def _line_of(lane: Lane, name: str) -> tuple[str, str]:
    """Return the lane and line of an object; a single kube-dns Pod's address is in ENDPOINTS: users don't feel it."""
    if lane in LOOKUPS and ON_A_NODE.search(name):
        return ENDPOINTS, f"{name}, kept socket" if lane is Lane.DNS_KEPT_SOCKET else name
    return lane, name


def _place(event: Event, lane: str) -> str:
    """The object whose line shows an event; "" for none."""
    if lane != PLACEMENT:
        return event.object
    node = node_of(event) if is_kube_dns(event) else ""
    return f"Node/{node}" if node else ""


def _with_holes(seconds: Iterable[Second]) -> Iterator[Bar]:
    """Yield a bar per second; gaps between seconds are not observed."""
    last_s = None
    for second in seconds:
        began_s = second.t_s - 1.0
        if last_s is not None and began_s - last_s > HOLE_S:
            yield Bar(last_s, began_s, State.UNSEEN)
        if second.ratio is not None:
            yield _of_second(second)
        last_s = second.t_s


def _of_second(second: Second) -> Bar:
    """Return a bar for a second of customers' requests, rounded up to a tenth, so that similar seconds are one bar."""
    began_s, failed = second.t_s - 1.0, second.failed / (second.ok + second.failed)
    if not failed:
        return Bar(began_s, second.t_s, State.GOOD)
    return Bar(began_s, second.t_s, State.FAILING, share=math.ceil(failed * 10) / 10)


def _bar(stretch: Stretch) -> Bar:
    if stretch.mark is Mark.UNKNOWN:
        return Bar(stretch.start_s, stretch.end_s, State.UNSEEN)
    good = stretch.mark is Mark.GOOD
    letter = "" if good else stretch.mark.value
    return Bar(stretch.start_s, stretch.end_s, State.GOOD if good else State.OUT, letter)
