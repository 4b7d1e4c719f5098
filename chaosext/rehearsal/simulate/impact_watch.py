"""What one simulation costs users: follows the Pods of each workload and Service, and records what they lose."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from chaosext.rehearsal.simulate.impact import Loss

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaosext.rehearsal.simulate.roster import Unit
    from chaosext.rehearsal.simulate.scheduler_cache import PodGroup
    from chaosext.rehearsal.simulate.simulation import Followed, Scene

SETTLED_S = 60.0
"""From this time after the heal, what is still missing is missing at the end; before, nodes may not be back."""


class PodCount(NamedTuple):
    """The number of Pods from `t_s` on: available in the API, and running; `holds`: whether a quorum has a majority."""

    t_s: float
    available: int
    running: int
    holds: bool | None = True


class ImpactWatch:
    """Counts the Pods of each unit that the simulation changes. All others keep what they have."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._stage = scene, scene.stage
        self._tallies: dict[str, _Tally] = {}
        self._of: dict[tuple[PodGroup, str], list[_Tally]] = {}

    def begin(self) -> None:
        """Look at quorums whenever reachability changes: the cut may separate members that all run."""
        for t in self._scene.reachability_changes_s:
            self._scene.at(t, self._look)

    def _look(self, t: float) -> None:
        for unit in self._stage.cut_quorums:
            self._note(t, self._tally(unit))

    def changed(self, t: float, pod: Followed) -> None:
        """Count a Pod after any change of it."""
        before = pod.counted
        if before is None:
            return
        was_ready, was_up = before
        is_ready, is_up = pod.ready, self._is_up(pod, was_up)
        if is_ready is was_ready and is_up is was_up:
            return
        pod.counted = is_ready, is_up
        ready, running = is_ready - was_ready, is_up - was_up
        for tally in self._tallies_of(pod):
            tally.count(pod.node, ready, running)
            self._note(t, tally)

    def _tallies_of(self, pod: Followed) -> list[_Tally]:
        owner = pod.owner or pod.subject
        key = pod.group, owner
        found = self._of.get(key)
        if found is None:
            units = self._stage.roster.of(pod.namespace, owner, pod.group.spec)
            found = self._of[key] = [self._tally(unit) for unit in units]
        return found

    def _is_up(self, pod: Followed, was_up: bool) -> bool:
        """Whether the Pod really serves. A Terminating one does while its kubelet cannot know that."""
        if not pod.runs or pod.ails or pod.waits_since < inf:
            return False
        return not pod.leaving or (was_up and self._scene.is_cut_off(pod.node))

    def healed(self, t: float) -> None:
        """Count the Terminating Pods of the cut nodes as gone: their kubelets learn of it, and stop all of them."""
        before = {name: tally.running for name, tally in self._tallies.items()}
        for number in self._stage.cut:
            for pod in self._scene.on.get(number, ()):
                if pod.leaving:
                    self.changed(t, pod)
        for name, tally in self._tallies.items():
            self._note(t, tally)
            if before.get(name, 0) - tally.running > 1 and not tally.running:
                tally.at_once = True

    def losses(self) -> dict[str, Loss]:
        """Return unit -> what it loses, for each that loses anything."""
        now, first_heal_s = self._scene.now, self._stage.plan.periods[0][1]
        return {
            name: tally.loss(self._follows(tally.unit), first_heal_s, now, self._ends_without(tally))
            for name, tally in self._tallies.items()
        }

    def _follows(self, unit: Unit) -> bool:
        """Whether some of its clients follow the API in the cut."""
        return unit.external or self._stage.has_followers

    def _tally(self, unit: Unit) -> _Tally:
        if unit.name not in self._tallies:
            self._tallies[unit.name] = _Tally(unit, self._stage.hosts_before(unit))
        return self._tallies[unit.name]

    def _note(self, t: float, tally: _Tally) -> None:
        unit = tally.unit
        holds: bool | None = True
        if unit.quorum:
            epoch = self._scene.epoch
            holds = self._stage.reach.can_agree(tally.hosts, unit.quorum, unit.own_address, epoch)
        tally.steps.append(PodCount(t, tally.available, tally.running, holds))

    def _ends_without(self, tally: _Tally) -> bool | None:
        """Whether the unit had Pods that clients reach, and has none at the end; None if unknown."""
        stage, unit = self._stage, tally.unit
        if not unit.ready:
            return False
        if not tally.available:
            is_sure = self._scene.now >= stage.plan.cut_for_s + SETTLED_S
            is_sure = is_sure and (stage.routes.proof.holds or not (unit.is_meshed and stage.world.mesh))
            return True if is_sure else None
        if unit.service is None or not stage.reached_before(unit):
            return False
        epoch = self._scene.epoch
        reached = stage.reach.all_reach(stage.judged, tally.ready_hosts, unit.own_address, epoch)
        return None if reached is None else not reached


