"""From samples to outages: what is called dead was dead, and what was dead for long enough is called so."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chaosext.model.timeline import Kind
from chaosext.observe.changes import DEAD_AFTER_FAILURES, DnsWatch, outage_windows

answers = st.lists(st.booleans(), max_size=60)
nodes = st.sampled_from(["Node/a", "Node/b"])
states = st.sampled_from([Kind.DNS_DEAD, Kind.DNS_RESTORED, Kind.DNS_DEGRADED])
notes = st.lists(st.tuples(st.floats(-60, 600), nodes, states), max_size=30)


def watched(samples: list[bool]) -> list[tuple[float, Kind]]:
    """What a watch says of samples that come one a second."""
    watch = DnsWatch(node="a")
    said = (watch.sample(float(at_s), ok, "detail") for at_s, ok in enumerate(samples))
    return [(at_s, note.kind) for at_s, note in (each for each in said if each)]


def longest_run(samples: list[bool], value: bool) -> int:
    longest = length = 0
    for sample in samples:
        length = length + 1 if sample is value else 0
        longest = max(longest, length)
    return longest


@given(answers)
def test_dead_exactly_where_enough_lookups_failed_in_a_row(samples: list[bool]) -> None:
    dead = [at_s for at_s, kind in watched(samples) if kind is Kind.DNS_DEAD]
    assert bool(dead) == (longest_run(samples, False) >= DEAD_AFTER_FAILURES)
    for at_s in map(int, dead):
        assert not any(samples[at_s : at_s + DEAD_AFTER_FAILURES])
        assert at_s == 0 or samples[at_s - 1]


@given(answers)
def test_restored_only_where_enough_lookups_succeeded_in_a_row(samples: list[bool]) -> None:
    for at_s in (int(at_s) for at_s, kind in watched(samples) if kind is Kind.DNS_RESTORED):
        assert all(samples[at_s : at_s + DEAD_AFTER_FAILURES])
        assert not samples[at_s - 1]


@given(answers)
def test_a_watch_never_says_the_same_twice(samples: list[bool]) -> None:
    kinds = [Kind.DNS_RESTORED, *(kind for _, kind in watched(samples))]
    assert all(one is not other for one, other in pairwise(kinds))


@given(answers)
def test_a_healthy_start_says_nothing(samples: list[bool]) -> None:
    assert bool(watched(samples)) == (False in samples)


@given(notes)
def test_windows_are_disjoint_in_order_and_only_the_last_is_open(
    given_notes: list[tuple[float, str, Kind]],
) -> None:
    for windows in outage_windows(given_notes).values():
        assert windows
        assert all(end_s is not None for _, end_s in windows[:-1])
        for (_, end_s), (next_s, _) in pairwise(windows):
            assert end_s is not None
            assert end_s <= next_s
        assert all(end_s is None or start_s <= end_s for start_s, end_s in windows)


@given(notes)
def test_windows_begin_and_end_where_somebody_saw_it(given_notes: list[tuple[float, str, Kind]]) -> None:
    for name, windows in outage_windows(given_notes).items():
        for start_s, end_s in windows:
            assert (start_s, name, Kind.DNS_DEAD) in given_notes
            assert end_s is None or (end_s, name, Kind.DNS_RESTORED) in given_notes


@given(notes, st.randoms())
def test_the_order_in_which_notes_come_does_not_matter(
    given_notes: list[tuple[float, str, Kind]], random: object
) -> None:
    shuffled = list(given_notes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert outage_windows(shuffled) == outage_windows(given_notes)
