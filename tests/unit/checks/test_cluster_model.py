"""What checks take the cluster to be made of: BGP or not, a mesh or not, and nothing without proof."""

from __future__ import annotations

import json
from typing import Any

import pytest
from api_of_objects import ApiOfObjects
from check_worlds import ScriptedShell
from hypothesis import given
from hypothesis import strategies as st
from real_clusters import HEADS, WORKERS, daemons, machines
from small_snapshots import calico, deployment, leafed, node, reflected

from chaosext.checks.cluster_model import BgpSpeaker, ClusterModel, no_mesh
from chaosext.checks.suite import Surroundings, run_checks
from chaosext.cluster.client import NotFound
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Status
from chaosext.nodes.shell import ShellResult

NAMES = (*HEADS, *WORKERS)


def model(objects: Any, shells: Any = None, absent: tuple[str, ...] = ()) -> ClusterModel:
    return ClusterModel(ApiOfObjects(objects, absent), shells)  # type: ignore[arg-type]


def vxlan(mode: str) -> list[dict[str, Any]]:
    """The cluster of `leafed`, whose Pod routes come from the datastore."""
    others = [each for each in leafed() if each["kind"] not in ("IPPool", "BGPPeer")]
    return [*others, calico("IPPool", "pool", cidr="10.244.0.0/16", ipipMode="Never", vxlanMode=mode)]


def flannel() -> tuple[dict[str, Any], ...]:
    notes = {"flannel.alpha.coreos.com/backend-type": "vxlan"}
    return (*machines(NAMES, notes=notes), *daemons("kube-flannel-ds", NAMES, "kube-flannel", app="flannel"))


def shells_that_say(*kinds: str) -> dict[str, ScriptedShell]:
    """A shell on each node, with a CNI configuration of that kind."""
    texts = (
        json.dumps({"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": kind}]}) for kind in kinds
    )
    found = zip(NAMES, texts, strict=True)
    return {name: ScriptedShell(name, ShellResult(0, text, "")) for name, text in found}


def findings(objects: Any, shells: Any = None) -> dict[str, Any]:
    api: Any = ApiOfObjects(objects)
    names = ("bgp_established", "kube_dns_on_peered_nodes")
    return {each.check: each for each in run_checks(names, Surroundings(cluster=api, shells=shells or {}))}


def test_calicos_sessions_carry_routes_where_no_pool_is_encapsulated() -> None:
    assert model(leafed()).bgp.speaker is BgpSpeaker.CALICO
    assert model(reflected()).bgp.speaker is BgpSpeaker.CALICO


@pytest.mark.parametrize("mode", ["Always", "CrossSubnet"])
def test_vxlan_needs_no_bgp_and_the_checks_say_so_with_the_reason(mode: str) -> None:
    found = findings(vxlan(mode))
    assert {each.status for each in found.values()} == {Status.NOT_APPLICABLE}
    assert "Felix makes all routes from the datastore" in found["bgp_established"].summary


def test_flannel_needs_no_bgp() -> None:
    used = model(flannel()).bgp
    assert used.speaker is BgpSpeaker.NOBODY
    assert "flannel" in used.why


def test_flannel_without_its_agent_on_a_node_is_unknown_and_never_not_applicable() -> None:
    without = [each for each in flannel() if "w-3" not in str(each.get("spec", {}).get("nodeName"))]
    found = findings(without)
    assert {each.status for each in found.values()} == {Status.UNKNOWN}
    assert "w-3" in found["bgp_established"].summary


def test_kube_routers_sessions_are_expected() -> None:
    objects = (
        *machines(NAMES),
        *daemons("kube-router", NAMES, "kube-system", "kube-router", "--run-router=true"),
    )
    assert model(objects).bgp.speaker is BgpSpeaker.KUBE_ROUTER
    assert model(objects).peered == frozenset(NAMES)


def test_a_network_without_any_sign_is_unknown() -> None:
    used = model(machines(NAMES)).bgp
    assert used.speaker is BgpSpeaker.UNKNOWN
    assert "no network plugin" in used.why


