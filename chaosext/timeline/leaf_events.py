"""Turn the leaf's report of its sessions and routes into events. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.model.result import Lane
from chaosext.model.timeline import NO_LONGER_WATCHED, Kind
from chaosext.timeline.object_events import Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SOURCE = "leaf"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafLook:
    """The leaf's report at one moment, with names for people.

    `sessions`: peer -> its state if it is not established, "" if it is. `routes`: what is behind kube-dns ->
    whether a route leads there.
    """

    sessions: Mapping[str, str]
    routes: Mapping[str, bool]


@dataclass(slots=True)
class LeafView:
    """The known state of the leaf `leaf`. On first sight, only problems are reported."""

    leaf: str
    _out: dict[Lane, dict[str, str]] = field(default_factory=lambda: {Lane.BGP: {}, Lane.ROUTES: {}})
    _blind: bool = False

    def take(self, look: LeafLook) -> Iterator[Note]:
        """Yield the changes since the last report."""
        if self._blind:
            self._blind = False
            yield self._note(Kind.OBSERVATION_RESTORED, f"Leaf/{self.leaf}", "the leaf answers again")
        routes = {name: "" if leads else "no route leads there" for name, leads in look.routes.items()}
        yield from self._changes(Lane.BGP, look.sessions, Kind.BGP_LOST, Kind.BGP_RESTORED, "established")
        yield from self._changes(
            Lane.ROUTES, routes, Kind.ROUTE_LOST, Kind.ROUTE_RESTORED, "a route leads there"
        )

    def blind(self, why: str) -> Iterator[Note]:
        """The leaf does not answer: report that once, and forget its previous state."""
        if not self._blind:
            self._blind, self._out = True, {Lane.BGP: {}, Lane.ROUTES: {}}
            yield self._note(Kind.OBSERVATION_LOST, f"Leaf/{self.leaf}", why)

    def _changes(
        self, lane: Lane, said: Mapping[str, str], lost: Kind, restored: Kind, good: str
    ) -> Iterator[Note]:
        """Compare with the last report. `said`: name -> problem or "". A name that disappears becomes unobserved."""
        before = self._out[lane]
        self._out[lane] = {name: wrong for name, wrong in said.items() if wrong}
        for name, wrong in said.items():
            if wrong and name not in before:
                yield self._note(lost, self._object(name), wrong)
            if not wrong and name in before:
                yield self._note(restored, self._object(name), good)
        for name in before.keys() - said.keys():
            unseen = f"{self._object(name)} ({lane.value})"
            yield self._note(Kind.OBSERVATION_LOST, unseen, f"{NO_LONGER_WATCHED}it is gone")

    def _object(self, name: str) -> str:
        return f"Leaf/{self.leaf} → {name}"

    @staticmethod
    def _note(kind: Kind, name: str, detail: str) -> Note:
        return Note(kind=kind, object=name, detail=detail)
