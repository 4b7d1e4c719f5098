"""The decision: go requires every finding that counts to be healthy or waived by name. Unknown is never a go. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from chaosext.gate.losses import ALL_AT_ONCE, LOSSES
from chaosext.gate.rehearsed import (
    DNS_AFTER_HEAL,
    DNS_DURING_CUT,
    DNS_OUTAGE,
    EVICTED_PODS,
    EVIDENCE,
    PODS_REACHABLE,
    SELF_HEALS,
)
from chaosext.gate.snapshot_checks import MUST, PROVEN, REMARKS
from chaosext.model.findings import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaosext.gate.cutover_plan import Cutover
    from chaosext.model.findings import Finding

WAIVABLE = (*MUST, *REMARKS)
REHEARSED = (
    DNS_AFTER_HEAL,
    SELF_HEALS,
    PODS_REACHABLE,
    DNS_OUTAGE,
    DNS_DURING_CUT,
    EVICTED_PODS,
    *LOSSES,
    EVIDENCE,
)
"""Checks of the predicted cut; the plan's `accept` sets what is acceptable."""


class Decision(StrEnum):
    """The gate's decision; `NOT_KNOWN` is a no-go, too."""

    GO = "go"
    NO_GO = "no-go"
    NOT_KNOWN = "no-go, unknown"

    @property
    def exit_code(self) -> int:
        """The exit code: 0, 10 or 30."""
        return _EXIT_CODES[self]


_EXIT_CODES: Mapping[Decision, int] = {Decision.GO: 0, Decision.NO_GO: 10, Decision.NOT_KNOWN: 30}


class Weight(StrEnum):
    """The weight of a finding in the decision."""

    COUNTS = "counts"
    WAIVED = "waived"
    REMARK = "remark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A finding with its weight, and the reason of its waiver ("" if it is not waived).

    `cut_for_s`: the duration of the cut that it is about, None if it is not about one.
    """

    finding: Finding
    weight: Weight
    waiver: str = ""
    cut_for_s: float | None = None

    @property
    def stands_against(self) -> bool:
        return self.weight is Weight.COUNTS and self.finding.status is not Status.HEALTHY


def weighed(finding: Finding, cutover: Cutover, cut_for_s: float | None = None) -> Weighed:
    """Weigh a finding by the plan. A waiver applies only to a finding that counts and is not healthy."""
    waiver = cutover.waived.get(finding.check, "")
    counts = finding.check in (*PROVEN, *MUST, *REHEARSED, *cutover.required)
    if finding.check == ALL_AT_ONCE and cutover.accept.all_at_once:
        counts = False
    weight = Weight.COUNTS if counts else Weight.REMARK
    if waiver and counts and finding.status is not Status.HEALTHY:
        weight = Weight.WAIVED
    return Weighed(
        finding=finding,
        weight=weight,
        waiver=waiver if weight is Weight.WAIVED else "",
        cut_for_s=cut_for_s,
    )


def decide(all_weighed: Iterable[Weighed]) -> Decision:
    """Return no-go if a finding that counts is unhealthy, else not known if one is unknown, else go."""
    against = {each.finding.status for each in all_weighed if each.stands_against}
    if Status.UNHEALTHY in against:
        return Decision.NO_GO
    return Decision.NOT_KNOWN if against else Decision.GO
