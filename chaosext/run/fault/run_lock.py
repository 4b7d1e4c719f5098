"""The run's lock on its cluster: taken before the baseline, checked before each cut, released when all is healed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.cluster.client import Cluster
from chaosext.cluster.lease import LEASE, look_at_lease
from chaosext.model.crash import crash_point
from chaosext.model.errors import ChaosextError, Refused
from chaosext.model.owner import Claim
from chaosext.model.timeline import Kind
from chaosext.nodes.transport import shells
from chaosext.partition.apply import inspect, require_free
from chaosext.partition.cut import nodes_of
from chaosext.run.fault.node_entry import way_into
from chaosext.run.fault.state import fault_of
from chaosext.run.session.connection import connect, connect_to_act
from chaosext.safety.cluster_lock import ClusterLock
from chaosext.safety.intent import intent_log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from chaosext.experiment.settings import Settings
    from chaosext.model.owner import LockFacts
    from chaosext.nodes.shell import NodeShell
    from chaosext.partition.cut import Cut
    from chaosext.run.session.run_context import RunContext


LEASE_S = 5.0
"""Timeout for reading a cluster's Lease if it is optional, seconds."""


def lock_cluster(settings: Settings, context: RunContext, cuts: Sequence[Cut]) -> None:
    """Lock the cluster for this run until `unlock_cluster`; a run that cuts nothing needs no lock.

    Raises `Refused` for another run's lock or live cut, and if this run has lost its own lock.
    """
    fault = fault_of(context)
    if not cuts:
        return
    if fault.lock is None:
        _require_lease(settings, context)
        on = _shells(settings, cuts)
        for cut in cuts:
            require_free(cut, on)
        fault.lock = _lock(settings, context, on, max(cut.delay_s and cut.armed_for_s for cut in cuts))
    fault.lock.hold()


def _require_lease(settings: Settings, context: RunContext) -> None:
    """Raise `Refused` for another run's Lease; what is found on nodes does not show when its run ends."""
    lock = look_at_lease(connect_to_act(settings))
    if lock is not None and lock.keeps_out(context.id):
        raise lock.refusal(LEASE)


def unlock_cluster(context: RunContext) -> None:
    """Release the lock, if there is one: all is healed. Bounded, never raises, may be repeated."""
    fault = fault_of(context)
    if fault.lock is not None:
        crash_point("releasing")
        fault.lock.release()


def require_no_run(context: str, otherwise: str) -> None:
    """Raise `Refused` while a run uses the cluster of `context`, by this machine's intent log or by its Lease.

    `otherwise`: an alternative fix. A cluster that doesn't answer, or is in no kubeconfig, has no Lease to read.
    """
    running = [each for each in intent_log().outstanding() if each.context == context and each.is_running]
    lock = _lease_of(context)
    if lock is not None and lock.run and not lock.may_be_taken:
        run, whose = lock.run, f"{lock} {lock.until}"
    elif running:
        run, whose = running[0].run, f"run {running[0].run}"
    else:
        return
    raise Refused(
        f"{whose} is using the cluster of context {context}",
        f"wait for it, or end it with `chaosext abort --run {run} --context {context}`; {otherwise}",
    )


def _lease_of(context: str) -> LockFacts | None:
    try:
        return look_at_lease(Cluster.connect(context), timeout_s=LEASE_S)
    except ChaosextError:
        return None


def who_holds(settings: Settings, cuts: Sequence[Cut]) -> tuple[str, ...]:
    """A line for each lock that would refuse a run with `cuts` now. Takes no lock."""
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
    """The lock; `sealed_s`: how long the nodes can't be entered to renew their locks."""
    cluster = connect_to_act(settings)

    def tell(lost: str) -> None:
        context.recorder.say(Kind.LOCK_LOST, f"Cluster/{cluster.context}", lost)

    claim = Claim(run=context.id, owner=context.owner, lasts_s=context.lasts_s)
    return ClusterLock(claim, cluster, on, tell=tell, sealed_s=sealed_s)


def _shells(settings: Settings, cuts: Sequence[Cut]) -> Mapping[str, NodeShell]:
    return shells(nodes_of(cuts), way_into(settings))
