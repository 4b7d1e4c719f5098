"""Unknown propagates: from routes, from time that was too short, and from the past, to everything that hangs on it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from worlds import CALICO, ROUTED, cluster, dns_spec, spread_over, workers_of

from chaosext.cli.prediction_text import prediction_lines
from chaosext.model.timeline import Kind
from chaosext.rehearsal.network.routes import EveryNode, Proof
from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.predict.recommendations import advised
from chaosext.rehearsal.predict.scenarios import Scenario, ScenarioRunner
from chaosext.rehearsal.simulate import inputs as stages
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.prediction import NO_TIME, Dns, Forecast, Prediction
from chaosext.rehearsal.simulate.time_budget import TimeBudget
from chaosext.rehearsal.snapshot.world import Doubt, Network
from chaosext.report.render.gate_text import expected

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosext.rehearsal.snapshot.world import World

MESHED = (Kind.XDS_LOST, Kind.XDS_RESTORED, Kind.PROBE_FAILING, Kind.CRASH_LOOP)


def plan_of(world: World, cut_for_s: float = 60.0, **more: Any) -> Plan:
    return Plan(cut_nodes=workers_of(world), cut_for_s=cut_for_s, horizon_s=400, **more)


def predicted(world: World, samples: int | None = 40, **more: Any) -> Prediction:
    return rehearse(world, plan_of(world), samples=samples, **more)


# -- routes that are not known -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unproven() -> Prediction:
    """Leafs, and no object that says whether there is a node-to-node mesh, too."""
    return predicted(cluster(sidecar="holding", network=replace(CALICO, full_mesh=None)))


def test_with_routes_the_mesh_is_known() -> None:
    found = predicted(cluster(sidecar="holding"))
    assert found.mesh["stuck_pods"] > 0
    assert {event.kind for event in found.timeline} >= {Kind.XDS_LOST, Kind.PROBE_FAILING}


def test_without_routes_mesh_stuck_pods_and_recovery_are_unknown_too(unproven: Prediction) -> None:
    assert (unproven.verdict, unproven.self_heals) == (Forecast.UNKNOWN, None)
    assert unproven.chances == {Forecast.UNKNOWN: pytest.approx(1.0)}
    mesh = unproven.mesh
    assert mesh["xds_lost_probability"] is None
    assert mesh["xds_restored_probability"] is None
    assert mesh["stuck_pods"] is None
    assert {row["stuck"] for name, row in unproven.workloads.items() if name != "(others)"} == {None}
    assert not [event for event in unproven.timeline if event.kind in MESHED]
    ready = [
        event for event in unproven.timeline if event.kind is Kind.POD_READY and "/shop/" in event.object
    ]
    assert ready == []


def test_what_does_not_hang_on_routes_is_still_known(unproven: Prediction) -> None:
    kinds = {event.kind for event in unproven.timeline if event.probability > 0.9}
    assert kinds >= {Kind.NODE_NOT_READY, Kind.NODE_TAINTED, Kind.POD_EVICTED, Kind.POD_BOUND}
    assert unproven.workloads["Deployment/kube-system/coredns"]["evicted"] == pytest.approx(2.0, abs=0.2)


def test_no_text_calls_well_what_is_not_known(unproven: Prediction) -> None:
    for lines in (expected(unproven), prediction_lines(unproven)):
        said = "\n".join(lines)
        assert "in sync" not in said
        assert "heals by itself" not in said
        assert "unknown" in said
    page = list(expected(unproven))
    assert "unknown whether sidecars lose istiod, and whether Pods get stuck without it" in page
    assert "full recovery without help: 0%; unknown: 100%" in page
    assert "shop/catalog-1: 4.0 evicted, stuck unknown" in "\n".join(prediction_lines(unproven))


def test_the_json_names_what_would_settle_it(unproven: Prediction) -> None:
    said = json.loads(json.dumps(unproven.to_json()))
    assert (said["routes"]["proven"], said["routes"]["rests_on"]) == (False, "")
    assert said["routes"]["doubts"][0]["key"] == "spec.nodeToNodeMeshEnabled"


def test_kube_dns_on_its_nodes_network_is_reached_but_nothing_else_is_known() -> None:
    """What users lose may be more than DNS: where routes vanish, Services do."""
    host = replace(dns_spec(20), host_network=True)
    world = cluster(network=replace(CALICO, full_mesh=None))
    pods = spread_over(["worker-1", "worker-2"], 2, "ReplicaSet/coredns-1", "kube-system", host)
    found = predicted(replace(world, pods=pods))
    assert found.dns.after_heal is Dns.RESOLVABLE
    assert (found.verdict, found.self_heals) == (Forecast.UNKNOWN, None)


def test_an_outage_that_is_certain_is_one_without_routes_as_well() -> None:
    """Nobody answers: kube-dns' Pods are lost for good, and nothing creates others."""
    world = cluster(network=Network())
    bare = tuple(replace(pod, owner="") if "coredns" in pod.name else pod for pod in world.pods)
    found = predicted(replace(world, pods=bare))
    assert found.dns.after_heal is Dns.DEAD
    assert found.verdict is Forecast.DEVIATED


