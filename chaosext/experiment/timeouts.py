"""Time limits of activities; a run ends if one is exceeded. Pure, except for reading chaosext's own signatures."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from chaosext.experiment.activity_names import HEAL, SEVER
from chaosext.experiment.load import activities, is_ours
from chaosext.partition.apply import DELAY_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.experiment.resolve import Resolved


SETTLE_S = 0.5
"""Margin of the wait beyond the kernel's timeout, seconds: timeouts and clocks are precise to milliseconds."""

BACK_S = 60.0
"""Time until nodes can be entered again, seconds: API servers redial kubelets at once, or after a timeout."""

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


def lasting_s(ttl_s: float) -> float:
    """From arming a cut that blocks access to its nodes until they can be entered again, at the latest, seconds."""
    return DELAY_S + ttl_s + SETTLE_S + BACK_S


def longest_s(resolved: Resolved) -> float:
    """Duration of the experiment if every activity takes all of its time, seconds."""
    played = [activity for _, activity in activities(resolved.experiment)]
    return sum(activity_limit_s(resolved, each) + activity_pause_s(resolved, each) for each in played)


def activity_limit_s(resolved: Resolved, activity: Mapping[str, Any]) -> float:
    provider = activity.get("provider") or {}
    arguments = resolved.looked_up(provider.get("arguments"))
    own_s = limit_s(activity, arguments, resolved.settings.activity_timeout_s)
    return own_s + (sealed_s(resolved) if provider.get("func") in (SEVER, HEAL) else 0.0)


def sealed_s(resolved: Resolved) -> float:
    """Time to wait for a cut that can't be healed, seconds; 0 if there is none."""
    ttls = [wish.ttl_s for _, wish in resolved.wishes()] if resolved.settings.is_sealed else []
    return lasting_s(max(ttls)) if ttls else 0.0


def activity_pause_s(resolved: Resolved, activity: Mapping[str, Any]) -> float:
    return longest_pause_s(resolved.looked_up(activity.get("pauses")))
