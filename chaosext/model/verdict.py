"""The verdict of a run and the exit code that goes with it."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

EXPECTATION_NOT_MET_EXIT_CODE = 1


class Outcome(StrEnum):
    """The possible outcomes of a run."""

    PASSED = "passed"
    DEVIATED = "deviated"
    INCONCLUSIVE = "inconclusive"
    REFUSED = "refused"
    UNSAFE = "unsafe"
    INTERRUPTED = "interrupted"
    NOT_KNOWN = "not known"
    """Shown by reports for a run that was killed before its verdict; no run ends with it."""


WITH_ROLLBACK = frozenset({Outcome.DEVIATED, Outcome.INTERRUPTED})
"""Only these say whether the rollback was verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An outcome with its reasons.

    `rollback_verified` is None if no rollback was needed; `signal_number` is set if a signal ended the run.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    rollback_verified: bool | None = None
    signal_number: int | None = None

    @property
    def exit_code(self) -> int:
        """0 passed, 10/11 deviated with and without verified rollback, 20, 30, 40, or 128 + signal."""
        match self.outcome:
            case Outcome.PASSED:
                return 0
            case Outcome.DEVIATED:
                return 10 if self.rollback_verified else 11
            case Outcome.REFUSED:
                return 20
            case Outcome.INCONCLUSIVE | Outcome.NOT_KNOWN:
                return 30
            case Outcome.UNSAFE:
                return 40
            case Outcome.INTERRUPTED:
                return 128 + (self.signal_number or signal.SIGINT)

    @property
    def headline(self) -> str:
        """The outcome for people: `deviated, rollback verified`."""
        rollback = {True: ", rollback verified", False: ", rollback not verified", None: ""}
        return f"{self.outcome.value}{rollback[self.rollback_verified]}"

    def exit_code_for(self, expected: Outcome | None) -> int:
        """The process' exit code if the user expected `expected` (None: no expectation).

        The expected outcome exits 0, unless a rollback was not verified. An unexpected pass exits 1, so that
        CI notices that the incident was not reproduced.
        """
        if expected is None:
            return self.exit_code
        if self.outcome is expected and self.rollback_verified is not False:
            return 0
        return self.exit_code or EXPECTATION_NOT_MET_EXIT_CODE

    def ending(self, expected: Outcome | None) -> str:
        """The headline with the exit code for `expected`: `deviated, rollback verified (exit 0, as expected)`."""
        exit_code = self.exit_code_for(expected)
        as_expected = ", as expected" if exit_code == 0 and self.exit_code else ""
        return f"{self.headline} (exit {exit_code}{as_expected})"

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.outcome.value,
            "exit_code": self.exit_code,
            "rollback_verified": self.rollback_verified,
            "reasons": list(self.reasons),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Parse the output of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        outcome, verified = Outcome(value["verdict"]), value["rollback_verified"]
        if verified is not None and (type(verified) is not bool or outcome not in WITH_ROLLBACK):
            raise ValueError(f"rollback_verified: {verified!r} with the verdict {outcome.value!r}")
        by_signal = outcome is Outcome.INTERRUPTED and not value.get("stopped")
        return cls(
            outcome=outcome,
            reasons=tuple(map(str, value["reasons"])),
            rollback_verified=verified,
            signal_number=int(value["exit_code"]) - 128 if by_signal else None,
        )
