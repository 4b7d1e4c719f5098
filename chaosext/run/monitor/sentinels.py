"""The sentinels of a run: placed after the baseline, read every second, collected and removed at the end.

What they see is evidence, never a condition: no heal waits for them, and once the method has started, problems here
are reported and do not stop the run.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from chaosext.checks.cluster_model import ClusterModel
from chaosext.experiment.timeouts import longest_s
from chaosext.model.errors import ChaosextError, Refused, Unreachable
from chaosext.model.owner import Claim
from chaosext.model.poll import poll
from chaosext.model.timeline import Kind
from chaosext.run.agents import sentinel_pods
from chaosext.run.agents.diagnosis import WITHOUT
from chaosext.run.fault.state import fault_of
from chaosext.run.monitor.sentinel_plan import absent_lanes, gather, plan_for, planned_anew
from chaosext.run.monitor.sentinel_reader import NodeReading
from chaosext.run.session.connection import connect_to_act
from chaosext.run.session.run_context import Key
from chaosext.safety.audit_log import AuditEvent
from chaosext.timeline.sentinel_client import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from chaosext.cluster.client import Cluster
    from chaosext.experiment.resolve import Resolved
    from chaosext.experiment.settings import Settings
    from chaosext.model.result import Lane, NodeClock
    from chaosext.run.agents.sentinel_pods import Placed
    from chaosext.run.monitor.watchers import ObjectWatch, Watching
    from chaosext.run.session.run_context import RunContext
    from chaosext.sentinel.watch_plan import WatchPlan

PLACED_S = 60.0
"""Time for placing, seconds: an image that is on the nodes starts within seconds."""

SAMPLES, SAMPLED_S = 3, 15.0
"""Samples of each sentinel before the method starts: the state before the cut must be known."""

EVERY_S = 1.0
HANDS = 64
"""Threads: enough to read the rest every second if most of 100 nodes are unreachable."""

CALM_S = 1.0
"""A new plan is sent when nothing has changed for this long, seconds: endpoints come and go in bursts."""

FOLDER = "sentinels"
CLOCKS_SCHEMA = "chaosext.clocks/v1"
CLOCKS_EVERY_S = 10.0
"""Interval of writing clocks.json, seconds, so that a killed run leaves it, too."""

COLLECT_S, REMOVE_S = 10.0, 5.0
"""Time to collect the records and remove the sentinels at the end of a run, seconds."""

SHORTEST_END_S = 0.2
"""Time for both if a run that was asked to stop has none left, seconds: a request takes 0.1 s."""

HURRIED_S = 0.5
"""Minimum time for the request to remove them, seconds."""

LOOK_S, RETRY_S = 0.05, 0.5

CLEANUP = "`chaosext cleanup` removes them"

LONGEST_PLACING_S = PLACED_S + SAMPLED_S + REMOVE_S + 10.0
"""Time for all of placing, with reading the cluster before and cleaning up after it, seconds."""


ABSENT: Key[frozenset[Lane]] = Key(frozenset)
"""Lanes for which the sentinels have nothing to watch, as the cluster has none of it."""

HEARD: Key[dict[str, float]] = Key(dict)
"""Node -> when its sentinel was last heard of: the runner's monotonic time of the newest sample that was read."""


def place_sentinels(resolved: Resolved, context: RunContext, watching: Watching) -> None:
    """Place them if the experiment enables them. Requires the lock: a run that cuts nothing has none.

    Raises `Refused` if that fails: then none is left. `Unreachable`: the API server doesn't answer.
    """
    if resolved.settings.sentinel and fault_of(context).lock is not None:
        cluster = connect_to_act(resolved.settings)
        context.trail.require(AuditEvent.PLACING_SENTINELS)
        sentinels = context.stash[SENTINELS] = Sentinels(context, cluster, resolved.settings.namespace)
        sentinels.place(resolved.settings, watching.objects, longest_s(resolved))


