"""Drains and restores a cluster at the global load balancer: guarded, recorded first, undone or reported at the end."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from chaosext.checks.customer_requests import judge_ratio
from chaosext.model.errors import ChaosextError, Inconclusive, Refused, did_you_mean
from chaosext.model.findings import Status
from chaosext.model.load_balancer_state import Failover
from chaosext.model.timeline import Kind
from chaosext.nodes.load_balancer import when
from chaosext.run.fault.state import write_down
from chaosext.run.monitor.steady_state import ask_steady_state
from chaosext.run.session.connection import require_entry_to_act, require_member
from chaosext.run.session.run_context import Key
from chaosext.safety.audit_log import AuditEvent
from chaosext.safety.intent import Changed, write_as_found, write_changing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.experiment.settings import Settings
    from chaosext.model.load_balancer_state import Member
    from chaosext.nodes.load_balancer import LoadBalancer
    from chaosext.run.session.run_context import RunContext

WELL_S = 5.0
"""No failover if all customers were served for this long, seconds."""
SERVE_S = 30.0
"""Timeout for the load balancer's health check to accept a cluster again, seconds: on the testbed three checks, 2 s
apart."""

SKIPPED = "the steady state was not met before the method, so this run does not change the load balancer"


@dataclass(slots=True)
class Held:
    """What a run has changed at its load balancer. `found`: the clusters as they were before, by name.

    `out_s`: since when (monotonic seconds) it is known to send no customers to the drained one; None: this run did not
    drain it.
    """

    entry: LoadBalancer
    found: dict[str, Member] = field(default_factory=dict)
    out_s: float | None = None


HELD: Key[Held | None] = Key(lambda: None)
"""What the run has changed at the load balancer in front of several clusters."""


def failover_named(mode: str | None) -> Failover | None:
    """The mode of this name. Raises `Refused` for an unknown one."""
    try:
        return None if mode is None else Failover(mode)
    except ValueError:
        raise Refused(f"mode: unknown value {mode!r}", did_you_mean(str(mode), Failover)) from None


def set_failover(settings: Settings, context: RunContext, mode: Failover | None) -> dict[str, Any]:
    """Set the failover mode of the context's cluster: `mode`, by default the setting `chaosext_failover`."""
    entry, wanted = require_entry_to_act(settings), mode or settings.failover
    mine = require_member(entry, settings.cluster_at_entry)
    if mine.failover is not wanted:
        _remember(context, entry, mine)
        entry.change(mine.cluster, failover=wanted)
    return {"cluster": mine.cluster, "failover": wanted.value, "before": mine.failover.value}


def drain(
    settings: Settings, context: RunContext, cluster: str | None, *, patience_s: float, only_if_needed: bool
) -> dict[str, Any]:
    """Ensure that no new request goes to `cluster`.

    If the load balancer's own health check may take it out, it gets `patience_s` seconds for that; the drain then
    keeps it out until it is restored. Raises `Refused` if no other cluster would serve.
    """
    if context.gate_failed:
        return {"skipped": SKIPPED}
    entry = require_entry_to_act(settings)
    mine = require_member(entry, cluster or settings.cluster_at_entry)
    if mine.drained:
        return {"cluster": mine.cluster, "skipped": "it was already drained"}
    if only_if_needed and mine.serves and _customers_are_well(entry):
        return {"cluster": mine.cluster, "skipped": f"every request of the last {WELL_S:g} s succeeded"}
    began_s = time.monotonic()
    by_check = mine.failover is Failover.HEALTH_CHECK and _await_check(entry, mine.cluster, patience_s)
    waited_s = time.monotonic() - began_s
    require_others(entry, mine.cluster)
    _remember(context, entry, mine)
    out_s = time.monotonic()
    if not by_check:  # else the load balancer's own event has the time
        context.recorder.say(Kind.ENTRY_DRAINED, _object(entry, mine.cluster), "drained by hand")
    write_down(context, AuditEvent.DRAINING, at_entry=in_audit(entry, mine.cluster))
    entry.change(mine.cluster, drained=True)
    if held := context.stash[HELD]:
        held.out_s = held.out_s or out_s
    by = Failover.HEALTH_CHECK if by_check else Failover.BY_HAND
    return {"cluster": mine.cluster, "by": by.value, "waited_s": round(waited_s, 1)}


