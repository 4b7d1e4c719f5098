"""How a script's answer is read: by its sections, and as ended early when one is missing."""

from __future__ import annotations

import pytest

from chaosext.model.errors import Refused
from chaosext.partition.nft import Lasting, disarm_ruleset
from chaosext.partition.scripts import arm_input, heal_input, lasted, sections, tables

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


def test_the_first_lines_of_the_text_go_with_the_answer_below_them() -> None:
    mark = '\tcomment "chaosext run=r1 owner=a@b until=2026-10-02T12:01:31Z unless renewed"'
    section = f"table inet chaosext_r1 {{\n{mark}\n{TABLE}\ntable inet chaosext_r2 {{\n{TABLE.replace('r1', 'r2')}\n"
    assert [(facts.run, facts.is_marked) for facts in tables(section)] == [("r1", True), ("r2", False)]


def test_a_table_that_went_away_between_its_two_answers_is_none() -> None:
    other = TABLE.replace("r1", "r2")
    section = f"table inet chaosext_r1 {{\n\ntable inet chaosext_r2 {{\n{other}\n"
    assert [facts.run for facts in tables(section)] == ["r2"]


@pytest.mark.parametrize("answer", ["", '{"nftables": [{"table": {"flags": '])
def test_a_dormant_table_is_seen_although_its_answer_is_none(answer: str) -> None:
    (facts,) = tables(f"table inet chaosext_r1 {{\n\tflags dormant\n{answer}\n")
    assert (facts.run, facts.dormant) == ("r1", True)


def test_a_node_is_told_its_times_before_its_rules() -> None:
    said = arm_input(10_000, Lasting(armed=30_000, delay=0), "add table inet x\n")
    assert said == "10000 30000 0\nadd table inet x\n"


def test_a_node_says_how_long_it_has_set_its_times_to() -> None:
    assert lasted("29950 14950 120") == (Lasting(armed=29_950, delay=14_950), 0.12)
    for wrong in ("", "1 2", "1 2 3 4", "a b c"):
        with pytest.raises(ValueError):
            lasted(wrong)
