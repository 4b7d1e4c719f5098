"""The lock's transactions, and nft's answers about it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from chaosext.model.errors import Refused
from chaosext.model.owner import Claim, Holder
from chaosext.partition.foreign_rules import fingerprint
from chaosext.partition.lock_table import (
    hold_statements,
    parse_lock,
    release_ruleset,
    renew_ruleset,
    take_ruleset,
    takeover_ruleset,
)

HOLDER = Holder(host="laptop", boot="abcd1234", pids="4026531836", pid=42, started=4711)
CLAIM = Claim(run="20261123t1", owner="alice@laptop", holder=HOLDER)
SAID = "owner=alice@laptop holder=laptop/abcd1234/4026531836/42/4711"
ELEMENT = f'add element inet chaosext.lock run_20261123t1 {{ 1 timeout 60000ms comment "{SAID}" }}'
MADE = [
    "create table inet chaosext.lock",
    "add set inet chaosext.lock run_20261123t1 { type mark; flags timeout; }",
    ELEMENT,
]


def answer(*elements: Any, name: str = "run_20261123t1") -> str:
    found = {"family": "inet", "name": name, "table": "chaosext.lock", "type": "mark", "flags": ["timeout"]}
    return json.dumps(
        {
            "nftables": [
                {"metainfo": {}},
                {"table": {}},
                {"set": found | ({"elem": list(elements)} if elements else {})},
            ]
        }
    )


def statements(ruleset: str) -> list[str]:
    *found, end = ruleset.splitlines()
    assert end == "# end of transaction"
    return found


def test_to_take_is_to_create() -> None:
    assert statements(take_ruleset(CLAIM)) == MADE


def test_to_take_over_begins_by_deleting_the_very_one_that_was_seen() -> None:
    assert statements(takeover_ruleset(CLAIM, "old")) == [
        "delete set inet chaosext.lock run_old",
        "delete table inet chaosext.lock",
        *MADE,
    ]


def test_to_renew_creates_nothing() -> None:
    assert statements(renew_ruleset(CLAIM)) == ["flush set inet chaosext.lock run_20261123t1", ELEMENT]


def test_to_rest_on_it_is_to_delete_and_to_add_its_element() -> None:
    """The kernel finds none to delete where it has expired, or is another's."""
    assert hold_statements(CLAIM) == ("delete element inet chaosext.lock run_20261123t1 { 1 }", ELEMENT)
    assert hold_statements(CLAIM, ttl_s=75)[1] == ELEMENT.replace("60000ms", "75000ms")


def test_to_release_deletes_the_runs_own() -> None:
    found = statements(release_ruleset("20261123t1"))
    assert found == ["delete set inet chaosext.lock run_20261123t1", "delete table inet chaosext.lock"]


@pytest.mark.parametrize("run", ["", "A", "x y", "x; flush ruleset", "a" * 21])
def test_what_can_not_name_a_run_is_refused(run: str) -> None:
    with pytest.raises(Refused, match="can not name a run"):
        release_ruleset(run)


def test_a_long_host_is_cut_short_and_its_process_still_told() -> None:
    long = replace(CLAIM, owner="a" * 40, holder=replace(HOLDER, host="h" * 64, pid=2**22, started=10**10))
    comment = take_ruleset(long).split('"')[1]
    assert len(comment) == 128
    timed = {"elem": {"val": 1, "timeout": 60, "expires": 59, "comment": comment}}
    found = parse_lock(answer(timed))
    assert found is not None
    assert found.holder is not None
    assert (found.owner, found.holder.pid, found.holder.started) == ("a" * 40, 2**22, 10**10)


def test_a_live_lock_is_read() -> None:
    found = parse_lock(answer({"elem": {"val": 1, "timeout": 60, "expires": 43, "comment": SAID}}))
    assert found is not None
    assert (found.run, found.owner, found.holder) == ("20261123t1", "alice@laptop", HOLDER)
    assert (found.remaining_s, found.is_live, found.may_be_taken) == (43, True, False)


def test_an_expired_lock_has_forgotten_whose_it_was() -> None:
    found = parse_lock(answer())
    assert found is not None
    assert (found.run, found.owner, found.holder) == ("20261123t1", "", None)
    assert (found.remaining_s, found.is_live, found.may_be_taken) == (0, False, True)


def test_no_answer_is_no_lock() -> None:
    assert parse_lock("\n") is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(json.dumps({"nftables": [{"table": {"name": "chaosext.lock"}}]}), id="no set"),
        pytest.param(answer(name="other"), id="another's set"),
    ],
)
def test_what_is_not_as_ours_may_not_be_taken(text: str) -> None:
    found = parse_lock(text)
    assert found is not None
    assert (found.run, found.may_be_taken) == ("", False)
    assert "did not make" in found.refusal("node cp").message


@pytest.mark.parametrize("text", ["nonsense", "[]", "{}", '{"nftables": [{"set": 1}]}', '{"nftables": 3}'])
def test_what_is_not_nfts_answer_is_said(text: str) -> None:
    with pytest.raises(ValueError):
        parse_lock(text)


def test_a_comment_that_is_not_ours_leaves_the_holder_unknown_and_the_lock_held() -> None:
    found = parse_lock(
        answer({"elem": {"val": 1, "timeout": 60, "expires": 43, "comment": "owner=a holder=b"}})
    )
    assert found is not None
    assert (found.owner, found.holder, found.may_be_taken) == ("a", None, False)


def test_the_lock_is_no_foreign_rule() -> None:
    ours = "table inet chaosext.lock {\n\tset run_a {\n\t\ttype mark\n\t\tflags timeout\n\t}\n}\n"
    theirs = "table ip nat {\n}\n"
    assert fingerprint(ours + theirs) == fingerprint(theirs)
