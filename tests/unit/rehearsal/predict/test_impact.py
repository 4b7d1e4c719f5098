"""What a cut costs users, on small worlds whose answers are worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import (
    CALICO,
    PRODUCTION,
    ROUTED,
    app_spec,
    cluster,
    dns_spec,
    node,
    spread_over,
    unreachable_for,
    workers_of,
)

from chaosext.cli.prediction_text import prediction_lines
from chaosext.rehearsal.predict.impact_lines import MOST_LINES, impact_lines
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate import inputs
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.prediction import Forecast, Prediction
from chaosext.rehearsal.snapshot.world import (
    DisruptionBudget,
    LabelSelector,
    Pod,
    PodSpec,
    Requirement,
    Resources,
    Service,
    Toleration,
    Workload,
    World,
)

if TYPE_CHECKING:
    from chaosext.rehearsal.simulate.impact import Impact, UnitImpact
    from chaosext.rehearsal.snapshot.world import Network

ETCD, CART, CACHE = "StatefulSet/db/etcd", "Deployment/shop/cart", "StatefulSet/db/cache"


def world_of(*pods: Pod, workers: int = 3, network: Network = ROUTED, **more: object) -> World:
    """A control-plane node with kube-dns that stays there, and workers in zones of their own, which all are evicted.

    A zone that is lost as a whole is in FullDisruption: its nodes are tainted at 0.1 per second, each zone's
    first one at once. With production timings a node is NotReady after about 50 s, and its Pods are evicted
    300 s later; a cut of 480 s sees all of that.
    """
    world = cluster(
        workers=workers, zones="abcdefg", network=network, control_plane=PRODUCTION, dns_replicas=0
    )
    dns = spread_over(["cp-1"], 2, "ReplicaSet/coredns-66bc5c9577", "kube-system", dns_spec(None))
    return replace(world, pods=(*world.pods, *dns, *pods), **more)  # type: ignore[arg-type]


def members(owner: str, *nodes: str, seconds: int | None = 300, **more: object) -> tuple[Pod, ...]:
    """A Pod of a StatefulSet, or of another owner, on each node."""
    name = owner.partition("/")[2]
    spec = replace(app_spec(name, seconds, "none"), **more)  # type: ignore[arg-type]
    namespace = "db" if owner.startswith("StatefulSet") else "shop"
    return spread_over(nodes, len(nodes), owner, namespace, spec)


def service(name: str, namespace: str = "shop", **more: bool) -> Service:
    return Service(namespace=namespace, name=name, selector={"app": name}, **more)


def deployment(name: str, replicas: int) -> dict[tuple[str, str], Workload]:
    own = Workload(kind="Deployment", namespace="shop", name=name, replicas=replicas)
    set_ = Workload(
        kind="ReplicaSet", namespace="shop", name=f"{name}-1", replicas=replicas, owner=f"Deployment/{name}"
    )
    return {("shop", f"Deployment/{name}"): own, ("shop", f"ReplicaSet/{name}-1"): set_}


WORKERS = ("worker-1", "worker-2", "worker-3")


def predicted(
    world: World, cut_for_s: float = 480.0, cut: frozenset[str] | None = None, **more: object
) -> Prediction:
    plan = Plan(cut_nodes=cut or workers_of(world), cut_for_s=cut_for_s, horizon_s=cut_for_s + 400, **more)  # type: ignore[arg-type]
    return rehearse(world, plan, samples=20)


def impact(found: Prediction) -> Impact:
    assert found.impact is not None
    return found.impact


def unit(found: Prediction, name: str) -> UnitImpact:
    return impact(found).units[name]


# -- quorums -------------------------------------------------------------------------------------------------


def test_a_quorum_on_cut_nodes_is_deleted_together_at_the_heal() -> None:
    """tectonic-installer #798: all three members are Terminating from about 350 s on, and stop after the heal.

    They run on until then: nobody lost a quorum during the cut. The cluster heals, the quorum is lost.
    """
    found = predicted(world_of(*members("StatefulSet/etcd", *WORKERS)))
    assert (found.verdict, found.self_heals) == (Forecast.DEVIATED, True)
    assert found.headline.startswith("deviated, it heals by itself, but a quorum is lost")
    etcd = unit(found, ETCD)
    assert (etcd.quorum, etcd.quorum_lost.likely, etcd.at_once.likely) == (
        2,
        pytest.approx(1),
        pytest.approx(1),
    )
    assert etcd.running == etcd.available == (0, 0, 0)
    assert etcd.from_s == pytest.approx(50, abs=10)
    assert next(impact_lines(found.impact)) == f"quorum lost: {ETCD}"
    assert f"  quorum lost: {ETCD}" in list(prediction_lines(found))


def test_a_cut_that_evicts_nobody_loses_no_quorum() -> None:
    """180 s are too short for 50 + 300 s: the Pods are NotReady, and run all the time."""
    found = predicted(world_of(*members("StatefulSet/etcd", *WORKERS)), 180.0)
    assert found.verdict is Forecast.PASSED
    etcd = unit(found, ETCD)
    assert (etcd.available, etcd.running) == ((0, 0, 0), (3, 3, 3))
    assert (etcd.quorum_lost.likely, etcd.at_once.likely) == (0, 0)


def test_two_of_three_members_are_enough() -> None:
    """One node is cut: one member is evicted, two are left."""
    found = predicted(world_of(*members("StatefulSet/etcd", *WORKERS)), cut=frozenset({"worker-1"}))
    assert found.verdict is Forecast.PASSED
    assert unit(found, ETCD).quorum_lost.likely == 0
    assert unit(found, ETCD).running == (2, 2, 2)


@pytest.mark.parametrize(
    ("owner", "count", "said", "is_lost"),
    [
        ("StatefulSet/etcd", 3, None, True),
        ("StatefulSet/etcd", 3, False, False),
        ("StatefulSet/etcd", 2, None, False),
        ("StatefulSet/etcd", 2, True, True),
        ("EtcdCluster/etcd", 3, None, True),
        ("ReplicaSet/etcd", 3, None, False),
        ("ReplicaSet/etcd", 3, True, True),
    ],
)
def test_a_quorum_is_a_stateful_set_of_three_or_what_its_label_says(
    owner: str, count: int, said: bool | None, is_lost: bool
) -> None:
    pods = members(owner, *WORKERS[:count])
    kind, _, name = owner.partition("/")
    known = Workload(kind=kind, namespace=pods[0].namespace, name=name, replicas=count, quorum=said)
    world = world_of(*pods)
    found = predicted(replace(world, workloads={**world.workloads, (pods[0].namespace, owner): known}))
    assert (found.verdict is Forecast.DEVIATED) is is_lost


def test_a_plan_and_a_label_of_the_pods_name_quorums_too() -> None:
    pods = members("ReplicaSet/consul", *WORKERS)
    named = predicted(world_of(*pods), quorums=frozenset({"ReplicaSet/shop/consul"}))
    assert named.verdict is Forecast.DEVIATED
    labelled = members("ReplicaSet/consul", *WORKERS, labels={"app": "consul", "chaosext.io/quorum": "true"})
    assert predicted(world_of(*labelled)).verdict is Forecast.DEVIATED


def test_members_on_both_sides_of_the_cut_do_not_agree() -> None:
    """One of three members is on the control-plane node, which cut nodes do not reach: two are left.

    Of four, two on each side: none has the three that it needs, although all four run.
    """
    tolerant = (
        *app_spec("etcd", 300, "none").tolerations,
        Toleration(operator="Exists", effect="NoSchedule"),
    )
    three = members("StatefulSet/etcd", "cp-1", "worker-1", "worker-2", tolerations=tolerant)
    assert predicted(world_of(*three), 30.0).verdict is Forecast.PASSED
    four = members("StatefulSet/etcd", "cp-1", "cp-1", "worker-1", "worker-2", tolerations=tolerant)
    found = predicted(world_of(*four), 30.0)
    assert found.verdict is Forecast.DEVIATED
    assert unit(found, ETCD).running == (4, 4, 4)


def test_without_proven_routes_a_quorum_across_nodes_is_unknown_and_a_deleted_one_is_lost() -> None:
    unproven = replace(CALICO, full_mesh=None)
    world = world_of(*members("StatefulSet/etcd", *WORKERS), network=unproven)
    short = predicted(world, 30.0)
    assert impact(short).quorum_lost.unknown == pytest.approx(1)
    assert impact(predicted(world)).quorum_lost.likely == pytest.approx(1)


def test_a_quorum_that_had_no_majority_before_is_not_lost_by_the_cut() -> None:
    broken = tuple(replace(pod, ready=False) for pod in members("StatefulSet/etcd", *WORKERS))
    found = predicted(world_of(*broken))
    assert impact(found).quorum_lost.likely == 0
    assert any("no majority" in why for why in impact(found).unknown)


# -- workloads and Services ----------------------------------------------------------------------------------


def test_a_single_replica_that_is_evicted_is_an_impact_and_no_deviation() -> None:
    """It runs until the heal; its replacement is Pending meanwhile, as no node is left, and starts afterwards."""
    pods = members("ReplicaSet/cart-1", "worker-1", labels={"app": "cart"})
    world = world_of(*pods, services=(service("cart"),), workloads=deployment("cart", 1))
    found = predicted(world)
    assert found.verdict is Forecast.PASSED
    cart = unit(found, CART)
    assert (cart.available, cart.running, cart.at_once.likely) == ((0, 0, 0), (0, 0, 0), 0)
    assert unit(found, "Service/shop/cart").none.likely == pytest.approx(1)
    assert unit(found, "Service/shop/cart").none_at_end.likely == 0
    assert f"no Pod runs at some time: {CART} (1 before)" in list(impact_lines(found.impact))


def test_a_service_whose_pods_fit_nowhere_afterwards_has_no_endpoints_at_the_end() -> None:
    """A bare Pod is created by nobody again."""
    bare = Pod(namespace="shop", name="old", node="worker-1", spec=app_spec("old", 300, "none"))
    found = predicted(world_of(bare, services=(service("old"),)))
    assert (found.verdict, found.self_heals) == (Forecast.DEVIATED, False)
    assert unit(found, "Service/shop/old").none_at_end.likely == pytest.approx(1)
    assert "no endpoint at the end: Service/shop/old" in list(impact_lines(found.impact))


def test_replicas_on_both_sides_keep_the_service_and_lose_a_replica_for_the_api() -> None:
    """Node spare-1 is not cut: clients there follow the API, and see one endpoint of two."""
    pods = members("ReplicaSet/cart-1", "worker-1", "spare-1", labels={"app": "cart"})
    world = world_of(*pods, services=(service("cart"),), workloads=deployment("cart", 2))
    world = replace(world, nodes=(*world.nodes, node("spare-1", zone="z")))
    found = predicted(world, 180.0, cut=frozenset(WORKERS))
    assert unit(found, CART).available == (1, 1, 1)
    assert unit(found, "Service/shop/cart").none.likely == 0
    assert set(unit(found, CART).serving) == {1}


def test_clients_that_follow_the_api_lose_pods_that_run_behind_the_cut() -> None:
    pods = members("ReplicaSet/cart-1", "worker-1", "worker-2", labels={"app": "cart"})
    world = replace(world_of(*pods), nodes=(*world_of().nodes, node("spare-1", zone="z")))
    found = predicted(world, 180.0, cut=frozenset(WORKERS))
    cart = unit(found, "ReplicaSet/shop/cart-1")
    assert (cart.running, set(cart.serving)) == ((2, 2, 2), {0})


def test_pods_that_moved_to_nodes_without_routes_are_no_endpoints() -> None:
    """The story of kube-dns, for any Service: Calico announces nothing from the control-plane node.

    Both Pods tolerate its taint, are evicted from the only two workers, and are bound there.
    """
    anywhere = (*unreachable_for(20), Toleration(operator="Exists", effect="NoSchedule"))
    pods = members("ReplicaSet/cart-1", "worker-1", "worker-2", labels={"app": "cart"}, tolerations=anywhere)
    world = world_of(*pods, workers=2, network=CALICO, services=(service("cart"),))
    found = predicted(world)
    assert unit(found, "Service/shop/cart").none_at_end.likely == pytest.approx(1)
    assert found.verdict is Forecast.DEVIATED


def test_another_service_of_kube_dns_pods_is_judged_by_lookups_as_kube_dns_is() -> None:
    """A cache on each node asks kube-dns' Pods by a Service of its own, kube-dns-upstream."""
    world = cluster(network=CALICO)
    assert world.dns is not None
    upstream = replace(world.dns, name="kube-dns-upstream")
    found = predicted(replace(world, services=(world.dns, upstream)))
    assert not [name for name in impact(found).units if "Service/kube-system" in name]
    assert found.verdict is Forecast.DEVIATED


