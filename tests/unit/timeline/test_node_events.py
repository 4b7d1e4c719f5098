"""From a sentinel's samples to news, signal by signal; and what is no sample is no good sign."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from chaosext.model.signal import Sample, StreamHead
from chaosext.model.timeline import Kind
from chaosext.sentinel.watch_plan import Named, Sidecar, WatchPlan
from chaosext.timeline.node_events import NodeWatch

PLAN = WatchPlan(
    run="r",
    dns_servers=(
        Named(target="10.2.112.10", label="kube-dns"),
        Named(target="10.244.1.2", label="coredns-a on w"),
    ),
    tcp=(Named(target="10.2.0.5:15012", label="istiod"),),
    sidecars=(Sidecar(node="w", pod="Pod/shop/cart", address="10.244.1.9"),),
    bgp_peers={"w": ("172.18.0.5",)},
    routes=(Named(target="10.244.1.2", label="coredns-a on w"),),
)
UDP, POD_UDP, KEPT, POD_KEPT, TCP, POD_TCP, TARGET, READY, XDS, BGP, ROUTE = range(11)
"""Where their marks stand in a sample."""


def head(plan: WatchPlan = PLAN, *, boot: str = "one", at_s: float = 100.0, lost: str = "") -> StreamHead:
    signals = plan.signals("w")
    return StreamHead(run="r", node="w", boot=boot, mono_s=at_s, wall_s=0.0, signals=signals, lost=lost)


class Told:
    """A watch, and what it said: (seconds after 100, kind, object, detail)."""

    def __init__(self, first: StreamHead | None = None) -> None:
        self.watch = NodeWatch("w")
        self.news: list[tuple[float, Kind, str, str]] = []
        self.n, self.width = 0, 0
        self.begin(first or head())

    def begin(self, new: StreamHead) -> Told:
        self.width = len(new.signals)
        self._hear(self.watch.take(new))
        return self

    def sample(self, times: int = 1, **marks: str) -> Told:
        """So many samples, one a second: all good but `m<position>=mark`."""
        line = list("+" * self.width)
        for where, mark in marks.items():
            line[int(where[1:])] = mark
        for _ in range(times):
            self._hear(self.watch.take(Sample(self.n, 100.0 + self.n, "".join(line))))
            self.n += 1
        return self

    def _hear(self, dated: tuple[tuple[StreamHead, float, object], ...]) -> None:
        for _, at_s, note in dated:
            self.news.append((at_s - 100, note.kind, note.object, note.detail))  # type: ignore[attr-defined]

    def kinds(self) -> list[tuple[float, Kind]]:
        return [(at_s, kind) for at_s, kind, _, _ in self.news]


def at(position: int, mark: str) -> dict[str, str]:
    return {f"m{position}": mark}


def test_dns_dies_and_comes_back_dated_to_the_first_lookup_of_each() -> None:
    told = Told().sample(5).sample(4, **at(UDP, "t"), **at(KEPT, "t")).sample(4)
    assert told.news == [
        (5, Kind.DNS_DEGRADED, "Node/w", "10.2.112.10:53/udp timed out"),
        (5, Kind.DNS_DEAD, "Node/w", "10.2.112.10:53/udp timed out"),
        (9, Kind.DNS_RESTORED, "Node/w", "10.2.112.10:53/udp answered"),
    ]


def test_dns_is_dead_no_more_from_the_first_answer_on_though_one_more_is_lost_after_it() -> None:
    lost = {**at(UDP, "t"), **at(KEPT, "t")}
    told = Told().sample(2).sample(4, **lost).sample(1).sample(1, **lost).sample(4)
    assert told.kinds()[1:] == [(2, Kind.DNS_DEAD), (6, Kind.DNS_DEGRADED), (8, Kind.DNS_RESTORED)]


def test_one_answer_among_many_that_are_lost_ends_no_outage() -> None:
    lost = {**at(UDP, "t"), **at(KEPT, "t")}
    told = Told().sample(2).sample(4, **lost).sample(1).sample(4, **lost)
    assert [kind for _, kind in told.kinds()] == [Kind.DNS_DEGRADED, Kind.DNS_DEAD]


def test_dns_that_is_dead_from_the_start_is_news_and_a_good_start_is_none() -> None:
    assert Told().sample(9).news == []
    dead = Told().sample(3, **at(UDP, "r"), **at(KEPT, "r")).kinds()
    assert dead == [(0, Kind.DNS_DEGRADED), (0, Kind.DNS_DEAD)]


def test_a_stale_socket_is_told_where_a_fresh_one_works_and_the_other_way_round() -> None:
    told = Told().sample(3).sample(4, **at(KEPT, "t")).sample(3)
    assert told.news == [
        (
            3,
            Kind.DNS_SOCKET_STALE,
            "Node/w",
            "10.2.112.10:53/udp: kept socket timed out, fresh socket answered",
        ),
        (
            7,
            Kind.DNS_SOCKETS_AGREE,
            "Node/w",
            "10.2.112.10:53/udp: kept socket answered, fresh socket answered",
        ),
    ]
    other = Told().sample(3).sample(4, **at(UDP, "t")).sample(3)
    assert (3, Kind.DNS_ONLY_KEPT_SOCKET) in other.kinds()
    assert (7, Kind.DNS_SOCKETS_AGREE) in other.kinds()


def test_sockets_differ_for_three_seconds_before_it_is_said_however_often_is_sampled() -> None:
    often = replace(head(), interval_s=0.5)
    told = Told(often)
    for n in range(5):
        told._hear(told.watch.take(Sample(n, 100 + n / 2, "++t" + "+" * (told.width - 3))))
    assert told.news == []
    told._hear(told.watch.take(Sample(5, 102.5, "++t" + "+" * (told.width - 3))))
    assert told.kinds() == [(0, Kind.DNS_SOCKET_STALE)]


def test_when_both_sockets_fail_they_agree() -> None:
    told = Told().sample(3, **at(KEPT, "t")).sample(3, **at(KEPT, "t"), **at(UDP, "t"))
    assert told.news[-1][1:] == (
        Kind.DNS_SOCKETS_AGREE,
        "Node/w",
        "10.2.112.10:53/udp: kept socket timed out, fresh socket timed out",
    )


def test_targets_say_how_they_fail() -> None:
    told = Told().sample(3, **at(POD_TCP, "t"), **at(TCP, "r"), **at(TARGET, "x")).sample(3)
    assert told.news == [
        (0, Kind.TARGET_LOST, "Node/w → kube-dns 10.2.112.10:53/tcp", "refused"),
        (0, Kind.TARGET_LOST, "Node/w → coredns-a on w 10.244.1.2:53/tcp", "timed out"),
        (0, Kind.TARGET_LOST, "Node/w → istiod 10.2.0.5:15012", "reset"),
        (3, Kind.TARGET_RESTORED, "Node/w → kube-dns 10.2.112.10:53/tcp", "answered"),
        (3, Kind.TARGET_RESTORED, "Node/w → coredns-a on w 10.244.1.2:53/tcp", "answered"),
        (3, Kind.TARGET_RESTORED, "Node/w → istiod 10.2.0.5:15012", "open"),
    ]


def test_an_endpoint_of_kube_dns_is_a_target_and_not_dns_itself() -> None:
    told = Told().sample(3, **at(POD_UDP, "n"), **at(POD_KEPT, "n"))
    assert told.news == [(0, Kind.TARGET_LOST, "Node/w → coredns-a on w 10.244.1.2:53/udp", "no route")]


def test_an_address_of_ipv6_is_written_so_that_its_port_can_be_told() -> None:
    plan = WatchPlan(run="r", dns_servers=(Named(target="fd00::a", label="kube-dns"),))
    told = Told(head(plan)).sample(3, **at(0, "t"), **at(1, "t"), **at(2, "t"))
    assert [(name, detail) for _, _, name, detail in told.news[1:]] == [
        ("Node/w", "[fd00::a]:53/udp timed out"),
        ("Node/w → kube-dns [fd00::a]:53/tcp", "timed out"),
    ]


def test_a_sidecar_that_looks_ready_without_istiod_is_a_false_green() -> None:
    told = Told().sample(3, **at(XDS, "-")).sample(3, **at(XDS, "-"), **at(READY, "e")).sample(3)
    assert told.news == [
        (0, Kind.XDS_LOST, "Pod/shop/cart", "without istiod, though 15021 says ready"),
        (3, Kind.SIDECAR_NOT_READY, "Pod/shop/cart", "15021 says not ready"),
        (6, Kind.SIDECAR_READY, "Pod/shop/cart", "15021 says ready"),
        (6, Kind.XDS_RESTORED, "Pod/shop/cart", "has its istiod, 15021 says ready"),
    ]
    green = Told().sample(3, **at(XDS, "-"), **at(READY, "r")).sample(3, **at(XDS, "-"))
    assert green.news == [
        (0, Kind.SIDECAR_NOT_READY, "Pod/shop/cart", "15021 refused"),
        (0, Kind.XDS_LOST, "Pod/shop/cart", "without istiod, 15021 refused"),
        (3, Kind.SIDECAR_READY, "Pod/shop/cart", "15021 says ready, though it is without istiod"),
    ]


def test_sessions_and_routes() -> None:
    told = Told().sample(3, **at(BGP, "-"), **at(ROUTE, "-")).sample(3)
    assert told.news == [
        (0, Kind.BGP_LOST, "Node/w → 172.18.0.5", "not established"),
        (0, Kind.ROUTE_LOST, "Node/w → coredns-a on w 10.244.1.2", "no route of its own leads there"),
        (3, Kind.BGP_RESTORED, "Node/w → 172.18.0.5", "established"),
        (3, Kind.ROUTE_RESTORED, "Node/w → coredns-a on w 10.244.1.2", "a route of its own leads there"),
    ]


def test_two_bad_samples_are_no_outage() -> None:
    assert Told().sample(3).sample(2, **at(TARGET, "t")).sample(3).news == []


def test_what_is_not_measured_neither_kills_nor_restores() -> None:
    told = Told().sample(3).sample(2, **at(BGP, "-")).sample(2, **at(BGP, "?")).sample(3)
    assert told.news == []
    told.sample(3, **at(BGP, "-")).sample(2).sample(1, **at(BGP, "?")).sample(2)
    assert told.kinds() == [(10, Kind.BGP_LOST)]


def test_what_is_not_measured_between_bad_answers_does_not_make_it_well() -> None:
    """A busy node measures every other second: what never answered well was out since it first did not."""
    told = Told().sample(3)
    for _ in range(3):
        told.sample(1, **at(BGP, "-")).sample(2, **at(BGP, "?"))
    assert told.kinds() == [(3, Kind.BGP_LOST)]
    told.sample(1, **at(BGP, "?"))
    assert told.kinds()[1:] == [(10, Kind.OBSERVATION_LOST)]


def test_a_signal_that_is_measured_no_more_is_lost_sight_of_alone() -> None:
    told = Told().sample(3, **at(BGP, "-")).sample(4, **at(BGP, "?")).sample(3, **at(BGP, "-"))
    assert told.news == [
        (0, Kind.BGP_LOST, "Node/w → 172.18.0.5", "not established"),
        (3, Kind.OBSERVATION_LOST, "Node/w → 172.18.0.5 (bgp)", "not measured"),
        (7, Kind.OBSERVATION_RESTORED, "Node/w → 172.18.0.5 (bgp)", "measured again"),
        (7, Kind.BGP_LOST, "Node/w → 172.18.0.5", "not established"),
    ]


def test_after_a_gap_everything_is_decided_anew() -> None:
    told = Told().sample(3, **at(TARGET, "t"))
    told.n += 5
    told.sample(3, **at(TARGET, "t"))
    assert told.news == [
        (0, Kind.TARGET_LOST, "Node/w → istiod 10.2.0.5:15012", "timed out"),
        (3, Kind.OBSERVATION_LOST, "Node/w", "5 samples are missing"),
        (8, Kind.OBSERVATION_RESTORED, "Node/w", "the sentinel's record goes on"),
        (8, Kind.TARGET_LOST, "Node/w → istiod 10.2.0.5:15012", "timed out"),
    ]


def test_what_came_back_in_a_gap_is_told_to_who_has_heard_of_its_death() -> None:
    told = Told().sample(3, **at(TARGET, "t"))
    told.n += 5
    assert told.sample(3).kinds()[-1] == (8, Kind.TARGET_RESTORED)


def test_samples_that_fail_on_both_sides_of_a_gap_are_no_row() -> None:
    told = Told().sample(3).sample(2, **at(TARGET, "t"))
    told.n += 1
    told.sample(2, **at(TARGET, "t")).sample(3)
    assert told.kinds() == [(5, Kind.OBSERVATION_LOST), (6, Kind.OBSERVATION_RESTORED)]


def test_a_sample_that_is_late_by_more_than_a_round_is_a_gap_though_it_bears_the_next_number() -> None:
    watch = NodeWatch("w")
    width = len(head().signals)
    entries = (
        head(),
        Sample(0, 100.0, "+" * width),
        Sample(1, 102.4, "+" * width),
        Sample(2, 105.0, "+" * width),
    )
    said = [(at_s, note.kind, note.detail) for each in entries for _, at_s, note in watch.take(each)]
    assert said == [
        (103.4, Kind.OBSERVATION_LOST, "no sample for 2.6 s"),
        (105.0, Kind.OBSERVATION_RESTORED, "the sentinel's record goes on"),
    ]


def test_a_sentinel_that_was_started_anew_leaves_a_gap_however_quick_it_was() -> None:
    told = Told().sample(3)
    again = head(at_s=103.1, lost="2 samples were lost on a full disk")
    told.begin(again)
    said = told.watch.take(Sample(0, 103.2, "+" * told.width))
    assert [(at_s, note.kind, note.detail) for _, at_s, note in said] == [
        (103.0, Kind.OBSERVATION_LOST, "the sentinel was restarted; 2 samples were lost on a full disk"),
        (103.2, Kind.OBSERVATION_RESTORED, "the sentinel's record goes on"),
    ]


def test_a_node_that_was_started_anew_is_dated_by_each_boots_own_clock() -> None:
    told = Told().sample(3, **at(TARGET, "t"))
    after = head(boot="two", at_s=4.0)
    told.begin(after)
    said = [each for n in range(3) for each in told.watch.take(Sample(n, 5.0 + n, "+" * told.width))]
    assert [(each.boot, at_s, note.kind, note.detail) for each, at_s, note in said] == [
        ("one", 103.0, Kind.OBSERVATION_LOST, "the node was restarted"),
        ("two", 4.0, Kind.NODE_REBOOTED, "its sentinel's record goes on in another boot"),
        ("two", 5.0, Kind.OBSERVATION_RESTORED, "the sentinel's record goes on"),
        ("two", 5.0, Kind.TARGET_RESTORED, "open"),
    ]


def test_another_plan_is_no_gap_and_what_stays_in_it_keeps_its_state() -> None:
    told = Told().sample(3, **at(TARGET, "t"), **at(ROUTE, "-"))
    moved = replace(
        PLAN, dns_servers=PLAN.dns_servers[:1], routes=(Named(target="10.244.0.7", label="b on cp"),)
    )
    told.begin(head(moved, at_s=102.9)).sample(3, **at(3, "t"), **at(7, "-"))
    assert told.news[2:] == [
        (
            pytest.approx(2.9),
            Kind.OBSERVATION_LOST,
            "Node/w → coredns-a on w 10.244.1.2 (routes)",
            "no longer watched: not in the plan",
        ),
        (3, Kind.ROUTE_LOST, "Node/w → b on cp 10.244.0.7", "no route of its own leads there"),
    ]


def test_the_end_of_a_record_before_the_end_of_the_run_is_told() -> None:
    told = Told().sample(3)
    assert told.watch.close(104.0) == ()
    ((_, at_s, note),) = told.watch.close(110.0)
    assert (at_s, note.kind, note.object) == (103.0, Kind.OBSERVATION_LOST, "Node/w")
    ((_, at_s, note),) = Told().watch.close(110.0)
    assert (at_s, note.detail) == (100.0, "the sentinel's record has no sample")
    assert NodeWatch("w").close(110.0) == ()


def test_a_record_that_ends_with_a_reboot_ends_where_it_was_last_seen() -> None:
    told = Told().sample(3)
    told.begin(head(boot="two", at_s=4.0))
    ((before, at_s, note),) = told.watch.close(5.0)
    assert (before.boot, at_s, note.kind) == ("one", 103.0, Kind.OBSERVATION_LOST)


def test_what_comes_and_goes_is_said_once_a_minute_and_when_it_is_over() -> None:
    told = Told().sample(3)
    for _ in range(20):
        told.sample(3, **at(BGP, "-")).sample(3)
    told.sample(70)
    sessions = [(at_s, kind, detail) for at_s, kind, name, detail in told.news if "172.18.0.5" in name]
    assert sessions[6:] == [
        (21, Kind.BGP_LOST, "flapping: changed 7 times within a minute, said once a minute"),
        (75, Kind.BGP_LOST, "flapping: changed 19 times within a minute, said once a minute"),
        (117, Kind.BGP_LOST, "flapping: changed 13 times within a minute, said once a minute"),
        (120, Kind.BGP_RESTORED, "established"),
    ]


def test_dns_that_dies_no_more_but_still_loses_lookups_is_degraded_since_it_was_last_dead() -> None:
    told = Told().sample(3)
    for _ in range(4):
        told.sample(3, **at(UDP, "t"), **at(KEPT, "t")).sample(3)
    for _ in range(40):
        told.sample(1, **at(UDP, "t"), **at(KEPT, "t")).sample(3)
    dns = [(at_s, kind, "flapping" in detail) for at_s, kind, name, detail in told.news if name == "Node/w"]
    assert [each for each in dns if each[1] in (Kind.DNS_DEGRADED, Kind.DNS_DEAD) and each[0] >= 15] == [
        (15, Kind.DNS_DEGRADED, True),
        (15, Kind.DNS_DEAD, False),
        (21, Kind.DNS_DEAD, True),
        (24, Kind.DNS_DEGRADED, True),
    ]


def test_marks_that_are_missing_or_not_understood_are_unknown() -> None:
    told = Told()
    for n in range(3):
        told._hear(told.watch.take(Sample(n, 100.0 + n, "+" * (told.width - 2) + "§")))
    assert [(kind, name) for _, kind, name, _ in told.news] == [
        (Kind.OBSERVATION_LOST, "Node/w → 172.18.0.5 (bgp)"),
        (Kind.OBSERVATION_LOST, "Node/w → coredns-a on w 10.244.1.2 (routes)"),
    ]


def test_a_sample_that_nobody_knows_the_meaning_of_is_nothing() -> None:
    assert NodeWatch("w").take(Sample(0, 1.0, "ttt")) == ()


def test_a_hundred_nodes_are_watched_in_a_fraction_of_the_time_that_they_take() -> None:
    told = Told()
    started_s = time.process_time()
    told.sample(3600)
    assert time.process_time() - started_s < 0.36
