"""Sever: guards, intent on disk, the cut, its verification from outside. The action is a thin layer over this."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from chaosext.checks import cut_effective as cut_check
from chaosext.model import clock
from chaosext.model.crash import crash_point
from chaosext.model.errors import Inconclusive, Refused
from chaosext.model.findings import Finding, Status
from chaosext.nodes.transport import shells
from chaosext.partition.apply import ARMING_S, ArmReport, arm, listings
from chaosext.partition.cut import Side
from chaosext.run.fault import irrevocable, paths_before
from chaosext.run.fault.cut_plan import Topology, plan_cut, survey
from chaosext.run.fault.fault_events import note_cut
from chaosext.run.fault.guards import require_within_limits
from chaosext.run.fault.heal import heal_run
from chaosext.run.fault.keepalive import Renewing
from chaosext.run.fault.node_entry import way_into
from chaosext.run.fault.run_lock import lock_cluster
from chaosext.run.fault.state import fault_of
from chaosext.run.fault.verify import CUT_WATCH, CutWatch, proof
from chaosext.run.session.approval import INTENDED, approval_sha256, require_approved
from chaosext.run.session.audit_trail import table_on
from chaosext.run.session.connection import connect, connect_to_act
from chaosext.run.session.run_context import Key
from chaosext.safety.audit_log import AuditEvent
from chaosext.safety.intent import INTENT, intent_log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Node
    from chaosext.experiment.cut_request import CutRequest
    from chaosext.experiment.settings import Settings
    from chaosext.model.clock import Moment
    from chaosext.nodes.shell import NodeAccess
    from chaosext.partition.cut import Cut
    from chaosext.run.session.run_context import RunContext

BASELINE_AGE_S = 120.0
"""Maximum age of a plan and of its measured paths, seconds."""

ON_THE_WAY_S = 30.0
"""Time for taking the lock and entering the nodes, seconds: a plan that would be too old then is made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A permitted cut and its topology; `paths` are to be measured, `left_out` are not.

    `looked_s` is when the topology was read, in seconds since boot.
    """

    cut: Cut
    ground: Topology
    paths: tuple[cut_check.Path, ...]
    left_out: cut_check.LeftOut
    looked_s: float

    @property
    def age_s(self) -> float:
        return clock.since_boot_s() - self.looked_s

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes of the cluster, with all their addresses."""
        return self.ground.nodes


PREPARED: Key[tuple[CutRequest, Planned] | None] = Key(lambda: None)
"""The cut that was made ready last, and for which request."""


def plan(settings: Settings, wish: CutRequest, *, run: str, owner: str) -> Planned:
    """The cut that `wish` requests on the live cluster, within all limits.

    Touches nothing. Raises `Refused` naming the limit or field.
    """
    cluster, looked_s = connect_to_act(settings), clock.since_boot_s()
    ground = survey(cluster, way_into(settings), settings)
    cut = plan_cut(wish, ground, run=run, owner=owner)
    if ground.side is Side.NODES:
        irrevocable.require_elsewhere(cut, ground.nodes, cluster)
    require_within_limits(settings, cut, cluster, ground.nodes)
    paths, left_out = cut_check.sampled(ground.paths, {node.name for node in ground.control_plane})
    return Planned(cut=cut, ground=ground, paths=paths, left_out=left_out, looked_s=looked_s)


def prepare(settings: Settings, wish: CutRequest, context: RunContext) -> Planned:
    """As `plan`, for this run; also measures the paths before the cut."""
    fault = fault_of(context)
    planned = plan(settings, wish, run=context.id, owner=context.owner)
    fault.access, fault.nodes = way_into(settings), frozenset(node.name for node in planned.nodes)
    kept = planned.ground.kept_paths
    entered = shells(cut_check.entered((*planned.paths, *kept)), fault.access)
    fault.before = cut_check.gather(
        planned.paths, entered, blind=planned.ground.blind, kept=kept, left_out=planned.left_out
    )
    nodes = shells((node.node for node in planned.cut.nodes), fault.access)
    fault.foreign_before = listings(nodes) | fault.foreign_before
    context.stash[PREPARED] = (wish, planned)
    return planned


def sever(settings: Settings, wish: CutRequest, context: RunContext, *, prove: bool = True) -> dict[str, Any]:
    """Cut the control plane off from the nodes and verify it from both sides.

    A cut that can't be verified is healed at once and raises `Inconclusive`. Returns what was armed where, JSON-ready.
    """
    _require_foreground()
    started_s = time.monotonic()
    planned = _prepared(settings, wish, context)
    cut = planned.cut
    if fault_of(context).lock is None:  # nothing of this run exists yet, and a refusal leaves nothing
        _require_permitted(settings, wish, context, planned)
    lock_cluster(settings, context, [cut])
    decide = partial(_decide, settings, wish, context, planned)
    report = _armed(planned, context, decide, connect(settings).nodes)
    command_to_cut_s = time.monotonic() - started_s
    _keep_baseline(context)
    finding = _proven(context) if prove else None
    return {
        "run": cut.run,
        "ttl_s": cut.ttl_s,
        "dead_man_s": cut.dead_man_s,
        "expires_at": report.let_go.later(cut.ttl_s - cut.step_s)
        .as_wall_clock()
        .isoformat(timespec="seconds"),
        "nodes": [node.node for node in report.nodes],
        "peers": [str(peer) for peer in cut.dropped],
        "command_to_cut_s": round(command_to_cut_s, 3),
        "foreign_rules_identical": report.foreign_identical,
        "finding": finding.to_json() if finding else None,
    }


