"""StatefulSets with podManagementPolicy OrderedReady: a Pod is created again once all of lower ordinals are Ready.

Source: Kubernetes pkg/controller/statefulset/stateful_set_control.go (`processReplica`: with a monotonic set, it
goes no further than a Pod that is terminating, or not running and Ready).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.rehearsal.simulate.simulation import Followed, Scene
    from chaosext.rehearsal.snapshot.world import Pod

KIND = "StatefulSet"


class OrderedSets:
    """Holds Pods of StatefulSets back in one simulation. `newest`: each Pod's last incarnation, by its name."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._newest: dict[str, Followed] = {}
        self._members_of: dict[tuple[str, str], list[Pod]] = {}
        self._waiting: dict[tuple[str, str], dict[Followed, None]] = defaultdict(dict)

    def holds_back(self, made: Followed) -> bool:
        """Whether a Pod that its StatefulSet is to create must wait for others; if so, it is kept."""
        if not made.owner.startswith(f"{KIND}/") or not self._is_ordered(made.key):
            return False
        self._newest[made.subject] = made
        if self._is_next(made):
            return False
        self._waiting[made.key][made] = None
        return True

    def released_by(self, pod: Followed) -> Iterator[Followed]:
        """Yield the Pods that waited for this one, which is Ready now, and for no other."""
        waiting = self._waiting.get(pod.key) if self._waiting and pod.ready else None
        for made in list(waiting or ()):
            if waiting is not None and self._is_next(made):
                del waiting[made]
                yield made

    def _is_ordered(self, key: tuple[str, str]) -> bool:
        known = self._scene.stage.world.workloads.get(key)
        return known is None or known.pod_management != "Parallel"

    def _is_next(self, made: Followed) -> bool:
        own = ordinal(made.subject)
        return all(self._is_ready(pod) for pod in self._members(made) if ordinal(pod.subject) < own)

    def _members(self, made: Followed) -> list[Pod]:
        """Return the Pods of the StatefulSet before the cut."""
        if made.key not in self._members_of:
            units = self._scene.stage.roster.of(made.namespace, made.owner, made.group.spec)
            found = [
                pod for unit in units if unit.service is None for pod in unit.pods if pod.owner == made.owner
            ]
            self._members_of[made.key] = found
        return self._members_of[made.key]

    def _is_ready(self, pod: Pod) -> bool:
        """Whether the Pod is Ready. One that isn't tracked is as it was before the cut."""
        now = self._newest.get(pod.subject) or self._scene.tracked(pod)
        return now.ready if now else pod.ready and not pod.terminating


def ordinal(name: str) -> int:
    """Return the ordinal at the end of a Pod's name; -1 if there is none."""
    number = name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1
