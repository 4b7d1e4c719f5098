"""What a journal of chaoslib says, activity by activity."""

from __future__ import annotations

from typing import Any

import pytest

from chaosext.experiment.journal_redaction import RAISED
from chaosext.model.errors import ChaosextError, Refused, Unsafe
from chaosext.model.findings import Status
from chaosext.run.verdict.derive import Answer
from chaosext.run.verdict.facts import facts_of


def finding(status: str, check: str = "steady_state") -> dict[str, Any]:
    return {"check": check, "status": status, "summary": f"{check} is {status}", "evidence": []}


def run(
    func: str,
    output: Any = None,
    *,
    kind: str = "action",
    error: str | ChaosextError = "",
    module: str = "chaosext.x",
) -> dict[str, Any]:
    """An executed activity, as chaoslib 1.44 and the strict run write it."""
    played = {
        "activity": {
            "type": kind,
            "name": func,
            "provider": {"type": "python", "module": module, "func": func},
        },
        "output": output,
        "status": "failed" if error else "succeeded",
    }
    if isinstance(error, ChaosextError):
        played[RAISED] = {"error": type(error).__name__, "message": str(error)}
        error = f"{type(error).__module__}.{type(error).__name__}: {error}"
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
    refused = run("sever_control_plane", error=Refused("peers: none", "name them"))
    assert facts_of({"run": [refused]}).refusals == ("peers: none: name them",)
    assert facts_of({"run": [steady("healthy"), refused]}).refusals == ("peers: none: name them",)
    assert facts_of({"run": [SEVER, refused]}).refusals == ()
    assert facts_of({"run": [run("kill", module="chaosk8s.pod", error="half done"), refused]}).refusals == ()


def test_what_may_be_left_is_read_from_method_and_rollbacks() -> None:
    left = run("heal_control_plane", error=Unsafe("left on cp", "nft delete"))
    for section in ("run", "rollbacks"):
        assert facts_of({section: [left]}).left_behind == ("left on cp: nft delete",)


def test_who_looked_at_the_end_knows_what_is_left() -> None:
    feared = run("heal_control_plane", error=Unsafe("left on cp", "nft delete"))
    for seen in ((), ("left on cp, still",)):
        facts = facts_of({"run": [feared]}, left_behind=seen)
        assert (facts.left_behind, facts.feared) == (seen, ("left on cp: nft delete",))


@pytest.mark.parametrize("error", ["Refused", "Unsafe"])
def test_facts_take_no_error_from_the_text_of_a_traceback(error: str) -> None:
    quoted = run("a", error=f"chaosext.model.errors.{error}: quoted by another activity")
    facts = facts_of({"run": [quoted]})
    assert (facts.refusals, facts.left_behind) == ((), ())
    assert facts.method_failures


def test_failures_are_named() -> None:
    facts = facts_of({"run": [run("a", error="ValueError: no")], "rollbacks": [run("b", error="boom")]})
    assert facts.method_failures == ("a: ValueError: no",)
    assert facts.rollback_failures == ("b: boom",)
    refused = facts_of({"run": [SEVER, run("a", error=Refused("no peers", "name them"))]})
    assert refused.method_failures == ("a: no peers: name them",)


@pytest.mark.parametrize("status", ["aborted", "interrupted"])
def test_a_journal_that_was_cut_short_says_so(status: str) -> None:
    assert facts_of({"status": status}).method_failures == (f"the experiment was {status} early",)
    told = facts_of({"status": status, "abort_reason": "TypeError: no range"})
    assert told.method_failures == ("TypeError: no range",)


def test_a_probe_that_refuses_before_a_real_cut_is_no_refusal_of_the_run() -> None:
    refused = run("steady_state", kind="probe", error=Refused("unknown check dns", "use dns_resolvable"))
    facts = facts_of({"run": [refused, SEVER]})
    assert facts.refusals == ()
    assert facts.method_failures != ()


def test_how_much_of_kube_dns_was_moved_is_known_to_the_verdict() -> None:
    assert facts_of({"run": [run("kube_dns_moved", {"moved": "none"}, kind="probe")]}).moved == "none"
    assert facts_of({"run": [SEVER]}).moved is None


def test_what_the_runner_itself_saw_is_taken_over() -> None:
    feared = run("heal_control_plane", error=Unsafe("cp1 may be cut", "heal it"))
    journal = {"run": [feared]}
    unseen = facts_of(journal)
    assert (unseen.left_behind, unseen.feared) == (
        ("cp1 may be cut: heal it",),
        (),
    )
    seen = facts_of(journal, left_behind=["cp2"], signal_number=15, overdue="p took 9 s", stopped="p is true")
    assert (seen.left_behind, seen.feared) == (("cp2",), unseen.left_behind)
    assert (seen.signal_number, seen.overdue, seen.stopped) == (15, "p took 9 s", "p is true")
    assert (unseen.signal_number, unseen.overdue, unseen.stopped) == (None, "", "")
    assert facts_of(journal, left_behind=[]).left_behind == ()


def test_a_hypothesis_that_is_met_says_so() -> None:
    met = {"steady_state_met": True, "probes": [run("p", kind="probe", error="boom")]}
    reason = "every probe of the hypothesis is within tolerance"
    assert facts_of({"steady_states": {"before": met}}).gate == Answer(status=Status.HEALTHY, reason=reason)


