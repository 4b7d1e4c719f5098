"""Outages of DNS that no cut explains: on cut nodes after each heal, on the other nodes at any time."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.rehearsal.simulate.prediction import NOT_CUT, NOTICED_S, RARE, Dns, DnsOutage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from chaosext.rehearsal.simulate.inputs import SimulationInputs
    from chaosext.rehearsal.simulate.simulation import Trace
    from chaosext.rehearsal.simulate.simulations import Weighted


@dataclass(frozen=True, slots=True)
class DnsOutages:
    """The outages in the simulations of a cut, of which `missing` is the share that did not run."""

    stage: SimulationInputs
    missing: float

    def on_nodes(self, plays: Weighted, observers: Sequence[int]) -> DnsOutage | None:
        """Return the outage on the observers and the nodes like them; None if DNS is unknown there."""
        return self._outage(plays, observers, Counter(self.stage.like.values()))

    def on_node(self, plays: Weighted, observer: int) -> DnsOutage | None:
        """Return the outage on one node; None if DNS is unknown there."""
        return self._outage(plays, (observer,), {observer: 1})

    def told(self, plays: Weighted, recovering: Weighted) -> tuple[DnsOutage, ...]:
        """Return those on nodes that are not cut, and on the others where DNS recovers; the longest first."""
        stage, alike = self.stage, Counter(self.stage.like.values())
        cut = [number for number in stage.judged if stage.is_cut[number]]
        others = [number for number in stage.judged if not stage.is_cut[number]]
        healed = "after the heal" if len(stage.plan.periods) == 1 else "after a heal"
        found = (self._outage(recovering, cut, alike, healed), self._outage(plays, others, alike, NOT_CUT))
        told = [each for each in found if each and each.probability > RARE]
        return tuple(sorted(told, key=lambda each: (each.worst is Dns.DEAD, each.typical_s), reverse=True))

    def _outage(
        self, plays: Weighted, observers: Sequence[int], alike: Mapping[int, int], where: str = ""
    ) -> DnsOutage | None:
        """Return the outage; `alike`: observer -> how many nodes it stands for."""
        if not observers or not plays or not self.stage.knows_dns:
            return None
        worst, hit = self._worst(plays, observers)
        times, at_least = defaultdict[float, float](float), defaultdict[float, float](float)
        for share, trace in plays:
            is_open = any(self._spent_s(trace, number, Dns.UNKNOWN) for number in observers)
            longest_s = max(self._spent_s(trace, number, worst) for number in observers)
            (at_least if is_open else times)[longest_s] += share * (1 - self.missing)
        return DnsOutage(
            worst=worst if hit or not at_least else Dns.UNKNOWN,
            times_s=tuple(sorted(times.items())),
            at_least_s=tuple(sorted(at_least.items())),
            missing=self.missing,
            nodes=sum(alike[number] for number in hit),
            where=where,
        )

    def _worst(self, plays: Weighted, observers: Sequence[int]) -> tuple[Dns, Collection[int]]:
        """Return the worst state that lasts for long enough to be noticed, and the observers with it."""
        for state in (Dns.DEAD, Dns.PARTIAL):
            hit = {
                number
                for number in observers
                if any(self._spent_s(trace, number, state) >= NOTICED_S for _, trace in plays)
            }
            if hit:
                return state, hit
        return Dns.RESOLVABLE, ()

    def _spent_s(self, trace: Trace, number: int, state: Dns) -> float:
        """Return for how long an observer is in a state that no cut explains."""
        healed_s = trace.healed_s.get((number, state), 0.0)
        if self.stage.is_cut[number]:
            return healed_s
        return healed_s + trace.cut_s.get((number, state), 0.0)
