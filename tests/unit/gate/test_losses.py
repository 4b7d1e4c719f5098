"""What users lose, against what a plan accepts: each condition, its default, and that unknown is never healthy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from worlds import (
    PRODUCTION,
    ROUTED,
    app_spec,
    cluster,
    dns_spec,
    node,
    off_control_plane,
    spread_over,
    workers_of,
)

from chaosext.gate.cutover_plan import Acceptance, Cutover, Protected, Selection
from chaosext.gate.decision import Decision, Weight
from chaosext.gate.judge import judge
from chaosext.gate.losses import lost
from chaosext.model.errors import Refused
from chaosext.rehearsal.network.routes import Proof
from chaosext.rehearsal.simulate.impact import Chance, CountRange, Impact, UnitImpact, Way
from chaosext.rehearsal.simulate.prediction import Dns, DnsView, Forecast, Prediction
from chaosext.rehearsal.snapshot.world import Alternative, Doubt, Service, World

CART = "Deployment/shop/cart"
WEB = "Service/shop/web"


def prediction(impact: Impact | None, **more: object) -> Prediction:
    return Prediction(
        assumptions=(),
        timings={},
        timeline=(),
        dns=DnsView(during_cut=Dns.RESOLVABLE, after_heal=Dns.RESOLVABLE),
        dns_per_node={},
        mesh={},
        workloads={},
        outcomes=(),
        self_heals=True,
        verdict=Forecast.PASSED,
        method="",
        impact=impact,
        **more,  # type: ignore[arg-type]
    )


def statuses(impact: Impact | None, *, found: Prediction | None = None, **accept: object) -> dict[str, str]:
    findings = lost(found or prediction(impact), Acceptance(**accept))  # type: ignore[arg-type]
    return {each.check: each.status.value for each in findings}


def ways(**lost_sets: object) -> Impact:
    return Impact(ways={Way(**lost_sets): 1.0})  # type: ignore[arg-type]


ALL_WELL = {
    "quorum_lost": "healthy",
    "services_at_end": "healthy",
    "all_at_once": "healthy",
    "pending_pods": "healthy",
}


def test_a_cut_that_costs_nothing_meets_every_default() -> None:
    assert statuses(ways()) == ALL_WELL


@pytest.mark.parametrize(
    ("hit", "check"),
    [
        ({"quorums": frozenset({"StatefulSet/db/etcd"})}, "quorum_lost"),
        ({"ended": frozenset({WEB})}, "services_at_end"),
        ({"at_once": frozenset({CART})}, "all_at_once"),
        ({"pending": 1}, "pending_pods"),
    ],
)
def test_each_loss_makes_its_condition_unhealthy(hit: dict[str, object], check: str) -> None:
    assert statuses(ways(**hit)) == ALL_WELL | {check: "unhealthy"}


@pytest.mark.parametrize(
    ("unsure", "check"),
    [
        ({"unsure_quorums": frozenset({"StatefulSet/db/etcd"})}, "quorum_lost"),
        ({"unsure_ended": frozenset({WEB})}, "services_at_end"),
        ({"unsure_at_once": frozenset({CART})}, "all_at_once"),
        ({"pending": None}, "pending_pods"),
    ],
)
def test_a_loss_that_is_unknown_makes_its_condition_unknown(unsure: dict[str, object], check: str) -> None:
    assert statuses(ways(**unsure)) == ALL_WELL | {check: "unknown"}


def test_nothing_is_healthy_without_a_simulation_or_with_missing_ones_or_unproven_routes() -> None:
    everything = dict.fromkeys(ALL_WELL, "unknown")
    assert statuses(None) == everything
    assert statuses(Impact(ways={Way(): 0.9})) == everything
    doubt = Doubt(subject="BGPPeer/x", why="it filters")
    assert statuses(None, found=prediction(ways(), routes=Proof(doubts=(doubt,)))) == everything
    assert statuses(None, found=prediction(ways(), doubts=(doubt,))) == everything


def test_a_loss_in_few_simulations_counts_by_its_probability() -> None:
    rare = Impact(ways={Way(): 0.995, Way(quorums=frozenset({"StatefulSet/db/etcd"})): 0.005})
    assert statuses(rare)["quorum_lost"] == "healthy"
    assert statuses(rare, probability=0.999)["quorum_lost"] == "unhealthy"


def test_the_plan_accepts_losses_by_number_and_by_name() -> None:
    two = ways(ended=frozenset({WEB, "Service/shop/cart"}), quorums=frozenset({"StatefulSet/db/etcd"}))
    assert "quorum_lost" not in statuses(two, quorum_lost=True)
    assert statuses(two, services_at_end=2)["services_at_end"] == "healthy"
    assert statuses(two, services_at_end=1)["services_at_end"] == "unhealthy"
    assert statuses(two, services_at_end=frozenset({WEB}))["services_at_end"] == "unhealthy"
    both = frozenset({WEB, "Service/shop/cart"})
    assert statuses(two, services_at_end=both)["services_at_end"] == "healthy"
    assert "pending_pods" not in statuses(ways(pending=7), pending_pods=None)


def test_services_during_the_cut_count_only_if_the_plan_says_so() -> None:
    dark = ways(during=frozenset({WEB}))
    assert "services_during_cut" not in statuses(dark)
    assert statuses(dark, services_during_cut=0)["services_during_cut"] == "unhealthy"
    assert statuses(dark, services_during_cut=frozenset({WEB}))["services_during_cut"] == "healthy"
    unreached = UnitImpact(name=WEB, replicas=1, before=1, unreached=True)
    silent = Impact(units={WEB: unreached}, ways={Way(): 1.0})
    assert statuses(silent, services_during_cut=0)["services_during_cut"] == "unhealthy"


@pytest.mark.parametrize(
    ("serving", "at_least", "status"),
    [
        ({1: 1.0}, 1, "healthy"),
        ({1: 1.0}, 2, "unhealthy"),
        ({0: 0.02, 1: 0.98}, 1, "unhealthy"),
        ({1: 0.9}, 1, "unknown"),
        ({}, 1, "unknown"),
    ],
)
def test_what_is_protected_must_keep_its_pods(serving: dict[int, float], at_least: int, status: str) -> None:
    unit = UnitImpact(name=CART, replicas=2, before=2, serving=serving)
    impact = Impact(units={CART: unit}, ways={Way(): 1.0})
    for name in (CART, "namespace/shop"):
        assert statuses(impact, protect=(Protected(name=name, at_least=at_least),))["protected"] == status
    assert statuses(impact, protect=(Protected(name="namespace/db"),))["protected"] == "healthy"


def test_the_worst_comes_first_and_rows_are_limited() -> None:
    def unit(name: str, **more: object) -> UnitImpact:
        return UnitImpact(
            name=name,
            replicas=3,
            before=3,
            running=CountRange(3, 3, 3),
            **more,  # type: ignore[arg-type]
        )

    units = [unit(f"Deployment/x/{at:03}") for at in range(300)]
    worst = unit("StatefulSet/z/etcd", quorum=2, quorum_lost=Chance(1.0))
    found = Impact(units={each.name: each for each in (*units, worst)}, ways={Way(): 1.0}).to_json()
    assert next(iter(found["workloads"])) == "StatefulSet/z/etcd"
    assert (len(found["workloads"]), found["left_off"]["workloads"]) == (200, 101)


# -- plans on worlds -----------------------------------------------------------------------------------------


def quorum_world() -> World:
    """Three workers, each in a zone of its own, with a member of etcd on each; kube-dns stays on the control plane."""
    world = cluster(
        workers=3,
        zones="abc",
        network=ROUTED,
        control_plane=PRODUCTION,
        affinity=off_control_plane(),
        dns_replicas=0,
    )
    names = sorted(workers_of(world))
    pods = spread_over(names, 3, "StatefulSet/etcd", "db", app_spec("etcd", 300, "none"))
    pods += spread_over(["cp-1"], 2, "ReplicaSet/coredns-66bc5c9577", "kube-system", dns_spec(None))
    nodes = tuple(replace(each, kubelet_version="v1.34.4") for each in world.nodes)
    service = Service(namespace="db", name="etcd", selector={"app": "etcd"})
    return replace(world, nodes=nodes, pods=(*world.pods, *pods), services=(service,))


PLAN = Cutover(
    title="t",
    selection=Selection(selector="!node-role.kubernetes.io/control-plane"),
    cut_for_s=480,
    at_most_s=480,
)


def test_a_lost_quorum_is_no_go_unless_the_plan_accepts_it() -> None:
    no_go = judge(quorum_world(), PLAN)
    assert no_go.decision is Decision.NO_GO
    assert {each.finding.check for each in no_go.against} == {"quorum_lost"}
    assert "StatefulSet/db/etcd" in no_go.against[0].finding.summary
    remark = next(each for each in no_go.weighed if each.finding.check == "all_at_once")
    assert (remark.weight, remark.finding.status) == (Weight.REMARK, "unhealthy")
    accepted = replace(PLAN, accept=Acceptance(quorum_lost=True))
    assert judge(quorum_world(), accepted).decision is Decision.GO
    strict = replace(PLAN, accept=Acceptance(quorum_lost=True, all_at_once=False))
    assert {each.finding.check for each in judge(quorum_world(), strict).against} == {"all_at_once"}


def test_a_remark_does_not_keep_the_gate_from_turning_assumptions() -> None:
    """All Pods of web stop together at the heal, a remark; the assumption otherwise leads to another outcome."""
    world = quorum_world()
    pods = [replace(pod, owner="ReplicaSet/web-1") if pod.namespace == "db" else pod for pod in world.pods]
    calm = replace(world, pods=tuple(pods))
    turned = Alternative(
        name="repairs",
        assumed="nothing repairs nodes",
        settles="look",
        apply=lambda world: replace(world, pods=quorum_world().pods),
    )
    go, unknown = judge(calm, PLAN), judge(replace(calm, alternatives=(turned,)), PLAN)
    assert (go.decision, unknown.decision) == (Decision.GO, Decision.NOT_KNOWN)
    remark = next(each for each in unknown.weighed if each.finding.check == "all_at_once")
    assert (remark.weight, remark.finding.status) == (Weight.REMARK, "unhealthy")
    assert "quorum_lost" in {each.finding.check for each in unknown.against}


@pytest.mark.parametrize(
    ("accept", "quorums", "said"),
    [
        ({"protect": (Protected(name="StatefulSet/db/etdc"),)}, (), "StatefulSet/db/etcd"),
        ({"protect": (Protected(name="namespace/dbs"),)}, (), "namespace/db"),
        ({"protect": (Protected(name="StatefulSet/db/etcd", at_least=4),)}, (), "at_least to 3"),
        ({"services_during_cut": frozenset({"Service/db/etc"})}, (), "Service/db/etcd"),
        ({}, ("Deployment/infra/consul",), "such as"),
    ],
)
def test_a_name_that_is_not_in_the_snapshot_is_refused(
    accept: dict[str, object], quorums: tuple[str, ...], said: str
) -> None:
    plan = replace(PLAN, accept=Acceptance(**accept), quorums=quorums)  # type: ignore[arg-type]
    with pytest.raises(Refused) as refused:
        judge(quorum_world(), plan)
    assert said in refused.value.fix


def test_a_protected_workload_across_the_cut_keeps_a_pod_and_one_inside_does_not() -> None:
    """One Pod of cart on a cut node and one on a node that is not: clients on both sides always have one."""
    world = quorum_world()
    spare = replace(node("spare-1", zone="d"), kubelet_version="v1.34.4")
    spec, lonely = app_spec("cart", 300, "none"), app_spec("lonely", 300, "none")
    pods = spread_over(["worker-1", "spare-1"], 2, "ReplicaSet/cart", "shop", spec)
    pods += spread_over(["worker-1"], 1, "ReplicaSet/lonely", "shop", lonely)
    world = replace(world, nodes=(*world.nodes, spare), pods=(*world.pods, *pods))
    cut = replace(PLAN, selection=Selection(names=("worker-1",)))

    def checks(name: str) -> set[str]:
        plan = replace(cut, accept=Acceptance(protect=(Protected(name=name),)))
        return {each.finding.check for each in judge(world, plan).against}

    assert checks("ReplicaSet/shop/cart") == set()
    assert checks("ReplicaSet/shop/lonely") == {"protected"}
    assert checks("namespace/shop") == {"protected"}
