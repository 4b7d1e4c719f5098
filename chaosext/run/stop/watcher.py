"""Evaluates each stop condition on a thread of its own, so that one that hangs blocks no other."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.model.stopped import Stopped, Stopper
from chaosext.model.timeline import Kind
from chaosext.run.fault.heal import left_behind
from chaosext.run.fault.verify import CUT_WATCH, CutWatch
from chaosext.run.session.connection import connect
from chaosext.run.stop.abort_listener import Abort
from chaosext.run.stop.condition_state import ConditionReply, ConditionStanding, Says
from chaosext.run.stop.conditions import WatchedCondition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaosext.experiment.settings import Settings
    from chaosext.run.session.run_context import RunContext

FIX = "resolve it, or fix the condition, then run again"


class Bounded:
    """Asks within a time limit. A call that hangs is not repeated before it returns: it would hang again."""

    def __init__(self, ask: Callable[[], ConditionReply], timeout_s: float) -> None:
        self._ask, self._timeout_s = ask, timeout_s
        self._asking: threading.Thread | None = None
        self._replies: list[ConditionReply] = []

    def __call__(self) -> ConditionReply:
        if self._asking is None or not self._asking.is_alive():
            self._replies = []
            self._asking = threading.Thread(target=self._keep, args=(self._replies,), daemon=True)
            self._asking.start()
        self._asking.join(self._timeout_s)
        return self._replies[0] if self._replies else self._late()

    def _keep(self, replies: list[ConditionReply]) -> None:
        try:
            replies.append(self._ask())
        except Exception as error:  # whatever it is, the state is unknown; its text may quote anything
            replies.append(ConditionReply(Says.UNKNOWN, f"asking raised {type(error).__name__}"))

    def _late(self) -> ConditionReply:
        return ConditionReply(Says.UNKNOWN, f"no answer within {self._timeout_s:g} s")


def require_none_true(conditions: Sequence[WatchedCondition]) -> None:
    """Ask each once, in parallel. Raises `Refused` for one that is true or unknown."""
    with ThreadPoolExecutor(max_workers=len(conditions) or 1, thread_name_prefix="stop") as pool:
        replies = list(pool.map(lambda each: Bounded(each.ask, each.timeout_s)(), conditions))
    for condition, reply in zip(conditions, replies, strict=True):
        if reply.says is Says.TRUE:
            raise Refused(f"stop condition {condition.name!r} is already true: {reply.detail}", FIX)
        if reply.says is Says.UNKNOWN:
            raise Refused(f"stop condition {condition.name!r} can't be asked: {reply.detail}", FIX)


class StopWatch:
    """Asks until the first of them stops the run; calls `stop` once, on the thread that asked."""

    def __init__(self, conditions: Sequence[WatchedCondition], stop: Callable[[Stopped], None]) -> None:
        self._conditions, self._stop = conditions, stop
        self._over, self._first = threading.Event(), threading.Lock()

    def __enter__(self) -> StopWatch:
        for condition in self._conditions:
            threading.Thread(target=self._keep, args=(condition,), name="stop", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _keep(self, condition: WatchedCondition) -> None:
        standing, ask = condition.begins, Bounded(condition.ask, condition.timeout_s)
        while not self._over.wait(condition.every_s):
            standing = standing.heard(ask(), time.monotonic())
            why = standing.why_stop(time.monotonic())
            if why and not self._over.is_set() and self._first.acquire(blocking=False):
                self._over.set()
                self._stop(Stopped(by=condition.by, name=condition.name, reason=why))


KINDS = {Stopper.CONDITION: Kind.STOP_CONDITION, Stopper.ABORT: Kind.ABORT}
"""A lost cut is in the timeline already."""

RULES_S, PATHS_S = 2.0, 5.0
"""Interval of reading an active cut and measuring paths, seconds. A loss must be reported within 5 s."""

ANSWER_S = 30.0
"""Timeout of one look, seconds: its connects have 2 s each, twice, and a slow node 5 s."""


def watch_for_stops(
    settings: Settings,
    context: RunContext,
    conditions: Sequence[WatchedCondition],
    *,
    abortable: bool,
    may_stop: Callable[[], bool],
    leave: Callable[[], None],
) -> StopWatch:
    """Stops the run by the first of `conditions` that holds, by a request on its Lease, or if its cut is lost.

    `abortable`: it cuts, and so has a Lease. `may_stop` says whether the run can still be stopped; `leave` ends the
    current activity, once the cut is healed.
    """
    abort = Abort(connect(settings), context) if abortable else None

    def stop(why: Stopped) -> None:
        if may_stop():
            remains = _heal_at_once(context, why)
            if abort and why.by is Stopper.ABORT:
                abort.answer(remains)
            leave()

    watched = (*conditions, *([abort.watched, *_cut_watched(context)] if abort else []))
    return StopWatch(watched, stop)


def _cut_watched(context: RunContext) -> tuple[WatchedCondition, ...]:
    """A lost cut, as conditions that are false while the nodes can't be asked."""

    def asked(look: Callable[[CutWatch], tuple[str, ...]]) -> Callable[[], ConditionReply]:
        def ask() -> ConditionReply:
            watch = context.stash[CUT_WATCH]
            lost = look(watch) if watch else ()
            return ConditionReply(Says.TRUE if lost else Says.FALSE, "; ".join(lost))

        return ask

    looks = ((CutWatch.look_at_rules, RULES_S), (CutWatch.look_at_paths, PATHS_S))
    return tuple(
        WatchedCondition(
            by=Stopper.CUT_LOST,
            name="",
            ask=asked(look),
            every_s=every_s,
            timeout_s=ANSWER_S,
            begins=ConditionStanding(),
        )
        for look, every_s in looks
    )


def _heal_at_once(context: RunContext, why: Stopped) -> tuple[str, ...]:
    """Stop the run: heal the network first, as the current activity may take a while to end."""
    context.stopped = why
    if why.by in KINDS:
        context.recorder.say(KINDS[why.by], f"Run/{context.id}", str(why))
    return left_behind(context)
