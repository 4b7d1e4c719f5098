"""Whole rehearsals: the story of the night, what would have prevented it, and what a cut does to each kind of Pod."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from worlds import (
    ACCELERATED,
    CALICO,
    KUBE_DNS,
    POOL,
    PRODUCTION,
    ROUTED,
    app_spec,
    cluster,
    dns_spec,
    node,
    off_control_plane,
    spread_over,
    unreachable_for,
    workers_of,
)

from chaosext.model.errors import Refused
from chaosext.model.timeline import Kind
from chaosext.rehearsal.network.routes import EvidenceKind
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.engine import simulate
from chaosext.rehearsal.simulate.inputs import SimulationInputs
from chaosext.rehearsal.simulate.planned_cut import Flap, Plan
from chaosext.rehearsal.simulate.prediction import Dns, Forecast, PredictedEvent, Prediction
from chaosext.rehearsal.simulate.samples import Sampled
from chaosext.rehearsal.simulate.simulation import Scene
from chaosext.rehearsal.snapshot.world import Mesh, Network, Pod, PodSpec, Resources, Toleration, World

if TYPE_CHECKING:
    from collections.abc import Iterable


def rehearsed(
    world: World, cut_for_s: float = 60.0, horizon_s: float = 400.0, samples: int | None = 60, **more: float
) -> Prediction:
    plan = Plan(cut_nodes=workers_of(world), cut_for_s=cut_for_s, horizon_s=horizon_s, **more)
    return rehearse(world, plan, samples=samples)


def lines(prediction: Prediction, kind: Kind, of: str = "", at_least: float = 0.5) -> list[PredictedEvent]:
    return [
        event
        for event in prediction.timeline
        if event.kind is kind and of in event.object and event.probability >= at_least
    ]


def chance(prediction: Prediction, state: Dns) -> float:
    return sum(outcome.probability for outcome in prediction.outcomes if outcome.dns_after_heal is state)


@pytest.fixture(scope="module")
def story() -> Prediction:
    return rehearsed(cluster(sidecar="holding"), 57.3, rollback_s=192.0)


def test_the_story_of_the_night(story: Prediction) -> None:
    assert story.verdict is Forecast.DEVIATED
    assert story.self_heals is False
    assert story.dns.during_cut is Dns.RESOLVABLE
    assert story.dns.after_heal is Dns.DEAD
    assert story.dns.after_rollback is Dns.RESOLVABLE
    assert "cp-1" in story.outcomes[0].why
    assert chance(story, Dns.RESOLVABLE) == 0


def test_the_storys_order(story: Prediction) -> None:
    firsts = [
        lines(story, kind, of)[0].t_s
        for kind, of in (
            (Kind.CUT, ""),
            (Kind.NODE_NOT_READY, ""),
            (Kind.NODE_TAINTED, ""),
            (Kind.POD_BOUND, "coredns"),
            (Kind.POD_READY, "coredns"),
            (Kind.HEAL, ""),
            (Kind.DNS_DEAD, "Node/worker"),
            (Kind.PROBE_FAILING, "shop"),
            (Kind.ROLLBACK, ""),
            (Kind.DNS_RESTORED, "Node/worker"),
            (Kind.XDS_RESTORED, ""),
        )
    ]
    assert firsts == sorted(firsts)


def test_control_plane_nodes_lose_dns_with_the_cut(story: Prediction) -> None:
    assert story.dns_per_node["cp-1"].during_cut is Dns.DEAD
    assert story.dns_per_node["cp-1"].after_heal is Dns.RESOLVABLE
    assert story.dns_per_node["worker-1"].during_cut is Dns.RESOLVABLE
    assert story.dns_per_node["worker-1"].after_heal is Dns.DEAD


def test_kube_dns_kept_off_unpeered_nodes_heals_with_the_network() -> None:
    """Fact 11: replacements Pending until the heal, then well."""
    found = rehearsed(cluster(affinity=off_control_plane()), 57.3)
    assert found.verdict is Forecast.PASSED
    assert found.self_heals
    assert lines(found, Kind.POD_PENDING, "coredns")
    assert all(event.t_min_s > 57.3 for event in lines(found, Kind.POD_BOUND, "coredns"))
    assert all("cp-1" not in event.nodes for event in lines(found, Kind.POD_BOUND, "coredns"))


VXLAN = replace(CALICO, pools=(replace(POOL, vxlan_mode="Always"),))


@pytest.mark.parametrize("network", [ROUTED, VXLAN])
def test_where_every_pod_is_reached_only_scheduling_stops(network: Network) -> None:
    assert rehearsed(cluster(network=network)).verdict is Forecast.PASSED


def test_one_and_three_may_go_each_way() -> None:
    found = rehearsed(cluster(workers=3, control_plane=PRODUCTION), 480, 900, samples=None)
    assert 0.4 < chance(found, Dns.PARTIAL) < 0.8
    assert 0.2 < chance(found, Dns.RESOLVABLE) < 0.55
    assert chance(found, Dns.DEAD) < 0.1
    assert sum(outcome.probability for outcome in found.outcomes) == pytest.approx(1.0)


def test_zones_of_their_own_are_emptied() -> None:
    """Fact 4: as in the story."""
    assert chance(rehearsed(cluster(workers=3, zones="abc"), 90), Dns.DEAD) > 0.9


def test_a_cut_shorter_than_the_tolerations_evicts_nobody() -> None:
    found = rehearsed(cluster(control_plane=PRODUCTION), 300)
    assert not lines(found, Kind.POD_EVICTED, at_least=0)
    assert found.verdict is Forecast.PASSED


def test_default_timings_move_kube_dns_after_350_seconds() -> None:
    moved = lines(rehearsed(cluster(control_plane=PRODUCTION), 480, 900), Kind.POD_EVICTED, "coredns")
    assert all(340 < event.t_min_s < event.t_max_s < 390 for event in moved)
    assert moved


def test_native_sidecars_hang_without_crashing() -> None:
    found = rehearsed(cluster(sidecar="native"), 57.3)
    assert lines(found, Kind.PROBE_FAILING, "shop")[0].t_min_s < 75
    assert not lines(found, Kind.CRASH_LOOP, at_least=0)
    assert found.mesh["stuck_pods"] > 7


def test_held_applications_crash_loop(story: Prediction) -> None:
    without_rollback = rehearsed(cluster(sidecar="holding"), 57.3)
    assert len(lines(without_rollback, Kind.CRASH_LOOP, "shop")) == 8
    assert without_rollback.mesh["stuck_pods"] > 7


def test_meshed_pods_are_created_only_after_the_heal(story: Prediction) -> None:
    """The injection webhook can't be asked while istiod is cut off (recorded: 1.2 to 2.0 s after the heal)."""
    created = lines(story, Kind.POD_CREATED, "shop")
    assert len(created) == 8
    assert all(event.t_min_s > 57.3 for event in created)
    assert created[0].t_min_s < 58.5 < created[-1].t_max_s


