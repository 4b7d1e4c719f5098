"""What a rehearsal expected, beside what was observed. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from chaosext.model.timeline import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.model.timeline import Event, Predicted
    from chaosext.report.run_data import RunData

Sort: TypeAlias = tuple[Kind, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One expectation, and when it came true first; None: nobody saw it."""

    predicted: Predicted
    observed_s: float | None

    @property
    def verdict(self) -> str:
        """How far off it was, in words."""
        if self.observed_s is None:
            return "not seen"
        if self.predicted.t_min_s <= self.observed_s <= self.predicted.t_max_s:
            return "as predicted"
        off_s = self.observed_s - self.predicted.event.t_s
        return f"{abs(off_s):.1f} s {'later' if off_s > 0 else 'earlier'}"


def foresight(run: RunData) -> tuple[Expected, ...]:
    """Every expectation, in the rehearsal's order."""
    return tuple(_expected(run))


def _expected(run: RunData) -> Iterator[Expected]:
    """Of several expectations of the same, the first is about the first that came true, and so on."""
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
        yield Expected(predicted=each, observed_s=times[nth] if nth < len(times) else None)


def _first_each(events: Iterable[Event]) -> Iterator[Event]:
    names: set[str] = set()
    for event in events:
        if event.object not in names:
            names.add(event.object)
            yield event


def is_same(expected: Event, observed: Event) -> bool:
    """The event is the one that was predicted, whenever it came."""
    return sort_of(expected) == sort_of(observed) and is_about(expected.object, observed.object)


def sort_of(event: Event) -> Sort:
    """Its kind, and of a taint the effect: each is one of its own."""
    return event.kind, event.detail.rpartition(":")[2] if event.kind is Kind.NODE_TAINTED else ""


def is_about(expected: str, observed: str) -> bool:
    """A Pod that did not exist yet was named after its owner, `Pod/shop/cart-6c9f7d5b8-*`."""
    return observed.startswith(expected[:-1]) if expected.endswith("-*") else observed == expected
