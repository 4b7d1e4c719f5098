"""The planned cut: nodes, duration, and the horizon of the prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from datetime import datetime

    from chaosext.rehearsal.snapshot.world import Doubt

MAX_HORIZON_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A cut of the nodes named in `cut_nodes` from the control plane, from 0 s to `cut_for_s`.

    `rollback_s`: when kube-dns is rescheduled (its Pods are deleted), None for never. `cut_at`: the earliest
    time of the cut, which comes up to `cut_within_s` later. Set it if the leases in the snapshot are fresh
    enough to show how old they are at the cut, or at least which are renewed together. `doubts`: why the real
    cut may differ from the modelled one; its effects are unknown then.

    Raises `Refused` for a cut that cannot be simulated.
    """

    cut_nodes: frozenset[str]
    cut_for_s: float = 480.0
    horizon_s: float = 900.0
    rollback_s: float | None = None
    cut_at: datetime | None = None
    cut_within_s: float = 0.0
    doubts: tuple[Doubt, ...] = ()

    def __post_init__(self) -> None:
        if not self.cut_nodes:
            raise Refused(
                "the cut includes no nodes", "name nodes, or a selector that matches some, in --cut-nodes"
            )
        if not 0 < self.cut_for_s <= self.horizon_s <= MAX_HORIZON_S:
            raise Refused(
                f"a cut of {self.cut_for_s:g} s within a horizon of {self.horizon_s:g} s cannot be simulated",
                f"choose 0 < --cut-for <= --horizon <= {MAX_HORIZON_S:g} s",
            )
        if self.rollback_s is not None and self.rollback_s < self.cut_for_s:
            raise Refused("the rollback is before the heal", "set --rollback-at to a time after --cut-for")
