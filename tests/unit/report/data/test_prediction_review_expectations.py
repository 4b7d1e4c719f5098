"""Expectations beside what came of them: also of Pods whose names nobody could know."""

from __future__ import annotations

from dataclasses import replace

from runs import RUNS
from stories import event

from chaosext.model.timeline import Kind, Predicted
from chaosext.report.data.prediction_review import foresight

REPLICAS = "Pod/kube-system/coredns-66bc5c9577-"


def observed(*lines: tuple[float, Kind, str], expected: list[str]) -> list[float | None]:
    run = RUNS["passed"]
    happened = tuple(event(t_s, kind, name, "") for t_s, kind, name in lines)
    predicted = tuple(
        Predicted(event=event(40.0, Kind.POD_BOUND, name, "", "rehearsal"), t_min_s=30.0, t_max_s=50.0)
        for name in expected
    )
    data = replace(run, result=replace(run.result, events=happened), prediction=predicted)
    return [each.observed_s for each in foresight(data)]


def test_a_pod_is_found_by_its_owner_and_the_second_expectation_is_about_the_second_pod() -> None:
    lines = [(44.0, Kind.POD_BOUND, f"{REPLICAS}wskcc"), (55.0, Kind.POD_BOUND, f"{REPLICAS}q8t6h")]
    assert observed(*lines, expected=[f"{REPLICAS}*"] * 3) == [44.0, 55.0, None]


def test_a_pod_that_is_told_of_twice_is_one_pod() -> None:
    lines = [(44.0, Kind.POD_BOUND, f"{REPLICAS}wskcc"), (45.0, Kind.POD_BOUND, f"{REPLICAS}wskcc")]
    assert observed(*lines, expected=[f"{REPLICAS}*"] * 2) == [44.0, None]


def test_neither_another_kind_nor_another_owner_nor_what_was_before_the_cut_counts() -> None:
    lines = [
        (44.0, Kind.POD_READY, f"{REPLICAS}wskcc"),
        (44.0, Kind.POD_BOUND, "Pod/shop/cart-6c9f7d5b8-kx2vn"),
        (-4.0, Kind.POD_BOUND, f"{REPLICAS}vhhl4"),
    ]
    assert observed(*lines, expected=[f"{REPLICAS}*"]) == [None]


def test_a_node_s_taints_are_each_an_expectation_of_its_own() -> None:
    effects = {"NoSchedule": 40.2, "NoExecute": 60.0}
    taints = {effect: f"node.kubernetes.io/unreachable:{effect}" for effect in effects}
    expected = [event(40.0, Kind.NODE_TAINTED, "Node/w", taints[effect], "rehearsal") for effect in effects]
    happened = [event(t_s, Kind.NODE_TAINTED, "Node/w", taints[effect]) for effect, t_s in effects.items()]
    data = replace(
        RUNS["passed"],
        result=replace(RUNS["passed"].result, events=tuple(reversed(happened))),
        prediction=tuple(Predicted(event=each, t_min_s=30.0, t_max_s=70.0) for each in expected),
    )
    assert [each.observed_s for each in foresight(data)] == list(effects.values())