def test_a_webhook_without_endpoints_leaves_replicasets_backing_off() -> None:
    world = cluster(sidecar="holding", affinity=off_control_plane())
    settings = world.mesh
    assert isinstance(settings, Mesh)
    refused = replace(
        world, mesh=replace(settings, istiod=replace(settings.istiod, publishes_not_ready=False))
    )
    created = lines(rehearsed(refused, 57.3), Kind.POD_CREATED, "shop", at_least=0.3)
    assert max(event.t_max_s for event in created) > max(
        event.t_max_s for event in lines(rehearsed(world, 57.3), Kind.POD_CREATED, "shop", at_least=0.3)
    )


def owned(owner: str, spec: PodSpec | None = None, node_name: str = "worker-1") -> Pod:
    what = spec or PodSpec(labels={"app": "x"}, tolerations=unreachable_for(20))
    return Pod(namespace="db", name="x-0", node=node_name, spec=what, owner=owner)


def with_pods(world: World, pods: Iterable[Pod]) -> World:
    return replace(world, pods=(*world.pods, *pods))


def test_a_replica_sets_pod_is_replaced_while_the_old_one_is_terminating() -> None:
    found = rehearsed(with_pods(cluster(), [owned("ReplicaSet/x-1")]))
    assert lines(found, Kind.POD_CREATED, "Pod/db/x-1-*")[0].t_s < 60
    assert lines(found, Kind.POD_GONE, "Pod/db/x-0")[0].t_min_s > 60