@pytest.mark.parametrize("plugin", ["macvlan", "ipvlan"])
def test_pods_on_the_fabric_by_the_configuration_of_every_node_need_no_bgp(plugin: str) -> None:
    used = model(machines(NAMES), shells_that_say(*[plugin] * 6)).bgp
    assert used.speaker is BgpSpeaker.NOBODY
    assert plugin in used.why


def test_one_node_with_another_plugin_or_without_an_answer_leaves_it_unknown() -> None:
    mixed = shells_that_say(*["macvlan"] * 5, "bridge")
    assert model(machines(NAMES), mixed).bgp.speaker is BgpSpeaker.UNKNOWN
    silent = {**shells_that_say(*["macvlan"] * 6), "w-3": ScriptedShell("w-3", Unreachable("gone"))}
    assert model(machines(NAMES), silent).bgp.speaker is BgpSpeaker.UNKNOWN
    fewer = {name: shell for name, shell in shells_that_say(*["macvlan"] * 6).items() if name != "w-3"}
    assert model(machines(NAMES), fewer).bgp.speaker is BgpSpeaker.UNKNOWN


def test_an_unreadable_felix_configuration_leaves_vxlan_unknown() -> None:
    class Closed(ApiOfObjects):
        def pages(self, plural: str, **more: Any) -> Any:
            if plural == "felixconfigurations":
                raise NotFound("forbidden")
            return super().pages(plural, **more)

    assert ClusterModel(Closed(vxlan("Always"))).bgp.speaker is BgpSpeaker.UNKNOWN  # type: ignore[arg-type]


def test_the_nodes_with_a_peer_are_those_that_calicos_configuration_names() -> None:
    assert model(leafed()).peered == {"worker-1", "worker-2", "worker-3"}
    assert model(reflected()).peered == {"cp-1", "rr-1", "worker-1", "worker-2", "worker-3"}


def test_every_node_is_good_enough_where_bgp_carries_nothing() -> None:
    assert model(vxlan("Always")).peered == {"cp-1", "worker-1", "worker-2", "worker-3"}


def test_the_cluster_is_read_once() -> None:
    api: Any = ApiOfObjects(leafed())
    one = ClusterModel(api)
    assert (one.bgp.speaker, len(one.peered)) == (BgpSpeaker.CALICO, 3)
    lists = api.lists
    assert one.world.nodes
    assert api.lists == lists


def test_a_cluster_without_istiod_and_sidecars_has_no_mesh() -> None:
    assert "no istiod" in no_mesh(model(leafed()).world)


@pytest.mark.parametrize(
    "sign",
    [
        deployment("istio-system", "istiod", [], app="istiod"),
        deployment("istio-system", "istiod-1-27", [], app="istiod"),
        deployment("linkerd", "linkerd-destination", ["worker-1"]),
    ],
)
def test_any_sign_of_a_mesh_keeps_it_applicable(sign: list[dict[str, Any]]) -> None:
    assert no_mesh(model(leafed(*sign)).world) == ""


def test_a_sidecar_without_istiod_keeps_it_applicable() -> None:
    objects = leafed(*deployment("shop", "cart", ["worker-1"], app="cart"))
    for each in objects:
        if each["kind"] == "Pod" and each["metadata"]["namespace"] == "shop":
            each["spec"]["initContainers"] = [{"name": "istio-proxy", "restartPolicy": "Always"}]
    assert no_mesh(model(objects).world) == ""


def test_services_that_may_not_be_read_prove_nothing() -> None:
    assert no_mesh(model(leafed(), absent=("Service",)).world) == ""


@given(
    st.sets(
        st.sampled_from(["Node", "Pod", "IPPool", "BGPPeer", "BGPConfiguration", "DaemonSet", "Deployment"])
    )
)
def test_fewer_objects_never_turn_bgp_into_not_applicable(lacking: set[str]) -> None:
    objects = [each for each in leafed() if each["kind"] not in lacking or each["kind"] == "Node"]
    assert model(objects).bgp.speaker in (BgpSpeaker.CALICO, BgpSpeaker.UNKNOWN)


def test_a_single_node_is_modelled() -> None:
    assert model([node("only", 1)]).bgp.speaker is BgpSpeaker.UNKNOWN
