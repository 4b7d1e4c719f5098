"""The chain of causes: every sentence has its evidence, and "because" is said only where the cause was seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from stories import CP, CUT, DEAD_SEEN, HEALED, MOVED, NO_WAY, ONE, STORIES, TWO, event, result, seen, verdict

from chaosext.model.timeline import ON_NODES, Event, Kind
from chaosext.model.verdict import Outcome
from chaosext.report.sentences.root_cause import Step, causes, chain_of_causes
from chaosext.report.sentences.what_to_do import what_to_do
from chaosext.timeline.outages import outages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaosext.model.result import RunResult

SEEN = STORIES["deviated-rollback-verified"]


def run(*events: Event) -> RunResult:
    return result(verdict(Outcome.DEVIATED, "dns_resolvable", verified=True), *events)


def without(kind: Kind, of: Iterable[Event] = SEEN.events) -> RunResult:
    return run(*(each for each in of if each.kind is not kind))


def test_whose_side_the_cut_was_on_is_told() -> None:
    def first(detail: str) -> str:
        (cut,) = (each for each in SEEN.events if each.kind is Kind.CUT)
        return causes(run(replace(cut, detail=detail), *without(Kind.CUT).events))[0].text

    assert first("drops 10.0.0.9/32").startswith("the control plane (")
    assert first(f"{ON_NODES}drops 10.0.0.9/32").endswith(
        "lost the control plane: the cut was on these nodes."
    )


def step(of: RunResult, kind: Kind, after_s: float = 0.0) -> Step:
    """The step that an event of `kind` is evidence of."""
    return next(
        each
        for each in causes(of)
        if each.t_s >= after_s and any(event.kind is kind for event in each.evidence)
    )


@pytest.mark.parametrize("story", STORIES)
def test_each_sentence_has_its_evidence_and_its_time(story: str) -> None:
    steps = causes(STORIES[story])
    assert [each.t_s for each in steps] == sorted(each.t_s for each in steps)
    for each in steps:
        assert each.evidence
        assert set(each.evidence) <= set(STORIES[story].events)
        assert min(event.t_s for event in each.evidence) <= each.t_s
        assert each.text.endswith((".", ")"))
    assert len(chain_of_causes(STORIES[story])) == len(steps)


def test_the_night_is_told_to_its_end() -> None:
    told = "\n".join(chain_of_causes(SEEN))
    for link in (
        f"kube-dns was re-created on {CP}, which has no BGP session",
        f"{ONE} and {TWO} had no route to kube-dns on {CP}",
        f"because kube-dns was on {CP} and there was no route to it",
        "Lookups timed out, not refused",
        f"On {CP} lookups were answered: kube-dns worked, the path to it did not",
        f"existing UDP sockets got no DNS answers on {ONE}",
        "reported ready on port 15021: a false green",
        "whose sidecars had no xDS",
        f"DNS worked again on {ONE} and {TWO}",
    ):
        assert link in told


def test_no_route_is_claimed_that_nobody_saw_missing() -> None:
    story = without(Kind.ROUTE_LOST)
    assert not any("no route" in each.text for each in causes(story))
    assert f": by then kube-dns was on {CP}, without a BGP session." in step(story, Kind.DNS_DEAD, 54).text


def test_a_route_that_was_back_by_then_is_no_cause() -> None:
    back = [replace(each, kind=Kind.ROUTE_RESTORED, t_s=53.0) for each in NO_WAY]
    story = run(*CUT, *MOVED, *NO_WAY, *back, *HEALED, *DEAD_SEEN)
    assert "no route" not in step(story, Kind.DNS_DEAD, 54).text


def test_a_route_that_only_some_were_seen_without_is_told_of_those() -> None:
    story = run(
        *(each for each in SEEN.events if each.kind is not Kind.ROUTE_LOST or ONE + " " in each.object)
    )
    assert f"without a BGP session; {ONE} had no route to it." in step(story, Kind.DNS_DEAD, 54).text


def test_kube_dns_is_blamed_for_nothing_when_it_is_where_it_should_be() -> None:
    story = run(*CUT, *HEALED, *DEAD_SEEN)
    text = step(story, Kind.DNS_DEAD, 54).text
    assert text.startswith(f"DNS stopped working on {ONE} and {TWO}. ")
    assert "kube-dns" not in text


def test_a_node_that_died_too_did_not_get_answers() -> None:
    also = seen(55.0, Kind.DNS_DEAD, CP, f"Node/{CP}", "10.2.112.10:53/udp timed out")
    story = run(*CUT, *MOVED, *NO_WAY, *HEALED, *DEAD_SEEN, also)
    assert "lookups were answered" not in step(story, Kind.DNS_DEAD, 54).text


def test_a_node_that_nobody_observed_is_not_said_to_get_answers() -> None:
    blind = seen(50.0, Kind.OBSERVATION_LOST, CP, f"Node/{CP}", "the sentinel's record ends here")
    text = step(run(*SEEN.events, blind), Kind.DNS_DEAD, 54).text
    assert "lookups were answered" not in text
    assert f"{CP} was not observed then (from 50s on)." in text


def test_refused_is_told_from_timed_out() -> None:
    refused = [replace(each, detail=each.detail.replace("timed out", "refused")) for each in DEAD_SEEN]
    text = step(run(*CUT, *HEALED, *refused), Kind.DNS_DEAD).text
    assert "Lookups were refused: the host was there" in text
    mixed = [*refused[:2], *DEAD_SEEN[2:]]
    assert "Lookups" not in step(run(*CUT, *HEALED, *mixed), Kind.DNS_DEAD).text


def test_only_a_cut_node_is_said_to_be_cut_off() -> None:
    dead = seen(5.0, Kind.DNS_DEAD, ONE, f"Node/{ONE}", "10.2.112.10:53/udp timed out")
    text = step(run(*CUT, dead), Kind.DNS_DEAD).text
    assert text.startswith(f"DNS stopped working on {ONE} while the cut was active.")
    assert ", cut off from kube-dns." in step(SEEN, Kind.DNS_DEAD).text


def test_sidecars_are_said_to_lack_what_was_seen_missing_on_their_nodes() -> None:
    assert "whose name did not resolve" in step(SEEN, Kind.XDS_LOST, 61).text
    lost = [
        seen(58.0, Kind.TARGET_LOST, node, f"Node/{node} → istiod 10.2.0.15:15012", "timed out")
        for node in (ONE, TWO)
    ]
    assert "which was unreachable" in step(run(*SEEN.events, *lost), Kind.XDS_LOST, 61).text
    alive = without(Kind.DNS_DEAD)
    assert step(alive, Kind.XDS_LOST, 61).text.startswith("2 sidecars lost istiod.")


def test_probes_are_refused_for_no_reason_where_nobody_saw_one() -> None:
    assert "refused by 2 Pods (first" in step(without(Kind.XDS_LOST), Kind.PROBE_FAILING).text


def test_dns_that_was_last_seen_dead_is_not_called_back() -> None:
    blind = [
        seen(60.0, Kind.OBSERVATION_LOST, node, f"Node/{node}", "the sentinel's record ends here")
        for node in (ONE, TWO)
    ]
    steps = causes(run(*CUT, *HEALED, *DEAD_SEEN, *blind))
    assert not any("was back" in each.text and "DNS" in each.text for each in steps)
    assert steps[-1].text == f"the run was over, and DNS was not seen to work again on {ONE} and {TWO}."


def test_what_nobody_observed_is_told() -> None:
    half = STORIES["deviated-half-seen"]
    assert step(half, Kind.OBSERVATION_LOST).text == (
        f"{TWO} was not observed until 1m15.9s: the sentinel was restarted."
    )
    many = [
        seen(3.0, Kind.OBSERVATION_LOST, f"n{index}", f"Node/n{index}", "5 samples are missing")
        for index in range(60)
    ]
    blind = [each for each in causes(run(*CUT, *many)) if each.evidence[0].kind is Kind.OBSERVATION_LOST]
    assert [each.text for each in blind] == [
        "n0, n1, n2, n3, n4, n5 and 54 more were not observed: 60 times, for 27m30s in total."
    ]


def test_a_gap_too_short_to_hide_an_outage_is_no_link_of_the_chain() -> None:
    short = (
        seen(170.0, Kind.OBSERVATION_LOST, TWO, f"Node/{TWO}", "1 sample is missing"),
        seen(171.0, Kind.OBSERVATION_RESTORED, TWO, f"Node/{TWO}", "the sentinel's record goes on"),
    )
    story = run(*SEEN.events, *short)
    assert story.unobserved == {TWO: ((170.0, 171.0),)}
    assert chain_of_causes(story) == chain_of_causes(SEEN)
    assert not any("nobody observed" in line for line in what_to_do(story))


def test_a_pod_that_is_no_endpoint_any_more_is_missed_by_nobody() -> None:
    old = seen(
        56.0, Kind.ROUTE_LOST, TWO, f"Node/{TWO} → coredns-old on {ONE} 10.244.1.2", "no route of its own"
    )
    assert chain_of_causes(run(*SEEN.events, old)) == chain_of_causes(SEEN)


def test_advice_follows_what_outlasts_a_recovery() -> None:
    told = "\n".join(what_to_do(SEEN))
    assert f"After a cutover, on nodes such as {ONE}: restart clients that keep a UDP socket" in told
    assert "Don't trust a sidecar's readiness (port 15021)" in told
    half = "\n".join(what_to_do(STORIES["deviated-half-seen"]))
    assert f"Now, on {ONE}: restart clients" in half
    assert f"Don't assume that {TWO} stayed healthy while unobserved (48.4s to 1m15.9s)" in half


def test_a_run_that_passed_unseen_is_not_called_nothing_to_do() -> None:
    passed = STORIES["passed"]
    assert what_to_do(passed)[0].startswith("None.")
    assert not any(
        line.startswith("Nothing") for line in what_to_do(replace(passed, unobserved={"w": ((1.0, None),)}))
    )


def test_before_there_were_sentinels_the_chain_was_as_readable() -> None:
    old = STORIES["deviated-rollback-not-verified"]
    assert (
        f"DNS stopped working on {ONE} and {TWO}: by then kube-dns was on {CP}"
        in step(old, Kind.DNS_DEAD).text
    )
    assert outages(old.events) == old.outages


def test_a_session_that_went_down_is_told_with_its_peers() -> None:
    lost = [
        seen(3.0, Kind.BGP_LOST, ONE, f"Node/{ONE} → 172.18.0.5", "not established"),
        event(3.5, Kind.BGP_LOST, f"Leaf/leaf → {ONE} 172.18.0.3", "Active", "leaf"),
    ]
    assert step(run(*CUT, *lost), Kind.BGP_LOST).text == (
        f"BGP sessions on {ONE} and leaf went down (with 172.18.0.5 and {ONE} 172.18.0.3)."
    )


def test_what_was_lost_during_the_cut_is_not_told_with_what_was_lost_after_it() -> None:
    shop = "→ shop/catalog 10.2.121.161:8080"
    during = seen(0.7, Kind.TARGET_LOST, CP, f"Node/{CP} {shop}", "timed out")
    after = seen(70.0, Kind.TARGET_LOST, ONE, f"Node/{ONE} {shop}", "timed out")
    told = [each.text for each in causes(run(*CUT, *HEALED, during, after)) if "connections" in each.text]
    assert len(told) == 2
    assert CP in told[0]
    assert ONE not in told[0]
    assert ONE in told[1]


def dns_dead(node: str, t_s: float) -> Event:
    return seen(t_s, Kind.DNS_DEAD, node, f"Node/{node}", "10.2.112.10:53/udp timed out")


def told_of(kind: Kind, *events: Event) -> list[str]:
    return [str(each) for each in causes(run(*events)) if any(event.kind is kind for event in each.evidence)]


def test_causes_bear_each_node_s_own_time() -> None:
    told = told_of(Kind.DNS_DEAD, CUT[0], dns_dead(CP, 0.7), dns_dead(ONE, 32.8))[:2]
    assert [line.partition(",")[0] for line in told] == [
        f"At 0.7s DNS stopped working on {CP}",
        f"At 32.8s DNS stopped working on {ONE} while the cut was active. Lookups timed out",
    ]


def test_causes_span_what_happened_at_many_moments() -> None:
    nodes = [f"worker-{n:02}" for n in range(12)]
    lost = [
        event(20.0 + 5 * n, Kind.NODE_NOT_READY, f"Node/{node}", "Unknown") for n, node in enumerate(nodes)
    ]
    (told,) = told_of(Kind.NODE_NOT_READY, CUT[0], *lost)
    assert told.startswith("From 20s to 1m15s the control plane marked worker-00")


def test_causes_within_a_round_have_one_time_and_longer_ones_a_span() -> None:
    assert told_of(Kind.DNS_DEAD, CUT[0], dns_dead(CP, 5.0), dns_dead(ONE, 6.0))[0].startswith("At 5s DNS")
    assert told_of(Kind.DNS_DEAD, CUT[0], dns_dead(CP, 5.0), dns_dead(ONE, 6.5))[0].startswith(
        "From 5s to 6.5s DNS"
    )


@pytest.mark.parametrize(
    "kind", [Kind.BGP_LOST, Kind.TARGET_LOST, Kind.DNS_SOCKET_STALE, Kind.CRASH_LOOP, Kind.PROBE_FAILING]
)
def test_no_cause_dates_an_object_before_its_own_event(kind: Kind) -> None:
    """Whatever the kind of news, what happened half a minute later is not told with the first."""
    apart = [
        event(t_s, kind, f"Node/{node} → x", "connection refused") for t_s, node in ((1.0, ONE), (31.0, TWO))
    ]
    for told, node in zip(told_of(kind, CUT[0], *apart), (ONE, TWO), strict=True):
        assert node in told or "1 Pod" in told
        assert told.startswith("At 1s" if node == ONE else "At 31s")


def test_dns_is_said_to_be_back_only_where_it_was_by_then() -> None:
    dead = (dns_dead(ONE, 54.0), dns_dead(TWO, 54.0))
    back = tuple(
        seen(t_s, Kind.DNS_RESTORED, node, f"Node/{node}", "answered")
        for t_s, node in ((137.2, ONE), (138.9, TWO))
    )
    (told,) = told_of(Kind.DNS_RESTORED, CUT[0], *HEALED, *dead, *back)
    assert told == f"From 2m17.2s to 2m18.9s DNS worked again on {ONE} and {TWO}."


def test_an_answer_after_a_slow_one_brings_no_dns_back() -> None:
    answered = (54.0, 80.0, 120.0)
    back = [seen(t_s, Kind.DNS_RESTORED, ONE, f"Node/{ONE}", "answered") for t_s in answered]
    (told,) = told_of(Kind.DNS_RESTORED, CUT[0], *HEALED, dns_dead(ONE, 54.0), *back[1:])
    assert told == f"At 1m20s DNS worked again on {ONE}."
    assert told_of(Kind.DNS_RESTORED, CUT[0], *HEALED, *back) == []


def test_a_rebooted_node_is_named_once_though_two_saw_it() -> None:
    by_kubelet = event(61.0, Kind.NODE_REBOOTED, f"Node/{ONE}", "kubelet reports another boot ID")
    by_sentinel = seen(
        58.5, Kind.NODE_REBOOTED, ONE, f"Node/{ONE}", "its sentinel's record goes on in another boot"
    )
    assert told_of(Kind.NODE_REBOOTED, *CUT, *HEALED, by_kubelet, by_sentinel) == [
        f"At 58.5s {ONE} was rebooted."
    ]


def test_what_is_missing_since_the_baseline_is_told_and_a_deleted_node_once() -> None:
    gone = event(12.0, Kind.NODE_DELETED, f"Node/{TWO}", "its Node object was deleted")
    found = [
        event(60.0, Kind.OBJECT_MISSING, f"Node/{TWO}", "is gone", "chaosext"),
        event(60.0, Kind.OBJECT_MISSING, "Deployment/shop/cart", "has 1 of 2 replicas wanted", "chaosext"),
    ]
    told = chain_of_causes(run(CUT[0], gone, *HEALED, *found))
    assert f"At 12s the Node object of {TWO} was deleted: kubelet registers it only at its start." in told
    assert "At 1m since the baseline Deployment shop/cart has 1 of 2 replicas wanted." in told
    assert not any("is gone" in line for line in told)


def test_a_kubelet_that_fell_silent_after_the_heal_is_told() -> None:
    during = event(10.0, Kind.KUBELET_LOST, f"Node/{ONE}", "has not renewed its Lease for 40 s")
    after = event(90.0, Kind.KUBELET_LOST, f"Node/{TWO}", "has not renewed its Lease for 40 s")
    assert told_of(Kind.KUBELET_LOST, CUT[0], *HEALED, during, after) == [
        f"At 1m30s kubelet on {TWO} could not reach an API server."
    ]


def test_a_pod_that_was_evicted_falls_silent_without_being_a_cause() -> None:
    evicted = seen(35.0, Kind.POD_EVICTED, CP, "Pod/kube-system/coredns-old", "from the lost node")
    gone = seen(
        70.0, Kind.TARGET_LOST, ONE, f"Node/{ONE} → Pod coredns-old on {CP} 10.244.0.2:53", "timed out"
    )
    cart = seen(70.0, Kind.TARGET_LOST, ONE, f"Node/{ONE} → Pod cart on {CP} 10.244.0.3:80", "timed out")
    steps = "\n".join(step.text for step in causes(run(*CUT, *HEALED, evicted, gone, cart)))
    assert "Pod cart" in steps
    assert "coredns-old on" not in steps
