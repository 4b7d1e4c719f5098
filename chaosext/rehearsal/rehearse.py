"""The rehearsal: a world and a plan in, a prediction out.

With few cut nodes every way that chance can go is played, each with its exact weight; with more, a fixed number of
random plays stands for them. Plays are merged event by event: the n-th line of a kind about an object is one event.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

from chaosext.model.timeline import Kind
from chaosext.rehearsal import dns
from chaosext.rehearsal.board import Board
from chaosext.rehearsal.chance import enumerate_all
from chaosext.rehearsal.chance import samples as sampled
from chaosext.rehearsal.engine import simulate
from chaosext.rehearsal.mesh import Sidecar, sidecar
from chaosext.rehearsal.prediction import Dns, DnsView, Forecast, Outcome, PredictedEvent, Prediction
from chaosext.rehearsal.stage import WATCH_ALL_PODS, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.chance import Played
    from chaosext.rehearsal.plan import Plan
    from chaosext.rehearsal.scene import Mark, Trace
    from chaosext.rehearsal.world import World

Weighted: TypeAlias = "list[tuple[float, Trace]]"
"""Plays with their probabilities, which sum to 1."""

_Name: TypeAlias = "tuple[Kind, str, str, int]"

ENUMERATED_NODES = 3
"""Up to so many cut nodes are enumerated: a thousand ways, most of them of their leases and of the first tokens."""

ENUMERATED = "plays of all lease ages, monitor phases and turns, by their probability"

MAX_PATHS, ENOUGH_PLAYS = 3000, 300

DEFAULT_SCHEDULER = "default-scheduler"

EDGE_PLAYS = 60
"""Up to so many plays are played again in which everything takes as short as it can, and as many as long as it can:
a random one never does.
"""

RAREST = 0.001
"""What is rarer is left out of the timeline; it still counts in the outcomes."""


def rehearse(
    world: World, plan: Plan, *, samples: int | None = None, seed: int = 0, with_timeline: bool = True
) -> Prediction:
    """What the plan is expected to do to the world. `samples`: plays where chance can't be enumerated, None by size.

    Without its timeline, which is empty then, a prediction takes two thirds of the time. Raises `Refused` where the
    plan doesn't fit the world.
    """
    return Rehearsal(world).of(plan, samples=samples, seed=seed, with_timeline=with_timeline)


class Rehearsal:
    """A world that many plans are played on: what doesn't depend on the plan is prepared once."""

    def __init__(self, world: World) -> None:
        self._world, self._board = world, Board(world)

    def of(
        self, plan: Plan, *, samples: int | None = None, seed: int = 0, with_timeline: bool = True
    ) -> Prediction:
        """As `rehearse`."""
        stage = Stage(self._world, plan, self._board)
        played, count = _play(stage, samples, seed)
        plays = [(each.weight, each.value) for each in played]
        method = f"{count} random plays, seed {seed}" if count else f"{len(plays)} {ENUMERATED}"
        timeline = _timeline([*plays, *_edges(stage, played)]) if with_timeline else ()
        return replace(_merged(stage, plays, method), samples=count, timeline=timeline)


def _play(stage: Stage, samples: int | None, seed: int) -> tuple[list[Played[Trace]], int]:
    """The plays, and how many of them are random: 0 where every way is among them."""
    if len(stage.living) <= ENUMERATED_NODES and samples is None:
        plays, complete = _enumerated(stage, seed)
        if complete:
            return plays, 0
    count = samples or _samples(len(stage.living))
    return list(sampled(partial(simulate, stage), seed, count)), count


