"""The run of this process: its id, its directory, its timeline. Plain `chaos run` gets one at first use."""

from __future__ import annotations

import getpass
import re
import socket
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from chaosext.checks.cut_effective import Shut
from chaosext.model import clock
from chaosext.model.run_id import RunId
from chaosext.nodes.access import BY_DOCKER, NodeAccess
from chaosext.partition.cut import nodes_of
from chaosext.run.session.audit_trail import Trail
from chaosext.run.session.run_directory import RunDirectory
from chaosext.timeline.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from chaosext.checks.cut_effective import CutEvidence
    from chaosext.experiment.cut_request import CutRequest
    from chaosext.model.clock import Moment
    from chaosext.model.stopped import Stopped
    from chaosext.partition.cut import Cut
    from chaosext.run.fault.inject import Planned
    from chaosext.run.fault.keepalive import Renewing
    from chaosext.run.fault.verify import CutWatch
    from chaosext.run.monitor.object_events_watch import ObjectWatch
    from chaosext.run.monitor.sentinels import Sentinels
    from chaosext.run.rollback.cluster_drain import Held
    from chaosext.run.session.approval import Intended
    from chaosext.run.verdict.steady_baseline import Baseline
    from chaosext.safety.audit import Event
    from chaosext.safety.cluster_lock import ClusterLock
    from chaosext.timeline.recorder import Sink


@dataclass(slots=True)
class RunContext:
    """One run, which may take `lasts_s` seconds from when it takes its lock (None: unknown).

    `cuts` are those that it intended to arm; all of them have expired by `let_go`.

    `in_force`: a cut was read back on its nodes, and not yet healed. `way` is the access to their nodes, `nodes` are
    all of the cluster's;
    `renewing` keeps a cut with a dead man's switch active, `cut_watch` watches the active cut. `before` has the paths
    before the cut; `foreign_before` and `foreign_after` are all rules of the cut nodes, then and after the last heal
    (None: not available). `prepared` is the last prepared cut, and its request. `lost` says how a cut ended, or was
    changed, before this run healed it. `lock` is the run's lock on its cluster, `trail` its audit trail. `gate_failed`:
    the steady state was not met before the method, which did not run. `intended` is what the run does, if known;
    `stopped` why it was stopped early, if it was. From `all_cut_s` to `healing_s` (monotonic seconds) its first cut was
    active on all of its nodes: each is cut, and healed, in its own time. `sentinels`: set before they are placed.
    `held` is what it has changed at the global load balancer. `baseline` is the inventory before the cut. `strict` is
    set by `chaosext run`, which derives the verdict itself; under plain `chaos run` the control does.

    For observers: `doing` is the current activity, and since when (monotonic seconds). `heard` is when each node's
    sentinel was last heard: the runner's monotonic time of the newest sample that was read (node -> s). `objects` is
    the API server's watch.
    """

    id: str
    owner: str
    directory: RunDirectory
    recorder: Recorder
    strict: bool = False
    lasts_s: float | None = None
    cuts: list[Cut] = field(default_factory=list)
    let_go: Moment | None = None
    in_force: bool = False
    all_cut_s: float | None = None
    healing_s: float | None = None
    way: NodeAccess = BY_DOCKER
    nodes: frozenset[str] = frozenset()
    renewing: Renewing | None = None
    cut_watch: CutWatch | None = None
    lock: ClusterLock | None = None
    trail: Trail = field(init=False)
    before: CutEvidence | None = None
    foreign_before: dict[str, str | None] = field(default_factory=dict)
    foreign_after: dict[str, str | None] = field(default_factory=dict)
    prepared: tuple[CutRequest, Planned] | None = None
    lost: list[str] = field(default_factory=list)
    heals: int = 0
    """How many times a heal was begun."""
    method_began: bool = False
    gate_failed: bool = False
    intended: Intended | None = None
    stopped: Stopped | None = None
    sentinels: Sentinels | None = None
    held: Held | None = None
    baseline: Baseline | None = None
    doing: tuple[str, float] = ("", 0.0)
    heard: dict[str, float] = field(default_factory=dict)
    objects: ObjectWatch | None = None

    @property
    def reachable(self) -> frozenset[str] | None:
        """The nodes whose kubelets an API server still reaches; None: all."""
        if not self.in_force or clock.is_over(self.let_go):
            return None
        carriers = frozenset(nodes_of(self.cuts))
        return self.nodes - carriers if self.sealed_until else carriers

    @property
    def sealed_until(self) -> Moment | None:
        """When the nodes of an active cut that blocks access can be entered again; None: it does not block access."""
        sealed = self.in_force and any(cut.delay_s for cut in self.cuts)
        return self.let_go if sealed and not clock.is_over(self.let_go) else None

    def shut(self, names: Iterable[str]) -> Shut | None:
        """The nodes among `names` that the cut blocks access to; None for none."""
        if not self.way.asks_the_api_server or self.reachable is None:
            return None
        peers = tuple(peer for cut in self.cuts for peer in cut.dropped)
        return Shut(nodes=frozenset(names) - self.reachable, peers=peers)

    def write_down(self, event: Event, **touched: Any) -> None:
        """Record an action that must not wait after a cut. Without a cut, raises `Refused` if that fails.

        After a cut the cluster, or its customers, need the action, whatever the disk says.
        """
        write = self.trail.note if self.cuts else self.trail.require
        write(event, **touched)

    def __post_init__(self) -> None:
        self.trail = Trail(run=self.id, owner=self.owner)


_current: RunContext | None = None


def start(*, strict: bool = False, root: Path | None = None, sink: Sink | None = None) -> RunContext:
    """Start a new run. Raises `Refused` if its directory can't be created."""
    global _current
    run = RunId.new()
    directory = RunDirectory(run, root)
    recorder = Recorder(directory.inside / "timeline.jsonl", sink=sink)
    _current = RunContext(id=run, owner=owner(), directory=directory, recorder=recorder, strict=strict)
    return _current


def current() -> RunContext:
    """The run of this process; starts one if there is none yet."""
    return _current or start()


@cache
def _run_of_no_run() -> str:
    return RunId.new()


def run_id() -> str:
    """The id of the run of this process; a new id if there is no run."""
    return _current.id if _current else _run_of_no_run()


def baseline() -> Baseline | None:
    """The current run's baseline; None without a run or baseline."""
    return _current.baseline if _current else None


def reachable() -> frozenset[str] | None:
    """As the current run's `reachable`."""
    return _current.reachable if _current else None


def shut(names: Iterable[str]) -> Shut | None:
    """As the current run's `shut`."""
    return _current.shut(names) if _current else None


def owner() -> str:
    """Who runs this, as `user@host`, in the letters that a rule's comment allows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no passwd entry, common in containers
        user = "unknown"
    return re.sub(r"[^A-Za-z0-9@._-]", "_", f"{user}@{socket.gethostname()}")[:40]
