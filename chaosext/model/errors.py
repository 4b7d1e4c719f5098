"""Error types, one for each outcome that users and scripts must distinguish.

ChaosextError
├── Refused            exit 20: nothing was touched; the message names the field and the fix
├── Inconclusive       exit 30: the cut or an observation could not be verified
├── Unsafe             exit 40: a cut may still be active; the message says where and how to remove it
└── Unreachable        a node's shell or the API server did not answer in time (callers turn it into a finding)
    └── TooLarge       it did answer, but with more than the size limit

Any other exception is a bug, and ends a command with `EXIT_INTERNAL`.
"""

from __future__ import annotations

import difflib
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


EXIT_INTERNAL = 70
"""Exit code of a bug in chaosext, EX_SOFTWARE of BSD's sysexits.h: no verdict, and nothing was decided."""


class ChaosextError(Exception):
    """Base of every error that chaosext raises on purpose.

    `message` says what is wrong, `fix` says what to do next; one line each.
    """

    exit_code: ClassVar[int] = 30

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}: {self.fix}" if self.fix else self.message


class Refused(ChaosextError):
    """Invalid input, the wrong cluster, a failed gate or a missing tool. Nothing was touched."""

    exit_code: ClassVar[int] = 20


class Inconclusive(ChaosextError):
    """The cut or an observation could not be verified."""

    exit_code: ClassVar[int] = 30


class Unsafe(ChaosextError):
    """A cut or other leftovers may still be active. The message says what and where, the fix how to remove it."""

    exit_code: ClassVar[int] = 40


class Unreachable(ChaosextError):
    """A node's shell or the API server did not answer in time. Never treated as healthy."""

    exit_code: ClassVar[int] = 30


class TooLarge(Unreachable):
    """An answer exceeded the size limit (model/output_bounds.py), so its content is unknown."""


def did_you_mean(word: str, known: Iterable[object], *, prefix: str = "") -> str:
    """Return a hint for a mistyped `word`: the closest known name, or the list of all of them."""
    names = sorted(str(name) for name in known)
    near = difflib.get_close_matches(word, names, n=1)
    return (
        f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(prefix + name for name in names)}"
    )


MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors raised while reading a value of unexpected shape (deep nesting raises RecursionError)."""


BEYOND = 1e15
"""Larger than any real time, count or ratio. Sums of larger numbers overflow to infinity or lose integer precision."""


def finite(value: Any) -> float:
    """Convert `value` to a finite float. Raises TypeError, ValueError or OverflowError; also rejects NaN."""
    number = float(value)
    if not math.isfinite(number) or abs(number) > BEYOND:
        raise ValueError(f"{value!r:.40} is not a number to calculate with")
    return number


@contextmanager
def understood(whose: str) -> Iterator[None]:
    """Turn errors about a malformed value inside the block into `Unreachable`, naming `whose` answer it was."""
    try:
        yield
    except MALFORMED as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise Unreachable(f"{whose} gave an answer that can't be understood ({said})") from error
