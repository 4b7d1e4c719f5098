"""The Lease: one taker wins, the server's clock counts, and nobody's is deleted by who came late."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from lease_api import LeaseApi, serving

from chaosext.cluster.lease import (
    CUT,
    OVER,
    InForce,
    facts_of_lease,
    look_at_lease,
    release_lease,
    renew_lease,
    take_lease,
    write_notes,
)
from chaosext.model.errors import Refused, Unreachable
from chaosext.model.owner import LOCK_S, Claim, me

if TYPE_CHECKING:
    from collections.abc import Iterator

DEAD = replace(me(), pid=2**22 + 1)  # beyond pid_max's greatest (proc(5), /proc/sys/kernel/pid_max)
ELSEWHERE = replace(me(), boot="0ddb0075")
A = Claim(run="aaa", owner="alice@one", holder=ELSEWHERE)
B = Claim(run="bbb", owner="bob@two")


@pytest.fixture
def api() -> Iterator[LeaseApi]:
    with serving() as api:
        yield api


def holder(api: LeaseApi) -> str:
    assert api.lease is not None
    return str(api.lease["spec"]["holderIdentity"])


def test_a_lease_says_whose_it_is_and_for_how_long(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    lock = look_at_lease(api.cluster())
    assert lock is not None
    assert (lock.run, lock.owner, lock.holder, lock.is_live) == ("aaa", "alice@one", ELSEWHERE, True)
    assert LOCK_S - 5 <= lock.remaining_s <= LOCK_S
    assert api.lease is not None
    assert api.lease["spec"]["leaseDurationSeconds"] == LOCK_S


def test_what_is_held_is_refused_naming_who(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    with pytest.raises(
        Refused,
        match=r"run aaa of alice@one holds Lease kube-system/chaosext \(renewed while .*, else it expires in \d+ s\)",
    ):
        take_lease(api.cluster(), B)
    assert holder(api) == "aaa"


def test_one_of_many_simultaneous_takers_wins(api: LeaseApi) -> None:
    """The winners' claims follow each other: each turn all try to take what is free, expired or a dead one's."""
    for turn in range(20):
        _prepare(api, turn)
        start = threading.Barrier(4)

        def attempt(run: str, start: threading.Barrier = start) -> str:
            start.wait()
            try:
                take_lease(api.cluster(), replace(B, run=run))
            except Refused:
                return ""
            return run

        with ThreadPoolExecutor(4) as pool:
            won = [run for run in pool.map(attempt, ("r1", "r2", "r3", "r4")) if run]
        assert won == [holder(api)]


def _prepare(api: LeaseApi, turn: int) -> None:
    api.lease, api.ahead_s = None, 0.0
    if turn % 3 == 1:
        take_lease(api.cluster(), A)
        api.ahead_s = LOCK_S + 2.0
    if turn % 3 == 2:
        take_lease(api.cluster(), replace(A, holder=DEAD))


def test_an_expired_one_is_free(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    api.ahead_s = LOCK_S + 2.0
    take_lease(api.cluster(), B)
    assert holder(api) == "bbb"
    assert api.lease is not None
    assert api.lease["spec"]["leaseTransitions"] == 1


def test_a_dead_holders_is_free_at_once(api: LeaseApi) -> None:
    take_lease(api.cluster(), replace(A, holder=DEAD))
    take_lease(api.cluster(), B)
    assert holder(api) == "bbb"


@pytest.mark.parametrize("ahead_s", [-86400.0, 86400.0])
def test_the_runners_clock_takes_no_lock_from_anybody(api: LeaseApi, ahead_s: float) -> None:
    api.ahead_s = ahead_s
    take_lease(api.cluster(), A)
    with pytest.raises(Refused):
        take_lease(api.cluster(), B)


def test_renewing_starts_its_time_anew(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    acquired = api.lease and api.lease["spec"]["acquireTime"]
    api.ahead_s = 50.0
    assert renew_lease(api.cluster(), A) == ""
    lock = look_at_lease(api.cluster())
    assert lock is not None
    assert lock.remaining_s > LOCK_S - 5
    assert api.lease is not None
    assert (api.lease["spec"]["acquireTime"], api.lease["spec"]["leaseTransitions"]) == (acquired, 0)


def test_who_comes_back_late_finds_out_and_takes_nothing(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    api.ahead_s = LOCK_S + 2.0
    take_lease(api.cluster(), B)
    assert renew_lease(api.cluster(), A) == "run bbb of bob@two took Lease kube-system/chaosext over"
    release_lease(api.cluster(), A.run)
    assert holder(api) == "bbb"


def test_renewing_makes_none(api: LeaseApi) -> None:
    assert renew_lease(api.cluster(), A) == "Lease kube-system/chaosext is gone"
    assert api.lease is None


def test_releasing_twice_is_as_once(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    release_lease(api.cluster(), A.run)
    release_lease(api.cluster(), A.run)
    assert api.lease is None


def test_what_was_taken_over_meanwhile_is_not_deleted(api: LeaseApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the deletion another took it: the preconditions keep it."""
    take_lease(api.cluster(), A)
    cluster = api.cluster()
    ask = cluster.ask

    def slow(method: str, *rest: Any, **more: Any) -> Any:
        if method == "DELETE":
            api.ahead_s = LOCK_S + 2.0
            take_lease(api.cluster(), B)
        return ask(method, *rest, **more)

    monkeypatch.setattr(cluster, "ask", slow)
    release_lease(cluster, A.run)
    assert holder(api) == "bbb"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_missing_permission_is_refused_naming_it(api: LeaseApi, method: str) -> None:
    api.forbidden = {method}
    with pytest.raises(Refused, match=rf"missing permission: .* cannot {method.lower()}"):
        take_lease(api.cluster(), A)