def test_a_cut_that_is_another_one_than_is_modelled_is_unknown() -> None:
    doubt = Doubt(subject="the experiment", why="it makes 2 cuts")
    world = cluster(network=ROUTED)
    found = rehearse(world, plan_of(world, doubts=(doubt,)), samples=20)
    assert found.verdict is Forecast.UNKNOWN
    assert "the experiment: it makes 2 cuts" in found.routes.why_not


# -- routes that change ------------------------------------------------------------------------------------------


class Withdrawn(EveryNode):
    """As a lost route reflector: at 90 s routes between nodes vanish, and at 130 s they are back."""

    def changes_s(self, between: Callable[[float, float], float]) -> tuple[float, ...]:
        return (90.0, 130.0)

    def _reaches(self, client: int, host: int, changes: int) -> bool:
        return changes != 1


def test_routes_that_change_in_a_cut_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "routes_of", lambda *_: Withdrawn(Proof(rests_on="a model")))
    world = cluster(workers=3)
    plan = Plan(cut_nodes=frozenset({"worker-3"}), cut_for_s=20, horizon_s=400)
    found = rehearse(world, plan, samples=10)
    told = {
        event.t_s: (event.kind, event.object)
        for event in found.timeline
        if event.kind in (Kind.DNS_DEAD, Kind.DNS_RESTORED) and event.object == "Node/worker-3"
    }
    assert told == {90.0: (Kind.DNS_DEAD, "Node/worker-3"), 130.0: (Kind.DNS_RESTORED, "Node/worker-3")}
    assert found.verdict is Forecast.PASSED


def test_sidecars_find_an_istiod_only_where_they_reach_it() -> None:
    """istiod is put onto the control plane, whose Pods' addresses nobody learns: DNS is well, and the mesh is not."""
    world = cluster(sidecar="holding", dns_replicas=1)
    homes = {"ReplicaSet/istiod-1": "cp-1", "ReplicaSet/coredns-66bc5c9577": "worker-2"}
    moved = tuple(replace(pod, node=homes.get(pod.owner, pod.node)) for pod in world.pods)
    found = rehearse(
        replace(world, pods=moved),
        Plan(cut_nodes=frozenset({"worker-1"}), cut_for_s=60, horizon_s=400),
        samples=20,
    )
    assert found.dns.after_heal is Dns.RESOLVABLE
    assert found.mesh["stuck_pods"] > 3
    assert found.verdict is Forecast.DEVIATED


# -- DNS that was down before --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut_for_s", [5.0, 60.0])
def test_dns_that_was_down_before_the_cut_says_nothing_of_it(cut_for_s: float) -> None:
    world = cluster(network=ROUTED)
    down = tuple(replace(pod, ready=False) if "coredns" in pod.name else pod for pod in world.pods)
    found = rehearse(replace(world, pods=down), plan_of(world, cut_for_s), samples=20)
    assert found.verdict is Forecast.UNKNOWN
    assert "it was down before" in found.outcomes[0].why
    assert any("it was down before" in line for line in found.assumptions)


