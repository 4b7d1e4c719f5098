"""The rehearsal: predicts the effect of a plan on a world.

It merges simulations into a timeline and into the probability of each outcome. Anything that was not
simulated within the time budget, or that depends on unproven routes, counts as unknown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

from chaosext.rehearsal.predict.alike_events import classes_of, pooled
from chaosext.rehearsal.predict.alternatives import agreed
from chaosext.rehearsal.predict.dns_outages import DnsOutages
from chaosext.rehearsal.predict.evidence import rests_on
from chaosext.rehearsal.predict.impact_merge import ImpactMerge
from chaosext.rehearsal.simulate import dns_lookups
from chaosext.rehearsal.simulate.inputs import WATCH_ALL_PODS, SimulationInputs
from chaosext.rehearsal.simulate.prediction import (
    DOWN_BEFORE,
    Dns,
    DnsView,
    Forecast,
    Otherwise,
    PredictedOutcome,
    Prediction,
    RoutesLost,
    Simulated,
)
from chaosext.rehearsal.simulate.scheduler_cache import Board
from chaosext.rehearsal.simulate.sidecar_kinds import SidecarKind, sidecar
from chaosext.rehearsal.simulate.simulations import Simulations
from chaosext.rehearsal.simulate.time_budget import UNBOUNDED
from chaosext.rehearsal.snapshot.mesh_detection import MODELLED
from chaosext.rehearsal.snapshot.world import Doubt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from chaosext.rehearsal.simulate.impact import Way
    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.simulate.simulation import Trace
    from chaosext.rehearsal.simulate.simulations import Made
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import Alternative, OtherMesh, World

State = TypeVar("State", Dns, Forecast)

DEFAULT_SCHEDULER = "default-scheduler"

WITHOUT_ALTERNATIVES = 0.7
"""Share of the time budget for the prediction itself, if assumptions are simulated both ways."""

MOST_SAMPLES, SHARE = 60, 6
"""Simulations with an assumption turned: at most so many, and a sixth of those without."""

MAJORITY = 0.5
"""With simulations missing, a result needs more than this share of all wanted ones: the rest cannot outweigh it."""


def rehearse(
    world: World,
    plan: Plan,
    *,
    samples: int | None = None,
    seed: int = 0,
    with_timeline: bool = True,
    budget: TimeBudget = UNBOUNDED,
) -> Prediction:
    """Predict the effect of the plan on the world.

    `samples` is the number of random simulations, None to enumerate or to choose a number by size. Without
    its timeline, a prediction takes two thirds of the time. If the budget ends early, the prediction says so
    and has a larger unknown share.

    Raises `Refused` if the plan does not fit the world.
    """
    return Rehearsal(world).of(plan, samples=samples, seed=seed, with_timeline=with_timeline, budget=budget)


class Rehearsal:
    """A world on which many plans are simulated; everything that does not depend on the plan is prepared once."""

    def __init__(self, world: World) -> None:
        self._world, self._board = world, Board(world)
        self._prepared: SimulationInputs | None = None

    def of(
        self,
        plan: Plan,
        *,
        samples: int | None = None,
        seed: int = 0,
        with_timeline: bool = True,
        budget: TimeBudget = UNBOUNDED,
        alternatives: bool = True,
    ) -> Prediction:
        """Predict the effect of the plan, as `rehearse` does.

        With `alternatives`, a pass is one only if no assumption could turn it.
        """
        is_alone = not (alternatives and self._world.alternatives)
        first = budget if is_alone else budget.share(WITHOUT_ALTERNATIVES)
        stage = self._inputs(plan)
        wanted = Simulations(stage=stage, seed=seed, with_timeline=with_timeline, budget=first)
        found = _Merged(stage, wanted.made(samples)).prediction()
        if is_alone or found.verdict is not Forecast.PASSED:
            return found
        return agreed(found, self.otherwise(plan, found, seed=seed, budget=budget))

    def otherwise(
        self, plan: Plan, found: Prediction, *, seed: int = 0, budget: TimeBudget = UNBOUNDED
    ) -> tuple[Otherwise, ...]:
        """Predict the effect of the plan with each assumption turned that could turn the outcome."""
        count = max(1, min(MOST_SAMPLES, found.simulations.made // SHARE))
        stage, every = self._inputs(plan), self._world.alternatives

        def turned(each: Alternative, part: TimeBudget) -> Otherwise:
            other = stage.turned(each.apply(self._world))
            wanted = Simulations(stage=other, seed=seed, with_timeline=False, budget=part)
            return Otherwise(alternative=each, prediction=_Merged(other, wanted.made(count)).prediction())

        return tuple(turned(each, budget.share(1 / (len(every) - at))) for at, each in enumerate(every))

    def _inputs(self, plan: Plan) -> SimulationInputs:
        """Return the inputs of the plan's simulations, those of the last plan again."""
        if self._prepared is None or self._prepared.plan is not plan:
            self._prepared = SimulationInputs(self._world, plan, self._board)
        return self._prepared


