"""A prediction as six lanes: which object is in which state, from when until when, in how many simulations. Pure.

The lanes of a run say what was observed; these say what is expected, so each edge has a typical, an earliest
and a latest time, and each span the share of simulations that have it. A prediction without a timeline has
no lanes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Self

from chaosext.model.names import lasting
from chaosext.model.result import Lane
from chaosext.model.timeline import Kind
from chaosext.rehearsal.network.network_model import routes_of
from chaosext.rehearsal.network.routes import unannounced
from chaosext.rehearsal.simulate.prediction import RARE, Dns
from chaosext.rehearsal.snapshot.node_patterns import behind
from chaosext.report.data.lane_state import CUT, PLACEMENT, PODS, State
from chaosext.report.units import natural
from chaosext.timeline.kube_dns_moves import NODE_IN_DETAIL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.simulate.planned_cut import Periods, Plan
    from chaosext.rehearsal.simulate.prediction import DnsView, PredictedEvent, Prediction
    from chaosext.rehearsal.snapshot.world import World

TITLES = {
    CUT: ("Cut", "when the nodes are cut off from the control plane"),
    Lane.NODE_READY: ("Nodes", "as the control plane sees them: Ready or not"),
    PLACEMENT: ("kube-dns", "the nodes that run it"),
    Lane.DNS: ("DNS", "lookups at the kube-dns Service address from each node"),
    Lane.XDS: ("Mesh configuration", "sidecars connected to istiod (xDS)"),
    PODS: ("Pods", "evicted, failing their probes, crash-looping; each until its replacement is Ready"),
}
"""Lane -> its title and caption, in drawing order."""


class LaneMoment(NamedTuple):
    """A time in seconds from the cut: typical, and the earliest and latest of all simulations."""

    t_s: float
    earliest_s: float
    latest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSpan:
    """`state` from `begin` to `end` (None: to the end of the prediction) in a `share` of simulations.

    `count`: how many objects of the row it stands for, such as Pods of a workload.
    """

    state: State
    begin: LaneMoment
    end: LaneMoment | None
    share: float = 1.0
    label: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRow:
    """One object of a lane, and its spans by begin. Outside of them it is as it was before the cut.

    `counts`: whether the verdict considers it; lookups of control-plane nodes do not count if there are others.
    """

    name: str
    spans: tuple[LaneSpan, ...]
    counts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedLane:
    """A lane; `key` is that of the same lane of a run, where a run has it."""

    key: str
    title: str
    caption: str
    rows: tuple[LaneRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneFacts:
    """What lanes need beside the prediction.

    `kube_dns`: Pod -> its node before the cut. `astray`: nodes whose Pod addresses no other node learns.
    `masters`: control-plane nodes, if there are others.
    """

    periods: Periods
    horizon_s: float
    kube_dns: Mapping[str, str] = field(default_factory=dict)
    astray: frozenset[str] = frozenset()
    masters: frozenset[str] = frozenset()

    @classmethod
    def of(cls, world: World, plan: Plan) -> Self:
        masters = frozenset(node.name for node in world.nodes if node.control_plane)
        return cls(
            periods=plan.periods,
            horizon_s=plan.horizon_s,
            kube_dns={pod.subject: pod.node for pod in behind(world.dns, world.pods) if pod.node},
            astray=frozenset(unannounced(routes_of(world, plan.cut_nodes), world.nodes)),
            masters=masters if len(masters) < len(world.nodes) else frozenset(),
        )

    @classmethod
    def seen_in(cls, found: Prediction) -> Self | None:
        """Return what the timeline itself shows, without kube-dns' places; None if it shows no cut."""
        begins, ends = (
            sorted({event.t_s for event in found.timeline if event.kind is kind})
            for kind in (Kind.CUT, Kind.HEAL)
        )
        periods = tuple(zip(begins, ends, strict=False))
        return cls(periods=periods, horizon_s=max(each.t_s for each in found.timeline)) if periods else None


def predicted_lanes(found: Prediction, facts: LaneFacts) -> tuple[PredictedLane, ...]:
    """Return the six lanes, a lane without rows included; none if the prediction has no timeline."""
    if not found.timeline:
        return ()
    rows: Mapping[str, Iterable[LaneRow]] = {
        CUT: _cuts(facts),
        Lane.NODE_READY: _pairs(found, Kind.NODE_NOT_READY, Kind.NODE_READY, State.AWAY),
        PLACEMENT: _placement(found, facts),
        Lane.DNS: _lookups(found, facts),
        Lane.XDS: _mesh(found, facts),
        PODS: _pods(found),
    }
    return tuple(
        PredictedLane(
            key=str(key),
            title=title,
            caption=caption,
            rows=tuple(sorted(rows[key], key=lambda row: natural(row.name))),
        )
        for key, (title, caption) in TITLES.items()
    )


