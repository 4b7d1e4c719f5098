"""From samples to outages: what is called dead was dead, what was dead is called so, what nobody saw is neither."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.model.result import Lane
from chaosext.model.signal import Mark, Sample, Signal, StreamHead, Watched
from chaosext.model.timeline import Event, Kind
from chaosext.timeline import debounce
from chaosext.timeline.debounce import Streak
from chaosext.timeline.node_events import NodeWatch
from chaosext.timeline.outages import outages, unobserved
from chaosext.timeline.sample_windows import IN_A_ROW, signal_windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

DNS = Signal(kind=Watched.DNS_UDP, target="10.2.112.10", label="kube-dns")
ROUTE = Signal(kind=Watched.ROUTE, target="10.244.1.2")
PLANS = {(DNS,): (ROUTE, DNS), (ROUTE, DNS): (DNS, ROUTE), (DNS, ROUTE): (DNS,)}
"""Each plan, and the one that comes after it."""

ENOUGH = IN_A_ROW

answers = st.lists(st.booleans(), max_size=60)
marks = st.sampled_from(["+", "t", "r", "?"])
rows = st.builds(str.__mul__, marks, st.integers(1, 9))
"""As it is in life: a mark stays for a while."""


class Look(NamedTuple):
    """A row of samples of one mark, and what comes before it."""

    row: str
    before: str  # "", "gap", "restart", "reboot" or "plan"


looks = st.lists(
    st.builds(Look, rows, st.sampled_from(["", "", "", "", "gap", "restart", "reboot", "plan"])), max_size=30
)


def record(given_looks: Sequence[Look]) -> Iterator[StreamHead | Sample]:
    """A sentinel's record; all boots on one clock, so that times can be compared."""
    head = StreamHead(run="r", node="a", boot="0", mono_s=0.0, wall_s=0.0, signals=(DNS,))
    yield head
    n, at_s = 0, 0.0
    for look in given_looks:
        if look.before == "gap":
            n, at_s = n + 4, at_s + 4
        if look.before in ("restart", "reboot", "plan"):
            signals = PLANS[head.signals] if look.before == "plan" else (DNS,)
            boot = str(int(head.boot) + (look.before == "reboot"))
            head = replace(head, boot=boot, mono_s=at_s, signals=signals)
            yield head
        if look.before in ("restart", "reboot"):
            n, at_s = 0, at_s + 3
        for mark in look.row:
            yield Sample(n, at_s, "".join(mark if each is DNS else "+" for each in head.signals))
            n, at_s = n + 1, at_s + 1


def told(entries: Iterable[StreamHead | Sample]) -> tuple[Event, ...]:
    """What a watch says of a record, as a recorder keeps it."""
    watch = NodeWatch("a")
    dated = [each for entry in entries for each in watch.take(entry)]
    return tuple(
        Event(t_s=at_s, kind=note.kind, object=note.object, detail=note.detail, source=watch.source)
        for _, at_s, note in dated
    )


def dns_rows(entries: Iterable[StreamHead | Sample]) -> list[tuple[bool | None, list[float]]]:
    """Independently: how DNS was, in rows of samples that follow on each other."""
    found: list[tuple[bool | None, list[float]]] = []
    dns_at, boot, last_n = 0, "", -1
    for entry in entries:
        if isinstance(entry, StreamHead):
            dns_at, broken = entry.signals.index(DNS), entry.boot != boot
            boot = entry.boot
            last_n = -2 if broken else last_n
            continue
        mark = entry.marks[dns_at]
        good = None if mark == "?" else mark == "+"
        if not found or found[-1][0] is not good or entry.n != last_n + 1:
            found.append((good, []))
        found[-1][1].append(entry.mono_s)
        last_n = entry.n
    return found


def until(end_s: float | None) -> float:
    return math.inf if end_s is None else end_s


def streaks(samples: list[bool]) -> list[tuple[float, Kind]]:
    """What a streak decides of lookups that come one a second."""
    streak = Streak(in_a_row=ENOUGH, well=Kind.DNS_RESTORED, first_sign=Kind.DNS_DEGRADED)
    found = []
    for at_s, good in enumerate(samples):
        if streak.take(float(at_s), Kind.DNS_RESTORED if good else Kind.DNS_DEAD) and streak.decided:
            found.append((streak.since_s, streak.decided))
    return found


