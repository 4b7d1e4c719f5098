"""An abort by the Lease, between two processes that share nothing but an API server."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from lease_api import LeaseApi, serving

from chaosext.cluster.lease import (
    ABORT,
    CUT,
    look_at_notes,
    release_lease,
    renew_lease,
    request_abort,
    take_lease,
    write_notes,
)
from chaosext.model import clock
from chaosext.model.errors import Refused
from chaosext.model.owner import LOCK_S, Claim, me
from chaosext.run.fault.state import fault_of
from chaosext.run.session.run_context import Stash
from chaosext.run.stop import abort_request
from chaosext.run.stop.abort_listener import Abort
from chaosext.run.stop.abort_request import ENDED, NOT_SEEN, SEEN, Asking
from chaosext.run.stop.condition_state import Says

if TYPE_CHECKING:
    from collections.abc import Iterator

ELSEWHERE = replace(me(), boot="elsewhere")
A, B = (Claim(run=run, owner=f"{run}@desk", holder=ELSEWHERE) for run in ("aaa", "bbb"))


@dataclass
class Context:
    """What of a run's context an abort looks at."""

    id: str = "aaa"
    stash: Stash = field(default_factory=Stash)

    def cut(self, ttl_s: float, dead_man_s: float) -> None:
        fault = fault_of(self)  # type: ignore[arg-type]
        fault.in_force, fault.expires_at = True, clock.now().later(ttl_s)
        fault.cuts = [type("Cut", (), {"dead_man_s": dead_man_s})]


@pytest.fixture
def api() -> Iterator[LeaseApi]:
    with serving() as served:
        yield served


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abort_request, "POLL_S", 0.05)


def asking(api: LeaseApi, **more: Any) -> tuple[Asking, list[str]]:
    told: list[str] = []
    given = {"reason": "INC-42 (bob@phone)", "wait_s": 5.0, **more}
    return Asking(cluster=api.cluster(), tell=told.append, **given), told


@contextmanager
def looking(abort: Abort, remains: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """The runner's side, on a thread of its own: looks until it is asked, then answers."""
    over, reasons = threading.Event(), list[str]()

    def keep() -> None:
        while not over.wait(0.05):
            reply = abort.look()
            if reply.says is Says.TRUE:
                reasons.append(reply.detail)
                abort.answer(remains)

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield reasons
    finally:
        over.set()
        thread.join()


def test_a_run_that_is_asked_answers_once_and_the_one_who_asked_sees_it(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    request, told = asking(api, run="aaa")
    with looking(Abort(api.cluster(), Context())) as reasons:  # type: ignore[arg-type]
        assert request.through() == SEEN
    assert reasons == ["INC-42 (bob@phone)"]
    assert told[-1] == "run aaa: healed; the rollbacks follow"


def test_what_was_not_seen_gone_is_said(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    request, told = asking(api)
    with looking(Abort(api.cluster(), Context()), remains=("cp1: remove it with …",)):  # type: ignore[arg-type]
        assert request.through() == NOT_SEEN
    assert told[-1] == "run aaa: not seen healed: cp1: remove it with …"


def test_there_is_nothing_to_abort(api: LeaseApi) -> None:
    with pytest.raises(Refused, match="nothing to abort"):
        asking(api)[0].through()
    take_lease(api.cluster(), A)
    with pytest.raises(Refused, match=r"run bbb does not hold .*: run aaa of aaa@desk does"):
        asking(api, run="bbb")[0].through()
    assert look_at_notes(api.cluster()).abort == ""


def test_a_run_that_ended_before_it_answered_is_not_said_to_be_healed(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    request, told = asking(api)
    timer = threading.Timer(0.3, release_lease, (api.cluster(), "aaa"))
    timer.start()
    assert request.through() == ENDED
    timer.join()
    assert "before it answered" in told[-1]


def test_of_a_dead_runner_it_says_when_the_kernel_lets_go(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    context = Context()
    context.cut(ttl_s=200.0, dead_man_s=30.0)
    assert Abort(api.cluster(), context).look().says is Says.FALSE  # type: ignore[arg-type]
    api.ahead_s = LOCK_S + 2.0
    request, told = asking(api)
    assert request.through() == NOT_SEEN
    assert "its runner is dead or does not renew" in told[0]
    assert "its cut expires in at most 13" in told[1]
    assert "or 30 s after the runner's death" in told[1]
    api.ahead_s = 300.0
    assert asking(api)[0].through() == SEEN


def test_a_runner_that_does_not_answer_is_not_believed_to_have_healed(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    request, told = asking(api, wait_s=0.3)
    assert request.through() == NOT_SEEN
    assert told[-2:] == [
        "run aaa did not answer within 0.3 s",
        "a cut may still be active: check with `chaosext status`, remove it with `chaosext cleanup`",
    ]


def test_what_is_in_force_is_on_the_lease_and_goes_with_it(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    context = Context()
    abort = Abort(api.cluster(), context)  # type: ignore[arg-type]
    abort.look()
    assert look_at_notes(api.cluster()).in_force is None
    context.cut(ttl_s=60.0, dead_man_s=0.0)
    abort.look()
    noted = look_at_notes(api.cluster())
    assert noted.in_force
    assert 57.0 <= (noted.in_force.until - noted.now).total_seconds() <= 61.0
    writes = api.seen.count("PUT")
    abort.look()
    assert api.seen.count("PUT") == writes  # said once
    fault_of(context).in_force = False  # type: ignore[arg-type]
    abort.look()
    assert look_at_notes(api.cluster()).in_force is None


def test_an_abort_outlives_a_renewal_and_not_its_run(api: LeaseApi) -> None:
    take_lease(api.cluster(), A)
    request_abort(api.cluster(), "now")
    assert renew_lease(api.cluster(), A) == ""
    assert look_at_notes(api.cluster()).abort == "now"
    api.ahead_s = LOCK_S + 2.0
    take_lease(api.cluster(), B)
    assert look_at_notes(api.cluster()).abort == ""


def test_a_renewal_that_an_abort_came_between_is_made_once_more(
    api: LeaseApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_lease(api.cluster(), A)
    cluster = api.cluster()
    ask, asked = cluster.ask, list[str]()

    def between(method: str, *rest: Any, **more: Any) -> Any:
        if method == "PUT" and not asked:
            asked.append("once")
            request_abort(api.cluster(), "now")
        return ask(method, *rest, **more)

    monkeypatch.setattr(cluster, "ask", between)
    assert renew_lease(cluster, A) == ""
    assert look_at_notes(api.cluster()).abort == "now"


def test_nobody_writes_on_another_runs_lease(api: LeaseApi) -> None:
    take_lease(api.cluster(), B)
    write_notes(api.cluster(), "aaa", {CUT: "x", ABORT: "y"})
    assert look_at_notes(api.cluster()).abort == ""
    assert Abort(api.cluster(), Context()).look().says is Says.UNKNOWN  # type: ignore[arg-type]


def test_a_silent_run_of_this_machine_is_told_by_a_signal(
    api: LeaseApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(abort_request, "SIGNAL_AFTER_S", 0.1)
    monkeypatch.setattr(abort_request.os, "kill", lambda *given: sent.append(given))
    mine = Claim(run="aaa", owner="a@b")
    take_lease(api.cluster(), mine)
    request, told = asking(api, wait_s=0.6)
    assert request.through() == NOT_SEEN
    assert sent == [(mine.holder.pid, abort_request.signal.SIGTERM)]
    assert any("sent SIGTERM" in line for line in told)
