"""Compares a run with its own rehearsal. Pure.

Expectations after the heal, and again after the rollback, count from the actual time of each: a late heal is
not an error of the prediction.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from chaosext.model.timeline import Kind
from chaosext.report.units import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from chaosext.model.timeline import Event, Predicted
    from chaosext.report.data.run_data import RunData

COMPARED = frozenset(
    {
        Kind.NODE_NOT_READY,
        Kind.NODE_TAINTED,
        Kind.NODE_READY,
        Kind.POD_EVICTED,
        Kind.POD_CREATED,
        Kind.POD_BOUND,
        Kind.POD_PENDING,
        Kind.POD_READY,
        Kind.POD_GONE,
        Kind.DNS_DEAD,
        Kind.DNS_RESTORED,
        Kind.XDS_LOST,
        Kind.XDS_RESTORED,
        Kind.PROBE_FAILING,
        Kind.CRASH_LOOP,
    }
)
"""Kinds that a rehearsal predicts and a run observes."""

USUAL = 0.5
"""Events less likely than this are neither expected nor a surprise."""

SLACK_S, SLACK_SHARE = 3.0, 0.1
"""Tolerance for an event outside its range: the recorder's delay in seconds, and a share of the event's time."""

MOST_LINES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindsight:
    """The comparison. `right`: the number of expectations that came true in time.

    `late`: those that came true at another time, with that time on the prediction's scale. `missing`: those
    that did not come true. `surprises`: events that were not predicted. `forecast`, `outcome`: the verdicts, about
    what a run observes; `unobserved`: what was predicted besides, and no check sees.
    """

    right: int = 0
    late: tuple[tuple[Predicted, float], ...] = ()
    missing: tuple[Predicted, ...] = ()
    surprises: tuple[Event, ...] = ()
    forecast: str = ""
    outcome: str = ""
    unobserved: str = ""

    @property
    def expectations(self) -> int:
        return self.right + len(self.late) + len(self.missing)


def hindsight(run: RunData) -> Hindsight | None:
    """Compare the run with its rehearsal; None if it has none, or nothing was cut."""
    seen = [event for event in run.result.events if event.t_s >= 0 and _is_comparable(event)]
    if not run.prediction or not any(event.kind is Kind.CUT for event in run.result.events):
        return None
    compared = _Compared(seen, _shifts(run), max(event.t_s for event in run.result.events))
    compared.take([each for each in run.prediction if each.event.kind in COMPARED and each.event.t_s >= 0])
    return Hindsight(
        right=compared.right,
        late=tuple(compared.late),
        missing=tuple(compared.missing),
        surprises=tuple(_surprises(seen, run.prediction)),
        forecast=run.forecast,
        outcome=run.result.verdict.outcome.value,
        unobserved=run.unobserved,
    )


def _is_comparable(event: Event) -> bool:
    """Whether an event can be compared: a rehearsal predicts xDS only for istiod as a whole, not for single Pods."""
    of_one_pod = event.kind in (Kind.XDS_LOST, Kind.XDS_RESTORED) and event.object.startswith("Pod/")
    return event.kind in COMPARED and not of_one_pod


class _Compared:
    """Matches expectations with observed events, those in time first.

    An event that matches one expectation in time can't be the late event of another.
    """

    def __init__(self, seen: Sequence[Event], shift: Callable[[float], float], last_s: float) -> None:
        self._seen, self._shift, self._last_s = seen, shift, last_s
        self._explained: set[int] = set()
        self.right = 0
        self.late: list[tuple[Predicted, float]] = []
        self.missing: list[Predicted] = []

    def take(self, expected: Iterable[Predicted]) -> None:
        """Match all expectations; count those that are likely and were due before the run ended."""
        left = []
        for each in expected:
            low_s, high_s = (t_s + self._shift(each.event.t_s) for t_s in (each.t_min_s, each.t_max_s))
            slack_s = max(SLACK_S, SLACK_SHARE * high_s)
            found = self._found(each, low_s - slack_s, high_s + slack_s)
            self._explained.update(map(id, found))
            if (each.probability or 0.0) < USUAL or high_s > self._last_s:
                continue
            self.right += bool(found)
            left += [] if found else [each]
        for each in left:
            self._miss(each)

    def _found(self, each: Predicted, low_s: float, high_s: float) -> list[Event]:
        return [event for event in self._seen if low_s <= event.t_s <= high_s and is_same(each.event, event)]

    def _miss(self, each: Predicted) -> None:
        shift_s = self._shift(each.event.t_s)
        times = [
            event.t_s - shift_s
            for event in self._seen
            if id(event) not in self._explained and is_same(each.event, event)
        ]
        if times:
            self.late.append((each, min(times, key=lambda t_s: abs(t_s - each.event.t_s))))
        elif self._is_watched(each):
            self.missing.append(each)

    def _is_watched(self, each: Predicted) -> bool:
        """Whether such objects were observed there at all: a Pod's namespace, an object of that kind."""
        return any(_where(each.event.object) == _where(event.object) for event in self._seen)


def _where(name: str) -> str:
    """`Pod/shop` for a Pod, `Node` for a node; the owner for Pods of kube-system, where a run watches only kube-dns."""
    place, _, own = name.rpartition("/")
    return f"{place}/{own.rpartition('-')[0]}" if place == "Pod/kube-system" else place


