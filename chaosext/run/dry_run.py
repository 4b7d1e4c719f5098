"""`--dry-run`: the exact rules per node and the plan, from the live cluster, touching nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chaosext.experiment.load import activities
from chaosext.model.names import RunId
from chaosext.nodes.transport import shells
from chaosext.partition.apply import require_free
from chaosext.partition.cut import nodes_of
from chaosext.partition.nft import arm_ruleset, disarm_ruleset
from chaosext.run.fault.inject import plan
from chaosext.run.fault.node_entry import way_into
from chaosext.run.fault.run_lock import who_holds
from chaosext.run.preflight import brief, rehearse_apart
from chaosext.run.runner import require_rollback, unreachable_is_refused
from chaosext.run.session.approval import intended, refused_without_approval
from chaosext.run.session.connection import connect
from chaosext.run.session.run_context import owner
from chaosext.run.stop.conditions import watched

if TYPE_CHECKING:
    from chaosext.experiment.cut_request import CutRequest
    from chaosext.experiment.resolve import Resolved
    from chaosext.experiment.settings import Settings
    from chaosext.model.result import Briefing
    from chaosext.partition.cut import Cut


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a run would do. `rules`: node -> its arming nft transactions, one per cut; `heal`: the one that heals."""

    briefing: Briefing
    steps: tuple[str, ...]
    rules: dict[str, tuple[str, ...]]
    heal: str

    def to_json(self) -> dict[str, Any]:
        return {
            "dry_run": True,
            **self.briefing.to_json(),
            "steps": list(self.steps),
            "rules": {node: list(texts) for node, texts in self.rules.items()},
            "heal": self.heal,
        }


def dry_run(resolved: Resolved) -> DryRun:
    """Plan every cut of the experiment, and check that no other run has its nodes.

    Raises `Refused` for whatever would refuse the run itself, except its baseline, which is not checked.
    """
    run = RunId.new()
    wishes = [wish for _, wish in resolved.wishes()]
    with unreachable_is_refused():
        require_rollback(resolved)
        watched(resolved)  # refuses malformed conditions; asks none
        cuts = [_feasible(resolved.settings, wish, run) for wish in wishes]
        ttl_s = max((wish.ttl_s for wish in wishes), default=None)
        briefing = brief(connect(resolved.settings), resolved.settings, ttl_s)
        expected = rehearse_apart(resolved)
        held = who_holds(resolved.settings, cuts) if cuts else ()
        held += tuple(refused_without_approval(connect(resolved.settings), intended(resolved)))
        held += tuple(
            f"{place}: looked up at run time, once the experiment may run" for place in resolved.pending
        )
    return DryRun(
        briefing=replace(briefing, outlook=(*expected.lines, *briefing.outlook, *held)),
        steps=tuple(
            f"{place}: {activity.get('name', '')}" for place, activity in activities(resolved.experiment)
        ),
        rules=_rules(cuts),
        heal=disarm_ruleset(run),
    )


def _feasible(settings: Settings, wish: CutRequest, run: str) -> Cut:
    cut = plan(settings, wish, run=run, owner=owner()).cut
    require_free(cut, shells((node.node for node in cut.nodes), way_into(settings)))
    return cut


def _rules(cuts: list[Cut]) -> dict[str, tuple[str, ...]]:
    now = datetime.now(UTC)
    return {
        name: tuple(
            arm_ruleset(cut, node, armed_at=now) for cut in cuts for node in cut.nodes if node.node == name
        )
        for name in nodes_of(cuts)
    }
