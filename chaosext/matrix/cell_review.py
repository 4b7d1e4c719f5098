"""A kept run against its prediction, and what it showed. Pure.

Events are compared as in a run's report (`report.data.prediction_review`); the outcome is that of DNS once the network
is back and the cluster has had its time to settle.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chaosext.matrix.calibration import ENOUGH, Calibration, dns_calibrations
from chaosext.matrix.machine_lateness import LATE_S
from chaosext.model.findings import Status
from chaosext.model.result import Lane, VerdictRule
from chaosext.model.timeline import Kind
from chaosext.rehearsal.simulate.dns_lookups import overall
from chaosext.rehearsal.simulate.prediction import Dns
from chaosext.report.data.account import Account, covers, goal, origin
from chaosext.report.data.prediction_review import Hindsight, all_differences, hindsight

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chaosext.matrix.kept_runs import KeptRun
    from chaosext.model.result import Window
    from chaosext.model.timeline import Event
    from chaosext.report.data.run_data import RunData

LOOKUPS = re.compile(r"dns_resolvable: (\d+) of (\d+) lookups answered")
"""The summary of the check `dns_resolvable` (checks/dns_resolvable.py)."""

JUDGED_S = 30.0
"""DNS is judged by this time before the rollback, or before the end, seconds."""

MOSTLY = 0.9
"""A node on which DNS is dead for this share of that time has dead DNS; the rest are gaps in observation."""

BEGUN_S = 5.0
"""What is lost sooner after the cut is lost by the cut itself; a BGP session takes its hold time, seconds."""


@dataclass(frozen=True)
class CellReview:
    """What one kept run showed, beside its prediction."""

    kept: KeptRun

    # -- against the prediction

    @cached_property
    def data(self) -> RunData:
        return self.kept.data()

    @cached_property
    def hindsight(self) -> Hindsight:
        return hindsight(self.data) or Hindsight(forecast=self.data.forecast)

    @property
    def predicted(self) -> tuple[tuple[Dns, float], ...]:
        """The predicted states of DNS after the heal, likeliest first."""
        outcomes = self.kept.before.prediction["outcomes"]
        return tuple((Dns(each["dns_after_heal"]), float(each["probability"])) for each in outcomes)

    @property
    def is_foreseen(self) -> bool:
        """Whether the observed state of DNS is among the predicted ones; an unknown prediction foresees nothing."""
        return any(state is self.dns_after and chance > 0 for state, chance in self.predicted)

    @property
    def is_verdict_right(self) -> bool:
        return self.data.forecast == self.data.result.verdict.outcome.value

    @property
    def misses(self) -> tuple[str, ...]:
        """What was not as predicted, in lines."""
        unforeseen = f"DNS {self.dns_after} after the heal, which was not predicted"
        return (*(() if self.is_foreseen else (unforeseen,)), *all_differences(self.hindsight))

    @property
    def is_late(self) -> bool:
        """Whether the machine was too busy for its times to say something about Kubernetes, or nobody measured."""
        return self.kept.late_s is None or self.kept.late_s >= LATE_S

    # -- what was seen

    @cached_property
    def _account(self) -> Account:
        return Account(self.data.result)

    @cached_property
    def cut_nodes(self) -> tuple[str, ...]:
        """The nodes that lost the control plane: all that were watched, without those that the rules were on."""
        severed = {node for event in self._account.of(Kind.CUT) for node in event.nodes}
        return tuple(sorted(self._account.watched - severed))

    @cached_property
    def settled_s(self) -> float:
        """When the cluster had had its time to heal: the rollback, or else the end."""
        rollback = self._account.of(Kind.ROLLBACK)
        return rollback[0].t_s if rollback else self._account.end_s

    @property
    def heal_s(self) -> float:
        return self._account.heal_s

    @property
    def _after(self) -> str:
        """What the checks after the heal found, in one line."""
        rulings = self.data.result.rulings
        return next((each.reason for each in rulings if each.rule is VerdictRule.AFTER), "")

    @property
    def heals(self) -> bool | None:
        """Whether the steady state came back without help; None if that was not observed."""
        status = next(
            (each.status for each in self.data.result.rulings if each.rule is VerdictRule.AFTER), None
        )
        return {Status.HEALTHY: True, Status.UNHEALTHY: False}.get(status) if status else None

    @property
    def recovered_s(self) -> float | None:
        """From the heal to the steady state, seconds, if it healed by itself."""
        return self.data.result.timing.recover_s if self.heals else None

    @cached_property
    def dns_during(self) -> Dns:
        """The worst state of DNS on the cut nodes while the cut lasted."""
        dead = [self._lost_between(node, BEGUN_S, self.heal_s) for node in self.cut_nodes]
        states = (Dns.RESOLVABLE if since is None else Dns.DEAD for since in dead)
        return overall(states)

    @property
    def dns_lost_s(self) -> float | None:
        """When DNS was first dead on a cut node during the cut, in seconds from the cut."""
        found = [self._lost_between(node, 0.0, self.heal_s) for node in self.cut_nodes]
        return min((each for each in found if each is not None), default=None)

    @cached_property
    def dns_after(self) -> Dns:
        """The state of DNS on the cut nodes when the cluster had had its time to heal.

        It is that of the check's lookups, many names from each node; else that of the one name that sentinels ask,
        which a cache may know.
        """
        if self.heals:
            return Dns.RESOLVABLE
        if self.heals is None or not self.cut_nodes:
            return Dns.UNKNOWN
        if found := LOOKUPS.search(self._after):
            answered, asked = map(int, found.groups())
            return Dns.DEAD if not answered else Dns.PARTIAL if answered < asked else Dns.RESOLVABLE
        return overall(self._dns_on(node) for node in self.cut_nodes)

    @property
    def dns_outage_s(self) -> float:
        """The longest time without DNS on a cut node that lasted, or began, after the heal, up to the rollback."""
        lengths = (
            min(self.settled_s, self.settled_s if end is None else end) - max(start, self.heal_s)
            for node in self.cut_nodes
            for start, end in _joined(self._dead(node))
        )
        return max((each for each in lengths if each > 0), default=0.0)

    @cached_property
    def not_ready(self) -> tuple[Event, ...]:
        """The first NotReady of each node during the cut."""
        return tuple(each for each in self._account.first_of(Kind.NODE_NOT_READY) if each.t_s < self.heal_s)

    @property
    def evicted(self) -> int:
        """How many Pods the control plane evicted during the cut."""
        return sum(each.t_s < self.heal_s for each in self._account.first_of(Kind.POD_EVICTED))

    @property
    def kube_dns_moved_to(self) -> tuple[str, ...]:
        """The nodes that kube-dns was bound to during the cut."""
        bound = (each for each in self._account.bound() if each.t_s < self.heal_s)
        return tuple(sorted({each.detail.removeprefix("to ") for each in bound}))

    @cached_property
    def routes_lost_s(self) -> float | None:
        """When a cut node first lost a Pod on another cut node during the cut; None: it reached all that existed."""
        lost = (
            event
            for event in self._account.since_cut(Kind.TARGET_LOST, Kind.ROUTE_LOST)
            if BEGUN_S < event.t_s < self.heal_s and self._is_between_cut_nodes(event)
        )
        return min((event.t_s for event in lost), default=None)

    @property
    def stuck(self) -> tuple[str, ...]:
        """Pods without configuration, not ready, or with failing probes when the cluster had had its time to heal."""
        at_s = self.settled_s - 1.0
        names = (
            name
            for lane in (Lane.XDS, Lane.SIDECAR_READY, Lane.PROBES)
            for name, windows in self.data.result.outages.get(lane, {}).items()
            if name.startswith("Pod/") and any(covers(window, at_s) for window in windows)
        )
        return () if self.heals else tuple(dict.fromkeys(names))

    def _is_between_cut_nodes(self, event: Event) -> bool:
        here, target = origin(event.object), goal(event)
        there = [node for node in self.cut_nodes if f" on {node} " in f"{target} "]
        return here in self.cut_nodes and bool(there) and there != [here]

    def _dead(self, node: str) -> Sequence[Window]:
        return self.data.result.dns_outages.get(f"Node/{node}", ())

    def _lost_between(self, node: str, start_s: float, end_s: float) -> float | None:
        begins = (
            max(start, 0.0)
            for start, end in self._dead(node)
            if start < end_s and (end is None or end > start_s)
        )
        return min(begins, default=None)

    def _dns_on(self, node: str) -> Dns:
        end_s, start_s = self.settled_s, max(self.heal_s, self.settled_s - JUDGED_S)
        unseen = _share(self.data.result.unobserved.get(node, ()), start_s, end_s)
        dead = _share(self._dead(node), start_s, end_s)
        if dead and dead >= MOSTLY * (1 - unseen):
            return Dns.DEAD
        if unseen >= MOSTLY:
            return Dns.UNKNOWN
        failures = (
            event
            for event in self._account.of(Kind.DNS_DEGRADED, Kind.DNS_DEAD)
            if event.object == f"Node/{node}" and start_s <= event.t_s <= end_s
        )
        return Dns.PARTIAL if dead or any(True for _ in failures) else Dns.RESOLVABLE

    def to_json(self) -> dict[str, Any]:
        found = self.hindsight
        return {
            "cell": self.kept.cell.name,
            "run": self.kept.run,
            "predicted_at": self.kept.before.predicted_at,
            "prediction_sha256": self.kept.before.sha256,
            "verdict": self.data.result.verdict.headline,
            "forecast": self.data.forecast,
            "dns_after_heal": self.dns_after.value,
            "predicted_dns": {state.value: chance for state, chance in self.predicted},
            "foreseen": self.is_foreseen,
            "expected_events": found.expectations,
            "in_time": found.right,
            "late_s": self.kept.late_s,
            "misses": list(self.misses),
        }


def _share(windows: Iterable[Window], start_s: float, end_s: float) -> float:
    """Return which share of a time the windows cover."""
    if end_s <= start_s:
        return 0.0
    covered = (min(end_s, end_s if end is None else end) - max(start, start_s) for start, end in windows)
    return min(1.0, sum(max(0.0, each) for each in covered) / (end_s - start_s))


NEAR_S = 3.0
"""A shorter time between two windows is a gap in observation, seconds."""


def _joined(windows: Iterable[Window]) -> Iterator[Window]:
    """Join windows that only a gap in observation separates."""
    found: Window | None = None
    for start, end in windows:
        if found is None:
            found = (start, end)
        elif found[1] is not None and start - found[1] < NEAR_S:
            found = (found[0], end)
        else:
            yield found
            found = (start, end)
    if found is not None:
        yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How right the predictions of some runs were."""

    runs: int
    foreseen: int
    verdicts: int
    expected: int
    in_time: int

    @classmethod
    def of(cls, reviews: Sequence[CellReview]) -> Accuracy:
        return cls(
            runs=len(reviews),
            foreseen=sum(each.is_foreseen for each in reviews),
            verdicts=sum(each.is_verdict_right for each in reviews),
            expected=sum(each.hindsight.expectations for each in reviews),
            in_time=sum(each.hindsight.right for each in reviews),
        )


def repeated(reviews: Sequence[CellReview]) -> tuple[Calibration, ...]:
    """Return, for each cell with enough repeats, how often each outcome of DNS came, and was to come."""
    counts = Counter(each.kept.cell for each in reviews)
    return tuple(
        made
        for cell, count in counts.items()
        if count >= ENOUGH
        for made in _calibrations([each for each in reviews if each.kept.cell == cell])
    )


def _calibrations(repeats: Sequence[CellReview]) -> Iterator[Calibration]:
    found = [(dict(each.predicted), each.dns_after) for each in repeats]
    states = {state for predicted, seen in found for state in (*predicted, seen)}
    yield from dns_calibrations(str(repeats[0].kept.cell), states, found)
