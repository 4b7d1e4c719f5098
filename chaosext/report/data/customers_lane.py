"""The effect of an outage on customers at the global load balancer, and of the failover. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.model.timeline import Kind
from chaosext.report.units import duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chaosext.model.load_balancer_state import Second
    from chaosext.model.timeline import Event
    from chaosext.report.data.run_data import RunData

GRACE_S = 5.0
"""Seconds after a drain in which requests may still fail: earlier ones wait up to 2 s for their answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOut:
    """Counts of requests by the second in which they ended, from the cut on; ratios are 0 to 1.

    - `lowest`: the success ratio of the worst second.
    - `drained_s`: when the first cluster was taken out after the cut, in seconds from it; None if none was.
    - `back_after_s`: seconds from then until no request failed for 3 s in a row; None if that was not seen.
    - `since`: the success ratio from GRACE_S after the drain to the end of the run, of `since_requests`
      requests.
    - `taken_back_s`: when the cluster was put back.
    """

    requests: int
    failed: int
    lowest: float
    drained_s: float | None = None
    back_after_s: float | None = None
    since: float | None = None
    since_requests: int = 0
    taken_back_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: _rounded(getattr(self, name)) for name in self.__slots__}


def way_out(data: RunData) -> WayOut | None:
    """Summarize customers' requests; None if no load balancer was watched."""
    seconds = [each for each in data.seconds if each.t_s > 0 and each.ratio is not None]
    if not seconds:
        return None
    drained_s = _first(data.result.events, Kind.ENTRY_DRAINED, 0.0)
    after = [each for each in seconds if drained_s is not None and each.t_s - 1.0 >= drained_s + GRACE_S]
    return WayOut(
        requests=_requests(seconds),
        failed=sum(each.failed for each in seconds),
        lowest=min(each.ratio for each in seconds if each.ratio is not None),
        drained_s=drained_s,
        back_after_s=None if drained_s is None else _back_after_s(data.result.events, drained_s),
        since=sum(each.ok for each in after) / _requests(after) if after else None,
        since_requests=_requests(after),
        taken_back_s=None
        if drained_s is None
        else _first(data.result.events, Kind.ENTRY_TAKEN_BACK, drained_s),
    )


def told(data: RunData) -> Iterator[str]:
    """Yield the summary in sentences."""
    found = way_out(data)
    if found is None:
        return
    yield (
        f"Customers: {found.failed} of {found.requests} requests failed after the cut; "
        f"{found.lowest:.0%} succeeded in the worst second."
    )
    if found.drained_s is not None and found.since is not None:
        yield _after_the_drain(found)


def _after_the_drain(found: WayOut) -> str:
    drained_s, since = found.drained_s or 0.0, found.since or 0.0
    back = (
        "did not recover" if found.back_after_s is None else f"recovered {duration(found.back_after_s)} later"
    )
    taken = (
        f"; the cluster was put back at {duration(found.taken_back_s)}"
        if found.taken_back_s is not None
        else ""
    )
    return (
        f"The load balancer sent customers to the other cluster from {duration(drained_s)} on, and they {back}: of "
        f"{found.since_requests} requests later than {duration(GRACE_S)} after it, {since:.2%} succeeded{taken}."
    )


def _back_after_s(events: Iterable[Event], drained_s: float) -> float | None:
    """Return the seconds from the drain to recovery: 0 if no request failed at the drain, None if not seen."""
    failing = False
    for event in sorted(events, key=lambda each: each.t_s):
        if event.t_s > drained_s and failing and event.kind is Kind.ENTRY_RESTORED:
            return event.t_s - drained_s
        if event.t_s > drained_s and not failing:
            break
        if event.kind in (Kind.ENTRY_DEGRADED, Kind.ENTRY_RESTORED):
            failing = event.kind is Kind.ENTRY_DEGRADED
    return None if failing else 0.0


def _first(events: Iterable[Event], kind: Kind, after_s: float) -> float | None:
    return min((each.t_s for each in events if each.kind is kind and each.t_s >= after_s), default=None)


def _requests(seconds: Sequence[Second]) -> int:
    return sum(each.ok + each.failed for each in seconds)


def _rounded(value: float | None) -> float | None:
    return round(value, 4) if isinstance(value, float) else value
