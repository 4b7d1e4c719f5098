"""What can go wrong, as people and machines should tell it apart.

ChaosextError
├── Refused            exit 20: nothing was touched; the message names the field and the fix
├── Inconclusive       exit 30: the cut or an observation could not be proven
├── Unsafe             exit 40: something of ours may be left; the message says what, where, how to remove it
└── Unreachable        a node's shell or the API server did not answer in time (callers turn it into a finding)
    └── TooLarge       it did answer, with more than is kept of one answer
"""

from __future__ import annotations

from typing import ClassVar


class ChaosextError(Exception):
    """Base of every error that chaosext raises on purpose.

    `message` says what is wrong in one line; `fix` says what to do next, in one line.
    """

    exit_code: ClassVar[int] = 30

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}: {self.fix}" if self.fix else self.message


class Refused(ChaosextError):
    """Bad input, the wrong cluster, a gate not met, a tool missing. Nothing was touched."""

    exit_code: ClassVar[int] = 20


class Inconclusive(ChaosextError):
    """The cut or an observation could not be proven."""

    exit_code: ClassVar[int] = 30


class Unsafe(ChaosextError):
    """Something of ours may be left. The message says what and where; the fix says how to remove it."""

    exit_code: ClassVar[int] = 40


class Unreachable(ChaosextError):
    """A node's shell, or the API server, gave no answer in time. Never read as healthy."""

    exit_code: ClassVar[int] = 30


class TooLarge(Unreachable):
    """Somebody answered with more than is kept of one answer (model/answers.py), so what it says is not known."""