# -- spans from events ---------------------------------------------------------------------------------------------


class _Row:
    """The spans of one object, opened and closed event by event in the order of their typical times.

    An event closes as much as its own probability. `exclusive` states follow each other: a new one ends those
    that began before it, and the open shares never exceed 1.
    """

    def __init__(self, *, exclusive: bool = False) -> None:
        self._open: list[LaneSpan] = []
        self._closed: list[LaneSpan] = []
        self._early: list[PredictedEvent] = []
        self._exclusive = exclusive

    def start(self, state: State) -> None:
        """Begin a state before the cut."""
        self._open.append(LaneSpan(state=state, begin=exactly(0.0), end=None))

    def begin(self, event: PredictedEvent, state: State, label: str = "", share: float | None = None) -> None:
        """Begin a state; an end that came before its typical begin belongs to its earlier simulations."""
        left = event.probability if share is None else share
        opened = LaneSpan(state=state, begin=moment(event), end=None, share=left, label=label)
        for early in [each for each in self._early if each.t_s >= event.t_min_s]:
            self._early.remove(early)
            part = min(left, early.probability)
            if part > RARE:
                first = opened.begin._replace(t_s=event.t_min_s)
                self._closed.append(replace(opened, begin=first, end=moment(early), share=part))
                left -= part
        if self._exclusive:
            before = [each.share for each in self._open if each.begin.latest_s < event.t_min_s]
            self._close(max(self.left + left - 1.0, min(left, sum(before))), event)
        if left > RARE:
            self._open.append(replace(opened, share=left))

    def close(self, event: PredictedEvent, share: float | None = None) -> None:
        """End what is open, the oldest first, in as many simulations as the event has."""
        wanted = event.probability if share is None else share
        rest = self._close(wanted, event)
        if rest > RARE and share is None:
            self._early.append(replace(event, probability=rest))

    def _close(self, share: float, event: PredictedEvent) -> float:
        """End a share of what is open; returns what was not open."""
        still: list[LaneSpan] = []
        for span in self._open:
            part = min(span.share, max(0.0, share))
            share -= part
            if part > RARE and event.t_max_s > span.begin.earliest_s:
                end = moment(event)._replace(t_s=max(event.t_s, span.begin.t_s))
                self._closed.append(replace(span, share=part, end=end))
            if span.share - part > RARE:
                still.append(replace(span, share=span.share - part))
        self._open = still
        return share

    @property
    def left(self) -> float:
        """The share of simulations in which something is open."""
        return sum(each.share for each in self._open)

    @property
    def spans(self) -> tuple[LaneSpan, ...]:
        return ordered([*self._closed, *self._open])


def moment(event: PredictedEvent) -> LaneMoment:
    """Return when the event happens."""
    return LaneMoment(event.t_s, event.t_min_s, event.t_max_s)


def exactly(t_s: float) -> LaneMoment:
    """Return a moment that is the same in all simulations."""
    return LaneMoment(t_s, t_s, t_s)


def ordered(spans: Iterable[LaneSpan]) -> tuple[LaneSpan, ...]:
    """Sort spans by begin, then by end; open ones come last."""
    endless = LaneMoment(inf, inf, inf)
    return tuple(sorted(spans, key=lambda each: (each.begin, each.end or endless, each.state, each.label)))


def _bare(name: str) -> str:
    return name.partition("/")[2] or name


def _named(rows: Mapping[str, _Row]) -> Iterator[LaneRow]:
    return (LaneRow(name=_bare(name), spans=row.spans) for name, row in rows.items() if row.spans)


def _cuts(facts: LaneFacts) -> Iterator[LaneRow]:
    spans = (
        LaneSpan(state=State.OUT, begin=exactly(begin), end=exactly(end)) for begin, end in facts.periods
    )
    yield LaneRow(name="cut", spans=tuple(spans))


def _pairs(found: Prediction, lost: Kind, back: Kind, state: State) -> Iterator[LaneRow]:
    rows: dict[str, _Row] = defaultdict(_Row)
    for event in found.timeline:
        if event.kind is lost:
            rows[event.object].begin(event, state)
        elif event.kind is back:
            rows[event.object].close(event)
    yield from _named(rows)


