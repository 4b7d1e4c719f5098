"""What a result says of the rules that aren't ours: identical, changed by whom, by nobody known, or not compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from checkout import ROOT

from chaosext.run.verdict.facts import LONGEST_LINE, MOST_LINES, foreign_rules

if TYPE_CHECKING:
    from chaosext.model.result import ForeignRules

GOLDEN = ROOT / "tests" / "golden" / "foreign"
FOUR, SIX = ((GOLDEN / f"kind-worker.{count}-replicas.nft").read_text() for count in ("four", "six"))


def chain(*rules: str) -> str:
    return "\n".join(("table inet mine {", "\tchain c {", *(f"\t\t{rule}" for rule in rules), "\t}", "}\n"))


def judged(before: dict[str, str | None], after: dict[str, str | None]) -> ForeignRules:
    found = foreign_rules(before, after)
    assert found is not None
    return found


def test_without_a_look_before_there_is_nothing_to_say() -> None:
    assert foreign_rules({}, {"cp": FOUR}) is None


def test_the_same_on_every_node_is_identical() -> None:
    found = judged({"a": FOUR, "b": SIX}, {"a": FOUR, "b": SIX})
    assert (found.identical, found.reasons) == (True, ())


def test_what_kube_proxy_and_calico_did_is_counted_and_no_reason() -> None:
    found = judged({"a": FOUR, "b": FOUR}, {"a": SIX, "b": SIX})
    assert (found.identical, found.reasons) == (False, ())
    assert found.to_json() == {
        "identical": False,
        "changed_by": {"kube-proxy": 32, "Calico": 44},
        "unattributed": [],
        "not_compared": [],
    }


def test_what_nobody_is_known_for_is_a_reason_with_its_place() -> None:
    found = judged({"a": FOUR, "b": FOUR}, {"a": FOUR, "b": FOUR + chain("drop")})
    assert found.identical is False
    assert found.unattributed == (
        "b: tables: + table inet mine {",
        "b: table inet mine: + chain c {",
        "b: table inet mine, chain c: + drop",
    )
    assert found.reasons == (
        "foreign rules were changed by an unknown author on b: see foreign_rules in result.json",
    )


def test_a_node_that_could_not_be_listed_is_not_identical() -> None:
    for before, after in ((None, FOUR), (FOUR, None)):
        found = judged({"a": before, "b": SIX}, {"a": after, "b": SIX})
        assert (found.identical, found.not_compared) == (None, ("a",))
        assert found.reasons == ("foreign rules could not be compared on a",)
    assert judged({"a": FOUR}, {}).not_compared == ("a",)
    assert judged({"a": None, "b": FOUR}, {"a": None, "b": SIX}).identical is False


def test_a_flood_of_changes_is_said_in_what_one_can_read() -> None:
    tables = "".join(chain("drop").replace("mine", f"t{number}") for number in range(30))
    found = judged({"a": ""}, {"a": tables + chain("x" * 1000)})
    assert len(found.unattributed) == MOST_LINES + 1
    assert found.unattributed[-1] == "and in 43 more places"
    assert max(map(len, found.unattributed)) <= LONGEST_LINE + 2


@pytest.mark.parametrize(("more", "end"), [(0, ""), (1, " …")])
def test_a_long_change_is_said_in_part(more: int, end: str) -> None:
    place = "a: table inet mine, chain c: + "
    found = judged({"a": chain()}, {"a": chain("x" * (LONGEST_LINE - len(place) + more))})
    assert found.unattributed == (f"{place}{'x' * (LONGEST_LINE - len(place))}{end}",)
