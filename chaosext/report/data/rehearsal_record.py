"""What the pages of a rehearsal are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.report.data.predicted_lanes import LaneFacts, predicted_lanes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.rehearsal.simulate.planned_cut import Plan
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.snapshot.world import World
    from chaosext.report.data.predicted_lanes import PredictedLane


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalRecord:
    """A prediction with its question. `source`: the snapshot; `version`: Kubernetes' version, "" if unknown."""

    found: Prediction
    plan: Plan
    facts: LaneFacts
    source: str
    version: str
    node_count: int
    mitigations: tuple[str, ...] = ()

    @property
    def lanes(self) -> tuple[PredictedLane, ...]:
        return predicted_lanes(self.found, self.facts)


def recorded(
    found: Prediction, world: World, plan: Plan, *, files: Sequence[object], mitigations: Sequence[str] = ()
) -> RehearsalRecord:
    """Keep of `world` only what the pages show. `files`: those of the snapshot, "-" for stdin."""
    return RehearsalRecord(
        found=found,
        plan=plan,
        facts=LaneFacts.of(world, plan),
        source=", ".join("stdin" if str(each) == "-" else str(each) for each in files),
        version=world.control_plane.version,
        node_count=len(world.nodes),
        mitigations=tuple(mitigations),
    )
