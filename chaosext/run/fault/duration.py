"""How long the activities of an experiment may take, including a cut that can't be healed early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chaosext.experiment.activity_names import HEAL, SEVER
from chaosext.experiment.load import activities
from chaosext.experiment.timeouts import limit_s, longest_pause_s
from chaosext.run.fault.irrevocable import lasting_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.experiment.resolve import Resolved


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
