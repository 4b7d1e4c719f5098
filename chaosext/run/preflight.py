"""What is known before the run touches anything: timings, nodes without BGP, the duration of the cut.

The rehearsal predicts the effects.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaosext.checks.kube_dns_placement import KUBE_DNS_SELECTOR
from chaosext.cluster.timings import timings_from
from chaosext.experiment.activity_names import (
    CUT_EFFECTIVE,
    HEAL,
    KUBE_DNS_MOVED,
    RESCHEDULE,
    SEVER,
    STEADY_STATE,
)
from chaosext.experiment.load import activities, calls, is_ours
from chaosext.model.errors import ChaosextError, Refused, Unreachable, understood
from chaosext.model.files import write_pieces
from chaosext.model.result import Briefing
from chaosext.model.timeline import Kind
from chaosext.partition.cut import FAMILIES
from chaosext.rehearsal.predict.outlook import outlook
from chaosext.rehearsal.predict.predict import Rehearsal
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.time_budget import TimeBudget
from chaosext.rehearsal.snapshot.cut_targets import cut_nodes
from chaosext.rehearsal.snapshot.node_patterns import behind
from chaosext.rehearsal.snapshot.reader import read_snapshot
from chaosext.rehearsal.snapshot.world import Doubt
from chaosext.run.fault.cut_plan import chosen
from chaosext.run.fault.irrevocable import meaning
from chaosext.run.rollback.kube_dns import peered_names
from chaosext.run.session.connection import connect
from chaosext.run.session.live_snapshot import Taking

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Node
    from chaosext.experiment.cut_request import CutRequest
    from chaosext.experiment.resolve import Resolved
    from chaosext.experiment.settings import Settings
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.snapshot.world import World
    from chaosext.run.session.run_directory import RunDirectory

CONTROL_PLANE_PODS = "component in (kube-controller-manager,kube-apiserver)"


def brief(cluster: Cluster, settings: Settings, ttl_s: float | None) -> Briefing:
    """Read from the API server what matters for a cut of `ttl_s` (None: no cut) of the nodes that lose it."""
    nodes = cluster.nodes()
    pods = cluster.pods("kube-system", KUBE_DNS_SELECTOR)
    dns_nodes = sorted({pod.node for pod in pods if pod.node and not pod.terminating})
    with understood(f"the API server of context {cluster.context}"):
        static = cluster.items("pods", namespace="kube-system", labelSelector=CONTROL_PLANE_PODS)
        timings = timings_from(static)
    lost = chosen(nodes, settings.cut_nodes)
    lasting = meaning(lost, ttl_s) if settings.is_sealed and ttl_s is not None else ()
    return Briefing(
        context=cluster.context,
        timings=timings.to_json(),
        outlook=(*_ttl_lines(ttl_s), *lasting),
        unpeered_nodes=unpeered(nodes, peered_names(cluster)),
        kube_dns_nodes=tuple(dns_nodes),
    )


def unpeered(nodes: Collection[Node], peered: Collection[str]) -> tuple[str, ...]:
    """The nodes that no other node learns routes to."""
    return tuple(sorted(node.name for node in nodes if node.name not in peered))


def _ttl_lines(ttl_s: float | None) -> tuple[str, ...]:
    return () if ttl_s is None else (f"the cut lasts at most {ttl_s:g} s",)


SNAPSHOT, REHEARSAL = "snapshot.json.gz", "rehearsal.json"

TAKEN_WITHIN_S = 8.0
SIMULATED_WITHIN_S = 30.0
"""Time limit for simulations, seconds; what is not simulated by then is unknown."""

MOST_PODS = 20_000
"""Larger clusters need `chaosext rehearse`: a run should not wait for it."""

SKETCH, SKETCHED = 60, 0.3
"""Simulations that predict when kube-dns moves, and their share of that time."""

NOTICED_S = 2.0
"""From kube-dns' last move to the heal, seconds: the probe runs once a second, and healing takes time, too."""

PROVEN_S = 5.0
"""Duration of `cut_effective`, seconds: dropped connections time out, first in one direction, then in the other."""

CUT_WITHIN_S = 60.0
"""From the snapshot to the cut, seconds: the baseline is checked in between."""