def test_cut_nodes_do_not_reach_a_service_on_the_control_plane() -> None:
    spec = PodSpec(labels={"app": "metrics"}, tolerations=(Toleration(operator="Exists"),))
    pods = spread_over(["cp-1"], 1, "ReplicaSet/metrics-1", "shop", spec)
    found = predicted(world_of(*pods, services=(service("metrics"),)), 30.0)
    assert unit(found, "Service/shop/metrics").unreached is True
    assert found.verdict is Forecast.PASSED
    assert any("not reached from cut nodes" in line for line in impact_lines(found.impact))


def test_a_load_balancer_that_follows_endpoints_is_said() -> None:
    pods = members("ReplicaSet/edge-1", "worker-1", labels={"app": "edge"})
    found = predicted(world_of(*pods, services=(service("edge", external=True),)), 180.0)
    assert any("outside load balancers" in line for line in impact_lines(found.impact))
    assert set(unit(found, "Service/shop/edge").serving) == {0}


def test_a_budget_does_not_hold_evictions_back() -> None:
    match = LabelSelector(requirements=(Requirement(key="app", operator="In", values=("cart",)),))
    budget = DisruptionBudget(namespace="shop", name="cart", selector=match, min_available="2")
    pods = members("ReplicaSet/cart-1", *WORKERS, labels={"app": "cart"})
    (found,) = impact(predicted(world_of(*pods, budgets=(budget,)))).budgets
    assert (found.name, found.allowed, found.evicted) == (
        "PodDisruptionBudget/shop/cart",
        1,
        pytest.approx(3),
    )


