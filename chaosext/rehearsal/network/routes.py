"""Who reaches whose Pods, and whether a snapshot proves it: what a model of a network has to answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.rehearsal.snapshot.world import Doubt, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Whether a snapshot proves who reaches whose Pods.

    `rests_on`: what it follows from, in words; `doubts`: what keeps it from being known. Without any it is proven.
    """

    rests_on: str = ""
    doubts: tuple[Doubt, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.doubts

    @property
    def why_not(self) -> str:
        """Why it isn't proven, in a line; "" where it is."""
        if not self.doubts:
            return ""
        more = f" (and {len(self.doubts) - 1} more)" if len(self.doubts) > 1 else ""
        return f"which node reaches which Pods is unknown: {self.doubts[0]}{more}"

    def to_json(self) -> dict[str, Any]:
        """As a prediction has it."""
        doubts = [{"subject": each.subject, "key": each.key, "why": each.why} for each in self.doubts]
        return {"proven": self.holds, "rests_on": self.rests_on if self.holds else "", "doubts": doubts}


class Routes(ABC):
    """One network's routes during a cut and after it, between nodes by their numbers in the world.

    A model says what its answers rest on. Where that isn't proven, it knows of no pair of nodes.
    """

    proof: Proof

    changes_s: Sequence[float] = ()
    """When answers change, seconds from the cut: sessions end, routes are withdrawn, and come back."""

    def reaches(self, client: int, host: int, t_s: float) -> bool | None:
        """Whether `client` has a route to Pods on `host` at `t_s` seconds from the cut; None where it isn't known."""
        if client == host:
            return True
        return self._reaches(client, host, t_s) if self.proof.holds else None

    @abstractmethod
    def _reaches(self, client: int, host: int, t_s: float) -> bool:
        """The same of two different nodes, as proven."""

    def announces(self, host: int) -> bool:
        """Whether any other node learns the addresses of this node's Pods, before the cut and after it."""
        return True

    def kind(self, number: int) -> tuple[object, ...]:
        """Two nodes of one kind reach the same others, and are reached by the same."""
        return ()


class EveryNode(Routes):
    """Every node reaches every Pod, also in a cut: by tunnels between nodes, or as the fabric knows Pods' addresses."""

    def __init__(self, proof: Proof) -> None:
        self.proof = replace(proof, rests_on=proof.rests_on or "every node reaches every Pod")

    def _reaches(self, client: int, host: int, t_s: float) -> bool:
        return True


def unannounced(routes: Routes, nodes: Sequence[Node]) -> tuple[str, ...]:
    """Names of the nodes whose Pods no other node hears of; empty where that isn't known."""
    if not routes.proof.holds:
        return ()
    return tuple(node.name for number, node in enumerate(nodes) if not routes.announces(number))
