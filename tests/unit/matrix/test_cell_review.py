"""A kept run beside its prediction: the outcome, what was lost when, and how often a probability came true."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from kept_cells import kept_cell

from chaosext.matrix.calibration import Calibration
from chaosext.matrix.cell_review import Accuracy, CellReview, repeated
from chaosext.model.timeline import Event, Kind
from chaosext.rehearsal.simulate.prediction import Dns
from chaosext.timeline.outages import outages

if TYPE_CHECKING:
    from chaosext.matrix.kept_runs import KeptRun

STORY = "calico-bgp/istio/coredns"
ONE, TWO = "chaosext-worker", "chaosext-worker2"


def with_events(kept: KeptRun, *events: Event, without: frozenset[Kind] = frozenset()) -> CellReview:
    """The run with more events, and without some; its outages follow."""
    left = [each for each in kept.timeline if each.kind not in without]
    timeline = tuple(sorted((*left, *events), key=lambda each: each.t_s))
    windows = {lane.value: dict(found) for lane, found in outages(timeline).items()}
    result = {
        **kept.result,
        "outages_s": windows,
        "dns_outages_s": windows.get("dns", {}),
        "unobserved_s": {},
    }
    return CellReview(replace(kept, timeline=timeline, result=result))


def seen(t_s: float, kind: Kind, name: str, detail: str = "") -> Event:
    return Event(t_s=t_s, kind=kind, object=name, detail=detail, source=f"sentinel on {ONE}")


def test_incident_is_dead_dns_that_does_not_heal() -> None:
    review = CellReview(kept_cell(STORY))
    assert review.cut_nodes == (ONE, TWO)
    assert (review.heals, review.dns_after, review.dns_during) == (False, Dns.DEAD, Dns.RESOLVABLE)
    assert (review.is_foreseen, review.is_verdict_right) == (True, True)
    assert review.kube_dns_moved_to == ("chaosext-control-plane",)
    assert len(review.not_ready) == 2
    assert review.evicted == 2


def test_run_that_passes_has_dns_after_the_heal() -> None:
    review = CellReview(kept_cell("flannel", "passed", outcomes={"resolvable": 1.0}, verdict="passed"))
    assert (review.heals, review.dns_after, review.is_foreseen) == (True, Dns.RESOLVABLE, True)
    assert review.stuck == ()


@pytest.mark.parametrize(
    ("outcomes", "foreseen"),
    [
        ({"dead": 0.01, "resolvable": 0.99}, True),
        ({"resolvable": 1.0}, False),
        ({"dead": 0.0, "resolvable": 1.0}, False),
        ({"unknown": 1.0}, False),
    ],
)
def test_only_a_predicted_outcome_with_a_probability_is_foreseen(
    outcomes: dict[str, float], foreseen: bool
) -> None:
    review = CellReview(kept_cell(STORY, outcomes=outcomes))
    assert review.is_foreseen is foreseen
    assert any("DNS dead after the heal" in each for each in review.misses) is not foreseen


def test_unknown_prediction_is_never_right() -> None:
    review = CellReview(kept_cell(STORY, outcomes={"unknown": 1.0}, verdict="unknown"))
    assert not review.is_foreseen
    assert not review.is_verdict_right


def test_dns_that_only_one_worker_has_is_partial() -> None:
    kept = kept_cell(STORY)
    back = seen(100.0, Kind.DNS_RESTORED, f"Node/{TWO}")
    assert with_events(kept, back).dns_after is Dns.PARTIAL


def test_dns_that_fails_now_and_then_is_partial() -> None:
    events = [
        seen(60.0 + 10 * turn + shift, kind, f"Node/{node}")
        for node in (ONE, TWO)
        for turn in range(7)
        for shift, kind in ((0.0, Kind.DNS_RESTORED), (4.0, Kind.DNS_DEGRADED))
    ]
    assert with_events(kept_cell(STORY), *events).dns_after is Dns.PARTIAL


@pytest.mark.parametrize(
    ("answered", "state"), [("0 of 80", Dns.DEAD), ("49 of 80", Dns.PARTIAL), ("80 of 80", Dns.RESOLVABLE)]
)
def test_lookups_of_many_names_outdo_the_one_name_that_a_cache_may_know(answered: str, state: Dns) -> None:
    kept = kept_cell(STORY)
    rules = [
        each | {"reason": f"dns_resolvable: {answered} lookups answered, from 2 nodes"}
        if each["rule"] == "after"
        else each
        for each in kept.result["rules"]
    ]
    assert CellReview(replace(kept, result={**kept.result, "rules": rules})).dns_after is state


def test_dns_that_is_lost_while_the_cut_lasts_is_said_with_its_time() -> None:
    lost = [seen(30.0 + turn, Kind.DNS_DEAD, f"Node/{node}") for turn, node in enumerate((ONE, TWO))]
    review = with_events(kept_cell(STORY), *lost)
    assert (review.dns_during, review.dns_lost_s) == (Dns.DEAD, 30.0)


def test_dns_outage_after_the_heal_is_counted_from_the_heal_to_the_rollback() -> None:
    review = CellReview(kept_cell(STORY))
    assert review.dns_outage_s == pytest.approx(131.0 - 55.0)


@pytest.mark.parametrize(
    ("name", "t_s", "counts"),
    [
        (f"Node/{ONE} → coredns-x on {TWO} 10.244.2.3:53/udp", 40.0, True),
        (f"Node/{ONE} → coredns-x on {TWO} 10.244.2.3:53/udp", 0.4, False),
        (f"Node/{ONE} → coredns-x on {TWO} 10.244.2.3:53/udp", 60.0, False),
        (f"Node/{ONE} → coredns-x on {ONE} 10.244.1.3:53/udp", 40.0, False),
        (f"Node/{ONE} → coredns-x on chaosext-control-plane 10.244.0.7:53/udp", 40.0, False),
        (f"Node/{ONE} → API server 172.18.0.2:6443", 40.0, False),
    ],
)
def test_only_pods_between_cut_nodes_lost_during_the_cut_are_lost_routes(
    name: str, t_s: float, counts: bool
) -> None:
    review = with_events(
        kept_cell(STORY), seen(t_s, Kind.TARGET_LOST, name), without=frozenset({Kind.TARGET_LOST})
    )
    assert (review.routes_lost_s is not None) is counts


def test_accuracy_counts_runs_outcomes_verdicts_and_events() -> None:
    right = CellReview(kept_cell(STORY))
    wrong = CellReview(kept_cell("flannel", outcomes={"resolvable": 1.0}, verdict="passed"))
    found = Accuracy.of([right, wrong])
    assert (found.runs, found.foreseen, found.verdicts) == (2, 1, 1)
    assert found.expected == right.hindsight.expectations + wrong.hindsight.expectations > 0


def test_probabilities_are_judged_from_five_repeats_on() -> None:
    four = [CellReview(kept_cell(STORY, number=number)) for number in range(1, 5)]
    assert repeated(four) == ()
    found = {each.what: each for each in repeated([*four, CellReview(kept_cell(STORY, number=5))])}
    dead = found[f"{STORY}: DNS dead after the heal"]
    assert (dead.count, dead.repeats, dead.holds) == (5, 5, True)
    assert dead.probability == pytest.approx(0.9)


def test_outcome_that_was_never_predicted_breaks_the_calibration() -> None:
    reviews = [
        CellReview(kept_cell(STORY, outcomes={"resolvable": 1.0}, number=number)) for number in range(1, 6)
    ]
    assert not any(each.holds for each in repeated(reviews))


@pytest.mark.parametrize(
    ("count", "probability", "holds"), [(10, 1.0, True), (9, 1.0, False), (9, 0.98, True), (2, 0.9, False)]
)
def test_a_count_holds_unless_its_probability_makes_it_a_surprise(
    count: int, probability: float, holds: bool
) -> None:
    assert Calibration(what="", count=count, repeats=10, probability=probability).holds is holds
