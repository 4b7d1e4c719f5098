from __future__ import annotations

from dataclasses import replace

from chaosext.model import clock


def test_what_is_over_is_known_to_have_passed() -> None:
    """Of no moment, and of one of another boot, it is not known."""
    assert clock.is_over(clock.now())
    assert not clock.is_over(clock.now().later(60))
    assert not clock.is_over(replace(clock.now(), boot="another"))
    assert not clock.is_over(None)
