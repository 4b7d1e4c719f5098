"""The cuts of failure domains: each set of nodes once, and one of the nodes that are alike for all of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chaosext.rehearsal.snapshot.alike_nodes import alike_nodes
from chaosext.rehearsal.snapshot.failure_domains import DomainKind, failure_domains

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.snapshot.failure_domains import Domain
    from chaosext.rehearsal.snapshot.world import World

GROUPS = (DomainKind.ZONE, DomainKind.RACK)
"""Kinds of domains with several nodes that labels show."""

SINGLE = (DomainKind.NODE, DomainKind.CONTROL_PLANE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainCut:
    """A cut of a domain's `nodes`. `names`: its name, and those of other domains of the same nodes.

    `alike`: the nodes that this one stands for, itself left out.
    """

    names: tuple[str, ...]
    kinds: frozenset[DomainKind]
    nodes: frozenset[str]
    alike: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = f" (and {len(self.alike)} alike)" if self.alike else ""
        return f"{' = '.join(self.names)}{more}"


def domain_cuts(
    world: World, kinds: Collection[DomainKind], within: frozenset[str] | None = None
) -> tuple[DomainCut, ...]:
    """Return the cuts of all domains of these kinds, the largest first; with `within`, of what they share with it."""
    found: dict[frozenset[str], list[Domain]] = defaultdict(list)
    for domain in failure_domains(world):
        nodes = domain.nodes if within is None else domain.nodes & within
        if domain.kind in kinds and nodes and nodes != within:
            found[nodes].append(domain)
    class_of = alike_nodes(world)
    cuts = [_cut(nodes, domains) for nodes, domains in found.items()]
    merged = _merged(cuts, class_of)
    return tuple(sorted(merged, key=lambda each: (-len(each.nodes), each.names)))


def _cut(nodes: frozenset[str], domains: Sequence[Domain]) -> DomainCut:
    return DomainCut(
        names=tuple(map(str, domains)), kinds=frozenset(each.kind for each in domains), nodes=nodes
    )


def _merged(cuts: Iterable[DomainCut], class_of: Mapping[str, int]) -> Iterator[DomainCut]:
    """Yield one cut for all nodes of a class that are domains of no other kind, and every other cut."""
    first: dict[int, DomainCut] = {}
    alike: dict[int, list[str]] = defaultdict(list)
    for cut in cuts:
        if not cut.kinds.issubset(SINGLE):
            yield cut
            continue
        (node,) = cut.nodes
        if first.setdefault(class_of[node], cut) is not cut:
            alike[class_of[node]].append(node)
    for number, cut in first.items():
        yield replace(cut, alike=tuple(alike[number]))
