"""Go or no-go: every finding that counts is healthy, or waived by name. Unknown is never a go. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from chaosext.gate.rehearsed import DNS_AFTER_HEAL, DNS_DURING_CUT, EVICTED_PODS, SELF_HEALS
from chaosext.gate.snapshot_checks import MUST, PROVEN, REMARKS
from chaosext.model.findings import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chaosext.gate.cutover_plan import Cutover
    from chaosext.model.findings import Finding

WAIVABLE = (*MUST, *REMARKS)
REHEARSED = (DNS_AFTER_HEAL, SELF_HEALS, DNS_DURING_CUT, EVICTED_PODS)
"""What is expected of the cut itself: the plan's `accept` says how much of it is acceptable."""


class Decision(StrEnum):
    """What the gate says; `NOT_KNOWN` is a no-go, too."""

    GO = "go"
    NO_GO = "no-go"
    NOT_KNOWN = "no-go, unknown"

    @property
    def exit_code(self) -> int:
        """0, 10 or 30."""
        return _EXIT_CODES[self]


_EXIT_CODES: Mapping[Decision, int] = {Decision.GO: 0, Decision.NO_GO: 10, Decision.NOT_KNOWN: 30}


class Weight(StrEnum):
    """What a finding is to the decision."""

    COUNTS = "counts"
    WAIVED = "waived"
    REMARK = "remark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A finding, what it is to the decision, and why it is waived ("" where it isn't).

    `cut_for_s`: the cut that it is about, where it is about one.
    """

    finding: Finding
    weight: Weight
    waiver: str = ""
    cut_for_s: float | None = None

    @property
    def stands_against(self) -> bool:
        return self.weight is Weight.COUNTS and self.finding.status is not Status.HEALTHY


def weighed(finding: Finding, cutover: Cutover, cut_for_s: float | None = None) -> Weighed:
    """What the plan makes of a finding. A waiver of what is healthy isn't needed, and isn't one."""
    waiver = cutover.waived.get(finding.check, "")
    counts = finding.check in (*PROVEN, *MUST, *REHEARSED, *cutover.required)
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
    """No-go for one that is unhealthy; not known for one that is unknown; else go."""
    against = {each.finding.status for each in all_weighed if each.stands_against}
    if Status.UNHEALTHY in against:
        return Decision.NO_GO
    return Decision.NOT_KNOWN if against else Decision.GO
