"""What the lanes show, and that nothing unobserved looks well, whatever is folded or made coarse."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stories import CP, ONE, STORIES, TWO, event

from chaosext.model.result import Lane
from chaosext.model.signal import Mark, Signal, Watched
from chaosext.model.timeline import Event, Kind, Predicted
from chaosext.report.data.lane_state import State
from chaosext.report.data.prediction_review import foresight
from chaosext.report.data.run_data import RunData
from chaosext.report.data.sentinel_spans import Stretch
from chaosext.report.data.wall_clock import WallClock
from chaosext.report.render.html.event_log import chapters
from chaosext.report.render.html.groups import UNFOLDED, folded, ranged
from chaosext.report.render.html.lanes_of_run import DOTS, swims
from chaosext.report.render.html.markers import flags
from chaosext.report.render.html.svg import GLYPHS, SHAPES, SIGNS, LineStyle, line, said
from chaosext.report.render.html.svg_parts import draw
from chaosext.report.render.html.time_axis import CHARACTER_PERCENT, MOST_TICKS, Axis, axis_of
from chaosext.report.render.html.tracks import Bar, Dot, Track
from chaosext.report.units import natural

AXIS = Axis(0.0, 100.0)
MANNER = LineStyle(axis=AXIS, most_bars=100)
DNS = Signal(kind=Watched.DNS_UDP, target="10.2.112.10", label="kube-dns")
STORY = STORIES["deviated-rollback-verified"]


def seen(*stretches: tuple[float, float, str]) -> tuple[Stretch, ...]:
    return tuple(Stretch(start_s, end_s, Mark(mark)) for start_s, end_s, mark in stretches)


def lane_of(run: RunData, key: str) -> dict[str, Track]:
    found = swims(run, axis_of([0.0, 200.0]))
    return {track.name: track for swim in found if swim.key == key for track in swim.tracks}


def states(track: Track) -> list[tuple[float, float, State]]:
    return [(bar.start_s, bar.end_s, bar.state) for bar in track.bars]


# What is drawn


def test_what_a_sentinel_saw_is_drawn_second_by_second_and_its_gaps_are_not_good() -> None:
    run = RunData(
        result=replace(STORY, unobserved={}, outages={}),
        stretches={ONE: {DNS: seen((-5, 40, "+"), (40, 52, "?"), (52, 60, "t"), (60, 80, "+"))}},
    )
    assert states(lane_of(run, Lane.DNS)[ONE]) == [
        (-5, 40, State.GOOD),
        (40, 52, State.UNSEEN),
        (52, 60, State.OUT),
        (60, 80, State.GOOD),
    ]


def test_after_a_record_that_ends_early_nothing_is_drawn_as_good() -> None:
    run = RunData(
        result=replace(STORY, unobserved={ONE: ((80.0, None),)}, outages={}),
        stretches={ONE: {DNS: seen((0, 80, "+"))}},
    )
    track = lane_of(run, Lane.DNS)[ONE]
    assert track.bars[-1].state is State.UNSEEN
    assert track.bars[-1].start_s == 80.0
    assert track.bars[-1].end_s > 200.0


@pytest.mark.parametrize(
    ("lane", "name", "shown"),
    [
        (Lane.XDS, "Pod/shop/cart-6c9f7d5b8-kx2vn", "shop/cart-6c9f7d5b8-kx2vn"),
        (Lane.BGP, f"Node/{ONE} → 172.18.0.5", f"{ONE} → 172.18.0.5"),
    ],
)
def test_where_a_record_can_not_be_read_what_its_node_did_not_see_is_not_quiet(
    lane: Lane, name: str, shown: str
) -> None:
    result = replace(STORY, outages={lane: {name: ((61.0, 70.0),)}}, unobserved={ONE: ((70.0, 190.0),)})
    assert (70.0, 190.0, State.UNSEEN) in states(lane_of(RunData(result=result), lane)[shown])


def test_the_lines_of_what_is_predicted_only_say_so() -> None:
    run = RunData(result=STORY, prediction=(expected(70.0, Kind.PROBE_FAILING, "Pod/shop/never-failed"),))
    lane = lane_of(run, Lane.PROBES)
    assert lane["shop/never-failed"].tag == "predicted only"
    assert {track.tag for name, track in lane.items() if name != "shop/never-failed"} == {""}


def test_every_sign_that_is_drawn_is_in_the_legend() -> None:
    drawing = draw(RunData(result=STORY))
    assert drawing
    assert {name for name, _, _ in drawing.signs} == {"probe", "crash", "evicted"}
    assert SIGNS.keys() == GLYPHS.keys() == {glyph for _, glyph in DOTS.values()}


def test_without_a_sentinel_the_time_around_an_outage_is_not_drawn_as_seen() -> None:
    run = RunData(result=replace(STORY, outages={Lane.DNS: {f"Node/{ONE}": ((55.0, None),)}}))
    track = lane_of(run, Lane.DNS)[ONE]
    assert [state for _, _, state in states(track)] == [State.QUIET, State.OUT]
    assert track.windows == ((55.0, None),)


def test_kube_dns_is_drawn_where_it_was_and_astray_where_no_route_leads() -> None:
    lanes = {swim.key: swim for swim in swims(RunData(result=STORY), Axis(-5.0, 200.0))}
    found = {track.name: track.bars for track in lanes["placement"].tracks}
    there = [(bar.start_s, bar.end_s, bar.state, bar.letter) for bar in found[CP]]
    assert there[0] == (40.9, 50.8, State.ASTRAY, "1")
    assert there[1][2:] == (State.ASTRAY, "2")
    assert [(bar.start_s, bar.end_s, bar.state) for bar in found[ONE]] == [
        (-5.0, 40.8, State.HERE),
        (132.4, 200.0, State.HERE),
    ]


def test_a_prediction_stands_in_the_lane_of_what_it_is_about_even_where_it_did_not_come_true() -> None:
    run = RunData(
        result=STORY,
        prediction=(
            expected(50.0, Kind.DNS_DEAD, f"Node/{ONE}"),
            expected(45.0, Kind.POD_BOUND, "Pod/kube-system/coredns-x", f"to {TWO}"),
            expected(70.0, Kind.PROBE_FAILING, "Pod/shop/never-failed"),
        ),
    )
    assert [guess.t_s for guess in lane_of(run, Lane.DNS)[ONE].guesses] == [50.0]
    assert [guess.t_s for guess in lane_of(run, "placement")[TWO].guesses] == [45.0]
    assert [guess.t_s for guess in lane_of(run, Lane.PROBES)["shop/never-failed"].guesses] == [70.0]


def expected(t_s: float, kind: Kind, name: str, detail: str = "") -> Predicted:
    foreseen = event(t_s, kind, name, detail, "rehearsal")
    return Predicted(event=foreseen, t_min_s=t_s - 5, t_max_s=t_s + 5)


def test_a_prediction_is_compared_with_the_first_that_came_of_it() -> None:
    run = RunData(
        result=STORY,
        prediction=(
            expected(22.0, Kind.NODE_NOT_READY, f"Node/{ONE}"),
            expected(10.0, Kind.DNS_DEAD, f"Node/{ONE}"),
            expected(10.0, Kind.CRASH_LOOP, "Pod/shop/x"),
        ),
    )
    assert [each.verdict for each in foresight(run)] == ["as predicted", "45s later", "not seen"]


def test_a_single_kube_dns_pods_address_stands_aside_of_what_users_ask() -> None:
    pod = Signal(kind=Watched.DNS_UDP, target="10.244.0.7", label=f"coredns-7d764666f9-nbq7m on {CP}")
    kept = replace(pod, kind=Watched.DNS_UDP_KEPT)
    good, out = seen((0, 80, "+")), seen((0, 80, "t"))
    run = RunData(
        result=replace(STORIES["passed"], outages={}), stretches={ONE: {DNS: good, pod: out, kept: out}}
    )
    there = f"{ONE} → {CP} 10.244.0.7:53/udp"
    assert set(lane_of(run, Lane.DNS)) == {ONE}
    assert set(lane_of(run, "endpoints")) == {there, f"{there}, kept socket"}
    drawing = draw(run)
    assert drawing
    (aside,) = (lane for lane in drawing.lanes if lane.key == "endpoints")
    assert aside.folded == "2 of 2 lines had outages"


# One line


def test_each_state_is_told_without_its_colour() -> None:
    """By where its bar lies and how high it is; where that is alike, by a pattern or by being hollow."""
    style = (files("chaosext.report.render.html") / "style.css").read_text(encoding="utf-8")
    looks = []
    for state in State:
        css, top, height = SHAPES[state]
        rule = re.search(rf"(?m)(?:^| )\.{css} \{{ fill: ([^;]*);", style)
        assert rule, state
        fill = rule[1] if "url(" in rule[1] or rule[1] == "var(--paper)" else "solid"
        looks.append((top, height, fill))
    assert len(set(looks)) == len(State)


def test_what_is_out_can_be_read_and_reached_with_the_keyboard() -> None:
    svg = line(Track(name="worker", bars=(Bar(0, 10, State.GOOD), Bar(10, 50, State.OUT, "t"))), MANNER)
    assert 'tabindex="0" role="img" aria-label="worker: timed out, 10s to 50s"' in svg
    assert "<title>worker: timed out, 10s to 50s</title>" in svg
    assert ">t</text>" in svg


def test_a_line_with_many_outages_is_one_stop() -> None:
    bars = tuple(Bar(n * 4.0, n * 4.0 + 2, State.OUT) for n in range(20))
    svg = line(Track(name="flaps", bars=bars, windows=tuple((b.start_s, b.end_s) for b in bars)), MANNER)
    assert svg.count('tabindex="0"') == 1
    assert 'aria-label="flaps: out 0s to 2s' in svg
    assert "8 more times" in svg


def test_a_short_outage_stays_visible() -> None:
    svg = line(Track(name="x", bars=(Bar(50.0, 50.001, State.OUT),)), MANNER)
    assert float(re.search(r'width="([\d.]+)%"', svg)[1]) > 0.1  # type: ignore[index]


def test_dots_that_would_lie_on_one_another_are_one() -> None:
    dots = tuple(Dot(50.0 + n / 1000, "probe", "refused") for n in range(500))
    assert line(Track(name="x", dots=dots), MANNER).count("<path") == 1


def test_a_line_in_words_says_what_was_not_observed() -> None:
    track = Track(name="x", bars=(Bar(0, 30, State.UNSEEN),), windows=((40.0, None),))
    assert said(track) == "x: out from 40s on; not observed for 30s"


# Folding


def nodes(*groups: tuple[int, float, float]) -> list[Track]:
    number = 0
    found = []
    for count, start_s, end_s in groups:
        for n in range(count):
            number += 1
            bar = Bar(start_s + n % 2 * 0.4, end_s + n % 3 * 0.3, State.OUT)
            found.append(Track(name=f"worker-{number}", bars=(bar,), windows=((bar.start_s, bar.end_s),)))
    return found


def test_a_dozen_lines_are_not_folded() -> None:
    tracks = nodes((UNFOLDED, 10, 20))
    assert [group.track for group in folded(tracks, 100)] == tracks


def test_a_hundred_nodes_fold_by_what_they_went_through_the_worst_first() -> None:
    groups = folded(nodes((64, 55, 77), (35, 55, 60), (1, 10, 90)), 100)
    assert [(group.track.name, len(group.members)) for group in groups] == [
        ("worker-100", 0),
        ("worker-1 … worker-64", 64),
        ("worker-65 … worker-99", 35),
    ]
    assert groups[1].track.windows == ((55.0, 77.6),)


def test_where_everyone_went_their_own_way_the_rest_share_the_last_line() -> None:
    groups = folded(nodes(*((1, n, n + 5) for n in range(0, 90, 3))), 100)
    assert len(groups) == UNFOLDED
    assert sum(max(1, len(group.members)) for group in groups) == 30


def test_who_was_not_observed_for_a_moment_is_not_folded_among_the_well() -> None:
    tracks = [Track(name=f"n{n}", bars=(Bar(0, 100, State.GOOD),)) for n in range(20)]
    gap = (Bar(0, 50, State.GOOD), Bar(50, 50.5, State.UNSEEN), Bar(50.5, 100, State.GOOD))
    tracks[7] = Track(name="n7", bars=gap)
    first, rest = folded(tracks, 100)
    assert (first.track.name, first.track.bars) == ("n7", gap)
    assert [bar.state for bar in rest.track.bars] == [State.GOOD]


def test_what_a_few_of_a_group_went_through_is_drawn_no_higher_than_they_are_many() -> None:
    flapping = [
        Track(name=f"n{n}", bars=(Bar(n, n + 1, State.OUT, "t"), Bar(n + 1, 100, State.GOOD)))
        for n in range(20)
    ]
    (group,) = folded(flapping, 100)
    bar = group.track.bars[0]
    assert (bar.state, bar.share) == (State.OUT, 0.25)
    svg = line(group.track, MANNER)
    assert 'y="15" height="4"' in svg
    assert "on up to a quarter of them" in svg


def test_a_group_is_named_by_its_nodes_and_by_where_they_looked() -> None:
    assert ranged([f"w-{n} → dns {t}" for n in range(1, 9) for t in "ab"]) == "w-1 … w-8 → dns a, dns b"


@pytest.mark.parametrize(
    ("names", "one"),
    [
        (["w-1", "w-2", "w-10"], "w-1, w-2, …"),
        (["w-2", "w-1", "w-3"], "w-1 … w-3"),
        (["a", "b"], "a, b"),
        (
            ["shop/cart-6c9f7d5b8-kx2vn", "shop/cart-6c9f7d5b8-zz2vn", "shop/front-5d8c9b7c4-p9w7t"],
            "shop/cart-*, shop/front-*",
        ),
        (["worker", "worker2", "worker3"], "worker, worker2, …"),
    ],
)
def test_many_names_as_one(names: list[str], one: str) -> None:
    assert ranged(names) == one


def test_names_are_in_the_order_of_their_numbers() -> None:
    names = ["worker2 → a", "worker → b", "worker10 → a", "worker → a"]
    assert sorted(names, key=natural) == ["worker → a", "worker → b", "worker2 → a", "worker10 → a"]


# The axis and the run's own doings


@pytest.mark.parametrize("end_s", [3.0, 70.0, 190.0, 3600.0, 90000.0, 900000.0])
def test_the_axis_has_a_handful_of_round_labels_at_any_length(end_s: float) -> None:
    axis = axis_of([0.0, end_s])
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= MOST_TICKS + 1
    labels = [tick.label for tick in ticks if tick.label]
    assert len(labels) == len(set(labels)) >= len(ticks) - 1


@given(end_s=st.floats(1, 1e7), clock=st.sampled_from(("", "2026-11-23T23:03:28+00:00")))
def test_no_label_of_the_axis_overlaps_another_or_the_edge_of_a_phone(end_s: float, clock: str) -> None:
    ticks = axis_of([0.0, end_s]).ticks(WallClock.of(clock))
    for labels in (
        [(tick.percent, tick.label) for tick in ticks],
        [(tick.percent, tick.clock) for tick in ticks],
    ):
        shown = [(percent, percent + len(text) * CHARACTER_PERCENT) for percent, text in labels if text]
        assert all(end <= start for (_, end), (start, _) in pairwise(shown))
        assert all(end <= 100 for _, end in shown)


def test_a_long_gate_does_not_squeeze_what_came_after_the_cut() -> None:
    assert axis_of([-500.0, 0.0, 100.0]).start_s == -8.0


def test_flags_do_not_lie_on_one_another() -> None:
    kinds = (Kind.CUT, Kind.HEAL, Kind.ROLLBACK, Kind.STEADY)
    events = [event(float(n), kind, "x", "") for n, kind in enumerate(kinds)]
    found = flags(events, AXIS)
    labelled = [(flag.level, flag.label) for flag in found if flag.label]
    assert len({level for level, _ in labelled}) == len(labelled) == 3


# The timeline


def test_a_short_timeline_is_told_whole() -> None:
    (chapter,) = chapters(STORY.events)
    assert list(chapter.events) == sorted(STORY.events, key=lambda each: each.t_s)
    assert chapter.minute is None


def test_a_long_timeline_is_folded_by_minute_and_counts_what_it_does_not_show() -> None:
    many: list[Event] = [event(n / 10, Kind.POD_NOT_READY, f"Pod/shop/p{n}", "") for n in range(1200)]
    many += [event(30.0 + n / 10, Kind.HEAL, f"Node/n{n}", "") for n in range(20)]
    first, second = chapters(many)
    assert [len(first.events), len(second.events)] == [23, 3]
    assert first.more == ("597 × Pod not ready",)
    assert first.contents == "600 × Pod not ready, 20 × heal"
    assert second.title == "1m to 2m"


def test_a_calm_lane_is_folded_away_and_one_with_a_gap_is_not() -> None:
    calm = RunData(result=replace(STORIES["passed"], outages={}), stretches={ONE: {DNS: seen((0, 80, "+"))}})
    gap = replace(calm, stretches={ONE: {DNS: seen((0, 40, "+"), (40, 42, "?"), (42, 80, "+"))}})
    for run, folded_away in ((calm, True), (gap, False)):
        drawing = draw(run)
        assert drawing
        (dns,) = (lane for lane in drawing.lanes if lane.key == Lane.DNS)
        assert bool(dns.folded) is folded_away
