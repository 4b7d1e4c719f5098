"""A cut on the nodes' side: who carries it, and what of the control plane it drops, also where that is no node."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cut_plan import CP, WORKERS

from chaosext.checks.cut_effective import CutEvidence, Path, Shut, entered, judge
from chaosext.checks.tcp_reachability import Connect, Reach, Target
from chaosext.cluster import kubeconfig
from chaosext.experiment.cut_request import CutRequest
from chaosext.experiment.settings import Settings, settings_from
from chaosext.model.errors import Refused
from chaosext.model.findings import Status
from chaosext.nodes.node_network import NodeNetwork
from chaosext.partition.apply import DELAY_S, STRAGGLER_S, TAKE_BACK_S, TIMEOUT_S
from chaosext.partition.cut import Side
from chaosext.run.fault import cut_plan
from chaosext.run.fault.cut_plan import Topology, plan_cut

SERVER, HTTPS, STRANGER = "203.0.113.7", 443, "198.51.100.80"


def network(name: str, *servers: tuple[str, int], own: tuple[str, ...]) -> NodeNetwork:
    return NodeNetwork(
        node=name, uplinks=("eth0",), addresses=own, own=frozenset((*own, "127.0.0.1")), api_servers=servers
    )


def managed(*servers: tuple[str, int], **more: Any) -> Topology:
    """Two workers, each connected to `servers`, and no control-plane Node."""
    networks = {each.name: network(each.name, *servers, own=each.internal_ips) for each in WORKERS}
    given: dict[str, Any] = {"published": (SERVER,), **more}
    return Topology(
        nodes=WORKERS,
        networks=networks,
        pools=("10.244.0.0/16",),
        workers=tuple(each.name for each in WORKERS),
        side=Side.NODES,
        is_sealed=True,
        **given,
    )


def cut_of(ground: Topology, **wish: Any) -> Any:
    return plan_cut(CutRequest(**{"ttl_s": 60.0, **wish}), ground, run="r1", owner="a@b")


def test_without_control_plane_nodes_the_workers_drop_the_published_api_servers_and_nothing_else() -> None:
    cut = cut_of(managed((SERVER, HTTPS), (STRANGER, HTTPS)))
    assert [each.node for each in cut.nodes] == ["w1", "w2"]
    assert [str(peer) for peer in cut.peers] == [f"{SERVER}/32"]
    assert (cut.delay_s, cut.ttl_s, cut.dead_man_s) == (DELAY_S, 60, None)


def test_with_control_plane_nodes_they_are_dropped_in_both_families_and_the_pods_network_is_not() -> None:
    everyone = (CP, *WORKERS)
    networks = {
        each.name: network(each.name, ("172.18.0.2", 6443), own=each.internal_ips) for each in everyone
    }
    ground = replace(managed(), nodes=everyone, networks=networks, published=("172.18.0.2",))
    cut = cut_of(ground)
    assert [each.node for each in cut.nodes] == ["w1", "w2"]
    assert [str(peer) for peer in cut.peers] == ["172.18.0.2/32", "fc00::2/128"]


def test_a_load_balancer_at_a_port_of_api_servers_is_dropped_and_a_proxy_on_the_node_is_not() -> None:
    cut = cut_of(managed(("172.18.0.9", 6443), ("127.0.0.1", 6443), ("172.18.0.4", 6443), (SERVER, HTTPS)))
    assert [str(peer) for peer in cut.peers] == ["172.18.0.9/32", f"{SERVER}/32"]


def test_where_the_kubelet_connects_must_be_known_or_named() -> None:
    with pytest.raises(Refused, match=rf"chaosext_control_plane_addresses: .*w1 \(connected to {STRANGER}\)"):
        cut_of(managed((STRANGER, HTTPS)))
    with pytest.raises(Refused, match=r"w1 \(connected to none\)"):
        cut_of(managed())
    named = managed((STRANGER, HTTPS), named=("198.51.100.0/24",))
    assert [str(peer) for peer in cut_of(named).peers] == ["198.51.100.0/24", f"{SERVER}/32"]
    assert named.used == {STRANGER}
    assert managed(named=("192.0.2.1",)).blind == ()


def test_it_is_not_renewed_and_the_refusal_says_how_to_leave_that_out() -> None:
    with pytest.raises(Refused, match=r"^dead_man_s: ") as refused:
        cut_of(managed((SERVER, HTTPS)), dead_man_s=30)
    assert "CHAOSEXT_DEAD_MAN_S=0" in str(refused.value)
    entered_otherwise = replace(managed((SERVER, HTTPS)), is_sealed=False)
    assert cut_of(entered_otherwise, dead_man_s=30).delay_s == 0


def test_some_of_the_nodes_may_be_named() -> None:
    assert cut_plan.chosen((CP, *WORKERS), ()) == ("w1", "w2")
    assert cut_plan.chosen((CP, *WORKERS), ("w2",)) == ("w2",)
    for name, why in {"cp": "has a control-plane role", "w9": "no such node"}.items():
        with pytest.raises(Refused, match=f"chaosext_cut_nodes: {name}.*{why}"):
            cut_plan.chosen((CP, *WORKERS), ("w1", name))
    with pytest.raises(Refused, match="every node has a control-plane role"):
        cut_of(replace(managed(), nodes=(CP,), workers=()))


def test_the_delay_leaves_time_to_take_everything_back() -> None:
    assert DELAY_S >= TIMEOUT_S + STRAGGLER_S + TAKE_BACK_S


addresses = st.ip_addresses(v=4, network="10.0.0.0/8").map(str)


@given(st.lists(st.tuples(addresses, st.sampled_from([443, 6443]))), st.lists(addresses, max_size=5))
def test_who_is_believed_is_dropped_and_nobody_else(
    servers: list[tuple[str, int]], published: list[str]
) -> None:
    ground = managed(*servers, published=tuple(published), named=("192.0.2.1",))
    dropped = cut_of(ground).peers
    believed = {host for host, port in servers if port != HTTPS} | set(published)
    for host, _ in servers:
        assert any(ip_address(host) in peer for peer in dropped) == (host in believed)
    assert all(any(ip_address(each) in peer for peer in dropped) for each in published)


# Settings and survey


def test_settings_of_the_nodes_side_alone_are_refused() -> None:
    secrets = {"KUBERNETES_CONTEXT": "c"}
    for key in ("cut_nodes", "control_plane_addresses"):
        with pytest.raises(
            Refused, match=f"chaosext_{key} has no effect: the cut is on the control plane's side"
        ):
            cut_plan._require_of_that_side(settings_from({f"chaosext_{key}": "192.0.2.1"}, secrets))
    with pytest.raises(Refused, match=r"chaosext_control_plane_addresses.*'api\.example'"):
        settings_from({"chaosext_control_plane_addresses": "api.example"}, secrets)
    with pytest.raises(Refused, match="chaosext_cut_side"):
        settings_from({"chaosext_cut_side": "workers"}, secrets)


def test_only_nodes_that_are_entered_through_an_api_server_are_sealed() -> None:
    sealed = {
        (side, transport): Settings(context="c", cut_side=side, transport=transport).is_sealed
        for side in Side
        for transport in ("docker", "pod")
    }
    assert [each for each, is_so in sealed.items() if is_so] == [(Side.NODES, "pod")]


def test_a_kubeconfigs_server_has_addresses_but_not_this_machine_nor_a_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert kubeconfig.addresses_of("https://203.0.113.7:6443") == ("203.0.113.7",)
    assert kubeconfig.addresses_of("https://[2001:db8::7]") == ("2001:db8::7",)
    assert kubeconfig.addresses_of("https://127.0.0.1:34567") == ()
    assert kubeconfig.addresses_of("https://no-such-host.invalid") == ()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert kubeconfig.addresses_of("https://10.96.0.1:443") == ()


# Its proof, where there is no node to measure from

BACK = Path(source="", towards="w1", target=Target("172.18.0.3", 10250))
OUT = Path(source="w1", towards="", target=Target(SERVER, HTTPS))
OUT6 = Path(source="w1", towards="", target=Target("2001:db8::7", HTTPS))


def test_where_no_node_is_left_to_measure_from_the_api_server_is_asked_itself() -> None:
    paths = set(managed((SERVER, HTTPS)).paths)
    assert {BACK, OUT} <= paths
    assert entered(paths) == {"w1", "w2"}
    with_masters = managed((SERVER, HTTPS))
    with_masters = replace(
        with_masters,
        nodes=(CP, *WORKERS),
        networks={**with_masters.networks, "cp": network("cp", own=CP.internal_ips)},
    )
    assert not any(path.source == "" for path in with_masters.paths)


@pytest.mark.parametrize(
    ("through", "status"),
    [
        (Reach.TIMED_OUT, Status.HEALTHY),
        (Reach.OPEN, Status.UNHEALTHY),
        (Reach.UNKNOWN, Status.UNKNOWN),
    ],
)
def test_it_is_proven_by_the_way_back_through_the_api_server(through: Reach, status: Status) -> None:
    def measured(**reaches: Reach) -> CutEvidence:
        ways = {"back": BACK, "out": OUT, "out6": OUT6}
        connects = {
            ways[name]: Connect(node=ways[name].source, target=ways[name].target, reach=reach)
            for name, reach in reaches.items()
        }
        return CutEvidence(paths=tuple(ways.values()), connects=connects)

    before = measured(back=Reach.OPEN, out=Reach.OPEN, out6=Reach.OPEN)
    ground = managed((SERVER, HTTPS), named=("2001:db8::/32",))
    shut = Shut(nodes=frozenset({"w1"}), peers=cut_of(ground).peers)
    finding = judge(before, replace(measured(back=through), shut=shut))
    assert finding.status is status
    assert any(each.subject.startswith("an API server → 172.18.0.3:10250") for each in finding.evidence)


# What the nodes keep of each other


def dropped(ground: Topology, address: str, **wish: Any) -> bool:
    return any(ip_address(address) in network for network in cut_of(ground, **wish).dropped)


def test_nodes_keep_each_other_and_their_gateways_whatever_the_control_planes_prefix_holds() -> None:
    known = managed((SERVER, HTTPS), named=("172.18.0.0/16", "fc00::/64"))
    networks = {
        name: replace(each, gateways=frozenset({"172.18.0.1"})) for name, each in known.networks.items()
    }
    known = replace(known, networks=networks)
    kept = ("172.18.0.3", "172.18.0.4", "fc00::3", "fc00::4", "172.18.0.1")
    assert not any(dropped(known, address) for address in kept)
    assert all(dropped(known, address) for address in ("172.18.0.99", "fc00::99", SERVER))


def test_a_gateway_that_is_named_as_the_control_plane_is_dropped() -> None:
    known = managed((SERVER, HTTPS), named=("172.18.0.0/16", "172.18.0.1"))
    networks = {
        name: replace(each, gateways=frozenset({"172.18.0.1"})) for name, each in known.networks.items()
    }
    assert dropped(replace(known, networks=networks), "172.18.0.1")


def test_a_named_peer_that_is_a_nodes_own_is_refused() -> None:
    with pytest.raises(
        Refused, match=r"peers: 172.18.0.4 is node w2's own, which the nodes that carry the rules never drop"
    ):
        cut_of(managed((SERVER, HTTPS)), peers=(SERVER, "172.18.0.4"))


def test_nodes_have_no_paths_to_be_kept() -> None:
    assert managed((SERVER, HTTPS)).kept_paths == ()
