"""Scenarios: read strictly, each rehearsed as if it were the only one."""

from __future__ import annotations

from typing import Any

import pytest
from worlds import cluster

from chaosext.model.errors import Refused
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.predict.scenarios import Scenario, ScenarioRunner, flap, scenarios_from, seconds
from chaosext.rehearsal.simulate.planned_cut import Flap

WORLD = cluster(zones=("a", "b"))


@pytest.mark.parametrize(
    ("text", "means"), [("480s", 480), ("8m", 480), ("1h2m3s", 3723), ("500ms", 0.5), ("90", 90), (7.5, 7.5)]
)
def test_durations_are_gos_or_seconds(text: object, means: float) -> None:
    assert seconds(text) == means


@pytest.mark.parametrize("text", ["", "soon", "5 m", "-3s", "1m-2s", True, None, "1e3", "nan"])
def test_what_is_no_duration_is_none(text: object) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        seconds(text)


def test_a_scenario_takes_what_it_leaves_out_from_the_command_line() -> None:
    given = [{"cut_for": "30s"}, {"name": "b", "cut_nodes": ["worker-1", "worker-2"], "with": "dns-affinity"}]
    first, second = scenarios_from(given, Scenario(cut_nodes="worker-2", horizon_s=300, seed=7))
    assert (first.name, first.cut_nodes, first.cut_for_s, first.horizon_s, first.seed) == (
        "1",
        "worker-2",
        30,
        300,
        7,
    )
    assert (second.name, second.cut_nodes, second.mitigations) == (
        "b",
        "worker-1,worker-2",
        ("dns-affinity",),
    )


@pytest.mark.parametrize(
    "given",
    [
        "on=15s,off=10s,times=7",
        {"on": "15s", "off": 10, "times": 7},
        {True: "15s", False: "10s", "times": "7"},
    ],
)
def test_a_flap_is_a_text_or_a_mapping(given: object) -> None:
    """YAML 1.1 reads on and off as true and false."""
    assert flap(given) == Flap(on_s=15, off_s=10, times=7)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (7, "is not a flap"),
        ("on=15s,off=10s", "exactly on, off and times"),
        ("on=15s,off=10s,times=7,more=1", "exactly on, off and times"),
        ("on=15s,off=10s,times=seven", "not a whole number"),
        ("on=15s,off=10s,times=0", "set it to the number of cuts"),
        ("on=15s,off=10s,times=501", "set it to the number of cuts"),
        ("on=0s,off=10s,times=7", "set it to the length of one cut"),
        ("on=soon,off=10s,times=7", "not a duration"),
    ],
)
def test_what_is_no_flap_says_what_to_write(given: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        flap(given)


def test_a_scenario_flaps_or_has_one_cut() -> None:
    flapping = Scenario(flap=Flap(on_s=15, off_s=10, times=2))
    by_file = {"flap": {True: "5s", False: "5s", "times": 3}}
    one, kept, other = scenarios_from([{"cut_for": "30s"}, {}, by_file], flapping)
    assert one.plan(WORLD).periods == ((0, 30),)
    assert kept.plan(WORLD).periods == ((0, 15), (25, 40))
    assert other.plan(WORLD).periods == ((0, 5), (10, 15), (20, 25))
    with pytest.raises(Refused, match="cut_for and flap are both set"):
        scenarios_from([{"cut_for": "30s", **by_file}], Scenario())


def test_a_mapping_of_scenarios_is_a_list_of_them() -> None:
    assert len(scenarios_from({"scenarios": [{}, {}]}, Scenario())) == 2


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        [],
        "x",
        [3],
        [{"cut-nodes": "x"}],
        [{"cut_for": "long"}],
        [{"with": ["luck"]}],
        [{"seed": "x"}],
        [{"seed": True}],
        [{1: 2}],
    ],
)
def test_what_is_no_list_of_scenarios_is_refused(value: Any) -> None:
    with pytest.raises(Refused, match="scenario") as refused:
        scenarios_from(value, Scenario())
    assert refused.value.fix


def test_each_is_played_as_if_alone() -> None:
    runner = ScenarioRunner(WORLD, samples=8)
    wanted = Scenario(name="x", cut_for_s=120, horizon_s=300)
    for each in (wanted, Scenario(name="y", cut_nodes="worker-1", cut_for_s=60, horizon_s=300), wanted):
        alone = rehearse(WORLD, each.plan(WORLD), samples=8).to_json()
        row = runner.play(each)
        assert (row["verdict"], row["outcomes"]) == (alone["verdict"], alone["outcomes"])


def test_one_with_a_mitigation_leaves_the_others_alone() -> None:
    runner, plain = ScenarioRunner(WORLD, samples=8), Scenario(cut_for_s=120, horizon_s=300)
    kept_off = Scenario(cut_for_s=120, horizon_s=300, mitigations=("dns-affinity",))
    assert [runner.play(each)["verdict"] for each in (plain, kept_off, plain)] == [
        "deviated",
        "passed",
        "deviated",
    ]


def test_a_scenario_that_cant_be_played_is_named() -> None:
    with pytest.raises(Refused, match="scenario odd: --cut-nodes"):
        ScenarioRunner(WORLD).play(Scenario(name="odd", cut_nodes="worker-9"))
