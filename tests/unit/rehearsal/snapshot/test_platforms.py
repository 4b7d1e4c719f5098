"""Who runs the control plane is recognised by the nodes; what only documents say of it is played both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from listings import SMALL, Item, item, listed, node, written
from test_dns_detection import ROUTED, behind, service
from test_mesh_detection import CLUSTER, app

from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.doubts import doubts_of
from chaosext.rehearsal.simulate.node_lifecycle import CutNodes, live
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.prediction import Forecast
from chaosext.rehearsal.simulate.samples import samples
from chaosext.rehearsal.snapshot.reader import read_snapshot
from chaosext.rehearsal.snapshot.world import ControlPlane

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaosext.rehearsal.snapshot.world import World

    Read = Callable[..., World]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return lambda *items, **flags: read_snapshot([written(tmp_path / "c.json", listed(*items))], **flags)


def names_of(world: World) -> frozenset[str]:
    return frozenset(each.name for each in world.nodes)


# -- recognition -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "labels", "name"),
    [
        ("v1.30.4-eks-a737599", {}, "EKS"),
        ("v1.30.4", {"eks.amazonaws.com/nodegroup": "ng"}, "EKS"),
        ("v1.30.4-eks-a737599", {"eks.amazonaws.com/compute-type": "hybrid"}, "EKS hybrid nodes"),
        ("v1.30.5-gke.1014001", {}, "GKE"),
        ("v1.30.5", {"kubernetes.azure.com/cluster": "mc"}, "AKS"),
        ("v1.29.6+aba1e8d", {}, "OpenShift"),
        ("v1.29.6", {"node.openshift.io/os_id": "rhcos"}, "OpenShift"),
        ("v1.31.4+k3s1", {}, "k3s"),
        ("v1.31.4+rke2r1", {}, "RKE2"),
        ("v1.34.4", {}, ""),
    ],
)
def test_a_platform_is_recognised(read: Read, version: str, labels: dict[str, str], name: str) -> None:
    world = read(node("worker-1", version=version, **labels), node("worker-2", version=version))
    assert world.control_plane.platform == name


def test_eks_is_not_kubernetes_own_controller(read: Read) -> None:
    made = read(node("worker-1", version="v1.33.1-eks-a737599")).control_plane
    assert (made.timings.grace_s, made.large_cluster_size, made.evicts_lost_zones) == (40.0, 100_000, False)
    assert "EKS" in made.timings.source


def test_a_flag_that_is_given_wins_and_settles_it(read: Read) -> None:
    eks = node("worker-1", version="v1.33.1-eks-a737599")
    world = read(eks, controller_manager_args=["node-monitor-grace-period=55s"])
    assert world.control_plane.timings.grace_s == 55.0
    assert not [each for each in world.alternatives if "grace" in each.name]


def test_static_pods_settle_the_timings(read: Read) -> None:
    manager = item("Pod", "kube-controller-manager-cp-1", "kube-system", spec={"nodeName": "cp-1"})
    manager["spec"]["containers"] = [{"name": "m", "command": ["kube-controller-manager"]}]
    server = {**manager, "metadata": {**manager["metadata"], "name": "kube-apiserver-cp-1"}}
    assert read(*SMALL, manager).alternatives == ()
    (other,) = read(*SMALL, server).alternatives
    assert "fast reaction" in other.name


@pytest.mark.parametrize("version", ["v1.33.1-gke.1", "v1.33.2+k0s"])
def test_a_managed_control_plane_is_no_node_of_the_cluster(read: Read, version: str) -> None:
    """Nor is k0s', whose controllers that run Pods label themselves (its worker-node-config.md)."""
    hidden = "control-plane nodes"
    assert hidden not in {each.name for each in read(node("worker-1", version=version)).alternatives}
    world = read(node("worker-1"), node("worker-2"))
    (other,) = (each for each in world.alternatives if each.name == hidden)
    assert len(other.apply(world).nodes) == 3


# -- what follows ----------------------------------------------------------------------------------------------


