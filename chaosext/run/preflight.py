"""What is known before the run touches anything: timings, nodes without BGP, the duration of the cut.

The rehearsal predicts the effects.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.checks.kube_dns_placement import KUBE_DNS_SELECTOR
from chaosext.checks.live_objects import Taking
from chaosext.cluster.timings import timings_from
from chaosext.model.duration_text import short_duration
from chaosext.model.errors import ChaosextError, Refused, Unreachable, understood
from chaosext.model.files import write_pieces
from chaosext.model.result import Briefing
from chaosext.model.timeline import Kind
from chaosext.rehearsal.predict.outlook import outlook
from chaosext.rehearsal.predict.predict import Rehearsal
from chaosext.rehearsal.simulate.time_budget import TimeBudget
from chaosext.rehearsal.snapshot.cut_targets import cut_nodes
from chaosext.rehearsal.snapshot.node_patterns import behind
from chaosext.rehearsal.snapshot.reader import read_snapshot
from chaosext.run.course import Course, course_of
from chaosext.run.fault.cut_plan import chosen
from chaosext.run.fault.irrevocable import meaning
from chaosext.run.rollback.kube_dns import peered_names
from chaosext.run.session.connection import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Node
    from chaosext.experiment.resolve import Resolved
    from chaosext.experiment.settings import Settings
    from chaosext.rehearsal.simulate.planned_cut import Plan
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
    return () if ttl_s is None else (f"the cut lasts at most {short_duration(ttl_s)}",)


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
        found = rehearse_into(resolved, directory)
        if found is None:
            return OwnRehearsal()
        keep(found.prediction)
    except Exception as error:  # the run continues without a prediction
        said = f": {error}" if isinstance(error, ChaosextError) else ""
        return OwnRehearsal(lines=(f"no prediction: {type(error).__name__}{said}",))
    lines = outlook(found.prediction, found.world, found.plan.cut_nodes)
    return OwnRehearsal(prediction=found.prediction, lines=lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedCourse:
    """The prediction of an experiment's course on a cluster, with its question."""

    world: World
    plan: Plan
    prediction: Prediction


def rehearse_into(resolved: Resolved, directory: Path) -> RehearsedCourse | None:
    """Take a snapshot of the experiment's cluster into `directory`, and predict a run that begins now.

    The snapshot is `snapshot.json.gz`. Returns None if the experiment cuts nothing. Raises a `ChaosextError` if the
    cluster can't be read or simulated.
    """
    course = course_of(resolved)
    if course is None:
        return None
    path = directory / SNAPSHOT
    _take(connect(resolved.settings), path)
    world = read_snapshot([path])
    return _predict(world, cut_nodes(world, ",".join(resolved.settings.cut_nodes)), course)


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


def _predict(world: World, nodes: frozenset[str], course: Course) -> RehearsedCourse:
    """The course; if the experiment heals once kube-dns has moved, that time is predicted first."""
    rehearsal, budget = Rehearsal(world), TimeBudget.of(SIMULATED_WITHIN_S)
    heals_s = course.lasts_s
    if course.moves_s is not None:
        waits_s = course.waits_until_s
        sketched = replace(course, settle_s=None).plan(world, nodes, waits_s)
        first = rehearsal.of(sketched, samples=SKETCH, budget=budget.share(SKETCHED))
        heals_s = min(waits_s, course.healed_s(moved_s(first, world, nodes, waits_s) + NOTICED_S))
    plan = course.plan(world, nodes, heals_s)
    return RehearsedCourse(world=world, plan=plan, prediction=rehearsal.of(plan, budget=budget))


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