# -- kube-dns ------------------------------------------------------------------------------------------------------


def _placement(found: Prediction, facts: LaneFacts) -> Iterator[LaneRow]:
    """Yield each node that runs kube-dns at some time; a Pod counts from when it is bound until it is evicted."""
    theirs = {workload_of(pod) for pod in facts.kube_dns}
    rows: dict[str, _Row] = defaultdict(_Row)
    for node in facts.kube_dns.values():
        rows[node].start(_there(node, facts))
    for event in found.timeline:
        if event.kind is Kind.ROLLBACK:
            for row in rows.values():
                row.close(event, share=inf)
        elif event.kind is Kind.POD_EVICTED and event.object in facts.kube_dns:
            rows[facts.kube_dns[event.object]].close(event)
        elif workload_of(event.object) not in theirs:
            continue
        elif event.kind is Kind.POD_BOUND:
            for node, share in (event.nodes or {_node_in(event): event.probability}).items():
                rows[node].begin(event, _there(node, facts), share=share)
        elif event.kind is Kind.POD_EVICTED and _node_in(event) in rows:
            rows[_node_in(event)].close(event)
    yield from _named(rows)


def _there(node: str, facts: LaneFacts) -> State:
    return State.ASTRAY if node in facts.astray else State.HERE


def _node_in(event: PredictedEvent) -> str:
    named = NODE_IN_DETAIL.match(event.detail)
    return named[1] if named else ""


# -- DNS and the mesh ----------------------------------------------------------------------------------------------


def _lookups(found: Prediction, facts: LaneFacts) -> Iterator[LaneRow]:
    """Yield the nodes with bad lookups at some time, and those of which it is unknown."""
    events: dict[str, list[PredictedEvent]] = defaultdict(list)
    for event in found.timeline:
        if event.kind in (*_BAD, Kind.DNS_RESTORED):
            events[_bare(event.object)].append(event)
    lasts = sum(each.probability for each in found.outcomes if each.dns_after_heal is not Dns.RESOLVABLE)
    views = found.dns_per_node
    known = {
        id(views[name]): _of_node(own, views[name], lasts) for name, own in events.items() if name in views
    }
    for name, view in views.items():
        spans = ordered(
            [*known.get(id(view), ()), *_unknown(view, facts)]
        )  # nodes that are alike share a view
        if spans:
            yield LaneRow(name=name, spans=spans, counts=name not in facts.masters)


_BAD = {Kind.DNS_DEAD: State.OUT, Kind.DNS_DEGRADED: State.FAILING}


def _of_node(events: Sequence[PredictedEvent], view: DnsView, lasts: float) -> tuple[LaneSpan, ...]:
    """Return the bad lookups of a node; in no more simulations than `lasts` do they last to the end."""
    row = _Row(exclusive=True)
    for event in _in_order(events, view.after_heal):
        if event.kind in _BAD:
            row.begin(event, _BAD[event.kind])
        else:
            row.close(event)
    last = next((each for each in reversed(events) if each.kind is Kind.DNS_RESTORED), None)
    if last:
        row.close(last, share=row.left - lasts)
    return row.spans


def _in_order(events: Sequence[PredictedEvent], final: Dns) -> Sequence[PredictedEvent]:
    """Return the events so that of two bad states at about the same time, the one that lasts comes last."""
    found = list(events)
    lasting_kind = Kind.DNS_DEGRADED if final is Dns.PARTIAL else Kind.DNS_DEAD
    for at in range(1, len(found)):
        first, second = found[at - 1], found[at]
        is_alike = first.kind in _BAD and second.kind in _BAD and second.t_min_s < first.t_max_s
        if is_alike and first.kind is lasting_kind and second.kind is not lasting_kind:
            found[at - 1], found[at] = second, first
    return found


def _unknown(view: DnsView, facts: LaneFacts) -> Iterator[LaneSpan]:
    """Yield when a node's lookups are unknown: during the cuts, from the last heal on, or both."""
    heal_s = facts.periods[-1][1]
    begin_s = 0.0 if view.during_cut is Dns.UNKNOWN else heal_s
    end = None if view.after_heal is Dns.UNKNOWN else exactly(heal_s)
    if Dns.UNKNOWN in (view.during_cut, view.after_heal):
        yield LaneSpan(state=State.UNSEEN, begin=exactly(begin_s), end=end, label="unknown")


