"""From a wish to the exact cut."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from chaosext.checks.cut_effective import Path
from chaosext.checks.tcp_reachability import Target
from chaosext.cluster.client import NotFound
from chaosext.cluster.objects import IpPool, Node
from chaosext.experiment.cut_request import CutRequest
from chaosext.model.errors import Refused
from chaosext.nodes.node_network import NodeNetwork
from chaosext.run.fault.cut_plan import Topology, plan_cut, pod_prefixes

CONTROL_PLANE = {"node-role.kubernetes.io/control-plane": ""}


def node(name: str, *addresses: str, control_plane: bool = False) -> Node:
    return Node.from_json(
        {
            "metadata": {"name": name, "labels": CONTROL_PLANE if control_plane else {}},
            "status": {"addresses": [{"type": "InternalIP", "address": address} for address in addresses]},
        }
    )


CP = node("cp", "172.18.0.2", "fc00::2", control_plane=True)
WORKERS = (node("w1", "172.18.0.3", "fc00::3"), node("w2", "172.18.0.4", "fc00::4"))


def ground(*nodes: Node, pools: tuple[str, ...] = ("10.244.0.0/16",)) -> Topology:
    networks = {
        each.name: NodeNetwork(node=each.name, uplinks=("eth0",), addresses=each.internal_ips)
        for each in nodes
    }
    workers = tuple(each.name for each in nodes if not each.is_control_plane)
    return Topology(nodes=nodes, networks=networks, pools=pools, workers=workers)


def planned(**wish: Any) -> tuple[set[str], list[tuple[str, tuple[str, ...]]]]:
    cut = plan_cut(CutRequest(ttl_s=60, **wish), ground(CP, *WORKERS), run="r1", owner="a@b")
    return {str(peer) for peer in cut.dropped}, [(each.node, each.uplinks) for each in cut.nodes]


def test_by_default_the_others_and_their_pods_are_cut_on_the_control_plane() -> None:
    peers, nodes = planned()
    assert peers == {"172.18.0.3/32", "172.18.0.4/32", "10.244.0.0/16", "fc00::3/128", "fc00::4/128"}
    assert nodes == [("cp", ("eth0",))]


class Pools:
    """A cluster of two nodes with podCIDRs; `pools` None: without Calico."""

    def __init__(self, pools: tuple[IpPool, ...] | None) -> None:
        self.pools = pools

    def ippools(self) -> tuple[IpPool, ...]:
        if self.pools is None:
            raise NotFound("no Calico here")
        return self.pools

    def nodes(self) -> tuple[Node, ...]:
        return tuple(replace(each, pod_cidrs=(f"10.9.{n}.0/24",)) for n, each in enumerate((CP, WORKERS[0])))


def test_without_calico_the_pods_prefixes_are_the_nodes_pod_cidrs() -> None:
    assert pod_prefixes(Pools(None)) == ("10.9.0.0/24", "10.9.1.0/24")


def test_with_calico_its_pools_are_the_pods_prefixes() -> None:
    assert pod_prefixes(Pools(())) == ()


def test_a_kubelets_load_balancer_is_a_path_and_a_node_is_none_twice() -> None:
    known = ground(CP, *WORKERS)
    seen = {
        "w1": (("172.18.0.9", 6443), ("172.18.0.2", 6443)),
        "w2": (("fc00::2", 6443), ("172.18.0.2", 8443)),
    }
    networks = {
        name: replace(network, api_servers=seen.get(name, ())) for name, network in known.networks.items()
    }
    found = replace(known, networks=networks)
    assert set(found.paths) - set(known.paths) == {
        Path(source="w1", towards="", target=Target("172.18.0.9", 6443)),
        Path(source="w2", towards="", target=Target("172.18.0.2", 8443)),
    }
    assert len(found.paths) == len(known.paths) + 2
    assert (found.blind, known.blind) == ((), ("w1", "w2"))


def used(known: Topology, *servers: str) -> Topology:
    """The same, with all workers' kubelets at `servers`, and a virtual address that the control-plane node has."""
    held = {"cp": frozenset({"172.18.0.100"})}
    networks = {
        name: replace(
            network,
            api_servers=tuple((server, 6443) for server in servers),
            own=held.get(name, frozenset()),
        )
        for name, network in known.networks.items()
    }
    return replace(known, networks=networks)