def test_what_is_within_its_tolerance_is_no_reason() -> None:
    good = run("good", finding("unhealthy"), kind="probe") | {"tolerance_met": True}
    bad = run("bad", False, kind="probe") | {"tolerance_met": False}
    gate = facts_of({"steady_states": {"before": {"probes": [good, bad]}}}).gate
    assert gate == Answer(status=Status.UNHEALTHY, reason="bad: False is out of tolerance")
    nobody = facts_of({"steady_states": {"before": {"probes": [good]}}}).gate
    assert nobody == Answer(status=Status.UNKNOWN, reason="the hypothesis has no result")


def test_a_cut_that_nobody_asked_about_is_unknown() -> None:
    cut = facts_of({"run": [run("sever_control_plane", {"finding": None})]}).cut
    assert cut == Answer(status=Status.UNKNOWN, reason="no activity verified the cut")


def test_an_activity_that_failed_proves_nothing_whatever_it_returned() -> None:
    failed = run("steady_state", finding("healthy"), kind="probe", error="boom")
    after = facts_of({"run": [HEAL, failed]}).after
    assert after == Answer(status=Status.UNKNOWN, reason="steady_state: boom")


def test_what_comes_after_the_last_steady_state_hides_it_not() -> None:
    other = run("dns", kind="probe", module="a")
    assert facts_of({"run": [steady("unhealthy"), other]}).after == Answer(
        status=Status.UNHEALTHY, reason="steady_state is unhealthy"
    )
    rolled_back = facts_of({"rollbacks": [steady("healthy"), other, looked("unhealthy")]}).rolled_back
    assert rolled_back == Answer(status=Status.UNHEALTHY, reason="cut_effective is unhealthy")


def test_every_probe_before_the_heal_looks_at_the_cut() -> None:
    assert facts_of({"run": [SEVER, looked("unhealthy")]}).cut == Answer(
        status=Status.UNHEALTHY, reason="cut_effective is unhealthy"
    )


def test_the_reasons_of_equally_bad_answers_are_joined_once_each() -> None:
    probes = [run(name, False, kind="probe") for name in ("a", "b", "a")]
    gate = facts_of({"steady_states": {"before": {"probes": probes}}}).gate
    assert gate
    assert gate.reason == "a: False is out of tolerance; b: False is out of tolerance"


def test_of_two_equally_bad_answers_the_first_counts() -> None:
    state = {"probes": [run("p", False, kind="probe")]}
    after = facts_of({"run": [HEAL, steady("unhealthy")], "steady_states": {"after": state}}).after
    assert after == Answer(status=Status.UNHEALTHY, reason="steady_state is unhealthy")


def test_a_finding_without_a_summary_and_an_activity_without_a_name() -> None:
    bare = {"activity": {"provider": {"module": "chaosext.x", "func": "steady_state"}}, "status": "succeeded"}
    after = facts_of({"run": [HEAL, bare | {"output": {"status": "unknown"}}]}).after
    assert after == Answer(status=Status.UNKNOWN, reason="activity")
    assert facts_of({"run": [{"status": "failed"}]}).method_failures == ("activity: no result",)
    assert facts_of({"run": [{"exception": "KeyError"}]}).method_failures == ("activity: no result",)
    assert facts_of({"run": [{"exception": []}]}).method_failures == ("activity: no result",)


@pytest.mark.parametrize("provider", [{"func": "sever_control_plane"}, {"module": "chaosext.x"}, {}])
def test_a_provider_without_module_or_function_is_none_of_ours(provider: dict[str, str]) -> None:
    assert facts_of({"run": [{"activity": {"provider": provider}, "status": "succeeded"}]}).cut is None


def test_a_single_activity_where_a_list_is_expected_counts() -> None:
    assert facts_of({"run": SEVER}).cut == facts_of({"run": [SEVER]}).cut
    assert facts_of({"run": "half of a journal"}).method_failures == ("activity: no result",)


def test_what_is_not_applicable_alone_proves_nothing() -> None:
    """A steady state of nothing but checks that don't apply must never pass."""
    facts = facts_of({"run": [SEVER, HEAL, steady("not applicable")]})
    assert facts.after
    assert facts.after.status is Status.UNKNOWN


def test_what_is_not_applicable_takes_nothing_from_a_verified_rollback() -> None:
    bgp = run("bgp_established", finding("not applicable", "bgp_established"), kind="probe")
    rollbacks = [run("reschedule_kube_dns", {}), steady("healthy"), bgp]
    facts = facts_of({"rollbacks": rollbacks})
    assert facts.rolled_back
    assert facts.rolled_back.status is Status.HEALTHY


def test_a_hypothesis_that_insists_on_healthy_says_how_to_accept_what_does_not_apply() -> None:
    probe = run("bgp_established", finding("not applicable", "bgp_established"), kind="probe")
    states = {"before": {"steady_state_met": False, "probes": [probe | {"tolerance_met": False}]}}
    gate = facts_of({"steady_states": states}).gate
    assert gate
    assert gate.status is Status.UNKNOWN
    assert "tolerance: [healthy, not applicable]" in gate.reason
