"""A finding: the answer of a check. Unknown is never healthy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class Status(StrEnum):
    """The possible answers of a check."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not applicable"
    """The cluster has nothing of the kind, and that is proven: neither healthy nor unknown."""

    @property
    def is_bad(self) -> bool:
        """Whether it speaks against the cluster: unknown does, what is not applicable does not."""
        return self in (Status.UNHEALTHY, Status.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One observation of a finding: its subject, its status, and the detail for people.

    `subject` has a form such as `Node/worker-1 → 10.2.112.10:53/udp` or `Pod/shop/cart-abc`. `counts`:
    whether it affects the finding's status or is only listed. `share`: how much of it is healthy, such as 1
    of 3 replicas; None: all or nothing, according to `status`. `vital`: no known-unhealthy entry can excuse
    it. `known`: the reason of the entry that excuses it; "" if none does.
    """

    subject: str
    status: Status
    detail: str
    counts: bool = True
    share: tuple[int, int] | None = None
    vital: bool = False
    known: str = ""

    @property
    def well(self) -> Fraction:
        """The healthy share, from 0 to 1."""
        return Fraction(*self.share) if self.share else Fraction(self.status is Status.HEALTHY)

    def to_json(self) -> dict[str, Any]:
        said: dict[str, Any] = {"subject": self.subject, "status": self.status.value, "detail": self.detail}
        return (
            said | ({} if self.counts else {"counts": False}) | ({"known": self.known} if self.known else {})
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer of the check named `check`, with a one-line summary and all its evidence."""

    check: str
    status: Status
    summary: str
    evidence: tuple[Evidence, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "status": self.status.value,
            "summary": self.summary,
            "evidence": [item.to_json() for item in self.evidence],
        }


def worst(statuses: Iterable[Status]) -> Status:
    """Combine statuses: unhealthy if any is unhealthy, else unknown if any is unknown or there are none.

    What is not applicable does not count; if nothing is applicable, neither is the whole.
    """
    seen = set(statuses)
    for status in (Status.UNHEALTHY, Status.UNKNOWN, Status.HEALTHY, Status.NOT_APPLICABLE):
        if status in seen:
            return status
    return Status.UNKNOWN


def not_applicable(check: str, why: str, *evidence: Evidence) -> Finding:
    """Return the finding of a check that concerns nothing that the cluster has."""
    rows = evidence or (Evidence(subject=check, status=Status.NOT_APPLICABLE, detail=why, counts=False),)
    return Finding(check=check, status=Status.NOT_APPLICABLE, summary=f"not applicable: {why}", evidence=rows)
