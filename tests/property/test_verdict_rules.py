"""Rules that every verdict keeps, whatever the facts."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chaosext.model.findings import Status, worst
from chaosext.model.verdict import Outcome, Verdict
from chaosext.run.verdict.derive import Answer, Facts, derive

reasons = st.lists(st.text(min_size=1, max_size=8), max_size=2).map(tuple)
answers = st.none() | st.builds(Answer, status=st.sampled_from(Status), reason=st.text(max_size=8))
facts = st.builds(
    Facts,
    gate=answers,
    cut=answers,
    after=answers,
    rolled_back=answers,
    missing=answers,
    method_failures=reasons,
    rollback_failures=reasons,
    refusals=reasons,
    left_behind=reasons,
    signal_number=st.none() | st.integers(1, 64),
)
verdicts = st.builds(
    Verdict,
    outcome=st.sampled_from(Outcome),
    reasons=reasons,
    rollback_verified=st.sampled_from([None, True, False]),
    signal_number=st.none() | st.integers(1, 64),
)


@given(facts)
def test_only_spotless_facts_end_in_exit_0(given_facts: Facts) -> None:
    failed = (
        given_facts.method_failures
        or given_facts.rollback_failures
        or given_facts.refusals
        or given_facts.left_behind
        or given_facts.signal_number is not None
    )
    answered = (
        given_facts.gate,
        given_facts.cut,
        given_facts.after,
        given_facts.rolled_back,
        given_facts.missing,
    )
    doubtful = any(answer and answer.status is not Status.HEALTHY for answer in answered)
    spotless = not failed and not doubtful and given_facts.after is not None
    assert (derive(given_facts).exit_code == 0) == spotless


@given(facts)
def test_every_verdict_says_why(given_facts: Facts) -> None:
    assert derive(given_facts).reasons


@given(facts)
def test_what_may_be_left_outranks_everything(given_facts: Facts) -> None:
    verdict = derive(replace(given_facts, left_behind=("the cut on cp",)))
    assert (verdict.outcome, verdict.exit_code) == (Outcome.UNSAFE, 40)


@given(facts, st.integers(1, 64))
def test_an_interrupt_outranks_what_the_journal_says(given_facts: Facts, number: int) -> None:
    verdict = derive(replace(given_facts, left_behind=(), signal_number=number))
    assert (verdict.outcome, verdict.exit_code) == (Outcome.INTERRUPTED, 128 + number)


@given(facts)
def test_a_rollback_counts_as_verified_only_where_the_steady_state_was_seen_after_it(
    given_facts: Facts,
) -> None:
    verdict = derive(given_facts)
    if verdict.rollback_verified:
        assert given_facts.rolled_back
        assert given_facts.rolled_back.status is Status.HEALTHY
        assert not given_facts.rollback_failures
        assert given_facts.missing is None or given_facts.missing.status is Status.HEALTHY
    assert (verdict.rollback_verified is None) == (verdict.outcome is not Outcome.DEVIATED)


@given(facts, st.sampled_from(["gate", "cut", "after", "missing"]))
def test_unknown_is_never_healthy(given_facts: Facts, field: str) -> None:
    """An unknown answer leads to the exit code of a doubt, never to that of a pass."""
    doubtful = replace(given_facts, **{field: Answer(status=Status.UNKNOWN, reason="no answer")})
    assert derive(doubtful).outcome is not Outcome.PASSED


@given(facts)
def test_what_is_missing_is_a_reason_of_every_verdict(given_facts: Facts) -> None:
    gone = Answer(status=Status.UNHEALTHY, reason="Node/w is gone")
    verdict = derive(replace(given_facts, missing=gone))
    assert any("Node/w is gone" in each for each in verdict.reasons)
    assert verdict.outcome is not Outcome.PASSED


@given(st.lists(st.sampled_from(Status)))
def test_a_whole_is_healthy_only_where_every_part_that_applies_is(parts: list[Status]) -> None:
    applicable = set(parts) - {Status.NOT_APPLICABLE}
    assert (worst(parts) is Status.HEALTHY) == (applicable == {Status.HEALTHY})
    assert (worst(parts) is Status.UNHEALTHY) == (Status.UNHEALTHY in parts)
    assert (worst(parts) is Status.NOT_APPLICABLE) == (bool(parts) and not applicable)


@given(verdicts, st.none() | st.sampled_from(Outcome))
def test_exit_0_is_a_pass_or_exactly_what_was_expected(verdict: Verdict, expected: Outcome | None) -> None:
    code = verdict.exit_code_for(expected)
    if expected is None:
        assert code == verdict.exit_code
    elif code == 0:
        assert verdict.outcome is expected
        assert verdict.rollback_verified is not False
    assert 0 <= code < 256


@given(verdicts, st.sampled_from(Outcome))
def test_what_was_not_expected_keeps_its_own_code(verdict: Verdict, expected: Outcome) -> None:
    if verdict.outcome is not expected:
        assert verdict.exit_code_for(expected) == (verdict.exit_code or 1)


@given(facts)
def test_an_activity_that_hung_is_never_a_pass_and_is_named(given_facts: Facts) -> None:
    verdict = derive(
        replace(given_facts, left_behind=(), signal_number=None, overdue="probe 'x' did not end within 9 s")
    )
    assert verdict.exit_code == 30
    assert verdict.reasons[0].startswith("probe 'x' did not end within 9 s; ")


@given(facts, reasons)
def test_what_ended_a_run_is_said_also_where_something_is_left(
    given_facts: Facts, seen: tuple[str, ...]
) -> None:
    verdict = derive(
        replace(given_facts, left_behind=("the cut on cp", *seen), signal_number=None, overdue="it hung")
    )
    assert verdict.exit_code == 40
    assert "it hung" in verdict.reasons


@given(facts)
def test_what_was_feared_and_seen_gone_is_kept_as_a_reason(given_facts: Facts) -> None:
    calm, feared = (
        derive(replace(given_facts, left_behind=())),
        derive(replace(given_facts, left_behind=(), feared=("cp",))),
    )
    assert feared.outcome is calm.outcome
    assert feared.reasons == (*calm.reasons, "confirmed gone at the end, but not by an activity: cp")
