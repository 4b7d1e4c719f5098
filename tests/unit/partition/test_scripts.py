"""How a script's answer is read: by its sections, and as ended early when one is missing."""

from __future__ import annotations

import pytest

from chaosext.model.errors import Refused
from chaosext.partition.nft import disarm_ruleset
from chaosext.partition.scripts import heal_input, sections, tables

SAID = ["noise", "@@chaosext a", "one", "two", "@@chaosext b", "@@chaosext end", "after"]
TABLE = '{"nftables": [{"table": {"family": "inet", "name": "chaosext_r1"}}]}'


def test_lines_belong_to_the_marker_above_them() -> None:
    assert sections(SAID, until="end") == {"a": "one\ntwo", "b": "", "end": ""}


def test_reading_stops_at_the_marker_that_was_waited_for() -> None:
    lines = iter(SAID)
    assert sections(lines, until="b") == {"a": "one\ntwo", "b": ""}
    assert list(lines) == ["@@chaosext end", "after"]
    assert sections(SAID, until="never") == {"a": "one\ntwo", "b": "", "end": "after"}


def test_what_lacks_a_section_counts_as_ended_early() -> None:
    assert "end" in sections(SAID, until="end", holding=("a", "b"))
    assert sections(SAID, until="end", holding=("a", "c")) == {"a": "one\ntwo", "b": ""}
    assert sections([], until="end", holding=("a",)) == {}
    assert sections(["@@chaosext a"], until="a", holding=("a",)) == {"a": ""}


def test_one_answer_a_line() -> None:
    other = TABLE.replace("r1", "r2")
    assert [facts.run for facts in tables(f"{TABLE}\n\n  \n{other}\n")] == ["r1", "r2"]
    assert tables("") == ()
    with pytest.raises(ValueError):
        tables(f"{TABLE}\nError: busy")


def test_a_heal_is_told_how_long_to_list_and_what_to_take_away() -> None:
    assert heal_input("r1", 10.0) == f"2.00 chaosext_r1\n{disarm_ruleset('r1')}"
    assert heal_input("r1", 1.23).startswith("0.25 chaosext_r1\n")
    with pytest.raises(Refused, match="can not name a run"):
        heal_input("r-1", 10.0)
