"""How long an activity may take: what it waits on purpose is no hanging."""

from __future__ import annotations

from typing import Any

import pytest

from chaosext.experiment.timeouts import limit_s, longest_pause_s

STEADY = {"type": "python", "module": "chaosext.probes", "func": "steady_state"}
RESCHEDULE = {"type": "python", "module": "chaosext.actions", "func": "reschedule_kube_dns"}
THEIRS = {"type": "python", "module": "their.probes", "func": "steady_state"}


@pytest.mark.parametrize(
    ("activity", "arguments", "seconds"),
    [
        ({"provider": THEIRS}, {"settle_s": 50}, 10.0),
        ({"provider": STEADY}, {"settle_s": 50, "dwell_s": 5}, 65.0),
        ({"provider": STEADY}, {}, 10.0),
        ({"provider": RESCHEDULE}, {}, 190.0),
        ({"provider": RESCHEDULE}, {"timeout_s": 4}, 18.0),
        ({"provider": {"type": "process", "timeout": 7}}, {}, 17.0),
        ({"provider": {"type": "http", "timeout": [1, 2]}}, {}, 13.0),
        ({"provider": {"type": "http", "timeout": "${t}"}}, {}, 10.0),
        ({"provider": STEADY, "timeout": 3}, {"settle_s": 50}, 3.0),
    ],
)
def test_the_limit_of_an_activity(
    activity: dict[str, Any], arguments: dict[str, Any], seconds: float
) -> None:
    assert limit_s(activity, arguments, 10.0) == seconds


def test_pauses_are_counted_together() -> None:
    assert longest_pause_s({"before": 2, "after": "3", "x": 9}) == 5.0
    assert longest_pause_s({"before": "${p}"}) == 0.0
