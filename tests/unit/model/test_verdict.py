"""The values that everybody speaks: exit codes as design has them, JSON that machines read."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest

from chaosext.model.errors import ChaosextError, Inconclusive, Refused, Unreachable, Unsafe
from chaosext.model.findings import Evidence, Finding, Status
from chaosext.model.result import Lane, RunResult
from chaosext.model.timeline import Event, Kind
from chaosext.model.verdict import WITH_ROLLBACK, Outcome, Verdict


@pytest.mark.parametrize(
    ("outcome", "verified", "number", "exit_code"),
    [
        (Outcome.PASSED, None, None, 0),
        (Outcome.DEVIATED, True, None, 10),
        (Outcome.DEVIATED, False, None, 11),
        (Outcome.DEVIATED, None, None, 11),
        (Outcome.REFUSED, None, None, 20),
        (Outcome.INCONCLUSIVE, None, None, 30),
        (Outcome.NOT_KNOWN, None, None, 30),
        (Outcome.UNSAFE, None, None, 40),
        (Outcome.INTERRUPTED, None, 2, 130),
        (Outcome.INTERRUPTED, None, 15, 143),
        (Outcome.INTERRUPTED, None, None, 130),
    ],
)
def test_exit_codes(outcome: Outcome, verified: bool | None, number: int | None, exit_code: int) -> None:
    verdict = Verdict(outcome=outcome, reasons=(), rollback_verified=verified, signal_number=number)
    assert verdict.exit_code == exit_code
    assert verdict.to_json()["exit_code"] == exit_code


def test_a_deviation_that_was_expected_must_have_been_rolled_back() -> None:
    verified = Verdict(outcome=Outcome.DEVIATED, reasons=(), rollback_verified=True)
    unverified = Verdict(outcome=Outcome.DEVIATED, reasons=(), rollback_verified=False)
    assert verified.exit_code_for(Outcome.DEVIATED) == 0
    assert unverified.exit_code_for(Outcome.DEVIATED) == 11


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - WITH_ROLLBACK))
@pytest.mark.parametrize("verified", [True, False])
def test_a_verdict_that_no_run_gives_is_not_read(outcome: Outcome, verified: bool) -> None:
    value = {"verdict": outcome.value, "exit_code": 30, "reasons": [], "rollback_verified": verified}
    with pytest.raises(ValueError, match="rollback_verified"):
        Verdict.from_json(value)


@pytest.mark.parametrize("verified", ["", "no", 0, 1, [], {}])
def test_a_verdict_is_not_read_whose_rollback_is_neither_verified_nor_not(verified: Any) -> None:
    value = {"verdict": "deviated", "exit_code": 11, "reasons": [], "rollback_verified": verified}
    with pytest.raises(ValueError, match="rollback_verified"):
        Verdict.from_json(value)


def test_a_pass_that_nobody_expected_is_noticed() -> None:
    assert Verdict(outcome=Outcome.PASSED, reasons=()).exit_code_for(Outcome.DEVIATED) == 1


@pytest.mark.parametrize(
    ("kind", "exit_code"), [(Refused, 20), (Inconclusive, 30), (Unreachable, 30), (Unsafe, 40)]
)
def test_errors_carry_their_exit_code_and_their_fix(kind: type[ChaosextError], exit_code: int) -> None:
    assert kind.exit_code == exit_code
    assert str(kind("ttl_s: 0", "give seconds")) == "ttl_s: 0: give seconds"
    assert str(kind("ttl_s: 0")) == "ttl_s: 0"


def test_a_finding_as_json() -> None:
    evidence = Evidence(subject="Node/a", status=Status.UNKNOWN, detail="no answer")
    finding = Finding(check="c", status=Status.UNKNOWN, summary="s", evidence=(evidence,))
    assert finding.to_json() == {
        "check": "c",
        "status": "unknown",
        "summary": "s",
        "evidence": [{"subject": "Node/a", "status": "unknown", "detail": "no answer"}],
    }


def result(**outages: tuple[tuple[float, float | None], ...]) -> RunResult:
    return RunResult(
        run="r",
        experiment="e",
        started_at="",
        duration_s=1.26,
        verdict=Verdict(outcome=Outcome.PASSED, reasons=("well",)),
        events=(Event(t_s=100.0, kind=Kind.HEAL, object="Node/cp", detail="", source=""),),
        outages={Lane.DNS: outages},
    )


def test_the_longest_outage_counts_an_open_window_to_the_last_event() -> None:
    assert result().longest_dns_outage_s == 0
    assert result(a=((10.0, 30.0),), b=((5.0, 6.0), (40.0, 50.0))).longest_dns_outage_s == 20
    assert result(a=((10.0, 30.0), (60.0, None))).longest_dns_outage_s == 40


def test_a_result_as_json() -> None:
    value = result(a=((10.0, None),)).to_json()
    assert value["schema"] == "chaosext.result/v1"
    assert (value["verdict"], value["exit_code"], value["duration_s"]) == ("passed", 0, 1.3)
    assert value["dns_outages_s"] == {"a": [[10.0, None]]}


RESULT = {
    **result(a=((10.0, None),)).to_json(),
    "rules": [{"rule": "cut", "status": None, "reason": "not reached"}],
    "clocks": {"cp": {"offset_s": 1, "error_s": 0.1, "wall_skew_s": 0.0, "boots": 1}},
    "foreign_rules": {"changed_by": {"kube-proxy": 1}, "unattributed": [], "not_compared": ["cp"]},
    "stopped": {"by": "abort", "name": "", "reason": "enough"},
}


def test_a_result_is_read_back_as_written() -> None:
    read = RunResult.from_json(RESULT, ())
    assert RunResult.from_json(json.loads(json.dumps(read.to_json())), ()) == read
    assert json.dumps(read.to_json()["stopped"]) == json.dumps(RESULT["stopped"])


@pytest.mark.parametrize(
    ("part", "missing"),
    [
        ("clocks", "boots"),
        ("foreign_rules", "changed_by"),
        ("foreign_rules", "unattributed"),
        ("foreign_rules", "not_compared"),
        ("stopped", "name"),
    ],
)
def test_a_result_is_rejected_when_a_part_of_it_lacks_a_field(part: str, missing: str) -> None:
    damaged = copy.deepcopy(RESULT)
    (damaged[part].get("cp") or damaged[part]).pop(missing)
    with pytest.raises(ValueError, match=missing):
        RunResult.from_json(damaged, ())


@pytest.mark.parametrize("wrong", [True, "1", float("nan"), float("inf"), 10**16, 10**400, None])
def test_an_event_is_rejected_when_its_time_is_not_a_finite_number(wrong: object) -> None:
    line = {"t_s": 1, "kind": "heal", "object": "Node/cp", "detail": "", "source": ""}
    assert msgspec.convert(line, Event).t_s == 1.0
    with pytest.raises(ValueError):
        msgspec.convert({**line, "t_s": wrong}, Event)


def test_kinds_are_those_of_the_design() -> None:
    wanted = (
        "cut node_not_ready node_tainted zone_state pod_evicted pod_created pod_bound pod_pending pod_ready pod_gone "
        "endpoints_changed dns_degraded dns_dead dns_restored xds_lost xds_restored probe_failing crash_loop heal "
        "node_ready rollback steady"
    )
    assert set(wanted.split()) <= {kind.value for kind in Kind}
