"""Waits with a timeout; the error of each says what was missing and where to look next."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from chaosext.model.errors import ChaosextError
from chaosext.model.poll import poll

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

Value = TypeVar("Value")
POLL_S = 0.5


class NotInTime(ChaosextError):
    """A wait of the testbed timed out."""


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
    """Call `ready` every `poll_s` seconds until it returns a truthy value, and return that.

    Raises `NotInTime` after `timeout_s` seconds, naming `what` was missing and where to `look`, or `GaveUp`
    once `stop` is set.
    """
    if value := poll(ready, within_s=timeout_s, every_s=poll_s, wait=stop.wait):
        return value
    if stop.is_set():
        raise GaveUp(f"stopped waiting for {what}")
    raise NotInTime(f"timed out after {timeout_s:g} s waiting for {what}", look)
