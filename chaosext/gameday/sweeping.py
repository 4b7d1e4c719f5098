"""What earlier runs left, taken away before a game day begins, in words for who is to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.run.cutting.leftovers import sweep_sentinels
from chaosext.run.cutting.status import look
from chaosext.run.cutting.sweep import Wanted
from chaosext.run.cutting.sweep import sweep as take_away
from chaosext.run.entering import leave

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.nodes.transport import Way
    from chaosext.run.cutting.sweep import Swept


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance:
    """What a sweep came to. `done`: what was taken away or found over; `problems`: what could not be asked."""

    swept: Swept
    done: tuple[str, ...]
    problems: tuple[str, ...]

    def require_clear(self) -> None:
        """Raise `Unsafe` where something of an earlier run may still cut."""
        self.swept.require_gone()


def sweep_earlier(context: str, way: Way) -> Clearance:
    """Sweep the cluster of `context`, whose nodes are entered by `way`: our own Pods are gone when this returns."""
    try:
        surveyed = look((), way=way)
        swept = take_away(surveyed, Wanted())
        swept = sweep_sentinels(swept, surveyed.overview, Wanted(), contexts=(context,))
    finally:
        leave()
    return Clearance(swept=swept, done=tuple(_done(swept)), problems=tuple(_problems(swept)))


def _done(swept: Swept) -> Iterator[str]:
    for found in swept.removed:
        yield f"swept: {found.kind} of run {found.run or '(unreadable)'} on {found.node} ({found.why})"
    for run, nodes in swept.finished.items():
        yield f"run {run} did not see its end, and is over on {', '.join(nodes)}: the kernel let go, or it was swept"


def _problems(swept: Swept) -> Iterator[str]:
    for found, problem in swept.failed.items():
        yield f"could not be swept: {found.kind} of run {found.run} on {found.node}: {problem}"
    for node, why in swept.unasked.items():
        yield f"could not be asked: {node} ({why})"
    yield from (f"not looked at: {problem}" for problem in swept.problems)
    yield from (f"not in the audit log: {problem}" for problem in swept.unaudited)
