"""How long an activity may take before the run is ended for it. Pure, but for reading our own signatures."""

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
"""Our own activities that wait on purpose: how often each of these arguments may pass (two attempts, see rollback)."""


def limit_s(activity: Mapping[str, Any], arguments: Mapping[str, Any], default_s: float) -> float:
    """Seconds that `activity` may take, its provider being given `arguments` (with every `${…}` looked up).

    Its own `timeout`, which Chaos Toolkit's specification has and chaoslib does not keep; else `default_s`, beyond what
    it waits on purpose: what our own probes are told to, or the provider's `timeout`.
    """
    own = _seconds(activity.get("timeout"))
    if own > 0:
        return own
    provider = activity.get("provider") or {}
    on_purpose_s = _on_purpose_s(provider, arguments) if is_ours(activity) else 0.0
    return default_s + on_purpose_s + _seconds(provider.get("timeout"))


def longest_pause_s(pauses: Mapping[str, Any]) -> float:
    """Seconds that an activity's `pauses` take before and after it, which are nobody's hanging."""
    return sum(_seconds(pauses.get(key)) for key in ("before", "after"))


def _on_purpose_s(provider: Mapping[str, Any], arguments: Mapping[str, Any]) -> float:
    waits = WAITS.get(str(provider.get("func")), {})
    if not waits:
        return 0.0
    function = getattr(importlib.import_module(provider["module"]), provider["func"])
    defaults = {name: each.default for name, each in inspect.signature(function).parameters.items()}
    return sum(times * _seconds(arguments.get(name, defaults.get(name))) for name, times in waits.items())


def _seconds(value: Any) -> float:
    """A number of seconds; 0 for what is none. A list (connect and read, as `requests` takes it) is their sum."""
    if isinstance(value, list | tuple):
        return sum(map(_seconds, value))
    try:
        return max(0.0, float(value))
    except (TypeError, ValueError):
        return 0.0
