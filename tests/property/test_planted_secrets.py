"""Wherever a secret is planted in a journal, nothing that is kept of it holds the secret."""

from __future__ import annotations

import json
from typing import Any

from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosext.experiment.journal_redaction import FAILED, redacted
from chaosext.model.redact import REDACTED, pattern_of, without
from chaosext.run.verdict.derive import derive
from chaosext.run.verdict.facts import facts_of

secrets = st.uuids().map(lambda value: f"Zq{value.hex}")
numbers = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)


def around(secret: str) -> st.SearchStrategy[Any]:
    """Anything that JSON can hold, and the secret somewhere in it."""
    words = st.sampled_from(
        [secret, f"Bearer {secret}", f"https://u:{secret}@host/{secret}?t={secret}", "status", "x"]
    )
    return st.recursive(
        numbers | words,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
        max_leaves=5,
    )


def named(secret: str, *names: str) -> st.SearchStrategy[Any]:
    """What people name things in: names are theirs to be read, values are not. Or no such thing at all."""
    some = around(secret)
    return (
        st.dictionaries(st.sampled_from(names), some, max_size=2)
        | st.lists(some, max_size=2)
        | st.just(secret)
    )


def grouped(secret: str) -> st.SearchStrategy[Any]:
    """Secrets as the specification has them: groups of names. Or no such thing at all."""
    groups = st.dictionaries(st.sampled_from(["vault", "k8s"]), named(secret, "token", "dsn"), max_size=2)
    return groups | st.lists(around(secret), max_size=2) | st.just(secret)


def provider(secret: str) -> st.SearchStrategy[Any]:
    """A provider of somebody else's, with secrets wherever the specification has a place for a value."""
    some = around(secret)
    return st.fixed_dictionaries(
        {"type": st.sampled_from(["python", "process", "http"])},
        optional={
            "module": st.sampled_from(["their.probes", "chaosk8s.pod.probes"]),
            "url": some,
            "headers": named(secret, "Authorization", "Cookie"),
            "arguments": named(secret, "password", "n"),
            "timeout": some,
            "proxies": some,
            "expected_status": some,
        },
    )


def activity(secret: str) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {"type": st.just("probe"), "name": st.just("theirs"), "provider": provider(secret)},
        optional={
            "pauses": st.dictionaries(st.sampled_from(["before", "after"]), around(secret)),
            "x-more": around(secret),
        },
    )


def played(secret: str) -> st.SearchStrategy[Any]:
    said = st.sampled_from(
        [f"RuntimeError: {secret}", f"{FAILED}{secret}", f"failed to connect to https://{secret}"]
    )
    return st.fixed_dictionaries(
        {
            "activity": activity(secret),
            "status": st.sampled_from(["succeeded", "failed"]),
            "output": around(secret),
        },
        optional={
            "exception": said.map(lambda text: [FAILED + text]),
            "raised": st.fixed_dictionaries({"error": st.just("Unsafe"), "message": st.just(secret)}),
            "tolerance_met": st.booleans(),
            "more": around(secret),
        },
    )


def journal(secret: str) -> st.SearchStrategy[Any]:
    runs, some = st.lists(played(secret), max_size=2), around(secret)
    state = st.fixed_dictionaries({"steady_state_met": st.booleans(), "probes": runs})
    return st.fixed_dictionaries(
        {
            "status": st.sampled_from(["completed", "aborted"]),
            "run": runs,
            "rollbacks": runs,
            "steady_states": st.fixed_dictionaries(
                {"before": state, "after": state, "during": st.lists(state, max_size=1)}
            ),
            "experiment": st.fixed_dictionaries(
                {"title": st.just("t"), "method": st.lists(activity(secret), max_size=2)},
                optional={
                    "configuration": named(secret, "token", "dsn"),
                    "secrets": grouped(secret),
                    "extensions": some,
                    "runtime": some,
                },
            ),
        },
    )


planted = secrets.flatmap(lambda secret: st.tuples(st.just(secret), journal(secret)))


@given(planted)
@settings(max_examples=examples(60))
def test_no_planted_value_survives_in_the_journal_or_the_verdict(case: tuple[str, Any]) -> None:
    secret, value = case
    kept = redacted(value)
    assert secret not in json.dumps(kept)
    assert secret not in " ".join(derive(facts_of(kept)).reasons)


@given(planted)
@settings(max_examples=examples(40))
def test_redacting_twice_changes_nothing(case: tuple[str, Any]) -> None:
    kept = redacted(case[1])
    assert redacted(kept) == kept


texts = st.text(min_size=4, max_size=12).filter(
    lambda text: text not in REDACTED and not set(text) & set(REDACTED)
)


@given(st.lists(texts, min_size=1, max_size=5), st.lists(st.text(max_size=5), max_size=6), st.randoms())
def test_no_known_value_survives_in_any_text(values: list[str], between: list[str], chance: Any) -> None:
    text = "".join(part + chance.choice(values) for part in between)
    said = without(pattern_of(values), text)
    assert not any(value in said for value in values)
