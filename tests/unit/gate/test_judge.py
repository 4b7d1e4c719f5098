"""Go or no-go: what counts, what is waived, how likely it must be, and that unknown is never a go."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from worlds import ACCELERATED, CALICO, CONTROL_PLANE_LABEL, PRODUCTION, ROUTED, cluster, off_control_plane

from chaosext.gate.cutover_plan import Acceptance, Cutover, Selection
from chaosext.gate.decision import Decision
from chaosext.gate.judge import judge
from chaosext.gate.likelihood import lower_bound, needed_plays, percent
from chaosext.gate.losses import LOSSES
from chaosext.gate.rehearsed import compared
from chaosext.gate.remedies import Search, led_to
from chaosext.model.findings import Finding, Status
from chaosext.rehearsal.network.routes import EvidenceKind
from chaosext.rehearsal.simulate.impact import Impact, Way
from chaosext.rehearsal.simulate.planned_cut import Flap
from chaosext.rehearsal.simulate.prediction import (
    Dns,
    DnsOutage,
    DnsView,
    Forecast,
    PredictedOutcome,
    Prediction,
)
from chaosext.rehearsal.simulate.time_budget import TimeBudget
from chaosext.rehearsal.snapshot.world import Alternative

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.gate.remedies import Remedy
    from chaosext.rehearsal.snapshot.world import World

PLAN = Cutover(
    title="t",
    selection=Selection(selector="!node-role.kubernetes.io/control-plane"),
    cut_for_s=90,
    at_most_s=90,
)


def versioned(world: World) -> World:
    return replace(world, nodes=tuple(replace(node, kubelet_version="v1.34.4") for node in world.nodes))


STORY = versioned(cluster())
MITIGATED = versioned(cluster(affinity=off_control_plane()))


def finding(check: str, status: Status) -> dict[str, Finding]:
    return {check: Finding(check=check, status=status, summary="said")}


def search(
    world: World, plan: Cutover = PLAN, live: Mapping[str, Finding] | None = None
) -> tuple[Remedy, ...]:
    before = judge(world, plan, live)
    return Search(world=world, cutover=plan, before=before, live=live or {}, context="a b").search().remedies


# -- a prediction against a tolerance ------------------------------------------------------------------------


def prediction(
    passed: float, *, unknown: float = 0.0, samples: int = 0, during: Dns = Dns.RESOLVABLE
) -> Prediction:
    chances = {Forecast.PASSED: passed, Forecast.UNKNOWN: unknown, Forecast.DEVIATED: 1 - passed - unknown}
    states = {Dns.RESOLVABLE: passed, Dns.UNKNOWN: unknown, Dns.PARTIAL: 1 - passed - unknown}
    return Prediction(
        assumptions=(),
        timings={},
        timeline=(),
        dns=DnsView(during_cut=during, after_heal=Dns.RESOLVABLE),
        dns_per_node={},
        mesh={},
        workloads={"Deployment/a/b": {"evicted": 2.5}},
        outcomes=tuple(PredictedOutcome(dns_after_heal=s, probability=p, why="") for s, p in states.items()),
        self_heals=None,
        verdict=Forecast.PASSED,
        method="",
        chances=chances,
        healing=chances,
        samples=samples,
        impact=Impact(ways={Way(): 1.0}),
    )


def statuses(found: Prediction, **accept: object) -> dict[str, str]:
    """Of the conditions but those about what users lose (test_losses.py)."""
    wanted = Acceptance(**{"pods_reachable": False, **accept})  # type: ignore[arg-type]
    return {each.check: each.status.value for each in compared(found, wanted) if each.check not in LOSSES}


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (prediction(1.0), "healthy"),
        (prediction(0.99), "healthy"),
        (prediction(0.9899), "unhealthy"),
        (prediction(0.5, unknown=0.5), "unknown"),
        (prediction(0.5, unknown=0.4), "unhealthy"),
        (prediction(0.0, unknown=1.0), "unknown"),
        (prediction(1.0, samples=267), "unknown"),
        (prediction(1.0, samples=268), "healthy"),
        (prediction(0.995, samples=1000), "unknown"),
        (prediction(0.995, samples=2000), "healthy"),
        (prediction(0.5, samples=12), "unhealthy"),
    ],
)
def test_it_must_be_likely_enough_and_enough_plays_must_show_it(found: Prediction, status: str) -> None:
    assert statuses(found, dns_outage_s=None) == {"dns_after_heal": status, "self_heals": status}


def test_a_plan_says_what_is_acceptable() -> None:
    found = prediction(0.4)
    assert statuses(found, dns_after_heal=Dns.PARTIAL, self_heals=False, dns_outage_s=None) == {
        "dns_after_heal": "healthy"
    }
    assert statuses(prediction(1.0), dns_during_cut=Dns.RESOLVABLE)["dns_during_cut"] == "healthy"
    dead = prediction(1.0, during=Dns.DEAD)
    assert statuses(dead, dns_during_cut=Dns.PARTIAL)["dns_during_cut"] == "unhealthy"
    nobody_knows = prediction(1.0, during=Dns.UNKNOWN)
    assert statuses(nobody_knows, dns_during_cut=Dns.PARTIAL)["dns_during_cut"] == "unknown"
    assert statuses(prediction(1.0), evicted_pods=2)["evicted_pods"] == "unhealthy"
    assert statuses(prediction(1.0), evicted_pods=3)["evicted_pods"] == "healthy"


LONG = DnsOutage(worst=Dns.DEAD, times_s=((300.0, 1.0),))


def outage(worst: Dns = Dns.DEAD, **shares: object) -> Prediction:
    view = DnsOutage(worst=worst, **shares)  # type: ignore[arg-type]
    found = prediction(1.0)
    return replace(found, dns=replace(found.dns, outage=view))


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (outage(times_s=((0.0, 1.0),)), "healthy"),
        (outage(times_s=((30.0, 1.0),)), "healthy"),
        (outage(times_s=((6.0, 0.98), (31.0, 0.02))), "unhealthy"),
        (outage(times_s=((6.0, 0.995), (31.0, 0.005))), "healthy"),
        (outage(times_s=((6.0, 0.5),), at_least_s=((10.0, 0.5),)), "unknown"),
        (outage(times_s=((6.0, 0.5),), at_least_s=((310.0, 0.5),)), "unhealthy"),
        (outage(times_s=((6.0, 0.5),), missing=0.5), "unknown"),
        (outage(times_s=((6.0, 1.0),), otherwise=(LONG,)), "unknown"),
        (outage(times_s=((310.0, 1.0),), otherwise=(LONG,)), "unhealthy"),
        (outage(Dns.PARTIAL, times_s=((90.0, 1.0),)), "healthy"),
        (outage(Dns.UNKNOWN, times_s=(), at_least_s=((0.0, 1.0),)), "unknown"),
        (prediction(1.0), "unknown"),
    ],
)
def test_dns_may_be_dead_for_as_long_as_the_plan_accepts(found: Prediction, status: str) -> None:
    """On nodes that are not cut, and after a heal; 30 s by default, with 99 %."""
    assert statuses(found)["dns_outage"] == status
    assert "dns_outage" not in statuses(found, dns_outage_s=None)


def test_plays_that_are_needed_are_those_whose_lower_bound_is_as_likely() -> None:
    for probability in (0.5, 0.9, 0.99, 0.999):
        plays = needed_plays(probability)
        assert lower_bound(1.0, plays) >= probability - 1e-9
        assert lower_bound(1.0, plays - 1) < probability
    assert needed_plays(1.0) > 5000
    assert lower_bound(0.9, 100) == pytest.approx(0.8392, abs=1e-3)


def test_percents_are_certain_only_where_it_is() -> None:
    said = [percent(share) for share in (0, 0.0004, 0.41, 0.9994, 1.0)]
    assert said == ["0%", "<0.1%", "41%", ">99.9%", "100%"]


# -- worlds --------------------------------------------------------------------------------------------------


def test_the_story_is_no_go_and_mitigated_it_is_go() -> None:
    no_go, go = judge(STORY, PLAN), judge(MITIGATED, PLAN)
    assert (no_go.decision, go.decision) == (Decision.NO_GO, Decision.GO)
    assert {each.finding.check for each in no_go.against} == {"dns_after_heal", "self_heals", "dns_outage"}
    assert not go.against


def test_a_cut_that_may_take_longer_is_judged_by_its_longest() -> None:
    short = replace(PLAN, cut_for_s=5, at_most_s=5)
    assert judge(STORY, short).decision is Decision.GO
    longer = judge(STORY, replace(short, at_most_s=90))
    assert longer.decision is Decision.NO_GO
    assert {each.cut_for_s for each in longer.against} == {90}


def test_cuts_that_come_and_go_are_judged_together() -> None:
    """Four cuts of 16 s, 10 s apart, under a grace period of 20 s: one of them alone moves nothing."""
    one = Flap(on_s=16, off_s=10, times=1)
    alone = replace(PLAN, flap=one, cut_for_s=one.lasts_s, at_most_s=one.lasts_s)
    assert judge(STORY, alone).decision is Decision.GO
    four = replace(one, times=4)
    found = judge(STORY, replace(PLAN, flap=four, cut_for_s=four.lasts_s, at_most_s=four.lasts_s))
    assert found.decision is Decision.NO_GO
    assert {each.finding.check for each in found.against} >= {"dns_after_heal", "self_heals"}
    assert found.rehearsed[0].periods == ((0, 16), (26, 42), (52, 68), (78, 94))


def test_dns_that_is_dead_on_nodes_that_are_not_cut_is_no_go() -> None:
    """Both kube-dns Pods are on the cut nodes: the others have none until these are evicted, 300 s later."""
    world = versioned(cluster(workers=4, network=ROUTED, control_plane=PRODUCTION))
    on_cut = replace(PLAN, selection=Selection(names=("worker-1", "worker-2")), cut_for_s=480, at_most_s=480)
    found = judge(world, on_cut)
    assert {each.finding.check for each in found.against} == {"dns_outage"}
    assert found.decision is Decision.NO_GO
    headline = found.rehearsed[0].prediction.headline
    assert headline == "passed after 4m59s, at most 5m14s, without DNS on 2 nodes that are not cut"
    assert judge(world, replace(on_cut, accept=Acceptance(dns_outage_s=400))).decision is Decision.GO


@pytest.mark.parametrize(
    ("live", "waived", "decision"),
    [
        ({}, {}, Decision.GO),
        (finding("probes_healthy", Status.UNHEALTHY), {}, Decision.NO_GO),
        (finding("probes_healthy", Status.UNKNOWN), {}, Decision.NOT_KNOWN),
        (finding("probes_healthy", Status.UNKNOWN), {"probes_healthy": "known"}, Decision.GO),
        (finding("probes_healthy", Status.UNHEALTHY), {"probes_healthy": "known"}, Decision.GO),
        (finding("xds_synced", Status.UNKNOWN), {}, Decision.GO),
    ],
)
def test_what_is_not_well_or_not_known_stands_against_it_unless_it_is_waived(
    live: Mapping[str, Finding], waived: Mapping[str, str], decision: Decision
) -> None:
    """There is no Istio in this cluster: whether xDS is in sync is no question."""
    assert judge(MITIGATED, replace(PLAN, waived=waived), live).decision is decision


def test_without_istiod_s_word_a_meshed_cluster_is_not_known() -> None:
    world = versioned(cluster(affinity=off_control_plane(), sidecar="classic"))
    assert judge(world, PLAN, finding("xds_synced", Status.UNKNOWN)).decision is Decision.NOT_KNOWN


def test_a_remark_counts_where_the_plan_requires_it() -> None:
    lone = versioned(cluster(affinity=off_control_plane(), dns_replicas=1))
    assert judge(lone, PLAN).decision is Decision.GO
    assert judge(lone, replace(PLAN, required=("kube_dns_redundant",))).decision is Decision.NO_GO


def test_an_unknown_network_is_not_known() -> None:
    world = replace(MITIGATED, missing=frozenset({"BGPPeer"}))
    found = judge(world, PLAN)
    assert found.decision is Decision.NOT_KNOWN
    assert found.decision.exit_code == 30


# -- remedies ------------------------------------------------------------------------------------------------


def test_each_patch_that_turns_it_to_go_is_named_the_smallest_first() -> None:
    found = search(STORY)
    assert [each.mitigations for each in found] == [
        ("dns-affinity",),
        ("longer-tolerations",),
        ("bgp-on-control-plane",),
    ]
    assert {each.decision for each in found} == {Decision.GO}


def test_a_patch_that_mends_the_cut_but_not_the_rest_says_what_remains() -> None:
    found = search(STORY, live=finding("probes_healthy", Status.UNHEALTHY))
    assert found[0].decision is Decision.NO_GO
    assert found[0].remains == ("probes_healthy",)


def test_where_nothing_is_wrong_with_the_cut_no_patch_is_looked_for() -> None:
    assert search(MITIGATED) == ()
    assert search(MITIGATED, live=finding("probes_healthy", Status.UNHEALTHY)) == ()


def test_two_patches_together_are_tried_where_none_is_enough() -> None:
    """Nothing may be evicted, and kube-dns must not end on a node that nobody hears of."""
    world = versioned(cluster(workers=2, control_plane=ACCELERATED, network=replace(CALICO, peers=())))
    tried: list[str] = []
    before = judge(world, PLAN)
    Search(world=world, cutover=PLAN, before=before, live={}, tell=tried.append).search()
    assert any(" and " in each for each in tried)
    assert tried.index(next(each for each in tried if " and " in each)) >= 2


def test_what_the_time_budget_leaves_no_time_for_is_untried() -> None:
    before = judge(STORY, PLAN)
    found = Search(world=STORY, cutover=PLAN, before=before, live={}, budget=TimeBudget.of(0.0)).search()
    assert found.remedies == ()
    assert set(found.untried) >= {"dns-affinity", "bgp-on-control-plane"}


class Clock:
    """Goes on by a second at each of so many looks at it, then by a day."""

    def __init__(self, looks: int) -> None:
        self.left, self.now_s = looks, 0.0

    def __call__(self) -> float:
        self.left -= 1
        self.now_s += 1.0 if self.left > 0 else 86_400.0
        return self.now_s


@pytest.mark.parametrize("looks", [1, 2, 50, 300])
@pytest.mark.parametrize("world", [STORY, MITIGATED], ids=["story", "mitigated"])
def test_too_few_simulations_are_never_a_go(world: World, looks: int) -> None:
    """Evicted Pods and DNS during the cut are averages: a few simulations show neither."""
    accept = Acceptance(dns_during_cut=Dns.PARTIAL, evicted_pods=1000, probability=0.9)
    plan = replace(PLAN, accept=accept)
    found = judge(world, plan, budget=TimeBudget.of(3600.0, Clock(looks)))
    assert not found.rehearsed[0].prediction.simulations.is_whole
    assert found.decision is not Decision.GO
    told = {each.check: each.status for each in found.rehearsed[0].findings}
    assert told["evicted_pods"] is Status.UNKNOWN
    assert told["dns_during_cut"] is not Status.HEALTHY


def test_each_duration_has_its_share_of_the_time() -> None:
    """The longer cut is simulated, though the shorter one could use up all the time."""
    plan = replace(PLAN, cut_for_s=5, at_most_s=90)
    budget = TimeBudget.of(100_000.0, Clock(10**9))
    shares = [each.prediction.simulations for each in judge(MITIGATED, plan, budget=budget).rehearsed]
    assert all(each.made > 0 for each in shares)


def test_routes_that_are_not_proven_can_not_be_made_good_by_what_is_known() -> None:
    """kube-dns on its nodes' network answers whatever the routes are; nobody knows of anything else."""
    world = replace(MITIGATED, network=replace(CALICO, full_mesh=None))
    host = tuple(
        replace(pod, spec=replace(pod.spec, host_network=True)) if "coredns" in pod.name else pod
        for pod in world.pods
    )
    waived = {"cut_nodes_announced": "known", "kube_dns_on_peered_nodes": "known"}
    plan = replace(PLAN, accept=Acceptance(self_heals=False), waived=waived)
    found = judge(replace(world, pods=host), plan)
    assert found.decision is Decision.NOT_KNOWN
    unknown = {"pod_routes", "pods_reachable", "quorum_lost", "services_at_end", "pending_pods"}
    assert {each.finding.check for each in found.against} == unknown
    routes = next(each.finding for each in found.against if each.finding.check == "pod_routes")
    assert "BGPConfiguration/default" in routes.evidence[0].subject


