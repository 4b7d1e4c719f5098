"""The node lifecycle controller as the real one was seen: docstrings name what was recorded."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest

from chaosext.cluster.timings import Timings
from chaosext.rehearsal.simulate.node_lifecycle import (
    Bucket,
    CutNodes,
    Lives,
    ZoneState,
    live,
    phases_of_lease,
    seen_by,
)
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.samples import paths, samples
from chaosext.rehearsal.snapshot.world import ControlPlane

ACCELERATED = ControlPlane(timings=Timings(grace_s=20.0, toleration_s=20.0))
PRODUCTION = ControlPlane()


def fleet(
    cut: int,
    ready: int,
    *,
    zones: int = 1,
    pods: int = 5,
    ages: tuple[float | None, ...] | None = None,
    counted: bool = True,
    lost: int = 0,
) -> CutNodes:
    """So many cut nodes over `zones`, and so many that aren't cut in a zone of their own (or in the only one), with
    `lost` ones that were lost before."""
    names = tuple(f"z{at}" for at in range(zones)) + (() if zones == 1 else ("cp",))
    return CutNodes(
        zone_of=tuple(at % zones for at in range(cut)),
        ready_pods=(pods,) * cut,
        counted=(counted,) * cut,
        ages_s=ages or (None,) * cut,
        zone_names=names,
        others_ready=(ready,) if zones == 1 else (*(0 for _ in range(zones)), ready),
        others_lost=(*(0 for _ in names[1:]), lost),
    )


def plays(
    what: CutNodes, settings: ControlPlane, cut_for_s: float, count: int = 60, within_s: float = 0.0
) -> list[tuple[float, Lives]]:
    plan = Plan(
        cut_nodes=frozenset({"any"}),
        cut_for_s=cut_for_s,
        horizon_s=cut_for_s + 300,
        cut_within_s=within_s,
    )
    if len(what.zone_of) <= 4:
        played = list(paths(lambda draw: live(what, settings, plan, draw), 0))
    else:
        played = list(samples(lambda draw: live(what, settings, plan, draw), 0, count))
    return [(each.weight, each.value) for each in played]


def tainted(lives: Lives) -> int:
    return sum(t < inf for t in lives.no_execute_s)


@pytest.mark.parametrize(("settings", "seen"), [(PRODUCTION, (40.3, 51.0)), (ACCELERATED, (10.8, 21.4))])
def test_unknown_comes_up_to_ten_seconds_before_the_grace_is_over(
    settings: ControlPlane, seen: tuple[float, float]
) -> None:
    """Fact 1: grace 50 s: 40.3 to 51.0 s; grace 20 s: 10.8 to 21.4 s. Never later than grace and a pass."""
    times = [t for _, lives in plays(fleet(2, 1), settings, 120) for t in lives.unknown_s]
    grace = settings.timings.grace_s
    assert min(times) < seen[0] < seen[1] < max(times)
    assert grace - 10.5 < min(times)
    assert max(times) < grace + 5.1


def test_a_cut_shorter_than_the_grace_can_already_mark_a_node() -> None:
    """Fact 1: a cut of 15 s under a grace of 20 s can mark one node, and even taint it; one of 4 s can't."""
    marked = [lives for _, lives in plays(fleet(3, 1), ACCELERATED, 15) if min(lives.unknown_s) < inf]
    assert any(tainted(lives) for lives in marked)
    assert all(min(lives.unknown_s) == inf for _, lives in plays(fleet(3, 1), ACCELERATED, 4))


def test_no_execute_comes_at_once_and_then_every_ten_seconds() -> None:
    """Fact 2: the first token at once (burst 1), the next 10 s later at 0.1/s."""
    for _, lives in plays(fleet(2, 3), ACCELERATED, 110):
        first, second = sorted(lives.no_execute_s)
        assert (
            first - min(lives.unknown_s) < 0.2 or first - min(lives.unknown_s) > 9.9
        )  # or the token was lost
        assert second - first > 9.9


