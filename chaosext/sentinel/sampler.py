"""The sentinel's main loop: sample by plan until stopped or expired, then stay available for reading."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import floor
from threading import Condition
from typing import TYPE_CHECKING

from chaosext.model.clock import boot_id
from chaosext.model.signal import Sample, StreamHead
from chaosext.sentinel.watch_loop import Memory, Watch, check

if TYPE_CHECKING:
    from chaosext.sentinel.sample_log import Journal
    from chaosext.sentinel.watch_plan import WatchPlan

LATE_ROUNDS = 3
"""After this many intervals without a new round, the sentinel counts as not sampling."""


class Sentinel:
    """One thread calls `run`; the other methods are thread-safe."""

    def __init__(self, node: str, plan: WatchPlan, journal: Journal) -> None:
        self._node, self._journal = node, journal
        self._memory = Memory()
        self._changed = Condition()
        self._plan: WatchPlan | None = None
        self._why_not = ""
        self._last_n, self._last_s = -1, time.monotonic()
        self.take(plan)

    def take(self, plan: WatchPlan) -> None:
        """Sample by `plan` from now on, even after `end`. Raises `ValueError` for a plan that cannot be carried out."""
        check(plan)
        with self._changed:
            self._plan = plan
            self._changed.notify_all()

    def end(self, why: str = "it was stopped") -> None:
        """Stop sampling."""
        with self._changed:
            self._plan, self._why_not = None, why
            self._changed.notify_all()

    def why_not(self) -> str:
        """Why it is not sampling; "" while it is."""
        plan = self._plan
        if plan is None:
            return self._why_not
        if self._last_n < 0:
            return "its first round is not over"
        late_s = time.monotonic() - self._last_s
        return f"its last round began {late_s:.0f} s ago" if late_s > LATE_ROUNDS * plan.interval_s else ""

    def run(self) -> None:
        """Sample forever, waiting whenever no plan is set."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._plan)
                plan = self._plan
            if plan:
                self._carry_out(plan)

    def _carry_out(self, plan: WatchPlan) -> None:
        watch = Watch(plan, self._node, self._memory)
        grid = Grid(start_s=time.monotonic(), interval_s=plan.interval_s, first=self._last_n + 1)
        self._journal.head(self._head(watch))
        ends_s = grid.start_s + plan.ends_after_s
        while self._await_round(plan, grid):
            if time.monotonic() > ends_s:
                self._expire(plan)
                return
            self._round(watch, grid)

    def _await_round(self, plan: WatchPlan, grid: Grid) -> bool:
        """Wait for the next round. Returns False if the plan was replaced or ended."""
        now_s = time.monotonic()
        wait_s = grid.begins_s(grid.next(now_s, self._last_n)) - now_s
        with self._changed:
            return not self._changed.wait_for(lambda: self._plan is not plan, max(0.0, wait_s))

    def _round(self, watch: Watch, grid: Grid) -> None:
        began_s = time.monotonic()
        number = grid.next(began_s, self._last_n)
        marks = watch.round()
        self._journal.sample(Sample(number, began_s, marks))
        self._last_n, self._last_s = number, began_s

    def _expire(self, plan: WatchPlan) -> None:
        with self._changed:
            if self._plan is plan:
                self._plan, self._why_not = None, f"its {plan.ends_after_s:g} s are over"

    def _head(self, watch: Watch) -> StreamHead:
        return StreamHead(
            run=watch.plan.run,
            node=self._node,
            boot=boot_id(),
            mono_s=time.monotonic(),
            wall_s=time.time(),
            interval_s=watch.plan.interval_s,
            signals=watch.signals,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The times of the rounds: number `first` begins at `start_s` (monotonic), then one every `interval_s`."""

    start_s: float
    interval_s: float
    first: int = 0

    def next(self, now_s: float, last: int) -> int:
        """Return the number of the next round after `last`: the one that is due, or the following one.

        A missed round keeps its number, so it shows as a gap.
        """
        current = self.first + floor((now_s - self.start_s) / self.interval_s)
        return max(last + 1, current)

    def begins_s(self, number: int) -> float:
        return self.start_s + (number - self.first) * self.interval_s