def dropped(found: Topology, wish: CutRequest) -> set[str]:
    return {str(peer) for peer in plan_cut(wish, found, run="r1", owner="a@b").dropped}


def test_a_load_balancer_before_the_api_servers_is_cut_as_well() -> None:
    balanced = used(ground(CP, *WORKERS), "172.18.0.9", "fc00::9", "172.18.0.2")
    added = dropped(balanced, CutRequest(ttl_s=60)) - dropped(ground(CP, *WORKERS), CutRequest(ttl_s=60))
    assert added == {"172.18.0.9/32", "fc00::9/128"}
    assert dropped(balanced, CutRequest(ttl_s=60, peers=("192.0.2.9",))) == {"192.0.2.9/32"}


@pytest.mark.parametrize("server", ["172.18.0.100", "127.0.0.1", "::1"])
def test_a_virtual_address_of_a_control_plane_node_and_a_proxy_on_ones_own_stay_open_to_the_control_plane(
    server: str,
) -> None:
    assert dropped(used(ground(CP, *WORKERS), server), CutRequest(ttl_s=60)) == dropped(
        ground(CP, *WORKERS), CutRequest(ttl_s=60)
    )


def test_a_virtual_address_leads_to_the_node_that_has_it() -> None:
    found = used(ground(CP, *WORKERS), "172.18.0.100")
    assert {path.towards for path in found.paths if path.target.host == "172.18.0.100"} == {"cp"}


def test_named_peers_are_all_that_is_cut() -> None:
    peers, nodes = planned(peers=("192.0.2.9", "198.51.100.0/24"), uplinks=("bond0", "bond1"))
    assert peers == {"192.0.2.9/32", "198.51.100.0/24"}
    assert nodes == [("cp", ("bond0", "bond1"))]


@pytest.mark.parametrize(
    ("nodes", "missing"),
    [((CP,), "every node of the cluster has a control-plane role"), (WORKERS, "has no control-plane node")],
)
def test_without_two_sides_there_is_no_cut(nodes: tuple[Node, ...], missing: str) -> None:
    with pytest.raises(Refused, match=missing):
        plan_cut(CutRequest(ttl_s=60), ground(*nodes), run="r1", owner="a@b")


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), float("inf")])
def test_a_ttl_that_can_not_be_is_refused(ttl_s: float) -> None:
    with pytest.raises(Refused, match="ttl_s"):
        plan_cut(CutRequest(ttl_s=ttl_s), ground(CP, *WORKERS), run="r1", owner="a@b")


def test_a_wish_in_arguments() -> None:
    wish = CutRequest.from_arguments(
        {"ttl_s": "120", "peers": ["192.0.2.1"], "families": "ipv4", "uplinks": "a, b"}
    )
    assert wish == CutRequest(ttl_s=120, peers=("192.0.2.1",), families=("ipv4",), uplinks=("a", "b"))
    assert CutRequest.from_arguments({"ttl_s": 5}) == CutRequest(ttl_s=5)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "ttl_s"),
        ({"ttl_s": None}, "ttl_s"),
        ({"ttl_s": True}, "ttl_s"),
        ({"ttl_s": "${ttl_s}"}, "ttl_s"),
        ({"ttl_s": [5]}, "ttl_s"),
        ({"ttl_s": 5, "peers": []}, "peers"),
        ({"ttl_s": 5, "peers": [1]}, "peers"),
        ({"ttl_s": 5, "families": {"ipv4": 1}}, "families"),
        ({"ttl_s": 5, "uplinks": ""}, "uplinks"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused, match=f"^{field}: "):
        CutRequest.from_arguments(arguments)


