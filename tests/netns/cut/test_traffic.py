"""What a cut stops, what it leaves alone, and that it all flows again: packets on a real kernel."""

from __future__ import annotations

import socket
import threading

import pytest

from chaosext.partition.apply import arm, heal, inspect, renew
from chaosext.partition.cut import FAMILIES, Family

from .lab import ADDRESS, NODE, OUTSIDER, PEER, POD, Lab, arrives, run, wait_until

pytestmark = pytest.mark.netns

CUT_WAYS = [(NODE, PEER), (PEER, NODE), (POD, PEER), (PEER, POD)]
OPEN_WAYS = [(NODE, OUTSIDER), (OUTSIDER, NODE), (POD, OUTSIDER), (OUTSIDER, POD), (POD, NODE), (NODE, POD)]
SERVICE: dict[Family, str] = {"ipv4": "10.96.0.1", "ipv6": "fd96::1"}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("source", "target"), CUT_WAYS)
def test_new_connections_meet_silence_until_the_heal(
    lab: Lab, source: str, target: str, family: Family
) -> None:
    assert lab.opens(source, target, family)
    arm(lab.cut(), lab.shells)
    assert not lab.opens(source, target, family)
    heal("lab1", lab.shells).require_gone()
    assert lab.opens(source, target, family)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("source", "target"), CUT_WAYS)
def test_established_flows_are_cut_in_both_directions(
    lab: Lab, source: str, target: str, family: Family
) -> None:
    with lab.flow(source, target, family) as (client, server), lab.flow(source, target, family) as (c2, s2):
        assert arrives(client, server)
        assert arrives(s2, c2)
        arm(lab.cut(), lab.shells)
        assert not arrives(client, server)
        assert not arrives(s2, c2)
        heal("lab1", lab.shells).require_gone()
        assert arrives(client, server, timeout_s=3)  # TCP sends again by itself
        assert arrives(s2, c2, timeout_s=3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("source", "target"), CUT_WAYS)
def test_not_a_single_packet_passes_either_way(lab: Lab, source: str, target: str, family: Family) -> None:
    with lab.datagrams(source, target, family) as (sender, receiver):
        assert arrives(sender, receiver)
        arm(lab.cut(), lab.shells)
        assert not arrives(sender, receiver)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("source", [NODE, POD])
def test_a_service_address_does_not_lead_around_the_cut(lab: Lab, source: str, family: Family) -> None:
    protocol = "ip" if family == "ipv4" else "ip6"
    jump = f"{protocol} daddr {SERVICE[family]} dnat to {ADDRESS[family][PEER]}"
    lab.nft(
        NODE,
        f"""table {protocol} services {{
          chain in {{ type nat hook prerouting priority -100; {jump}; }}
          chain own {{ type nat hook output priority -100; {jump}; }}
        }}
        """,
    )
    with lab.datagrams(source, PEER, family, by_way_of=SERVICE[family]) as (sender, receiver):
        assert arrives(sender, receiver)
        assert lab.opens(source, SERVICE[family], family)
        arm(lab.cut(), lab.shells)
        assert not arrives(sender, receiver)
        assert not lab.opens(source, SERVICE[family], family)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("source", "target"), OPEN_WAYS)
def test_what_is_no_peer_and_the_nodes_own_pods_are_left_alone(
    lab: Lab, source: str, target: str, family: Family
) -> None:
    with lab.flow(source, target, family) as (client, server):
        arm(lab.cut(), lab.shells)
        assert arrives(client, server)
        assert arrives(server, client)
        assert lab.opens(source, target, family)


def test_a_family_that_is_not_named_stays_open(lab: Lab) -> None:
    arm(lab.cut(families=("ipv4",)), lab.shells)
    assert not lab.opens(NODE, PEER, "ipv4")
    assert lab.opens(NODE, PEER, "ipv6")


def test_dropped_packets_are_counted(lab: Lab) -> None:
    arm(lab.cut(), lab.shells)
    lab.opens(PEER, NODE, "ipv4")
    lab.opens(NODE, PEER, "ipv6")
    (found,) = inspect(lab.shells)
    counted = {(drop.direction, drop.family) for drop in found.tables[0].drops if drop.packets}
    assert counted == {("in", "ipv4"), ("out", "ipv6")}


@pytest.mark.parametrize("family", FAMILIES)
def test_traffic_flows_within_half_a_second_of_the_heal_with_neighbours_forgotten(
    lab: Lab, family: Family
) -> None:
    arm(lab.cut(), lab.shells)
    for role in (NODE, PEER):
        run("ip", "-netns", lab.name(role), "neigh", "flush", "all")
    assert not lab.opens(PEER, NODE, family)
    assert not lab.opens(NODE, PEER, family)
    assert "INCOMPLETE" not in run("ip", "-netns", lab.name(PEER), "-6", "neigh")
    heal("lab1", lab.shells).require_gone()
    assert wait_until(lambda: lab.opens(PEER, NODE, family, timeout_s=0.05), within_s=0.5) < 0.5
    assert wait_until(lambda: lab.opens(NODE, PEER, family, timeout_s=0.05), within_s=0.5) < 0.5


def test_renewing_lets_no_packet_through(lab: Lab) -> None:
    cut = lab.cut()
    receiver = lab.socket(NODE, "ipv4", socket.SOCK_DGRAM)
    sender = lab.socket(PEER, "ipv4", socket.SOCK_DGRAM)
    done = threading.Event()

    def flood() -> None:
        while not done.is_set():
            sender.sendto(b"!", (ADDRESS["ipv4"][NODE], 7001))

    with receiver, sender:
        receiver.bind(("0.0.0.0", 7001))
        arm(cut, lab.shells)
        thread = threading.Thread(target=flood)
        thread.start()
        try:
            dropped = [renew(cut, lab.shells).nodes[0].facts.dropped_packets for _ in range(10)]
        finally:
            done.set()
            thread.join()
        receiver.settimeout(0.1)
        with pytest.raises(TimeoutError):
            receiver.recv(1)
    assert sum(dropped) > 0  # packets did come while it was renewed
