"""Events of nodes that are alike to the node lifecycle controller: what comes to one of them may come to each. Pure.

The more nodes are cut, the fewer simulations there are, and the less they say about each node's earliest and latest
times, and about what is rare. Zone, exclusion from disruption, and a simulated kubelet are all that tells nodes apart
whose Leases' ages are unknown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

from chaosext.model.timeline import Kind

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from chaosext.rehearsal.simulate.inputs import SimulationInputs
    from chaosext.rehearsal.simulate.prediction import PredictedEvent

FEW_NODES = 10
"""Up to this many cut nodes, each has enough simulations of its own."""

POOLED = frozenset({Kind.NODE_NOT_READY, Kind.NODE_TAINTED, Kind.NODE_READY})

_Group: TypeAlias = "tuple[Hashable, Kind, str, int]"


def classes_of(stage: SimulationInputs) -> dict[str, Hashable]:
    """Return cut node -> its class, as `Node/NAME`; {} where few nodes are cut, or ages of Leases are known."""
    fleet, nodes = stage.fleet, stage.world.nodes
    if len(fleet.zone_of) <= FEW_NODES or any(age is not None for age in fleet.ages_s):
        return {}
    return {
        f"Node/{nodes[number].name}": (fleet.zone_of[at], fleet.counted[at], at in fleet.simulated)
        for at, number in enumerate(stage.living)
    }


def pooled(
    events: tuple[PredictedEvent, ...], class_of: Mapping[str, Hashable]
) -> tuple[PredictedEvent, ...]:
    """Return the events; those of nodes have the range and the probability of their class.

    The n-th time that something happens to a node is pooled with the n-th time of the others.
    """
    if not class_of:
        return events
    groups = _groups(events, class_of)
    members: dict[Hashable, list[str]] = defaultdict(list)
    for node, kind in class_of.items():
        members[kind].append(node)
    others = [each for each in events if not _is_pooled(each, class_of)]
    alike = [
        each
        for (kind, *_), found in groups.items()
        for each in _for_each(members[kind], sorted(found, key=_time))
    ]
    return tuple(sorted((*others, *alike), key=lambda each: (each.t_s, each.kind, each.object, each.t_min_s)))


_time = attrgetter("t_s")


def _groups(
    events: Iterable[PredictedEvent], class_of: Mapping[str, Hashable]
) -> dict[_Group, list[PredictedEvent]]:
    groups: dict[_Group, list[PredictedEvent]] = defaultdict(list)
    turns: Counter[tuple[Kind, str, str]] = Counter()
    for each in sorted(events, key=lambda event: -event.probability):  # the second time is never likelier
        if _is_pooled(each, class_of):
            name = (each.kind, each.object, each.detail)
            groups[class_of[each.object], each.kind, each.detail, turns[name]].append(each)
            turns[name] += 1
    return groups


def _is_pooled(event: PredictedEvent, class_of: Mapping[str, Hashable]) -> bool:
    return event.kind in POOLED and event.object in class_of


def _for_each(nodes: list[str], found: list[PredictedEvent]) -> Iterable[PredictedEvent]:
    """Yield an event for each of these nodes; `found` are those of some of them, by time.

    Each keeps its own typical time, so that the first and the last of them stay typical, too.
    """
    own, median = {each.object: each.t_s for each in found}, found[len(found) // 2]
    low, high = min(each.t_min_s for each in found), max(each.t_max_s for each in found)
    chance = min(1.0, sum(each.probability for each in found) / len(nodes))
    for node in nodes:
        yield replace(
            median,
            object=node,
            t_s=own.get(node, median.t_s),
            t_min_s=low,
            t_max_s=high,
            probability=chance,
        )
