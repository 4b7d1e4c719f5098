"""Whether kubelets renew their Leases: timed by what the runner hears, and never by what it does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from chaosext.cluster.objects import NodeLease
from chaosext.model.result import Lane
from chaosext.model.timeline import Kind
from chaosext.run.monitor import watchers
from chaosext.run.monitor.watchers import KubeletWatch
from chaosext.timeline.kubelet_renewals import Renewals
from chaosext.timeline.outages import outages
from chaosext.timeline.recorder import Recorder

THEN = datetime(2026, 11, 23, 23, 3, tzinfo=UTC)


def lease(renewed_s: float, *, name: str = "w", duration_s: int = 40) -> NodeLease:
    return NodeLease(name=name, duration_s=duration_s, renewed=THEN + timedelta(seconds=renewed_s))


def silent(renewals: Renewals, now_s: float) -> list[tuple[Kind, str, float]]:
    return [(note.kind, note.object, at_s) for note, at_s in renewals.silent(now_s)]


def test_a_kubelet_that_does_not_renew_is_lost_from_its_first_missing_renewal_on() -> None:
    renewals = Renewals()
    renewals.take(lease(0), 100.0)
    renewals.take(lease(0, name="v"), 100.0)
    renewals.take(lease(30, name="v"), 130.0)
    assert silent(renewals, 140.0) == []
    assert silent(renewals, 140.1) == [(Kind.KUBELET_LOST, "Node/w", 110.0)]
    assert silent(renewals, 141.0) == []  # it is said once
    restored = renewals.take(lease(60), 160.0)
    assert restored
    assert (restored.kind, restored.object) == (Kind.KUBELET_RESTORED, "Node/w")
    assert silent(renewals, 165.0) == []


def test_a_lease_that_changes_otherwise_is_no_renewal() -> None:
    renewals = Renewals()
    renewals.take(lease(0), 100.0)
    assert renewals.take(lease(0), 139.0) is None
    assert [name for _, name, _ in silent(renewals, 141.0)] == ["Node/w"]


def test_a_clock_of_the_node_that_is_off_makes_no_difference() -> None:
    renewals = Renewals()
    for n in range(5):
        renewals.take(lease(-9000 + 10 * n), 100.0 + 10 * n)
    assert silent(renewals, 150.0) == []


def test_what_an_api_server_that_is_not_heard_of_does_not_tell_is_no_silence() -> None:
    renewals = Renewals()
    renewals.take(lease(0), 100.0)
    renewals.deaf(170.0)
    assert silent(renewals, 200.0) == []
    assert [name for _, name, _ in silent(renewals, 211.0)] == ["Node/w"]


def test_a_lease_that_is_gone_is_waited_for_no_more() -> None:
    renewals = Renewals()
    renewals.take(lease(0), 100.0)
    renewals.drop("w")
    assert silent(renewals, 1000.0) == []


def change(kind: str, renewed_s: float) -> dict[str, object]:
    moment = (THEN + timedelta(seconds=renewed_s)).isoformat()
    spec = {"renewTime": moment, "leaseDurationSeconds": 40}
    return {"type": kind, "object": {"metadata": {"name": "w"}, "spec": spec}}


def test_the_watch_opens_a_lane_and_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(watchers.time, "monotonic", lambda: now[0])
    recorder, watch = Recorder(), KubeletWatch()
    recorder.set_zero(1000.0)

    def at(seconds: float, *, heard: bool = True) -> None:
        now[0] = 1000.0 + seconds
        watch.following.answered_s = now[0] if heard else watch.following.answered_s
        watch.look(recorder)

    watch.following.take(change("ADDED", 0), recorder)
    at(39)
    assert recorder.events == ()
    at(41)
    watch.following.take(change("MODIFIED", 10), recorder)
    (windows,) = outages(recorder.events)[Lane.KUBELET].values()
    assert windows == ((pytest.approx(10.0), pytest.approx(41.0)),)
    at(90, heard=False)
    at(91)
    assert len(recorder.events) == 2
    watch.following.take(change("DELETED", 10), recorder)
    at(500)
    assert len(recorder.events) == 2
