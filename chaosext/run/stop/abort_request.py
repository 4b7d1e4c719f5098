"""Requests that another process' run heals and ends, and confirms it: by its Lease, else by a signal."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.cluster.lease import LEASE, look_at_notes, request_abort
from chaosext.model.errors import Refused, Unreachable
from chaosext.model.poll import poll
from chaosext.run.stop.abort_listener import HEALED
from chaosext.safety.intent import intent_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.lease import Notes
    from chaosext.model.owner import Holder, LockFacts
    from chaosext.safety.intent import Outstanding

POLL_S = 1.0
TELL_S = 5.0
SIGNAL_AFTER_S = 10.0
"""Time to answer on the Lease, which a run reads every 2 s; then a run on this machine gets a signal."""

SEEN, ENDED, NOT_SEEN = 0, 30, 40


@dataclass(slots=True, kw_only=True)
class Asking:
    """An abort in progress. `run`: "" is any run that has the cluster. `tell` receives lines for people."""

    cluster: Cluster
    reason: str
    tell: Callable[[str], None]
    run: str = ""
    wait_s: float = 60.0
    _signalled: bool = False

    def through(self) -> int:
        """Request it, and wait for the answer: 0 seen healed, 30 ended without an answer, 40 not seen over in time.

        Raises `Refused` if there is nothing to abort.
        """
        try:
            notes = look_at_notes(self.cluster)
            lock = self._wanted(notes)
            if lock.may_be_taken:
                return self._dead(notes)
            request_abort(self.cluster, self.reason)
        except Unreachable as error:
            return self._through_this_machine(error)
        self.tell(f"asked run {lock.run} of {lock.owner} to heal and end")
        return self._wait(lock)

    def _wanted(self, notes: Notes) -> LockFacts:
        context, lock = self.cluster.context, notes.lock
        if lock is None or not lock.run:
            raise Refused(
                f"nothing to abort: no run holds {LEASE} of context {context}",
                "see `chaosext status` for what is on its nodes",
            )
        if self.run and self.run != lock.run:
            raise Refused(
                f"run {self.run} does not hold {LEASE} of context {context}: {lock} does",
                f"to abort that one, run `chaosext abort --run {lock.run}`",
            )
        return lock

    def _wait(self, lock: LockFacts) -> int:
        began_s, told_s, notes = time.monotonic(), 0.0, None
        while (waited_s := time.monotonic() - began_s) < self.wait_s:
            time.sleep(POLL_S)
            with suppress(Unreachable):
                notes = look_at_notes(self.cluster)
            over = None if notes is None else self._over(lock, notes)
            if over is not None:
                return over
            if waited_s >= SIGNAL_AFTER_S:
                self._signal(lock.holder)
            if waited_s - told_s >= TELL_S:
                told_s = waited_s
                self.tell(f"waiting for run {lock.run}: {waited_s:.0f} s of {self.wait_s:g} s")
        self.tell(f"run {lock.run} did not answer within {self.wait_s:g} s")
        return self._left_to_the_kernel(notes)

    def _over(self, lock: LockFacts, notes: Notes) -> int | None:
        """How it ended; None: not yet."""
        if notes.lock is None or notes.lock.run != lock.run:
            self.tell(f"run {lock.run} ended and released {LEASE} before it answered: see its report")
            return ENDED
        if notes.answer:
            self.tell(f"run {lock.run}: {notes.answer}")
            return SEEN if notes.answer.startswith(HEALED) else NOT_SEEN
        return self._dead(notes) if notes.lock.may_be_taken else None

    def _dead(self, notes: Notes) -> int:
        self.tell(f"{notes.lock}: its runner is dead or does not renew {LEASE}")
        return self._left_to_the_kernel(notes)

    def _left_to_the_kernel(self, notes: Notes | None) -> int:
        """What ends a cut if its runner does not heal it: the kernel's timeout, or a cleanup."""
        cut = notes.in_force if notes else None
        if notes is None or cut is None:
            self.tell(
                "a cut may still be active: check with `chaosext status`, remove it with `chaosext cleanup`"
            )
            return NOT_SEEN
        remaining_s = (cut.until - notes.now).total_seconds()
        if remaining_s <= 0:
            self.tell("its cut has expired at its TTL")
            return SEEN
        sooner = f", or {cut.dead_man_s:g} s after the runner's death" if cut.dead_man_s else ""
        self.tell(
            f"its cut expires in at most {remaining_s:.0f} s ({cut.until:%H:%M:%S} UTC){sooner}; "
            "to remove it now, run `chaosext cleanup`"
        )
        return NOT_SEEN

    def _signal(self, holder: Holder | None) -> None:
        """Send SIGTERM, which heals within seconds without rollbacks; only to a process on this machine."""
        if self._signalled or holder is None or not holder.is_here or holder.is_dead:
            return
        self._signalled = True
        try:
            os.kill(holder.pid, signal.SIGTERM)
            self.tell(f"it does not answer; sent SIGTERM to its process {holder.pid}")
        except OSError as error:
            self.tell(
                f"it does not answer, and SIGTERM to its process {holder.pid} failed ({error.strerror})"
            )

    def _through_this_machine(self, error: Unreachable) -> int:
        """Without an API server: signal a run of this machine, known by its intent log."""
        known = next((each for each in intent_log().outstanding() if self._is_meant(each)), None)
        if known is None or known.holder is None:
            raise Refused(
                f"{error.message}, and no run of this machine is known to have an active cut there",
                "run this on the runner's machine, or run `chaosext cleanup` on one with access to the nodes",
            )
        self._signal(known.holder)
        return self._wait_until_gone(known.run)

    def _is_meant(self, known: Outstanding) -> bool:
        here = known.holder is not None and known.holder.is_here and known.is_running
        return here and self.run in ("", known.run) and known.context == self.cluster.context

    def _wait_until_gone(self, run: str) -> int:
        def is_gone() -> bool:
            return all(each.run != run or each.is_over for each in intent_log().outstanding())

        if poll(is_gone, within_s=self.wait_s, every_s=POLL_S / 4, at_deadline=False):
            self.tell(f"run {run}: the cut is gone on every node")
            return SEEN
        self.tell(f"the cut of run {run} may still be active: see `chaosext status`")
        return NOT_SEEN