def _require_foreground() -> None:
    """Refuse a cut in the background: Chaos Toolkit does not wait for it, so it could cut after the last heal."""
    if threading.current_thread() is not threading.main_thread():
        raise Refused(
            "background: a cut can't run in the background", "remove `background` from this activity"
        )


def _require_permitted(
    settings: Settings, wish: CutRequest, context: RunContext, planned: Planned, until: datetime | None = None
) -> Cluster:
    """Raise `Refused` if this cut may not be made now: the pin, every limit, the approval. `until`: as a limit."""
    cluster = connect_to_act(settings)
    require_within_limits(settings, planned.cut, cluster, planned.nodes, until=until)
    context.trail.approval_sha256 = approval_sha256(require_approved(cluster, context.stash[INTENDED], wish))
    context.trail.context = cluster.context
    context.trail.cluster_uid = cluster.namespace_uid("kube-system")
    return cluster


def _decide(
    settings: Settings, wish: CutRequest, context: RunContext, planned: Planned, ends: Moment
) -> None:
    """Check a cut for the last time, while its nodes wait for their rules.

    Nodes reject rules that arrive long after this check, so that it is recent even if the runner was paused
    on the way. Afterwards the intent is on disk, and the run knows that it has something to heal.
    """
    fault = fault_of(context)
    if planned.age_s > BASELINE_AGE_S:
        raise Refused(
            f"the plan of the cut is {planned.age_s:.0f} s old, and may be outdated",
            "run again",
        )
    cut = planned.cut
    cluster = _require_permitted(settings, wish, context, planned, ends.as_wall_clock())
    context.trail.require(AuditEvent.ARMING, **_touched(cut))
    _write_intent(cut, cluster, fault.access)
    fault.cuts.append(cut)
    fault.expires_at = _later(fault.expires_at, clock.now().later(ARMING_S + cut.delay_s + cut.ttl_s))


def _armed(
    planned: Planned,
    context: RunContext,
    decide: Callable[[Moment], None],
    ask_nodes: Callable[[], Sequence[Node]],
) -> ArmReport:
    """Arm the cut, if `decide` does not refuse it, and watch it from now on."""
    fault = fault_of(context)
    cut, before, heals = planned.cut, fault.expires_at, fault.heals
    on = shells((node.node for node in cut.nodes), fault.access)
    hold = fault.lock.held if fault.lock else None
    report = arm(cut, on, hold=hold, decide=decide)
    crash_point("armed")
    until = report.let_go.later(cut.ttl_s - cut.step_s)
    fault.expires_at = _later(before, until)
    if cut.delay_s:
        irrevocable.await_begin(context, report.all_cut_at)
    fault.in_force = True
    # A stop may have healed it while it was being armed: then what is missing was removed by this run.
    is_kept = fault.heals == heals
    if is_kept and cut.step_s < cut.ttl_s:
        renewed = partial(context.trail.note, AuditEvent.RENEWED, **_touched(cut))
        fault.keepalive = Renewing(cut, on, until=until, hold=hold, renewed=renewed)
        fault.keepalive.start()
    note_cut(context, report)
    context.stash[CUT_WATCH] = CutWatch(context, cut, planned.ground, ask_nodes) if is_kept else None
    context.trail.note(AuditEvent.ARMED, **_touched(cut))
    return report


def _later(before: Moment | None, end: Moment) -> Moment:
    """Return the later end: a second cut, made or refused, does not end the first."""
    return end if before is None else max(before, end)


def _touched(cut: Cut) -> dict[str, tuple[str, ...]]:
    return table_on(cut.run, (node.node for node in cut.nodes))


def _proven(context: RunContext) -> Finding:
    """Verify that the cut is active; heal it at once if it can't be verified."""
    finding = proof(context)
    if finding.status is Status.HEALTHY:
        crash_point("proven")
        return finding
    sealed = fault_of(context).sealed_until
    how = "it could not be healed before its TTL" if sealed else "it was healed at once"
    heal_run(context)
    raise Inconclusive(
        f"the cut can't be verified, so {how}: {finding.summary}",
        "see the evidence of cut_effective",
    )


def _prepared(settings: Settings, wish: CutRequest, context: RunContext) -> Planned:
    """The cut prepared a moment ago for the same request, else a new one."""
    prepared = context.stash[PREPARED]
    if prepared and prepared[0] == wish:
        _, planned = prepared
        if planned.age_s < BASELINE_AGE_S - ON_THE_WAY_S:
            return planned
    require_approved(connect_to_act(settings), context.stash[INTENDED], wish)  # before any node is entered
    return prepare(settings, wish, context)


def _write_intent(cut: Cut, cluster: Cluster, way: NodeAccess) -> None:
    entry = {
        "run": cut.run,
        "event": INTENT,
        "context": cluster.context,
        "owner": cut.owner,
        "nodes": [node.node for node in cut.nodes],
        "ttl_s": cut.delay_s + cut.ttl_s,
        "sealed": bool(cut.delay_s),
        "transport": way.transport,
        **({"namespace": way.namespace, "image": way.image} if way.asks_the_api_server else {}),
    }
    intent_log().write(entry)
    crash_point("intent-written")


def _keep_baseline(context: RunContext) -> None:
    """Keep the evidence for other processes; a full disk must not end an active, verified cut."""
    fault = fault_of(context)
    if fault.before is not None:
        with suppress(OSError):
            paths_before.save(context.trail.cluster_uid, fault.before)
