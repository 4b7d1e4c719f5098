"""Several cuts of one plan: the controller goes on from one to the next, and nodes come back in between."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosext.cluster.timings import Timings
from chaosext.model.errors import Refused
from chaosext.rehearsal.simulate.node_lifecycle import CutNodes, Lives, ZoneState, live
from chaosext.rehearsal.simulate.planned_cut import Flap, Periods, Plan, merged
from chaosext.rehearsal.simulate.samples import samples
from chaosext.rehearsal.snapshot.world import ControlPlane

GRACE_S = 20.0
ACCELERATED = ControlPlane(timings=Timings(grace_s=GRACE_S, toleration_s=20.0))
CUT = frozenset({"any"})


def plan(periods: Periods) -> Plan:
    return Plan(cut_nodes=CUT, periods=periods, horizon_s=periods[-1][1] + 300)


def fleet(cut: int = 3, ready: int = 3, *, simulated: bool = False, ages: tuple[float, ...] = ()) -> CutNodes:
    return CutNodes(
        zone_of=(0,) * cut,
        ready_pods=(5,) * cut,
        counted=(True,) * cut,
        ages_s=ages or (None,) * cut,
        zone_names=("z",),
        others_ready=(ready,),
        others_lost=(0,),
        simulated=frozenset(range(cut)) if simulated else frozenset(),
    )


def plays(what: CutNodes, periods: Periods, count: int = 40, seed: int = 0) -> list[Lives]:
    return [
        each.value for each in samples(lambda draw: live(what, ACCELERATED, plan(periods), draw), seed, count)
    ]


# -- a plan ----------------------------------------------------------------------------------------------------


def test_a_plan_of_one_cut_has_one_period() -> None:
    assert Plan(cut_nodes=CUT, cut_for_s=60).periods == ((0.0, 60),)
    assert Plan(cut_nodes=CUT, cut_for_s=60) == Plan(cut_nodes=CUT, periods=((0.0, 60),))
    assert Plan(cut_nodes=CUT, periods=((0.0, 16), (26, 42))).cut_for_s == 42


@pytest.mark.parametrize(
    "periods",
    [
        ((5.0, 10.0),),
        ((0.0, 10.0), (10.0, 20.0)),
        ((0.0, 10.0), (5.0, 20.0)),
        ((20.0, 30.0), (0.0, 10.0)),
        ((0.0, 10.0), (20.0, 20.0)),
    ],
)
def test_cuts_that_are_not_one_after_the_other_are_refused(periods: Periods) -> None:
    with pytest.raises(Refused) as refused:
        plan(periods)
    assert refused.value.fix


def test_a_plan_knows_when_its_nodes_are_cut_off() -> None:
    two = plan(((0.0, 16), (26, 42)))
    assert [two.is_cut_at(t) for t in (0, 15.9, 16, 25.9, 26, 41.9, 42, 99)] == [
        True,
        True,
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert [two.heals_s(t) for t in (3, 20, 30, 50)] == [16, 20, 42, 50]
    assert two.gaps == ((16, 26), (42, inf))
    assert [two.cut_s(*span) for span in ((0, 42), (10, 30), (16, 26), (40, 99))] == [32, 10, 0, 2]


@pytest.mark.parametrize(
    ("flap", "periods"),
    [
        (Flap(on_s=15, off_s=10, times=3), ((0, 15), (25, 40), (50, 65))),
        (Flap(on_s=15, off_s=10, times=1), ((0, 15),)),
        (Flap(on_s=15, off_s=0, times=3), ((0, 45),)),
    ],
)
def test_a_flap_is_so_many_cuts(flap: Flap, periods: Periods) -> None:
    assert flap.periods == periods
    assert flap.lasts_s == periods[-1][1]


def test_a_flap_is_said_in_words() -> None:
    assert str(Flap(on_s=15, off_s=10, times=7)) == "7 cuts of 15s, 10s apart"


spans = st.tuples(st.integers(0, 500), st.integers(1, 60)).map(lambda span: (span[0], span[0] + span[1]))


@given(st.lists(spans, min_size=1, max_size=20))
def test_merged_periods_cover_the_same_time_and_are_apart(periods: list[tuple[int, int]]) -> None:
    found = merged(periods)
    covered = {t for begin, end in periods for t in range(begin, end)}
    assert {t for begin, end in found for t in range(int(begin), int(end))} == covered
    assert all(earlier[1] < later[0] for earlier, later in pairwise(found))
    assert merged(found) == found


@given(st.integers(1, 300), st.integers(1, 20))
def test_a_flap_without_a_gap_is_one_cut(on_s: int, times: int) -> None:
    assert Flap(on_s=on_s, off_s=0, times=times).periods == ((0, on_s * times),)


# -- the controller --------------------------------------------------------------------------------------------


def in_first_cut(lives: Lives, node: int, heal_s: float) -> list[float]:
    first = lives.episodes(node)[0]
    times = (first.unknown_s, first.no_schedule_s, first.no_execute_s)
    return [t if t < heal_s else inf for t in times]


@given(st.integers(12, 120), st.integers(10, 120), st.integers(1, 4), st.integers(1, 20), st.integers(0, 99))
@settings(max_examples=examples(60))
def test_the_first_cut_is_as_if_it_were_alone(
    on_s: int, off_s: int, times: int, nodes: int, seed: int
) -> None:
    flap = Flap(on_s=on_s, off_s=off_s, times=times)
    what = fleet(nodes)
    alone, several = (plays(what, periods, 3, seed) for periods in (((0.0, on_s),), flap.periods))
    for one, many in zip(alone, several, strict=True):
        for node in range(nodes):
            assert in_first_cut(one, node, on_s) == in_first_cut(many, node, on_s)
        if times == 1:
            assert one == many


@given(st.integers(3, 60), st.integers(1, 90), st.integers(2, 6), st.integers(1, 12), st.integers(0, 99))
@settings(max_examples=examples(60))
def test_a_nodes_episodes_are_one_after_the_other_and_begin_and_end_as_they_can(
    on_s: int, off_s: int, times: int, nodes: int, seed: int
) -> None:
    periods = Flap(on_s=on_s, off_s=off_s, times=times).periods
    for lives in plays(fleet(nodes), periods, 3, seed):
        for node in range(nodes):
            episodes = [each for each in lives.episodes(node) if each.unknown_s < inf]
            for each in episodes:
                assert each.unknown_s < each.ready_s < inf
                assert not plan(periods).is_cut_at(each.ready_s)
                assert each.no_execute_off_s >= each.ready_s - 0.1
            for earlier, later in pairwise(episodes):
                assert earlier.no_execute_off_s < later.unknown_s


def test_a_short_gap_keeps_nodes_lost_that_reconnect_too_late() -> None:
    """After 16 s a kubelet needs up to 10 s; in a gap of 2 s four in five stay lost until the next one."""
    backs = [lives.back_s for lives in plays(fleet(), ((0.0, 16), (18, 34)), 200)]
    missed = [back for first, _ in backs for back in first if back == inf]
    assert 0.7 < len(missed) / 600 < 0.9
    assert all(34 < back < 44.1 for _, last in backs for back in last)


def test_a_node_that_missed_a_gap_is_lost_for_the_whole_time() -> None:
    """Silent from 0 s to the heal at 34 s, so it is Unknown for longer than its Pods tolerate in one of the cuts."""
    for lives in plays(fleet(), ((0.0, 16), (18, 34)), 100):
        for node in range(3):
            if lives.back_s[0][node] == inf:
                (episode,) = lives.episodes(node)
                assert episode.unknown_s < GRACE_S + 5.1
                assert episode.ready_s > 34


def test_the_grace_period_begins_again_with_the_last_sign_of_life_before_the_next_cut() -> None:
    """KWOK's nodes are heard within 2.5 s of the heal at 40 s, and renew every 10 to 10.4 s: for the fifth time at
    90 s to 94.5 s, before the next cut at 100 s. A pass sees it up to 5 s later, and another finds it 20 s old."""
    for lives in plays(fleet(simulated=True), ((0.0, 40), (100, 140)), 100):
        for node in range(3):
            first, second = lives.episodes(node)
            assert first.unknown_s < 26 < 40 < first.ready_s < 43
            assert 90 + GRACE_S < second.unknown_s < 94.5 + 5.1 + GRACE_S + 5.1
            assert 140 < second.ready_s < 143


def test_short_cuts_far_apart_lose_nobody() -> None:
    """4 s are no loss under a grace period of 20 s, however often: each gap ends the silence."""
    periods = Flap(on_s=4, off_s=30, times=12).periods
    assert all(t == inf for lives in plays(fleet(simulated=True), periods) for t in lives.unknown_s)
    assert not any(lives.earlier for lives in plays(fleet(simulated=True), periods))


def test_zones_are_lost_and_well_again_in_each_cut() -> None:
    """Three of four nodes lost: PartialDisruption in each of two long cuts, Normal in between and at the end."""
    states = [
        [state for _, _, state in lives.zones]
        for lives in plays(fleet(3, 1, simulated=True), ((0.0, 60), (120, 180)), 20)
    ]
    partial, normal = ZoneState.PARTIAL_DISRUPTION, ZoneState.NORMAL
    assert all(each == [partial, normal, partial, normal] for each in states)


def test_a_cut_an_hour_later_is_as_a_first_one() -> None:
    """By then the Leases are of any age again; passes that can find nothing are skipped."""
    begin, what = 3700.0, fleet(1, 1, simulated=True)
    first = [lives.unknown_s[0] for lives in plays(what, ((0.0, 60),), 300)]
    later = [lives.unknown_s[0] - begin for lives in plays(what, ((0.0, 40), (begin, begin + 60)), 300)]
    assert sum(later) / len(later) == pytest.approx(sum(first) / len(first), abs=0.6)
    assert (min(later), max(later)) == pytest.approx((min(first), max(first)), abs=0.6)


def test_known_lease_ages_are_those_at_the_first_cut() -> None:
    what = replace(fleet(), ages_s=(9.9, 0.1, 0.1))
    for lives in plays(what, ((0.0, 40), (100, 140))):
        firsts = [lives.episodes(node)[0].unknown_s for node in range(3)]
        assert firsts[0] < firsts[1] == pytest.approx(firsts[2], abs=0.1)