def test_commands_lead_to_the_cluster_that_was_asked() -> None:
    how = "# see\nkubectl apply --filename - <<'EOF'\n{}\nEOF\nkubectl get nodes"
    assert led_to("", how) == how
    assert led_to("a b", how).count("kubectl --context 'a b' ") == 2
    assert all("kubectl --context 'a b' " in each.how[0] for each in search(STORY))


def test_routes_that_end_in_the_cut_are_a_no_go_even_if_all_is_well_afterwards() -> None:
    """Route reflectors on the control plane (calico #9259): seen 159 s after a cut, back at once at the heal."""
    over = replace(CALICO.peers[0], peer_ip="", node_selector="", peer_selector=f"has({CONTROL_PLANE_LABEL})")
    nodes = tuple(replace(node, reflector_cluster="1.0.0.1" * node.control_plane) for node in MITIGATED.nodes)
    world = replace(MITIGATED, nodes=nodes, network=replace(CALICO, peers=(over,)))
    found = judge(world, replace(PLAN, cut_for_s=300.0, at_most_s=300.0))
    assert found.decision is Decision.NO_GO
    assert "pods_reachable" in {each.finding.check for each in found.against}
    short = judge(world, replace(PLAN, cut_for_s=45.0, at_most_s=45.0))
    assert "pods_reachable" not in {each.finding.check for each in short.against}


