"""The interface of a network model: which node reaches which Pods, and whether a snapshot proves it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaosext.rehearsal.snapshot.world import Doubt, Node


Periods: TypeAlias = "tuple[tuple[float, float], ...]"
"""When a cut lasts: (begin, end) of each period in seconds from its first begin, ascending."""


class EvidenceKind(StrEnum):
    """What a model of another system was compared with."""

    SEEN = "seen"
    """A run on a real cluster, or a lab of the real programs."""
    ORACLE = "oracle"
    """A real control plane with simulated nodes."""
    DOCUMENTS = "documents"
    """Nothing: it follows documents and source code."""


STRENGTH = (EvidenceKind.DOCUMENTS, EvidenceKind.ORACLE, EvidenceKind.SEEN)
"""Kinds of evidence, the weakest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Whether a snapshot proves which node reaches which Pods: it does if there are no doubts.

    `rests_on`: what it is read from, in words. `evidence`: what the network's model was compared with.
    `doubts`: the reasons why it is unknown.
    """

    rests_on: str = ""
    doubts: tuple[Doubt, ...] = ()
    evidence: EvidenceKind = EvidenceKind.DOCUMENTS

    @property
    def holds(self) -> bool:
        return not self.doubts

    @property
    def why_not(self) -> str:
        """Why it is not proven, in one line; "" if it is proven."""
        if not self.doubts:
            return ""
        more = f" (and {len(self.doubts) - 1} more)" if len(self.doubts) > 1 else ""
        return f"which node reaches which Pods is unknown: {self.doubts[0]}{more}"

    def to_json(self) -> dict[str, Any]:
        """Return the form in a prediction's JSON."""
        doubts = [each.to_json() for each in self.doubts]
        return {"proven": self.holds, "rests_on": self.rests_on if self.holds else "", "doubts": doubts}


class Routes(ABC):
    """Routes of one network during and after a cut, between nodes by their numbers in the world.

    `proof` is the evidence for a model's answers. If it does not hold, every pair of different nodes is
    unknown.
    """

    proof: Proof
    uses_bgp: bool = False
    """Whether BGP sessions carry Pod routes."""

    def changes_s(self, between: Callable[[float, float], float]) -> tuple[float, ...]:
        """Return when answers change in one simulation, in seconds from the cut, ascending.

        Sessions end, routes are withdrawn and return. `between` draws a time from a range.
        """
        return ()

    def reaches(self, client: int, host: int, changes: int = 0) -> bool | None:
        """Whether `client` has a route to Pods on `host` after this many of the changes; None if unknown."""
        if client == host:
            return True
        return self._reaches(client, host, changes) if self.proof.holds else None

    @abstractmethod
    def _reaches(self, client: int, host: int, changes: int) -> bool:
        """Answer `reaches` for two different nodes, given that the proof holds."""

    def announces(self, host: int) -> bool:
        """Whether any other node learns this node's Pod addresses, with the network whole."""
        return True

    def kind(self, number: int) -> tuple[object, ...]:
        """A key: nodes with the same key reach the same nodes and are reached by the same nodes."""
        return ()


class EveryNode(Routes):
    """Every node reaches every Pod, even in a cut: through tunnels, or because the fabric routes Pod addresses."""

    def __init__(self, proof: Proof) -> None:
        self.proof = replace(proof, rests_on=proof.rests_on or "every node reaches every Pod")

    def _reaches(self, client: int, host: int, changes: int) -> bool:
        return True


class Declared(Routes):
    """The plan says which nodes' Pods stay reachable from every node; the others' are not."""

    def __init__(self, nodes: Sequence[Node], reached: frozenset[str]) -> None:
        self.proof = Proof(rests_on=f"the plan: Pods on {len(reached)} of {len(nodes)} nodes stay reachable")
        self._reached = [node.name in reached for node in nodes]

    def announces(self, host: int) -> bool:
        return self._reached[host]

    def _reaches(self, client: int, host: int, changes: int) -> bool:
        return self._reached[host]

    def kind(self, number: int) -> tuple[object, ...]:
        return (self._reached[number],)


def unannounced(routes: Routes, nodes: Sequence[Node]) -> tuple[str, ...]:
    """Return the names of the nodes whose Pod addresses no other node learns; empty if unknown."""
    if not routes.proof.holds:
        return ()
    return tuple(node.name for number, node in enumerate(nodes) if not routes.announces(number))