def test_pods_that_fit_nowhere_are_pending_at_the_end() -> None:
    """A Pod bound to the hostname of its node by a label that no node has when it is created again."""
    pods = members("ReplicaSet/cart-1", "worker-1", labels={"app": "cart"}, node_selector={"gone": "yes"})
    found = predicted(world_of(*pods, services=(service("cart"),)))
    assert impact(found).pending == {"ReplicaSet/shop/cart-1": pytest.approx(1)}
    assert found.verdict is Forecast.DEVIATED


def test_without_services_in_the_snapshot_an_emptied_workload_is_unknown() -> None:
    bare = Pod(namespace="shop", name="old", node="worker-1", spec=app_spec("old", 300, "none"))
    found = predicted(world_of(bare, missing=frozenset({"Service"})))
    assert found.verdict is Forecast.UNKNOWN


# -- more Pods than are tracked ------------------------------------------------------------------------------


def untracked(world: World, cut_for_s: float = 480.0, **more: object) -> Prediction:
    with patch.object(inputs, "WATCH_ALL_PODS", 0):
        return predicted(world, cut_for_s, **more)


def test_pods_that_are_not_tracked_make_the_impact_unknown_and_never_good() -> None:
    """All three members may be evicted, so that none may be left: unknown. With one node cut, two are left."""
    pods = members("StatefulSet/etcd", *WORKERS)
    found = untracked(world_of(*pods, services=(service("etcd", "db"),)))
    assert found.verdict is Forecast.UNKNOWN
    assert unit(found, ETCD).quorum_lost.unknown == pytest.approx(1)
    assert unit(found, ETCD).available == (0, 0, 0)
    assert unit(found, "Service/db/etcd").none_at_end.unknown == pytest.approx(1)
    partly = untracked(world_of(*pods), cut=frozenset({"worker-1"}))
    assert partly.verdict is Forecast.PASSED


