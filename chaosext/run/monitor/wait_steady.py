"""Bounded waits: for kube-dns to move, and for the steady state to hold through a dwell."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chaosext.checks.kube_dns_placement import KUBE_DNS_SELECTOR
from chaosext.model.duration_text import short_duration
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Finding, Status, worst
from chaosext.model.poll import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.objects import Node, Pod

POLL_S = 1.0


class Moved(StrEnum):
    """How many kube-dns Pods the control plane has moved off lost nodes."""

    ALL = "all"
    SOME = "some"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """Where kube-dns runs. `settled`: no further change is expected before the heal."""

    moved: Moved
    settled: bool
    placement: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"moved": self.moved.value, "settled": self.settled, "placement": list(self.placement)}


def movement(pods: Collection[Pod], nodes: Iterable[Node]) -> Movement:
    """Judge by kube-dns' Pods and the nodes' state alone, so that any process can do it at any time."""
    lost = {node.name for node in nodes if node.ready != "True"}
    live = [pod for pod in pods if not pod.terminating]
    left = [pod for pod in live if pod.node in lost]
    evicted = [pod for pod in pods if pod.terminating and pod.node in lost]
    moved = Moved.NONE if not evicted else Moved.SOME if left else Moved.ALL
    waiting = [pod for pod in live if not pod.ready and not _unschedulable(pod)]
    placement = tuple(sorted(f"{pod.name} on {pod.node or 'no node (Pending)'}" for pod in live))
    return Movement(moved=moved, settled=moved is Moved.ALL and not waiting, placement=placement)


def _unschedulable(pod: Pod) -> bool:
    return not pod.node and "nodes are available" in pod.ready_detail


def wait_for_movement(cluster: Cluster, timeout_s: float) -> tuple[Movement, float]:
    """Wait until the control plane has moved kube-dns, at most `timeout_s`; returns the last state, and the time taken.

    Retries an API server that does not answer for a moment; one that never answers raises `Unreachable`.
    """
    started_s, last = time.monotonic(), None

    def look() -> Movement:
        nonlocal last
        try:
            last = movement(cluster.pods("kube-system", KUBE_DNS_SELECTOR), cluster.nodes())
        except Unreachable:
            if last is None:
                raise
        return last

    seen = poll(
        look, until=lambda seen: seen.settled, within_s=timeout_s, every_s=POLL_S, tolerate=Unreachable
    )
    return seen, time.monotonic() - started_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """Whether the steady state held.

    `settled_after_s`: when the streak of healthy findings began, counted from the first check; None: never.
    """

    findings: tuple[Finding, ...]
    settled_after_s: float | None
    dwelt_s: float
    held: bool

    @property
    def finding(self) -> Finding:
        """One finding named steady_state, with its parts as evidence."""
        status = worst(each.status for each in self.findings)
        evidence = tuple(item for each in self.findings for item in each.evidence)
        return Finding(check="steady_state", status=status, summary=self._summary(), evidence=evidence)

    def _summary(self) -> str:
        if self.held and self.settled_after_s is not None:
            settled, dwelt = (
                short_duration(each, exact=True) for each in (self.settled_after_s, self.dwelt_s)
            )
            return f"steady after {settled}, and for a dwell of {dwelt}"
        bad = (each for each in self.findings if each.status.is_bad)
        said = "; ".join(f"{each.check}: {_first_clause(each.summary)}" for each in bad)
        return said or "none of the checks is applicable, so nothing is known to be steady"


def _first_clause(summary: str) -> str:
    """The count of a finding's summary, without its worst part after the semicolon, which is in the evidence."""
    return summary.partition("; ")[0]


def settle(
    ask: Callable[[], Sequence[Finding]],
    *,
    settle_s: float,
    dwell_s: float,
    interval_s: float = 2.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Settling:
    """Check until everything is healthy for `dwell_s` on end; give up at the first bad finding after `settle_s`.

    So it ends within settle_s + dwell_s and one check. With both 0 it checks once. `ask` makes the findings;
    `clock` and `sleep` are for tests.
    """
    started_s = clock()
    streak_s: float | None = None
    while True:
        asked_s = clock() - started_s
        findings = tuple(ask())
        answered_s = clock() - started_s
        healthy = worst(each.status for each in findings) is Status.HEALTHY
        streak_s = (asked_s if streak_s is None else streak_s) if healthy else None
        dwelt_s = answered_s - streak_s if streak_s is not None else 0.0
        held = streak_s is not None and dwelt_s >= dwell_s
        if held or (streak_s is None and answered_s >= settle_s):
            return Settling(findings=findings, settled_after_s=streak_s, dwelt_s=dwelt_s, held=held)
        sleep(interval_s)