def test_a_stateful_sets_pod_waits_until_the_old_one_is_gone() -> None:
    found = rehearsed(with_pods(cluster(), [owned("StatefulSet/x")]))
    assert lines(found, Kind.POD_EVICTED, "Pod/db/x-0")[0].t_s < 60
    assert lines(found, Kind.POD_CREATED, "Pod/db/x-0")[0].t_min_s > 60


def test_a_bare_pod_is_lost() -> None:
    found = rehearsed(with_pods(cluster(), [owned("")]))
    assert lines(found, Kind.POD_EVICTED, "Pod/db/x-0")
    assert not lines(found, Kind.POD_CREATED, "Pod/db", at_least=0)
    assert found.workloads["Pod/db/x-0"]["evicted"] > 0.9


@pytest.mark.parametrize("owner", ["DaemonSet/x", "Node/worker-1", "ReplicaSet/x-1"])
def test_who_tolerates_for_ever_stays(owner: str) -> None:
    spec = PodSpec(labels={"app": "x"}, tolerations=unreachable_for(None))
    assert not lines(
        rehearsed(with_pods(cluster(), [owned(owner, spec)])), Kind.POD_EVICTED, "Pod/db", at_least=0
    )


def test_new_pods_go_to_cut_nodes_that_are_not_marked_yet() -> None:
    """Fact 8: the black hole. With a toleration of 0 s the first node's Pods go to the other cut one, if unmarked."""
    spec = PodSpec(labels={"app": "x"}, tolerations=unreachable_for(0))
    bound = lines(
        rehearsed(with_pods(cluster(), [owned("ReplicaSet/x-1", spec)])), Kind.POD_BOUND, "db", at_least=0
    )
    assert any("worker-2" in event.nodes and event.t_min_s < 60 for event in bound)


def test_endpoints_leave_though_nobody_is_evicted() -> None:
    """Facts 5 and 6: no ready endpoint from Unknown until after the heal, kube-dns where it was."""
    world = cluster(workers=60, control_planes=3, control_plane=PRODUCTION)
    found = rehearse(world, Plan(cut_nodes=workers_of(world), cut_for_s=480, horizon_s=700), samples=40)
    gone = [event for event in lines(found, Kind.ENDPOINTS_CHANGED) if "no ready" in event.detail]
    assert gone[0].t_s < 75
    assert chance(found, Dns.RESOLVABLE) > 0.7


def test_a_partial_cut_touches_only_its_nodes() -> None:
    world = cluster(workers=3)
    found = rehearse(world, Plan(cut_nodes=frozenset({"worker-1"}), cut_for_s=60, horizon_s=300))
    assert {event.object for event in lines(found, Kind.NODE_NOT_READY, at_least=0)} == {"Node/worker-1"}
    assert {event.object for event in lines(found, Kind.POD_EVICTED, at_least=0)} == {
        "Pod/kube-system/coredns-66bc5c9577-0"
    }


def test_nodelocal_dns_keeps_names_outside_of_the_cluster() -> None:
    assert rehearsed(cluster(network=replace(CALICO, nodelocal_dns=True))).dns.after_heal is Dns.PARTIAL


def test_host_network_kube_dns_is_reached_everywhere() -> None:
    host = replace(dns_spec(20), host_network=True)
    world = cluster()
    pods = [pod for pod in world.pods if pod.owner.startswith("DaemonSet")]
    moved = spread_over(["worker-1", "worker-2"], 2, "ReplicaSet/coredns-1", "kube-system", host)
    assert rehearsed(replace(world, pods=(*pods, *moved))).verdict is Forecast.PASSED


@pytest.mark.parametrize(
    "world",
    [
        replace(cluster(), dns=None),
        cluster(network=Network()),
        replace(cluster(), missing=frozenset({"BGPPeer"})),
    ],
)
def test_what_cannot_be_known_is_unknown_and_says_why(world: World) -> None:
    found = rehearsed(world)
    assert found.verdict is Forecast.UNKNOWN
    assert found.self_heals is None
    assert found.outcomes[0].dns_after_heal is Dns.UNKNOWN
    assert any("unknown" in each for each in found.assumptions)


def test_a_selector_that_matches_no_pod_is_no_outage() -> None:
    world = replace(cluster(), dns=replace(KUBE_DNS, selector={"k8s-app": "nobody"}))
    assert rehearsed(world).verdict is Forecast.UNKNOWN


