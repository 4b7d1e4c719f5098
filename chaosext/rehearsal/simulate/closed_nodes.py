"""Which cut nodes new Pods are kept away from in one simulation, by the taints that the node lifecycle adds."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from chaosext.rehearsal.simulate.node_lifecycle import Lives


class ClosedNodes:
    """The nodes with a NoSchedule and with a NoExecute taint at a time; as it passes, only what changes is looked at.

    `numbers` are the numbers of the nodes of `lives`, in its order.
    """

    def __init__(self, lives: Lives, numbers: Sequence[int]) -> None:
        self._lives, self._numbers = lives, numbers
        last = (lives.no_schedule_s, lives.schedulable_s, lives.no_execute_s, lives.no_execute_off_s)
        changes = [(t, at) for times in last for at, t in enumerate(times) if t < inf]
        for at, episodes in lives.earlier.items():
            for each in episodes:
                times = (each.no_schedule_s, each.schedulable_s, each.no_execute_s, each.no_execute_off_s)
                changes += [(t, at) for t in times if t < inf]
        self._changes = sorted(changes)
        self._begin()

    def _begin(self) -> None:
        self._t, self._next = -inf, 0
        self._unschedulable, self._emptied, self._either = set[int](), set[int](), set[int]()

    def at(self, t: float, minds: tuple[bool, bool]) -> Collection[int]:
        """Return the nodes that are closed at `t` for Pods that mind the NoSchedule, the NoExecute taint.

        The collection is valid until the next call.
        """
        self._go_to(t)
        minds_schedule, minds_execute = minds
        if minds_schedule:
            return self._either if minds_execute else self._unschedulable
        return self._emptied if minds_execute else ()

    def _go_to(self, t: float) -> None:
        if t < self._t:
            self._begin()
        self._t = t
        while self._next < len(self._changes) and self._changes[self._next][0] <= t:
            self._look_at(self._changes[self._next][1], t)
            self._next += 1

    def _look_at(self, at: int, t: float) -> None:
        number, lives = self._numbers[at], self._lives
        unschedulable, emptied = lives.is_unschedulable(at, t), lives.is_emptied(at, t)
        _set(self._unschedulable, number, unschedulable)
        _set(self._emptied, number, emptied)
        _set(self._either, number, unschedulable or emptied)


def _set(nodes: set[int], number: int, is_in: bool) -> None:
    if is_in:
        nodes.add(number)
    else:
        nodes.discard(number)