class _Merged:
    """The merged result of a cut's simulations."""

    def __init__(self, stage: SimulationInputs, made: Made) -> None:
        self._stage, self._made, self._plays = stage, made, made.plays
        self._missing = 1 - made.made / made.wanted
        self._dns_outages = DnsOutages(stage, self._missing)

    def prediction(self) -> Prediction:
        stage, made = self._stage, self._made
        impact = ImpactMerge(stage, self._plays, self._missing)
        plays = list(zip(self._plays, impact.ways, strict=True))
        forecasts = [_verdict(stage, trace, way) for (_, trace), way in plays]
        weights = self._weights(
            (share, forecast) for (share, _), forecast in zip(self._plays, forecasts, strict=True)
        )
        healing = self._weights((share, _healing(stage, trace, way)) for (share, trace), way in plays)
        verdict = self._settled(weights, Forecast.UNKNOWN)
        heals = self._settled(healing, Forecast.UNKNOWN)
        per_node = self._per_node()
        judged = [per_node[stage.world.nodes[number].name] for number in stage.judged]
        outcomes, after_heal = self._outcomes()
        return Prediction(
            assumptions=(*stage.world.assumptions, *_assumptions(stage)),
            timings=stage.world.control_plane.to_json(),
            timeline=pooled(made.timeline, classes_of(stage)) if made.sampled else made.timeline,
            dns=DnsView(
                during_cut=dns_lookups.overall(each.during_cut for each in judged),
                after_heal=after_heal,
                after_rollback=self._likeliest(
                    (share, _overall(stage, trace.rolled_back)) for share, trace in self._plays
                ),
                outage=self._dns_outages.on_nodes(self._plays, stage.judged),
            ),
            dns_per_node=per_node,
            mesh=self._mesh(),
            workloads=self._workloads(),
            outcomes=outcomes,
            self_heals=None if heals is Forecast.UNKNOWN else heals is Forecast.PASSED,
            verdict=verdict,
            method=made.told,
            chances=weights,
            healing=healing,
            impact=impact.impact() if made.made else None,
            samples=made.made if made.sampled else 0,
            simulations=Simulated(made=made.made, wanted=made.wanted),
            routes=stage.routes.proof,
            routes_lost=self._routes_lost(),
            outages=self._dns_outages.told(
                self._plays,
                [
                    play
                    for play, forecast in zip(self._plays, forecasts, strict=True)
                    if forecast is not Forecast.DEVIATED
                ],
            ),
            doubts=(*stage.doubts, *self._doubts_of_meshes()),
            evidence=rests_on(stage),
        )

    # -- probabilities
    # -------------------------------------------------------------------------------------------

    def _weights(self, states: Iterable[tuple[float, State]]) -> dict[State, float]:
        """Return state -> its share of all wanted simulations."""
        found: dict[State, float] = defaultdict(float)
        for share, state in states:
            found[state] += share * (1 - self._missing) if self._missing else share
        return found

    def _settled(self, weights: dict[State, float], unknown: State) -> State:
        """Return the likeliest state, unknown if missing simulations could change it; add their share to `weights`."""
        if self._missing:
            weights[unknown] = weights.get(unknown, 0.0) + self._missing
        first = max(sorted(weights), key=weights.__getitem__)
        return unknown if self._missing and weights[first] <= MAJORITY else first

    def _likeliest(self, states: Iterable[tuple[float, Dns]]) -> Dns:
        return self._settled(self._weights(states), Dns.UNKNOWN)

    @property
    def _is_whole(self) -> bool:
        """Whether all simulations ran, with proven routes."""
        return not self._missing and self._stage.routes.proof.holds

    # -- DNS -------------------------------------------------------------------------------------------------

    def _outcomes(self) -> tuple[tuple[PredictedOutcome, ...], Dns]:
        """Return every state of DNS after the heal, likeliest first, and the likeliest state."""
        stage = self._stage
        whys: dict[Dns, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        states = [(share, _overall(stage, trace.after), trace) for share, trace in self._plays]
        for share, state, trace in states:
            whys[state][_why(stage, state, trace)] += share
        weights = self._weights((share, state) for share, state, _ in states)
        likeliest = self._settled(weights, Dns.UNKNOWN)
        if self._missing:
            whys[Dns.UNKNOWN][f"only {self._made.told}"] += self._missing
        ranked = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))
        outcomes = tuple(
            PredictedOutcome(
                dns_after_heal=state,
                probability=weight,
                why=max(sorted(whys[state]), key=whys[state].__getitem__),
            )
            for state, weight in ranked
        )
        return outcomes, likeliest

    def _per_node(self) -> dict[str, DnsView]:
        stage = self._stage
        views = {number: self._node_view(number) for number in stage.observers}
        return {node.name: views[stage.like[number]] for number, node in enumerate(stage.world.nodes)}

    def _node_view(self, number: int) -> DnsView:
        plays = self._plays
        return DnsView(
            during_cut=self._likeliest(
                (share, trace.during.get(number, Dns.UNKNOWN)) for share, trace in plays
            ),
            after_heal=self._likeliest((share, trace.after[number]) for share, trace in plays),
            after_rollback=self._likeliest((share, trace.rolled_back[number]) for share, trace in plays),
            outage=self._dns_outages.on_node(plays, number),
        )

    def _routes_lost(self) -> RoutesLost:
        lost = [
            (share, trace.routes_lost_s) for share, trace in self._plays if trace.routes_lost_s < float("inf")
        ]
        if not lost:
            return RoutesLost()
        stage = self._stage
        return RoutesLost(
            probability=min(1.0, sum(share for share, _ in lost)),
            nodes=sum(stage.like[number] in stage.stranded for number in stage.like),
            earliest_s=min(t for _, t in lost),
            latest_s=max(t for _, t in lost),
        )

    # -- the mesh and the workloads --------------------------------------------------------------------------

    def _mesh(self) -> dict[str, Any]:
        """Return facts about the mesh; probabilities and counts of Pods are None if unknown."""
        stage, plays = self._stage, self._plays
        unmodelled = [each.name for each in stage.world.other_meshes]
        more = {"unmodelled": unmodelled} if unmodelled else {}
        if stage.world.mesh is None:
            return {"present": False, **more}
        kinds = Counter(sidecar(pod.spec).value for pod in stage.meshed)
        lost = sum(share for share, trace in plays if trace.xds_lost_s < float("inf"))
        back = sum(share for share, trace in plays if trace.xds_back_s < float("inf"))
        stuck = sum(share * trace.stuck.total() for share, trace in plays)
        known = self._is_whole
        return {
            "present": True,
            **more,
            "istiod_on": sorted({pod.node for pod in stage.istiod_pods}),
            "sidecars": {kind: kinds[kind] for kind in sorted(kinds) if kind != SidecarKind.NONE.value},
            "xds_lost_probability": round(min(1.0, lost), 3) if known else None,
            "xds_restored_probability": round(min(1.0, back), 3) if known else None,
            "stuck_pods": round(stuck, 1) if known else None,
        }

    def _doubts_of_meshes(self) -> Iterator[Doubt]:
        """Yield each mesh that isn't modelled and whose Pods the cut moves."""
        for mesh in self._stage.unmodelled:
            if any(_moves(mesh, trace) for _, trace in self._plays):
                said = f"{mesh.name}: the cut evicts Pods that depend on it, and {mesh.why or MODELLED}"
                why = f"{said}; {mesh.settles} would settle it"
                yield Doubt(subject=mesh.subject, why=why)

    def _workloads(self) -> dict[str, Any]:
        """Return affected workload -> average numbers of Pods evicted, and at the end pending or stuck.

        `stuck` is None if unknown.
        """
        rows: dict[str, dict[str, float]] = {}
        for share, trace in self._plays:
            tallies = (("evicted", trace.evicted), ("pending", trace.pending), ("stuck", trace.stuck))
            for name, counts in tallies:
                for key, number in counts.items():
                    row = rows.setdefault(self._stage.named(*key), {})
                    row[name] = row.get(name, 0.0) + share * number
        found: dict[str, Any] = {
            name: {key: round(value, 2) for key, value in sorted(row.items())} | self._unknown_stuck
            for name, row in sorted(rows.items())
        }
        others = sum(share * trace.others_evicted for share, trace in self._plays)
        return found | ({"(others)": {"evicted": round(others, 1)}} if others else {})

    @property
    def _unknown_stuck(self) -> dict[str, None]:
        known = self._is_whole or self._stage.world.mesh is None
        return {} if known else {"stuck": None}