def test_all_nodes_cut_is_master_disruption_and_evicts_hardly_anybody() -> None:
    """Only from a node whose taint is being written when the controller begins to blame itself."""
    world = replace(cluster(), nodes=cluster().nodes[1:])
    found = rehearsed(world)
    assert not lines(found, Kind.POD_EVICTED, at_least=0.2)
    assert any("outside" in each for each in found.assumptions)


def test_nodes_lost_before_the_cut_are_said_to_be() -> None:
    world = cluster(workers=3)
    nodes = (*world.nodes[:3], replace(world.nodes[3], ready="Unknown"))
    found = rehearsed(replace(world, nodes=nodes))
    assert "Node/worker-3" not in {event.object for event in lines(found, Kind.NODE_NOT_READY)}
    assert any("worker-3" in each for each in found.assumptions)


def test_a_cut_control_plane_node_is_not_taken_for_the_leader() -> None:
    world = cluster(control_planes=3)
    found = rehearse(world, Plan(cut_nodes=frozenset({"cp-1"}), cut_for_s=60, horizon_s=300), samples=20)
    assert any("cp-1" in each and "controller-manager" in each for each in found.assumptions)
    assert found.verdict is Forecast.PASSED


def test_another_scheduler_is_an_assumption() -> None:
    world = cluster()
    own = replace(dns_spec(20), scheduler="batch-scheduler")
    found = rehearsed(
        replace(world, pods=spread_over(["worker-1"], 1, "ReplicaSet/dns-1", "kube-system", own))
    )
    assert any("batch-scheduler" in each for each in found.assumptions)


def test_an_unknown_node_is_refused_with_names_that_are_there() -> None:
    with pytest.raises(Refused, match=r"worker-9.*cp-1"):
        rehearse(cluster(), Plan(cut_nodes=frozenset({"worker-9"})))


@pytest.mark.parametrize(
    "bad",
    [
        {"cut_nodes": frozenset()},
        {"cut_nodes": frozenset({"a"}), "cut_for_s": 0.0},
        {"cut_nodes": frozenset({"a"}), "cut_for_s": 900.0, "horizon_s": 60.0},
        {"cut_nodes": frozenset({"a"}), "cut_for_s": 60.0, "rollback_s": 30.0},
    ],
)
def test_a_plan_that_cannot_be_played_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(Refused):
        Plan(**bad)  # type: ignore[arg-type]


def test_other_workloads_are_counted_where_they_are_too_many() -> None:
    world = cluster(workers=8, apps=800)
    with patch("chaosext.rehearsal.simulate.inputs.PLACED", 0):
        found = rehearse(world, Plan(cut_nodes=workers_of(world), cut_for_s=60, horizon_s=300), samples=10)
    assert found.workloads["(others)"]["evicted"] > 50
    assert not [event for event in found.timeline if "/web/" in event.object]


def test_a_drained_cluster_has_room_for_nobody() -> None:
    """kube-dns stays Pending while the only node left is full."""
    full = replace(node("cp-1", control_plane=True), max_pods=1)
    world = cluster(control_plane=ACCELERATED)
    found = rehearsed(replace(world, nodes=(full, *world.nodes[1:])))
    assert lines(found, Kind.POD_PENDING, "coredns")
    assert found.verdict is Forecast.PASSED


def test_kube_dns_preempts_what_matters_less() -> None:
    full = replace(node("cp-1", control_plane=True), max_pods=2)
    world = cluster()
    tolerant = PodSpec(labels={"app": "batch"}, tolerations=(Toleration(operator="Exists"),))
    batch = Pod(namespace="web", name="batch-0", node="cp-1", spec=tolerant, owner="ReplicaSet/batch-1")
    found = rehearsed(with_pods(replace(world, nodes=(full, *world.nodes[1:])), [batch]))
    assert "preempted" in lines(found, Kind.POD_DELETED, "Pod/web/batch-0")[0].detail
    assert "cp-1" in lines(found, Kind.POD_BOUND, "coredns", at_least=0.3)[0].nodes


