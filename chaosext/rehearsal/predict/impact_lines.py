"""What users lose, in a few lines, the worst first."""

from __future__ import annotations

from itertools import islice
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from chaosext.model.duration_text import short_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.rehearsal.simulate.impact import Chance, Impact, UnitImpact

MOST_LINES = 6

FEW = 3
"""Objects named in a line; of the rest only their number is said."""

LIKELY, CERTAIN = 0.005, 0.995


class ImpactLine(NamedTuple):
    """An effect, and the objects that it hits, the worst first; "" for what has none."""

    title: str
    names: tuple[str, ...] = ()

    def fitted(self, width: float = inf) -> str:
        """Return the line with at most `FEW` of its names, and fewer if it would be longer than `width`."""
        for count in range(min(FEW, len(self.names)), 0, -1):
            more = f" and {len(self.names) - count} more" if len(self.names) > count else ""
            line = f"{self.title}: {', '.join(self.names[:count])}{more}"
            if len(line) <= width or count == 1:
                return line
        return self.title


def impact_lines(found: Impact | None, width: float = inf) -> Iterator[str]:
    """Yield at most `MOST_LINES` lines; nothing if nothing is lost."""
    if found is None:
        return
    lines = [each.fitted(width) for each in _lines(found)]
    more = len(lines) - MOST_LINES
    yield from islice(lines, MOST_LINES if more <= 0 else MOST_LINES - 1)
    if more > 0:
        yield f"and {more + 1} more kinds of impact, in --json"


def _lines(found: Impact) -> Iterator[ImpactLine]:
    workloads, services = found.workloads, found.services
    yield from _line("quorum lost", (_chance(each, each.quorum_lost) for each in workloads))
    yield from _line("no endpoint at the end", (_chance(each, each.none_at_end) for each in services))
    yield from _line(
        "all Pods stop together at the heal", (_chance(each, each.at_once) for each in workloads)
    )
    yield from _line("no Pod runs at some time", map(_down, workloads))
    if found.pending:
        rows = sorted(found.pending.items(), key=lambda row: (-row[1], row[0]))
        yield from _line("fit on no node at the end", (f"{count:.1f} of {name}" for name, count in rows))
    yield from _without_endpoints(services)
    yield from _line(
        "evicted despite their budget (taint evictions ignore it)",
        (f"{each.evicted:.1f} Pods of {each.name} (allows {each.allowed})" for each in found.budgets),
    )
    yield from _line(
        "not reached from cut nodes during the cut",
        (each.name for each in services if each.unreached),
    )
    yield from (ImpactLine(f"unknown: {why}") for why in found.unknown)


def _without_endpoints(services: Iterable[UnitImpact]) -> Iterator[ImpactLine]:
    """Say which Services have no endpoint for a while, first those that a load balancer outside follows."""
    hit = [each for each in services if each.none.likely >= LIKELY or each.none.unknown >= LIKELY]
    for title, some in (
        ("no endpoint for outside load balancers", [each for each in hit if each.external]),
        ("no endpoint in the API", [each for each in hit if not each.external]),
    ):
        timed = [each for each in some if each.from_s is not None and each.for_s is not None]
        when = ""
        if timed:
            first, longest = (
                min(each.from_s or 0.0 for each in timed),
                max(each.for_s or 0.0 for each in timed),
            )
            when = f" from {short_duration(round(first))} on for up to {short_duration(round(longest))}"
        yield from _line(f"{title}{when}", (_chance(each, each.none) for each in some))


def _down(unit: UnitImpact) -> str:
    """Name a workload of which no Pod runs for a while, unless another line says so."""
    is_down = unit.running is not None and unit.before > 0 and not unit.running.typical
    if not is_down or unit.at_once.likely >= LIKELY or unit.quorum_lost.likely >= LIKELY:
        return ""
    return f"{unit.name} ({unit.before} before)"


def _chance(unit: UnitImpact, chance: Chance) -> str:
    """Name a unit with the probability of an effect; "" if there is none."""
    if chance.likely < LIKELY and chance.unknown < LIKELY:
        return ""
    if chance.likely >= CERTAIN:
        return unit.name
    return (
        f"{unit.name} ({chance.likely:.0%}{f', unknown {chance.unknown:.0%}' * (chance.unknown >= LIKELY)})"
    )


def _line(title: str, names: Iterable[str]) -> Iterator[ImpactLine]:
    told = tuple(name for name in names if name)
    if told:
        yield ImpactLine(title, told)
