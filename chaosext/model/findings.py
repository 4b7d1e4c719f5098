"""A finding: what a check answers. Unknown is never healthy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class Status(StrEnum):
    """The three answers of a check."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One observation under a finding: of what, how it was, and the detail that a person wants to read.

    `subject` is written as `Node/worker-1 → 10.2.112.10:53/udp` or `Pod/shop/cart-abc`. `counts`: it decides, and is
    not only told of. `share`: how much of it is well, such as 1 of 3 replicas; None: all or nothing, as `status` has
    it. `vital`: no known-unhealthy entry excuses it. `known`: why such an entry excuses it; "" where none does.
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
        """How much of it is well, from 0 to 1."""
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
    """The status of a whole: one unhealthy part makes it unhealthy, one unknown part (or no part) unknown."""
    seen = set(statuses)
    if Status.UNHEALTHY in seen:
        return Status.UNHEALTHY
    if Status.UNKNOWN in seen or not seen:
        return Status.UNKNOWN
    return Status.HEALTHY