def test_pods_of_equal_priority_are_left_alone() -> None:
    full = replace(node("cp-1", control_plane=True), max_pods=2)
    world = cluster()
    equal = PodSpec(
        labels={"app": "batch"}, priority=2_000_000_000, tolerations=(Toleration(operator="Exists"),)
    )
    batch = Pod(namespace="web", name="batch-0", node="cp-1", spec=equal, owner="ReplicaSet/batch-1")
    found = rehearsed(with_pods(replace(world, nodes=(full, *world.nodes[1:])), [batch]))
    assert not [event for event in lines(found, Kind.POD_DELETED, at_least=0) if "batch" in event.object]


def test_the_spec_of_an_app_is_shared() -> None:
    spec = app_spec("web")
    assert all(pod.spec is spec for pod in spread_over(["a"], 3, "ReplicaSet/web", "shop", spec))


@pytest.mark.parametrize("ready", ["Unknown", "False", ""])
def test_cut_nodes_that_were_lost_before_change_nothing(ready: str) -> None:
    """Their Ready is Unknown, or nobody ever posted one: the prediction says so, and that nothing happens to them."""
    world = cluster(workers=3)
    nodes = tuple(each if each.control_plane else replace(each, ready=ready) for each in world.nodes)
    found = rehearsed(replace(world, nodes=nodes))
    assert any("not Ready before the cut" in line for line in found.assumptions)
    assert {event.kind for event in found.timeline} <= {Kind.CUT, Kind.HEAL, Kind.DNS_DEAD, Kind.DNS_RESTORED}
    assert sum(outcome.probability for outcome in found.outcomes) == pytest.approx(1.0)


def test_rare_events_have_the_range_of_their_rules() -> None:
    """A node is back at once or after 10 s, also where only a few plays come to the event."""
    found = rehearsed(cluster(workers=6, zones="ab", apps=3))
    rare = [event for event in found.timeline if event.kind is Kind.POD_READY and event.probability < 0.05]
    assert rare
    for event in rare:
        assert event.t_min_s < 61


def test_the_control_plane_keeps_its_answers_through_a_rollback_as_its_pods_end_slower_than_others_start(
    story: Prediction,
) -> None:
    """`CategorizeEndpoints`: where none is ready, kube-proxy goes on with those that end and still serve."""
    died = [event.t_s for event in lines(story, Kind.DNS_DEAD, "cp-1", at_least=0.2)]
    assert died == [0.0]


def test_before_1_26_endpoints_that_end_are_used_no_more() -> None:
    world = cluster(control_plane=replace(ACCELERATED, version="v1.25.9"))
    died = lines(rehearsed(world, 57.3, rollback_s=192.0), Kind.DNS_DEAD, "cp-1")
    assert [event.t_s > 192.0 for event in died] == [False, True]


def events(replicas: int) -> int:
    """So many Pods wait for three nodes, which come back one after the other."""
    world = cluster(workers=3, control_planes=3, zones="abc", network=ROUTED)
    big = replace(app_spec("big", sidecar="none"), requests=Resources(cpu_m=240, memory_bytes=1 << 20))
    homes = [f"worker-{at}" for at in (1, 2, 3)]
    pods = spread_over(homes, replicas, "ReplicaSet/big-1", "web", big)
    stage = SimulationInputs(
        with_pods(world, pods), Plan(cut_nodes=workers_of(world), cut_for_s=90, horizon_s=300)
    )
    count = 0

    def counting(scene: Scene, *arguments: Any) -> None:
        nonlocal count
        count += 1
        at(scene, *arguments)

    at = Scene.at
    with patch.object(Scene, "at", counting):
        trace = simulate(stage, Sampled(0, 0, 1, None))
    assert sum(mark.kind is Kind.POD_PENDING for mark in trace.marks) >= replicas
    return count


def test_each_pod_that_waits_for_nodes_to_come_back_costs_as_much_as_any_other() -> None:
    """Each failed attempt once made another one for all of them: N Pods, and N to the power of the nodes."""
    few, more, many = (events(replicas) for replicas in (6, 12, 24))
    assert many - more <= 2.2 * (more - few)


# -- several cuts ----------------------------------------------------------------------------------------------


FOUR = Flap(on_s=16, off_s=10, times=4)


def flapping(world: World, flap: Flap = FOUR, **more: int) -> Prediction:
    plan = Plan(cut_nodes=workers_of(world), periods=flap.periods, horizon_s=flap.lasts_s + 300)
    return rehearse(world, plan, **more)