def test_it_needs_these_four_verbs_on_one_object_and_no_more(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    renew_lease(api.cluster(), A)
    release_lease(api.cluster(), A.run)
    assert api.seen == ["GET", "POST", "GET", "PUT", "GET", "DELETE"]


def test_a_server_that_is_gone_is_unreachable(api: LeaseApi) -> None:
    cluster = api.cluster()
    api.server_close()
    with pytest.raises(Unreachable):
        take_lease(cluster, A, timeout_s=0.5)


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        {"holderIdentity": "", "renewTime": "2026-11-23T10:00:00.000000Z", "leaseDurationSeconds": 60},
        {"holderIdentity": "", "renewTime": "yesterday", "leaseDurationSeconds": 60},
    ],
)
def test_a_lease_without_a_holder_is_free(spec: Any) -> None:
    now = datetime(2026, 11, 23, 10, 0, 1, tzinfo=UTC)
    facts = facts_of_lease({"metadata": {}, "spec": spec}, now)
    assert (facts.is_live, facts.may_be_taken, facts.delete_with) == (False, True, "")


@pytest.mark.parametrize(
    "spec",
    [
        {"holderIdentity": "x"},
        {"holderIdentity": "x", "renewTime": "yesterday", "leaseDurationSeconds": 60},
        {"holderIdentity": "x", "renewTime": "2026-11-23T10:00:00", "leaseDurationSeconds": 60},
        {"holderIdentity": "x", "renewTime": "2026-11-23T10:00:00.000000Z", "leaseDurationSeconds": None},
        {"holderIdentity": "x", "renewTime": "2026-11-23T10:00:00.000000Z", "leaseDurationSeconds": 10**20},
    ],
)
def test_a_lease_whose_time_can_not_be_read_is_held(spec: Any) -> None:
    """Only who is known to be dead has lost it."""
    now = datetime(2026, 11, 23, 10, 0, 1, tzinfo=UTC)
    assert facts_of_lease({"metadata": {}, "spec": spec}, now).keeps_out("y")
    notes = {"chaosext/holder": str(DEAD)}
    assert facts_of_lease({"metadata": {"annotations": notes}, "spec": spec}, now).may_be_taken


def test_who_is_kept_out_by_a_time_that_can_not_be_read_is_told_how_to_delete_it(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    assert api.lease is not None
    del api.lease["spec"]["renewTime"]
    with pytest.raises(Refused) as refused:
        take_lease(api.cluster(), B)
    assert refused.value.message.startswith(
        "lock: run aaa of alice@one holds Lease kube-system/chaosext, and"
    )
    assert "`kubectl -n kube-system delete lease chaosext`" in refused.value.fix
    assert holder(api) == "aaa"


def test_its_own_run_makes_the_time_of_a_lease_readable_again(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    assert api.lease is not None
    api.lease["spec"]["renewTime"] = "yesterday"
    assert renew_lease(api.cluster(), A) == ""
    with pytest.raises(Refused, match=r"\(renewed while the run lives, else it expires in \d+ s\)"):
        take_lease(api.cluster(), B)


@pytest.mark.parametrize(("age_s", "live"), [(0, True), (59.9, True), (60, False), (61, False)])
def test_a_lease_is_over_when_its_time_is(age_s: float, live: bool) -> None:
    renewed = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    spec = {"holderIdentity": "x", "renewTime": "2026-11-23T10:00:00.000000Z", "leaseDurationSeconds": 60}
    facts = facts_of_lease({"metadata": {}, "spec": spec}, renewed + timedelta(seconds=age_s))
    assert (facts.is_live, facts.may_be_taken) == (live, not live)


LASTING = replace(A, lasts_s=600.0)


def test_a_refusal_says_by_when_cut_and_run_are_over(api: LeaseApi) -> None:
    """By the API server's own clock, and only while that run has it."""
    api.ahead_s = 3600.0
    take_lease(api.cluster(), LASTING)
    now = datetime.now(UTC) + timedelta(seconds=api.ahead_s)
    with pytest.raises(Refused, match=r"\(the run is over by \d\d:\d\d:\d\d UTC\)"):
        take_lease(api.cluster(), B)
    cut = InForce(until=now + timedelta(seconds=60), dead_man_s=23)
    write_notes(api.cluster(), "aaa", {CUT: str(cut)})
    renew_lease(api.cluster(), LASTING)
    facts = look_at_lease(api.cluster())
    assert facts is not None
    assert facts.over is not None
    assert abs((facts.over - now).total_seconds() - 600) < 30
    until = f"its cut ends by {cut.until:%H:%M:%S} UTC, the run is over by {facts.over:%H:%M:%S} UTC"
    with pytest.raises(Refused, match=until):
        take_lease(api.cluster(), B)


@pytest.mark.parametrize("said", ["", "soon", "2026-99-99T00:00:00Z", "0001-01-01T00:00:00+23:59"])
def test_a_moment_that_can_not_be_read_is_not_known(api: LeaseApi, said: str) -> None:
    take_lease(api.cluster(), LASTING)
    write_notes(api.cluster(), "aaa", {OVER: said})
    facts = look_at_lease(api.cluster())
    assert facts is not None
    assert facts.over is None


def test_what_a_run_said_of_its_end_is_not_the_next_ones(api: LeaseApi) -> None:
    take_lease(api.cluster(), LASTING)
    api.ahead_s = 7200.0
    take_lease(api.cluster(), B)
    facts = look_at_lease(api.cluster())
    assert facts is not None
    assert (facts.run, facts.over) == (B.run, None)