def _mesh(found: Prediction, facts: LaneFacts) -> Iterator[LaneRow]:
    """Yield the mesh: without istiod, or unknown because routes are, or because it is not modelled."""
    known = list(_pairs(found, Kind.XDS_LOST, Kind.XDS_RESTORED, State.OUT))
    is_unknown = found.mesh.get("present") and found.mesh.get("xds_lost_probability") is None
    if is_unknown or found.mesh.get("unmodelled"):
        name = known[0].name if known else "mesh"
        spans = known[0].spans if known else ()
        unseen = LaneSpan(state=State.UNSEEN, begin=exactly(0.0), end=None, label="unknown")
        known = [LaneRow(name=name, spans=ordered([unseen, *spans])), *known[1:]]
    yield from known


# -- Pods ----------------------------------------------------------------------------------------------------------

_HITS = {
    Kind.POD_EVICTED: ("evicted", State.AWAY),
    Kind.POD_PENDING: ("Pending", State.AWAY),
    Kind.PROBE_FAILING: ("probes fail", State.OUT),
    Kind.CRASH_LOOP: ("crash loop", State.OUT),
}


def _pods(found: Prediction) -> Iterator[LaneRow]:
    """Yield a row per workload, with a span for each thing that happens to its Pods."""
    events: dict[str, list[PredictedEvent]] = defaultdict(list)
    for event in found.timeline:
        if event.kind in _HITS or event.kind in (Kind.POD_BOUND, Kind.POD_READY):
            events[workload_of(event.object)].append(event)
    for owner, own in events.items():
        spans = tuple(_of_workload(own))
        if spans:
            name = _shown(owner, {each.object for each in own})
            yield LaneRow(name=_bare(name), spans=ordered(spans))


def workload_of(pod: str) -> str:
    """Return the common name of a workload's Pods, those that exist and the new ones: `Pod/db/etcd-*`."""
    return f"{pod.rpartition('-')[0] or pod}-*"


ANY_SUFFIX = "bbbbb"
"""Looks like the generated part of a Pod's name."""


def _shown(workload: str, pods: set[str]) -> str:
    """Return the name of a row: without generated parts, or that of its only Pod."""
    return min(pods) if len(pods) == 1 else lasting(f"{workload[:-1]}{ANY_SUFFIX}")


def _of_workload(events: Sequence[PredictedEvent]) -> Iterator[LaneSpan]:
    """Yield a span per kind: from the first Pod it happens to until as many are Ready again."""
    bound = sum(each.kind is Kind.POD_BOUND for each in events)
    ready = [each for each in events if each.kind is Kind.POD_READY]
    for kind, (label, state) in _HITS.items():
        hit = [each for each in events if each.kind is kind]
        if kind is Kind.PROBE_FAILING:
            hit = hit[: max(1, bound)]  # a Pod's probes fail again and again
        if not hit:
            continue
        number = sum(each.probability for each in hit)
        first_s = min(each.t_min_s for each in hit)
        back = _enough((each for each in ready if each.t_max_s >= first_s and is_new(each, hit)), number)
        begin = _moment(min, hit)
        yield LaneSpan(
            state=state,
            begin=begin,
            end=_not_before(begin, _moment(max, back)) if back else None,
            share=min(1.0, number),
            label=label,
            count=max(1, round(number)),
        )


def is_new(ready: PredictedEvent, hit: Sequence[PredictedEvent]) -> bool:
    """Whether it is about a new Pod, or about one of a StatefulSet that was hit and has its name again."""
    return ready.object.endswith("*") or any(each.object == ready.object for each in hit)


def _enough(events: Iterable[PredictedEvent], number: float) -> Sequence[PredictedEvent]:
    """Return the first events that together are expected to happen `number` times; none if all are too few."""
    found: list[PredictedEvent] = []
    for event in events:
        found.append(event)
        number -= event.probability
        if number <= RARE * len(found):
            return found
    return ()


def _moment(of: Callable[[Iterable[float]], float], events: Sequence[PredictedEvent]) -> LaneMoment:
    """Return the typical time of the first (`of` is `min`) or last event, and the range of all."""
    return LaneMoment(
        of([each.t_s for each in events]),
        min(each.t_min_s for each in events),
        max(each.t_max_s for each in events),
    )


def _not_before(begin: LaneMoment, end: LaneMoment) -> LaneMoment:
    """Return the end, which is typically not before the begin: they may be of different simulations."""
    typical = max(begin.t_s, end.t_s)
    return LaneMoment(typical, end.earliest_s, max(typical, end.latest_s))