def test_a_token_is_seldom_lost() -> None:
    first_late = sum(
        weight
        for weight, lives in plays(fleet(2, 3), ACCELERATED, 110)
        if min(lives.no_execute_s) - min(lives.unknown_s) > 1
    )
    assert first_late < 0.35


def test_three_of_four_nodes_are_partially_disrupted_after_one_or_two_taints() -> None:
    """Fact 3: at least one node tainted before PartialDisruption in 4 of 4 runs, in one of them two."""
    chances = dict.fromkeys(range(4), 0.0)
    for weight, lives in plays(fleet(3, 1), PRODUCTION, 480):
        chances[tainted(lives)] += weight
        assert (0, ZoneState.PARTIAL_DISRUPTION) in [(zone, state) for _, zone, state in lives.zones]
    assert sum(chances.values()) == pytest.approx(1.0)
    assert chances[1] > 0.5
    assert chances[2] > 0.02
    assert chances[3] < 0.05


def test_the_second_token_races_the_pass_that_finds_the_zone_disrupted() -> None:
    """Nodes found in three successive passes, 10 s and the passes' lengths apart: the second token is there before the
    third pass is over in some plays and not in others (recorded: 10.0 s after the first look, in the third pass)."""
    seen = {pods: dict.fromkeys(range(4), 0.0) for pods in (0, 3, 12)}
    for pods, chances in seen.items():
        for weight, lives in plays(fleet(3, 1, pods=pods), ACCELERATED, 60):
            if max(lives.unknown_s) - min(lives.unknown_s) > 9:
                chances[tainted(lives)] += weight
    twice = {pods: chances[2] / sum(chances.values()) for pods, chances in seen.items()}
    assert twice[0] < twice[3] < twice[12]
    assert 0.3 < twice[3] < 0.95


def test_a_pass_is_as_long_as_its_calls() -> None:
    """One call for the node and one for each of its Pods, then the period: recorded 5.04 s for three Pods."""
    for _, lives in plays(fleet(2, 3, pods=9, ages=(9.9, 0.1)), ACCELERATED, 60):
        first, second = sorted(lives.unknown_s)
        beyond = (second - first) % 5.0
        assert first == second or beyond == pytest.approx(10 * lives.call_s, abs=0.01)


def test_all_zones_miss_the_same_look() -> None:
    """Recorded: six nodes of two zones Unknown at once, no NoExecute for 10 s, then one of either zone at once."""
    missed = 0.0
    for weight, lives in plays(fleet(4, 1, zones=2, ages=(5.0,) * 4), ACCELERATED, 60):
        waited = [min(lives.no_execute_s[zone::2]) - lives.unknown_s[zone] for zone in (0, 1)]
        assert waited[0] == pytest.approx(waited[1], abs=0.03)
        missed += weight * (waited[0] > 9.9)
    assert 0.02 < missed < 0.25


def test_who_was_found_by_an_earlier_pass_is_tainted_before_whom_this_one_finds() -> None:
    """Every pass queues those it knows before it has marked new ones (unless a lost token moves them all)."""
    for _, lives in plays(fleet(3, 4, ages=(10.1, 5.1, 0.1)), ACCELERATED, 60):
        if min(lives.no_execute_s) - min(lives.unknown_s) < 1:
            order = sorted(range(3), key=lives.no_execute_s.__getitem__)
            assert [lives.unknown_s[node] for node in order] == sorted(lives.unknown_s)


def test_zones_are_disrupted_by_who_was_lost_before() -> None:
    """Three of four were lost already: PartialDisruption from the start, so nothing is tainted any more."""
    for _, lives in plays(fleet(1, 1, lost=3), ACCELERATED, 60):
        assert min(lives.unknown_s) < inf
        assert not tainted(lives)
        assert not lives.zones


def test_nobody_is_left_to_lose() -> None:
    assert all(not lives.unknown_s for _, lives in plays(fleet(0, 1, lost=2), ACCELERATED, 60))


def test_a_zone_of_its_own_is_fully_disrupted_and_emptied() -> None:
    """Fact 4: FullDisruption, and 0.1/s goes on."""
    for _, lives in plays(fleet(3, 1, zones=3), ACCELERATED, 110):
        assert tainted(lives) == 3
        assert {state for t, zone, state in lives.zones if zone < 3 and t < 110} == {
            ZoneState.FULL_DISRUPTION
        }


