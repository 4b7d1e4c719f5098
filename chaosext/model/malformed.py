"""What others answer may have any shape: reading it ends in an answer, or in an error that says whose it was."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

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
