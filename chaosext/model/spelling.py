"""Hints for mistyped words. Pure."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[object], *, prefix: str = "") -> str:
    """A hint for a mistyped `word`: the nearest known one, else all of them."""
    names = sorted(str(name) for name in known)
    near = difflib.get_close_matches(word, names, n=1)
    return (
        f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(prefix + name for name in names)}"
    )
