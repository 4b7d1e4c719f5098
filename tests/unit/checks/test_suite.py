"""The door to the checks: every name has a check, and a cluster that doesn't answer is unknown, not an
exception.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from chaosext.checks import suite
from chaosext.checks.suite import CHECKS, STEADY_STATE, Surroundings, run_checks
from chaosext.model.errors import Refused, Unreachable
from chaosext.model.findings import Finding, Status


class DeadCluster:
    """Every question ends in `Unreachable`."""

    def __getattr__(self, name: str) -> Any:
        def ask(*args: Any, **kwargs: Any) -> Any:
            raise Unreachable(f"no answer to {name}")

        return ask


def around(**changes: Any) -> Surroundings:
    return Surroundings(**{"cluster": DeadCluster(), "shells": {}, **changes})


def test_all_checks_of_a_dead_cluster_are_unknown() -> None:
    findings = run_checks(tuple(CHECKS), around())
    assert [finding.check for finding in findings] == list(CHECKS)
    assert {finding.status for finding in findings} == {Status.UNKNOWN}
    assert "no answer to" in findings[0].summary


def test_an_unknown_name_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(Refused, match="dns_resolvable"):
        run_checks(["dns_resolvable", "dns_resolvabel"], around())


def test_a_check_that_takes_too_long_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(surroundings: Surroundings) -> Finding:
        time.sleep(1.0)
        raise AssertionError("nobody waits for this")

    monkeypatch.setattr(suite, "CHECKS", {"slow": slow})
    start = time.monotonic()
    (finding,) = run_checks(["slow"], around(), timeout_s=0.1)
    assert finding.status is Status.UNKNOWN
    assert "did not end within 0.1 s" in finding.summary
    assert time.monotonic() - start < 0.8


def test_a_programming_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(surroundings: Surroundings) -> Finding:
        raise KeyError("oops")

    monkeypatch.setattr(suite, "CHECKS", {"broken": broken})
    with pytest.raises(KeyError):
        run_checks(["broken"], around())


def test_checks_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def half(surroundings: Surroundings) -> Finding:
        time.sleep(0.5)
        return Finding(check="half", status=Status.HEALTHY, summary="")

    monkeypatch.setattr(suite, "CHECKS", {"half": half})
    start = time.monotonic()
    findings = run_checks(["half"] * 6, around())
    assert len(findings) == 6
    assert time.monotonic() - start < 2


def test_no_checks_no_findings() -> None:
    assert run_checks([], around()) == ()


def test_the_steady_state_is_made_of_checks() -> None:
    assert set(STEADY_STATE) < set(CHECKS)


def test_a_cut_without_baseline_is_unknown() -> None:
    (finding,) = run_checks(["cut_effective"], around())
    assert "before the cut" in finding.summary


def test_importing_the_door_loads_nothing_heavy() -> None:
    code = (
        "import sys, chaosext.checks.suite, chaosext.checks.dns_resolvable, chaosext.cluster.object_watch;"
        "print([m for m in ('kubernetes', 'dns', 'urllib3', 'websocket', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "[]"
