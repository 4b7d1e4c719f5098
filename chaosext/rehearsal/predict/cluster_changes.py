"""Changes of a cluster as functions of its snapshot, and the node of every Pod that they make the scheduler place.

Each change can be made alone or left out, so that it is known which of several causes what.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chaosext.rehearsal.simulate.samples import Sampled
from chaosext.rehearsal.simulate.scheduler import Placement
from chaosext.rehearsal.simulate.scheduler_cache import Board
from chaosext.rehearsal.snapshot.cut_targets import selected
from chaosext.rehearsal.snapshot.object_changes import (
    SOURCE,
    Change,
    Drain,
    Objects,
    merged,
    said_of,
    subject_of,
)
from chaosext.rehearsal.snapshot.snapshot_changes import is_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from chaosext.rehearsal.snapshot.object_changes import Key, Patch
    from chaosext.rehearsal.snapshot.snapshot_files import Listed
    from chaosext.rehearsal.snapshot.world import World

    Read = Callable[[Listed], World]


def changes_of(listed: Listed, wanted: Sequence[Patch | Drain], read: Read) -> tuple[Change, ...]:
    """Return the changes. Raises `Refused` for one that does not fit the snapshot with those before it."""
    found = []
    for each in wanted:
        change = _change(listed, each, read)
        changed = change.apply(listed)
        found.append(replace(change, is_read=isinstance(each, Drain) or is_read(listed, changed)))
        listed = changed
    return tuple(found)


def _change(listed: Listed, wanted: Patch | Drain, read: Read) -> Change:
    default_s = round(read(listed).control_plane.timings.toleration_s)

    def apply(before: Listed) -> Listed:
        objects = Objects(before, default_s)
        if isinstance(wanted, Drain):
            _drain(objects, sorted(selected(read(before), wanted.nodes, f"{SOURCE} drain")))
        else:
            objects.apply(wanted)
        return _placed(objects.listed, objects.homeless, read)

    if isinstance(wanted, Drain):
        return Change(subject=wanted.subject, said="", apply=apply)
    objects = Objects(listed, default_s)
    key = objects.key(wanted)
    before = objects.get(key)
    objects.apply(wanted)
    return Change(subject=subject_of(key), said=said_of(before, objects.get(key)), apply=apply)


def applied(listed: Listed, changes: Iterable[Change]) -> Listed:
    """Return the snapshot with all changes, one after the other."""
    for each in changes:
        listed = each.apply(listed)
    return listed


def _drain(objects: Objects, nodes: Sequence[str]) -> None:
    for name in nodes:
        key = ("Node", "", name)
        objects.put(key, merged(objects.get(key), {"spec": {"unschedulable": True}}))
        objects.evict(name)


def _placed(listed: Listed, homeless: Sequence[Key], read: Read) -> Listed:
    """Bind Pods without a node as the scheduler would; those that fit nowhere are Pending."""
    if not homeless:
        return listed
    homes = _homes(read(listed), {(namespace, name) for _, namespace, name in homeless})
    objects = Objects(listed)
    for key in homeless:
        home = homes.get(key[1:], "")
        pending = {"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]}
        bound = {"spec": {"nodeName": home}} if home else {"status": pending}
        objects.put(key, merged(objects.get(key), bound))
    return objects.listed


def _homes(world: World, homeless: set[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
    """Return the node of each Pod that fits on one: the best, of several the first by name."""
    board = Board(world)
    placement = Placement(board, Sampled(0, 0, 1, None))
    pods = [pod for pod in world.pods if (pod.namespace, pod.name) in homeless]
    found: dict[tuple[str, str], str] = {}
    for pod in sorted(pods, key=lambda pod: (-pod.spec.priority, pod.namespace, pod.name)):
        group = board.group(pod.namespace, pod.spec)
        fits = placement.feasible(group)
        if fits:
            node = min(placement.best(group, fits))
            placement.add(group, node)
            found[pod.namespace, pod.name] = world.nodes[node].name
    return found