def test_four_short_cuts_move_kube_dns_though_one_of_them_moves_nothing() -> None:
    """16 s under a grace period of 20 s. In gaps of 10 s some nodes are heard too late, and stay lost."""
    four, one = flapping(cluster()), flapping(cluster(), replace(FOUR, times=1))
    assert (four.verdict, one.verdict) == (Forecast.DEVIATED, Forecast.PASSED)
    assert 0.5 < four.chances[Forecast.DEVIATED] < 0.9
    assert not lines(one, Kind.POD_EVICTED, "coredns", at_least=0.1)
    assert four.headline.startswith("deviated, it does not heal by itself in ")
    assert "; passes in " in four.headline
    assert any("between two cuts" in each for each in four.assumptions)
    assert four.weakest is EvidenceKind.DOCUMENTS


def test_a_flap_of_one_cut_is_that_cut_and_one_without_gaps_a_longer_one() -> None:
    def cut_for(seconds: float) -> Prediction:
        return rehearsed(cluster(), seconds, seconds + 300, samples=20)

    assert flapping(cluster(), replace(FOUR, times=1), samples=20) == cut_for(16)
    assert flapping(cluster(), replace(FOUR, off_s=0), samples=20) == cut_for(64)


def test_evicted_pods_are_gone_after_the_first_heal_that_their_node_hears_of() -> None:
    """Two cuts of 90 s, two minutes apart: kube-dns is evicted in the first one, and gone before the second begins."""
    found = flapping(cluster(), Flap(on_s=90, off_s=120, times=2), samples=20)
    gone = lines(found, Kind.POD_GONE, "coredns")
    assert len(gone) >= 2
    assert all(90 < event.t_min_s < event.t_max_s < 210 for event in gone[:2])
    cuts = [event.t_s for event in lines(found, Kind.CUT)]
    assert cuts == [0, 210]


def test_a_mesh_that_was_restored_is_lost_again_in_the_next_cut() -> None:
    found = flapping(
        cluster(sidecar="holding", affinity=off_control_plane()),
        Flap(on_s=120, off_s=600, times=2),
        samples=20,
    )
    assert [event.t_s < 720 for event in lines(found, Kind.XDS_LOST)] == [True, False]
    assert [event.t_s < 720 for event in lines(found, Kind.XDS_RESTORED)] == [True, False]


# -- outages of DNS on the way ---------------------------------------------------------------------------------


def test_a_pass_says_for_how_long_dns_was_dead_after_the_heal() -> None:
    """A cut of 16 s marks a node or two Unknown: until they are Ready again, kube-proxy knows no endpoint."""
    found = rehearsed(cluster(), 16, samples=None)
    (outage,) = found.outages
    assert (outage.worst, outage.where, outage.nodes) == (Dns.DEAD, "after the heal", 2)
    assert 0.4 < outage.probability < 0.8
    assert 1 < outage.typical_s < outage.max_s < 15
    assert found.headline.startswith("passed after ")
    assert found.dns_per_node["worker-1"].outage
    assert found.to_json()["dns"]["outages"][0]["where"] == "after the heal"


def test_dns_that_is_dead_on_nodes_that_are_not_cut_is_in_the_headline_whatever_the_routes() -> None:
    """Both kube-dns Pods are on the cut nodes; 40 to 55 s later they are no endpoints any more, for 300 s."""
    for network, starts in (
        (ROUTED, "passed after 4m59s"),
        (Network(), "unknown, whether it heals is unknown; 4m59s"),
    ):
        world = cluster(workers=4, network=network, control_plane=PRODUCTION)
        plan = Plan(cut_nodes=frozenset({"worker-1", "worker-2"}))
        found = rehearse(world, plan, samples=20)
        assert found.headline.startswith(starts)
        assert found.headline.endswith("without DNS on 2 nodes that are not cut")


def test_where_dns_never_fails_there_is_no_outage() -> None:
    found = rehearsed(cluster(network=ROUTED), 5.0)
    assert found.outages == ()
    assert found.headline == "passed, it heals by itself"
    assert found.dns.outage
    assert found.dns.outage.dead_within(0.0) == (pytest.approx(1.0), 0.0)
