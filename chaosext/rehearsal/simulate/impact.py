"""What users lose in a cut: workloads below their replicas, quorums, Services without endpoints. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

DECIMALS = 3

MOST_ROWS = 200
"""Maximum of workloads, and of Services, in JSON, the worst first; `left_off` counts the rest."""


class Chance(NamedTuple):
    """The probability of an effect, and the probability that it is unknown whether it happens."""

    likely: float = 0.0
    unknown: float = 0.0

    def to_json(self) -> dict[str, float]:
        return {"probability": round(self.likely, DECIMALS), "unknown": round(self.unknown, DECIMALS)}


NEVER = Chance()


class CountRange(NamedTuple):
    """A count over all simulations: the likeliest, the lowest and the highest."""

    typical: int
    lowest: int
    highest: int

    def to_json(self) -> dict[str, int]:
        return {"typical": self.typical, "lowest": self.lowest, "highest": self.highest}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitImpact:
    """What a cut does to the Pods of a workload, or behind a Service.

    - `replicas`: the wanted number, for a Service its Pods before the cut; `before`: those that were Ready.
    - `available`: the lowest number of Pods that are Ready in the API and not Terminating, from `from_s` for
      `for_s` seconds; `running`: the lowest number that really run. None if unknown.
    - `serving`: lowest number that clients can use -> its probability. Clients that follow the API need a
      Pod that is Ready there; clients on cut nodes use each Pod that runs, until the heal.
    - `quorum`: the members that a quorum needs, 0 if it is none; `quorum_lost`: whether fewer were left.
    - `at_once`: all of its running Pods, and more than one, are stopped together at the heal.
    - `none`, `none_at_end`: no Pod is available at some time, and at the end; the latter counts a Pod that no
      client reaches as not available.
    - `unreached`: clients on cut nodes reach none of its Pods at some time in the cut; None if unknown.
    - `external`: a load balancer outside the cluster follows its endpoints.
    """

    name: str
    replicas: int
    before: int
    available: CountRange | None = None
    running: CountRange | None = None
    from_s: float | None = None
    for_s: float | None = None
    serving: Mapping[int, float] = field(default_factory=dict)
    quorum: int = 0
    quorum_lost: Chance = NEVER
    at_once: Chance = NEVER
    none: Chance = NEVER
    none_at_end: Chance = NEVER
    unreached: bool | None = False
    external: bool = False

    @property
    def is_service(self) -> bool:
        return self.name.startswith("Service/")

    def below(self, least: int) -> Chance:
        """Return the probability that clients ever have fewer than `least` Pods."""
        low = sum(share for count, share in self.serving.items() if count < least)
        return Chance(low, max(0.0, 1.0 - sum(self.serving.values())))

    def to_json(self) -> dict[str, Any]:
        said = {
            "replicas": self.replicas,
            "available_before": self.before,
            "lowest_available": self.available.to_json() if self.available else None,
            "lowest_running": self.running.to_json() if self.running else None,
            "from_s": _rounded(self.from_s),
            "for_s": _rounded(self.for_s),
        }
        if self.is_service:
            return said | {
                "without_endpoints": self.none.to_json(),
                "without_endpoints_at_end": self.none_at_end.to_json(),
                "unreached_from_cut_nodes": self.unreached,
                "external": self.external,
            }
        quorum = {"quorum": self.quorum, "quorum_lost": self.quorum_lost.to_json()} if self.quorum else {}
        return said | quorum | {"all_at_once": self.at_once.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetImpact:
    """A PodDisruptionBudget that allows `allowed` disruptions, and how many of its Pods are evicted on average."""

    name: str
    allowed: int
    evicted: float

    def to_json(self) -> dict[str, Any]:
        return {"allowed": self.allowed, "evicted": round(self.evicted, 1)}


class Loss(NamedTuple):
    """What a workload or Service loses in one simulation, as in `UnitImpact`; None if unknown."""

    available: int
    from_s: float
    for_s: float
    running: int
    serving: int
    quorum_lost: bool | None = False
    at_once: bool = False
    none_at_end: bool | None = False
    left: int = 0
    """Pods that are available at the end."""


class Way(NamedTuple):
    """What one simulation, or several alike, lose: names of workloads and Services; `unsure_…`: perhaps these, too.

    `pending`: number of Pods that fit on no node at the end, None if unknown.
    """

    quorums: frozenset[str] = frozenset()
    unsure_quorums: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()
    """Services without endpoints at the end."""
    unsure_ended: frozenset[str] = frozenset()
    during: frozenset[str] = frozenset()
    """Services without endpoints at some time, for clients that follow the API."""
    unsure_during: frozenset[str] = frozenset()
    at_once: frozenset[str] = frozenset()
    unsure_at_once: frozenset[str] = frozenset()
    pending: int | None = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What users lose. `units`: workloads and Services that are affected, by name; all others keep what they have.

    `ways`: what is lost together -> its probability; missing simulations are left out, so that the sum may be
    below 1. `unknown`: why something is unknown, in words.
    """

    units: Mapping[str, UnitImpact] = field(default_factory=dict)
    budgets: tuple[BudgetImpact, ...] = ()
    pending: Mapping[str, float] = field(default_factory=dict)
    """Workload -> Pods that fit on no node at the end, on average."""
    ways: Mapping[Way, float] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def workloads(self) -> tuple[UnitImpact, ...]:
        """Affected workloads, the worst first."""
        return _worst_first(each for each in self.units.values() if not each.is_service)

    @property
    def services(self) -> tuple[UnitImpact, ...]:
        """Affected Services, the worst first."""
        return _worst_first(each for each in self.units.values() if each.is_service)

    def chance(self, lost: Callable[[Way], bool | None]) -> Chance:
        """Return the probability of what `lost` tests for: True, or None if unknown, as are missing simulations."""
        likely = unknown = known = 0.0
        for way, share in self.ways.items():
            answer = lost(way)
            known += share
            likely += share * (answer is True)
            unknown += share * (answer is None)
        return Chance(min(1.0, likely), min(1.0, unknown + max(0.0, 1.0 - known)))

    @property
    def quorum_lost(self) -> Chance:
        return self.chance(lambda way: any_of(way.quorums, way.unsure_quorums))

    @property
    def services_ended(self) -> Chance:
        """The probability that a Service that had endpoints has none at the end."""
        return self.chance(lambda way: any_of(way.ended, way.unsure_ended))

    @property
    def all_at_once(self) -> Chance:
        return self.chance(lambda way: any_of(way.at_once, way.unsure_at_once))

    def to_json(self) -> dict[str, Any]:
        """Return the form in `chaosext.rehearsal/v1`."""
        workloads, services = self.workloads, self.services
        counts = {"workloads": len(workloads) - MOST_ROWS, "services": len(services) - MOST_ROWS}
        return {
            "quorum_lost": self.quorum_lost.to_json(),
            "services_without_endpoints_at_end": self.services_ended.to_json(),
            "all_at_once": self.all_at_once.to_json(),
            "workloads": {each.name: each.to_json() for each in workloads[:MOST_ROWS]},
            "services": {each.name: each.to_json() for each in services[:MOST_ROWS]},
            "left_off": {name: max(0, count) for name, count in counts.items()},
            "pending_at_end": {name: round(count, 2) for name, count in sorted(self.pending.items())},
            "disruption_budgets": {each.name: each.to_json() for each in self.budgets},
            "unknown": list(self.unknown),
        }


def any_of(lost: frozenset[str], unsure: frozenset[str]) -> bool | None:
    """Whether anything is lost; None if that is unknown."""
    return True if lost else None if unsure else False


def _worst_first(units: Iterable[UnitImpact]) -> tuple[UnitImpact, ...]:
    return tuple(sorted(units, key=_badness))


def _badness(unit: UnitImpact) -> tuple[Any, ...]:
    """The sort key: what is lost for longest comes first, then what is lost at once, then by name."""
    chances = (unit.quorum_lost, unit.none_at_end, unit.at_once, unit.none)
    running = unit.running.typical if unit.running else 0
    return (
        *(-round(each.likely + each.unknown, DECIMALS) for each in chances),
        running - unit.before,
        -(unit.for_s or 0.0),
        unit.name,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)