class Sentinels:
    """The sentinels of the run `context`, on `cluster`. `problems`: what went wrong, a line each for the verdict."""

    def __init__(self, context: RunContext, cluster: Cluster, namespace: str) -> None:
        self.problems: list[str] = []
        self._context, self._cluster, self._namespace = context, cluster, namespace
        self._readings: dict[str, NodeReading] = {}
        self._troubled: set[str] = set()
        self._stop = threading.Event()
        self._is_over, self._hurried = False, threading.Event()

    @property
    def clocks(self) -> dict[str, NodeClock]:
        """Node -> its clocks compared with the runner's, if measured."""
        found = {node: reading.clocks.summary() for node, reading in self._readings.items()}
        return {node: clock for node, clock in found.items() if clock}

    def place(self, settings: Settings, objects: ObjectWatch, ends_after_s: float) -> None:
        """Place one on every node, and read them from now on. `objects` says what they should watch later.

        Raises `Refused` (and leaves nothing) if one can't be placed, can't be read from here, or does not sample.
        """
        token = sentinel_pods.new_token()
        ground = gather(self._cluster, settings.namespaces, ClusterModel(self._cluster).bgp)
        plan = plan_for(ground, self._context.id, ends_after_s)
        self._context.stash[ABSENT] = absent_lanes(plan)
        try:
            placed = self._placed(settings, plan, token)
            self._readings = self._readings_of(placed, token)
            expected = CurrentPlan(plan, objects)
            threading.Thread(target=self._go_on, args=(expected,), name="sentinels", daemon=True).start()
            self._require_samples(settings.sentinel_port)
        except ChaosextError:
            self._give_up()
            raise

    def finish(self, within_s: float | None = None, *, hurried: threading.Event | None = None) -> None:
        """Collect what is missing, note how each record ends, and remove them. Bounded, never raises; runs once.

        `within_s`: the time left for a run that was asked to stop; None without a limit. Once `hurried` is set it waits
        for nothing.
        """
        if self._is_over:
            return
        self._is_over, self._hurried = True, hurried or self._hurried
        self._stop.set()
        try:
            self._finish(within_s)
        except Exception as error:  # a verdict waits for them no more than a heal does
            self.problems.append(f"the sentinels' records may be incomplete: {type(error).__name__}: {error}")

    def _give_up(self) -> None:
        """Remove what was placed; leftovers become one of the `problems`."""
        self._stop.set()
        self._remove(REMOVE_S)
        self._is_over = True

    def _finish(self, within_s: float | None) -> None:
        over_s = time.monotonic()
        whole_s = COLLECT_S + REMOVE_S if within_s is None else max(SHORTEST_END_S, within_s)
        self._collect(min(COLLECT_S, whole_s / 2))
        self._remove(min(REMOVE_S, over_s + whole_s - time.monotonic()))
        for reading in self._readings.values():
            reading.close(over_s)
        for node, clock in self.clocks.items():
            self._context.recorder.say(Kind.CLOCK, f"Node/{node}", _in_words(clock))

    def reached(self, nodes: Collection[str], since_s: float, until_s: float) -> dict[str, int]:
        """Node -> the number of samples between these moments (monotonic) that reached an API server, if any."""
        counted = {
            node: reading.samples_reached(since_s, until_s)
            for node, reading in self._readings.items()
            if node in nodes
        }
        return {node: count for node, count in counted.items() if count}

    def write_clocks(self) -> None:
        """Write clocks.json, which converts samples in the records to seconds from the cut."""
        zero_s = self._context.recorder.zero_s
        if zero_s is None or not self._readings:
            return
        nodes = {
            node: {boot: offset.to_json(zero_s) for boot, offset in reading.clocks.offsets().items()}
            for node, reading in self._readings.items()
        }
        with suppress(OSError):  # a full disk; the run's end says so
            value = {"schema": CLOCKS_SCHEMA, "nodes": nodes}
            self._context.directory.write_json(f"{FOLDER}/clocks.json", value)

    def _placed(self, settings: Settings, plan: WatchPlan, token: str) -> Placed:
        return sentinel_pods.place(
            self._cluster,
            Claim(run=self._context.id, owner=self._context.owner),
            namespace=self._namespace,
            image=settings.sentinel_image,
            port=settings.sentinel_port,
            token=token,
            plan=plan,
            within_s=PLACED_S,
        )

    def _readings_of(self, placed: Placed, token: str) -> dict[str, NodeReading]:
        folder = self._context.directory.inside / FOLDER
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            path = self._context.directory.path / FOLDER
            raise Refused(
                f"run directory {path}: {error.strerror}", "free disk space there, then run again"
            ) from None
        return {
            node: NodeReading(
                Reader(node, address, placed.port, token),
                folder / f"{node}.jsonl",
                self._context.recorder,
                placed.plan,
            )
            for node, address in sorted(placed.addresses.items())
        }

    def _go_on(self, expected: CurrentPlan) -> None:
        """Read every node each second, until the run is over."""
        hands, due_s, written_s = Hands(min(HANDS, len(self._readings))), time.monotonic(), 0.0
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            plan = self._plan_by_now(expected)
            due = ((node, each) for node, each in self._readings.items() if each.is_due)
            hands.give((node, partial(self._visit, each, plan)) for node, each in due)
            due_s = max(due_s + EVERY_S, time.monotonic())
            if time.monotonic() - written_s >= CLOCKS_EVERY_S:
                self.write_clocks()
                written_s = time.monotonic()
        hands.dismiss()

    def _plan_by_now(self, expected: CurrentPlan) -> WatchPlan:
        """Update the plan; a failure here does not stop reading."""
        try:
            return expected.look()
        except Exception as error:
            self._say_once("what to watch", f"{type(error).__name__}: {error}")
            return expected.plan

    def _visit(self, reading: NodeReading, plan: WatchPlan) -> None:
        """Read a node; one that can't be read is read later, other problems are reported once."""
        try:
            reading.visit(plan)
        except Unreachable:
            pass
        except Exception as error:
            self._say_once(f"sentinel on {reading.node}", f"{type(error).__name__}: {error}")
        if reading.heard_s is not None:
            self._context.stash[HEARD][reading.node] = reading.heard_s

    def _say_once(self, what: str, trouble: str) -> None:
        if what not in self._troubled:
            self._troubled.add(what)
            self._context.recorder.say(Kind.OBSERVATION_LOST, f"Watch/{what}", trouble)

    def _require_samples(self, port: int) -> None:
        """Wait for the first samples, in the main thread: a run that is asked to stop leaves here."""

        def late() -> list[str]:
            return [node for node, each in self._readings.items() if each.samples < SAMPLES]

        if nodes := poll(late, until=lambda nodes: not nodes, within_s=SAMPLED_S, every_s=LOOK_S):
            fix = f"allow TCP from this machine to port {port} of every node, or {WITHOUT}"
            raise Refused(f"the sentinels on {', '.join(nodes)} can't be read, or don't sample", fix)

    def _collect(self, within_s: float) -> None:
        """Read the complete record of each node, which may come back only now; silent nodes block no other."""
        deadline_s, missing = time.monotonic() + within_s, dict(self._readings)
        hands = Hands(min(HANDS, len(missing)))
        while missing and not self._hurried.is_set() and (left_s := deadline_s - time.monotonic()) > 0:
            hands.give((node, partial(_end, each, missing)) for node, each in missing.copy().items())
            if hands.wait(min(RETRY_S, left_s)) and missing:
                self._hurried.wait(min(RETRY_S, max(0.0, deadline_s - time.monotonic())))
        missing.clear()
        hands.dismiss()

    def _remove(self, within_s: float) -> None:
        """Remove them; those not seen gone have stopped sampling, and a cleanup removes them later."""
        gone: list[bool] = []
        run, cluster, namespace = self._context.id, self._cluster, self._namespace
        removing = threading.Thread(
            target=lambda: gone.append(sentinel_pods.remove(cluster, namespace, run, within_s=within_s)),
            daemon=True,
        )
        removing.start()
        began_s = time.monotonic()
        while removing.is_alive() and time.monotonic() < began_s + within_s:
            removing.join(LOOK_S)
            within_s = min(within_s, HURRIED_S) if self._hurried.is_set() else within_s
        if any(gone):
            self._context.trail.note(AuditEvent.SENTINELS_REMOVED)
        else:
            self.problems.append(f"sentinels of run {run} may be left: {CLEANUP}")


