"""docs/gameday.md lists the rights that a runner has, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkout import ROOT

from chaosext.gameday.rights import OWN, rules

if TYPE_CHECKING:
    from chaosext.gameday.rights import RoleRule

HEAD = "| verbs | resources | where | to | admitted only |\n|---|---|---|---|---|\n"


def row(rule: RoleRule) -> str:
    """A line of the table: a rule, as people read it."""
    group = f".{rule.group}" if rule.group else ""
    names = f" named `{'`, `'.join(rule.names)}`" if rule.names else ""
    resources = ", ".join(f"`{each}{group}`" for each in rule.resources)
    where = {OWN: "its own namespace", "": "cluster-wide"}.get(rule.namespace, rule.namespace)
    return f"| {', '.join(rule.verbs)} | {resources}{names} | {where} | {rule.why} | {rule.limited} |"


def test_the_documented_rights_are_those_that_are_granted() -> None:
    table = (ROOT / "docs/gameday.md").read_text().partition(HEAD)[2].partition("\n\n")[0]
    named = tuple(row(rule) for rule in rules("NAME"))
    assert tuple(table.splitlines()) == named