def test_pods_that_are_not_tracked_and_not_evicted_keep_running() -> None:
    found = untracked(world_of(*members("StatefulSet/etcd", *WORKERS)), 180.0)
    assert found.verdict is Forecast.PASSED
    assert (unit(found, ETCD).running, unit(found, ETCD).available) == ((3, 3, 3), (0, 0, 0))


def test_with_many_pods_those_that_are_evicted_are_tracked() -> None:
    """515 Pods on four workers in one zone with the control plane, of which few are evicted before it is disrupted.

    A workload of one replica starts again after the heal; a quorum that is evicted as a whole is lost for certain.
    """
    world = cluster(workers=4, network=ROUTED, control_plane=PRODUCTION, dns_replicas=0, apps=510)
    names = sorted(workers_of(world))
    spec = replace(app_spec("etcd", 300, "none"), requests=Resources(cpu_m=1))
    pods = spread_over(names, 3, "StatefulSet/etcd", "db", spec)
    pods += spread_over(["cp-1"], 2, "ReplicaSet/coredns-66bc5c9577", "kube-system", dns_spec(None))
    light = replace(app_spec("web", 300, "none"), requests=Resources(cpu_m=1))
    web = tuple(replace(pod, spec=light) if pod.namespace == "web" else pod for pod in world.pods)
    nodes = tuple(replace(each, max_pods=500) for each in world.nodes)
    pods += members("ReplicaSet/cart-1", "worker-2", labels={"app": "cart"})
    world = replace(world, nodes=nodes, pods=(*web, *pods), services=(service("cart"),))
    found = predicted(world)
    assert impact(found).services_ended == (0, 0)
    assert impact(found).quorum_lost.likely > 0.5
    assert found.workloads["ReplicaSet/web/web-1"]["evicted"] > 100