@dataclass(slots=True)
class CurrentPlan:
    """The current plan: the one that was placed, with later changes from the API server."""

    plan: WatchPlan
    objects: ObjectWatch
    _seen: WatchPlan | None = None
    _since_s: float = 0.0

    def look(self) -> WatchPlan:
        """The plan, updated once the objects have not changed for `CALM_S`."""
        seen = self._now()
        if seen != self._seen:
            self._seen, self._since_s = seen, time.monotonic()
        elif time.monotonic() - self._since_s >= CALM_S:
            self.plan = seen
        return self.plan

    def _now(self) -> WatchPlan:
        if not self.objects.has_begun:
            return self.plan
        objects = self.objects
        return planned_anew(self.plan, objects.dns_endpoints, objects.meshed, objects.pods)


def _end(reading: NodeReading, missing: dict[str, NodeReading]) -> None:
    """Read the complete record of a node that is `missing`, and take it off that list. Raises `Unreachable`."""
    if reading.node in missing:
        reading.end()
        missing.pop(reading.node, None)


def _in_words(clock: NodeClock) -> str:
    boots = f", {clock.boots} boots" if clock.boots > 1 else ""
    return (
        f"monotonic clock {clock.offset_s:+.4f} s from the runner's, ± {clock.error_s * 1000:.1f} ms; "
        f"wall clock {clock.wall_skew_s:+.3f} s{boots}"
    )


SENTINELS: Key[Sentinels | None] = Key(lambda: None)
"""The sentinels of the run, from before they are placed."""

Task = tuple[str, "Callable[[], None]"]


class Hands:
    """At most `count` daemon threads. Errors of tasks are ignored."""

    def __init__(self, count: int) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._busy: set[str] = set()
        self._count = count
        for number in range(count):
            threading.Thread(target=self._work, name=f"worker {number}", daemon=True).start()

    @property
    def idle(self) -> bool:
        return not self._busy

    def give(self, tasks: Iterable[Task]) -> None:
        """Queue each task, unless one of the same name is running or queued."""
        for name, task in tasks:
            if name not in self._busy:
                self._busy.add(name)
                self._tasks.put((name, task))

    def wait(self, within_s: float) -> bool:
        """Wait for all tasks; returns whether they were done in time."""
        return poll(lambda: self.idle, within_s=within_s, every_s=0.01)

    def dismiss(self) -> None:
        """Let each thread end once the queue is empty."""
        for _ in range(self._count):
            self._tasks.put(None)

    def _work(self) -> None:
        while (given := self._tasks.get()) is not None:
            name, task = given
            with suppress(Exception):
                task()
            self._busy.discard(name)
