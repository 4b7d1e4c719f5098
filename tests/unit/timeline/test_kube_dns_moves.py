"""Where kube-dns was when: what is drawn while a run goes on, and what its report draws."""

from __future__ import annotations

from chaosext.model.timeline import Event, Kind
from chaosext.timeline.kube_dns_moves import stays

OLD, NEW, OTHER = (f"Pod/kube-system/coredns-7d764666f9-{each}" for each in ("2xkfq", "nbq7m", "x6ql4"))


def event(t_s: float, kind: Kind, name: str, detail: str) -> Event:
    return Event(t_s=t_s, kind=kind, object=name, detail=detail, source="api-server")


def test_it_is_on_a_node_from_when_it_is_bound_there_until_it_is_told_to_go() -> None:
    events = (
        event(41.0, Kind.POD_EVICTED, OLD, "from worker, which is not ready"),
        event(41.1, Kind.POD_BOUND, NEW, "to cp"),
        event(99.0, Kind.POD_DELETED, NEW, "on cp"),
        event(101.0, Kind.POD_GONE, NEW, "was on cp"),
    )
    assert stays(events, ("worker",), -5.0) == {"worker": ((-5.0, 41.0),), "cp": ((41.1, 99.0),)}


def test_each_pod_has_a_window_of_its_own_and_one_that_stays_has_no_end() -> None:
    events = (event(1.0, Kind.POD_BOUND, NEW, "to cp"), event(2.0, Kind.POD_BOUND, OTHER, "to cp"))
    assert stays(events, (), 0.0) == {"cp": ((1.0, None), (2.0, None))}


def test_other_pods_are_no_kube_dns() -> None:
    assert stays((event(1.0, Kind.POD_BOUND, "Pod/shop/coredns-x", "to cp"),), (), 0.0) == {}
