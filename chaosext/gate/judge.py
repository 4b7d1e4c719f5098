"""The gate as a whole: judges a plan on a world. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.checks.check_names import NODES, XDS
from chaosext.gate.decision import Decision, Weighed, decide, weighed
from chaosext.gate.named_objects import require_named
from chaosext.gate.node_selection import nodes_of
from chaosext.gate.rehearsed import Rehearsed, rehearsed
from chaosext.gate.snapshot_checks import findings
from chaosext.model.findings import Status
from chaosext.model.known_unhealthy import Known
from chaosext.rehearsal.simulate.time_budget import UNBOUNDED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.gate.cutover_plan import Cutover
    from chaosext.model.findings import Finding
    from chaosext.model.known_unhealthy import KnownUnhealthy
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The gate's result for a plan on a world.

    `nodes`: nodes to cut. `weighed`: all findings. `rehearsed`: one rehearsal per duration. `unmatched`:
    entries of known unhealthy objects that match no unhealthy object.
    """

    nodes: frozenset[str]
    decision: Decision
    weighed: tuple[Weighed, ...]
    rehearsed: tuple[Rehearsed, ...]
    unmatched: tuple[KnownUnhealthy, ...] = ()

    @property
    def against(self) -> tuple[Weighed, ...]:
        """Findings that prevent a go."""
        return tuple(each for each in self.weighed if each.stands_against)


def judge(
    world: World,
    cutover: Cutover,
    live: Mapping[str, Finding] | None = None,
    *,
    seed: int = 0,
    hopeful: bool = False,
    budget: TimeBudget = UNBOUNDED,
) -> Judgement:
    """Judge the plan on the world, to which the plan's network is `declared`.

    `live`: findings of the live cluster by check, which replace those of the snapshot. `hopeful` and `budget`
    are as in `rehearsed`.

    Raises `Refused` if the plan does not fit the world.
    """
    nodes = nodes_of(world, cutover.selection)
    require_named(world, cutover)
    asked = {each.check: each for each in findings(world, cutover, nodes)} | _of(world, live or {})
    known = Known(entries=cutover.known, dead=_dead(world, cutover))
    asked = {name: known.excuse(finding, otherwise=Status.HEALTHY) for name, finding in asked.items()}
    plays = rehearsed(world, cutover, nodes, seed, hopeful=hopeful, budget=budget)
    all_weighed = (
        *(weighed(finding, cutover, play.cut_for_s) for play in plays for finding in play.findings),
        *(weighed(finding, cutover) for finding in asked.values()),
    )
    return Judgement(
        nodes=nodes,
        decision=decide(all_weighed),
        weighed=all_weighed,
        rehearsed=plays,
        unmatched=tuple(entry for entry in cutover.known if not _matches(entry, asked)),
    )


def _matches(entry: KnownUnhealthy, asked: Mapping[str, Finding]) -> bool:
    rows = asked[entry.check].evidence if entry.check in asked else ()
    return any(entry.covers(row.subject) and row.status is not Status.HEALTHY for row in rows)


def _dead(world: World, cutover: Cutover) -> frozenset[str]:
    """Return the nodes that are NotReady and known to be so."""
    named = [entry for entry in cutover.known if entry.check == NODES]
    dead = (node.subject for node in world.nodes if node.ready != "True")
    return frozenset(subject for subject in dead if any(entry.covers(subject) for entry in named))


def _of(world: World, live: Mapping[str, Finding]) -> dict[str, Finding]:
    """Omit the xDS finding if there is no Istio."""
    return {name: finding for name, finding in live.items() if name != XDS or world.mesh is not None}