def _edges(stage: Stage, played: Sequence[Played[Trace]]) -> Weighted:
    """Plays without weight, which only say between which times an event may lie.

    Where an event came first it could have come earlier still, and later where it came last: rare ones before others,
    as those have few plays to show their range.
    """
    count = max(1, min(EDGE_PLAYS, len(played) // 10))
    seen: dict[_Name, list[tuple[float, int]]] = defaultdict(list)
    for at, each in enumerate(played):
        for name, mark in _named(each.value):
            seen[name].append((mark.t_s, at))
    times = sorted(seen.values(), key=len)
    firsts, lasts = (list(dict.fromkeys(end(each)[1] for each in times))[:count] for end in (min, max))
    both = [(at, 0.0) for at in firsts] + [(at, 1.0) for at in lasts]
    return [(0.0, simulate(stage, played[at].redraw(lean))) for at, lean in both]


def _enumerated(stage: Stage, seed: int) -> tuple[list[Played[Trace]], bool]:
    """All paths, again where they are few: what isn't enumerated, races within a second, differs each time."""
    plays, complete = enumerate_all(partial(simulate, stage), seed, MAX_PATHS)
    rounds = max(1, ENOUGH_PLAYS // len(plays)) if complete else 1
    for another in range(1, rounds):
        plays += enumerate_all(partial(simulate, stage), seed + another, MAX_PATHS)[0]
    return [replace(each, weight=each.weight / rounds) for each in plays], complete


def _samples(nodes: int) -> int:
    """As many plays as a size can afford; small ones show rarer things."""
    return max(12, min(500, 6000 // max(1, nodes)))


def _merged(stage: Stage, plays: Weighted, method: str) -> Prediction:
    outcomes, likeliest = _outcomes(stage, plays)
    per_node = _per_node(stage, plays)
    judged = [per_node[stage.world.nodes[number].name] for number in stage.judged]
    view = DnsView(
        during_cut=dns.overall(each.during_cut for each in judged),
        after_heal=likeliest,
        after_rollback=_likeliest(stage, plays, "rolled_back"),
    )
    chances = _chances(stage, plays)
    verdict = max(sorted(chances), key=chances.__getitem__)
    return Prediction(
        assumptions=(*stage.world.assumptions, *_assumptions(stage)),
        timings=stage.world.control_plane.to_json(),
        timeline=(),
        dns=view,
        dns_per_node=per_node,
        mesh=_mesh(stage, plays),
        workloads=_workloads(stage, plays),
        outcomes=outcomes,
        self_heals=None if verdict is Forecast.UNKNOWN else verdict is Forecast.PASSED,
        verdict=verdict,
        method=method,
        chances=chances,
    )


# -- the timeline --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Seen:
    """One event over all plays."""

    mark: Mark
    times: list[tuple[float, float]] = field(default_factory=list)
    nodes: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    weight: float = 0.0

    def add(self, mark: Mark, weight: float) -> None:
        self.times.append((mark.t_s, weight))
        self.weight += weight
        if mark.node:
            self.nodes[mark.node] += weight

    @property
    def probability(self) -> float:
        return min(1.0, self.weight)

    def event(self) -> PredictedEvent:
        self.times.sort()
        low, high = self._range()
        return PredictedEvent(
            t_s=_median(self.times),
            t_min_s=min(low, self.times[0][0]),
            t_max_s=max(high, self.times[-1][0]),
            probability=self.probability,
            kind=self.mark.kind,
            object=self.mark.object,
            detail=self._detail(),
            source=self.mark.source,
            nodes=dict(self.nodes) if self.mark.kind in (Kind.POD_BOUND, Kind.POD_READY) else {},
        )

    def _range(self) -> tuple[float, float]:
        """Of the plays with weight, and as much beyond as they lie apart."""
        played = [time for time, weight in self.times if weight > 0]
        low, high = played[0], played[-1]
        beyond = (high - low) / max(1, len(played) - 1)
        return (max(0.0, low - beyond) if low > 0 else low), high + beyond

    def _detail(self) -> str:
        if self.mark.kind not in (Kind.POD_BOUND, Kind.POD_READY) or len(self.nodes) < 2:
            return self.mark.detail
        shares = sorted(self.nodes.items(), key=lambda pair: (-pair[1], pair[0]))
        named = ", ".join(f"{node} ({share / self.probability:.0%})" for node, share in shares[:5])
        more = f" or {len(shares) - 5} more" if len(shares) > 5 else ""
        return f"{'to' if self.mark.kind is Kind.POD_BOUND else 'on'} {named}{more}"


def _median(times: Sequence[tuple[float, float]]) -> float:
    """The weighted median of sorted (time, weight)."""
    sums = list(accumulate(weight for _, weight in times))
    return next(time for (time, _), upto in zip(times, sums, strict=True) if upto * 2 >= sums[-1])


def _named(trace: Trace) -> Iterator[tuple[_Name, Mark]]:
    """Each line with what it is over all plays: the n-th of its kind about its object."""
    turns: Counter[tuple[Kind, str, str]] = Counter()
    for mark in trace.marks:
        about = (mark.kind, mark.object, mark.label)
        turns[about] += 1
        yield (*about, turns[about]), mark


def _timeline(plays: Weighted) -> tuple[PredictedEvent, ...]:
    seen: dict[_Name, _Seen] = {}
    for weight, trace in plays:
        for name, mark in _named(trace):
            if name not in seen:
                seen[name] = _Seen(mark)
            seen[name].add(mark, weight)
    events = [entry.event() for entry in seen.values() if entry.probability >= RAREST]
    return tuple(sorted(events, key=lambda each: (each.t_s, each.kind, each.object, each.t_min_s)))


# -- DNS -----------------------------------------------------------------------------------------------------


def _outcomes(stage: Stage, plays: Weighted) -> tuple[tuple[Outcome, ...], Dns]:
    """Every way that DNS may be after the heal, likeliest first, and the likeliest."""
    weights: dict[Dns, float] = defaultdict(float)
    whys: dict[Dns, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    total = sum(weight for weight, _ in plays)
    for weight, trace in plays:
        state = _overall(stage, trace.after)
        weights[state] += weight / total
        whys[state][_why(stage, state, trace)] += weight
    ranked = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))
    outcomes = tuple(
        Outcome(
            dns_after_heal=state,
            probability=weight,
            why=max(sorted(whys[state]), key=whys[state].__getitem__),
        )
        for state, weight in ranked
    )
    return outcomes, ranked[0][0]


def _overall(stage: Stage, states: Mapping[int, Dns]) -> Dns:
    return dns.overall(states[number] for number in stage.judged)


def _likeliest(stage: Stage, plays: Weighted, when: str) -> Dns:
    weights: dict[Dns, float] = defaultdict(float)
    for weight, trace in plays:
        weights[_overall(stage, getattr(trace, when))] += weight
    return max(sorted(weights), key=weights.__getitem__)


def _why(stage: Stage, state: Dns, trace: Trace) -> str:
    if stage.world.dns is None:
        return "the snapshot has no kube-dns Service"
    if state is Dns.UNKNOWN:
        return stage.routes.unknown_why or "who reaches kube-dns is unknown"
    if not trace.dns_hosts:
        return "no kube-dns Pod is ready"
    bad = [node for node, answers in trace.dns_hosts if not answers]
    good = [node for node, answers in trace.dns_hosts if answers]
    if not bad:
        return f"every kube-dns Pod is where it is reached, on {_few(good)}"
    lost = f"{len(bad)} of {len(trace.dns_hosts)} kube-dns Pods on {_few(bad)}, whose Pod addresses nobody announces"
    return lost if bad else f"kube-dns on {_few(good)}"


def _few(names: Iterable[str]) -> str:
    distinct = sorted(set(names))
    return ", ".join(distinct[:4]) + (f" and {len(distinct) - 4} more" if len(distinct) > 4 else "")


def _per_node(stage: Stage, plays: Weighted) -> dict[str, DnsView]:
    views = {number: _node_view(number, plays) for number in stage.observers}
    return {node.name: views[stage.like[number]] for number, node in enumerate(stage.world.nodes)}


def _node_view(number: int, plays: Weighted) -> DnsView:
    tallies: list[dict[Dns, float]] = [defaultdict(float) for _ in range(3)]
    for weight, trace in plays:
        states = (trace.during.get(number, Dns.UNKNOWN), trace.after[number], trace.rolled_back[number])
        for tally, state in zip(tallies, states, strict=True):
            tally[state] += weight
    during, after, rolled_back = (max(sorted(tally), key=tally.__getitem__) for tally in tallies)
    return DnsView(during_cut=during, after_heal=after, after_rollback=rolled_back)


# -- what it comes to ----------------------------------------------------------------------------------------


def _chances(stage: Stage, plays: Weighted) -> dict[Forecast, float]:
    weights: dict[Forecast, float] = defaultdict(float)
    total = sum(weight for weight, _ in plays)
    for weight, trace in plays:
        weights[_forecast(_overall(stage, trace.after), trace)] += weight / total
    return dict(weights)


def _forecast(state: Dns, trace: Trace) -> Forecast:
    if state is Dns.UNKNOWN:
        return Forecast.UNKNOWN
    well = (
        state is Dns.RESOLVABLE
        and not trace.stuck
        and not (trace.xds_lost_s < trace.xds_back_s == float("inf"))
    )
    return Forecast.PASSED if well else Forecast.DEVIATED


def _assumptions(stage: Stage) -> Iterable[str]:
    world = stage.world
    if world.dns is None:
        yield "no Service kube-system/kube-dns in the snapshot: how DNS fares is unknown"
    elif not stage.dns_pods:
        yield f"no Pod is behind {world.dns.subject}: how DNS fares is unknown"
    if stage.routes.unknown_why:
        yield stage.routes.unknown_why
    if not stage.hubs:
        yield "no node keeps the control plane: it is taken to run outside of the snapshot's nodes"
    if lost := [world.nodes[n].name for n in stage.cut if n not in stage.fleet_of]:
        yield f"{_few(lost)}: not Ready before the cut, and taken to stay so"
    if stage.fleet.simulated:
        yield f"KWOK plays {len(stage.fleet.simulated)} of the cut nodes: they are back as soon as it goes on"
    if masters := [world.nodes[n].name for n in stage.cut if world.nodes[n].control_plane]:
        yield f"{_few(masters)}: the leading controller-manager and scheduler are taken to run on a node that isn't cut"
    if strangers := {pod.spec.scheduler for pod in stage.dns_pods} - {DEFAULT_SCHEDULER}:
        yield f"kube-dns is placed by {_few(strangers)}, taken to choose as {DEFAULT_SCHEDULER} does"
    if not stage.follows_all:
        yield f"more than {WATCH_ALL_PODS} Pods on cut nodes: all but kube-dns and istiod are counted, not placed"
    if any(age is None for age in stage.fleet.ages_s):
        yield "lease ages at the cut aren't known: each is taken as equally likely"
    yield "images are on every node, and nobody else changes the cluster meanwhile"


def _mesh(stage: Stage, plays: Weighted) -> dict[str, Any]:
    world = stage.world
    if world.mesh is None:
        return {"present": False}
    kinds = Counter(sidecar(pod.spec).value for pod in stage.meshed)
    lost = sum(weight for weight, trace in plays if trace.xds_lost_s < float("inf"))
    back = sum(weight for weight, trace in plays if trace.xds_back_s < float("inf"))
    return {
        "present": True,
        "istiod_on": sorted({pod.node for pod in stage.istiod_pods}),
        "sidecars": {kind: kinds[kind] for kind in sorted(kinds) if kind != Sidecar.NONE.value},
        "xds_lost_probability": round(min(1.0, lost), 3),
        "xds_restored_probability": round(min(1.0, back), 3),
        "stuck_pods": round(sum(weight * trace.stuck.total() for weight, trace in plays), 1),
    }


def _workloads(stage: Stage, plays: Weighted) -> dict[str, Any]:
    """Workload -> Pods that are, on average, evicted, and at the end pending or stuck; only those that are hit."""
    found: dict[str, dict[str, float]] = {}
    for weight, trace in plays:
        for field_, counts in (
            ("evicted", trace.evicted),
            ("pending", trace.pending),
            ("stuck", trace.stuck),
        ):
            for (namespace, owner), number in counts.items():
                row = found.setdefault(stage.named(namespace, owner), {})
                row[field_] = row.get(field_, 0.0) + weight * number
    others = sum(weight * trace.others_evicted for weight, trace in plays)
    rows = {
        name: {key: round(value, 2) for key, value in sorted(row.items())}
        for name, row in sorted(found.items())
    }
    return rows | ({"(others)": {"evicted": round(others, 1)}} if others else {})
