"""What a journal of chaoslib says, activity by activity."""

from __future__ import annotations

from typing import Any

import pytest

from chaosext.model.finding import Status
from chaosext.run.judging.facts import facts_of
from chaosext.run.judging.verdict import Answer

REFUSED = "chaosext.model.errors.Refused: "
UNSAFE = "chaosext.model.errors.Unsafe: "


def finding(status: str, check: str = "steady_state") -> dict[str, Any]:
    return {"check": check, "status": status, "summary": f"{check} is {status}", "evidence": []}


def run(
    func: str, output: Any = None, *, kind: str = "action", error: str = "", module: str = "chaosext.x"
) -> dict[str, Any]:
    """An executed activity, as chaoslib 1.44 writes it."""
    played = {
        "activity": {
            "type": kind,
            "name": func,
            "provider": {"type": "python", "module": module, "func": func},
        },
        "output": output,
        "status": "failed" if error else "succeeded",
    }
    return played | ({"exception": [f"chaoslib.exceptions.ActivityFailed: {error}\n"]} if error else {})


SEVER = run("sever_control_plane", {"finding": finding("healthy", "cut_effective")})
HEAL = run("heal_control_plane", {"nodes": []})


def steady(status: str) -> dict[str, Any]:
    return run("steady_state", finding(status), kind="probe")


def looked(status: str) -> dict[str, Any]:
    return run("cut_effective", finding(status, "cut_effective"), kind="probe")


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ([], None),
        ([SEVER], Status.HEALTHY),
        ([SEVER, looked("healthy"), HEAL], Status.HEALTHY),
        ([SEVER, looked("unhealthy"), HEAL], Status.UNHEALTHY),
        ([SEVER, looked("unknown"), HEAL], Status.UNKNOWN),
        ([SEVER, HEAL, looked("unhealthy")], Status.HEALTHY),
        ([run("sever_control_plane", {"finding": None})], Status.UNKNOWN),
        ([run("sever_control_plane", error="boom")], Status.UNKNOWN),
        ([SEVER, run("cut_effective", kind="probe", error="boom"), HEAL], Status.UNKNOWN),
        ([run("sever_control_plane", {"finding": finding("healthy")}, module="somebody.elses")], None),
        ([run("sever_control_plane", {"finding": finding("healthy")}, module="chaosextra")], None),
    ],
)
def test_whether_the_cut_was_proven(method: list[Any], status: Status | None) -> None:
    cut = facts_of({"run": method}).cut
    assert (cut and cut.status) == status


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ([SEVER, steady("unhealthy")], Status.UNHEALTHY),
        ([SEVER, steady("unhealthy"), HEAL], None),
        ([SEVER, steady("unhealthy"), HEAL, steady("healthy")], Status.HEALTHY),
        ([SEVER, HEAL, steady("healthy"), steady("unknown")], Status.UNKNOWN),
        ([SEVER, HEAL, run("steady_state", kind="probe", error="boom")], Status.UNKNOWN),
    ],
)
def test_what_counts_is_the_steady_state_after_the_last_heal(
    method: list[Any], status: Status | None
) -> None:
    after = facts_of({"run": method}).after
    assert (after and after.status) == status


@pytest.mark.parametrize(
    ("rollbacks", "status"),
    [
        ([], None),
        ([HEAL], None),
        ([HEAL, steady("healthy")], Status.HEALTHY),
        ([steady("healthy"), HEAL], None),
        ([HEAL, steady("healthy"), looked("unhealthy")], Status.UNHEALTHY),
        ([HEAL, looked("healthy")], None),
        ([HEAL, steady("unknown")], Status.UNKNOWN),
        ([HEAL, run("steady_state", kind="probe", error="boom")], Status.UNKNOWN),
        ([steady("healthy")], Status.HEALTHY),
        ([run("x", module="a"), run("x", kind="probe", module="a"), steady("healthy")], Status.HEALTHY),
    ],
)
def test_what_verifies_a_rollback(rollbacks: list[Any], status: Status | None) -> None:
    rolled_back = facts_of({"rollbacks": rollbacks}).rolled_back
    assert (rolled_back and rolled_back.status) == status