def _overall(stage: SimulationInputs, states: Mapping[int, Dns]) -> Dns:
    return dns_lookups.overall(states[number] for number in stage.judged)


def _verdict(stage: SimulationInputs, trace: Trace, way: Way) -> Forecast:
    """Return the forecast of one simulation: a lost quorum is an outage even if everything heals."""
    if way.quorums:
        return Forecast.DEVIATED
    heals = _healing(stage, trace, way)
    return Forecast.UNKNOWN if heals is Forecast.PASSED and way.unsure_quorums else heals


def _healing(stage: SimulationInputs, trace: Trace, way: Way) -> Forecast:
    """Return whether the cluster heals by itself: DNS, sidecars, and an endpoint of every Service that had one."""
    if way.ended:
        return Forecast.DEVIATED
    heals = _forecast(stage, trace)
    return Forecast.UNKNOWN if heals is Forecast.PASSED and way.unsure_ended else heals


def _forecast(stage: SimulationInputs, trace: Trace) -> Forecast:
    """Return whether DNS and sidecars heal. Lost DNS is an outage with any routes; a pass requires proven routes."""
    state = _overall(stage, trace.after)
    if state in (Dns.DEAD, Dns.PARTIAL):
        return Forecast.DEVIATED
    if state is Dns.UNKNOWN or not stage.routes.proof.holds or stage.doubts:
        return Forecast.UNKNOWN
    if any(_moves(mesh, trace) for mesh in stage.unmodelled):
        return Forecast.UNKNOWN
    unsynced = trace.xds_lost_s < trace.xds_back_s == float("inf")
    return Forecast.DEVIATED if trace.stuck or unsynced else Forecast.PASSED


