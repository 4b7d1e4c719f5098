"""Which clients reach a set of Pods, and whether a set of Pods can agree; by kinds of nodes, so that it is fast.

Nodes of one kind reach the same others (`SimulationInputs.kinds`). An answer is True, False, or None if unknown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    Reaches = Callable[[int, int, bool, "Epoch"], bool | None]
    """(client, host, whether the host's own address is used, epoch) -> whether the client gets an answer."""


class Epoch(NamedTuple):
    """A period with constant reachability in a simulation: whether the cut is on, and how often routes have changed."""

    is_cut: bool
    route_changes: int


UNTOUCHED = Epoch(is_cut=False, route_changes=0)
"""Before the cut."""


class Reachability:
    """Answers for sets of hosts, cached. `kinds[node]` is the kind of a node, `reaches` answers for two nodes."""

    def __init__(self, kinds: Sequence[int], reaches: Reaches) -> None:
        self._kinds, self._reaches = kinds, reaches
        self._members: dict[int, list[int]] = defaultdict(list)
        for node, kind in enumerate(kinds):
            if len(self._members[kind]) < 2:
                self._members[kind].append(node)
        self._known: dict[tuple[frozenset[int], frozenset[int], bool, Epoch], bool | None] = {}

    def all_reach(self, clients: Iterable[int], hosts: Iterable[int], own: bool, epoch: Epoch) -> bool | None:
        """Whether every client node reaches some of the host nodes."""
        wanted, offered = self._kinds_of(clients), self._kinds_of(hosts)
        key = wanted, offered, own, epoch
        if key not in self._known:
            found = {any_true(self._reach(each, host, own, epoch) for host in offered) for each in wanted}
            self._known[key] = False if False in found else None if None in found else True
        return self._known[key]

    def can_agree(self, members: Mapping[int, int], needed: int, own: bool, epoch: Epoch) -> bool | None:
        """Whether some member exchanges messages with enough others; `members`: node -> how many run there."""
        if sum(members.values()) < needed:
            return False
        by_kind = Counter[int]()
        for node, count in members.items():
            by_kind[self._kinds[node]] += count
        surely = max(self._peers(kind, by_kind, own, epoch, (True,)) for kind in by_kind)
        perhaps = max(self._peers(kind, by_kind, own, epoch, (True, None)) for kind in by_kind)
        return True if surely >= needed else None if perhaps >= needed else False

    def _peers(
        self, kind: int, by_kind: Mapping[int, int], own: bool, epoch: Epoch, good: Collection[bool | None]
    ) -> int:
        """Return the number of members that one on a node of this kind exchanges messages with, itself included."""
        return sum(
            count
            for other, count in by_kind.items()
            if self._reach(kind, other, own, epoch) in good and self._reach(other, kind, own, epoch) in good
        )

    def _kinds_of(self, nodes: Iterable[int]) -> frozenset[int]:
        return frozenset(self._kinds[node] for node in nodes)

    def _reach(self, kind: int, other: int, own: bool, epoch: Epoch) -> bool | None:
        """Answer for two different nodes of these kinds; a kind of one node reaches itself."""
        pairs = product(self._members[kind], self._members[other])
        client, host = next(((one, two) for one, two in pairs if one != two), (0, 0))
        return True if client == host else self._reaches(client, host, own, epoch)


def any_true(answers: Iterable[bool | None]) -> bool | None:
    """Whether any answer is True; None if none is, and some are unknown."""
    found = set(answers)
    return True if True in found else None if None in found else False
