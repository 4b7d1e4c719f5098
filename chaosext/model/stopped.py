"""Why a run was stopped before its end: a condition came true, an abort was asked for, the cut was lost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


class Stopper(StrEnum):
    """What stopped a run."""

    CONDITION = "stop_condition"
    ABORT = "abort"
    CUT_LOST = "cut_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """`name` is the condition's, else ""; `reason` says what was seen, or what was asked for, in a line."""

    by: Stopper
    reason: str
    name: str = ""

    def __str__(self) -> str:
        if self.by is Stopper.CUT_LOST:
            return f"the cut was lost: {self.reason}"
        if self.by is Stopper.ABORT:
            return f"aborted: {self.reason}"
        return f"stop condition {self.name!r}: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        return {"by": self.by.value, "name": self.name, "reason": self.reason}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what `to_json` did not write."""
        return cls(by=Stopper(value["by"]), name=str(value["name"]), reason=str(value["reason"]))