AFTERWARDS_S = 240.0
"""Observed time after a rollback, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Durations of an experiment's parts, in seconds.

    `lasts_s`: the cut, as far as the experiment says: until it is healed or expires.
    `moves_s`: how long it waits for kube-dns to move before it heals; None: it doesn't wait for that.
    `settle_s`: from the heal to the rollback; None: no rollback.
    `doubts`: why the real cut differs from the rehearsed one.
    """

    lasts_s: float
    moves_s: float | None = None
    settle_s: float | None = None
    doubts: tuple[Doubt, ...] = ()

    def plan(self, world: World, nodes: frozenset[str], cut_for_s: float) -> Plan:
        """The plan of a cut of this length, soon after the snapshot."""
        rollback_s = None if self.settle_s is None else cut_for_s + self.settle_s
        horizon_s = (rollback_s or cut_for_s) + AFTERWARDS_S
        return Plan(
            cut_nodes=nodes,
            cut_for_s=cut_for_s,
            horizon_s=horizon_s,
            rollback_s=rollback_s,
            cut_at=world.taken_at,
            cut_within_s=CUT_WITHIN_S,
            doubts=self.doubts,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRehearsal:
    """The predicted effect of a cut, also in lines for people; without a prediction the line says why."""

    prediction: Prediction | None = None
    lines: tuple[str, ...] = ()


def rehearse_run(resolved: Resolved, directory: RunDirectory) -> OwnRehearsal:
    """The run's rehearsal. Leaves `snapshot.json.gz` and `rehearsal.json` in its directory."""

    def keep(prediction: Prediction) -> None:
        directory.write_json(REHEARSAL, prediction.to_json())

    return _rehearsed(resolved, directory.inside, keep)


def rehearse_apart(resolved: Resolved) -> OwnRehearsal:
    """The rehearsal of a run that is not made now. Writes nothing."""
    with tempfile.TemporaryDirectory(prefix="chaosext-preflight-") as directory:
        return _rehearsed(resolved, Path(directory), lambda _: None)


def _rehearsed(resolved: Resolved, directory: Path, keep: Callable[[Prediction], None]) -> OwnRehearsal:
    try:
        course = course_of(resolved)
        if course is None:
            return OwnRehearsal()
        path = directory / SNAPSHOT
        _take(connect(resolved.settings), path)
        world = read_snapshot([path])
        nodes = cut_nodes(world, ",".join(resolved.settings.cut_nodes))
        prediction = _predict(world, nodes, course)
        keep(prediction)
    except Exception as error:  # the run continues without a prediction
        said = f": {error}" if isinstance(error, ChaosextError) else ""
        return OwnRehearsal(lines=(f"no prediction: {type(error).__name__}{said}",))
    return OwnRehearsal(prediction=prediction, lines=outlook(prediction, world, nodes))


def course_of(resolved: Resolved) -> Course | None:
    """The course of the experiment by its arguments; None if it cuts nothing."""
    wishes = [wish for _, wish in resolved.wishes()]
    ttls = [wish.ttl_s for wish in wishes]
    if not ttls:
        return None
    held = () if resolved.settings.is_sealed else _while_cut(resolved)  # it lasts its TTL
    moves_s = _argument(resolved, KUBE_DNS_MOVED, "timeout_s") if held else None
    rolls_back = any(True for _ in calls(resolved.experiment, RESCHEDULE))
    return Course(
        lasts_s=max(ttls) if moves_s is not None else min(max(ttls), _held_s(resolved, held)),
        moves_s=moves_s,
        settle_s=(_argument(resolved, STEADY_STATE, "settle_s") or 0.0) if rolls_back else None,
        doubts=tuple(_doubts(wishes)),
    )


def _doubts(wishes: Sequence[CutRequest]) -> Iterator[Doubt]:
    """Doubts: a rehearsal covers one cut that drops all traffic between the control plane and the cut nodes."""
    subject = "the experiment"
    if len(wishes) > 1:
        yield Doubt(subject=subject, why=f"it makes {len(wishes)} cuts; a rehearsal covers one")
    if any(wish.peers for wish in wishes):
        yield Doubt(
            subject=subject, key="peers", why="it limits what is cut off; a rehearsal covers all nodes"
        )
    if any(set(wish.families) != set(FAMILIES) for wish in wishes):
        yield Doubt(
            subject=subject, key="families", why="it cuts one address family; a rehearsal covers both"
        )


def _while_cut(resolved: Resolved) -> tuple[dict[str, Any], ...]:
    """The method's activities from the cut to the heal, both included; none if it never heals."""
    method = [activity for place, activity in activities(resolved.experiment) if place.startswith("method")]
    funcs = [(activity.get("provider") or {}).get("func") for activity in method]
    if SEVER not in funcs or HEAL not in funcs[funcs.index(SEVER) :]:
        return ()
    sever = funcs.index(SEVER)
    return tuple(method[sever : funcs.index(HEAL, sever) + 1])


def _held_s(resolved: Resolved, held: Sequence[dict[str, Any]]) -> float:
    """Duration of these, as far as known: pauses, and verifying the cut. Infinite if some are not chaosext's."""
    if not held or not all(is_ours(activity) for activity in held):
        return float("inf")
    after = sum(_pause_s(resolved, activity, "after") for activity in held[:-1])
    before = sum(_pause_s(resolved, activity, "before") for activity in held[1:])
    proofs = [each for each in held if each["provider"]["func"] == CUT_EFFECTIVE]
    return after + before + PROVEN_S * len(proofs)


def _pause_s(resolved: Resolved, activity: dict[str, Any], when: str) -> float:
    """Chaos Toolkit's `pauses` (seconds), which the configuration may define."""
    return float(resolved.looked_up(activity.get("pauses")).get(when) or 0.0)


def _argument(resolved: Resolved, func: str, name: str) -> float | None:
    """The argument of the method's first call of `func`."""
    for place, activity in calls(resolved.experiment, func):
        if place.startswith("method"):
            arguments = resolved.looked_up(activity["provider"].get("arguments"))
            return float(arguments[name]) if name in arguments else None
    return None


def _take(cluster: Cluster, path: Path) -> None:
    """Take a snapshot. Raises `Unreachable` if it takes too long, `Refused` for a large or unreadable cluster."""
    pieces = _bounded(Taking(cluster=cluster, page_s=TAKEN_WITHIN_S))
    write_pieces(path, pieces, fsync=False, gzipped=True)


def _bounded(taking: Taking) -> Iterator[str]:
    end_s = time.monotonic() + TAKEN_WITHIN_S
    for text in taking.text():
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            raise Unreachable(f"no snapshot within {TAKEN_WITHIN_S:g} s")
        if taking.counts.get("Pod", 0) > MOST_PODS:
            raise Refused(
                f"more than {MOST_PODS} Pods", "rehearse separately: chaosext snapshot, chaosext rehearse"
            )
        taking.page_s = left_s
        yield text


def _predict(world: World, nodes: frozenset[str], course: Course) -> Prediction:
    """The course; if the experiment heals once kube-dns has moved, that time is predicted first."""
    rehearsal, budget = Rehearsal(world), TimeBudget.of(SIMULATED_WITHIN_S)
    if course.moves_s is None:
        return rehearsal.of(course.plan(world, nodes, course.lasts_s), budget=budget)
    waits_s = min(course.lasts_s, course.moves_s)
    sketched = replace(course, settle_s=None).plan(world, nodes, waits_s)
    first = rehearsal.of(sketched, samples=SKETCH, budget=budget.share(SKETCHED))
    heals_s = min(waits_s, moved_s(first, world, nodes, waits_s) + NOTICED_S)
    return rehearsal.of(course.plan(world, nodes, heals_s), budget=budget)


def moved_s(found: Prediction, world: World, nodes: frozenset[str], waits_s: float) -> float:
    """When kube-dns is expected to have left the cut nodes, and to be Ready or Pending elsewhere.

    `waits_s` if it is not expected to leave all of them by then.
    """
    if not found.simulations.is_whole:
        return waits_s
    pods = behind(world.dns, world.pods)
    heirs = {f"Pod/{pod.namespace}/{pod.owner.partition('/')[2]}-*" for pod in pods}
    leavers = {pod.subject for pod in pods if pod.node in nodes}
    usual = [event for event in found.timeline if event.probability > 0.5 and event.t_s < waits_s]
    left = [event.t_s for event in usual if event.kind is Kind.POD_EVICTED and event.object in leavers]
    settled = (Kind.POD_READY, Kind.POD_PENDING)
    back = [event.t_s for event in usual if event.kind in settled and event.object in heirs]
    return max(*left, *back) if leavers and len(left) == len(leavers) <= len(back) else waits_s
