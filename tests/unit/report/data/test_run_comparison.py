"""Two runs beside each other: what is said of their differences holds, and what nobody saw is not called gone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import RUNS
from stories import BRIEFING, ONE, TWO

from chaosext.model.result import Lane
from chaosext.report.data.coverage_gaps import SEEN_WITHOUT_SENTINEL
from chaosext.report.data.run_comparison import OutageChange, compare
from chaosext.report.render.comparison_markdown import markdown
from chaosext.report.render.html.comparison_page import render_comparison

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.model.result import Window
    from chaosext.report.data.run_comparison import Comparison
    from chaosext.report.data.run_data import RunData

WHOLE, PASSED = RUNS["deviated-rollback-verified"], RUNS["passed"]


def with_dns(found: Mapping[str, tuple[Window, ...]], data: RunData = WHOLE) -> RunData:
    return replace(data, result=replace(data.result, outages={Lane.DNS: found}))


def change(first: RunData, second: RunData) -> OutageChange:
    (outage,) = compare(first, second).outages
    return outage.change


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0.0, 60.0), (5.0, 66.0), OutageChange.SAME),
        ((0.0, 60.0), (0.0, 90.0), OutageChange.LONGER),
        ((0.0, 60.0), (0.0, 30.0), OutageChange.SHORTER),
        ((0.0, 5.0), (0.0, 6.9), OutageChange.SAME),
        ((0.0, 5.0), (0.0, 7.1), OutageChange.LONGER),
        ((0.0, 60.0), (0.0, None), OutageChange.NOT_BACK),
        ((0.0, None), (0.0, 60.0), OutageChange.BACK),
        ((0.0, None), (50.0, None), OutageChange.SAME),
    ],
)
def test_what_differs_by_less_than_a_sentinel_can_see_is_the_same(
    first: Window, second: Window, expected: OutageChange
) -> None:
    assert change(with_dns({"Node/a": (first,)}), with_dns({"Node/a": (second,)})) is expected


def test_what_came_and_what_went() -> None:
    out, well = with_dns({f"Node/{ONE}": ((0.0, 60.0),)}), with_dns({})
    assert change(well, out) is OutageChange.NEW
    assert change(out, well) is OutageChange.GONE


def test_an_outage_is_not_called_gone_where_nobody_looked() -> None:
    out = with_dns({f"Node/{ONE}": ((0.0, 60.0),)})
    well = with_dns({})
    blind = replace(well, result=replace(well.result, unobserved={ONE: ((10.0, 20.0),)}))
    assert change(out, well) is OutageChange.GONE
    assert change(out, blind) is OutageChange.NOT_KNOWN
    assert change(out, with_dns({}, RUNS["killed"])) is OutageChange.NOT_KNOWN
    assert change(with_dns({}, RUNS["refused"]), out) is OutageChange.NOT_KNOWN


@pytest.mark.parametrize("lane", sorted(set(Lane) - {Lane.DNS, *SEEN_WITHOUT_SENTINEL}))
@pytest.mark.parametrize("name", [f"Node/{ONE}", "Pod/shop/cart-6c9f7d5b8-kx2vn", "Leaf/leaf → x"])
def test_what_a_run_did_not_watch_is_not_called_gone_nor_new(lane: Lane, name: str) -> None:
    """These runs' sentinels watched DNS, and nothing else."""
    out = replace(WHOLE, result=replace(WHOLE.result, outages={lane: {name: ((0.0, 60.0),)}}))
    assert change(out, with_dns({})) is OutageChange.NOT_KNOWN
    assert change(with_dns({}), out) is OutageChange.NOT_KNOWN
    assert "| 1m | unknown |" in markdown(compare(out, with_dns({})))
    assert "not observed" in render_comparison(compare(out, with_dns({})))


@pytest.mark.parametrize("lane", SEEN_WITHOUT_SENTINEL)
def test_what_the_api_server_tells_of_needs_no_sentinel(lane: Lane) -> None:
    out = replace(WHOLE, result=replace(WHOLE.result, outages={lane: {"Pod/shop/cart": ((0.0, 60.0),)}}))
    assert change(out, replace(with_dns({}), stretches={})) is OutageChange.GONE


