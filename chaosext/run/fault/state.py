"""The state of a run's fault: the cuts that it armed, when they expire, and which nodes can still be entered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaosext.checks.cut_effective import Shut
from chaosext.model import clock
from chaosext.nodes.shell import BY_DOCKER, NodeAccess
from chaosext.partition.cut import nodes_of
from chaosext.run.session.run_context import Key, RunContext, begun

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.checks.cut_effective import CutEvidence
    from chaosext.model.clock import Moment
    from chaosext.partition.cut import Cut
    from chaosext.run.fault.keepalive import Renewing
    from chaosext.safety.audit_log import AuditEvent
    from chaosext.safety.cluster_lock import ClusterLock


@dataclass(slots=True)
class FaultState:
    """The fault of one run.

    Attributes:
        cuts: The cuts that the run intended to arm.
        expires_at: When the rules of all of them have expired.
        in_force: Whether a cut was read back on its nodes, and not yet healed.
        access: How to enter the nodes of the cuts.
        nodes: All nodes of the cluster.
        keepalive: Keeps a cut with a dead man's switch active.
        lock: The run's lock on its cluster.
        before: The paths before the cut.
        foreign_before: All rules of the cut nodes before the cut (None: not available).
        foreign_after: The same after the last heal.
        lost: How a cut ended, or was changed, before this run healed it.
        heals: How many times a heal was begun.
        all_cut_s: From here to `healing_s` (monotonic seconds) the first cut was active on all of its nodes: each is
            cut, and healed, in its own time.
    """

    cuts: list[Cut] = field(default_factory=list)
    expires_at: Moment | None = None
    in_force: bool = False
    all_cut_s: float | None = None
    healing_s: float | None = None
    access: NodeAccess = BY_DOCKER
    nodes: frozenset[str] = frozenset()
    keepalive: Renewing | None = None
    lock: ClusterLock | None = None
    before: CutEvidence | None = None
    foreign_before: dict[str, str | None] = field(default_factory=dict)
    foreign_after: dict[str, str | None] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    heals: int = 0

    @property
    def reachable(self) -> frozenset[str] | None:
        """The nodes whose kubelets an API server still reaches; None: all."""
        if not self.in_force or clock.is_over(self.expires_at):
            return None
        carriers = frozenset(nodes_of(self.cuts))
        return self.nodes - carriers if self.sealed_until else carriers

    @property
    def sealed_until(self) -> Moment | None:
        """When the nodes of an active cut that blocks access can be entered again; None: it does not block access."""
        sealed = self.in_force and any(cut.delay_s for cut in self.cuts)
        return self.expires_at if sealed and not clock.is_over(self.expires_at) else None

    def shut(self, names: Iterable[str]) -> Shut | None:
        """The nodes among `names` that the cut blocks access to; None for none."""
        if not self.access.asks_the_api_server or self.reachable is None:
            return None
        peers = tuple(peer for cut in self.cuts for peer in cut.dropped)
        return Shut(nodes=frozenset(names) - self.reachable, peers=peers)


FAULT = Key(FaultState)


def fault_of(run: RunContext) -> FaultState:
    """The state of the fault of `run`."""
    return run.stash[FAULT]


def reachable() -> frozenset[str] | None:
    """As `FaultState.reachable` of this process's run; None without a run."""
    run = begun()
    return fault_of(run).reachable if run else None


def shut(names: Iterable[str]) -> Shut | None:
    """As `FaultState.shut` of this process's run; None without a run."""
    run = begun()
    return fault_of(run).shut(names) if run else None


def write_down(run: RunContext, event: AuditEvent, **touched: Any) -> None:
    """Record an action that must not wait after a cut. Without a cut, raises `Refused` if that fails.

    After a cut the cluster, or its customers, need the action, whatever the disk says.
    """
    write = run.trail.note if fault_of(run).cuts else run.trail.require
    write(event, **touched)