def emptied(control_plane: ControlPlane) -> int:
    """How many of two nodes, all that their zone has, are tainted with NoExecute."""
    fleet = CutNodes(
        zone_of=(0, 0),
        ready_pods=(1, 1),
        counted=(True, True),
        ages_s=(None, None),
        zone_names=("a", "b"),
        others_ready=(0, 2),
        others_lost=(0, 0),
    )
    plan = Plan(cut_nodes=frozenset({"x"}), cut_for_s=300, horizon_s=400)
    (played,) = samples(lambda draw: live(fleet, control_plane, plan, draw), 0, 1)
    return sum(since < float("inf") for since in played.value.no_execute_s)


def test_a_zone_that_is_lost_whole_is_not_emptied_if_the_controller_spares_it() -> None:
    assert emptied(ControlPlane()) == 2
    assert emptied(ControlPlane(evicts_lost_zones=False)) < 2


@pytest.mark.parametrize(
    ("version", "labels", "minutes"),
    [
        ("v1.30.4-eks-a737599", {}, 10),
        ("v1.30.5-gke.1014001", {}, 10),
        ("v1.30.5", {"kubernetes.azure.com/cluster": "mc"}, 10),
        ("v1.30.5", {"karpenter.sh/nodepool": "default"}, 30),
    ],
)
def test_a_cut_that_outlasts_node_repair_is_unknown(
    read: Read, version: str, labels: dict[str, str], minutes: int
) -> None:
    nodes = tuple(node(f"worker-{at}", version=version, **labels) for at in (1, 2))
    world = read(*nodes)
    assert doubts_of(world, names_of(world), 60 * minutes * 0.7) == ()
    (doubt,) = doubts_of(world, names_of(world), 60 * minutes)
    assert f"about {minutes}m, and" in doubt.why


def test_hybrid_nodes_are_not_replaced(read: Read) -> None:
    hybrid = node("hall-1", version="v1.33.1-eks-1", **{"eks.amazonaws.com/compute-type": "hybrid"})
    world = read(hybrid, node("worker-1", version="v1.33.1-eks-1"))
    assert doubts_of(world, {"hall-1"}, 3600) == ()
    assert doubts_of(world, {"worker-1"}, 3600)


@pytest.mark.parametrize(
    ("spec", "after_s"),
    [
        ({}, 300.0),
        ({"unhealthyConditions": [{"type": "Ready", "status": "Unknown", "timeout": "8m30s"}]}, 510.0),
        ({"unhealthyConditions": [{"type": "Terminating", "status": "True", "timeout": "0s"}]}, None),
    ],
)
def test_a_machine_health_check_repairs_nodes_too(read: Read, spec: Item, after_s: float | None) -> None:
    check = item(
        "MachineHealthCheck", "workers", "openshift-machine-api", "machine.openshift.io/v1beta1", spec=spec
    )
    found = read(*SMALL, check).repairs
    assert [each.after_s for each in found] == ([] if after_s is None else [after_s])


def test_a_node_that_only_pods_show_makes_the_snapshot_incomplete(read: Read) -> None:
    world = read(*(each for each in SMALL if each["metadata"]["name"] != "cp-1"))
    (doubt,) = world.doubts
    assert doubt.subject == "Node/cp-1"


def test_a_cut_of_every_control_plane_node_is_unknown(read: Read) -> None:
    world = read(*CLUSTER)
    assert doubts_of(world, names_of(world), 60)
    assert (
        rehearse(world, Plan(cut_nodes=names_of(world), cut_for_s=60), samples=4).verdict is Forecast.UNKNOWN
    )


def test_a_deployment_that_replaces_late_is_not_modelled(read: Read) -> None:
    deployment = item(
        "Deployment",
        "coredns",
        "kube-system",
        "apps/v1",
        spec={"podReplacementPolicy": "TerminationComplete"},
    )
    owner = [{"kind": "Deployment", "name": "coredns", "controller": True}]
    replicas = item(
        "ReplicaSet", "coredns-66bc5c9577", "kube-system", "apps/v1", metadata={"ownerReferences": owner}
    )
    (doubt,) = read(*SMALL, deployment, replicas).doubts
    assert (doubt.subject, doubt.key) == ("Deployment/kube-system/coredns", "spec.podReplacementPolicy")


