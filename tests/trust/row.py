"""A row of the trust table: a promise, how it is tried, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class NotHere(Exception):
    """Raised by a part whose ground is here but for a tool: it says which, and the part was not measured."""


class Effort(StrEnum):
    """FAST is a taste of each row, for `make test` (all rows under 3 minutes); FULL is what the table promises."""

    FAST = "fast"
    FULL = "full"


class Ground(StrEnum):
    """What a row needs under its feet."""

    HERE = "here"
    KERNEL = "kernel"  # root, and nftables in network namespaces
    CONTAINERS = "containers"  # a Docker Engine
    CLUSTER = "cluster"  # the testbed


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What trying came to: every count is of something that was done and looked at.

    `worst` is the figure that the bar is about, with its unit. `failures` and `residue` hold a line each: which trial,
    what was expected, what was seen; and what of ours was left where (rules, locks, processes, files).
    """

    trials: int
    worst: str
    failures: tuple[str, ...] = ()
    residue: tuple[str, ...] = ()

    def __add__(self, other: Measured) -> Measured:
        """Both parts of a row that is tried on two grounds."""
        return Measured(
            trials=self.trials + other.trials,
            worst="; ".join(part for part in (self.worst, other.worst) if part),
            failures=self.failures + other.failures,
            residue=self.residue + other.residue,
        )

    @property
    def holds(self) -> bool:
        return self.trials > 0 and not self.failures and not self.residue


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One promise. `measures` are its parts, each on its ground; a part whose ground is missing was not measured."""

    number: int
    title: str
    bar: str
    measures: tuple[tuple[Ground, Callable[[Effort], Measured]], ...]
