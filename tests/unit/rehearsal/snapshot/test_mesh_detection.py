"""A mesh that isn't modelled makes the outcome unknown once the cut moves its Pods, and not before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from listings import SMALL, Item, agent, item, listed, pod, written
from test_dns_detection import NODES, ROUTED, WORKERS, behind, service

from chaosext.rehearsal.predict.predict import rehearse
from chaosext.rehearsal.simulate.planned_cut import Plan
from chaosext.rehearsal.simulate.prediction import Forecast
from chaosext.rehearsal.snapshot.reader import read_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaosext.rehearsal.snapshot.world import World

    Read = Callable[..., World]

DNS = (service("kube-dns"), *(behind("kube-dns", on) for on in NODES))
CLUSTER = (*ROUTED, *DNS)
"""Fabric addresses and a DNS that tolerates everything: any cut heals by itself."""

EVICTING_S, SHORT_S = 480.0, 20.0


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return lambda *items: read_snapshot([written(tmp_path / "c.json", listed(*items))])


def app(*containers: str, namespace: str = "shop", **labels: str) -> Item:
    made = pod("cart-1", "worker-1", namespace, "ReplicaSet/cart-5f", {"app": "cart", **labels})
    made["spec"]["containers"] = [{"name": name} for name in ("main", *containers)]
    made["spec"]["tolerations"] = [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]
    return made


def space(name: str, **labels: str) -> Item:
    return item("Namespace", name, metadata={"labels": labels})


def cut(world: World, cut_for_s: float = EVICTING_S) -> Any:
    return rehearse(world, Plan(cut_nodes=WORKERS, cut_for_s=cut_for_s, horizon_s=cut_for_s + 200), samples=6)


SYSTEM = space("kube-system")
ZTUNNEL = tuple(
    pod(f"ztunnel-{on}", on, "istio-system", "DaemonSet/ztunnel", {"app": "ztunnel"}) for on in NODES
)
for each in ZTUNNEL:
    each["spec"]["tolerations"] = [{"operator": "Exists"}]

MESHES: dict[str, tuple[Item, ...]] = {
    "Linkerd": (app("linkerd-proxy"),),
    "Consul": (app("consul-dataplane"),),
    "Kuma": (app("kuma-sidecar"),),
    "Open Service Mesh": (app("envoy", **{"osm-proxy-uuid": "1"}),),
    "AWS App Mesh": (app("envoy"), item("Deployment", "appmesh-controller", "appmesh-system", api="apps/v1")),
    "Istio ambient": (*ZTUNNEL, SYSTEM, space("shop", **{"istio.io/dataplane-mode": "ambient"}), app()),
    "Istio with istiod elsewhere": (app("istio-proxy"),),
    "Cilium Service Mesh": (app(), item("CiliumEnvoyConfig", "shop", "shop", api="cilium.io/v2")),
}


def test_without_a_mesh_the_cut_heals_by_itself(read: Read) -> None:
    assert cut(read(*CLUSTER, app())).verdict is Forecast.PASSED


@pytest.mark.parametrize("name", [each for each in MESHES if not each.startswith("Cilium")])
def test_a_mesh_that_is_not_modelled_makes_the_outcome_unknown(read: Read, name: str) -> None:
    world = read(*CLUSTER, *MESHES[name])
    assert [each.name for each in world.other_meshes] == [name]
    found = cut(world)
    assert (found.verdict, found.self_heals) == (Forecast.UNKNOWN, None)
    assert found.mesh["unmodelled"] == [name]
    assert name in str(found.doubts[0])
    assert "would settle it" in str(found.doubts[0])


def test_ciliums_mesh_is_recognised(read: Read) -> None:
    assert [each.name for each in read(*CLUSTER, *MESHES["Cilium Service Mesh"]).other_meshes] == [
        "Cilium Service Mesh"
    ]


@pytest.mark.parametrize("name", ["Linkerd", "Kuma", "Istio ambient"])
def test_a_cut_that_moves_no_pod_does_not_need_the_mesh(read: Read, name: str) -> None:
    assert cut(read(*CLUSTER, *MESHES[name]), SHORT_S).verdict is Forecast.PASSED


def test_sidecars_may_lose_an_istiod_that_is_elsewhere_in_any_cut(read: Read) -> None:
    assert cut(read(*CLUSTER, *MESHES["Istio with istiod elsewhere"]), SHORT_S).verdict is Forecast.UNKNOWN


def test_pods_outside_the_mesh_may_move(read: Read) -> None:
    ambient = {"istio.io/dataplane-mode": "ambient"}
    world = read(*CLUSTER, *ZTUNNEL, space("other", **ambient), space("shop"), SYSTEM, app())
    assert cut(world).verdict is Forecast.PASSED


@pytest.mark.parametrize("left_out", ["Namespace", "ztunnel"])
def test_ambient_that_is_half_shown_is_still_ambient(read: Read, left_out: str) -> None:
    items = [
        each
        for each in MESHES["Istio ambient"]
        if each["kind"] != left_out and not each["metadata"]["name"].startswith(left_out)
    ]
    assert cut(read(*CLUSTER, *items)).verdict is Forecast.UNKNOWN


def test_a_pod_that_opted_out_is_not_in_the_mesh(read: Read) -> None:
    ambient = {"istio.io/dataplane-mode": "ambient"}
    out = app(**{"istio.io/dataplane-mode": "none"})
    assert cut(read(*CLUSTER, *ZTUNNEL, SYSTEM, space("shop", **ambient), out)).verdict is Forecast.PASSED


ISTIOD = pod("istiod-1", "worker-2", "istio-system", "ReplicaSet/istiod-1", {"app": "istiod"})
MESHED = (
    *CLUSTER,
    service("istiod", "istio-system", "10.96.0.44"),
    ISTIOD,
    app("istio-proxy"),
    space("shop", **{"istio-injection": "enabled"}),
    space("istio-system"),
)


def test_istio_with_its_istiod_is_modelled(read: Read) -> None:
    world = read(*MESHED)
    assert world.mesh is not None
    assert world.other_meshes == ()
    assert world.mesh.injects == {"shop"}


def test_a_namespace_that_is_not_shown_is_injected_as_its_pods_are(read: Read) -> None:
    mesh = read(*(each for each in MESHED if each["metadata"]["name"] != "shop")).mesh
    assert mesh is not None
    assert mesh.injects == {"shop"}


def test_what_is_assumed_of_injection_may_be_otherwise(read: Read) -> None:
    world = read(*(each for each in MESHED if each["kind"] != "Namespace"))
    assert {"injection", "injection webhook"} <= {each.name for each in world.alternatives}
    for each in world.alternatives:
        assert each.apply(world) != world
    assert read(*SMALL).mesh is None


def test_an_agent_of_the_network_is_no_mesh(read: Read) -> None:
    assert read(*CLUSTER, *(agent(on, "cilium-envoy") for on in NODES)).other_meshes == ()


def sidecar(value: str, *, part: str = "containers", owner: str = "ReplicaSet/cart-5f") -> Item:
    made = app()
    made["metadata"]["ownerReferences"] = [
        {"kind": owner.split("/", maxsplit=1)[0], "name": owner.split("/")[1], "controller": True}
    ]
    variables = [{"name": "ISTIO_META_DNS_CAPTURE", "value": value}] if value else []
    made["spec"][part] = [*made["spec"].get(part, []), {"name": "istio-proxy", "env": variables}]
    made["metadata"]["name"] = owner.split("/")[1] + "-x"
    return made


ISTIOD_THERE = (
    service("istiod", "istio-system"),
    pod("istiod-1", "worker-1", "istio-system", "ReplicaSet/istiod", {"app": "istiod"}),
)


def bare(value: str, name: str) -> Item:
    made = sidecar(value)
    del made["metadata"]["ownerReferences"]
    made["metadata"]["name"] = name
    return made


def moved(item: Item, namespace: str) -> Item:
    return {**item, "metadata": {**item["metadata"], "namespace": namespace}}


@pytest.mark.parametrize(
    ("sidecars", "captures"),
    [
        ((sidecar("true"),), True),
        ((sidecar("true", part="initContainers"),), True),
        ((sidecar("false"),), False),
        ((sidecar(""),), False),
        ((sidecar("true"), sidecar("", owner="ReplicaSet/web-1")), False),
        ((sidecar("true"), moved(sidecar(""), "stage")), False),
        ((bare("true", "one"), bare("", "two")), False),
    ],
)
def test_lookups_are_answered_by_sidecars_that_all_say_so(
    read: Read, sidecars: tuple[Item, ...], captures: bool
) -> None:
    world = read(*CLUSTER, *ISTIOD_THERE, space("shop", **{"istio-injection": "enabled"}), *sidecars)
    assert world.mesh is not None
    assert world.mesh.captures_dns is captures
