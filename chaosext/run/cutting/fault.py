"""Sever and heal: guards, intent on disk, the cut, its proof from outside, its undo. The actions are thin over this."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import ChaosextError, Inconclusive
from chaosext.model.finding import Finding, Status
from chaosext.model.places import state_home
from chaosext.model.timeline import Kind
from chaosext.nodes.transport import shells
from chaosext.observe.changes import Note
from chaosext.partition.apply import ARMING_S, ArmReport, HealReport, arm, heal
from chaosext.run.cutting import baseline
from chaosext.run.cutting.plan import Wish, plan_cut, survey
from chaosext.run.reach import connect, require_pin
from chaosext.safety.intent import GONE, INTENT, IntentLog
from chaosext.safety.limits import Limits
from chaosext.steady import cut as cut_check
from chaosext.steady.names import HEALED
from chaosext.steady.suite import unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.cluster.client import Cluster
    from chaosext.nodes.shell import NodeShell
    from chaosext.partition.cut import Cut
    from chaosext.run.context import RunContext
    from chaosext.run.reading.settings import Settings

BASELINE_AGE_S = 120.0
"""What the paths were like longer ago than this says nothing about them now; they are measured anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A cut that may be made, the paths that it will have to close, and the nodes of which not all paths are known."""

    cut: Cut
    paths: tuple[cut_check.Path, ...]
    blind: tuple[str, ...]


def plan(settings: Settings, wish: Wish, *, run: str, owner: str) -> Planned:
    """The cut that `wish` means on the living cluster, within all limits.

    Touches nothing. Raises `Refused` naming the limit or field.
    """
    cluster = connect(settings)
    require_pin(cluster)
    ground = survey(cluster, settings.transport)
    cut = plan_cut(wish, ground, run=run, owner=owner)
    Limits(max_ttl_s=settings.max_ttl_s).check(cut, total_nodes=len(ground.nodes))
    return Planned(cut=cut, paths=ground.paths, blind=ground.blind)


def prepare(settings: Settings, wish: Wish, context: RunContext) -> Cut:
    """As `plan`, for this run; and what the paths are like before the cut."""
    planned = plan(settings, wish, run=context.id, owner=context.owner)
    sources = {path.source for path in planned.paths}
    context.transport = settings.transport
    context.before = cut_check.gather(planned.paths, shells(sources, context.transport), blind=planned.blind)
    context.prepared = (wish, planned.cut, time.monotonic())
    return planned.cut


def sever(settings: Settings, wish: Wish, context: RunContext, *, prove: bool = True) -> dict[str, Any]:
    """Cut the control plane off from the nodes and prove it from both sides.

    A cut that can't be proven is healed at once and raises `Inconclusive`. Returns what was armed where, JSON-ready.
    """
    started_s = time.monotonic()
    cut = _prepared(settings, wish, context)
    cluster = connect(settings)
    cluster_uid = cluster.namespace_uid("kube-system")
    _write_intent(cut, cluster, context.transport)
    context.cuts.append(cut)
    context.let_go_at = datetime.now(UTC) + timedelta(seconds=ARMING_S + cut.ttl_s)
    report = arm(cut, shells((node.node for node in cut.nodes), context.transport))
    context.let_go_at = report.expires_at
    _note_cut(context, report)
    command_to_cut_s = time.monotonic() - started_s
    _keep_baseline(cluster_uid, context)
    finding = _proof(context) if prove else None
    if finding is not None and finding.status is not Status.HEALTHY:
        heal_run(context)
        raise Inconclusive(
            f"the cut can't be proven, so it was healed at once: {finding.summary}",
            "see the evidence of cut_effective",
        )
    return {
        "run": cut.run,
        "ttl_s": cut.ttl_s,
        "expires_at": report.expires_at.isoformat(),
        "nodes": [node.node for node in report.nodes],
        "peers": [str(peer) for peer in cut.peers],
        "command_to_cut_s": round(command_to_cut_s, 3),
        "foreign_rules_identical": report.foreign_identical,
        "finding": finding.to_json() if finding else None,
    }


def heal_run(context: RunContext) -> HealReport:
    """Take away what this run has armed; a run that armed nothing has nothing to heal. Asks no API server.

    Raises `Unsafe` when something can't be seen gone.
    """
    nodes = {node.node for cut in context.cuts for node in cut.nodes}
    report = heal_nodes(context.id, shells(nodes, context.transport), context.let_go_at)
    if any(
        node.gone and node.was_there is not False for node in report.nodes
    ):  # None: gone, but not listed before
        _note_heal(context, report)
    report.require_gone(expires_at=context.let_go_at)
    return report


def heal_nodes(run: str, on: Mapping[str, NodeShell], let_go_at: datetime | None = None) -> HealReport:
    """Take the table of `run` away `on` nodes, and write down that it is gone: seen so, or past `let_go_at`."""
    report = heal(run, on)
    if not report.may_cut(expires_at=let_go_at):
        intent_log().write({"run": run, "event": GONE, "nodes": sorted(on)})
    return report


def left_behind(context: RunContext) -> tuple[str, ...]:
    """Heal once more, whatever has happened; what still can't be seen gone, with how to remove it."""
    if not context.cuts:
        return ()
    try:
        heal_run(context)
    except ChaosextError as error:  # no shell, or no word of it on disk, is not seen gone either
        return (str(error),)
    return ()