def test_an_outage_is_not_called_gone_where_the_run_was_over_before_it() -> None:
    """The interrupted run ended after 23 s."""
    over, again = with_dns({}, RUNS["interrupted"]), with_dns({f"Node/{ONE}": ((20.0, 60.0),)})
    assert change(with_dns({f"Node/{ONE}": ((50.0, 60.0),)}), over) is OutageChange.NOT_KNOWN
    assert change(again, over) is OutageChange.GONE


def test_a_lower_bound_has_no_ratio() -> None:
    (outage,) = compare(with_dns({"Node/a": ((0.0, 60.0),)}), with_dns({"Node/a": ((0.0, None),)})).outages
    assert outage.ratio is None


def test_pods_are_compared_by_what_made_them() -> None:
    first = with_dns(
        {"Pod/shop/cart-6c9f7d5b8-kx2vn": ((0.0, 60.0),), "Pod/shop/cart-6c9f7d5b8-zzzzz": ((0.0, 9.0),)}
    )
    second = with_dns({"Pod/shop/cart-7d8c9b5f4-p9w7t": ((0.0, 90.0),)})
    (outage,) = compare(first, second).outages
    assert (outage.name, outage.first_s, outage.second_s, outage.ratio) == (
        "Pod/shop/cart-*",
        60.0,
        90.0,
        1.5,
    )


def test_ways_to_pods_are_compared_though_their_addresses_are_new() -> None:
    first = with_dns({"Node/a → coredns-66bc5c9577-vhhl4 on cp 10.244.6.0:53/tcp": ((0.0, 60.0),)})
    second = with_dns({"Node/a → coredns-66bc5c9577-wskcc on cp [fd00::7]:53/tcp": ((0.0, 60.0),)})
    (outage,) = compare(first, second).outages
    assert (outage.name, outage.change) == ("Node/a → coredns-* on cp:53/tcp", OutageChange.SAME)


def test_what_is_hardly_comparable_is_compared_and_said() -> None:
    briefing = replace(BRIEFING, context="production-eu")
    other = replace(PASSED, result=replace(PASSED.result, run="r2", experiment="Another", briefing=briefing))
    found = compare(WHOLE, other)
    assert found.doubts[0] == "the experiments differ: `Control plane severed from its nodes` and `Another`"
    assert found.doubts[1] == "the clusters differ: kind-chaosext and production-eu"
    assert found.outages
    assert "## Limited comparability" in markdown(found)


def test_the_prediction_of_each_is_measured() -> None:
    (off,) = (each for each in compare(WHOLE, PASSED).timing if each.name == "error of the rehearsal")
    assert (off.first, off.second) == (3.7, None)


def facts(comparison: Comparison) -> dict[str, tuple[object, object]]:
    return {each.name: (each.first, each.second) for each in comparison.facts}


def test_placement_and_timings_in_force_are_compared() -> None:
    found = facts(compare(WHOLE, PASSED))
    assert found["kube-dns before"] == (f"{ONE}, {TWO}",) * 2
    assert found["kube-dns moved to"] == ("chaosext-control-plane", None)
    assert found["timings: node_monitor_grace_period_s"] == (20.0, 20.0)


windows = st.floats(0, 100).flatmap(
    lambda start: st.tuples(st.just(start), st.none() | st.floats(start, 200)).map(lambda window: (window,))
)
outages = st.dictionaries(st.sampled_from(["Node/a", "Node/b", "Pod/shop/cart-6c9f7d5b8-kx2vn"]), windows)


@given(outages, outages)
def test_the_other_way_round_it_is_the_other_way_round(
    first: Mapping[str, tuple[Window, ...]], second: Mapping[str, tuple[Window, ...]]
) -> None:
    there = {each.name: each for each in compare(with_dns(first), with_dns(second)).outages}
    back = {each.name: each for each in compare(with_dns(second), with_dns(first)).outages}
    assert there.keys() == back.keys()
    for name, each in there.items():
        assert (each.first_s, each.second_s) == (back[name].second_s, back[name].first_s)
        if each.change in (OutageChange.NEW, OutageChange.GONE):
            assert {each.change, back[name].change} == {OutageChange.NEW, OutageChange.GONE}


@given(outages)
def test_a_run_does_not_differ_from_itself(found: Mapping[str, tuple[Window, ...]]) -> None:
    data = with_dns(found)
    assert {each.change for each in compare(data, data).outages} <= {OutageChange.SAME}
    assert not [each for each in compare(data, data).facts if each.differs]
