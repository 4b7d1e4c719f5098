"""entry_success_ratio and entry_serves_from: the results of customers' requests at the load balancer, by cluster.

Both judge the results of requests, never the load balancer's own health checks, which only estimate them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from chaosext.checks.check_names import ENTRY_RATIO, ENTRY_SERVES
from chaosext.model.findings import Evidence, Finding, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.model.load_balancer_state import Request

AT_LEAST = 0.999
"""The minimum success ratio by default: one failure in a thousand requests."""

MOST_EVIDENCE = 5


def judge_ratio(
    entry: str, requests: Sequence[Request], *, at_least: float = AT_LEAST, below: float | None = None
) -> Finding:
    """Judge: healthy if the success ratio is at least `at_least`, or with `below`, if it is below that.

    Without any request the finding is unknown.
    """
    ok = sum(each.ok for each in requests)
    if not requests:
        return _finding(ENTRY_RATIO, entry, Status.UNKNOWN, f"no customer's request ended at {entry}")
    ratio = ok / len(requests)
    holds = ratio >= at_least if below is None else ratio < below
    said = f"{ok} of {len(requests)} requests ({ratio:.1%}) succeeded at {entry}"
    failed = [each for each in requests if not each.ok]
    evidence = tuple(_failure(entry, each) for each in failed[:MOST_EVIDENCE])
    return _finding(ENTRY_RATIO, entry, _status(holds), said, evidence)


def judge_serves(
    entry: str, requests: Sequence[Request], cluster: str, *, at_least: float, at_most: float
) -> Finding:
    """Judge: healthy if `cluster` answered a share of requests between `at_least` and `at_most` (0 to 1).

    Only requests that a cluster answered count; without any, the finding is unknown.
    """
    served = Counter(each.served_by for each in requests if each.served_by)
    total = served.total()
    if not total:
        return _finding(ENTRY_SERVES, entry, Status.UNKNOWN, f"no cluster answered a request at {entry}")
    share = served[cluster] / total
    shares = ", ".join(f"{name} {number / total:.0%}" for name, number in sorted(served.items()))
    said = f"{cluster} answered {served[cluster]} of {total} requests at {entry} ({shares})"
    return _finding(ENTRY_SERVES, entry, _status(at_least <= share <= at_most), said)


def _failure(entry: str, request: Request) -> Evidence:
    by = f" by {request.served_by}" if request.served_by else ""
    detail = f"{request.error or f'status {request.status}'}{by} after {request.took_s:.1f} s"
    return Evidence(subject=f"Entry/{entry}", status=Status.UNHEALTHY, detail=detail)


def _finding(
    check: str, entry: str, status: Status, said: str, evidence: tuple[Evidence, ...] = ()
) -> Finding:
    shown = evidence or (Evidence(subject=f"Entry/{entry}", status=status, detail=said),)
    return Finding(check=check, status=status, summary=said, evidence=shown)


def _status(holds: bool) -> Status:
    return Status.HEALTHY if holds else Status.UNHEALTHY
