"""What can go wrong, as people and machines should tell it apart.

ChaosextError
├── Refused            exit 20: nothing was touched; the message names the field and the fix
├── Inconclusive       exit 30: the cut or an observation could not be proven
├── Unsafe             exit 40: something of ours may be left; the message says what, where, how to remove it
└── Unreachable        a node's shell or the API server did not answer in time (callers turn it into a finding)
    └── TooLarge       it did answer, with more than is kept of one answer
"""

from __future__ import annotations

import difflib
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


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


def did_you_mean(word: str, known: Iterable[object], *, prefix: str = "") -> str:
    """A hint for a mistyped `word`: the nearest known one, else all of them."""
    names = sorted(str(name) for name in known)
    near = difflib.get_close_matches(word, names, n=1)
    return (
        f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(prefix + name for name in names)}"
    )


MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What is raised by reading a value whose shape isn't the one that was expected (deep nesting: RecursionError)."""


BEYOND = 1e15
"""No time, count or ratio is as large: sums of such numbers are infinite, and no integers."""


def finite(value: Any) -> float:
    """`value` as a number to reckon with. Raises TypeError, ValueError or OverflowError; NaN is none."""
    number = float(value)
    if not math.isfinite(number) or abs(number) > BEYOND:
        raise ValueError(f"{value!r:.40} is no number to reckon with")
    return number


@contextmanager
def understood(whose: str) -> Iterator[None]:
    """Within it, a value of the wrong shape raises `Unreachable`: `whose` answer gave no proper one."""
    try:
        yield
    except MALFORMED as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise Unreachable(f"{whose} gave an answer that can't be understood ({said})") from error