class _Tally:
    """The count of a unit's Pods, and its history.

    `hosts`: node -> running Pods of a quorum; `ready_hosts`: node -> available Pods of a Service.
    """

    __slots__ = ("at_once", "available", "hosts", "ready_hosts", "running", "steps", "unit")

    def __init__(self, unit: Unit, hosts: Mapping[int, int]) -> None:
        self.unit, self.at_once = unit, False
        self.hosts, self.ready_hosts = dict(hosts), dict(hosts)
        self.available = self.running = unit.ready
        self.steps = [PodCount(0.0, self.available, self.running)]

    def count(self, node: int, ready: int, running: int) -> None:
        """Add the changes of a Pod on a node."""
        available = running if self.unit.publishes_not_ready else ready
        self.available += available
        self.running += running
        if available and self.unit.service:
            _add(self.ready_hosts, node, available)
        if running and self.unit.quorum:
            _add(self.hosts, node, running)

    def loss(self, follows: bool, heal_s: float, end_s: float, none_at_end: bool | None) -> Loss:
        lowest, from_s, for_s = lowest_of([(each.t_s, each.available) for each in self.steps], end_s)
        holds = {each.holds for each in self.steps}
        return Loss(
            available=lowest,
            from_s=from_s,
            for_s=for_s,
            running=min(each.running for each in self.steps),
            serving=min(serving(self.steps, follows, heal_s)),
            quorum_lost=True if False in holds else None if None in holds else False,
            at_once=self.at_once,
            none_at_end=none_at_end,
            left=self.available,
        )


def _add(counts: dict[int, int], node: int, change: int) -> None:
    """Add to a node's count, and drop it at zero."""
    counts[node] = counts.get(node, 0) + change
    if not counts[node]:
        del counts[node]


def lowest_of(counts: Sequence[tuple[float, int]], end_s: float) -> tuple[int, float, float]:
    """Return the lowest of (time, count), when it is first reached, and for how long it then lasts.

    A count that is replaced at the same time lasts for 0 s, and does not count unless there is no other.
    """
    lasting = [
        (t, count, until - t) for (t, count), (until, _) in pairwise([*counts, (end_s, 0)]) if until > t
    ] or [(t, count, 0.0) for t, count in counts]
    lowest = min(count for _, count, _ in lasting)
    at = next(number for number, (_, count, _) in enumerate(lasting) if count == lowest)
    lasts = 0.0
    for _, count, each_s in lasting[at:]:
        if count > lowest:
            break
        lasts += each_s
    return lowest, lasting[at][0], lasts


def serving(steps: Iterable[PodCount], follows: bool, heal_s: float) -> Iterable[int]:
    """Yield the number of Pods that clients can use over time.

    Clients that follow the API, and all of them from the first heal on, use a Pod that is Ready there; those that
    are cut off use each Pod that runs.
    """
    for step in steps:
        yield min(step.available, step.running) if follows or step.t_s >= heal_s else step.running
