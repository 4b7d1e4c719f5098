"""What customers get at the global load balancer, now or within a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chaosext.checks.check_names import ENTRY_RATIO, ENTRY_SERVES
from chaosext.checks.customer_requests import AT_LEAST, judge_ratio, judge_serves
from chaosext.checks.suite import unknown
from chaosext.model.errors import Refused, Unreachable
from chaosext.model.findings import Finding, Status
from chaosext.model.poll import poll
from chaosext.run.rollback.cluster_drain import HELD
from chaosext.run.session.connection import require_entry, require_member

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosext.experiment.settings import Settings
    from chaosext.run.session.run_context import RunContext

POLL_S = 0.5


def ask_ratio(
    settings: Settings,
    context: RunContext,
    *,
    window_s: float = 5.0,
    at_least: float = AT_LEAST,
    below: float | None = None,
    within_s: float = 0.0,
    after_drain_s: float | None = None,
) -> Finding:
    """The success ratio of the last `window_s` seconds; or since this run's drain and `after_drain_s` seconds more.

    Repeats for up to `within_s` seconds, until it is as wanted. Raises `Refused` for invalid arguments.
    """
    _require_share("at_least", at_least)
    if below is not None:
        _require_share("below", below)
    entry = require_entry(settings)

    def ask() -> Finding:
        window = window_s if after_drain_s is None else _since_drain_s(context, after_drain_s)
        if window is None:
            return unknown(ENTRY_RATIO, "this run has drained no cluster")
        return judge_ratio(entry.name, entry.requests(window), at_least=at_least, below=below)

    return _until_healthy(ENTRY_RATIO, ask, within_s)


def ask_serves(
    settings: Settings,
    *,
    cluster: str | None,
    at_least: float,
    at_most: float,
    window_s: float,
    within_s: float,
) -> Finding:
    """Whether `cluster` (None: the context's) answers a share between `at_least` and `at_most` of the requests."""
    _require_share("at_least", at_least)
    _require_share("at_most", at_most)
    entry, name = require_entry(settings), cluster or settings.cluster_at_entry

    def ask() -> Finding:
        require_member(entry, name)
        return judge_serves(entry.name, entry.requests(window_s), name, at_least=at_least, at_most=at_most)

    return _until_healthy(ENTRY_SERVES, ask, within_s)


def _since_drain_s(context: RunContext, after_s: float) -> float | None:
    """The time since then; None if this run has drained no cluster, or too little time has passed."""
    held = context.stash[HELD]
    if held is None or held.out_s is None:
        return None
    window_s = time.monotonic() - held.out_s - after_s
    return window_s if window_s > 0 else None


def _until_healthy(check: str, ask: Callable[[], Finding], within_s: float) -> Finding:
    def look() -> Finding:
        try:
            return ask()
        except Unreachable as error:
            return unknown(check, str(error))

    return poll(
        look,
        until=lambda finding: finding.status is Status.HEALTHY,
        within_s=within_s,
        every_s=POLL_S,
    )


def _require_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise Refused(f"{name}: {value!r} is not a ratio", "set a number from 0 to 1, such as 0.999")
