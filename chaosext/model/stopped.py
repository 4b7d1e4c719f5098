"""Why a run stopped early: a stop condition was met, an abort was requested, or the cut was lost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Stopper(StrEnum):
    """What stopped a run."""

    CONDITION = "stop_condition"
    ABORT = "abort"
    CUT_LOST = "cut_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """What stopped a run. `name`: the stop condition's, or ""; `reason`: what was observed or requested, in a line."""

    by: Stopper
    name: str
    reason: str

    def __str__(self) -> str:
        if self.by is Stopper.CUT_LOST:
            return f"the cut was lost: {self.reason}"
        if self.by is Stopper.ABORT:
            return f"aborted: {self.reason}"
        return f"stop condition {self.name!r}: {self.reason}"
