"""An approval is for exactly what was approved, on one cluster, until it ends or is taken back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.model.errors import Refused
from chaosext.safety.approvals import (
    VARIABLE,
    Said,
    Word,
    approval_digest,
    as_line,
    last_words,
    own_approvals,
    read_words,
    require_approval,
    shown_values,
    write_word,
)

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
WORD = Word(
    said=Said.APPROVED,
    sha256="ab" * 32,
    cluster_uid="uid-1",
    context="prod-eu",
    by="alice@desk",
    at=NOW - timedelta(days=1),
    title="a game day",
    values={"ttl_s": 120.0},
)
EXPERIMENT: dict[str, Any] = {
    "title": "a game day",
    "configuration": {"ttl_s": {"type": "env", "key": "TTL_S", "default": 120}},
    "secrets": {"k8s": {"KUBERNETES_CONTEXT": "prod-eu", "KUBERNETES_VERIFY_SSL": "true"}},
    "method": [{"type": "action", "name": "cut", "provider": {"arguments": {"ttl_s": "${ttl_s}"}}}],
}
VALUES = {"ttl_s": 120.0}
DIGEST = approval_digest(EXPERIMENT, VALUES)


def holding(*words: Word, uid: str = "uid-1", now: datetime = NOW) -> Word:
    return require_approval(words, sha256=WORD.sha256, cluster_uid=uid, now=now)


@pytest.mark.parametrize(
    ("changed", "values"),
    [
        pytest.param({}, {"ttl_s": 600.0}, id="a value of the environment"),
        pytest.param({}, {**VALUES, "chaosext_max_ttl_s": 900}, id="a value more"),
        pytest.param({"method": []}, VALUES, id="the method"),
        pytest.param({"rollbacks": []}, VALUES, id="the rollbacks"),
        pytest.param({"x-more": 1}, VALUES, id="a key that nobody knows"),
        pytest.param(
            {"secrets": {"k8s": {"KUBERNETES_CONTEXT": "prod-eu"}}}, VALUES, id="how the cluster is entered"
        ),
    ],
)
def test_whatever_changes_what_is_done_changes_the_digest(changed: dict[str, Any], values: Any) -> None:
    assert approval_digest({**EXPERIMENT, **changed}, values) != DIGEST


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"title": "another title"}, id="its title"),
        pytest.param({"description": "more words", "tags": ["x"]}, id="what is said of it"),
        pytest.param({"dry": "actions"}, id="playing less of it"),
        pytest.param({"configuration": {"ttl_s": 120.0}}, id="where a value comes from"),
        pytest.param(
            {"secrets": {"k8s": {"KUBERNETES_CONTEXT": "in-cluster", "KUBERNETES_VERIFY_SSL": "true"}}},
            id="another machine's name of the cluster",
        ),
    ],
)
def test_what_changes_nothing_leaves_the_digest_alone(changed: dict[str, Any]) -> None:
    assert approval_digest({**EXPERIMENT, **changed}, VALUES) == DIGEST


def test_an_approval_holds_for_its_cluster_and_digest_until_it_ends() -> None:
    assert holding(WORD) is WORD
    ending = replace(WORD, until=NOW + timedelta(hours=1))
    assert holding(ending) is ending
    with pytest.raises(Refused, match=r"its approval by alice@desk ended on 2026-11-23 19:00 UTC"):
        holding(ending, now=NOW + timedelta(hours=1))


def test_another_cluster_or_digest_is_not_approved() -> None:
    with pytest.raises(Refused, match=r"it is not approved for this cluster \(uid-2\)$"):
        holding(WORD, uid="uid-2")
    other = replace(WORD, sha256="cd" * 32)
    with pytest.raises(Refused, match=r"digest abab.*; 1 other experiment\(s\) or settings are"):
        holding(other)


def test_the_last_word_holds_in_whatever_order_words_are_read() -> None:
    revoked = replace(WORD, said=Said.REVOKED, by="bob@desk", at=NOW, note="CHG-2")
    with pytest.raises(Refused, match=r"revoked by bob@desk on 2026-11-23 18:00 UTC \(CHG-2\)"):
        holding(revoked, WORD)
    again = replace(WORD, at=NOW + timedelta(minutes=1))
    assert holding(again, revoked, WORD) is again


def test_of_two_words_at_the_same_moment_the_revocation_holds() -> None:
    revoked = replace(WORD, said=Said.REVOKED)
    assert last_words([revoked, WORD]) == last_words([WORD, revoked]) == {WORD.about: revoked}


def test_words_come_back_from_the_file_as_they_were_written(tmp_path: Path) -> None:
    path, ending = tmp_path / "c" / "approvals.jsonl", replace(WORD, until=NOW, note="é")
    write_word(WORD, path)
    write_word(ending, path)
    assert read_words([path]) == (WORD, ending)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_named_file_counts_beside_ones_own_and_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert read_words() == ()
    write_word(WORD)
    assert own_approvals() == tmp_path / "chaosext" / "approvals.jsonl"
    named = tmp_path / "mounted.jsonl"
    monkeypatch.setenv(VARIABLE, str(named))
    with pytest.raises(Refused, match=r"the approvals in .*mounted\.jsonl can't be read"):
        read_words()
    other = replace(WORD, cluster_uid="uid-2")
    named.write_text(as_line(other))
    assert read_words() == (WORD, other)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "1",
        json.dumps({**WORD.to_json(), "said": "maybe"}),
        json.dumps({**WORD.to_json(), "at": "2026-11-23T18:00:00"}),
        json.dumps({**WORD.to_json(), "until": "2026-11-23"}),
        json.dumps({**WORD.to_json(), "more": 1}),
        json.dumps({key: value for key, value in WORD.to_json().items() if key != "cluster_uid"}),
    ],
)
def test_a_line_that_is_none_is_no_permission(tmp_path: Path, line: str) -> None:
    path = tmp_path / "approvals.jsonl"
    path.write_text(as_line(WORD) + "\n" + line + "\n")
    with pytest.raises(Refused, match="line 3 is not an approval") as refused:
        read_words([path])
    assert "remove that line" in refused.value.fix


def test_only_numbers_and_switches_are_shown() -> None:
    assert shown_values({"a": 1, "b": 2.5, "c": True, "token": "hunter2", "d": ["x"]}) == {
        "a": 1,
        "b": 2.5,
        "c": True,
    }
