"""The state of a stop condition, and when it stops a run. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Says(StrEnum):
    """Whether a stop condition holds."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ConditionReply:
    """One answer, and what was seen (or why it is unknown), in a line."""

    says: Says
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionStanding:
    """The state of one condition so far.

    `for_s`: how long it must be true to stop; `unknown_s`: how long it may be unknown, since unknown is never healthy;
    None: forever. `true_s` and `unknown_s_since` are since when (monotonic seconds) it is; an unknown answer does not
    end a true state, as it was not seen false.
    """

    for_s: float = 0.0
    unknown_s: float | None = None
    true_since_s: float | None = None
    unknown_since_s: float | None = None
    last: ConditionReply | None = None

    def heard(self, reply: ConditionReply, at_s: float) -> ConditionStanding:
        """The state after an answer at `at_s`."""
        match reply.says:
            case Says.TRUE:
                since = at_s if self.true_since_s is None else self.true_since_s
                return replace(self, true_since_s=since, unknown_since_s=None, last=reply)
            case Says.FALSE:
                return replace(self, true_since_s=None, unknown_since_s=None, last=reply)
            case Says.UNKNOWN:
                since = at_s if self.unknown_since_s is None else self.unknown_since_s
                return replace(self, unknown_since_s=since, last=reply)

    def why_stop(self, at_s: float) -> str:
        """Why the run must stop now; "": it need not."""
        if self.last is None or self.last.says is Says.FALSE:
            return ""
        if self.last.says is Says.TRUE and self.true_since_s is not None:
            return self.last.detail if at_s - self.true_since_s >= self.for_s else ""
        if (
            self.unknown_s is None
            or self.unknown_since_s is None
            or at_s - self.unknown_since_s < self.unknown_s
        ):
            return ""
        return f"unknown for {at_s - self.unknown_since_s:.0f} s: {self.last.detail}"