def test_control_plane_nodes_keep_talking_to_one_anothers_pods() -> None:
    second = node("cp2", "172.18.0.5", control_plane=True)
    several = replace(
        ground(CP, second, *WORKERS), own_pools=("10.244.0.0/26", "10.244.255.192/26", "fd00::/64")
    )
    cut = plan_cut(CutRequest(ttl_s=60), several, run="r1", owner="a@b")
    dropped = [peer for peer in cut.dropped if peer.version == 4]
    spared = ["172.18.0.2", "172.18.0.5", "10.244.0.1", "10.244.0.63", "10.244.255.192", "10.244.255.255"]
    assert not any(ip_address(each) in peer for each in spared for peer in dropped)
    others = ["172.18.0.3", "10.244.0.64", "10.244.1.1", "10.244.255.191"]
    assert all(any(ip_address(each) in peer for peer in dropped) for each in others)


def test_a_pool_that_is_all_a_control_planes_own_is_not_dropped() -> None:
    own = replace(ground(CP, *WORKERS, pools=("10.0.0.0/24", "10.1.0.0/24")), own_pools=("10.0.0.0/16",))
    assert {"10.1.0.0/24"} == {each for each in dropped(own, CutRequest(ttl_s=60)) if each.startswith("10.")}


# What is spared

SECOND = node("cp2", "172.18.0.5", "fc00::5", control_plane=True)


def told(known: Topology, name: str, **more: Any) -> Topology:
    """The same, with more said by one node of its network."""
    return replace(known, networks={**known.networks, name: replace(known.networks[name], **more)})


def spares(
    known: Topology, *addresses: str, peers: tuple[str, ...] | None = ("172.18.0.0/16", "fc00::/64")
) -> list[bool]:
    cut = plan_cut(CutRequest(ttl_s=60, peers=peers), known, run="r1", owner="a@b")
    return [not any(ip_address(each) in peer for peer in cut.dropped) for each in addresses]


def several() -> Topology:
    return ground(CP, SECOND, *WORKERS)


def test_control_plane_nodes_keep_all_of_each_others_addresses() -> None:
    own = frozenset({"172.18.0.2", "fc00::2", "172.18.9.9", "127.0.0.1", "fe80::1"})
    known = told(several(), "cp", own=own)
    assert all(spares(known, "172.18.0.2", "172.18.0.5", "fc00::2", "fc00::5", "172.18.9.9"))


def test_a_pool_that_holds_the_nodes_own_subnet_parts_no_control_plane_nodes() -> None:
    known = replace(several(), pools=("172.18.0.0/16", "fc00::/64"))
    dropped_ones = dropped(known, CutRequest(ttl_s=60))
    assert not {"172.18.0.2/32", "172.18.0.5/32", "172.18.0.0/16"} & dropped_ones
    assert spares(known, "172.18.0.2", "172.18.0.5", "fc00::5", peers=None) == [True] * 3


def test_what_the_control_plane_needs_beside_its_nodes_is_kept() -> None:
    known = replace(
        told(several(), "cp", gateways=frozenset({"172.18.0.1"}), etcd=frozenset({"172.18.0.50"}))
    )
    known = replace(known, published=("172.18.0.60",))
    assert all(spares(known, "172.18.0.1", "172.18.0.50", "172.18.0.60"))
    assert spares(several(), "172.18.0.1", "172.18.0.50", "172.18.0.60") == [False] * 3


def test_what_leads_the_others_to_the_control_plane_is_dropped_even_where_it_is_a_gateway() -> None:
    balanced = used(told(several(), "cp", gateways=frozenset({"172.18.0.9"})), "172.18.0.9")
    balanced = replace(balanced, published=("172.18.0.9",))
    assert spares(balanced, "172.18.0.9") == [False]


def test_a_worker_that_is_a_gateway_is_dropped() -> None:
    known = told(several(), "cp", gateways=frozenset({"172.18.0.3", "172.18.0.4"}))
    assert spares(known, "172.18.0.3", "172.18.0.4") == [False, False]


def test_a_workers_address_that_another_binds_as_well_is_dropped() -> None:
    """kube-proxy in its IPVS mode binds a Service's external addresses on every node."""
    known = told(several(), "cp", own=frozenset({"172.18.0.2", "172.18.0.3"}))
    assert spares(known, "172.18.0.2", "172.18.0.3") == [True, False]