def test_half_of_the_nodes_lost_is_normal() -> None:
    """Fact 4: 3 + 3: Normal, 0.1/s."""
    for _, lives in plays(fleet(3, 3), ACCELERATED, 110):
        assert tainted(lives) == 3
        assert not lives.zones


def test_sixty_nodes_lost_are_tainted_one_each_hundred_seconds() -> None:
    """Fact 5: two nodes tainted before PartialDisruption (after 57 to 62 s), then one each 100 s."""
    for _, lives in plays(fleet(60, 3), PRODUCTION, 480):
        declared = next(t for t, _, state in lives.zones if state is ZoneState.PARTIAL_DISRUPTION)
        times = sorted(t for t in lives.no_execute_s if t < 480)
        before = [t for t in times if t < declared]
        assert 44 < declared < 75
        assert 1 <= len(before) <= 4
        gaps = [
            later - earlier
            for earlier, later in zip(times[len(before) :], times[len(before) + 1 :], strict=False)
        ]
        assert all(gap > 99 for gap in gaps)
        assert len(times) - len(before) in (2, 3, 4, 5)


def test_which_of_sixty_nodes_is_tainted_is_chance() -> None:
    chosen = [
        node
        for _, lives in plays(fleet(60, 3), PRODUCTION, 480)
        for node in range(60)
        if lives.no_execute_s[node] < inf
    ]
    assert len(set(chosen)) > 45


def test_the_clients_limit_stretches_passes() -> None:
    """Fact 7: 3 + 300 nodes: last Unknown at 169.5 s, PartialDisruption at 144 s, 13 nodes tainted till then."""
    declared, last, before = [], [], []
    for _, lives in plays(fleet(300, 3, pods=7), ACCELERATED, 300, 30):
        at = next(t for t, _, state in lives.zones if state is ZoneState.PARTIAL_DISRUPTION)
        declared.append(at)
        last.append(max(lives.unknown_s))
        before.append(sum(t < at for t in lives.no_execute_s))
    assert min(declared) < 144 < max(declared)
    assert min(last) < 169.5 < max(last)
    assert min(before) <= 13 <= max(before)


def test_few_nodes_are_lost_at_the_same_times_when_the_controller_asks_for_their_leases() -> None:
    asking = replace(ACCELERATED, asks_for_leases=True)
    for settings in (ACCELERATED, asking):
        times = [t for _, lives in plays(fleet(2, 3), settings, 110) for t in lives.unknown_s]
        assert 10.0 < min(times) < 10.8 < 21.4 < max(times) < 25.2


def test_marking_many_nodes_takes_longer_when_the_controller_asks_for_their_leases() -> None:
    """One call more for each node, and one for each that an earlier pass has marked."""
    asking = replace(ACCELERATED, asks_for_leases=True)
    last = {
        settings: max(max(lives.unknown_s) for _, lives in plays(fleet(200, 3, pods=1), settings, 300, 10))
        for settings in (ACCELERATED, asking)
    }
    assert 1.2 * last[ACCELERATED] < last[asking] < 2 * last[ACCELERATED]


def test_all_zones_lost_is_master_disruption() -> None:
    """No node left: every taint is taken back but one that is being written, seen once in the oracle."""
    kept = [sum(t < 110 for t in lives.no_execute_s) for _, lives in plays(fleet(3, 0), ACCELERATED, 110)]
    assert max(kept) <= 1
    assert sum(kept) < len(kept) / 4


def test_excluded_nodes_do_not_count_in_their_zone() -> None:
    for _, lives in plays(fleet(3, 1, counted=False), ACCELERATED, 110):
        assert not lives.zones
        assert tainted(lives) == 3


def test_a_zone_of_which_no_node_counts_has_no_state() -> None:
    for _, lives in plays(fleet(2, 1, zones=2, counted=False), ACCELERATED, 110):
        assert not lives.zones
        assert tainted(lives) == 2


