"""Time limits of activities; a run ends if one is exceeded. Pure, except for reading chaosext's own signatures."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from chaosext.experiment.load import is_ours

if TYPE_CHECKING:
    from collections.abc import Mapping

WAITS: Mapping[str, Mapping[str, float]] = {
    "kube_dns_moved": {"timeout_s": 1},
    "steady_state": {"settle_s": 1, "dwell_s": 1},
    "reschedule_kube_dns": {"timeout_s": 2},
}
"""chaosext's activities that wait on purpose: argument -> how often that time may pass.

A rollback has two attempts.
"""


def limit_s(activity: Mapping[str, Any], arguments: Mapping[str, Any], default_s: float) -> float:
    """Return the time limit of `activity`, seconds; `arguments` are its provider's, with every `${…}` looked up.

    This is its own `timeout`, which Chaos Toolkit's specification has but chaoslib ignores. Otherwise it is
    `default_s` plus its intended waits: the arguments of chaosext's own activities, and the provider's
    `timeout`.
    """
    own = _seconds(activity.get("timeout"))
    if own > 0:
        return own
    provider = activity.get("provider") or {}
    on_purpose_s = _on_purpose_s(provider, arguments) if is_ours(activity) else 0.0
    return default_s + on_purpose_s + _seconds(provider.get("timeout"))


def longest_pause_s(pauses: Mapping[str, Any]) -> float:
    """Return the total of an activity's `pauses` before and after it, seconds: these are intended."""
    return sum(_seconds(pauses.get(key)) for key in ("before", "after"))


def _on_purpose_s(provider: Mapping[str, Any], arguments: Mapping[str, Any]) -> float:
    waits = WAITS.get(str(provider.get("func")), {})
    if not waits:
        return 0.0
    function = getattr(importlib.import_module(provider["module"]), provider["func"])
    defaults = {name: each.default for name, each in inspect.signature(function).parameters.items()}
    return sum(times * _seconds(arguments.get(name, defaults.get(name))) for name, times in waits.items())


def _seconds(value: Any) -> float:
    """Return a number of seconds; 0 for any other value. A list (connect and read, as in `requests`) is summed."""
    if isinstance(value, list | tuple):
        return sum(map(_seconds, value))
    try:
        return max(0.0, float(value))
    except (TypeError, ValueError):
        return 0.0
