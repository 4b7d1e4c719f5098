"""Enumeration plays every way that chance can go once, with its exact weight; sampling repeats itself."""

from __future__ import annotations

from itertools import product

import pytest

from chaosext.rehearsal.simulate.samples import PHASE_WEIGHTS, PHASES, Draw, paths, samples


def two_dice(draw: Draw) -> tuple[int, int]:
    first = draw.choose([1.0, 2.0, 1.0])
    return first, draw.choose([1.0] * (first + 1))


def test_every_way_is_played_once_with_its_weight() -> None:
    plays = list(paths(two_dice, 0))
    assert [each.turn for each in plays] == list(range(6))
    expected = {(0, 0): 0.25, (1, 0): 0.25, (1, 1): 0.25, **{(2, each): 0.25 / 3 for each in range(3)}}
    assert {each.value: each.weight for each in plays} == pytest.approx(expected)


def test_a_choice_of_no_weight_is_never_made() -> None:
    plays = list(paths(lambda draw: draw.choose([0.0, 1.0]), 0))
    assert [(each.weight, each.value) for each in plays] == [(1.0, 1)]


def test_details_before_a_choice_do_not_depend_on_it() -> None:
    def play(draw: Draw) -> tuple[float, int, float]:
        return draw.random.random(), draw.choose([1.0, 1.0]), draw.random.random()

    left, right = (each.value for each in paths(play, 7))
    assert left[0] == right[0]
    assert left[2] != right[2]


@pytest.mark.parametrize("degree", range(10))
def test_phases_integrate_polynomials_exactly(degree: int) -> None:
    integral = sum(weight * phase**degree for phase, weight in zip(PHASES, PHASE_WEIGHTS, strict=True))
    assert integral == pytest.approx(1 / (degree + 1), abs=1e-6)


def test_samples_cover_the_period_and_repeat_themselves() -> None:
    def play(draw: Draw) -> tuple[float, int]:
        return draw.phase(), draw.choose([1.0, 3.0])

    first, again, other = ([each.value for each in samples(play, seed, 40)] for seed in (1, 1, 2))
    assert first == again != other
    played = list(samples(play, 1, 40))
    assert sum(each.weight for each in played) == pytest.approx(1.0)
    assert all(int(each.value[0] * 40) == each.turn for each in played)
    assert sorted(each.turn for each in played) == list(range(40))


@pytest.mark.parametrize("number", [1, 2, 7, 40, 64, 500])
def test_the_first_samples_cover_the_period_as_evenly_as_all_of_them(number: int) -> None:
    """A sample that is cut short by its time budget must not have seen one end of the period only."""
    turns = [each.turn for each in samples(lambda draw: draw.phase(), 0, number)]
    for made in range(1, number + 1):
        below = sum(turn < number / 2 for turn in turns[:made])
        assert abs(below - made / 2) <= 1.5


@pytest.mark.parametrize("way", ["enumerated", "sampled"])
def test_a_play_is_played_again_with_the_same_choices_as_soon_or_as_late_as_can_be(way: str) -> None:
    def play(draw: Draw) -> tuple[float, int, float, float]:
        return draw.phase(), draw.choose([1.0] * 3), draw.between(10.0, 20.0), draw.random.random()

    played = list(paths(play, 3) if way == "enumerated" else samples(play, 3, 20))
    for each in played:
        phase, chosen, between, detail = each.value
        assert 10 < between < 20
        assert play(each.redraw(None)) == each.value
        assert play(each.redraw(0.0)) == (phase, chosen, 10.0, detail)
        assert play(each.redraw(1.0)) == (phase, chosen, 20.0, detail)


def test_three_leases_are_enumerated_exactly() -> None:
    """The chance that three leases fall into one class, against its integral over the monitor's phase."""

    def play(draw: Draw) -> bool:
        at = draw.phase()
        weights = [(1 - at) / 2, 0.5, at / 2]
        return len({draw.choose(weights) for _ in range(3)}) == 1

    plays = list(paths(play, 0))
    assert len(plays) == len(PHASES) * len(list(product(range(3), repeat=3)))
    assert sum(each.weight for each in plays if each.value) == pytest.approx(2 / 32 + 1 / 8, abs=1e-6)