def healed_finding(context: RunContext) -> Finding | None:
    """Are the paths that were open before the cut open again? Unknown where they can't be measured.

    None where this run cut nothing, or nothing was measured before it.
    """
    if context.before is None or not context.cuts:
        return None
    try:
        return cut_check.judge_healed(context.before, _paths_now(context.before, context.transport))
    except ChaosextError as error:  # the cut is healed whatever the paths say
        return unknown(HEALED, str(error))


def _prepared(settings: Settings, wish: Wish, context: RunContext) -> Cut:
    """The cut made ready a moment ago for the same wish, else a fresh one."""
    if context.prepared and context.prepared[0] == wish:
        _, cut, at_s = context.prepared
        if time.monotonic() - at_s < BASELINE_AGE_S:
            require_pin(connect(settings))
            return cut
    return prepare(settings, wish, context)


def intent_log() -> IntentLog:
    """What was about to be cut, where, for how long; and what was seen gone."""
    return IntentLog(state_home() / "intent.jsonl")


def _write_intent(cut: Cut, cluster: Cluster, transport: str) -> None:
    entry = {
        "run": cut.run,
        "event": INTENT,
        "context": cluster.context,
        "owner": cut.owner,
        "nodes": [node.node for node in cut.nodes],
        "ttl_s": cut.ttl_s,
        "transport": transport,
    }
    intent_log().write(entry)


def _keep_baseline(cluster_uid: str, context: RunContext) -> None:
    """Only for other processes, so a full disk must not end a cut that is in force and can be proven."""
    if context.before is not None:
        with suppress(OSError):
            baseline.save(cluster_uid, context.before)


def _note_cut(context: RunContext, report: ArmReport) -> None:
    armed_s = _monotonic_s(report.armed_at)
    context.recorder.set_zero(armed_s)
    names = _objects({node.node for node in report.nodes})
    peers = ", ".join(str(peer) for peer in report.cut.peers)
    note = Note(kind=Kind.CUT, object=names, detail=f"drops {peers} for {report.cut.ttl_s:g} s at the most")
    context.recorder.note(note, "chaosext", at_s=armed_s)


def _note_heal(context: RunContext, report: HealReport) -> None:
    """The network is back when the rules are taken away, or before that, when the kernel let go of the peers."""
    at, detail = datetime.now(UTC), f"cut taken away in {report.elapsed_s:.2f} s"
    if context.let_go_at is not None and context.let_go_at <= at:
        at, detail = context.let_go_at, "the kernel let go at the cut's TTL"
    note = Note(kind=Kind.HEAL, object=_objects({node.node for node in report.nodes}), detail=detail)
    context.recorder.note(note, "chaosext", at_s=_monotonic_s(at))


def _monotonic_s(at: datetime) -> float:
    return time.monotonic() - (datetime.now(UTC) - at).total_seconds()


def _proof(context: RunContext) -> Finding:
    if context.before is None:
        raise Inconclusive("no path was measured before the cut", "nothing can be proven without it")
    return cut_check.judge(context.before, _paths_now(context.before, context.transport))


def _paths_now(before: cut_check.CutEvidence, transport: str) -> cut_check.CutEvidence:
    """The same paths, measured now, from the nodes themselves."""
    return cut_check.gather(before.paths, shells((path.source for path in before.paths), transport))


def _objects(nodes: set[str]) -> str:
    return "Node/" + ",".join(sorted(nodes))
