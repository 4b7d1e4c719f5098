"""The global load balancer in front of several clusters: its members, and what customers get through it."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # msgspec reads it
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chaosext.model.bounded_json import Count, Finite  # noqa: TC001  # msgspec reads them

SECONDS_FILE = "customers.jsonl"
"""Name of the file in a run's directory that has one `Second` per line."""


class Failover(StrEnum):
    """How a cluster that cannot serve is taken out of the load balancer."""

    HEALTH_CHECK = "health_check"
    """The load balancer checks each address by itself."""
    BY_HAND = "by_hand"
    """An operator removes the cluster. Without health checks, the load balancer sends requests to every
    configured member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One cluster behind the load balancer.

    `drained`: an operator took it out. `failover`: how it is taken out otherwise. `healthy`: how many of its
    `addresses` pass the health check; all of them without a health check.
    """

    cluster: str
    addresses: tuple[str, ...]
    drained: bool = False
    failover: Failover = Failover.HEALTH_CHECK
    healthy: int = 0

    @property
    def serves(self) -> bool:
        """Whether the load balancer sends new requests to it."""
        return not self.drained and self.healthy > 0

    @property
    def state(self) -> str:
        """The state as text for people."""
        if self.drained:
            return "drained by hand"
        passed = f"{self.healthy} of {len(self.addresses)} addresses pass the entry's health check"
        if self.failover is Failover.BY_HAND:
            return "in service, unchecked"
        return f"in service, {passed}" if self.serves else f"taken out by the health check, {passed}"

    def to_json(self) -> dict[str, Any]:
        return {
            "cluster": self.cluster,
            "addresses": list(self.addresses),
            "drained": self.drained,
            "failover": self.failover.value,
            "healthy": self.healthy,
            "serves": self.serves,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Outcome of one customer request that ended `ago_s` seconds ago. `status`: HTTP status, 0 without a response.

    `served_by` is the cluster that the load balancer chose; "" if it chose none or did not say.
    """

    ago_s: Finite
    took_s: Finite
    status: int
    served_by: str = ""
    error: str = ""

    @property
    def ok(self) -> bool:
        return self.status == 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """Outcome of the customer requests that ended in one second. `t_s` is its end, in seconds from the cut.

    `served_by`: cluster -> number of requests. `slowest_s`: the longest duration. `error`: the first error,
    "" for none.
    """

    t_s: Finite
    ok: Count
    failed: Count
    served_by: Mapping[str, Count]
    slowest_s: Finite
    error: str = ""

    @property
    def ratio(self) -> float | None:
        """Success ratio, 0 to 1; None if no request ended."""
        total = self.ok + self.failed
        return self.ok / total if total else None

    def to_json(self) -> dict[str, Any]:
        return {
            "t_s": round(self.t_s, 3),
            "ok": self.ok,
            "failed": self.failed,
            "served_by": dict(self.served_by),
            "slowest_s": round(self.slowest_s, 3),
            "error": self.error,
        }