def longest_run(samples: list[bool], value: bool) -> int:
    longest = length = 0
    for sample in samples:
        length = length + 1 if sample is value else 0
        longest = max(longest, length)
    return longest


@given(answers)
def test_dead_exactly_where_enough_lookups_failed_in_a_row(samples: list[bool]) -> None:
    dead = [at_s for at_s, kind in streaks(samples) if kind is Kind.DNS_DEAD]
    assert bool(dead) == (longest_run(samples, False) >= ENOUGH)
    for at_s in map(int, dead):
        assert not any(samples[at_s : at_s + ENOUGH])
        assert at_s == 0 or samples[at_s - 1]


@given(answers)
def test_restored_only_where_enough_lookups_succeeded_in_a_row(samples: list[bool]) -> None:
    for at_s in (int(at_s) for at_s, kind in streaks(samples) if kind is Kind.DNS_RESTORED):
        assert all(samples[at_s : at_s + ENOUGH])
        assert at_s == 0 or not samples[at_s - 1]


@given(answers)
def test_a_streak_never_decides_the_same_twice(samples: list[bool]) -> None:
    assert all(one is not other for (_, one), (_, other) in pairwise(streaks(samples)))


@given(st.integers(0, 60))
def test_what_is_well_from_the_start_is_no_news(length: int) -> None:
    assert told(record([Look("+" * length, "")])) == ()