# -- what could turn it -----------------------------------------------------------------------------------------


def hasty(world: World) -> World:
    return replace(world, control_plane=ACCELERATED)


SLOW = replace(ACCELERATED, timings=replace(ACCELERATED.timings, grace_s=200.0))
TURNED = Alternative(name="hasty", assumed="the timings are slow", settles="show them", apply=hasty)


def test_an_assumption_that_turns_it_makes_it_unknown_and_is_named() -> None:
    """A grace period of 200 s moves nothing in 90 s; accelerated timings move kube-dns."""
    slow = replace(STORY, control_plane=SLOW)
    assert judge(slow, PLAN).decision is Decision.GO
    found = judge(replace(slow, alternatives=(TURNED,)), PLAN)
    assert found.decision is Decision.NOT_KNOWN
    assert "assuming that the timings are slow; otherwise" in found.against[0].finding.summary
    assert "To settle it: show them" in found.against[0].finding.summary


def test_an_assumption_that_turns_nothing_does_not_matter() -> None:
    slow = replace(MITIGATED, control_plane=SLOW, alternatives=(TURNED,))
    assert judge(slow, PLAN).decision is Decision.GO


def test_a_plan_may_demand_more_than_documents() -> None:
    demanding = replace(PLAN, accept=Acceptance(evidence=EvidenceKind.SEEN))
    assert judge(MITIGATED, demanding).decision is Decision.GO
    managed = replace(MITIGATED, control_plane=replace(MITIGATED.control_plane, platform="EKS"))
    found = judge(managed, demanding)
    assert found.decision is Decision.NOT_KNOWN
    assert [each.finding.check for each in found.against] == ["evidence"]
    assert "EKS" in found.against[0].finding.summary
    assert judge(managed, PLAN).decision is Decision.GO
