"""The order in which a cluster is locked and given back, and what becomes of a lock that is lost."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.model.errors import ChaosextError, Refused, Unreachable
from chaosext.model.owner import LOCK_S, Claim
from chaosext.partition.apply import Hold
from chaosext.safety import cluster_lock as locks
from chaosext.safety.cluster_lock import ClusterLock

if TYPE_CHECKING:
    from collections.abc import Iterator

CLAIM = Claim(run="aaa", owner="alice@one")
CLUSTER, SHELLS = object(), {"cp": object()}


class Stage:
    """What the lock asks of the cluster and of the nodes: noted, answered as told."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.given: dict[str, tuple[Any, ...]] = {}
        self.raises: dict[str, BaseException] = {}
        self.nodes: dict[str, str] = {}
        self.lease = ""
        self.told: list[str] = []
        self.lock = ClusterLock(CLAIM, CLUSTER, SHELLS, tell=self.told.append)  # type: ignore[arg-type]

    def does(self, name: str, answer: str = "") -> Any:
        def do(*given: Any, **more: Any) -> Any:
            self.done.append(name)
            self.given[name] = (*given, *more.items())
            if name in self.raises:
                raise self.raises[name]
            return getattr(self, answer) if answer else None

        return do


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = Stage()
    for name, answer in [
        ("take_lease", ""),
        ("lock_nodes", ""),
        ("renew_lock", "nodes"),
        ("renew_lease", "lease"),
        ("remove_lock", ""),
        ("release_lease", ""),
    ]:
        monkeypatch.setattr(locks, name, made.does(name, answer))
    monkeypatch.setattr(locks, "RENEW_S", 0.02)
    yield made
    made.lock.release()


def wait_for(condition: Any) -> None:
    deadline_s = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def keepers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lock"]


def test_the_lease_comes_first_and_goes_last(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "RENEW_S", 60.0)
    stage.lock.hold()
    stage.lock.release()
    assert stage.done == ["take_lease", "lock_nodes", "remove_lock", "release_lease"]


def test_it_is_taken_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "RENEW_S", 60.0)
    stage.lock.hold()
    stage.lock.hold()
    assert stage.done == ["take_lease", "lock_nodes"]


@pytest.mark.parametrize("step", ["take_lease", "lock_nodes"])
@pytest.mark.parametrize("error", [Refused("lock: held"), Unreachable("silent"), SystemExit(30)])
def test_what_fails_gives_everything_back(stage: Stage, step: str, error: BaseException) -> None:
    stage.raises[step] = error
    with pytest.raises(type(error)):
        stage.lock.hold()
    assert stage.done[-2:] == ["remove_lock", "release_lease"]
    assert keepers() == []


def test_after_a_failure_it_may_be_tried_again(stage: Stage) -> None:
    stage.raises["lock_nodes"] = Refused("lock: held")
    with pytest.raises(Refused):
        stage.lock.hold()
    del stage.raises["lock_nodes"]
    stage.lock.hold()
    wait_for(lambda: "renew_lease" in stage.done)


def test_it_is_renewed_until_it_is_given_back(stage: Stage) -> None:
    stage.lock.hold()
    wait_for(lambda: stage.done.count("renew_lease") >= 3)
    stage.lock.release()
    assert keepers() == []
    assert stage.done[-2:] == ["remove_lock", "release_lease"]
    assert stage.told == []


def test_a_lost_lock_is_told_once_and_refuses_the_next_cut(stage: Stage) -> None:
    stage.lock.hold()
    stage.nodes = {"cp": "run bbb of bob@two took it over"}
    wait_for(lambda: stage.told)
    renewals = stage.done.count("renew_lease")
    wait_for(lambda: stage.done.count("renew_lease") > renewals + 2)
    assert stage.told == ["cp: run bbb of bob@two took it over"]
    with pytest.raises(Refused, match="lost it: cp: run bbb of bob@two took it over"):
        stage.lock.hold()


def test_a_lost_lease_refuses_as_well(stage: Stage) -> None:
    stage.lock.hold()
    stage.lease = "run bbb of bob@two took Lease kube-system/chaosext over"
    wait_for(lambda: stage.told)
    with pytest.raises(Refused, match="took Lease"):
        stage.lock.hold()


@pytest.mark.parametrize("error", [Unreachable("silent"), RuntimeError("a bug")])
@pytest.mark.parametrize("step", ["renew_lock", "renew_lease"])
def test_no_trouble_in_renewing_reaches_the_run(stage: Stage, step: str, error: Exception) -> None:
    stage.raises[step] = error
    stage.lock.hold()
    wait_for(lambda: stage.done.count(step) >= 3)
    stage.lock.hold()
    assert stage.told == []


