"""What the sentinels are told to watch, by what the cluster is made of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from watch_worlds import endpoint, node, pod, service

from chaosext.checks.cluster_model import BgpSpeaker, BgpUse
from chaosext.cluster.client import NotFound
from chaosext.cluster.objects import BgpPeer, ServicePort
from chaosext.model.errors import Refused
from chaosext.model.signal import Watched
from chaosext.run.monitor.sentinel_plan import gather, has_sidecar, plan_for, planned_anew

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.cluster.objects import Endpoint, Pod, Service
    from chaosext.sentinel.watch_plan import WatchPlan

LEAF = BgpPeer(
    name="leaf",
    peer_ip="172.18.0.5",
    node="",
    node_selector="!has(node-role.kubernetes.io/control-plane)",
    peer_selector="",
    as_number=64512,
)
XDS = ServicePort(name="tls", port=15012, protocol="TCP")


class World:
    """A cluster of the story: a control plane without BGP, two workers, a mesh."""

    def __init__(self) -> None:
        self.endpoints: dict[str, tuple[Endpoint, ...]] = {
            "kube-dns": (endpoint("10.244.1.2", "w1", "dns-1"), endpoint("10.244.2.2", "w2", "dns-2")),
            "kubernetes": (
                endpoint("172.18.0.3", "", "", ServicePort(name="https", port=6443, protocol="TCP")),
            ),
        }
        self.known: dict[str, Service] = {
            "kube-dns": service("kube-system", "kube-dns", "10.2.112.10"),
            "kubernetes": service("default", "kubernetes", "10.2.112.1"),
            "istiod": service("istio-system", "istiod", "10.2.121.226", XDS),
        }
        self.shop: tuple[Service, ...] = (
            service("shop", "headless", "", app="cart"),
            service("shop", "plain", "10.2.116.9", app="plain"),
            service("shop", "cart", "10.2.116.8", app="cart"),
            service("shop", "catalog", "10.2.116.7", app="catalog"),
        )
        self.shop_pods: tuple[Pod, ...] = (
            pod("cart", labels={"app": "cart"}, node="w1", ips=("10.244.1.7",)),
            pod("plain", labels={"app": "plain"}, node="w2", ips=("10.244.2.7",), injected=False),
        )
        self.has_calico = True
        self.context, self.nameserver = "kind-small", ""
        self.dns_pods: tuple[Pod, ...] = ()

    def service(self, _: str, name: str) -> Service:
        if name not in self.known:
            raise NotFound(name)
        return self.known[name]

    def services(self, namespace: str | None) -> Sequence[Service]:
        return self.shop if namespace == "shop" else (*self.known.values(), *self.shop)

    def pods(self, _: str | None, labels: str | None = None) -> Sequence[Pod]:
        return self.dns_pods if labels else self.shop_pods

    def get(self, _kind: str, name: str, **_: Any) -> dict[str, Any]:
        if not self.nameserver:
            raise NotFound(name)
        return {"data": {"kubelet": f"clusterDNS:\n- {self.nameserver}\n"}}

    def endpoint_slices(self, _: str, name: str) -> tuple[Endpoint, ...]:
        return self.endpoints[name]

    def nodes(self) -> Sequence[Any]:
        return (
            node("cp", "172.18.0.3", control_plane=True),
            node("w1", "172.18.0.2"),
            node("w2", "172.18.0.4"),
        )

    def bgppeers(self) -> Sequence[BgpPeer]:
        if not self.has_calico:
            raise NotFound("bgppeers")
        return (LEAF,)

    def node_to_node_mesh(self) -> bool:
        return False


def plan_of(
    world: Any, namespaces: Sequence[str] = ("shop",), speaker: BgpSpeaker = BgpSpeaker.CALICO
) -> WatchPlan:
    return plan_for(gather(world, namespaces, BgpUse(speaker=speaker, why="")), "r1", 600.0)


def seen(plan: WatchPlan, node: str) -> list[str]:
    return [str(signal) for signal in plan.signals(node)]


def test_everything_that_the_story_turns_on_is_watched() -> None:
    plan = plan_of(World())
    assert plan.dns_expected == ("10.2.112.1",)
    assert plan.istiod == "10.2.121.226:15012"
    assert seen(plan, "w1") == [
        f"{kind} {server}"
        for kind in ("dns_udp", "dns_udp_kept", "dns_tcp")
        for server in ("kube-dns 10.2.112.10", "dns-1 on w1 10.244.1.2", "dns-2 on w2 10.244.2.2")
    ] + [
        "tcp API server 172.18.0.3:6443",
        "tcp istiod 10.2.121.226:15012",
        "tcp shop/cart (meshed) 10.2.116.8:8080",
        "tcp shop/plain (unmeshed) 10.2.116.9:8080",
        "sidecar_ready 10.244.1.7 Pod/shop/cart",
        "sidecar_xds 10.244.1.7 Pod/shop/cart",
        "bgp 172.18.0.5",
        "route dns-1 on w1 10.244.1.2",
        "route dns-2 on w2 10.244.2.2",
        "pod Pod plain on w2 10.244.2.7:80",
    ]


def test_where_bgp_carries_no_routes_neither_sessions_nor_routes_are_watched() -> None:
    plan = plan_of(World(), speaker=BgpSpeaker.NOBODY)
    assert (plan.bgp_peers, plan.routes) == ({}, ())
    assert plan_of(World(), speaker=BgpSpeaker.UNKNOWN).bgp_peers


def test_the_nameserver_of_pods_comes_first_and_the_service_is_watched_too() -> None:
    world = World()
    world.nameserver = "169.254.20.10"
    plan = plan_of(world)
    assert [each.target for each in plan.dns_servers[:2]] == ["169.254.20.10", "10.2.112.10"]
    anew = planned_anew(plan, [endpoint("10.244.0.9", "cp", "dns-3")], [], [])
    assert [each.target for each in anew.dns_servers] == ["169.254.20.10", "10.2.112.10", "10.244.0.9"]


def test_a_nameserver_that_is_the_services_address_is_watched_once() -> None:
    world = World()
    world.nameserver = "10.2.112.10"
    assert plan_of(world) == plan_of(World())


def test_each_node_connects_to_a_pod_of_every_other_node() -> None:
    world = World()
    world.dns_pods = (pod("dns", node="cp", ips=("10.244.0.9",), tcp_ports=(53,)),)
    plan = plan_of(world)
    assert [each.target for each in plan.pods] == ["10.244.0.9:53", "10.244.1.7:80", "10.244.2.7:80"]
    found = [each.target for each in plan.signals("w1") if each.kind is Watched.POD]
    assert sorted(found) == ["10.244.0.9:53", "10.244.2.7:80"]


def test_a_watched_pod_stays_while_it_exists_even_if_its_node_is_lost() -> None:
    plan = plan_of(World())
    leaving = pod("cart", node="w1", ips=("10.244.1.7",), ready=False, deletion=SOON)
    other = pod("another", node="w1", ips=("10.244.1.8",))
    assert planned_anew(plan, [], [], [leaving, other]).pods[0].target == "10.244.1.7:80"
    assert planned_anew(plan, [], [], [other]).pods[0].target == "10.244.1.8:80"
    assert planned_anew(plan, [], [], []).pods == ()


def test_a_node_without_a_peer_by_configuration_is_asked_for_neither_session_nor_route() -> None:
    kinds = {signal.kind for signal in plan_of(World()).signals("cp")}
    assert kinds.isdisjoint({Watched.BGP, Watched.ROUTE, Watched.SIDECAR_READY})
    assert Watched.DNS_UDP in kinds


def test_without_mesh_and_without_calico_the_rest_is_watched() -> None:
    world = World()
    world.has_calico = False
    del world.known["istiod"]
    plan = plan_of(world)
    assert (plan.istiod, plan.bgp_peers, plan.routes) == ("", {}, ())
    assert {signal.kind for signal in plan.signals("w1")} >= {Watched.DNS_UDP, Watched.TCP}


def test_the_services_of_the_platform_are_no_application() -> None:
    labels = [each.label for each in plan_of(World(), ()).tcp]
    assert labels == ["API server", "istiod", "shop/cart (meshed)", "shop/plain (unmeshed)"]


def test_addresses_of_ipv6_are_written_as_a_socket_wants_them() -> None:
    world = World()
    world.known["istiod"] = service("istio-system", "istiod", "fd00::9", XDS)
    assert plan_of(world).istiod == "[fd00::9]:15012"


def test_a_cluster_without_dns_refuses_the_run() -> None:
    world = World()
    world.known["kube-dns"] = service("kube-system", "kube-dns", "")
    with pytest.raises(Refused, match="chaosext_sentinel: false"):
        plan_of(world)


def test_other_pods_behind_kube_dns_are_other_servers_and_routes() -> None:
    plan = planned_anew(plan_of(World()), [endpoint("10.244.0.9", "cp", "dns-3")], [], [])
    assert [each.target for each in plan.dns_servers] == ["10.2.112.10", "10.244.0.9"]
    assert [each.label for each in plan.routes] == ["dns-3 on cp"]
    assert plan.sidecars == ()


def test_a_server_that_is_not_ready_any_more_is_still_asked_and_one_that_never_was_is_not() -> None:
    was, never = endpoint("10.244.1.2", "w1", "dns-1"), endpoint("10.244.0.9", "cp", "dns-3")
    unready = [replace(each, ready=False, terminating=True) for each in (was, never)]
    plan = planned_anew(plan_of(World()), unready, [], [])
    assert [each.target for each in plan.routes] == ["10.244.1.2"]


def test_an_address_that_another_pod_has_by_now_is_watched_once() -> None:
    """Two signals at one kept socket can't be waited for."""
    was, now = endpoint("10.244.1.2", "w1", "dns-1"), endpoint("10.244.1.2", "w1", "dns-9")
    was = replace(was, ready=False)
    plan = planned_anew(plan_of(World()), [now, was, now], [], [])
    assert [str(each.label) for each in plan.dns_servers[1:]] == ["dns-9 on w1"]


def test_the_same_objects_in_another_order_are_the_same_plan() -> None:
    world, plan = World(), plan_of(World())
    pods = [pod("b", node="w1", ips=("10.244.1.8",)), pod("a", node="w1", ips=("10.244.1.9",))]
    dns = world.endpoints["kube-dns"]
    assert planned_anew(plan, dns, pods, pods) == planned_anew(plan, dns, pods[::-1], pods[::-1])


SOON = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({}, True),
        ({"injected": False}, False),
        ({"ips": ()}, False),
        ({"node": ""}, False),
        ({"phase": "Failed"}, False),
        ({"host_network": True}, False),
        ({"deletion": SOON}, False),
        ({"deletion": SOON, "node": "lost"}, True),
    ],
)
def test_which_pods_have_a_sidecar_to_ask(change: dict[str, Any], asked: bool) -> None:
    values: dict[str, Any] = {"node": "w", "ips": ("10.244.1.8",), **change}
    assert has_sidecar(pod("a", **values), lost={"lost"}) is asked