# -- several cuts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tracked", [True, False])
def test_a_second_cut_does_not_hide_what_the_first_one_costs(tracked: bool) -> None:
    """The first cut of 480 s ends with the quorum; the second one, of 20 s, is too short for anything."""
    world = world_of(*members("StatefulSet/etcd", *WORKERS))
    cuts = ((0.0, 480.0), (600.0, 620.0))
    plan = Plan(cut_nodes=workers_of(world), periods=cuts, horizon_s=900.0)
    with patch.object(inputs, "WATCH_ALL_PODS", inputs.WATCH_ALL_PODS if tracked else 0):
        found = rehearse(world, plan, samples=20)
    lost = impact(found).quorum_lost
    assert lost.likely + lost.unknown == pytest.approx(1)
    assert found.verdict is (Forecast.DEVIATED if tracked else Forecast.UNKNOWN)


# -- what always holds ---------------------------------------------------------------------------------------

kinds = st.sampled_from(["StatefulSet/a", "ReplicaSet/a", "EtcdCluster/a"])
places = st.lists(st.sampled_from([*WORKERS, "cp-1"]), min_size=1, max_size=5)


@given(kinds, places, st.sampled_from([20.0, 180.0, 480.0]), st.sampled_from([0, 300, None]), st.booleans())
@settings(max_examples=examples(25))
def test_counts_are_between_none_and_all_and_the_same_twice(
    owner: str, nodes: list[str], cut_for_s: float, seconds: int | None, tracked: bool
) -> None:
    pods = members(owner, *nodes, seconds=seconds)
    world = world_of(*pods, services=(service("a", pods[0].namespace),))
    first, second = ((predicted if tracked else untracked)(world, cut_for_s) for _ in range(2))
    assert json.dumps(first.to_json()) == json.dumps(second.to_json())
    assert len(list(impact_lines(first.impact))) <= MOST_LINES
    assert sum(impact(first).ways.values()) == pytest.approx(1)
    for each in impact(first).units.values():
        for low in (each.available, each.running):
            assert low is None or 0 <= low.lowest <= low.typical <= low.highest <= each.before
        for chance in (each.quorum_lost, each.at_once, each.none, each.none_at_end):
            assert 0 <= chance.likely + chance.unknown <= 1 + 1e-9


@given(kinds, places, st.sampled_from([180.0, 480.0]))
@settings(max_examples=examples(20))
def test_a_bound_is_never_better_than_what_tracking_finds(
    owner: str, nodes: list[str], cut_for_s: float
) -> None:
    """What is certain without tracking every Pod is true with it."""
    pods = members(owner, *nodes)
    world = world_of(*pods, services=(service("a", pods[0].namespace),))
    exact, bounds = impact(predicted(world, cut_for_s)), impact(untracked(world, cut_for_s))
    assert exact.quorum_lost.likely <= bounds.quorum_lost.likely + bounds.quorum_lost.unknown + 1e-9
    assert exact.services_ended.likely <= bounds.services_ended.likely + bounds.services_ended.unknown + 1e-9
    assert exact.all_at_once.likely <= bounds.all_at_once.likely + bounds.all_at_once.unknown + 1e-9