# -- both ways -------------------------------------------------------------------------------------------------


def cut(world: World, cut_for_s: float) -> Any:
    workers = frozenset({"worker-1", "worker-2"})
    return rehearse(
        world, Plan(cut_nodes=workers, cut_for_s=cut_for_s, horizon_s=cut_for_s + 300), samples=20
    )


def test_timings_that_could_turn_the_outcome_make_it_unknown(read: Read) -> None:
    """335 s: with a grace period of 50 s kube-dns stays, with 20 s it moves to cp-1, whom nobody reaches."""
    found = cut(read(*SMALL), 335)
    assert (found.verdict, found.self_heals) == (Forecast.UNKNOWN, None)
    assert sum(each.probability for each in found.outcomes) == pytest.approx(1.0)
    assert "--controller-manager-arg node-monitor-grace-period" in str(found.otherwise[0])
    said = found.to_json()["unsettled"][0]
    assert (said["otherwise"], "a fast reaction" in said["name"] or "40 s" in said["name"]) == (
        "deviated",
        True,
    )


def test_timings_that_turn_nothing_are_only_assumed(read: Read) -> None:
    found = cut(read(*CLUSTER, app()), 335)
    assert (found.verdict, found.otherwise) == (Forecast.PASSED, ())


def test_given_timings_are_known(read: Read) -> None:
    flags = {"controller_manager_args": ["node-monitor-grace-period=50s"]}
    assert cut(read(*SMALL, **flags), 335).verdict is Forecast.PASSED


def test_an_autoscaler_of_dns_is_played_both_ways(read: Read) -> None:
    """It may delete kube-dns on lost nodes at once, so that a cut of 2 min moves it to cp-1, whom nobody reaches."""
    scaler = item("Deployment", "dns-autoscaler", "kube-system", "apps/v1")
    assert cut(read(*SMALL), 120).verdict is Forecast.PASSED
    found = cut(read(*SMALL, scaler), 120)
    assert found.verdict is Forecast.UNKNOWN
    assert found.otherwise[0].alternative.name == "dns-autoscaler"
    here = (service("kube-dns"), behind("kube-dns", "worker-1"), behind("kube-dns", "worker-2"))
    assert cut(read(*ROUTED, *here, scaler), 120).verdict is Forecast.PASSED


# -- evictions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "controllers", "evicts"),
    [
        ("v1.34.4", "*,bootstrapsigner,tokencleaner", True),
        ("v1.34.4", "*,-taint-eviction-controller", False),
        ("v1.34.4", "node-lifecycle-controller,endpointslice-controller", False),
        ("v1.28.9", "nodelifecycle,endpointslice", True),
    ],
)
def test_evictions_may_be_switched_off(read: Read, version: str, controllers: str, evicts: bool) -> None:
    nodes = tuple(node(name, version=version) for name in ("cp-1", "worker-1", "worker-2"))
    world = read(*nodes, controller_manager_args=[f"--controllers={controllers}"])
    assert world.control_plane.evicts is evicts


@pytest.mark.parametrize(
    ("version", "gates", "asks"),
    [
        ("v1.36.3", "", False),
        ("v1.37.2", "", True),
        ("v1.38.0", "", True),
        ("v1.37.2", "Other=true,NodeControllerLeaseCircuitBreaker=false", False),
        ("", "", False),
    ],
)
def test_controller_asks_for_leases_since_1_37_unless_its_gate_is_off(
    read: Read, version: str, gates: str, asks: bool
) -> None:
    nodes = tuple(node(name, version=version) for name in ("cp-1", "worker-1", "worker-2"))
    world = read(*nodes, controller_manager_args=[f"--feature-gates={gates}"])
    assert world.control_plane.asks_for_leases is asks