def test_after_the_heal_every_node_is_untied_by_a_pass() -> None:
    """Fact 10: Ready, then NoSchedule off within 0.3 s, NoExecute off at the next pass, within 5 s."""
    for _, lives in plays(fleet(2, 3), ACCELERATED, 110):
        for ready, open_again, off in zip(
            lives.ready_s, lives.schedulable_s, lives.no_execute_off_s, strict=True
        ):
            assert 110 < ready < open_again < ready + 0.31
            assert ready < off < ready + 5.2


def test_a_simulated_node_is_back_at_once() -> None:
    """KWOK does what is due as soon as it goes on; a kubelet's connection has to be tried again first."""
    simulated = replace(fleet(2, 3), simulated=frozenset({0}))
    back = [(lives.ready_s[0], lives.ready_s[1]) for _, lives in plays(simulated, ACCELERATED, 110)]
    assert all(110 < kwok < 112.6 for kwok, _ in back)
    assert max(kubelet for _, kubelet in back) > 117


def test_a_token_is_sometimes_lost_on_a_node_that_has_its_taint() -> None:
    """Fact 9: 200 s instead of 100 s between two nodes, seen once."""
    gaps = []
    for _, lives in plays(fleet(60, 3), PRODUCTION, 480, 200):
        late = sorted(t for t in lives.no_execute_s if 100 < t < 480)
        gaps += [later - earlier for earlier, later in pairwise(late)]
    assert 0 < sum(gap > 190 for gap in gaps) < len(gaps) / 20


def test_the_zone_is_normal_soon_after_its_nodes_are() -> None:
    """Fact 10: 1 to 6 s after."""
    for _, lives in plays(fleet(3, 1), ACCELERATED, 110):
        back, _, state = lives.zones[-1]
        assert state is ZoneState.NORMAL
        assert back < max(lives.ready_s) + 6


def test_known_lease_ages_leave_only_the_monitors_phase_open() -> None:
    what = fleet(3, 1, ages=(1.0, 1.0, 9.0))
    for _, lives in plays(what, ACCELERATED, 60):
        assert lives.unknown_s[0] == pytest.approx(lives.unknown_s[1], abs=0.1)
        assert lives.unknown_s[2] <= lives.unknown_s[0] + 0.1


@pytest.mark.parametrize("phase_s", [0.01, 1.7, 2.5, 4.99])
def test_a_leases_classes_are_exact(phase_s: float) -> None:
    passes, weights = phases_of_lease(phase_s, 5.0, 10.0)
    assert sum(weights) == pytest.approx(1.0)
    assert weights[0] == pytest.approx((5 - phase_s) / 10.2)
    ages = [10.2 * (at + 0.5) / 10_000 for at in range(10_000)]
    for when, weight in zip(passes, weights, strict=True):
        assert sum(
            seen_by(age, phase_s, 5.0) == pytest.approx(when) for age in ages[::20]
        ) / 500 == pytest.approx(weight, abs=0.01)


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(20.0, 30)
    assert bucket.take(30, 5.0) == 5.0
    assert bucket.take(10, 5.0) == pytest.approx(5.5)
    assert bucket.free_from(5.5) == pytest.approx(5.55)
    assert bucket.level(100.0) == 30
    assert Bucket(0.0, 1, 0.0, 0.0).free_from(9.0) == inf


@pytest.mark.parametrize(("ages", "together"), [((3.0, 3.1), 0.85), ((3.0, 8.0), 0.05)])
def test_leases_that_are_renewed_together_expire_together_whenever_within_a_minute_the_cut_comes(
    ages: tuple[float, float], together: float
) -> None:
    """Seen on 1 + 3 nodes: leases 0.3 s apart, 36 s before the cut: all three were Unknown within 20 ms."""
    played = plays(fleet(2, 1, ages=ages), ACCELERATED, 120, within_s=60.0)
    share = sum(weight for weight, lives in played if abs(lives.unknown_s[0] - lives.unknown_s[1]) < 2.0)
    assert abs(share - together) < 0.15
    assert (
        max(t for _, lives in played for t in lives.unknown_s)
        - min(t for _, lives in played for t in lives.unknown_s)
        > 8.0
    )
