"""The timings in force, read from the arguments of the static Pods."""

from __future__ import annotations

from typing import Any

import pytest

from chaosext.cluster.timings import Timings, timings_from


def pod(*command: str, **more: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"command": list(command), **more}]}}


def test_without_flags_the_defaults_are_in_force() -> None:
    assert timings_from([]) == Timings()
    assert timings_from([pod("kube-controller-manager", "--leader-elect=true")]) == Timings()
    assert Timings().eviction_s == 50 + 5 + 300


def test_the_testbed() -> None:
    timings = timings_from(
        [
            pod("kube-controller-manager", "--node-monitor-grace-period=20s", "--node-monitor-period=5s"),
            pod("kube-apiserver", "--default-unreachable-toleration-seconds=20"),
        ]
    )
    assert (timings.grace_s, timings.toleration_s, timings.monitor_period_s) == (20, 20, 5)
    assert timings.eviction_s == 45
    assert timings.source.startswith("arguments of the static Pods")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("40s", 40),
        ("1m20s", 80),
        ("1h", 3600),
        ("1500ms", 1.5),
        ("2.5s", 2.5),
        ("40", 40),
        ("soon", 50),
        ("", 50),
    ],
)
def test_go_durations(text: str, seconds: float) -> None:
    assert timings_from([pod(f"--node-monitor-grace-period={text}")]).grace_s == seconds


def test_arguments_may_be_in_args_or_absent() -> None:
    assert timings_from([pod(args=["--node-monitor-period=2s"])]).monitor_period_s == 2
    assert timings_from([{}, {"spec": {"containers": [{"command": None, "args": None}]}}]) == Timings()
