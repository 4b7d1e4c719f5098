"""Waiting, always bounded: every wait says for what, and its error what to look at next."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from chaosext.model.errors import ChaosextError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

Value = TypeVar("Value")
POLL_S = 0.5


class NotInTime(ChaosextError):
    """Something the testbed waited for did not come."""


class GaveUp(ChaosextError):
    """A wait ended early because another stage had failed."""


def wait_until(
    ready: Callable[[], Value | None],
    *,
    what: str,
    look: str,
    timeout_s: float,
    stop: threading.Event,
    poll_s: float = POLL_S,
) -> Value:
    """Ask `ready` every `poll_s` seconds until it returns something truthy, and return that.

    Raises `NotInTime` after `timeout_s`, naming `what` was missing and where to `look`, and `GaveUp` once `stop`
    is set.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := ready()):
        if time.monotonic() >= deadline:
            raise NotInTime(f"timed out after {timeout_s:g} s waiting for {what}", look)
        if stop.wait(poll_s):
            raise GaveUp(f"stopped waiting for {what}")
    return value
