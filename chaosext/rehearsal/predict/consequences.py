"""What became worse or better between two states of a cluster, and by which of the changes between them.

Both states are asked the same questions. To find a cause, each change is made alone, and left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import Refused
from chaosext.rehearsal.predict.cluster_changes import applied
from chaosext.rehearsal.predict.cluster_state import NOW, PLANNED, VERDICT, ClusterState, route_classes
from chaosext.rehearsal.predict.differences import (
    MOST_CLASSES,
    ROUTES,
    Direction,
    differences,
    reached,
    subjects_of,
)
from chaosext.rehearsal.simulate.prediction import Forecast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.predict.cluster_changes import Read
    from chaosext.rehearsal.predict.cluster_state import CutEnding, Question
    from chaosext.rehearsal.predict.differences import Difference, Reached
    from chaosext.rehearsal.snapshot.object_changes import Change
    from chaosext.rehearsal.snapshot.snapshot_files import Listed
    from chaosext.rehearsal.snapshot.world import World

    Prepare = Callable[[Sequence[ClusterState], Sequence[str]], None]

SCHEMA = "chaosext.changes/v1"

WITHOUT_CAUSES = 0.7
"""Share of the time budget for the differences themselves; the rest is for their causes."""

SEVERAL = 8
"""From this many changes on, halves of them are tried before single ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequences:
    """What became worse or better, the worst first. `changes`: how many there are that matter to a prediction.

    `compared`: failure domains; `alike`: single nodes that another one stands for. `left_out`: what was not compared.
    `unknown`: what is unknown in both states. `new` and `gone`: failure domains of one state only.
    """

    changes: tuple[Change, ...]
    differences: tuple[Difference, ...]
    planned: tuple[CutEnding | None, CutEnding | None]
    routes: tuple[Reached, Reached]
    compared: int = 0
    alike: int = 0
    left_out: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)

    def of(self, way: Direction) -> tuple[Difference, ...]:
        return tuple(each for each in self.differences if each.direction is way)

    @property
    def is_worse(self) -> bool:
        """Whether anything became worse, or was not compared, so that it may have."""
        return bool(self.of(Direction.WORSE)) or bool(self.left_out)

    def to_json(self) -> dict[str, Any]:
        """Return the form in docs/schemas/changes.schema.json."""
        ends = [ending.to_json() if ending else None for ending in self.planned]
        return {
            "schema": SCHEMA,
            "worse": len(self.of(Direction.WORSE)),
            "better": len(self.of(Direction.BETTER)),
            "differences": [each.to_json() for each in self.differences],
            "changes": [
                {"object": each.subject, "what": each.said, "read": each.is_read} for each in self.changes
            ],
            "routes": {"before": self.routes[0].to_json(), "after": self.routes[1].to_json()},
            "planned_cut": {**self.plan, "before": ends[0], "after": ends[1]},
            "domains": {
                "compared": self.compared,
                "alike": self.alike,
                "new": list(self.new),
                "gone": list(self.gone),
            },
            "left_out": list(self.left_out),
            "unknown_in_both": list(self.unknown),
        }


def consequences(
    listed: Listed,
    other: Listed,
    changes: Sequence[Change],
    read: Read,
    question: Question,
    *,
    is_derived: bool = False,
    prepare: Prepare | None = None,
) -> Consequences:
    """Compare two states of a cluster, of which the second is the first with all `changes`.

    `is_derived`: it was made from the first, so that no object is missing if none is missing there. `prepare` may
    find the endings of many subjects out, in several processes.
    """
    first = replace(question, budget=question.budget.share(WITHOUT_CAUSES))
    before = ClusterState(read(listed), first)
    read_other = _complete(read) if is_derived and before.routes.proof.holds else read
    after = ClusterState(read_other(other), first) if changes else before
    if not before.names.keys() & after.names.keys():
        raise Refused("the snapshots have no node in common", "compare two snapshots of one cluster")
    subjects = subjects_of(before, after)
    if changes and prepare:
        prepare([before, after], subjects[1:])
    found = list(differences(before, after)) if changes else []
    if changes:
        states = _States(listed, changes, read_other, question)
        found = list(_caused(found, before, states, prepare))
    classes = len(route_classes([before, after], [name for name in before.names if name in after.names]))
    beyond = (f"routes of {classes - MOST_CLASSES} kinds of nodes",) if classes > MOST_CLASSES else ()
    both = sum(name in after.domains for name in before.domains)
    undone = [each for each in subjects if changes and each != ROUTES and _is_undone(each, before, after)]
    plan = {"nodes": sorted(after.plan.cut_nodes), "cut_for_s": after.plan.cut_for_s}
    return Consequences(
        changes=tuple(changes),
        differences=tuple(sorted(found, key=_rank)),
        planned=(before.ending(PLANNED), after.ending(PLANNED)),
        routes=(reached(before), reached(after)),
        compared=len(subjects) - len((ROUTES, NOW, PLANNED)),
        alike=both - (len(subjects) - len((ROUTES, NOW, PLANNED))),
        left_out=(*beyond, *(f"{each}: the time budget ended" for each in undone)),
        unknown=tuple(each for each in subjects if _is_unknown(each, before) and _is_unknown(each, after)),
        new=tuple(each for each in after.domains if each not in before.domains),
        gone=tuple(each for each in before.domains if each not in after.domains),
        plan=plan,
    )


