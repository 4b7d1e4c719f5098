"""From a timeline to lanes of outages, to what nobody observed, and to how long things took."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaosext.model.result import Lane, Timing
from chaosext.model.timeline import Event, Kind
from chaosext.timeline.outages import cut_windows, healed_s, outages, timing, united, unmeasured, unobserved

W = "sentinel on w"


def event(t_s: float, kind: Kind, name: str = "Node/w", source: str = W) -> Event:
    return Event(t_s=t_s, kind=kind, object=name, detail="", source=source)


@pytest.mark.parametrize(
    ("lost", "back", "name", "lane"),
    [
        (Kind.DNS_DEAD, Kind.DNS_RESTORED, "Node/w", Lane.DNS),
        (Kind.DNS_SOCKET_STALE, Kind.DNS_SOCKETS_AGREE, "Node/w", Lane.DNS_KEPT_SOCKET),
        (Kind.DNS_SOCKET_STALE, Kind.DNS_ONLY_KEPT_SOCKET, "Node/w", Lane.DNS_KEPT_SOCKET),
        (Kind.TARGET_LOST, Kind.TARGET_RESTORED, "Node/w → kube-dns 10.2.112.10:53/tcp", Lane.DNS_TCP),
        (Kind.TARGET_LOST, Kind.TARGET_RESTORED, "Node/w → istiod 10.2.0.5:15012", Lane.TARGETS),
        (Kind.TARGET_LOST, Kind.TARGET_RESTORED, "Node/w → a on w 10.244.1.2:53/udp", Lane.TARGETS),
        (Kind.XDS_LOST, Kind.XDS_RESTORED, "Pod/shop/cart", Lane.XDS),
        (Kind.XDS_LOST, Kind.POD_GONE, "Pod/shop/cart", Lane.XDS),
        (Kind.SIDECAR_NOT_READY, Kind.SIDECAR_READY, "Pod/shop/cart", Lane.SIDECAR_READY),
        (Kind.BGP_LOST, Kind.BGP_RESTORED, "Node/w → 172.18.0.5", Lane.BGP),
        (Kind.ROUTE_LOST, Kind.ROUTE_RESTORED, "Leaf/leaf → a on w 10.244.1.2", Lane.ROUTES),
        (Kind.NODE_NOT_READY, Kind.NODE_READY, "Node/w", Lane.NODE_READY),
        (Kind.PROBE_FAILING, Kind.POD_READY, "Pod/shop/cart", Lane.PROBES),
        (Kind.PROBE_FAILING, Kind.POD_EVICTED, "Pod/shop/cart", Lane.PROBES),
        (Kind.PROBE_FAILING, Kind.POD_DELETED, "Pod/shop/cart", Lane.PROBES),
    ],
)
def test_each_lane_has_its_news(lost: Kind, back: Kind, name: str, lane: Lane) -> None:
    gone = [event(5, lost, name)]
    assert outages(gone) == {lane: {name: ((5, None),)}}
    assert outages([*gone, event(9, back, name)]) == {lane: {name: ((5, 9),)}}
    assert outages([*gone, event(6, lost, name), event(9, back, "Pod/shop/other")])[lane][name] == (
        (5, None),
    )


def test_every_kind_that_says_lost_opens_a_window() -> None:
    said = [
        kind for kind in Kind if kind.value.endswith(("_lost", "_dead", "_not_ready", "_stale", "_failing"))
    ]
    others = {Kind.OBSERVATION_LOST, Kind.LOCK_LOST, Kind.POD_NOT_READY, Kind.CUT_LOST}
    assert {kind for kind in said if not outages([event(1, kind)])} == others


def test_probes_are_well_when_the_steady_state_holds() -> None:
    events = [
        event(1, Kind.PROBE_FAILING, "Pod/shop/cart", "kubelet"),
        event(2, Kind.DNS_DEAD),
        event(9, Kind.STEADY, "Cluster/x", "chaosext"),
    ]
    assert outages(events) == {Lane.DNS: {"Node/w": ((2, None),)}, Lane.PROBES: {"Pod/shop/cart": ((1, 9),)}}


def test_a_node_that_is_observed_no_more_is_out_no_longer_than_it_was_seen_out() -> None:
    events = [
        event(1, Kind.DNS_DEAD),
        event(1, Kind.XDS_LOST, "Pod/shop/cart"),
        event(1, Kind.NODE_NOT_READY, source="api-server"),
        event(1, Kind.DNS_DEAD, "Node/v", "sentinel on v"),
        event(4, Kind.OBSERVATION_LOST),
        event(8, Kind.OBSERVATION_RESTORED),
        event(8, Kind.XDS_LOST, "Pod/shop/cart"),
    ]
    assert outages(events) == {
        Lane.DNS: {"Node/w": ((1, 4),), "Node/v": ((1, None),)},
        Lane.XDS: {"Pod/shop/cart": ((1, 4), (8, None))},
        Lane.NODE_READY: {"Node/w": ((1, None),)},
    }
    assert unobserved(events) == {"w": ((4, 8),)}
    assert unobserved(events[:5]) == {"w": ((4, None),)}


def test_one_signal_that_is_measured_no_more_ends_its_own_window_only() -> None:
    events = [
        event(1, Kind.XDS_LOST, "Pod/shop/cart"),
        event(1, Kind.SIDECAR_NOT_READY, "Pod/shop/cart"),
        event(4, Kind.OBSERVATION_LOST, "Pod/shop/cart (xds)"),
    ]
    assert outages(events) == {
        Lane.XDS: {"Pod/shop/cart": ((1, 4),)},
        Lane.SIDECAR_READY: {"Pod/shop/cart": ((1, None),)},
    }
    assert unobserved(events) == {}


def test_only_nodes_are_unobserved() -> None:
    events = [
        event(1, Kind.OBSERVATION_LOST, "Watch/nodes", "chaosext"),
        event(1, Kind.OBSERVATION_LOST, "Leaf/leaf", "leaf"),
        event(1, Kind.OBSERVATION_LOST, "Node/w → 172.18.0.5 (bgp)"),
    ]
    assert unobserved(events) == {}


def test_times() -> None:
    events = [
        event(-9, Kind.STEADY, "Cluster/x"),
        event(0, Kind.CUT, "Node/cp-1,cp-2"),
        event(20, Kind.NODE_NOT_READY),
        event(50, Kind.HEAL, "Node/cp-1"),
        event(53, Kind.HEAL, "Node/cp-2"),
        event(55, Kind.DNS_DEAD),
        event(130, Kind.ROLLBACK, "Deployment/kube-system/coredns"),
        event(190, Kind.STEADY, "Cluster/x"),
    ]
    assert timing(events) == Timing(
        detect_s=20, outage_s=135, heal_to_outage_s=2, recover_s=137, rollback_s=60
    )
    assert timing(events[:-2]) == Timing(detect_s=20, heal_to_outage_s=2)
    assert timing(events[:1]) == timing(()) == Timing()


def test_the_cut_lasts_from_the_first_node_to_the_last_heal_and_each_cut_is_one() -> None:
    events = [
        event(0.0, Kind.CUT, "Node/a"),
        event(0.1, Kind.CUT, "Node/b"),
        event(50.0, Kind.HEAL, "Node/a"),
        event(51.0, Kind.HEAL, "Node/b"),
        event(90.0, Kind.CUT, "Node/a"),
    ]
    assert cut_windows(events) == ((0.0, 51.0), (90.0, None))


def test_a_cut_that_one_node_was_not_healed_of_is_not_over() -> None:
    events = [event(0.0, Kind.CUT, "Node/cp-1,cp-2"), event(50.0, Kind.HEAL, "Node/cp-1")]
    assert (cut_windows(events), healed_s(events)) == (((0.0, None),), None)
    events.append(event(60.0, Kind.HEAL, "Node/cp-1,cp-2"))
    assert (cut_windows(events), healed_s(events)) == (((0.0, 60.0),), 60.0)


def test_windows_are_united_where_they_touch() -> None:
    assert united([(5, 6), (1, 3), (2, 4), (5.5, None), (9, 10)]) == ((1, 4), (5, None))
    assert united([]) == ()


def test_what_was_not_measured_on_a_node_that_was_observed_has_windows_of_its_own() -> None:
    """A Pod that is gone is not waited for; nor is an address of kube-dns, which is in the plan while it is one."""
    events = [
        event(1, Kind.OBSERVATION_LOST, "Node/w (dns)"),
        event(4, Kind.OBSERVATION_RESTORED, "Node/w (dns)"),
        event(5, Kind.OBSERVATION_LOST, "Node/w → 172.18.0.5 (bgp)"),
        event(6, Kind.OBSERVATION_LOST, "Pod/shop/cart (xds)"),
        event(8, Kind.POD_GONE, "Pod/shop/cart", "api-server"),
        event(9, Kind.OBSERVATION_LOST, "Node/w → a on w 10.244.1.2:53/udp (targets)"),
    ]
    found = {lane: windows for lane, windows in unmeasured(events).items() if windows}
    assert found == {
        Lane.DNS: {"Node/w": ((1, 4),)},
        Lane.BGP: {"Node/w → 172.18.0.5": ((5, None),)},
        Lane.XDS: {"Pod/shop/cart": ((6, 8),)},
    }
    assert unobserved(events) == {}


def test_a_cut_that_was_lost_is_drawn_until_then() -> None:
    cut, lost = event(0, Kind.CUT, "Node/cp-1,cp-2"), event(43.2, Kind.CUT_LOST, "Node/cp-1")
    heal = event(45, Kind.HEAL, "Node/cp-1,cp-2")
    assert cut_windows([cut, lost, heal]) == ((0, 45),)
    assert cut_windows([cut, lost, replace(lost, object="Node/cp-2", t_s=44)]) == ((0, 44),)
    assert cut_windows([cut, lost]) == ((0, None),)
    assert healed_s([cut, lost, replace(heal, object="Node/cp-2")]) == 45
    assert healed_s([cut, replace(lost, object="Node/cp-1,cp-2"), heal]) == 43.2