def test_who_was_stopped_for_long_asks_before_it_cuts(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that is continued may get to its next cut before its keeper gets to renew."""
    monkeypatch.setattr(locks, "RENEW_S", 60.0)
    stage.lock.hold()
    stage.nodes = {"cp": "run bbb of bob@two took it over"}
    later_s = locks.clock.uptime_s() + 61
    monkeypatch.setattr(locks.clock, "uptime_s", lambda: later_s)
    with pytest.raises(Refused, match="bbb"):
        stage.lock.hold()


def test_giving_back_never_raises_and_may_be_repeated(stage: Stage) -> None:
    stage.raises |= {name: ChaosextError("trouble") for name in ("remove_lock", "release_lease")}
    stage.lock.release()
    stage.lock.hold()
    stage.lock.release()
    stage.lock.release()
    assert stage.done[-2:] == ["remove_lock", "release_lease"]


def test_each_is_asked_of_the_right_one_and_bounded(stage: Stage) -> None:
    stage.lock.hold()
    wait_for(lambda: "renew_lease" in stage.done)
    stage.lock.release()
    assert stage.given == {
        "take_lease": (CLUSTER, CLAIM),
        "lock_nodes": (CLAIM, SHELLS, ("ttl_s", LOCK_S)),
        "renew_lock": (CLAIM, SHELLS, ("ttl_s", LOCK_S), ("timeout_s", locks.ASK_S)),
        "renew_lease": (CLUSTER, CLAIM, ("timeout_s", locks.ASK_S / 2)),
        "remove_lock": ("aaa", SHELLS, ("timeout_s", locks.RELEASE_S)),
        "release_lease": (CLUSTER, "aaa", ("timeout_s", locks.RELEASE_S / 2)),
    }


def test_giving_back_waits_for_the_keeper_and_not_for_ever(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.lock.hold()
    (keeper,) = keepers()
    assert keeper.daemon
    waited: list[float | None] = []
    monkeypatch.setattr(keeper, "join", waited.append)
    stage.lock.release()
    assert waited == [locks.RELEASE_S]


def test_the_crash_point_is_passed_with_the_lease_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(locks, "crash_point", lambda name: passed.append((name, list(stage.done))))
    stage.lock.hold()
    assert passed == [("lease-taken", ["take_lease"])]


def test_all_that_is_lost_is_told_and_what_to_do(stage: Stage) -> None:
    stage.lock.hold()
    stage.lease, stage.nodes = "the Lease is gone", {"cp": "gone", "cp2": "gone as well"}
    wait_for(lambda: stage.told)
    renewals = stage.done.count("renew_lease")
    wait_for(lambda: stage.done.count("renew_lease") > renewals + 1)
    with pytest.raises(Refused) as refused:
        stage.lock.hold()
    assert refused.value.message == (
        "lock: this run has lost it: cp: gone; cp2: gone as well; the Lease is gone"
    )
    assert refused.value.fix == "see `chaosext status`; run again when the lock is free"


@pytest.mark.parametrize(("later_s", "asks"), [(29.0, False), (31.0, True)])
def test_a_lock_is_made_sure_of_when_half_its_time_is_over(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, later_s: float, asks: bool
) -> None:
    monkeypatch.setattr(locks, "RENEW_S", 60.0)
    stage.lock.hold()
    now_s = locks.clock.uptime_s()
    monkeypatch.setattr(locks.clock, "uptime_s", lambda: now_s + later_s)
    stage.lock.hold()
    assert ("renew_lock" in stage.done) == asks


def test_a_silent_api_server_takes_the_lock_from_nobody(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "RENEW_S", 60.0)
    stage.lock.hold()
    stage.raises["renew_lease"] = Unreachable("silent")
    later_s = locks.clock.uptime_s() + 61
    monkeypatch.setattr(locks.clock, "uptime_s", lambda: later_s)
    stage.lock.hold()
    assert stage.done[-1] == "renew_lease"


@pytest.mark.parametrize("sealed_s", [0.0, 75.0])
def test_the_nodes_locks_outlast_the_time_in_which_nobody_can_renew_them(sealed_s: float) -> None:
    lock = ClusterLock(CLAIM, CLUSTER, SHELLS, tell=print, sealed_s=sealed_s)  # type: ignore[arg-type]
    assert lock.held == Hold(claim=CLAIM, ttl_s=LOCK_S + sealed_s)
