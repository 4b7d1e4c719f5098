"""The oracle's judge, calibration and recordings: what is wrong is called wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from chaosext.model.timeline import Event, Kind
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.prediction import Dns, PredictedEvent, Prediction
from oracle import judge
from oracle.calibration import Calibration, calibrations, reliability
from oracle.judge import compare, outcome
from oracle.manifests import kube_dns, node
from oracle.recording import Recording
from oracle.scenarios import SCENARIOS
from oracle.zonelog import zone_states

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.manifests import Manifest


def ready(made: Manifest) -> Manifest:
    """As it is once its kubelet has reported."""
    return {**made, "status": {**made["status"], "conditions": [{"type": "Ready", "status": "True"}]}}


NODES = {
    "kind": "NodeList",
    "apiVersion": "v1",
    "items": [ready(node("cp-1", control_plane=True)), ready(node("worker-1")), ready(node("worker-2"))],
}
SEEN = Event(t_s=21.0, kind=Kind.NODE_NOT_READY, object="Node/worker-1", detail="Ready is Unknown", source="")


def recording(*events: Event, **changed: object) -> Recording:
    given: dict[str, object] = {
        "scenario": "tiny, of 2",
        "seed": 7,
        "cut_nodes": ("worker-1",),
        "cut_for_s": 60.0,
        "watched_s": 70.0,
        "controller_manager_flags": ("--node-monitor-grace-period=20s",),
        "apiserver_flags": (),
        "late_s": 0.0,
        "dns_hosts": ("worker-2",),
        "snapshot": (NODES, {"kind": "ServiceList", "apiVersion": "v1", "items": kube_dns()[:1]}),
        "events": events,
        **changed,
    }
    return Recording(**given)  # type: ignore[arg-type]


def predicted(**changed: object) -> Prediction:
    """One certain line, about `SEEN`, in a prediction otherwise real."""
    line = PredictedEvent(
        t_s=20.0,
        t_min_s=15.0,
        t_max_s=22.0,
        probability=1.0,
        kind=SEEN.kind,
        object=SEEN.object,
        detail=SEEN.detail,
        source="",
    )
    made = recording()
    return replace(rehearse(made.world, made.plan), timeline=(replace(line, **changed),))  # type: ignore[arg-type]


def misses(prediction: Prediction, *events: Event) -> tuple[str, ...]:
    return compare(recording(*events), prediction).misses


def test_what_comes_in_its_time_is_no_miss() -> None:
    assert misses(predicted(), SEEN) == ()


@pytest.mark.parametrize(("t_s", "count"), [(13.4, 1), (13.6, 0), (23.4, 0), (23.6, 1)])
def test_a_time_may_lie_a_second_and_a_half_outside_its_range(t_s: float, count: int) -> None:
    assert len(misses(predicted(), replace(SEEN, t_s=t_s))) == count


def test_what_was_not_predicted_is_a_miss() -> None:
    other = replace(SEEN, object="Node/worker-2")
    assert [each for each in misses(predicted(), SEEN, other) if "worker-2" in each]


def test_what_comes_more_often_than_predicted_is_a_miss() -> None:
    assert len(misses(predicted(), SEEN, SEEN)) == 1


def test_what_was_certain_and_never_came_is_a_miss() -> None:
    assert len(misses(predicted())) == 1


@pytest.mark.parametrize("change", [{"probability": 0.9}, {"t_max_s": 69.0}])
def test_what_may_not_come_or_may_come_later_is_no_miss(change: dict[str, float]) -> None:
    assert misses(predicted(**change)) == ()


def test_a_pod_on_a_node_that_was_not_among_the_possible_is_a_miss() -> None:
    bound = replace(SEEN, kind=Kind.POD_BOUND, object="Pod/shop/cart-1-abcde", detail="to worker-2")
    line = {"kind": Kind.POD_BOUND, "object": "Pod/shop/cart-1-*"}
    assert misses(predicted(**line, nodes={"worker-2": 1.0}), bound) == ()
    assert len(misses(predicted(**line, nodes={"cp-1": 1.0}), bound)) == 1


def test_taints_are_told_apart_by_their_effect() -> None:
    tainted = replace(SEEN, kind=Kind.NODE_TAINTED, detail="node.kubernetes.io/unreachable:NoSchedule")
    line = {"kind": Kind.NODE_TAINTED, "detail": "node.kubernetes.io/unreachable:NoExecute"}
    assert len(misses(predicted(**line), tainted)) == 2


@pytest.mark.parametrize(
    ("hosts", "state"),
    [
        ((), Dns.DEAD),
        (("cp-1",), Dns.DEAD),
        (("cp-1", "worker-1"), Dns.PARTIAL),
        (("worker-1", "worker-1"), Dns.RESOLVABLE),
    ],
)
def test_dns_is_as_good_as_the_nodes_that_it_is_announced_from(hosts: tuple[str, ...], state: Dns) -> None:
    assert outcome(recording(dns_hosts=hosts)) is state


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = recording(SEEN)
    file = made.save(tmp_path)
    assert file.name == "tiny-of-2.7.json.gz"
    assert Recording.load(file) == made
    assert made.save(tmp_path / "again").read_bytes() == file.read_bytes()


def test_a_recording_of_another_version_is_named_after_it(tmp_path: Path) -> None:
    made = recording(SEEN, kubernetes="v1.37.2")
    assert made.save(tmp_path).name == "tiny-of-2-v1-37-2.7.json.gz"
    assert Recording.load(tmp_path / "tiny-of-2-v1-37-2.7.json.gz").kubernetes == "v1.37.2"
    assert compare(made, predicted()).scenario == "tiny, of 2, v1.37.2"


def test_pods_that_a_prediction_only_counts_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = replace(SEEN, kind=Kind.POD_NOT_READY, object="Pod/shop/cart-1")
    assert len(misses(predicted(), SEEN, lost)) == 1
    monkeypatch.setattr(judge, "WATCH_ALL_PODS", -1)
    assert misses(predicted(), SEEN, lost) == ()
    assert len(misses(predicted(), replace(SEEN, object="Node/worker-2"))) == 2


@pytest.mark.parametrize(
    ("count", "of", "probability", "holds"),
    [(10, 20, 0.5, True), (3, 20, 0.5, False), (20, 20, 1.0, True), (19, 20, 1.0, False), (1, 1, 0.02, True)],
)
def test_a_count_that_chance_makes_too_rarely_is_a_miss(
    count: int, of: int, probability: float, holds: bool
) -> None:
    assert Calibration(what="", count=count, repeats=of, probability=probability).holds is holds


def test_each_outcome_of_each_scenario_is_counted() -> None:
    seen = compare(recording(SEEN), predicted())
    both = replace(seen, observed=Dns.DEAD, outcomes=((Dns.DEAD, 0.75), (Dns.PARTIAL, 0.25)))
    counted = calibrations([*[both] * 4, replace(both, observed=Dns.PARTIAL)])
    assert [(each.count, each.repeats, each.probability) for each in counted] == [(4, 5, 0.75), (1, 5, 0.25)]


def test_a_few_plays_say_nothing_about_frequencies() -> None:
    assert calibrations([compare(recording(SEEN), predicted())] * 4) == ()


def test_events_that_may_come_are_counted_by_their_probability() -> None:
    may, never = predicted(probability=0.7), predicted(probability=0.1)
    found = reliability(
        [compare(recording(SEEN), may), compare(recording(), may), compare(recording(), never)]
    )
    assert [(each.count, each.repeats, round(each.probability, 6)) for each in found] == [
        (0, 1, 0.1),
        (1, 2, 0.7),
    ]


def test_zone_states_are_read_from_the_controllers_own_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    prefix = '] "Controller detected that '
    log.write_text(
        f'I1123 14:56:00.000000 7 nlc.go:1067{prefix}zone is now in new state" zone="" newState="Normal"\n'
        f'I1123 14:57:10.500000 7 nlc.go:1067{prefix}zone is now in new state" logger="n" zone=":\\x00:a" '
        'newState="FullDisruption"\n'
        f'I1123 14:57:11.000000 7 nlc.go:1025{prefix}all Nodes are not-Ready. Entering master disruption mode"\n'
        'I1123 14:57:12.000000 7 other.go:1] "else"\n'
    )
    cut = _wall("2026-11-23 14:57:00")
    found = [(each.t_s, each.object, each.detail) for each in zone_states(log, cut, ("", "b"))]
    assert found == [
        (10.5, "Zone/a", "is FullDisruption"),
        (11.0, "Zone/(none)", "is FullDisruption"),
        (11.0, "Zone/b", "is FullDisruption"),
    ]


def test_every_scenario_cuts_nodes_that_it_has_and_can_be_told_apart() -> None:
    assert len(SCENARIOS) >= 30
    assert all(each.cut_nodes for each in SCENARIOS)
    names = {replace(recording(), scenario=each.name).name for each in SCENARIOS}
    assert len(names) == len(SCENARIOS)


def _wall(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
