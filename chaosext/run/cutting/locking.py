"""The run's lock on its cluster: taken before the gate, made sure of before each cut, given back when all is healed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.cluster.lease import LEASE, look_at_lease
from chaosext.model.claim import Claim
from chaosext.model.crash import crash_point
from chaosext.model.timeline import Kind
from chaosext.nodes.transport import shells
from chaosext.partition.apply import inspect, require_free
from chaosext.partition.cut import nodes_of
from chaosext.run.entering import way_into
from chaosext.run.reach import connect, connect_to_act
from chaosext.safety.lock import ClusterLock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from chaosext.model.claim import LockFacts
    from chaosext.nodes.shell import NodeShell
    from chaosext.partition.cut import Cut
    from chaosext.run.context import RunContext
    from chaosext.run.reading.settings import Settings


def lock_cluster(settings: Settings, context: RunContext, cuts: Sequence[Cut]) -> None:
    """Have the cluster for this run alone until `unlock_cluster`; a run that cuts nothing needs no lock.

    Raises `Refused` for another run's lock or live cut, and where this run has lost its own.
    """
    if not cuts:
        return
    if context.lock is None:
        on = _shells(settings, cuts)
        for cut in cuts:
            require_free(cut, on)
        context.lock = _lock(settings, context, on, max(cut.delay_s and cut.armed_for_s for cut in cuts))
    context.lock.hold()


def unlock_cluster(context: RunContext) -> None:
    """Give the lock back, if there is one: all is healed. Bounded, never raises, may be repeated."""
    if context.lock is not None:
        crash_point("releasing")
        context.lock.release()


def who_holds(settings: Settings, cuts: Sequence[Cut]) -> tuple[str, ...]:
    """A line for each lock for which a run that makes `cuts` would be refused now. Takes none."""
    looks = inspect(_shells(settings, cuts))
    return tuple(
        _held({LEASE: look_at_lease(connect(settings))} | {f"node {look.node}": look.lock for look in looks})
    )


def _held(locks: Mapping[str, LockFacts | None]) -> Iterator[str]:
    for where, lock in locks.items():
        if lock is not None and not lock.may_be_taken:
            yield f"a run would be refused now: {lock.refusal(where).message}"


def _lock(
    settings: Settings, context: RunContext, on: Mapping[str, NodeShell], sealed_s: float
) -> ClusterLock:
    """`sealed_s`: for how long nobody can come to the nodes to renew their locks."""
    cluster = connect_to_act(settings)

    def tell(lost: str) -> None:
        context.recorder.say(Kind.LOCK_LOST, f"Cluster/{cluster.context}", lost)

    return ClusterLock(Claim(run=context.id, owner=context.owner), cluster, on, tell=tell, sealed_s=sealed_s)


def _shells(settings: Settings, cuts: Sequence[Cut]) -> Mapping[str, NodeShell]:
    return shells(nodes_of(cuts), way_into(settings))