def test_a_pod_that_was_not_ready_before_is_not_expected_to_become_so() -> None:
    world = cluster(network=ROUTED, apps=2)
    ailing = tuple(replace(pod, ready="web-1-0" not in pod.name) for pod in world.pods)
    ready = {
        event.object
        for event in rehearse(replace(world, pods=ailing), plan_of(world, 25), samples=20).timeline
        if event.kind is Kind.POD_READY
    }
    assert "Pod/web/web-1-1" in ready
    assert "Pod/web/web-1-0" not in ready


# -- time that was too short -----------------------------------------------------------------------------------------


class Clock:
    """Goes on by a second at each of so many looks at it, then by a day."""

    def __init__(self, looks: int) -> None:
        self.left, self.now_s = looks, 0.0

    def __call__(self) -> float:
        self.left -= 1
        self.now_s += 1.0 if self.left > 0 else 86_400.0
        return self.now_s


def budget(looks: int) -> TimeBudget:
    return TimeBudget.of(3600.0, Clock(looks))


def test_what_was_not_simulated_in_time_is_unknown() -> None:
    found = predicted(cluster(), samples=100, budget=budget(60))
    made = found.simulations.made
    assert 0 < made < 50
    assert found.simulations.wanted == 100
    assert found.method == f"{made} of 100 random simulations, seed 0: the time budget of 3600s ended"
    assert found.chances[Forecast.UNKNOWN] == pytest.approx(1 - made / 100)
    assert (found.verdict, found.self_heals, found.dns.after_heal) == (Forecast.UNKNOWN, None, Dns.UNKNOWN)
    assert sum(outcome.probability for outcome in found.outcomes) == pytest.approx(1.0)
    assert found.samples == made


def test_a_majority_that_the_missing_ones_can_not_outweigh_is_known() -> None:
    found = predicted(cluster(), samples=10, budget=budget(18))
    assert 5 < found.simulations.made < 10
    assert found.verdict is Forecast.DEVIATED
    assert found.chances[Forecast.DEVIATED] == pytest.approx(found.simulations.made / 10)


def test_ways_that_take_too_long_to_enumerate_are_sampled() -> None:
    """Half of the time is for all of them; a part of them would show nothing."""
    found = predicted(cluster(), samples=None, budget=budget(400))
    assert "random simulations" in found.method
    assert found.simulations.made < found.simulations.wanted


def test_without_any_simulation_nothing_is_known() -> None:
    found = predicted(cluster(sidecar="holding"), samples=None, budget=budget(1))
    assert found.simulations.made == 0
    assert (found.verdict, found.timeline, found.mesh["stuck_pods"]) == (Forecast.UNKNOWN, (), None)
    assert found.to_json()["workloads"] is None
    assert list(expected(found)) == [f"unknown: {found.method}"]
    assert "no Pod is evicted" not in "\n".join(expected(found))


def test_a_single_simulation_that_takes_too_long_is_stopped() -> None:
    world = cluster(workers=6, apps=60)
    found = predicted(world, samples=1, budget=budget(4))
    assert (found.simulations.made, found.simulations.wanted) == (0, 1)


def test_what_is_whole_is_the_same_with_a_budget_as_without_one() -> None:
    world = cluster(workers=4, apps=3)
    assert predicted(world, samples=15) == predicted(world, samples=15, budget=TimeBudget.of(1e9))


def test_advice_says_which_mitigations_were_not_simulated() -> None:
    world = cluster()
    found = predicted(world)
    told = advised(found, world, plan_of(world), budget=budget(100)).advice
    assert told[-1].effect == NO_TIME
    assert {each.effect for each in told} != {NO_TIME}
    said = "\n".join(prediction_lines(found.advised(told)))
    assert f"{told[-1].mitigation}: {NO_TIME}" in said


def test_a_scenario_that_the_time_is_up_for_is_unknown() -> None:
    runner = ScenarioRunner(cluster(), budget=budget(30))
    rows = [runner.play(Scenario(name=str(at), cut_for_s=60, horizon_s=300)) for at in range(4)]
    assert rows[0]["simulations"] == {"made": 8, "wanted": 8}
    assert rows[-1]["simulations"] == {"made": 0, "wanted": 8}
    assert (rows[-1]["verdict"], rows[-1]["workloads"]) == ("unknown", None)
