"""Whatever the rules: ours make no difference to what is foreign, and no difference goes unseen."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chaosext.partition.foreign_rules import changes, fingerprint

RULES = st.sampled_from(
    [
        "ip saddr 10.0.0.1 counter packets 1 bytes 2 drop",
        "counter jump cali-INPUT",
        "counter jump KUBE-SERVICES",
        "tcp dport 22 accept",
        'ip saddr 1.1.1.1 comment "table inet chaosext_r {"',
    ]
)
PARTS = st.sampled_from(
    ["chain INPUT", "chain KUBE-SERVICES", "chain cali-INPUT", "set mine", "map service-ips"]
)
NAMES = st.sampled_from(
    ["ip nat", "inet filter", "inet chaos", "ip6 mangle", "ip chaosext_r", "ip kube-proxy"]
)
TABLES = st.dictionaries(NAMES, st.dictionaries(PARTS, st.lists(RULES, max_size=4), max_size=3), max_size=3)
OURS = "table inet chaosext_r {\n\tchain inbound {\n\t\tcounter packets 9 bytes 9 drop\n\t}\n}\n"

Ruleset = dict[str, dict[str, list[str]]]


def texts(ruleset: Ruleset) -> list[str]:
    return [
        "\n".join(
            (
                f"table {name} {{",
                "\n".join(text for part in parts.items() for text in part_text(*part)),
                "}\n",
            )
        )
        for name, parts in ruleset.items()
    ]


def part_text(name: str, rules: list[str]) -> list[str]:
    return [f"\t{name} {{", *(f"\t\t{rule}" for rule in rules), "\t}\n"]


@given(tables=TABLES, place=st.integers(0, 3))
def test_our_table_makes_no_difference_to_what_is_foreign(tables: Ruleset, place: int) -> None:
    theirs = texts(tables)
    without, within = "".join(theirs), "".join((*theirs[:place], OURS, *theirs[place:]))
    assert fingerprint(within) == fingerprint(without)
    assert changes(without, within) == ()


@given(before=TABLES, after=TABLES)
def test_rules_have_changed_exactly_when_their_fingerprint_has(before: Ruleset, after: Ruleset) -> None:
    old, new = "".join(texts(before)), "".join(texts(after))
    assert (changes(old, new) == ()) == (fingerprint(old) == fingerprint(new))


def shuffle(data: st.DataObject, items: dict[str, Any]) -> list[tuple[str, Any]]:
    return data.draw(st.permutations(list(items.items())))


@given(tables=TABLES, data=st.data())
def test_parts_in_another_order_are_a_change_as_well(tables: Ruleset, data: st.DataObject) -> None:
    shuffled = {
        name: {
            part: data.draw(st.permutations(rules))
            for part, rules in data.draw(st.permutations(list(parts.items())))
        }
        for name, parts in data.draw(st.permutations(list(tables.items())))
    }
    old, new = "".join(texts(tables)), "".join(texts(shuffled))
    assert (changes(old, new) == ()) == (fingerprint(old) == fingerprint(new))


@given(before=TABLES, after=TABLES)
def test_what_came_and_went_is_the_same_both_ways(before: Ruleset, after: Ruleset) -> None:
    old, new = "".join(texts(before)), "".join(texts(after))
    there = {(each.table, each.chain, each.author): sorted(each.added) for each in changes(old, new)}
    back = {(each.table, each.chain, each.author): sorted(each.removed) for each in changes(new, old)}
    assert there == back
