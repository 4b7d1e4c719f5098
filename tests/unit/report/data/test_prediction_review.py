"""A run beside its own rehearsal: what came true in time, what did not, and what nobody foresaw."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from runs import run

from chaosext.model.timeline import Event, Kind, Predicted
from chaosext.report.data.prediction_review import hindsight, hindsight_lines
from chaosext.report.data.run_data import read_run

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.report.data.prediction_review import Hindsight

NODE = "Node/worker-1"


def seen(t_s: float, kind: Kind, name: str = NODE, detail: str = "") -> Event:
    return Event(t_s=t_s, kind=kind, object=name, detail=detail, source="tests")


def foreseen(
    low_s: float, high_s: float, kind: Kind, name: str = NODE, detail: str = "", probability: float = 1.0
) -> Predicted:
    event = seen((low_s + high_s) / 2, kind, name, detail)
    return Predicted(event=event, t_min_s=low_s, t_max_s=high_s, probability=probability)


def beside(expected: list[Predicted], events: list[Event]) -> Hindsight:
    data = run("deviated-rollback-verified")
    whole = (seen(0.0, Kind.CUT, "Node/cp-1"), *events, seen(500.0, Kind.STEADY, "Cluster"))
    found = hindsight(
        replace(
            data, prediction=tuple(expected), result=replace(data.result, events=whole), forecast="deviated"
        )
    )
    assert found
    return found


def test_what_comes_in_its_range_or_a_little_beside_it_came_true() -> None:
    expected = [foreseen(40, 50, Kind.NODE_NOT_READY), foreseen(100, 110, Kind.NODE_READY)]
    found = beside(expected, [seen(37.5, Kind.NODE_NOT_READY), seen(120, Kind.NODE_READY)])
    assert (found.right, found.late, found.missing, found.surprises) == (2, (), (), ())


@pytest.mark.parametrize(("t_s", "word"), [(20.0, "earlier"), (80.0, "later")])
def test_what_comes_at_another_time_is_said_with_its_time(t_s: float, word: str) -> None:
    found = beside([foreseen(40, 50, Kind.NODE_NOT_READY)], [seen(t_s, Kind.NODE_NOT_READY)])
    assert [when for _, when in found.late] == [t_s]
    lines = list(hindsight_lines(found))
    assert lines[0].startswith("prediction: 0 of 1 expected events came true in time; predicted deviated")
    said = "20s" if word == "earlier" else "1m20s"
    assert lines[1] == f"  {word} than expected: node_not_ready of {NODE} after {said}, not 40s to 50s"


def test_what_does_not_come_is_missing_where_somebody_looked() -> None:
    expected = [foreseen(40, 50, Kind.NODE_NOT_READY), foreseen(40, 50, Kind.XDS_LOST, "Service/i/istiod")]
    found = beside(expected, [seen(45, Kind.NODE_READY, "Node/worker-2")])
    assert [each.event.kind for each in found.missing] == [Kind.NODE_NOT_READY]
    assert "seen, but not expected: node_ready of Node/worker-2 after 45s" in "\n".join(
        hindsight_lines(found)
    )


def test_what_was_unlikely_is_neither_expected_nor_a_surprise() -> None:
    rare = [foreseen(40, 50, Kind.POD_EVICTED, "Pod/a/x", probability=0.1)]
    assert beside(rare, []).expectations == 0
    assert beside(rare, [seen(45, Kind.POD_EVICTED, "Pod/a/x")]).surprises == ()


def test_after_a_heal_that_came_later_everything_may_come_as_much_later() -> None:
    expected = [foreseen(100, 100, Kind.HEAL, "Node/cp-1"), foreseen(101, 110, Kind.NODE_READY)]
    found = beside(expected, [seen(200, Kind.HEAL, "Node/cp-1"), seen(205, Kind.NODE_READY)])
    assert (found.right, found.late) == (1, ())
    in_time = beside(expected, [seen(200, Kind.HEAL, "Node/cp-1"), seen(105, Kind.NODE_READY)])
    assert len(in_time.late) == 1


def test_a_pod_that_did_not_exist_yet_is_known_by_its_owner() -> None:
    expected = [foreseen(40, 50, Kind.POD_READY, "Pod/shop/cart-6c9f7d5b8-*")]
    assert beside(expected, [seen(45, Kind.POD_READY, "Pod/shop/cart-6c9f7d5b8-x2x4z")]).right == 1
    assert beside(expected, [seen(45, Kind.POD_READY, "Pod/shop/other-6c9f7d5b8-x2x4z")]).right == 0


def test_each_of_a_nodes_taints_is_one_of_its_own() -> None:
    prefix = "node.kubernetes.io/unreachable:"
    expected = [
        foreseen(40, 50, Kind.NODE_TAINTED, detail=f"{prefix}NoSchedule"),
        foreseen(300, 310, Kind.NODE_TAINTED, detail=f"{prefix}NoExecute"),
    ]
    found = beside(expected, [seen(45, Kind.NODE_TAINTED, detail=f"{prefix}NoSchedule")])
    assert found.right == 1
    assert [each.event.detail for each in found.missing] == [f"{prefix}NoExecute"]


def test_what_one_event_explains_is_not_another_ones_delay() -> None:
    expected = [foreseen(0, 1, Kind.DNS_DEAD), foreseen(300, 301, Kind.DNS_DEAD)]
    found = beside(expected, [seen(0.5, Kind.DNS_DEAD)])
    assert (found.right, found.late, len(found.missing)) == (1, (), 1)


def test_what_lies_after_the_end_of_the_run_is_not_expected() -> None:
    assert beside([foreseen(600, 610, Kind.NODE_READY)], []).expectations == 0


def test_many_differences_are_counted_not_listed() -> None:
    expected = [foreseen(40, 50, Kind.NODE_NOT_READY, f"Node/worker-{at}") for at in range(20)]
    lines = list(hindsight_lines(beside(expected, [seen(45, Kind.NODE_READY, "Node/worker-99")])))
    assert "  … and 14 more" in lines


def test_without_a_rehearsal_or_a_cut_there_is_nothing_to_say() -> None:
    data = run("deviated-rollback-verified")
    assert hindsight(replace(data, prediction=())) is None
    uncut = replace(data.result, events=())
    assert hindsight(replace(data, result=uncut, prediction=(foreseen(1, 2, Kind.HEAL),))) is None


def test_pods_of_kube_system_that_nobody_watches_are_not_missed() -> None:
    dns, proxy = "Pod/kube-system/coredns-66bc5c9577-aaaaa", "Pod/kube-system/kube-proxy-bbbbb"
    found = beside(
        [foreseen(20, 25, Kind.POD_READY, proxy), foreseen(20, 25, Kind.POD_READY, dns)],
        [seen(5.0, Kind.POD_EVICTED, dns)],
    )
    assert [each.event.object for each in found.missing] == [dns]


def test_each_pods_xds_is_no_surprise_beside_that_of_all() -> None:
    found = beside(
        [foreseen(5, 9, Kind.NODE_READY)],
        [seen(5.0, Kind.XDS_LOST, "Pod/shop/cart-1"), seen(6.0, Kind.CRASH_LOOP, "Pod/shop/cart-1")],
    )
    assert [each.kind for each in found.surprises] == [Kind.CRASH_LOOP]


@pytest.mark.parametrize(
    ("said", "forecast", "unobserved"),
    [
        ({"verdict": "deviated", "self_heals": True}, "passed", "a lost quorum"),
        ({"verdict": "deviated", "self_heals": None}, "unknown", "a lost quorum"),
        ({"verdict": "deviated", "self_heals": False}, "deviated", ""),
        ({"verdict": "deviated"}, "deviated", ""),
        ({"verdict": "passed", "self_heals": True}, "passed", ""),
        ({"verdict": "unknown", "self_heals": None}, "unknown", ""),
    ],
)
def test_only_what_a_run_observes_is_compared(
    tmp_path: Path, said: dict[str, object], forecast: str, unobserved: str
) -> None:
    """A rehearsal deviates if a quorum is lost, though everything heals; no check of a run sees that."""
    event = {"t_s": 0.0, "kind": "cut", "object": "Node/cp-1", "detail": "", "source": "tests"}
    (tmp_path / "timeline.jsonl").write_text(json.dumps(event) + "\n")
    expected = {**event, "kind": "node_not_ready", "t_min_s": 0.0, "t_max_s": 1.0, "probability": 1.0}
    rehearsal = {"schema": "chaosext.rehearsal/v1", "timeline": [expected], **said}
    (tmp_path / "rehearsal.json").write_text(json.dumps(rehearsal))
    found = hindsight(read_run(tmp_path))
    assert found
    assert (found.forecast, found.unobserved) == (forecast, unobserved)
    lines = list(hindsight_lines(found))
    assert f"predicted {forecast}, observed" in lines[0]
    assert any("which no check of a run observes" in line for line in lines) is bool(unobserved)