def _surprises(seen: Iterable[Event], prediction: Sequence[Predicted]) -> Iterator[Event]:
    told: set[tuple[Sort, str]] = set()
    for event in seen:
        about = sort_of(event), event.object
        if about not in told and not any(is_same(each.event, event) for each in prediction):
            told.add(about)
            yield event


def _shifts(run: RunData) -> Callable[[float], float]:
    """The shift of an expectation at a time: the delay of the heal, or of the rollback."""
    shifts = []
    for kind in (Kind.HEAL, Kind.ROLLBACK):
        foreseen = [each.event.t_s for each in run.prediction if each.event.kind is kind]
        happened = [event.t_s for event in run.result.events if event.kind is kind]
        if foreseen and happened:
            shifts.append((foreseen[0], happened[0] - foreseen[0]))

    def shift(t_s: float) -> float:
        passed = [later_s for since_s, later_s in shifts if t_s >= since_s]
        return passed[-1] if passed else 0.0

    return shift


def hindsight_lines(found: Hindsight) -> Iterator[str]:
    """Yield user-visible lines: how accurate the rehearsal was, then the differences, at most six of each kind."""
    yield (
        f"prediction: {found.right} of {found.expectations} expected events came true in time; "
        f"predicted {found.forecast or 'nothing'}, observed {found.outcome}"
    )
    if found.unobserved:
        yield f"  also predicted: {found.unobserved}, which no check of a run observes"
    for lines in _differences(found):
        yield from _at_most(lines)


def all_differences(found: Hindsight) -> tuple[str, ...]:
    """Return one user-visible line for each difference."""
    return tuple(line for lines in _differences(found) for line in lines)


def _differences(found: Hindsight) -> Iterator[list[str]]:
    """Yield the lines of each kind of difference."""
    yield [_timing(each, t_s) for each, t_s in found.late]
    yield [f"expected, but not seen: {_named(each.event)}" for each in found.missing]
    yield [
        f"seen, but not expected: {_named(event)} after {duration(event.t_s)}" for event in found.surprises
    ]


def _timing(each: Predicted, t_s: float) -> str:
    earlier = t_s < each.event.t_s
    span = f"{duration(each.t_min_s)} to {duration(each.t_max_s)}"
    return f"{'earlier' if earlier else 'later'} than expected: {_named(each.event)} after {duration(t_s)}, not {span}"


def _named(event: Event) -> str:
    kind, effect = sort_of(event)
    return f"{kind.value}{' ' if effect else ''}{effect} of {event.object}"


def _at_most(lines: Sequence[str]) -> Iterator[str]:
    yield from (f"  {line}" for line in lines[:MOST_LINES])
    if len(lines) > MOST_LINES:
        yield f"  … and {len(lines) - MOST_LINES} more"


Sort: TypeAlias = tuple[Kind, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedExpectation:
    """One expectation, and when it first came true; None: it was not seen."""

    predicted: Predicted
    observed_s: float | None

    @property
    def verdict(self) -> str:
        """The deviation, in words."""
        if self.observed_s is None:
            return "not seen"
        if self.predicted.t_min_s <= self.observed_s <= self.predicted.t_max_s:
            return "as predicted"
        off_s = self.observed_s - self.predicted.event.t_s
        return f"{duration(abs(off_s))} {'later' if off_s > 0 else 'earlier'}"


def foresight(run: RunData) -> tuple[ReviewedExpectation, ...]:
    """Every expectation, in the rehearsal's order."""
    return tuple(_expected(run))


def _expected(run: RunData) -> Iterator[ReviewedExpectation]:
    """Match several expectations of the same event in order."""
    seen: defaultdict[Sort, list[Event]] = defaultdict(list)
    for event in sorted(run.result.events, key=lambda event: event.t_s):
        if event.t_s >= 0:
            seen[sort_of(event)].append(event)
    first = {sort: tuple(_first_each(events)) for sort, events in seen.items()}
    told: Counter[tuple[Sort, str]] = Counter()
    for each in run.prediction:
        sort, name = sort_of(each.event), each.event.object
        times = [event.t_s for event in first.get(sort, ()) if is_about(name, event.object)]
        nth = told[sort, name]
        told[sort, name] += 1
        yield ReviewedExpectation(predicted=each, observed_s=times[nth] if nth < len(times) else None)


def _first_each(events: Iterable[Event]) -> Iterator[Event]:
    names: set[str] = set()
    for event in events:
        if event.object not in names:
            names.add(event.object)
            yield event


def is_same(expected: Event, observed: Event) -> bool:
    """Whether the event is the predicted one, at any time."""
    return sort_of(expected) == sort_of(observed) and is_about(expected.object, observed.object)


def sort_of(event: Event) -> Sort:
    """Its kind, with a taint's effect: each effect is an event of its own."""
    return event.kind, event.detail.rpartition(":")[2] if event.kind is Kind.NODE_TAINTED else ""


def is_about(expected: str, observed: str) -> bool:
    """Whether the names match; a Pod that did not exist yet has its owner's, `Pod/shop/cart-6c9f7d5b8-*`."""
    return observed.startswith(expected[:-1]) if expected.endswith("-*") else observed == expected
