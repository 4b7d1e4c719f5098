"""Counting Pods over time: the lowest number, for how long, what clients can use, and who agrees with whom."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.rehearsal.simulate.impact_watch import PodCount, lowest_of, serving
from chaosext.rehearsal.simulate.reach import Reachability

END_S = 100.0


@pytest.mark.parametrize(
    ("counts", "lowest"),
    [
        ([(0, 3)], (3, 0, 100)),
        ([(0, 3), (50, 2), (60, 3)], (2, 50, 10)),
        ([(0, 3), (50, 1), (60, 0), (70, 0), (90, 2)], (0, 60, 30)),
        ([(0, 3), (50, 0), (60, 3), (70, 0)], (0, 50, 10)),
        ([(0, 3), (50, 0), (50, 3)], (3, 0, 100)),
        ([(0, 1), (50, 0)], (0, 50, 50)),
    ],
)
def test_the_lowest_count_is_the_first_that_lasts(
    counts: list[tuple[float, int]], lowest: tuple[int, float, float]
) -> None:
    assert lowest_of(counts, END_S) == lowest


def test_clients_use_what_runs_until_the_heal_and_what_is_ready_after_it() -> None:
    """Three Pods lose Ready at 50 s, run until they are stopped at the heal (80 s), and are back at 90 s."""
    steps = [PodCount(0, 3, 3), PodCount(50, 0, 3), PodCount(80, 0, 0), PodCount(90, 3, 3)]
    assert list(serving(steps, follows=False, heal_s=80)) == [3, 3, 0, 3]
    assert list(serving(steps, follows=True, heal_s=80)) == [3, 0, 0, 3]


pods = st.lists(st.floats(1.0, 99.0), min_size=2, max_size=6, unique=True)
"""A Pod: when it becomes available or not, in turn; it is available at first."""


def counted(all_pods: list[list[float]]) -> list[tuple[float, int]]:
    changes = sorted(
        (t, -1 if at % 2 == 0 else 1) for times in all_pods for at, t in enumerate(sorted(times))
    )
    counts = accumulate((change for _, change in changes), initial=len(all_pods))
    return list(zip([0.0, *(t for t, _ in changes)], counts, strict=True))


@given(st.lists(pods, min_size=1, max_size=5))
def test_the_lowest_count_is_between_none_and_all_and_in_time(all_pods: list[list[float]]) -> None:
    lowest, from_s, for_s = lowest_of(counted(all_pods), END_S)
    assert 0 <= lowest <= len(all_pods)
    assert 0 <= from_s < END_S
    assert 0 < for_s <= END_S - from_s


@given(st.lists(pods, min_size=2, max_size=5))
def test_a_replica_fewer_is_never_better(all_pods: list[list[float]]) -> None:
    assert lowest_of(counted(all_pods[1:]), END_S)[0] <= lowest_of(counted(all_pods), END_S)[0]


# -- who reaches whom ----------------------------------------------------------------------------------------


def reach(
    kinds: list[int], silent: set[tuple[int, int]], unsure: set[tuple[int, int]] = frozenset()
) -> Reachability:  # type: ignore[assignment]
    """Nodes of these kinds, of which some pairs of kinds do not reach each other."""

    def reaches(client: int, host: int, own: bool, epoch: int) -> bool | None:
        pair = kinds[client], kinds[host]
        return None if pair in unsure else pair not in silent

    return Reachability(kinds, reaches)


def test_a_quorum_needs_members_that_reach_each_other() -> None:
    """Five members: two on kind 0, three on kind 1."""
    members = {0: 1, 1: 1, 2: 1, 3: 1, 4: 1}
    kinds = [0, 0, 1, 1, 1]
    assert reach(kinds, set()).can_agree(members, 3, own=False, epoch=0) is True
    assert reach(kinds, {(0, 1)}).can_agree(members, 3, own=False, epoch=0) is True
    assert reach(kinds, {(1, 1), (0, 1)}).can_agree(members, 3, own=False, epoch=0) is False
    assert reach(kinds, {(1, 1)}, {(0, 1)}).can_agree(members, 3, own=False, epoch=0) is None
    assert reach(kinds, set()).can_agree({0: 1, 1: 1}, 3, own=False, epoch=0) is False


def test_clients_reach_a_service_if_every_kind_of_them_reaches_a_host() -> None:
    assert reach([0, 0, 1, 1], {(0, 1)}).all_reach([0, 1], [2], own=False, epoch=0) is False
    assert reach([0, 0, 1, 1], {(0, 1)}).all_reach([0, 1], [2, 1], own=False, epoch=0) is True
    assert reach([0, 0, 1, 1], set(), {(0, 1)}).all_reach([0, 1], [2], own=False, epoch=0) is None
    assert reach([0, 1], {(0, 0)}).all_reach([0], [0], own=False, epoch=0) is True