@given(looks)
def test_every_outage_that_was_sampled_is_told_and_no_other(given_looks: list[Look]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(debounce, "PER_MINUTE", 10_000)
        windows = outages(told(record(given_looks))).get(Lane.DNS, {}).get("Node/a", ())
    for good, times in dns_rows(record(given_looks)):
        inside = [any(start <= at_s < until(end) for start, end in windows) for at_s in times]
        if good is False and len(times) >= ENOUGH:
            assert all(inside)
        if good is not False and len(times) >= ENOUGH:
            assert not any(inside)


@given(st.lists(looks, min_size=1, max_size=6))
def test_no_outage_is_held_back_however_often_dns_comes_and_goes(many: list[list[Look]]) -> None:
    entries = list(record([look._replace(before="") for some in many for look in some]))
    watch = NodeWatch("a")
    dated = [each for entry in entries for each in watch.take(entry)]
    dated += watch.close(entries[-1].mono_s)
    events = [happened(at_s, note.kind, "a") for _, at_s, note in dated if note.object == "Node/a"]
    windows = outages(events).get(Lane.DNS, {}).get("Node/a", ())
    for good, times in dns_rows(entries):
        if good is False and len(times) >= ENOUGH:
            assert all(any(start <= at_s < until(end) for start, end in windows) for at_s in times)
    last_good, last = (dns_rows(entries) or [(None, [])])[-1]
    if last_good and len(last) >= ENOUGH:
        assert all(end is not None for _, end in windows)


@given(looks)
def test_what_nobody_sampled_is_unobserved_and_no_outage(given_looks: list[Look]) -> None:
    events, entries = told(record(given_looks)), list(record(given_looks))
    blind = unobserved(events).get("a", ())
    samples = [entry.mono_s for entry in entries if isinstance(entry, Sample)]
    gaps = [(one + 1, other) for one, other in pairwise(samples) if other - one > 2]
    assert list(blind) == gaps
    for start_s, end_s in outages(events).get(Lane.DNS, {}).get("Node/a", ()):
        assert all(until(end_s) <= lost_s or start_s >= until(back_s) for lost_s, back_s in blind)


short_rows = st.builds(str.__mul__, marks, st.integers(1, 4))


@given(st.lists(st.builds(Look, short_rows, st.just("")), min_size=20, max_size=40))
def test_no_minute_is_flooded(given_looks: list[Look]) -> None:
    watch, said = NodeWatch("a"), list[float]()
    for entry in record(given_looks):
        said += [entry.mono_s for _ in watch.take(entry)]
    for at_s in said:
        assert len([other for other in said if at_s <= other < at_s + 60]) <= 14


@given(looks)
def test_spans_say_of_each_second_what_its_sample_said(given_looks: list[Look]) -> None:
    entries = list(record(given_looks))
    spans = signal_windows(entries)
    head = entries[0]
    for entry in entries:
        if isinstance(entry, StreamHead):
            head = entry
            continue
        assert isinstance(head, StreamHead)
        marks = dict(zip(head.signals, entry.marks, strict=True))
        for signal in (DNS, ROUTE):
            holding = [
                span.mark
                for span in spans.get(signal, ())
                if span.boot == head.boot and span.start_mono_s <= entry.mono_s < span.end_mono_s
            ]
            assert holding == ([Mark(marks[signal])] if signal in marks else [])


@given(looks)
def test_spans_are_in_order_touch_within_a_boot_and_differ(given_looks: list[Look]) -> None:
    spans = signal_windows(record(given_looks)).get(DNS, ())
    assert all(span.start_mono_s < span.end_mono_s for span in spans)
    for one, other in pairwise(spans):
        if one.boot == other.boot:
            assert one.end_mono_s == other.start_mono_s
            assert one.mark is not other.mark


@given(looks)
def test_samples_count_once_however_often_they_are_read(given_looks: list[Look]) -> None:
    entries = list(record(given_looks))
    twice = [each for entry in entries for each in ([entry] * (1 + isinstance(entry, Sample)))]
    assert told(twice) == told(entries)
    assert signal_windows(twice) == signal_windows(entries)


SOURCES = ("sentinel on a", "sentinel on b", "api-server")
KINDS = [
    Kind.DNS_DEAD,
    Kind.DNS_DEGRADED,
    Kind.DNS_RESTORED,
    Kind.OBSERVATION_LOST,
    Kind.OBSERVATION_RESTORED,
    Kind.NODE_NOT_READY,
    Kind.NODE_READY,
]


def happened(at_s: float, kind: Kind, node: str) -> Event:
    by_api = kind in (Kind.NODE_NOT_READY, Kind.NODE_READY)
    source = "api-server" if by_api else f"sentinel on {node}"
    return Event(t_s=at_s, kind=kind, object=f"Node/{node}", detail="", source=source)


timelines = st.lists(
    st.builds(happened, st.integers(-6, 60).map(float), st.sampled_from(KINDS), st.sampled_from("ab")),
    max_size=30,
)


@given(timelines)
def test_windows_are_disjoint_in_order_and_only_the_last_is_open(events: list[Event]) -> None:
    for lane in outages(events).values():
        for windows in (*lane.values(), *unobserved(events).values()):
            assert windows
            assert all(end_s is not None for _, end_s in windows[:-1])
            assert all(until(end_s) <= next_s for (_, end_s), (next_s, _) in pairwise(windows))
            assert all(end_s is None or start_s < end_s for start_s, end_s in windows)


@given(timelines)
def test_windows_begin_and_end_where_somebody_said_so(events: list[Event]) -> None:
    said = Counter((event.t_s, event.object, event.kind) for event in events)
    for name, windows in outages(events).get(Lane.DNS, {}).items():
        for start_s, end_s in windows:
            assert said[start_s, name, Kind.DNS_DEAD]
            ends = (Kind.DNS_RESTORED, Kind.DNS_DEGRADED, Kind.OBSERVATION_LOST)
            assert end_s is None or any(said[end_s, name, kind] for kind in ends)


@given(timelines)
def test_unobserved_time_is_no_outage_of_what_was_observed_then(events: list[Event]) -> None:
    for node, blind in unobserved(events).items():
        for start_s, end_s in outages(events).get(Lane.DNS, {}).get(f"Node/{node}", ()):
            assert all(until(end_s) <= lost_s or start_s >= until(back_s) for lost_s, back_s in blind)


@given(timelines, st.randoms())
def test_the_order_in_which_events_come_does_not_matter(events: list[Event], random: object) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert outages(shuffled) == outages(events)
    assert unobserved(shuffled) == unobserved(events)