def _moves(mesh: OtherMesh, trace: Trace) -> bool:
    """Whether a simulation evicts Pods of the mesh, or Pods that may be."""
    return bool(mesh.members and (trace.others_evicted or not mesh.members.isdisjoint(trace.evicted)))


def _why(stage: SimulationInputs, state: Dns, trace: Trace) -> str:
    if stage.world.dns is None:
        return "the snapshot contains no kube-dns Service"
    if stage.world.dns_doubts:
        return str(stage.world.dns_doubts[0])
    if not stage.knows_dns:
        return DOWN_BEFORE
    if state is Dns.UNKNOWN:
        return stage.routes.proof.why_not or "it is unknown which nodes reach kube-dns"
    if not trace.dns_hosts:
        return "no kube-dns Pod is ready"
    bad = [node for node, answers in trace.dns_hosts if not answers]
    good = [node for node, answers in trace.dns_hosts if answers]
    if not bad:
        return f"all kube-dns Pods are reachable, on {_few(good)}"
    lost = f"{len(bad)} of {len(trace.dns_hosts)} kube-dns Pods on {_few(bad)}, whose Pod addresses are not announced"
    return lost if bad else f"kube-dns on {_few(good)}"


def _few(names: Iterable[str]) -> str:
    distinct = sorted(set(names))
    return ", ".join(distinct[:4]) + (f" and {len(distinct) - 4} more" if len(distinct) > 4 else "")


def _assumptions(stage: SimulationInputs) -> Iterable[str]:
    world = stage.world
    if world.dns is None:
        yield "no Service kube-system/kube-dns in the snapshot: DNS is unknown"
    elif not stage.dns_pods:
        yield f"{world.dns.subject} has no Pods: DNS is unknown"
    elif world.dns_doubts:
        yield from (f"{each}: DNS is unknown" for each in world.dns_doubts)
    elif not stage.knows_dns:
        yield DOWN_BEFORE
    if not stage.routes.proof.holds:
        yield stage.routes.proof.why_not
    if not stage.hubs:
        yield "no node keeps the control plane: it is assumed to run outside the snapshot's nodes"
    if lost := [world.nodes[n].name for n in stage.cut if n not in stage.fleet_of]:
        yield f"{_few(lost)}: not Ready before the cut, and assumed to stay so"
    if stage.fleet.simulated:
        yield f"KWOK simulates {len(stage.fleet.simulated)} of the cut nodes: they return as soon as KWOK runs again"
    if masters := [world.nodes[n].name for n in stage.cut if world.nodes[n].control_plane]:
        yield f"{_few(masters)}: the active controller-manager and scheduler are assumed to run on an uncut node"
    if strangers := {pod.spec.scheduler for pod in stage.dns_pods} - {DEFAULT_SCHEDULER}:
        yield f"{_few(strangers)} schedules kube-dns, and is assumed to choose as {DEFAULT_SCHEDULER} does"
    if not stage.follows_all:
        many = f"more than {WATCH_ALL_PODS} Pods on cut nodes"
        yield f"{many}: of those evicted, {stage.most_evicted} are placed in a simulation, others are counted"
    if len(stage.plan.periods) > 1:
        yield "between two cuts, nodes reconnect as after a single one; recordings show single cuts only"
    if any(age is None for age in stage.fleet.ages_s):
        yield "the ages of the Leases at the cut are unknown: all are assumed equally likely"
    yield "images are on every node, and nothing else changes the cluster meanwhile"