def test_what_is_a_gateway_of_a_worker_only_is_dropped() -> None:
    assert spares(told(several(), "w1", gateways=frozenset({"172.18.0.1"})), "172.18.0.1") == [False]


@pytest.mark.parametrize(
    ("peer", "whose"),
    [
        ("172.18.0.5", "node cp2's own"),
        ("fc00::2/128", "node cp's own"),
        ("172.18.0.50", "etcd's"),
        ("172.18.0.1", "a gateway of cp"),
        ("172.18.0.60", "an API server's"),
        ("10.244.0.0/27", "of control-plane nodes' Pods"),
    ],
)
def test_a_named_peer_that_is_all_spared_is_refused_with_whose_it_is(peer: str, whose: str) -> None:
    known = told(several(), "cp", gateways=frozenset({"172.18.0.1"}), etcd=frozenset({"172.18.0.50"}))
    known = replace(known, published=("172.18.0.60",), own_pools=("10.244.0.0/26",))
    with pytest.raises(Refused) as refused:
        plan_cut(CutRequest(ttl_s=60, peers=("172.18.0.3", peer)), known, run="r1", owner="a@b")
    assert refused.value.message == (
        f"peers: {peer} is {whose}, which the nodes that carry the rules never drop"
    )


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1"])
def test_a_loopback_address_as_a_peer_is_refused_as_that(peer: str) -> None:
    known = told(several(), "cp", own=frozenset({"127.0.0.1", "::1", "172.18.0.2"}), etcd=frozenset({peer}))
    with pytest.raises(Refused, match="loopback"):
        plan_cut(CutRequest(ttl_s=60, peers=("172.18.0.3", peer)), known, run="r1", owner="a@b")


@pytest.mark.parametrize(
    ("more", "what"), [({"published": ("172.18.0.3",)}, "an API server"), ({}, "an etcd")]
)
def test_a_worker_that_is_part_of_the_control_plane_is_refused(more: dict[str, Any], what: str) -> None:
    known = several() if more else told(several(), "cp2", etcd=frozenset({"172.18.0.3"}))
    with pytest.raises(Refused) as refused:
        plan_cut(CutRequest(ttl_s=60), replace(known, **more), run="r1", owner="a@b")
    assert refused.value.message == (
        f"nodes: w1 (172.18.0.3) runs {what} of the control plane, but has no control-plane role"
    )
    assert "kubectl label node w1 node-role.kubernetes.io/control-plane=" in refused.value.fix


# The paths that are to stay open


def test_the_paths_between_control_plane_nodes_are_to_be_kept() -> None:
    kept = several().kept_paths
    assert {(path.source, path.towards) for path in kept} == {("cp", "cp2"), ("cp2", "cp")}
    assert {path.target for path in kept if path.source == "cp"} == {
        Target(host, port) for host in ("172.18.0.5", "fc00::5") for port in (6443, 2379, 2380, 10250)
    }
    assert ground(CP, *WORKERS).kept_paths == ()


def test_where_a_control_plane_nodes_kubelet_connects_is_kept_unless_it_is_cut() -> None:
    balanced = used(several(), "172.18.0.9")
    servers = (("172.18.0.9", 6443), ("127.0.0.1", 6443), ("172.18.0.100", 6443), ("172.18.0.60", 6443))
    known = told(balanced, "cp2", api_servers=servers)
    known = told(replace(known, published=("172.18.0.60",)), "cp", api_servers=(("172.18.0.100", 6443),))
    more = set(known.kept_paths) - set(several().kept_paths)
    assert more == {
        Path(source="cp2", towards="cp", target=Target("172.18.0.100", 6443)),
        Path(source="cp2", towards="", target=Target("172.18.0.60", 6443)),
    }


def test_a_proxy_on_loopback_is_each_nodes_own() -> None:
    known = told(used(several(), "127.0.0.1"), "cp", own=frozenset({"127.0.0.1", "172.18.0.2"}))
    local = [path for path in known.paths if path.target.host == "127.0.0.1"]
    assert [(path.source, path.towards) for path in local] == [("w1", ""), ("w2", "")]
