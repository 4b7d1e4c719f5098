"""The record and the plan of a sentinel: what is written is what is read."""

from __future__ import annotations

import json

import pytest

from chaosext.model.findings import Status
from chaosext.model.signal import MEANING, Mark, Sample, Signal, StreamHead, Watched
from chaosext.sentinel.sample_log import head_line, parse_line, parse_record, sample_line
from chaosext.sentinel.watch_plan import Named, Sidecar, WatchPlan

PLAN = WatchPlan(
    run="r1",
    dns_name="kubernetes.default.svc.cluster.local",
    dns_expected=("10.2.112.1",),
    dns_servers=(Named(target="10.2.112.10", label="kube-dns"),),
    tcp=(Named(target="172.18.0.3:6443", label="api-server"),),
    sidecars=(
        Sidecar(node="a", pod="Pod/shop/cart", address="10.244.1.2"),
        Sidecar(node="b", pod="Pod/shop/till", address="10.244.2.2"),
    ),
    bgp_peers={"a": ("172.18.0.5",)},
    routes=(Named(target="10.244.1.9", label="Pod/kube-system/coredns-x"),),
)


def test_a_node_watches_what_is_its_own() -> None:
    assert [(each.kind.value, each.target) for each in PLAN.signals("a")] == [
        ("dns_udp", "10.2.112.10"),
        ("dns_udp_kept", "10.2.112.10"),
        ("dns_tcp", "10.2.112.10"),
        ("tcp", "172.18.0.3:6443"),
        ("sidecar_ready", "Pod/shop/cart"),
        ("sidecar_xds", "Pod/shop/cart"),
        ("bgp", "172.18.0.5"),
        ("route", "10.244.1.9"),
    ]
    assert not any(each.kind is Watched.BGP for each in PLAN.signals("b"))


@pytest.mark.parametrize("node", ["a", "b", "c"])
def test_a_node_s_own_part_of_a_plan_watches_the_same_and_names_no_other_node(node: str) -> None:
    mine = PLAN.only(node)
    assert mine.signals(node) == PLAN.signals(node)
    assert {each.node for each in mine.sidecars} | set(mine.bgp_peers) <= {node}


def test_a_plan_survives_its_json() -> None:
    assert WatchPlan.parse(json.dumps(PLAN.to_json())) == PLAN


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema":"other"}', '{"schema":"chaosext.sentinel-plan/v1"}']
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no plan"):
        WatchPlan.parse(text)


def test_a_record_is_read_as_it_was_written() -> None:
    head = StreamHead(run="r1", node="a", boot="b1", mono_s=12.5, wall_s=1.7e9, signals=PLAN.signals("a"))
    sample = Sample(7, 13.5, "+++t++-+")
    assert list(parse_record([head_line(head), sample_line(sample)])) == [head, sample]


def test_a_torn_line_is_passed_over() -> None:
    lines = [sample_line(Sample(1, 1.0, "+")), '{"n":2,"t":2.0,"m', "", sample_line(Sample(3, 3.0, "+"))]
    assert [each.n for each in parse_record(lines) if isinstance(each, Sample)] == [1, 3]
    with pytest.raises(ValueError, match="no line"):
        parse_line("null")


def test_every_mark_has_a_meaning_and_unknown_is_never_healthy() -> None:
    assert set(MEANING) == set(Mark)
    assert [mark for mark in Mark if mark.status is Status.HEALTHY] == [Mark.GOOD]
    assert [mark for mark in Mark if mark.status is Status.UNKNOWN] == [Mark.UNKNOWN]


def test_a_signal_for_people() -> None:
    assert (
        str(Signal(kind=Watched.TCP, target="10.0.0.1:15012", label="istiod")) == "tcp istiod 10.0.0.1:15012"
    )
