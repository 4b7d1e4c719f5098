"""Compares other owners' firewall rules before the cut and after the last heal. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from chaosext.model.result import ForeignRules
from chaosext.partition.foreign_rules import Author, changes

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_LINES = 20
LONGEST_LINE = 300
"""Most lines of changes by unknown authors; further changes are counted."""


def foreign_rules(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> ForeignRules | None:
    """Compare the nodes' listings, node by node; None if nothing was listed before.

    A listing is the output of `nft -s list ruleset`, or None if the node did not answer in time.
    """
    if not before:
        return None
    changed_by: Counter[str] = Counter()
    unattributed: list[str] = []
    unknown = []
    for node, listing in sorted(before.items()):
        later = after.get(node)
        if listing is None or later is None:
            unknown.append(node)
            continue
        for change in changes(listing, later):
            if change.author is Author.UNKNOWN:
                unattributed.append(f"{node}: {change}")
            else:
                changed_by[change.author.value] += change.lines
    return ForeignRules(
        changed_by=dict(changed_by), unattributed=_shortened(unattributed), not_compared=tuple(unknown)
    )


def _shortened(lines: list[str]) -> tuple[str, ...]:
    shown = [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …" for line in lines[:MOST_LINES]]
    more = len(lines) - len(shown)
    return (*shown, f"and in {more} more places") if more else tuple(shown)