def restore(
    settings: Settings, context: RunContext, cluster: str | None, *, settle_s: float, dwell_s: float
) -> dict[str, Any]:
    """Send requests to `cluster` again, once its steady state has held for `dwell_s` seconds without a break.

    Raises `Inconclusive` if it does not hold within `settle_s` seconds (then it stays drained), or if the load
    balancer's own health check rejects it; `Refused` for a cluster other than the context's, whose steady state is
    unknown.
    """
    entry, name = require_entry_to_act(settings), cluster or settings.cluster_at_entry
    if name != settings.cluster_at_entry:
        raise Refused(
            f"cluster {name!r} is not that of context {settings.context}",
            "restore it in a run with its own context",
        )
    mine = require_member(entry, name)
    held = context.stash[HELD]
    found = held.found.get(name) if held else None
    failover = found.failover if found else mine.failover
    if not mine.drained:
        entry.change(name, failover=failover)
        _forget(context, entry, name)
        return {"cluster": name, "skipped": "it was not drained"}
    asked = ask_steady_state(settings, context, None, settle_s=settle_s, dwell_s=dwell_s)
    if asked["status"] != Status.HEALTHY.value:
        raise Inconclusive(
            f"cluster {name} is not restored at {entry.name} and stays drained: {asked['summary']}",
            f"once it is healthy, run `chaosext failover restore {name} --load-balancer {entry.name}`",
        )
    take_back(entry, name, failover)
    context.trail.note(AuditEvent.TAKEN_BACK, at_entry=in_audit(entry, name))
    _forget(context, entry, name)
    return {"cluster": name, "settled_after_s": asked["settled_after_s"], "dwelt_s": asked["dwelt_s"]}


def take_back(entry: LoadBalancer, cluster: str, failover: Failover | None = None) -> None:
    """Send requests to `cluster` again. Raises `Inconclusive` if the load balancer's own health check rejects it."""
    entry.change(cluster, drained=False, failover=failover)
    members = when(entry, lambda members: _of(members, cluster).serves, SERVE_S)
    if not _of(members, cluster).serves:
        raise Inconclusive(
            f"{entry.name} does not send customers to {cluster}: {_of(members, cluster).state}",
            f"check what its storefront answers, then run `chaosext failover show --load-balancer {entry.name}`",
        )


def in_audit(entry: LoadBalancer, cluster: str) -> str:
    """The audit log's name of a cluster at a load balancer."""
    return f"{entry.name}/{cluster}"


def left_at_entry(context: RunContext, within_s: float | None = None) -> tuple[str, ...]:
    """Return what this run leaves changed at the load balancer, with how to undo it.

    The failover mode is restored now. A drained cluster stays drained: its health was not checked. Anything
    that is unknown after `within_s` seconds (None: no limit) counts as left.
    """
    if context.stash[HELD] is None:
        return ()
    found: list[tuple[str, ...]] = []
    looking = threading.Thread(target=lambda: found.append(_look_at_what_is_left(context)), daemon=True)
    looking.start()
    looking.join(within_s)
    return found[0] if found else _not_known(context, "it did not answer in time")


def _look_at_what_is_left(context: RunContext) -> tuple[str, ...]:
    held = context.stash[HELD]
    if held is None:
        return ()
    try:
        now = {each.cluster: each for each in held.entry.look()}
        return tuple(line for each in held.found.values() for line in _left(context, held.entry, each, now))
    except ChaosextError as error:
        return _not_known(context, error.message)


def _not_known(context: RunContext, why: str) -> tuple[str, ...]:
    held = context.stash[HELD]
    found = held.found if held else {}
    return tuple(
        f"{_change(context, held.entry, name).said} (the load balancer can't be asked: {why})"
        for name in found
        if held
    )


def _left(context: RunContext, entry: LoadBalancer, found: Member, now: dict[str, Member]) -> Iterable[str]:
    mine = now.get(found.cluster, found)
    if mine.failover is not found.failover:
        entry.change(found.cluster, failover=found.failover)
    if mine.drained and not found.drained:
        yield _change(context, entry, found.cluster).said
    else:
        write_as_found(_change(context, entry, found.cluster))


def _customers_are_well(entry: LoadBalancer) -> bool:
    return judge_ratio(entry.name, entry.requests(WELL_S)).status is Status.HEALTHY


def _await_check(entry: LoadBalancer, cluster: str, patience_s: float) -> bool:
    """Whether the load balancer's own health check has taken the cluster out in time."""
    members = when(entry, lambda members: not _of(members, cluster).serves, patience_s)
    return not _of(members, cluster).serves


def require_others(entry: LoadBalancer, cluster: str) -> None:
    if not any(each.serves for each in entry.look() if each.cluster != cluster):
        raise Refused(
            f"no cluster but {cluster} serves at {entry.name}, so draining it would leave customers without a cluster",
            f"check the others: `chaosext failover show --load-balancer {entry.name}`",
        )


def _remember(context: RunContext, entry: LoadBalancer, member: Member) -> None:
    """Record a cluster once, before it is changed. Raises `Inconclusive` if that can't be written."""
    held = context.stash[HELD] = context.stash[HELD] or Held(entry)
    if member.cluster not in held.found:
        change = _change(context, entry, member.cluster)
        write_changing(replace(change, failover=member.failover))
        held.found[member.cluster] = member


def _forget(context: RunContext, entry: LoadBalancer, cluster: str) -> None:
    if (held := context.stash[HELD]) and held.found.pop(cluster, None):
        write_as_found(_change(context, entry, cluster))


def _change(context: RunContext, entry: LoadBalancer, cluster: str) -> Changed:
    return Changed(run=context.id, entry=entry.name, cluster=cluster)


def _of(members: Iterable[Member], cluster: str) -> Member:
    return next(each for each in members if each.cluster == cluster)


def _object(entry: LoadBalancer, cluster: str) -> str:
    return f"Entry/{entry.name} → {cluster}"