def _complete(read: Read) -> Read:
    def complete(listed: Listed) -> World:
        world = read(listed)
        return replace(world, network=replace(world.network, is_complete=True))

    return complete


def _is_unknown(subject: str, state: ClusterState) -> bool:
    if subject == ROUTES:
        return not state.routes.proof.holds
    ending = state.ending(subject)
    return ending is not None and ending.verdict is Forecast.UNKNOWN


def _is_undone(subject: str, before: ClusterState, after: ClusterState) -> bool:
    return before.ending(subject) is None or after.ending(subject) is None


def _rank(each: Difference) -> tuple[bool, int, str, bool, str]:
    """Sort by direction, then routes, planned cut, groups of nodes, nodes; the verdict first."""
    places = {ROUTES: 0, NOW: 1, PLANNED: 2}
    place = places.get(each.subject, 3 if len(each.nodes) > 1 else 4)
    return each.direction is Direction.BETTER, place, each.subject, each.what != VERDICT, each.what


class _States:
    """The states with some of the changes, each read and asked once."""

    def __init__(self, listed: Listed, changes: Sequence[Change], read: Read, question: Question) -> None:
        self.changes, self.question = changes, question
        self._listed, self._read = listed, read
        self._known: dict[frozenset[int], ClusterState | None] = {}

    def with_only(self, chosen: Iterable[int]) -> ClusterState | None:
        """Return the state with these changes; None if they do not fit without the others."""
        key = frozenset(chosen)
        if key not in self._known:
            try:
                some = [each for number, each in enumerate(self.changes) if number in key]
                self._known[key] = ClusterState(self._read(applied(self._listed, some)), self.question)
            except Refused:
                self._known[key] = None
        return self._known[key]


def _caused(
    found: Sequence[Difference], before: ClusterState, states: _States, prepare: Prepare | None
) -> Iterator[Difference]:
    """Yield each difference with the changes that cause it: alone, or together if each of them is needed.

    A change that caused another difference alone is tried first: if it does so again, no other is tried.
    """
    known: dict[int, None] = {}
    for each in found:
        causes, alone = _causes(each, before, states, list(known))
        if alone and causes and causes[0] not in known:
            known[causes[0]] = None
            state = states.with_only(causes[:1])
            rest = dict.fromkeys(other.subject for other in found if other.subject != ROUTES)
            if state and prepare and len(states.changes) > 1:
                prepare([state], [subject for subject in rest if not state.has_answered(subject)])
        by = tuple(states.changes[number].subject for number in causes)
        yield replace(each, by=by, alone=alone)


def _causes(
    each: Difference, before: ClusterState, states: _States, known: Sequence[int]
) -> tuple[tuple[int, ...], bool]:
    """Return the numbers of the changes that cause a difference, and whether one of them is enough."""
    count = len(states.changes)
    if count == 1:
        return (0,), True

    def appears(chosen: Iterable[int]) -> bool:
        after = states.with_only(chosen)
        if after is None:
            return False
        try:
            return any(other.key == each.key for other in differences(before, after, [each.subject]))
        except (Refused, KeyError):  # the plan or the domain does not exist in this state
            return False

    again = tuple(number for number in known if appears([number]))
    if again:
        return again, True
    some = _narrowed(tuple(range(count)), appears)
    if states.question.budget.is_over and each.subject not in (ROUTES, NOW):
        return (), False
    if alone := tuple(number for number in some if appears([number])):
        return alone, True
    needed = tuple(number for number in some if not appears(set(some) - {number}))
    return needed, False


def _narrowed(numbers: tuple[int, ...], appears: Callable[[Iterable[int]], bool]) -> tuple[int, ...]:
    """Return fewer changes that cause a difference, by halves, as long as one of the halves does."""
    while len(numbers) > SEVERAL:
        middle = len(numbers) // 2
        half = next((part for part in (numbers[:middle], numbers[middle:]) if appears(part)), None)
        if half is None:
            break
        numbers = half
    return numbers
