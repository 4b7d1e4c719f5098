"""How many examples a property is tested with, if it needs more or fewer than others."""

from __future__ import annotations

from hypothesis import settings


def examples(per_cent: int) -> int:
    """Return so many per cent of the examples that the loaded profile (tests/conftest.py) makes, at least 5."""
    return max(5, settings.default.max_examples * per_cent // 100)