def test_the_worse_of_hypothesis_and_steady_state_counts() -> None:
    probe = run("dns_resolvable", finding("unhealthy", "dns_resolvable"), kind="probe") | {
        "tolerance_met": False
    }
    states = {"after": {"steady_state_met": False, "probes": [probe]}}
    after = facts_of({"run": [HEAL, steady("healthy")], "steady_states": states}).after
    assert after == Answer(status=Status.UNHEALTHY, reason="dns_resolvable is unhealthy")


@pytest.mark.parametrize(
    ("probe", "status", "reason"),
    [
        (run("p", finding("unknown"), kind="probe"), Status.UNKNOWN, "steady_state is unknown"),
        (run("p", kind="probe", error="KeyError: 'x'"), Status.UNKNOWN, "p: KeyError: 'x'"),
        (run("p", False, kind="probe"), Status.UNHEALTHY, "p: False is out of tolerance"),
        (run("p", {"status": 503}, kind="probe"), Status.UNHEALTHY, "p: {'status': 503} is out of tolerance"),
    ],
)
def test_why_a_hypothesis_is_not_met(probe: dict[str, Any], status: Status, reason: str) -> None:
    state = {"steady_state_met": False, "probes": [probe | {"tolerance_met": False}]}
    assert facts_of({"steady_states": {"before": state}}).gate == Answer(status=status, reason=reason)


def test_a_hypothesis_without_an_answer_is_unknown() -> None:
    gate = facts_of({"steady_states": {"before": {"steady_state_met": None, "probes": []}}}).gate
    assert gate
    assert gate.status is Status.UNKNOWN


def test_refusals_count_only_while_nothing_was_touched() -> None:
    refused = run("sever_control_plane", error=f"{REFUSED}peers: none: name them")
    assert facts_of({"run": [refused]}).refusals == ("peers: none: name them",)
    assert facts_of({"run": [steady("healthy"), refused]}).refusals == ("peers: none: name them",)
    assert facts_of({"run": [SEVER, refused]}).refusals == ()
    assert facts_of({"run": [run("kill", module="chaosk8s.pod", error="half done"), refused]}).refusals == ()


def test_what_may_be_left_is_read_from_method_and_rollbacks() -> None:
    left = run("heal_control_plane", error=f"{UNSAFE}left on cp: nft delete")
    for section in ("run", "rollbacks"):
        assert facts_of({section: [left]}).left_behind == ("left on cp: nft delete",)


def test_who_looked_at_the_end_knows_what_is_left() -> None:
    feared = run("heal_control_plane", error=f"{UNSAFE}left on cp: nft delete")
    for seen in ((), ("left on cp, still",)):
        facts = facts_of({"run": [feared]}, left_behind=seen)
        assert (facts.left_behind, facts.feared) == (seen, ("left on cp: nft delete",))


def test_failures_are_named() -> None:
    facts = facts_of({"run": [run("a", error="ValueError: no")], "rollbacks": [run("b", error="boom")]})
    assert facts.method_failures == ("a: ValueError: no",)
    assert facts.rollback_failures == ("b: boom",)


@pytest.mark.parametrize("status", ["aborted", "interrupted"])
def test_a_journal_that_was_cut_short_says_so(status: str) -> None:
    assert facts_of({"status": status}).method_failures == (f"the experiment was {status} before its end",)
    told = facts_of({"status": status, "abort_reason": "TypeError: no range"})
    assert told.method_failures == ("TypeError: no range",)


def test_a_probe_that_refuses_before_a_real_cut_is_no_refusal_of_the_run() -> None:
    refused = run("steady_state", kind="probe", error=f"{REFUSED}unknown check dns: use dns_resolvable")
    facts = facts_of({"run": [refused, SEVER]})
    assert facts.refusals == ()
    assert facts.method_failures != ()


def test_how_much_of_kube_dns_was_moved_is_known_to_the_verdict() -> None:
    assert facts_of({"run": [run("kube_dns_moved", {"moved": "none"}, kind="probe")]}).moved == "none"
    assert facts_of({"run": [SEVER]}).moved is None
